"""Labelled reps: read labels.csv, find the reps in each track, join both, split by person, batch.

The reps come from ``find_reps`` and not from the labels' times, so the model learns on the very cuts that prediction makes.
"""

import csv
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from src.motion.faults import FAULT_KEYS, FAULTS
from src.motion.keypoints import HIP_THRUST, Floats, Track
from src.motion.reps import Rep, find_reps, rise_ratios

COLUMNS = ("clip", "subject", "start_s", "end_s", *FAULT_KEYS, "view", "side", "variant", "rater", "source")
OPTIONAL = ("split", "hidden")
SPLITS = ("train", "validation", "test", "")
"""Values of the optional column ``split``; empty = by a hash of the person's name."""
VIEWS = ("side", "oblique", "frontal", "rear", "overhead", "")
MARGIN_S = 0.25
"""Kept before and after a rep, so that its start and end are seen and small errors of its cut do not matter."""


class LabelError(ValueError):
    """A labels.csv that cannot be used; the message names file, line, column and value."""


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


@dataclass(frozen=True)
class Sample:
    """One found rep with its label: keypoints (T, K, 3) of the cut, fps_hz, faults (L,) with NaN where masked.

    rise_ratio: this rep's hip rise over the best of its clip. split: one of ``SPLITS``, as labels.csv says.
    observable: (L,) 1 where a label could be judged, 0 where what carries it was hidden, NaN where nobody said.
    """

    keypoints: Floats
    fps_hz: float
    faults: Floats
    subject: str
    clip: str
    view: str
    folder: str
    rep: Rep
    rise_ratio: float = 1.0
    split: str = ""
    observable: Floats = field(default_factory=lambda: np.full(len(FAULT_KEYS), np.nan, np.float32))


class Batch(NamedTuple):
    """keypoints (N, T, K, 3) padded with NaN, fps_hz (N), frames (N), faults (N, L), rise_ratio (N), observable (N, L)."""

    keypoints: Tensor
    fps_hz: Tensor
    frames: Tensor
    faults: Tensor
    rise_ratio: Tensor
    observable: Tensor


@dataclass(frozen=True)
class Count:
    """Reps of one clip: labelled (None where the labels do not time reps), found, and found where a label lies."""

    clip: str
    folder: str
    subject: str
    view: str
    labelled: int | None
    found: int
    matched: int
    split: str = ""


def number(text: str, where: str, column: str) -> float | None:
    """A float or None for an empty cell."""
    try:
        return float(text) if text.strip() else None
    except ValueError:
        raise LabelError(f"{where}, column {column}: {text!r} is not a number") from None


def fault_value(text: str, where: str, column: str) -> float:
    """1, 0 or NaN (empty = uncertain)."""
    if text.strip() not in ("", "0", "1"):
        raise LabelError(f"{where}, column {column}: {text!r}; a fault is 0, 1 or empty (uncertain)")
    return float(text) if text.strip() else float("nan")


def read_labels(path: Path) -> list[Label]:
    """All rows of a labels.csv, validated; ``LabelError`` names the first bad cell."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or [])
            if missing := [column for column in COLUMNS if column not in columns]:
                raise LabelError(f"{path}: no column {', '.join(missing)}; it needs {', '.join(COLUMNS)}")
            if odd := [
                column for column in columns if column not in (*COLUMNS, *OPTIONAL) or columns.count(column) > 1
            ]:
                known = ", ".join((*COLUMNS, *OPTIONAL))
                raise LabelError(f"{path}: unknown or doubled column {', '.join(odd)}; it may have {known}")
            labels = [read_label(row, f"{path} line {reader.line_num}") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LabelError(f"{path}: cannot be read ({error})") from error
    refuse_overlaps(labels, path)
    refuse_two_splits(labels, path)
    return labels


def read_label(row: dict[str, str], where: str) -> Label:
    """One row, checked."""
    if None in row or any(value is None for value in row.values()):
        raise LabelError(f"{where}: has another number of cells than the header")
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
    if odd := [key for key in hidden or () if key not in FAULT_KEYS]:
        raise LabelError(f"{where}, column hidden: {odd[0]!r} is none of {', '.join(FAULT_KEYS)}")
    faults = tuple(fault_value(row[key], where, key) for key in FAULT_KEYS)
    return Label(row["clip"], row["subject"], start_s, end_s, faults, row["view"], split, hidden)


def refuse_overlaps(labels: Iterable[Label], path: Path) -> None:
    """Two rows must not claim the same second of a clip."""
    last: dict[str, float] = {}
    for label in sorted(labels, key=lambda label: (label.clip, label.start_s or 0.0)):
        start, end = (0.0, float("inf")) if label.start_s is None else (label.start_s, label.end_s or 0.0)
        if start < last.get(label.clip, 0.0) - 1e-6:
            raise LabelError(f"{path}: rows of {label.clip} overlap at {start:.2f} s")
        last[label.clip] = end


def refuse_two_splits(labels: Iterable[Label | Sample], where: Path | str) -> None:
    """Nobody may be in two splits."""
    split: dict[str, str] = {}
    for label in labels:
        if (other := split.setdefault(label.subject, label.split)) != label.split:
            raise LabelError(f"{where}: {label.subject} is in split {other or 'empty'} and in {label.split or 'empty'}")


def cut(track: Track, rep: Rep, margin_s: float = MARGIN_S) -> Floats:
    """Keypoints (T, K, 3) of one rep with its margins."""
    first = max(0, int(round((rep.start_s - margin_s) * track.fps_hz)))
    last = min(len(track.keypoints), int(round((rep.end_s + margin_s) * track.fps_hz)) + 1)
    return track.keypoints[first:last]


def matching(label: Label, reps: Sequence[Rep]) -> list[Rep]:
    """Reps a label speaks of: all for a clip label, else the one sharing most time, if more than half of either."""
    if label.start_s is None or label.end_s is None:
        return list(reps)
    start, end = label.start_s, label.end_s
    shared = [min(rep.end_s, end) - max(rep.start_s, start) for rep in reps]
    if not shared:
        return []
    best = reps[int(np.argmax(shared))]
    return [best] if max(shared) > 0.5 * min(end - start, best.end_s - best.start_s) else []


def visible(faults: tuple[float, ...], view: str) -> Floats:
    """Labels (L,) with NaN for faults that cannot be judged from this view; an unknown view masks nothing."""
    return np.array(
        [v if not view or view in fault.views else np.nan for v, fault in zip(faults, FAULTS, strict=True)], np.float32
    )


def observable(label: Label) -> Floats:
    """What the rater could judge (L,): 0 where hidden, 1 where not and the label is known, NaN elsewhere."""
    if label.hidden is None:
        return np.full(len(FAULT_KEYS), np.nan, np.float32)
    known = np.where(np.isfinite(visible(label.faults, label.view)), 1.0, np.nan)
    return np.where([key in label.hidden for key in FAULT_KEYS], 0.0, known).astype(np.float32)


def samples_of(track: Track, labels: Sequence[Label], folder: str) -> tuple[list[Sample], Count]:
    """The labelled reps of one clip that were found, and how many were labelled and found.

    A rep that two labels claim (two reps found as one) is left out: nobody knows which of them it shows.
    """
    reps = find_reps(track)
    ratio = dict(zip((rep.start_s for rep in reps), rise_ratios(reps), strict=True))
    pairs = [(label, rep) for label in labels for rep in matching(label, reps)]
    claims = Counter(rep.start_s for _, rep in pairs)
    samples = [
        Sample(
            cut(track, rep), track.fps_hz, visible(label.faults, label.view), label.subject, label.clip, label.view, folder, rep,
            ratio[rep.start_s], label.split, observable(label),
        )
        for label, rep in pairs if claims[rep.start_s] == 1
    ]  # fmt: skip
    first, timed = labels[0], sum(label.start_s is not None for label in labels)
    counted = (timed or None, len(reps), len(claims), first.split)
    return samples, Count(first.clip, folder, first.subject, first.view, *counted)


def load_samples(poses_dir: Path) -> tuple[list[Sample], list[Count]]:
    """Every labelled rep below ``poses_dir``: each folder with a labels.csv and one ``<clip stem>.npz`` per clip.

    A clip whose track is missing is skipped with a count of 0 found; no labels at all, or none found, is a ``LabelError``.
    """
    samples: list[Sample] = []
    counts: list[Count] = []
    used: dict[Path, str] = {}
    for labels_csv in sorted(poses_dir.rglob("labels.csv")):
        folder = labels_csv.parent.relative_to(poses_dir).as_posix()
        by_clip: dict[str, list[Label]] = {}
        for label in read_labels(labels_csv):
            by_clip.setdefault(label.clip, []).append(label)
        for clip, labels in by_clip.items():
            path = (labels_csv.parent / clip).with_suffix(".npz")
            if (other := used.setdefault(path, clip)) != clip:
                raise LabelError(f"{labels_csv}: {other} and {clip} would share one track; rename one")
            if not path.exists():
                counts.append(
                    Count(
                        clip,
                        folder,
                        labels[0].subject,
                        labels[0].view,
                        sum(x.start_s is not None for x in labels) or None,
                        0,
                        0,
                        labels[0].split,
                    )
                )
                continue
            found, count = samples_of(Track.load(path), labels, folder)
            samples += found
            counts.append(count)
    if not samples:
        raise LabelError(f"{poses_dir}: no labelled rep with a track; run python -m src.simulate or src.detect first")
    return samples, counts


def split_people(
    samples: Sequence[Sample], validation_share: float, test_share: float, seed: int
) -> dict[str, list[Sample]]:
    """Train, validation and test samples with no person in two of them.

    Where labels.csv names a person's split, that counts; the others are ordered by a hash of seed and name and cut by share.
    """
    refuse_two_splits(samples, "labels.csv")
    part = {s.subject: s.split for s in samples}
    free = [subject for subject, split in part.items() if not split]
    order = sorted(free, key=lambda subject: hashlib.sha256(f"{seed}/{subject}".encode()).hexdigest())
    test, validation = (round(share * len(order)) for share in (test_share, validation_share))
    part |= dict.fromkeys(order[:test], "test") | dict.fromkeys(order[test : test + validation], "validation")
    part |= dict.fromkeys(order[test + validation :], "train")
    parts: dict[str, list[Sample]] = {"train": [], "validation": [], "test": []}
    for sample in samples:
        parts[part[sample.subject]].append(sample)
    if empty := [name for name, chosen in parts.items() if not chosen]:
        raise LabelError(f"{len(part)} people leave nobody for {', '.join(empty)}; label more, or set the column split")
    return parts


Item = tuple[Floats, float, Floats, float, Floats]
"""keypoints (T, K, 3), fps_hz, faults (L,), rise_ratio, observable (L,) of one rep."""


def item(sample: Sample) -> Item:
    """What the model sees of a sample."""
    return sample.keypoints, sample.fps_hz, sample.faults, sample.rise_ratio, sample.observable


def collate(items: Sequence[Item]) -> Batch:
    """Pad reps to the longest; padding is NaN."""
    longest = max(len(keypoints) for keypoints, *_ in items)
    padded = torch.full((len(items), longest, *items[0][0].shape[1:]), float("nan"))
    for row, (keypoints, *_) in zip(padded, items, strict=True):
        row[: len(keypoints)] = torch.from_numpy(np.ascontiguousarray(keypoints))
    return Batch(
        padded,
        torch.tensor([fps_hz for _, fps_hz, *_ in items]),
        torch.tensor([len(keypoints) for keypoints, *_ in items]),
        torch.from_numpy(np.stack([faults for _, _, faults, _, _ in items])),
        torch.tensor([rise_ratio for *_, rise_ratio, _ in items], dtype=torch.float32),
        torch.from_numpy(np.stack([seen for *_, seen in items])),
    )


class RepDataset(Dataset[Item]):
    """Samples as items; ``augment`` changes each on the way out, seeded per epoch and item."""

    def __init__(
        self,
        samples: Sequence[Sample],
        augment: Callable[[Floats, float, np.random.Generator], tuple[Floats, float]] | None = None,
        seed: int = 0,
    ) -> None:
        self.samples, self.augment, self.seed, self.epoch = samples, augment, seed, 0

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, i: int) -> Item:
        keypoints, fps_hz, faults, rise_ratio, seen = item(self.samples[i])
        if self.augment is not None:
            keypoints, fps_hz = self.augment(keypoints, fps_hz, np.random.default_rng((self.seed, self.epoch, i)))
        return keypoints, fps_hz, faults, rise_ratio, seen


OUTLINES = (
    [HIP_THRUST.index(f"back_{at}") for at in (25, 50, 75)],
    [HIP_THRUST.index(f"front_{at}") for at in (25, 50, 75)],
)
FLESH = ((0.0, 0.02, 0.0, 0.02), (0.0, 0.03, -0.02, 0.04))
"""Back and front outline of other bodies and clothes, trunk lengths towards the front: mean and spread of a constant, and of what
comes with straight hips. Rendered bodies vary less: on real bridges without a fault the front sinks by 0.05-0.09 to lockout."""


def refleshed(keypoints: Floats, rng: np.random.Generator) -> Floats:
    """Keypoints (T, 27, 3) with the trunk's outline of another body: the low back's own movement stays, soft tissue's changes."""
    shoulder, hip, knee = (
        keypoints[:, [HIP_THRUST.index(f"{side}_{part}") for side in ("left", "right")], :2].mean(axis=1)
        for part in ("shoulder", "hip", "knee")
    )
    chord = hip - shoulder
    back, front = (keypoints[:, rows, :2] for rows in OUTLINES)
    normal = np.stack([-chord[:, 1], chord[:, 0]], axis=-1)  # (T, 2), a trunk long
    normal = normal * np.where(((front - back).mean(axis=1) * normal).sum(axis=-1) >= 0, 1, -1)[:, None]
    height = np.nan_to_num(((shoulder + knee) / 2 - hip)[:, 1], nan=0.0)
    straight = (height - height.min()) / max(float(np.ptp(height)), 1e-6)  # (T,) 0 at the bottom, 1 at lockout
    changed = keypoints.copy()
    for rows, (mean, spread, sink, wide) in zip(OUTLINES, FLESH, strict=True):
        amount = rng.normal(mean, spread) + rng.normal(sink, wide) * straight
        moved = amount[:, None] + rng.normal(0.0, 0.006, len(rows))  # (T, 3)
        changed[:, rows, :2] += np.nan_to_num(moved[..., None] * normal[:, None]).astype(np.float32)
    return changed


def augmented(keypoints: Floats, fps_hz: float, rng: np.random.Generator) -> tuple[Floats, float]:
    """What another body, camera or detector would have made of the rep: flesh, cut, rate, roll, jitter, gaps; never the label."""
    ends = (rng.uniform(0.0, 0.2, 2) * fps_hz).astype(int)
    if len(keypoints) - ends.sum() > 8:
        keypoints = keypoints[ends[0] : len(keypoints) - ends[1]]
    if rng.random() < 0.3 and len(keypoints) >= 32:
        keypoints, fps_hz = keypoints[::2], fps_hz / 2
    keypoints = refleshed(keypoints, rng) if keypoints.shape[1] == len(HIP_THRUST) else keypoints.copy()
    xy = keypoints[..., :2]
    if not np.isfinite(xy).any():
        return keypoints, fps_hz
    flat = xy.reshape(-1, 2)
    size = float((np.nanmax(flat, axis=0) - np.nanmin(flat, axis=0)).max())  # px, about a body
    roll = np.radians(rng.normal(0.0, 2.0))
    turn = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]], np.float32)
    xy[:] = xy @ turn + rng.normal(0.0, 0.003 * size, xy.shape) + rng.normal(0.0, 0.004 * size, (1, *xy.shape[1:]))
    gone = rng.random(keypoints.shape[1]) < 0.04
    keypoints[:, gone] = (np.nan, np.nan, 0.0)
    gaps = rng.random(keypoints.shape[:2]) < 0.03
    keypoints[gaps] = (np.nan, np.nan, 0.0)
    return keypoints, fps_hz


def data_hash(poses_dir: Path) -> str:
    """Hash of every label and track below ``poses_dir``: says on what a model was trained."""
    digest = hashlib.sha256()
    for path in sorted([*poses_dir.rglob("labels.csv"), *poses_dir.rglob("*.npz")]):
        digest.update(path.relative_to(poses_dir).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
