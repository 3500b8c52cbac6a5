"""What a change costs: the same labelled reps judged before and after, differences paired by person."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.motion.dataset import matching, visible
from src.motion.faults import FAULT_KEYS
from src.motion.labels import Label
from src.motion.metrics import average_precision, f1, interval, resampled
from src.motion.reps import Rep
from src.motion.verdict import Verdict
from src.report.numbers import Rows, mean_of_known

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """p (N, L) of N labelled reps, 0 for one that was not found; found (N)."""

    p: Array
    found: NDArray[np.bool_]

    @classmethod
    def joined(cls, parts: Sequence["Scores"]) -> "Scores":
        """One after the other."""
        return cls(np.concatenate([part.p for part in parts]), np.concatenate([part.found for part in parts]))


def label_scores(verdict: Verdict, labels: Sequence[Label], tempo: float = 1.0) -> Scores:
    """Scores of a clip's timed labels; ``tempo`` says how much longer than labelled everything takes now."""
    reps = [Rep(r.start_s, r.top_s, r.end_s, r.complete) for r in verdict.reps]
    p, found = np.zeros((len(labels), len(FAULT_KEYS))), np.zeros(len(labels), dtype=bool)
    for i, label in enumerate(labels):
        now = replace(label, start_s=tempo * (label.start_s or 0.0), end_s=tempo * (label.end_s or 0.0))
        for rep in matching(now, reps):
            found[i] = True
            p[i] = [verdict.reps[reps.index(rep)].probabilities[key] for key in FAULT_KEYS]
    return Scores(p, found)


def labels_known(labels: Sequence[Label]) -> Array:
    """Labels (N, L), NaN where uncertain or hidden from the view."""
    return np.stack([visible(label.faults, label.view) for label in labels]).astype(np.float64)


def compare(
    clips: Mapping[str, Sequence[Label]], before: Scores, after: Scores, thresholds: Array, resamples: int, seed: int
) -> dict[str, Any]:
    """Macro F1 at the thresholds and macro average precision before and after, with the interval of the difference."""
    labels = [label for rows in clips.values() for label in rows]
    y, people = labels_known(labels), [label.subject for label in labels]
    draws = resampled(people, resamples, np.random.default_rng(seed))
    report: dict[str, Any] = {"clips": len(clips), "people": len(set(people)), "reps": len(labels)}
    report |= {"found_before": int(before.found.sum()), "found_after": int(after.found.sum())}
    for name, kind in (("f1", macro_f1), ("average_precision", macro_ap)):
        report[name] = paired(lambda p, rows, kind=kind: kind(y[rows], p[rows], thresholds), before.p, after.p, draws)
    return report


def paired(metric: Any, before: Array, after: Array, draws: Sequence[Rows]) -> dict[str, float]:
    """``metric(p, rows)`` before and after; the difference with its 95 % interval over the same draws of people."""
    every = np.arange(len(before))
    low, high = interval(lambda rows: metric(after, rows) - metric(before, rows), draws)
    old, new = metric(before, every), metric(after, every)
    return {"before": old, "after": new, "difference": new - old, "low": low, "high": high}


def macro_f1(labels: Array, p: Array, thresholds: Array) -> float:
    """Mean F1 over the faults that occur."""
    chosen = (p >= thresholds).astype(float)
    return mean_of_known([f1(labels[:, i], chosen[:, i]) for i in range(labels.shape[1])])


def macro_ap(labels: Array, p: Array, _: Array) -> float:
    """Mean average precision over the faults that occur."""
    return mean_of_known([average_precision(labels[:, i], p[:, i]) for i in range(labels.shape[1])])
