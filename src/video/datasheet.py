"""Datasheet of a folder of clips: what is in it, how it came to be, what it may be used for; with pictures.

The headings are those of Gebru et al., "Datasheets for Datasets" (2021). The same folder gives the same bytes.
"""

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

from src.motion.faults import FAULT_KEYS, FAULTS
from src.motion.labels import SPLITS
from src.video.contact_sheet import Rep, by_view, draw, grouped
from src.video.probe import Clip, probe

HASHED = "by a hash of the name"


def write(folder: Path, table: Path | None = None) -> None:
    """``datasheet.md``, ``frames.jpg`` and ``histograms.png`` beside the clips of a table, if not given of ``labels.csv``.

    ``truth.csv`` is used if it is there. ``ClipError`` for a clip that cannot be read; ``ValueError`` without rows.
    """
    truth = {(row["clip"], row["start_s"]): row for row in _table(folder / "truth.csv")}
    reps = [Rep(row, truth.get((row["clip"], row["start_s"]), {})) for row in _table(table or folder / "labels.csv")]
    if not reps:
        raise ValueError(f"{table or folder / 'labels.csv'}: no rows; nothing to describe")
    clips = {name: probe(folder / name) for name in sorted({rep.clip for rep in reps})}
    draw(reps, clips, folder)
    (folder / "datasheet.md").write_text(describe(reps, clips), encoding="utf-8")


def _table(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def _grid(head: Sequence[str], rows: Iterable[Sequence[object]], words: int = 1) -> str:
    """A Markdown table; columns after the first ``words`` are numbers."""
    lines = [head, ["---"] * words + ["--:"] * (len(head) - words), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _counts(what: str, groups: dict[str, list[Rep]]) -> str:
    """Per group: people (unless the group is one), clips, rows and rows with each fault."""
    head = [what, "people", "clips", "rows", "clean", *(f"`{key}`" for key in FAULT_KEYS)]
    rows = []
    for name, reps in groups.items():
        present = [sum(rep.label[key] == "1" for rep in reps) for key in FAULT_KEYS]
        people, clips = len({rep.subject for rep in reps}), len({rep.clip for rep in reps})
        rows.append([name, people, clips, len(reps), sum(rep.clean for rep in reps), *present])
    shown = [i for i, title in enumerate(head) if (what, title) != ("person", "people")]
    return _grid([head[i] for i in shown], [[row[i] for i in shown] for row in rows])


def _spread(values: Iterable[float], unit: str, digits: int = 1) -> str:
    """Smallest, middle and largest value."""
    found = sorted(values)
    low, middle, high = (f"{value:.{digits}f}" for value in (found[0], median(found), found[-1]))
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}, median {middle}"


def describe(reps: Sequence[Rep], clips: dict[str, Clip]) -> str:
    """Text of ``datasheet.md``."""
    made = any(rep.truth for rep in reps)
    splits, order = [rep.label.get("split", "") or HASHED for rep in reps], [*filter(None, SPLITS), HASHED]
    people = grouped(reps, [rep.subject for rep in reps])
    parts = [
        "# Datasheet", _summary(reps, clips), "![Distributions](histograms.png)",
        f"![A rep per fault and view, {'at lockout' if made else 'in its middle'}](frames.jpg)",
        "## Motivation", MOTIVATION_MADE if made else MOTIVATION_OWN,
        "## Composition", COMPOSITION, _faults(reps), _counts("view", by_view(reps)),
        *([_counts("load", grouped(reps, [rep.load for rep in reps]))] if made else []),
        *([_counts("split", grouped(reps, splits, order))] if set(splits) != {HASHED} else [NO_SPLIT]), _files(reps, clips),
        "## Collection and labelling", COLLECTION_MADE if made else COLLECTION_OWN, _raters(reps),
        "## Uses", USES, LIMITS_MADE if made else LIMITS_OWN,
        "## Distribution and maintenance", KEPT_MADE if made else KEPT_OWN,
        "## People", _counts("person", people),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _summary(reps: Sequence[Rep], clips: dict[str, Clip]) -> str:
    minutes = sum(clip.duration_s for clip in clips.values()) / 60
    whole, people = sum(not rep.label["start_s"] for rep in reps), len({rep.subject for rep in reps})
    counts = {"labelled reps": len(reps) - whole, "clips labelled as a whole": whole}
    labelled = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f"{len(clips)} clips of hip thrusts, {minutes:.1f} minutes, {people} people, {labelled}."


def _faults(reps: Sequence[Rep]) -> str:
    counts = {fault.key: Counter(rep.label[fault.key] for rep in reps) for fault in FAULTS}
    rows = [
        [f"`{fault.key}`", fault.meaning, *(counts[fault.key][value] for value in ("1", "0", ""))] for fault in FAULTS
    ]
    return _grid(["fault", "meaning", "present", "absent", "uncertain"], rows, words=2)


def _files(reps: Sequence[Rep], clips: dict[str, Clip]) -> str:
    sizes = Counter(clip.size_px for clip in clips.values())
    pictures = ", ".join(f"{width}x{height} px ({count})" for (width, height), count in sorted(sizes.items()))
    return (
        f"Frame rate {_spread((clip.fps_hz for clip in clips.values()), ' Hz')}. "
        f"Length {_spread((clip.duration_s for clip in clips.values()), ' s')}. "
        f"Rows per clip {_spread(Counter(rep.clip for rep in reps).values(), '', 0)}. Picture {pictures}."
    )


def _raters(reps: Sequence[Rep]) -> str:
    said = Counter((rep.label["source"] or "unknown", rep.label["rater"] or "unknown") for rep in reps)
    return _grid(["source", "rater", "rows"], ([*names, count] for names, count in sorted(said.items())), words=2)


COMPOSITION = (
    "A row of `labels.csv` is a rep, or a whole clip where it has no times. A fault is present (1), absent (0) or uncertain "
    "(empty); uncertain counts neither in training nor in results. Clean is a row in which all four are absent."
)
NO_SPLIT = "No split is laid down here: training cuts train, validation and test by person."
MOTIVATION_MADE = (
    "No public set of hip thrusts with labelled faults exists. These clips were made to train and to measure a system that "
    "tells four faults from ordinary video, with labels that follow from the true movement."
)
MOTIVATION_OWN = (
    "Footage collected and labelled by the people who keep this folder, to train or to measure on real lifters."
)
COLLECTION_MADE = (
    "Nobody was filmed. `python -m src.simulate` draws a person, a bench, a load, a set of reps with faults of chosen "
    "severity and a camera, computes the movement, renders it and encodes H.264. A label is 1 or 0 only where the true "
    "angles are clearly past the limits of `src/motion/faults.py`, else empty. `truth.csv` holds those angles per rep, "
    "`truth/` the true keypoints, and the vertebra's offset over time. The same settings and seed give the same files."
)
COLLECTION_OWN = (
    "Who was filmed, how they agreed and what they were told is not recorded here: keep it with whoever is responsible for "
    "the footage. The labels are the raters' judgement of the picture."
)
USES = (
    "For training and measuring fault detection in hip thrusts. Split by person, never by clip. Not for medical decisions, "
    "not for identifying people, not for other exercises. `overarch` and `tuck` are labelled in every view, but only the "
    "side view shows them; training and evaluation leave out what a view cannot show."
)
LIMITS_MADE = (
    "Rendered bodies are smoother, better lit and less varied than real people, clothes and gyms: results on these clips "
    "are no results on real footage, and their shares of faults, views, loads and heights are choices, not statistics."
)
LIMITS_OWN = "The clips show recognisable people: use them for nothing they did not agree to."
KEPT_MADE = (
    "The clips belong to the repository that makes them and carry its licence. They are not changed by hand: change the "
    "section `simulate` of `conf/config.yaml` and run the stage again; DVC keeps earlier versions."
)
KEPT_OWN = (
    "Not public unless the people in it agreed. The folder is versioned with DVC and pushed to a remote that only the "
    "responsible people can read. Correct labels in the annotation tool and import them again."
)
