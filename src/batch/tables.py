"""Tables of many records: ``clips.csv``, ``verdicts.csv`` and ``verdicts.parquet``, and what is printed at the end."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
from rich.box import SIMPLE_HEAD
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
    """The table people read, an answer per fault; why a clip has none is said below, failures were told as they came."""
    clip, status = Column("clip", overflow="fold", min_width=16), Column("status", min_width=10)
    answers = [[answer(row, label) for row in rows[:SHOWN]] for label in labels]
    faults = [
        Column(label.replace("_", " "), min_width=max(map(len, [*label.split("_"), *told])))
        for label, told in zip(labels, answers, strict=True)
    ]
    table = Table(
        clip, status, Column("reps", justify="right"), *faults, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False
    )
    for row, *told in zip(rows[:SHOWN], *answers, strict=True):
        table.add_row(escape(str(row["clip"])), str(row["status"]).replace("_", " "), str(row["reps"]), *told)
    console.print(table)
    console.print("yes: seen, with its probability; no: looked for and not seen; -: not judged", highlight=False)
    for row in [row for row in rows if row["status"] not in ("ok", "unreadable")][:SHOWN]:
        console.print(f"{row['clip']}: {row['reason']}", markup=False, highlight=False, soft_wrap=True)
    if len(rows) > SHOWN:
        console.print(f"... {len(rows) - SHOWN} more clips in clips.csv", highlight=False)


def answer(row: Row, label: str) -> str:
    """Whether a clip shows a fault."""
    if row[label] is None:
        return "-"
    return f"yes {row[f'p_{label}']:.2f}" if row[label] else "no"
