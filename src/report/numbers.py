"""Every number per fault and per clip, for the model and what it has to beat; NaN where nothing could be measured."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from src.motion.dataset import Count
from src.motion.metrics import (
    average_precision,
    best_threshold,
    chance_calibration_error,
    expected_calibration_error,
    f1,
    interval,
    precision,
    recall,
    risk_coverage,
)
from src.motion.task import views_of
from src.motion.verdict import Verdict
from src.report.judged import MODEL, Judged

Array = NDArray[np.float64]
Rows = NDArray[np.intp]
Thresholds = dict[str, Array]
"""name of a judge -> threshold per fault (L,), chosen on validation people."""


def thresholds_of(labels: Array, scores: Mapping[str, Array]) -> Thresholds:
    """The threshold with the best F1 per judge and fault, the same way for the model and every baseline."""
    columns = range(labels.shape[1])
    return {
        name: np.array([best_threshold(labels[:, i], known_scores(values[:, i])) for i in columns])
        for name, values in scores.items()
    }


def known_scores(scores: Array) -> Array:
    """Scores (N) in which a judge that saw nothing says nothing: NaN becomes less than every other score."""
    seen = scores[np.isfinite(scores)]
    return np.where(np.isfinite(scores), scores, (seen.min() if len(seen) else 0.0) - 1.0)


def with_interval(metric: Callable[[Rows], float], rows: int, draws: Sequence[Rows]) -> dict[str, float]:
    """A metric of all rows with its 95 % interval over people."""
    low, high = interval(metric, draws)
    return {"value": metric(np.arange(rows)), "low": low, "high": high}


def judge_fault(
    judged: Judged, i: int, thresholds: Thresholds, band: dict[str, float], draws: Sequence[Rows]
) -> dict[str, Any]:
    """Every number of fault ``i`` on one set of reps, the baselines beside it."""
    y, p = judged.faults[:, i], judged.scores[MODEL][:, i]
    chosen = (p >= thresholds[MODEL][i]).astype(float)
    metrics: dict[str, Callable[[Rows], float]] = {
        "average_precision": lambda rows: average_precision(y[rows], p[rows]),
        "f1": lambda rows: f1(y[rows], chosen[rows]),
        "precision": lambda rows: precision(y[rows], chosen[rows]),
        "recall": lambda rows: recall(y[rows], chosen[rows]),
        "ece": lambda rows: expected_calibration_error(y[rows], p[rows]),
    }
    return {
        **counts_of(judged, i),
        "threshold": float(thresholds[MODEL][i]),
        "thresholds": band,
        **{name: with_interval(metric, len(judged), draws) for name, metric in metrics.items()},
        "ece_by_chance": chance_calibration_error(p[np.isfinite(y)]),
        **decided(y, judged.decisions[:, i]),
        "hidden": hidden(judged, i),
        "selective": selective(y, p, float(thresholds[MODEL][i])),
        "baselines": judge_baselines(judged, i, thresholds, draws),
    }


def counts_of(judged: Judged, i: int) -> dict[str, Any]:
    """How much is known about fault ``i``."""
    y = judged.faults[:, i]
    known = np.isfinite(y)
    people = {person for person, k in zip(judged.people, known, strict=True) if k}
    share = float(y[known].mean()) if known.any() else float("nan")
    return {"reps": int(known.sum()), "positives": int(np.nansum(y)), "people": len(people), "prevalence": share}


def decided(labels: Array, decisions: Array) -> dict[str, Any]:
    """Decisions actually made (1 or 0; NaN abstains): how many, how often wrong, and the claims among them."""
    known = np.isfinite(labels)
    made = known & np.isfinite(decisions)
    claims = np.nan_to_num(decisions)
    return {
        "decided_share": float(made.sum() / known.sum()) if known.any() else float("nan"),
        "decided_risk": float((labels != decisions)[made].mean()) if made.any() else float("nan"),
        "claims": int(claims[known].sum()),
        "claim_precision": precision(labels, claims),
        "claim_recall": recall(labels, claims),
    }


def judge_decisions(judged: Judged) -> dict[str, Any]:
    """Decisions per fault, and how many labels they are judged on."""
    faults = {
        key: counts_of(judged, i) | decided(judged.faults[:, i], judged.decisions[:, i]) | claims_by_person(judged, i)
        for i, key in enumerate(judged.labels)
    }
    return {"faults": faults, "people": len(set(judged.people))}


def claims_by_person(judged: Judged, i: int) -> dict[str, Any]:
    """How many people fault ``i`` is claimed of, and the mean of their shares of right claims: a person is one proof."""
    right: dict[str, list[float]] = {}
    for person, label, decision in zip(judged.people, judged.faults[:, i], judged.decisions[:, i], strict=True):
        if np.isfinite(label) and decision == 1:
            right.setdefault(person, []).append(float(label))
    shares = [float(np.mean(labels)) for labels in right.values()]
    return {"claimed_people": len(shares), "right_by_person": float(np.mean(shares)) if shares else float("nan")}


def surely_right(fault: Mapping[str, Any]) -> float:
    """Lower 95 % bound of the share of people of whom a fault is claimed rightly (Clopper and Pearson 1934).

    Shares of people's reps are added up, and what is broken of the sum does not count; 0 without a whole one.
    """
    people = fault["claimed_people"]
    right = int(people * fault["right_by_person"] + 1e-9) if people else 0
    return float(beta.ppf(0.025, right, people - right + 1)) if right else 0.0


def hidden(judged: Judged, i: int) -> dict[str, Any]:
    """Reps that do not show fault ``i``, by view or behind plates, and how many are decided all the same (none should be)."""
    views = views_of(judged.labels[i])
    unseen = (s.view != "" and s.view not in views or s.observable[i] == 0 for s in judged.samples)
    rows = np.array(list(unseen), bool)
    made = np.isfinite(judged.decisions[rows, i])
    return {"reps": int(rows.sum()), "decided_share": float(made.mean()) if rows.any() else float("nan")}


def selective(labels: Array, p: Array, threshold: float) -> dict[str, float]:
    """Area under the risk-coverage curve, and the risk when every rep is decided at the threshold."""
    _, risk = risk_coverage(labels, (p >= threshold).astype(float), confidence(p, threshold))
    return {
        "area": float(risk.mean()) if len(risk) else float("nan"),
        "risk_of_all": float(risk[-1]) if len(risk) else float("nan"),
    }


def confidence(p: Array, threshold: float) -> Array:
    """How far probabilities lie from the threshold, in log odds."""
    odds = [np.log(np.clip(x, 1e-6, 1 - 1e-6) / (1 - np.clip(x, 1e-6, 1 - 1e-6))) for x in (p, np.array(threshold))]
    distance: Array = np.abs(odds[0] - odds[1])
    return distance


def judge_baselines(judged: Judged, i: int, thresholds: Thresholds, draws: Sequence[Rows]) -> dict[str, Any]:
    """Average precision and F1 of each baseline, and how far the model is ahead in average precision, paired by person."""
    y, p = judged.faults[:, i], judged.scores[MODEL][:, i]
    report: dict[str, Any] = {}
    for name, values in judged.scores.items():
        if name == MODEL or not np.isfinite(values[:, i]).any():
            continue
        score = known_scores(values[:, i])
        report[name] = baseline_numbers(y, p, score, float(thresholds[name][i]), draws)
    return report


def baseline_numbers(y: Array, p: Array, score: Array, threshold: float, draws: Sequence[Rows]) -> dict[str, Any]:
    """One baseline's numbers on one fault, beside the model's probabilities ``p``."""
    metrics: dict[str, Callable[[Rows], float]] = {
        "average_precision": lambda rows: average_precision(y[rows], score[rows]),
        "f1": lambda rows: f1(y[rows], (score[rows] >= threshold).astype(float)),
        "model_ahead": lambda rows: average_precision(y[rows], p[rows]) - average_precision(y[rows], score[rows]),
    }
    return {"threshold": threshold} | {name: with_interval(m, len(y), draws) for name, m in metrics.items()}


def judge_clip_faults(
    labels: Array, keys: Sequence[str], verdicts: Sequence[Verdict | None], draws: Sequence[Rows]
) -> dict[str, dict[str, Any]]:
    """Clip decisions as ``predict`` makes them against clip labels (clips, L), per fault."""
    return {key: judge_clip_fault(labels[:, i], key, verdicts, draws) for i, key in enumerate(keys)}


def judge_clip_fault(y: Array, key: str, verdicts: Sequence[Verdict | None], draws: Sequence[Rows]) -> dict[str, Any]:
    """One fault of all clips; a clip without a track or reps scores 0 and is undecided."""
    p = np.array([v.probabilities[key] if v and v.probabilities else 0.0 for v in verdicts])
    made = np.array([v.decisions[key] if v and v.decisions else None for v in verdicts], dtype=np.float64)
    ap = with_interval(lambda rows: average_precision(y[rows], p[rows]), len(y), draws)
    counts = {"clips": int(np.isfinite(y).sum()), "positives": int(np.nansum(y))}
    return counts | {"average_precision": ap} | decided(y, made)


def judge_counts(counts: Sequence[Count], doubted: Collection[str] = ()) -> dict[str, Any]:
    """How well reps are counted: clips with the exact number, share of labelled reps found, reps found too many.

    Clips whose labels do not time reps say nothing about counting and are left out; NaN where no clip is left.
    doubted: clips whose verdict says that its count is not to be relied on; ``sure_`` numbers are of the others.
    """
    timed = [c for c in counts if c.labelled is not None]
    labelled = sum(c.labelled or 0 for c in timed)
    exact = [c.labelled == c.found for c in timed]
    sure = [right for c, right in zip(timed, exact, strict=True) if c.clip not in doubted]
    return {
        "clips": len(counts),
        "timed_clips": len(timed),
        "exact_share": float(np.mean(exact)) if timed else float("nan"),
        "sure_clips": len(sure),
        "sure_exact_share": float(np.mean(sure)) if sure else float("nan"),
        "found_share": sum(c.matched for c in timed) / labelled if labelled else float("nan"),
        "extra": sum(max(0, c.found - (c.labelled or 0)) for c in timed),
    }


def mean_of_known(values: Sequence[float]) -> float:
    """Mean of what could be measured, NaN if nothing could."""
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def without_nan(value: Any) -> Any:
    """JSON has no NaN: a number that could not be measured becomes null; others get the six digits that runs agree on."""
    if isinstance(value, dict):
        return {key: without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_nan(inner) for inner in value]
    if isinstance(value, float):
        return round(value, 6) if np.isfinite(value) else None
    return value


def behind(faults: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(fault, baseline, its numbers) wherever a baseline's average precision is above the model's."""
    for key, fault in faults.items():
        yield from ((key, name, numbers) for name, numbers in fault["baselines"].items() if above(numbers))


def above(baseline: Mapping[str, Any]) -> bool:
    """Whether a baseline's average precision is above the model's, by at least what two decimals show."""
    return bool(baseline["model_ahead"]["value"] <= -0.005)
