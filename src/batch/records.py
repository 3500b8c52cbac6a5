"""One JSON per clip: the verdict, the model it rests on, and the stamp that tells ``--resume`` that it is still true."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from src.batch.inputs import file_name
from src.motion.verdict import Scorer, Verdict

Record = dict[str, Any]
"""A clip's JSON, as ``docs/verdict.schema.json`` has it."""
FORMAT = 1
"""Of the JSON; a record of another format is written anew."""
MODEL_KEYS = ("version", "revision", "data", "thresholds")


def record_of(verdict: Verdict, scorer: Scorer, detector: str, stamp: dict[str, str]) -> Record:
    """The record of a verdict; a missing number is None, evidence per frame stays out (a page shows it)."""
    body: Record = plain(asdict(verdict))
    for rep in body["reps"]:
        del rep["evidence"]
    model = {key: scorer.metadata.get(key) for key in MODEL_KEYS}
    return {"format": FORMAT} | body | {"model": plain(model), "detector": detector, "stamp": stamp}


def is_failed(record: Record) -> bool:
    """Whether a clip could not be read, or its page or poses could not be made: what ``--resume`` tries again."""
    return not record["stamp"]


def plain(value: Any) -> Any:
    """JSON has no NaN, a missing number becomes null; nor has it file names that are no UTF-8, they are spelt out."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def record_path(out: Path, clip: str) -> Path:
    """``json/<clip>.json``."""
    return out / "json" / f"{file_name(clip)}.json"


def write_record(out: Path, record: Record) -> None:
    """Write a clip's JSON in one step; it comes last of the clip's files, so where it is, all are."""
    write_text(record_path(out, record["clip"]), json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """A whole file in one step: a reader never meets half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(path)
    part.write_text(text, encoding="utf-8", newline="")
    part.replace(path)


def part_of(path: Path) -> Path:
    """Where a file is written before it takes its name: always the same place, so a killed run's rest is overwritten."""
    return path.with_name(f"{path.name}.part")


def read_record(out: Path, clip: str) -> Record | None:
    """What ``write_record`` wrote of this clip; None where there is nothing or something else."""
    try:
        record = json.loads(record_path(out, clip).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(record, dict) and record.get("clip") == clip and record.get("format") == FORMAT
    return record if whole else None
