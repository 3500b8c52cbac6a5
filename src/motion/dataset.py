"""Labelled reps: find the reps in each track, join both, split by person, batch.

Reps of hip thrusts come from ``find_reps`` and not from the labels' times, so the model learns on the very cuts that prediction
makes. Reps of other movements are where the labels say.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from src.motion.faults import FAULT_KEYS
from src.motion.keypoints import Floats, Track, TrackError
from src.motion.labels import SPLITS, Label, LabelError, read_labels, refuse_two_splits
from src.motion.reps import Rep, find_reps, most_shared, rise_ratios
from src.motion.task import HIP_THRUSTS, Task, views_of
from src.motion.truth import Truth, read_truth, severities, truth_at

MARGIN_S = 0.25
"""Kept before and after a rep, so that its start and end are seen and small errors of its cut do not matter."""


@dataclass(frozen=True)
class Sample:
    """One found rep with its label: keypoints (T, K, D + 1) of the cut, fps_hz, faults (L,) with NaN where masked.

    rise_ratio: this rep's hip rise over the best of its clip. split: one of ``labels.SPLITS``, as labels.csv says.
    observable: (L,) 1 where a label could be judged, 0 where what carries it was hidden, NaN where nobody said.
    severity: (L,) how far past its limits a fault truly is, 0 absent, 1 present; NaN where that cannot be known or seen.
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
    observable: Floats = field(default_factory=lambda: np.full(len(HIP_THRUSTS.labels), np.nan, np.float32))
    severity: Floats = field(default_factory=lambda: np.full(len(HIP_THRUSTS.labels), np.nan, np.float32))

    @property
    def tier(self) -> str:
        """First part of its folder: ``detected``, or ``simulated`` for keypoints that nobody detected."""
        return self.folder.partition("/")[0]


class Batch(NamedTuple):
    """Reps: keypoints (N, T, K, D + 1) padded with NaN, fps_hz (N), frames (N), rise_ratio (N); all others (N, L)."""

    keypoints: Tensor
    fps_hz: Tensor
    frames: Tensor
    faults: Tensor
    rise_ratio: Tensor
    observable: Tensor
    severity: Tensor


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


def repeated(samples: list[Sample], times: int) -> list[Sample]:
    """All samples, those that the detector saw ``times`` over: they are few beside imitated ones, and what will be judged."""
    return samples + [s for s in samples if s.tier == "detected"] * (times - 1)


def cut(track: Track, rep: Rep, margin_s: float = MARGIN_S) -> Floats:
    """Keypoints (T, K, D + 1) of one rep with its margins."""
    first = max(0, int(round((rep.start_s - margin_s) * track.fps_hz)))
    last = min(len(track.keypoints), int(round((rep.end_s + margin_s) * track.fps_hz)) + 1)
    return track.keypoints[first:last]


def matching(label: Label, reps: Sequence[Rep]) -> list[Rep]:
    """Reps a label speaks of: all for a clip label, else the one sharing most time, if more than half of either."""
    if label.start_s is None or label.end_s is None:
        return list(reps)
    best = most_shared(label.start_s, label.end_s, reps)
    return [] if best is None else [best]


def labelled_reps(track: Track, labels: Sequence[Label]) -> list[Rep]:
    """One rep per label, from its start to its end, the whole clip where it has no times; its top is its middle."""
    ends = [
        (0.0, len(track.keypoints) / track.fps_hz) if x.start_s is None or x.end_s is None else (x.start_s, x.end_s)
        for x in labels
    ]
    return [Rep(start_s, (start_s + end_s) / 2, end_s, True) for start_s, end_s in sorted(ends)]


def visible(
    faults: tuple[float, ...], view: str, keys: Sequence[str] = HIP_THRUSTS.labels, hidden: Sequence[str] = ()
) -> Floats:
    """Numbers (L,) with NaN for faults that cannot be judged from this view or are hidden; an unknown view masks nothing."""
    seen = [(not view or view in views_of(key)) and key not in hidden for key in keys]
    return np.where(seen, faults, np.nan).astype(np.float32)


def observable(label: Label, keys: Sequence[str] = HIP_THRUSTS.labels) -> Floats:
    """What the rater could judge (L,): 0 where hidden, 1 where not and the label is known, NaN elsewhere."""
    if label.hidden is None:
        return np.full(len(keys), np.nan, np.float32)
    known = np.where(np.isfinite(visible(label.faults, label.view, keys)), 1.0, np.nan)
    return np.where([key in label.hidden for key in keys], 0.0, known).astype(np.float32)


def samples_of(
    track: Track, labels: Sequence[Label], folder: str, task: Task = HIP_THRUSTS, truths: Sequence[Truth] = ()
) -> tuple[list[Sample], Count]:
    """The labelled reps of one clip that were found, and how many were labelled and found.

    A rep that two labels claim (two reps found as one) is left out: nobody knows which of them it shows.
    """
    if track.skeleton != task.skeleton.name:
        raise TrackError(f"{labels[0].clip}: a track of skeleton {track.skeleton}; the task is {task.skeleton.name}")
    reps = find_reps(track) if task.reps == "found" else labelled_reps(track, labels)
    ratio = dict(zip((rep.start_s for rep in reps), rise_ratios(reps), strict=True))
    pairs = [(label, rep) for label in labels for rep in matching(label, reps)]
    claims = Counter(rep.start_s for _, rep in pairs)
    samples = [
        Sample(
            cut(track, rep), track.fps_hz, visible(label.faults, label.view, task.labels), label.subject, label.clip, label.view,
            folder, rep, ratio[rep.start_s], label.split, observable(label, task.labels),
            visible(tuple(severities(truth_at(rep, truths), task.labels)), label.view, task.labels, label.hidden or ()),
        )
        for label, rep in pairs if claims[rep.start_s] == 1
    ]  # fmt: skip
    first, timed = labels[0], sum(label.start_s is not None for label in labels)
    counted = (timed or None, len(reps), len(claims), first.split)
    return samples, Count(first.clip, folder, first.subject, first.view, *counted)


def load_samples(poses_dir: Path, task: Task = HIP_THRUSTS) -> tuple[list[Sample], list[Count]]:
    """Every labelled rep below ``poses_dir``: each folder with a labels.csv and one ``<clip stem>.npz`` per clip.

    A clip whose track is missing is skipped with a count of 0 found; no labels at all, or none found, is a ``LabelError``.
    """
    samples: list[Sample] = []
    counts: list[Count] = []
    used: dict[Path, str] = {}
    for labels_csv in sorted(poses_dir.rglob("labels.csv")):
        folder = labels_csv.parent.relative_to(poses_dir).as_posix()
        by_clip: dict[str, list[Label]] = {}
        truths = read_truth(labels_csv.with_name("truth.csv")) if set(task.labels) & set(FAULT_KEYS) else {}
        for label in read_labels(labels_csv, task.labels):
            refuse_several(label, task, labels_csv)
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
            found, count = samples_of(Track.load(path), labels, folder, task, truths.get(clip, ()))
            samples += found
            counts.append(count)
    if not samples:
        raise LabelError(f"{poses_dir}: no labelled rep with a track; run python -m src.simulate or src.detect first")
    return samples, counts


def refuse_several(label: Label, task: Task, path: Path) -> None:
    """Of labels that exclude each other a row has one, or is uncertain."""
    count, open_ = label.faults.count(1.0), any(np.isnan(value) for value in label.faults)
    if task.head == "single_label" and (count > 1 or not (count or open_)):
        raise LabelError(f"{path}: {label.clip} has {count} of {', '.join(task.labels)}; head single_label needs one")


def split_people(
    samples: Sequence[Sample], validation_share: float, test_share: float, seed: int
) -> dict[str, list[Sample]]:
    """Train, validation, test and proof samples with no person in two of them; only proof may be empty.

    Where labels.csv names a person's split, that counts; the others are ordered by a hash of seed and name and cut by share.
    """
    refuse_two_splits(((s.subject, s.split) for s in samples), "labels.csv")
    part = {s.subject: s.split for s in samples}
    free = [subject for subject, split in part.items() if not split]
    order = sorted(free, key=lambda subject: hashlib.sha256(f"{seed}/{subject}".encode()).hexdigest())
    test, validation = (round(share * len(order)) for share in (test_share, validation_share))
    part |= dict.fromkeys(order[:test], "test") | dict.fromkeys(order[test : test + validation], "validation")
    part |= dict.fromkeys(order[test + validation :], "train")
    parts: dict[str, list[Sample]] = {name: [] for name in SPLITS if name}
    for sample in samples:
        parts[part[sample.subject]].append(sample)
    if empty := [name for name, chosen in parts.items() if not chosen and name != "proof"]:
        raise LabelError(f"{len(part)} people leave nobody for {', '.join(empty)}; label more, or set the column split")
    return parts


Item = tuple[Floats, float, Floats, float, Floats, Floats]
"""keypoints (T, K, D + 1), fps_hz, faults (L,), rise_ratio, observable (L,), severity (L,) of one rep."""


def item(sample: Sample) -> Item:
    """What the model sees of a sample."""
    return sample.keypoints, sample.fps_hz, sample.faults, sample.rise_ratio, sample.observable, sample.severity


def padded(cuts: Sequence[Floats]) -> Tensor:
    """Keypoints (N, T, K, D + 1) of reps of different length, NaN behind the shorter ones."""
    rows = [torch.from_numpy(np.ascontiguousarray(keypoints)) for keypoints in cuts]
    batch: Tensor = pad_sequence(rows, batch_first=True, padding_value=float("nan"))
    return batch


def collate(items: Sequence[Item]) -> Batch:
    """Pad reps to the longest; padding is NaN."""
    cuts, rates, faults, ratios, seen, severity = zip(*items, strict=True)
    return Batch(
        padded(cuts),
        torch.tensor(rates),
        torch.tensor([len(keypoints) for keypoints in cuts]),
        torch.from_numpy(np.stack(faults)),
        torch.tensor(ratios, dtype=torch.float32),
        torch.from_numpy(np.stack(seen)),
        torch.from_numpy(np.stack(severity)),
    )


class RepDataset(Dataset[Item]):
    """Samples as items; ``augment`` changes each on the way out, seeded by index. Indices beyond the last begin anew."""

    def __init__(
        self,
        samples: Sequence[Sample],
        augment: Callable[[Floats, float, np.random.Generator], tuple[Floats, float]] | None = None,
        seed: int = 0,
    ) -> None:
        self.samples, self.augment, self.seed = samples, augment, seed

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Item:
        sample = self.samples[index % len(self)]
        if self.augment is None:
            return item(sample)
        rng = np.random.default_rng((self.seed, index))
        keypoints, fps_hz = self.augment(sample.keypoints, sample.fps_hz, rng)
        return item(replace(sample, keypoints=keypoints, fps_hz=fps_hz))


def data_hash(poses_dir: Path) -> str:
    """Hash of every label, truth and track below ``poses_dir``: says on what a model was trained."""
    digest = hashlib.sha256()
    for path in sorted(path for kind in ("labels.csv", "truth.csv", "*.npz") for path in poses_dir.rglob(kind)):
        digest.update(path.relative_to(poses_dir).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
