"""Tables of many records: ``clips.csv``, ``verdicts.csv`` and ``verdicts.parquet``, and what is printed at the end."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from src.batch.records import Record, part_of, write_text
from src.motion.measure import Measures

Row = dict[str, object]
MEASURE_COLUMNS = tuple(f.name for f in fields(Measures))
SHOWN = 50
"""Rows and failures that are printed; the tables have them all."""


def clip_columns(labels: Sequence[str]) -> list[str]:
    """Columns of clips.csv."""
    return ["clip", "status", "reason", "reps", "view", *faults(labels), "people", "confidence"]


def rep_columns(labels: Sequence[str]) -> list[str]:
    """Columns of verdicts.csv and verdicts.parquet."""
    return ["clip", "rep", "start_s", "top_s", "end_s", "complete", *faults(labels), *MEASURE_COLUMNS]


def faults(labels: Sequence[str]) -> list[str]:
    """A probability and a decision per fault."""
    return [*(f"p_{label}" for label in labels), *labels]


def judged(part: Record, labels: Sequence[str]) -> Row:
    """Probabilities and decisions of a clip or a rep; None where there is none."""
    p, decisions = part["probabilities"] or {}, part["decisions"] or {}
    return {f"p_{label}": p.get(label) for label in labels} | {label: decisions.get(label) for label in labels}


def clip_row(record: Record, labels: Sequence[str]) -> Row:
    """One row of clips.csv."""
    first = {key: record[key] for key in ("clip", "status", "reason", "view", "people", "confidence")}
    return first | {"reps": len(record["reps"])} | judged(record, labels)


def rep_rows(record: Record, labels: Sequence[str]) -> list[Row]:
    """Rows of verdicts.csv and verdicts.parquet."""
    keys = ("rep", "start_s", "top_s", "end_s", "complete")
    reps = ((rep, {"clip": record["clip"]} | {key: rep[key] for key in keys}) for rep in record["reps"])
    return [row | judged(rep, labels) | rep["measures"] for rep, row in reps]


def cell(value: object) -> object:
    """A CSV cell: empty for None, floats with four decimals."""
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else int(value) if isinstance(value, bool) else value


def write_tables(out: Path, records: Iterable[Record], labels: Sequence[str]) -> None:
    """All three tables, each in one step."""
    clips: list[Row] = []
    reps: list[Row] = []
    for record in records:
        clips.append(clip_row(record, labels))
        reps += rep_rows(record, labels)
    write_csv(out / "clips.csv", clip_columns(labels), clips)
    write_csv(out / "verdicts.csv", rep_columns(labels), reps)
    write_parquet(out / "verdicts.parquet", reps, labels)


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """A whole CSV in one step."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows({column: cell(value) for column, value in row.items()} for row in rows)
    write_text(path, text.getvalue())


def write_parquet(path: Path, rows: Sequence[Row], labels: Sequence[str]) -> None:
    """The rows of verdicts.csv with their types and all their digits; null = missing, not observable or abstained."""
    kinds = {"clip": pa.string(), "rep": pa.int32(), "complete": pa.bool_()} | dict.fromkeys(labels, pa.int8())
    schema = pa.schema([(column, kinds.get(column, pa.float64())) for column in rep_columns(labels)])
    part = part_of(path)
    parquet.write_table(pa.Table.from_pylist(list(rows), schema), part)
    part.replace(path)


def show(rows: Sequence[Row], labels: Sequence[str], console: Console) -> None:
    """The table people read: what was found, what could not be judged, and why; failures were told as they came."""
    clip = Column("clip", overflow="fold", min_width=16)
    wide = [Column(name, overflow="fold") for name in ("faults", "not judged")]
    table = Table(clip, Column("status", no_wrap=True), "view", "reps", *wide)
    for row in rows[:SHOWN]:
        table.add_row(*(escape(str(row[key])) for key in ("clip", "status", "view", "reps")), *findings(row, labels))
    console.print(table)
    for row in [row for row in rows if row["status"] not in ("ok", "unreadable")][:SHOWN]:
        console.print(f"{row['clip']}: {row['reason']}", markup=False, highlight=False, soft_wrap=True)
    if len(rows) > SHOWN:
        console.print(f"... {len(rows) - SHOWN} more clips in clips.csv", highlight=False)


def findings(row: Row, labels: Sequence[str]) -> tuple[str, str]:
    """Faults of a clip with their probabilities, and what was not judged of it."""
    found = ", ".join(f"{label} ({row[f'p_{label}']:.2f})" for label in labels if row[label] == 1)
    unknown = [label for label in labels if row[label] is None]
    everything = len(unknown) == len(labels)
    none = "none" if any(row[label] == 0 for label in labels) else ""
    return found or none, ("everything" if row["reps"] else "") if everything else ", ".join(unknown)
