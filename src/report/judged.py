"""Test clips as ``predict`` would judge them, laid out as one row per labelled rep and one per clip."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from src.motion.dataset import Sample, collate, item, visible
from src.motion.faults import FAULT_KEYS, FAULTS
from src.motion.keypoints import Track
from src.motion.labels import Label
from src.motion.measure import rule_scores
from src.motion.model import Core
from src.motion.task import HIP_THRUSTS
from src.motion.truth import Truth
from src.motion.verdict import MIN_OBSERVABLE, Scorer, Verdict, judge_track

Array = NDArray[np.float64]
MODEL, RULES = "model", "angle rules"


class Checkpoint(Scorer):
    """A trained core with its facts that judges and decides as an exported one does."""

    def __init__(self, core: Core, facts: dict[str, Any]) -> None:
        self.core, self.metadata, self.device = core, facts, torch.device("cpu")
        self.labels, self.thresholds = facts["labels"], facts["thresholds"]


@dataclass(frozen=True)
class Judged:
    """Labelled reps that were found, N rows.

    faults (N, L): labels, NaN = masked. decisions (N, L): 1, 0 or NaN = not observable or abstained, as ``predict`` decides.
    decidable (N, L): whether a decision may be made at all, because the fault is observable and the clip is not refused.
    scores: name -> (N, L), higher = rather the fault, NaN where that one cannot judge; ``MODEL`` holds probabilities.
    """

    samples: list[Sample]
    truths: list[Truth | None]
    faults: Array
    decisions: Array
    decidable: NDArray[np.bool_]
    scores: dict[str, Array]
    labels: tuple[str, ...] = HIP_THRUSTS.labels

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def people(self) -> list[str]:
        """Whose rep each row is."""
        return [s.subject for s in self.samples]

    def rows(self, chosen: Sequence[int] | NDArray[np.intp]) -> "Judged":
        """Some of the rows."""
        scores = {name: values[chosen] for name, values in self.scores.items()}
        kept = [self.samples[i] for i in chosen], [self.truths[i] for i in chosen]
        return Judged(*kept, self.faults[chosen], self.decisions[chosen], self.decidable[chosen], scores, self.labels)

    def of(self, folder: str) -> "Judged":
        """The rows of one folder."""
        return self.rows(np.flatnonzero([s.folder == folder for s in self.samples]))

    def decided(self, bands: Sequence[Mapping[str, float]]) -> "Judged":
        """The same rows with the decisions that the model's probabilities give under these bands (L), where any may be made."""
        p = self.scores[MODEL]
        present, absent = (np.array([band[end] for band in bands]) for end in ("present", "absent"))
        decisions = np.where(p >= present, 1.0, np.where(p < absent, 0.0, np.nan))
        return replace(self, decisions=np.where(self.decidable, decisions, np.nan))

    def with_scores(self, scores: Mapping[str, Array]) -> "Judged":
        """The same rows, judged by others as well."""
        return replace(self, scores={**self.scores, **scores})


def judge_clips(scorer: Scorer, poses_dir: Path, clips: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Verdict]:
    """Verdict per (folder, clip), in the order given, of clips that have a track."""
    paths = {key: (poses_dir / key[0] / key[1]).with_suffix(".npz") for key in clips}
    return {key: judge_track(key[1], Track.load(path), scorer) for key, path in paths.items() if path.exists()}


def judged_reps(
    samples: list[Sample],
    verdicts: Mapping[tuple[str, str], Verdict],
    truths: list[Truth | None],
    labels: tuple[str, ...] = HIP_THRUSTS.labels,
) -> Judged:
    """The verdicts' reps under the samples' labels; both come from the same cut of the same track.

    A rep in a clip whose reps are not judged at all (``no_person``, ``too_short``) gets probability 0 and no decision.
    """
    by_start = {(*key, rep.start_s): (rep, verdict.status) for key, verdict in verdicts.items() for rep in verdict.reps}
    p, decisions, rules, seen = (np.full((len(samples), len(labels)), fill) for fill in (0.0, np.nan, np.nan, 0.0))
    for i, s in enumerate(samples):
        if found := by_start.get((s.folder, s.clip, s.rep.start_s)):
            rep, status = found
            seen[i] = [rep.observability[key] if status == "ok" else 0.0 for key in labels]
            p[i] = [rep.probabilities[key] for key in labels]
            decisions[i] = np.array([rep.decisions[key] for key in labels], dtype=np.float64)  # None -> NaN
            rule = dict(zip(FAULT_KEYS, rule_scores(FAULTS, [rep.measures])[0], strict=True))
            rules[i] = [rule.get(key, np.nan) for key in labels]
    scores = {MODEL: p, RULES: rules}
    return Judged(samples, truths, labels_of(samples), decisions, seen >= MIN_OBSERVABLE, scores, labels)


def judged_directly(samples: list[Sample], scorer: Checkpoint) -> Judged:
    """Reps that labels time, each judged on its own: there is no clip to refuse and no angle rule."""
    out = [probabilities_of(scorer.core, samples[start : start + 64]) for start in range(0, len(samples), 64)]
    p, seen = (np.concatenate(part) for part in zip(*out, strict=True))
    labels, names = labels_of(samples), tuple(scorer.labels)
    judged = Judged(samples, [None] * len(samples), labels, p, seen >= MIN_OBSERVABLE, {MODEL: p}, names)
    return judged.decided([scorer.thresholds[name] for name in names])


def probabilities_of(core: Core, samples: Sequence[Sample]) -> tuple[Array, Array]:
    """Probabilities and observability (N, L)."""
    b = collate([item(s) for s in samples])
    with torch.no_grad():
        out = core(b.keypoints, b.fps_hz, b.frames, b.rise_ratio)
    return out.probabilities.double().numpy(), out.observability.double().numpy()


def labels_of(samples: Sequence[Sample]) -> Array:
    """Labels (N, L), NaN where masked."""
    return np.stack([s.faults for s in samples]).astype(np.float64)


def clip_label(labels: Sequence[Label], keys: Sequence[str] = HIP_THRUSTS.labels) -> Array:
    """Labels (L,) of a clip by the rule that decides it: a fault shows in two reps, or in the one there is.

    NaN where uncertain reps leave it open. Every labelled rep counts, found or not.
    """
    faults = np.stack([visible(label.faults, label.view, keys) for label in labels]).astype(np.float64)  # (reps, L)
    needed = min(2, len(faults))
    sure, possible = (faults == 1).sum(axis=0), (faults != 0).sum(axis=0)
    return np.where(sure >= needed, 1.0, np.where(possible < needed, 0.0, np.nan))
