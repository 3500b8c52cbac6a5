"""Numbers for multi-label verdicts, all with masked (NaN) labels: average precision, F1, calibration, intervals by person."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rows = NDArray[np.intp]


def average_precision(labels: Array, scores: Array) -> float:
    """Area under the precision-recall steps, ties taken together; NaN without a positive or a negative."""
    known = np.isfinite(labels)
    y, s = labels[known], scores[known]
    if not 0 < y.sum() < len(y):
        return float("nan")
    order = np.argsort(-s, kind="stable")
    hits = np.cumsum(y[order])
    last_of_tie = np.flatnonzero(np.append(np.diff(s[order]) != 0, True))
    precision = hits[last_of_tie] / (last_of_tie + 1)
    gained = np.diff(np.concatenate([[0.0], hits[last_of_tie]])) / y.sum()
    return float((precision * gained).sum())


def f1(labels: Array, decisions: Array) -> float:
    """Harmonic mean of precision and recall of decisions in {0, 1}; NaN where no label is positive."""
    known = np.isfinite(labels)
    y, d = labels[known] > 0.5, decisions[known] > 0.5
    return float(2 * (y & d).sum() / (y.sum() + d.sum())) if y.any() else float("nan")


def precision(labels: Array, decisions: Array) -> float:
    """Share of positive decisions that are right; NaN without one."""
    chosen = np.isfinite(labels) & (decisions > 0.5)
    return float(labels[chosen].mean()) if chosen.any() else float("nan")


def recall(labels: Array, decisions: Array) -> float:
    """Share of positives that were found; NaN without one."""
    positive = np.isfinite(labels) & (labels > 0.5)
    return float((decisions[positive] > 0.5).mean()) if positive.any() else float("nan")


def reliability(labels: Array, probabilities: Array, bins: int = 10) -> tuple[Array, Array, Array]:
    """Mean probability, share of positives and count in equal-width bins (empty bins NaN, NaN, 0)."""
    known = np.isfinite(labels)
    y, p = labels[known], probabilities[known]
    which = np.minimum((p * bins).astype(int), bins - 1)
    count = np.bincount(which, minlength=bins).astype(float)
    with np.errstate(invalid="ignore"):
        return np.bincount(which, p, bins) / count, np.bincount(which, y, bins) / count, count


def expected_calibration_error(labels: Array, probabilities: Array, bins: int = 10) -> float:
    """Mean gap between probability and share of positives, weighted by how many fall into each bin."""
    mean, share, count = reliability(labels, probabilities, bins)
    return float(np.nansum(np.abs(mean - share) * count) / count.sum()) if count.sum() else float("nan")


def chance_calibration_error(probabilities: Array, draws: int = 200, seed: int = 0) -> float:
    """The calibration error that so many probabilities would show if each were exactly right: the floor of a small sample.

    Labels are drawn from the probabilities; reps of one person, which resemble each other, would raise it further.
    """
    rng, p = np.random.default_rng(seed), probabilities[np.isfinite(probabilities)]
    drawn = [expected_calibration_error((rng.random(len(p)) < p).astype(float), p) for _ in range(draws)]
    return float(np.mean(drawn)) if len(p) else float("nan")


def best_threshold(labels: Array, probabilities: Array, weights: Array | None = None) -> float:
    """The threshold with the highest F1, midway between two probabilities; 0.5 without a positive or a negative."""
    known = np.isfinite(labels)
    y, p, w = labels[known], probabilities[known], weights_of(known, weights)
    if not 0 < y.sum() < len(y):
        return 0.5
    order = np.argsort(-p, kind="stable")
    hits, chosen = np.cumsum((w * y)[order]), np.cumsum(w[order])
    scores = 2 * hits / (chosen + (w * y).sum())
    scores[:-1][np.diff(p[order]) == 0] = -1.0
    best = int(np.argmax(scores))
    below = p[order][best + 1] if best + 1 < len(y) else 0.0
    return float((p[order][best] + below) / 2)


def claim_band(labels: Array, probabilities: Array, weights: Array | None = None) -> dict[str, float]:
    """From ``present`` on a fault is claimed, below ``absent`` it is denied, between them a model abstains.

    A fault is claimed where it is more likely there than not, and denied below the threshold with the best F1, if that is lower.
    """
    return {"absent": min(best_threshold(labels, probabilities, weights), 0.5), "present": 0.5}


def weights_of(known: NDArray[np.bool_], weights: Array | None) -> Array:
    """Weights of the known rows; without any, each counts once."""
    return np.ones(int(known.sum())) if weights is None else weights[known]


def balanced(kinds: Sequence[str]) -> Array:
    """Weights (N,) of mean 1 under which every kind counts as much as every other, however many rows it has."""
    _, which, sizes = np.unique(kinds, return_inverse=True, return_counts=True)
    even: Array = len(which) / (len(sizes) * sizes[which].astype(float))
    return even


def calibrate(labels: Array, logits: Array, weights: Array | None = None) -> tuple[float, float]:
    """Platt's scale and bias for one fault, fitted by Newton's method with his smoothed targets (Platt 1999).

    (1, 0) where validation has no positive or no negative: nothing can be learnt then.
    """
    known = np.isfinite(labels)
    y, z = torch.from_numpy(labels[known]), torch.from_numpy(logits[known].astype(np.float64))
    counts = torch.from_numpy(weights_of(known, weights))
    positives, negatives = float((counts * y).sum()), float((counts * (1 - y)).sum())
    if not positives * negatives > 0:
        return 1.0, 0.0
    target = torch.where(y > 0.5, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    x = torch.stack([z, torch.ones_like(z)], dim=1)
    w = torch.tensor([1.0, 0.0], dtype=torch.float64)
    for _ in range(50):
        p = torch.sigmoid(x @ w)
        gradient = x.T @ (counts * (p - target)) + 1e-3 * (w - torch.tensor([1.0, 0.0], dtype=torch.float64))
        hessian = x.T @ (x * (counts * p * (1 - p))[:, None]) + 1e-3 * torch.eye(2, dtype=torch.float64)
        step = torch.linalg.solve(hessian, gradient)
        w = w - step / max(1.0, float(step.norm()))
    return float(w[0]), float(w[1])


def one_of(labels: Array) -> tuple[NDArray[np.bool_], Rows]:
    """Of labels (N, L) that exclude each other: which rows have one that is there (N), and which one it is (N)."""
    is_there = np.nan_to_num(labels)
    return is_there.max(axis=1) > 0, is_there.argmax(axis=1)


def accuracy(labels: Array, probabilities: Array) -> float:
    """Share of rows whose likeliest label is the one that is there; NaN where no row has any."""
    known, which = one_of(labels)
    return float((probabilities.argmax(axis=1) == which)[known].mean()) if known.any() else float("nan")


def temperature(which: Rows, logits: Array, weights: Array | None = None) -> float:
    """The factor on logits (n, L) under which their softmax is likeliest, given true labels and weights (n); 1 without any.

    Guo et al., "On Calibration of Modern Neural Networks" (2017), with targets smoothed as Platt does: a few reps that are all
    right are no proof of certainty.
    """
    n, L = logits.shape
    counts = weights_of(np.ones(n, bool), weights)[:, None]
    target = (np.eye(L)[which] * n + 1.0 / L) / (n + 1.0)
    low, high = 1e-2, 1e2
    for _ in range(60 if n else 0):  # the likelihood has one peak: walk to where its slope is 0
        middle = (low * high) ** 0.5
        p = torch.softmax(torch.from_numpy(middle * logits), dim=1).numpy()
        low, high = (middle, high) if (counts * (p - target) * logits).sum() < 0 else (low, middle)
    return float((low * high) ** 0.5)


def resampled(people: Sequence[str], resamples: int, rng: np.random.Generator) -> list[Rows]:
    """Bootstrap draws of rows: people are drawn with replacement, each with all of their rows."""
    names = np.array(people)
    rows = [np.flatnonzero(names == name) for name in sorted(set(people))]
    return [np.concatenate([rows[i] for i in rng.integers(0, len(rows), len(rows))]) for _ in range(resamples)]


def interval(metric: Callable[[Rows], float], draws: Sequence[Rows]) -> tuple[float, float]:
    """95 % interval of ``metric(rows)`` over the draws of ``resampled`` in which it exists; NaN where it never does."""
    finite = [v for v in map(metric, draws) if np.isfinite(v)]
    low, high = np.percentile(finite, [2.5, 97.5]) if finite else (np.nan, np.nan)
    return float(low), float(high)


def risk_coverage(labels: Array, decisions: Array, confidence: Array) -> tuple[Array, Array]:
    """Coverage and risk (n,) when only the most confident 1, 2, ... n of the known decisions are made.

    Risk is the share of wrong ones; equal confidences enter together, as the mean over their order.
    """
    known = np.isfinite(labels)
    wrong = ((decisions > 0.5) != (labels > 0.5))[known].astype(float)
    _, group, sizes = np.unique(-confidence[known], return_inverse=True, return_counts=True)
    shared = np.bincount(group, wrong) / np.maximum(sizes, 1) if len(wrong) else wrong
    count = np.arange(1, len(wrong) + 1)
    return count / max(len(wrong), 1), np.cumsum(shared[np.sort(group)]) / count
