import io

import pytest
from rich.console import Console

from src.batch.tables import show
from src.motion.faults import FAULT_KEYS

OVERARCH, TUCK, FEET, RANGE = FAULT_KEYS


def clip(name, status="ok", **decisions):
    facts = {"clip": name, "status": status, "reps": 3, "reason": f"why {name} is not judged"}
    answers = dict.fromkeys(FAULT_KEYS) | decisions
    return facts | answers | {f"p_{key}": None if answers[key] is None else 0.934 for key in FAULT_KEYS}


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_says_of_every_fault_whether_it_was_judged(width):
    rows = [clip("my set [1].mp4", **{FEET: 1, RANGE: 0}), clip("b.mp4", "view_not_observable")]
    console = Console(width=width, record=True, file=io.StringIO())
    show(rows, FAULT_KEYS, console)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= width
    first, second = (next(line for line in text.splitlines() if line.startswith(row["clip"])) for row in rows)
    assert first.split()[-5:] == ["-", "-", "yes", "0.93", "no"] and second.split()[-4:] == ["-"] * 4
    assert "why b.mp4 is not judged" in text and "why my set" not in text
    assert "no: looked for and not seen" in text


def test_what_is_too_much_to_print_is_counted():
    console = Console(width=80, record=True, file=io.StringIO())
    show([clip(f"{i}.mp4") for i in range(53)], FAULT_KEYS, console)
    assert "3 more clips" in console.export_text()
