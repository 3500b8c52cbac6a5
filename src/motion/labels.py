"""labels.csv: its columns, what its cells may say, and the reading of it and of the tables beside it. Free of torch."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from src.motion.faults import FAULT_KEYS

Row = dict[str, str]
OPTIONAL = ("split", "hidden")
SPLITS = ("train", "validation", "test", "proof", "")
"""Values of the optional column ``split``: ``proof`` is kept to prove claims alone; empty = by a hash of the person's name."""
VIEWS = ("side", "oblique", "frontal", "rear", "overhead", "")


def columns_of(keys: Sequence[str]) -> tuple[str, ...]:
    """What labels.csv must have when these are the labels."""
    return ("clip", "subject", "start_s", "end_s", *keys, "view", "side", "variant", "rater", "source")


COLUMNS = columns_of(FAULT_KEYS)


class LabelError(ValueError):
    """A table that cannot be used; the message names file, line, column and value."""


@dataclass(frozen=True)
class Label:
    """One row of labels.csv. ``start_s`` and ``end_s`` are None when the row speaks of the whole clip.

    faults: one number per label: 1 present, 0 absent, NaN uncertain (masked from loss and metrics). hidden: labels that nobody
    could judge here, because plates, say, hide what carries them; None where the table does not say.
    """

    clip: str
    subject: str
    start_s: float | None
    end_s: float | None
    faults: tuple[float, ...]
    view: str
    split: str = ""
    hidden: tuple[str, ...] | None = None


def read_table(
    path: Path, needed: Sequence[str], known: Sequence[str] | None = None, advice: str = ""
) -> list[tuple[str, Row]]:
    """(file and line, row) of a CSV; ``LabelError`` for missing, unknown or doubled columns and for ragged rows.

    known: the columns there may be, None = any. advice: what to do about a table that is missing or of another shape.
    """
    tail = f"; {advice}" if advice else ""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or [])
            if missing := [column for column in needed if column not in columns]:
                raise LabelError(f"{path}: no column {', '.join(missing)}; it needs {', '.join(needed)}{tail}")
            if odd := [c for c in columns if c not in (known or columns) or columns.count(c) > 1]:
                raise LabelError(
                    f"{path}: unknown or doubled column {', '.join(odd)}; known are {', '.join(known or ())}"
                )
            rows = [(f"{path} line {reader.line_num}", row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LabelError(f"{path}: cannot be read ({error}){tail}") from error
    for where, row in rows:
        if None in row or None in row.values():
            raise LabelError(f"{where}: has another number of cells than the header")
    return rows


def read_labels(path: Path, keys: Sequence[str] = FAULT_KEYS) -> list[Label]:
    """All rows of a labels.csv, validated; ``LabelError`` names the first bad cell."""
    columns = columns_of(keys)
    labels = [read_label(row, where, keys) for where, row in read_table(path, columns, (*columns, *OPTIONAL))]
    refuse_overlaps(labels, path)
    refuse_two_splits(((label.subject, label.split) for label in labels), path)
    return labels


def read_label(row: Row, where: str, keys: Sequence[str] = FAULT_KEYS) -> Label:
    """One row, checked."""
    for column in ("clip", "subject"):
        if not row[column].strip():
            raise LabelError(f"{where}, column {column}: empty")
    start_s, end_s = (number(row[column], where, column) for column in ("start_s", "end_s"))
    if (start_s is None) != (end_s is None) or (
        start_s is not None and end_s is not None and not 0 <= start_s < end_s < float("inf")
    ):
        raise LabelError(f"{where}: start_s {row['start_s']!r} and end_s {row['end_s']!r} are no interval")
    if row["view"] not in VIEWS:
        raise LabelError(f"{where}, column view: {row['view']!r} is none of {', '.join(filter(None, VIEWS))}")
    if (split := row.get("split", "")) not in SPLITS:
        raise LabelError(f"{where}, column split: {split!r} is none of {', '.join(filter(None, SPLITS))}")
    hidden = tuple(row["hidden"].split()) if "hidden" in row else None
    if odd := [key for key in hidden or () if key not in keys]:
        raise LabelError(f"{where}, column hidden: {odd[0]!r} is none of {', '.join(keys)}")
    faults = tuple(fault_value(row[key], where, key) for key in keys)
    return Label(row["clip"], row["subject"], start_s, end_s, faults, row["view"], split, hidden)


def number(text: str, where: str, column: str) -> float | None:
    """A float or None for an empty cell."""
    try:
        return float(text) if text.strip() else None
    except ValueError:
        raise LabelError(f"{where}, column {column}: {text!r} is not a number") from None


def fault_value(text: str, where: str, column: str) -> float:
    """1, 0 or NaN (empty = uncertain)."""
    if text.strip() not in ("", "0", "1"):
        raise LabelError(f"{where}, column {column}: {text!r}; a label is 0, 1 or empty (uncertain)")
    return float(text) if text.strip() else float("nan")


def refuse_overlaps(labels: Iterable[Label], path: Path) -> None:
    """Two rows must not claim the same second of a clip."""
    last: dict[str, float] = {}
    for label in sorted(labels, key=lambda label: (label.clip, label.start_s or 0.0)):
        start, end = (0.0, float("inf")) if label.start_s is None else (label.start_s, label.end_s or 0.0)
        if start < last.get(label.clip, 0.0) - 1e-6:
            raise LabelError(f"{path}: rows of {label.clip} overlap at {start:.2f} s")
        last[label.clip] = end


def refuse_two_splits(members: Iterable[tuple[str, str]], where: Path | str) -> None:
    """Nobody of (subject, split) may be in two splits."""
    splits: dict[str, str] = {}
    for subject, split in members:
        if (other := splits.setdefault(subject, split)) != split:
            raise LabelError(f"{where}: {subject} is in split {other or 'empty'} and in {split or 'empty'}")
