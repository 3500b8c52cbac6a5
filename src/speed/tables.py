"""What was measured, and where, as a table and as files."""

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from src.speed.timing import Row

COLUMNS = (
    "part",
    "step",
    "device",
    "engine",
    "precision",
    "threads",
    "batch",
    "median_ms",
    "p95_ms",
    "per_s",
    "unit",
    "peak_mb",
)


def machine() -> Row:
    """Where the numbers come from."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    gpu = torch.cuda.get_device_properties(0) if torch.cuda.is_available() else None
    return {
        "cpu": names[0] if names else platform.processor() or platform.machine(), "cores": os.cpu_count(),
        "gpu": gpu.name if gpu else None, "gpu_memory_gb": gpu.total_memory / 1e9 if gpu else None,
        "system": platform.platform(), "python": platform.python_version(), "numpy": np.__version__,
        "torch": torch.__version__, "load_1min": os.getloadavg()[0],
    }  # fmt: skip


def table(rows: Sequence[Row]) -> list[list[str]]:
    """What was measured, a row of texts in the order of ``COLUMNS`` each; a ratio stands under ``per_s``."""
    lines = []
    for row in rows:
        if "not measured" not in row:
            shown = row | ({"per_s": row["ratio"]} if "ratio" in row else {})
            lines.append([short(shown.get(column, "")) for column in COLUMNS])
    return lines


def short(value: object) -> str:
    """Four digits of a float, no exponent for large ones; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.0f}" if value > 999 else f"{value:.4g}"
    return str(value)


def missing(rows: Sequence[Row]) -> list[str]:
    """A line for each row that was not measured."""
    lost = [row for row in rows if "not measured" in row]
    return [f"{r.get('step') or r['part']} on {r['device']}: not measured: {r['not measured']}" for r in lost]


def find(rows: Sequence[Row], part: str, device: str) -> list[Row]:
    """What was measured of a part on a device; of pose, all of the work per frame, as ``src.detect`` does it."""
    here = [r for r in rows if (r["part"], r["device"]) == (part, device) and "not measured" not in r]
    return [r for r in here if part != "pose" or r["step"].startswith("same")]


def reason(rows: Sequence[Row], part: str, device: str) -> str:
    """Why nothing was measured of a part on a device."""
    why = (r["not measured"] for r in rows if (r["part"], r["device"]) == (part, device) and "not measured" in r)
    return str(next(why, "not asked for"))


def markdown(report: Row) -> str:
    """All that was measured as a table, then what is missing."""
    where, rows = report["machine"], report["rows"]
    head = f"{where['cpu']}, {where['cores']} cores, GPU {where['gpu'] or 'none'}, torch {where['torch']}\n"
    lines = ["| " + " | ".join(row) + " |" for row in (COLUMNS, ["---"] * len(COLUMNS), *table(rows))]
    return "\n".join([head, *lines, "", *(f"- {line}" for line in missing(rows))]) + "\n"


def write(out: Path, report: Row) -> None:
    """``out`` and the table beside it, each in one step."""
    out.parent.mkdir(parents=True, exist_ok=True)
    for path, text in ((out, json.dumps(report, indent=1) + "\n"), (out.with_suffix(".md"), markdown(report))):
        part = path.with_name(path.name + ".part")
        part.write_text(text, encoding="utf-8")
        part.replace(path)


def show(report: Row) -> None:
    """The table on stdout, drawn by rich where it is installed."""
    try:
        from rich import box, console
        from rich import table as tables
    except ImportError:
        print(markdown(report))
        return
    grid = tables.Table(*COLUMNS, box=box.SIMPLE)
    for row in table(report["rows"]):
        grid.add_row(*row)
    screen = console.Console()
    screen.width = max(screen.width, 140)
    screen.print(grid)
    print("\n".join(missing(report["rows"])))
