"""What is true of a simulated rep besides its labels: quantities, load, camera; read from ``truth.csv`` beside ``labels.csv``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from src.motion.faults import FAULTS, QUANTITIES, Fault
from src.motion.keypoints import Track
from src.motion.labels import LabelError, read_table
from src.motion.reps import Rep, most_shared

TRAITS = ("bench_m", "thigh_m", "trunk_m", "belly", "stance_m", "chin_deg", "loose_m")
"""What differs between people and sets without being a fault; ``loose_m`` NaN where nobody is dressed."""
NUMBERS = ("start_s", "end_s", "plate_m", "fps_hz", *QUANTITIES, *TRAITS)
COLUMNS = ("clip", "load", *NUMBERS)
ADVICE = "run python -m src.simulate again"
SMALL_PLATE_M = 0.3
SLOW_HZ, FAST_HZ = 20.0, 40.0


@dataclass(frozen=True)
class Truth:
    """One rep of ``truth.csv``: times, quantities and traits by name, load, plate diameter, the clip's frame rate."""

    start_s: float
    end_s: float
    quantities: dict[str, float]
    load: str
    plate_m: float
    fps_hz: float
    traits: dict[str, float]

    @property
    def plates(self) -> str:
        """none, small or big: what hides the hips."""
        if self.load == "none":
            return "none"
        return "small" if self.plate_m < SMALL_PLATE_M else "big"

    @property
    def rate(self) -> str:
        """slow, usual or fast: frames per second of the clip."""
        return "slow" if self.fps_hz < SLOW_HZ else "usual" if self.fps_hz <= FAST_HZ else "fast"


def read_truth(path: Path) -> dict[str, list[Truth]]:
    """Reps by clip; empty where there is no such file (own footage); ``LabelError`` names what cannot be read."""
    if not path.exists():
        return {}
    truths: dict[str, list[Truth]] = {}
    for where, row in read_table(path, COLUMNS, advice=ADVICE):
        truths.setdefault(row["clip"], []).append(truth_of(row, where))
    return truths


def true_track_of(path: Path) -> tuple[Track, NDArray[np.float64]]:
    """A rendered clip's true track (T, 32, 3) and ``Performance.lumbar`` over its frames (T,), from below ``truth``.

    ``TrackError`` for a file that is none, ``LabelError`` for one of an earlier version, without the spine.
    """
    track = Track.load(path)
    with np.load(path, allow_pickle=False) as z:
        if "lumbar" not in z.files:
            raise LabelError(f"{path}: no true offsets of the spine; {ADVICE}")
        return track, z["lumbar"]


def truth_of(row: Mapping[str, str], where: str) -> Truth:
    """One row; ``LabelError`` where a cell that must be a number is none."""
    try:
        numbers = {name: float(row[name]) for name in NUMBERS}
    except ValueError as error:
        raise LabelError(f"{where}: {error}; {ADVICE}") from None
    quantities = {name: numbers[name] for name in QUANTITIES}
    traits = {name: numbers[name] for name in TRAITS}
    return Truth(
        numbers["start_s"], numbers["end_s"], quantities, row["load"], numbers["plate_m"], numbers["fps_hz"], traits
    )


def truth_at(rep: Rep, rows: Sequence[Truth]) -> Truth | None:
    """The true rep of a clip that shares most time with a found one, if it is more than half of either; None without one."""
    return most_shared(rep.start_s, rep.end_s, rows)


def severity(fault: Fault, quantities: Mapping[str, float]) -> float:
    """How far a rep truly is past the fault's limits: up to 0 it is absent, from 1 on present, between them uncertain."""
    return max((quantities[c.quantity] - c.absent) / (c.present - c.absent) for c in fault.cues)


def severities(truth: Truth | None, keys: Sequence[str]) -> NDArray[np.float32]:
    """``severity`` of each label (L,); NaN where nobody knows the truth and for what is no fault of ``FAULTS``."""
    known = {} if truth is None else {fault.key: severity(fault, truth.quantities) for fault in FAULTS}
    return np.array([known.get(key, np.nan) for key in keys], np.float32)
