"""Numbers as markdown: the results table of the README, and the finer tables of the model card."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from src.motion.labels import LabelError
from src.report.judged import RULES
from src.report.numbers import above, behind
from src.report.strata import HEADLINE

BEGIN, END = "<!-- results: written by python -m src.evaluate -->", "<!-- end of results -->"
ORIGIN = {
    "simulated": "simulated keypoints",
    "detected/simulated": "rendered video through the detector",
    "detected/proof": "rendered video of people kept for proof, through the detector",
}
"""What the folders that this project fills itself are called; every other folder is somebody's own footage."""
STRESSED = """# What a worse video costs

Test people, rendered. Every labelled rep counts, with probability 0 where it was not found, so numbers are lower than in the
model card, which leaves such reps out. Intervals are of the change, by person; over few people they are too narrow."""
BASELINES = (RULES, "logistic regression", "MiniROCKET")


def origin(folder: str) -> str:
    """What readers call a folder of poses."""
    return ORIGIN.get(folder, f"own footage: {folder}")


def plain(value: float | None) -> str:
    """``0.91``, or a dash where nothing could be measured."""
    return f"{value:z.2f}" if value is not None and np.isfinite(value) else "–"


def cell(number: Mapping[str, float]) -> str:
    """``0.91 (0.88-0.94)``, a dash where nothing could be measured; no interval where all resamples agree: it would be wrong."""
    if not np.isfinite(number["value"]) or number["low"] == number["high"]:
        return plain(number["value"])
    return f"{number['value']:z.2f} ({plain(number['low'])}-{plain(number['high'])})"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table and an empty one."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines] + [""]


def claims(numbers: Mapping[str, Any]) -> str:
    """How many claims of a fault were right."""
    claimed = numbers["claims"]
    return f"{round(numbers['claim_precision'] * claimed)} of {claimed}" if claimed else "no claim"


def results(report: Mapping[str, Any]) -> str:
    """The results as one markdown table per origin of the data, never mixed."""
    lines: list[str] = []
    for folder, part in report["folders"].items():
        people = f"{part['people']} people unseen in training, with a labelled rep found"
        lines += [f"**{origin(folder)}**: {people}; {counting(part['counting'])}", ""]
        if part["faults"]:
            lines += [*fault_table(part["faults"]), *ahead(part["faults"]), *headline(part["strata"])]
    return "\n".join(lines)


def fault_table(faults: Mapping[str, Any]) -> list[str]:
    """Model and baselines side by side; a baseline above the model is bold."""
    head = (
        "fault",
        "reps (with it)",
        "AP (95 % by person)",
        *(f"AP: {name}" for name in BASELINES),
        "F1 (95 % by person)",
    )
    rows = [
        (
            f"`{key}`", f"{fault['reps']} ({fault['positives']})", cell(fault["average_precision"]),
            *(baseline(fault["baselines"].get(name)) for name in BASELINES), cell(fault["f1"]), claims(fault),
            f"{plain(fault['ece']['value'])} ({plain(fault['ece_by_chance'])})",
        )
        for key, fault in faults.items()
    ]  # fmt: skip
    return markdown((*head, "claims right", "ECE (by chance)"), rows)


def baseline(numbers: Mapping[str, Any] | None) -> str:
    """A baseline's average precision, bold where it is above the model's."""
    if numbers is None:
        return "–"
    text = plain(numbers["average_precision"]["value"])
    return f"**{text}**" if above(numbers) else text


def ahead(faults: Mapping[str, Any]) -> list[str]:
    """Where a baseline beats the model, said plainly, with the interval of the difference."""
    found = [
        f"{name} on `{key}` by {-n['model_ahead']['value']:z.2f} "
        f"(95 %: {-n['model_ahead']['high']:z.2f} to {-n['model_ahead']['low']:z.2f})"
        for key, name, n in behind(faults)
    ]
    return [f"AP above the model's: {'; '.join(found)}." if found else "No baseline's AP is above the model's.", ""]


def headline(strata: Mapping[str, Any]) -> list[str]:
    """What the model can do where it can see: the headline stratum in one line."""
    if HEADLINE not in strata:
        return []
    best = strata[HEADLINE]
    numbers = (f"`{key}` {cell(fault['average_precision'])}" for key, fault in best["faults"].items())
    return [f"AP, {HEADLINE} ({best['reps']} reps of {best['people']} people): {', '.join(numbers)}.", ""]


def counting(counts: Mapping[str, Any]) -> str:
    """How well reps were counted, in a sentence."""
    if not counts["timed_clips"]:
        return f"{counts['clips']} clips, whose labels do not time reps."
    sure = f" ({100 * counts['sure_exact_share']:.0f} % of the {counts['sure_clips']} whose verdict does not doubt it)"
    return (
        f"reps counted exactly in {100 * counts['exact_share']:.0f} % of {counts['timed_clips']} clips"
        f"{sure if 0 < counts['sure_clips'] < counts['timed_clips'] else ''}, "
        f"{100 * counts['found_share']:.0f} % of labelled reps found (only these are judged below)."
    )


def decision_table(faults: Mapping[str, Any]) -> list[str]:
    """What is decided per rep: how often, how often wrongly, and where view or plates hide the fault."""
    head = (
        "fault",
        "decided",
        "of these wrong",
        "claims right",
        "of the faults claimed",
        "decided where view or plates hide it",
    )
    rows = [
        (f"`{key}`", plain(f["decided_share"]), plain(f["decided_risk"]), claims(f), plain(f["claim_recall"]),
         f"{plain(f['hidden']['decided_share'])} of {f['hidden']['reps']}")
        for key, f in faults.items()
    ]  # fmt: skip
    return markdown(head, rows)


def threshold_table(faults: Mapping[str, Any]) -> list[str]:
    """Precision, recall and calibration at the threshold with the best F1 on validation people."""
    head = ("fault", "threshold", "precision", "recall", "F1", "ECE", "area under risk-coverage")
    rows = [
        (f"`{key}`", plain(f["threshold"]), *(cell(f[name]) for name in ("precision", "recall", "f1", "ece")),
         f"{f['selective']['area']:.3f}" if np.isfinite(f["selective"]["area"]) else "–")
        for key, f in faults.items()
    ]  # fmt: skip
    return markdown(head, rows)


def clip_table(faults: Mapping[str, Any]) -> list[str]:
    """Clips: how many have the fault, average precision, decisions."""
    head = ("fault", "clips (with it)", "AP (95 % by person)", "decided", "of these wrong", "claims right")
    rows = [
        (f"`{key}`", f"{f['clips']} ({f['positives']})", cell(f["average_precision"]), plain(f["decided_share"]),
         plain(f["decided_risk"]), claims(f))
        for key, f in faults.items()
    ]  # fmt: skip
    return markdown(head, rows)


def strata_table(strata: Mapping[str, Any]) -> list[str]:
    """Average precision per stratum and fault, with how many reps have the fault; a dash where the view hides it."""
    keys = list(next(iter(strata.values()))["faults"]) if strata else []
    rows = [
        (name, f"{s['reps']} of {s['people']}", *(stratum_cell(s["faults"][key]) for key in keys))
        for name, s in strata.items()
    ]
    return markdown(("stratum", "reps of people", *(f"`{key}`" for key in keys)), rows)


def confounder_table(confounders: Mapping[str, Any]) -> list[str]:
    """How many reps without a fault were told it, per confounder."""
    keys = list(next(iter(confounders.values()))["faults"])
    rows = [
        (name, str(c["people"]), *(f"{c['faults'][key]['claims']} of {c['faults'][key]['reps']}" for key in keys))
        for name, c in confounders.items()
    ]
    return markdown(("who", "people", *(f"`{key}`" for key in keys)), rows)


def stratum_cell(fault: Mapping[str, Any]) -> str:
    """``0.91 (0.85-0.95), 12 of 80``: average precision, and how many of the labelled reps have the fault."""
    return f"{cell(fault['average_precision'])}, {fault['positives']} of {fault['reps']}" if fault["reps"] else "–"


def stress_table(report: Mapping[str, Any]) -> str:
    """What each change costs, a row per change."""
    head = ("change", "reps (people)", "found before, after", "macro F1", "change (95 % by person)", "macro AP")
    rows = [
        (
            name, f"{c['reps']} ({c['people']})", f"{c['found_before']}, {c['found_after']}",
            f"{plain(c['f1']['before'])} to {plain(c['f1']['after'])}", difference(c["f1"]),
            f"{plain(c['average_precision']['before'])} to {plain(c['average_precision']['after'])}",
            difference(c["average_precision"]),
        )
        for name, c in report["changes"].items()
    ]  # fmt: skip
    mirror = (
        f"Mirrored keypoints differ by at most {report['mirror_difference']:.0e} in probability, mirrored pictures by at most "
        f"{report['mirrored_pictures']:.2f}."
    )
    return "\n".join([STRESSED, "", *markdown((*head, "change (95 % by person)"), rows), mirror, ""])


def difference(number: Mapping[str, float]) -> str:
    """``-0.03 (-0.07 to +0.01)``, a dash where nothing could be measured; no interval where all resamples agree."""
    if not np.isfinite(number["difference"]):
        return "–"
    if number["low"] == number["high"]:
        return f"{number['difference']:+z.2f}"
    low, high = (f"{number[end]:+z.2f}" if np.isfinite(number[end]) else "–" for end in ("low", "high"))
    return f"{number['difference']:+z.2f} ({low} to {high})"


def write_readme(path: Path, text: str) -> None:
    """Replace what stands between the two markers; ``LabelError`` for a README without them."""
    page = path.read_text()
    if BEGIN not in page or END not in page:
        raise LabelError(f"{path}: no results markers; put {BEGIN} and {END} where the table belongs")
    path.write_text(re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n{text}{END}", page, flags=re.DOTALL))
