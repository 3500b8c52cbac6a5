"""What the model has to beat: angle rules, logistic regression, MiniROCKET. The home of scikit-learn and aeon.

All see what the model sees (its features of the same cut reps) and are fitted on the same training reps. How strongly a
fit is held back is chosen per fault by average precision on validation people, as the model's epoch is.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from aeon.transformations.collection.convolution_based import MiniRocket
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from src.motion.dataset import Sample, collate, item
from src.motion.metrics import average_precision
from src.motion.model import Core

Array = NDArray[np.float64]
Single = NDArray[np.float32]
HEIGHT = "hip above shoulder-knee line"
LOGISTIC_STRENGTHS = (1e-2, 1e-1, 1.0)
RIDGE_STRENGTHS = (1e2, 1e3, 1e4)
Fit = Callable[[Single, Array], Callable[[Single], Array]]
"""Rows (n, D) and labels (n) in {0, 1} -> a function from rows to scores."""


def features_of(core: Core, samples: Sequence[Sample], batch: int = 64) -> Single:
    """The model's own input series (N, F, M)."""
    rows = []
    with torch.no_grad():
        for start in range(0, len(samples), batch):
            b = collate([item(s) for s in samples[start : start + batch]])
            rows.append(core.features(b.keypoints, b.fps_hz, b.frames, b.rise_ratio)[0].numpy())
    return np.concatenate(rows)


def summary(series: Single, names: Sequence[str]) -> Single:
    """Each rep's series (N, F, M) as mean, least, greatest and, where hips are known, at their highest: (N, 3 F or 4 F)."""
    parts = [series.mean(axis=2), series.min(axis=2), series.max(axis=2)]
    if HEIGHT in names:
        top = series[:, names.index(HEIGHT)].argmax(axis=1)
        parts.append(np.take_along_axis(series, top[:, None, None], axis=2)[..., 0])
    return np.concatenate(parts, axis=1)


def logistic(strength: float) -> Fit:
    """Logistic regression; a smaller strength holds it back more."""

    def fit(x: Single, y: Array) -> Callable[[Single], Array]:
        score: Callable[[Single], Array] = (
            LogisticRegression(C=strength, max_iter=1000, tol=1e-3).fit(x, y).decision_function
        )
        return score

    return fit


def ridge(strength: float) -> Fit:
    """Ridge regression on the label; a greater strength holds it back more."""

    def fit(x: Single, y: Array) -> Callable[[Single], Array]:
        score: Callable[[Single], Array] = Ridge(strength, solver="cholesky").fit(x, y).predict
        return score

    return fit


def fitted_scores(fits: Sequence[Fit], rows: Sequence[Single], labels: Sequence[Array]) -> list[Array]:
    """Scores (n, L) on validation and test, from rows (n, D) of train, validation and test; labels of train and validation.

    Per fault the fit with the best average precision on validation; masked labels are left out of that fault's fit. NaN for
    a fault that training people do not show both ways.
    """
    scale = StandardScaler().fit(rows[0])
    train, *others = (scale.transform(part).astype(np.float32) for part in rows)
    scores = [np.full((len(part), labels[0].shape[1]), np.nan) for part in others]
    for i in range(labels[0].shape[1]):
        known = np.isfinite(labels[0][:, i])
        if len(np.unique(labels[0][known, i])) < 2:
            continue
        made = [[score(part) for part in others] for score in (fit(train[known], labels[0][known, i]) for fit in fits)]
        judged = np.nan_to_num([average_precision(labels[1][:, i], validation) for validation, _ in made])
        for column, score in zip(scores, made[int(np.argmax(judged))], strict=True):
            column[:, i] = score
    return scores


def minirocket(series: Sequence[Single], kernels: int, seed: int) -> list[Single]:
    """Shares of positive values (n, D) of each of the series (n, F, M), fitted on the first."""
    values = fitted_minirocket(series[0], kernels, seed)
    return [values(part) for part in series]


def fitted_minirocket(series: Single, kernels: int, seed: int, threads: int = 1) -> Callable[[Single], Single]:
    """What gives the shares of positive values (n, D) of random convolutions, biases drawn from the series (n, F, M).

    Dempster, Schmidt and Webb, "MiniRocket" (2021).
    """
    transform: Any = MiniRocket(kernels, n_jobs=threads, random_state=seed)

    def still(call: Callable[[Single], Any], part: Single) -> Any:
        with warnings.catch_warnings():  # an unseen point stands still
            warnings.filterwarnings("ignore", "Data seen by instance of MiniRocket", UserWarning)
            return call(part)

    still(transform.fit, series)
    return lambda part: still(transform.transform, part)


def fit_baselines(
    core: Core, parts: Sequence[Sequence[Sample]], labels: Sequence[Array], kernels: int, seed: int
) -> dict[str, list[Array]]:
    """Scores (n, L) of validation and test reps per learnt baseline; ``parts`` are train, validation and test."""
    series, names = [features_of(core, part) for part in parts], core.features.names
    held = {
        "logistic regression": ([logistic(s) for s in LOGISTIC_STRENGTHS], [summary(part, names) for part in series]),
        "MiniROCKET": ([ridge(s) for s in RIDGE_STRENGTHS], minirocket(series, kernels, seed)),
    }
    return {name: fitted_scores(fits, rows, labels) for name, (fits, rows) in held.items()}
