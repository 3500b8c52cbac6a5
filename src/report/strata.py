"""Where a model is good and where not: by view, plates, frame rate, what is no fault, and the true severity of a fault."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.motion.faults import FAULTS
from src.motion.metrics import average_precision, f1, resampled
from src.motion.task import views_of
from src.motion.truth import severity
from src.report.judged import MODEL, Judged
from src.report.numbers import Rows, Thresholds, counts_of, decided, known_scores, with_interval

Array = NDArray[np.float64]
SEVERITIES = (-np.inf, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, np.inf)
"""Edges of the steps in which ``severity`` is counted; step 3, 0 to 1, is the grey zone."""
FAULT = {fault.key: fault for fault in FAULTS}
HEADLINE = "side view, no plates"
CONFOUNDERS: dict[str, Callable[[Mapping[str, float]], bool]] = {
    "long thighs": lambda traits: traits["thigh_m"] >= 0.90 * traits["trunk_m"],
    "short thighs": lambda traits: traits["thigh_m"] <= 0.79 * traits["trunk_m"],
    "high bench": lambda traits: traits["bench_m"] >= 0.45,
    "wide stance": lambda traits: traits["stance_m"] >= 0.40,
    "belly": lambda traits: traits["belly"] >= 0.28,
    "loose shirt": lambda traits: traits["loose_m"] >= 0.02,
    "head back": lambda traits: traits["chin_deg"] <= 33,
    "chin on chest": lambda traits: traits["chin_deg"] >= 70,
}
"""What must not be called a fault, each true of about a tenth of the simulated sets; see ``TRAITS``."""


def strata_of(judged: Judged) -> dict[str, Rows]:
    """Rows by view, where the back was seen, where truth is known by plates and frame rate, and the headline; none is empty."""
    views = np.array([s.view or "unknown" for s in judged.samples])
    plates = np.array([t.plates if t else "" for t in judged.truths])
    rates = np.array([t.rate if t else "" for t in judged.truths])
    strata = {HEADLINE: (views == "side") & (plates == "none")}
    strata |= {f"{view} view": views == view for view in dict.fromkeys(views)}
    strata |= {
        "no plates": plates == "none",
        "dumbbell or plates under 0.3 m": plates == "small",
        "bigger plates": plates == "big",
    }
    strata |= {"side view, bigger plates": (views == "side") & (plates == "big")}
    spine = [views_of(key) == ("side",) for key in judged.labels]
    strata |= {"back seen": judged.decidable[:, spine].any(axis=1)}
    strata |= {"under 20 Hz": rates == "slow", "20 to 40 Hz": rates == "usual", "over 40 Hz": rates == "fast"}
    return {name: np.flatnonzero(inside) for name, inside in strata.items() if inside.any()}


def judge_strata(judged: Judged, thresholds: Thresholds, resamples: int, seed: int) -> dict[str, Any]:
    """Counts, average precision, F1 and decisions per stratum and fault."""
    report = {}
    for name, rows in strata_of(judged).items():
        part = judged.rows(rows)
        draws = resampled(part.people, resamples, np.random.default_rng(seed))
        faults = {key: judge_stratum(part, i, thresholds, draws) for i, key in enumerate(judged.labels)}
        report[name] = {"reps": len(part), "people": len(set(part.people)), "faults": faults}
    return report


def judge_confounders(judged: Judged) -> dict[str, Any]:
    """Of reps without a fault: how many were told it, among everybody and by ``CONFOUNDERS``; empty without a truth."""
    traits = [t.traits if t else None for t in judged.truths]
    groups = {"everybody": np.array([t is not None for t in traits], bool)}
    groups |= {name: np.array([bool(t and odd(t)) for t in traits], bool) for name, odd in CONFOUNDERS.items()}
    found = {}
    for name, inside in groups.items():
        clean = inside[:, None] & (judged.faults == 0)  # (N, L)
        told = clean & (judged.decisions == 1)
        counts = zip(judged.labels, clean.sum(axis=0), told.sum(axis=0), strict=True)
        faults = {key: {"reps": int(reps), "claims": int(claims)} for key, reps, claims in counts}
        people = len({who for who, mine in zip(judged.people, inside, strict=True) if mine})
        if people:
            found[name] = {"people": people, "faults": faults}
    return found


def judge_stratum(part: Judged, i: int, thresholds: Thresholds, draws: Sequence[Rows]) -> dict[str, Any]:
    """One fault in one stratum."""
    y, p = part.faults[:, i], part.scores[MODEL][:, i]
    chosen = (p >= thresholds[MODEL][i]).astype(float)
    ap = with_interval(lambda rows: average_precision(y[rows], p[rows]), len(part), draws)
    others = {
        name: average_precision(y, known_scores(values[:, i]))
        for name, values in part.scores.items()
        if name != MODEL and np.isfinite(values[:, i]).any()
    }
    decisions = decided(y, part.decisions[:, i])
    return counts_of(part, i) | {"average_precision": ap, "f1": f1(y, chosen), "baselines": others} | decisions


def judge_severity(
    judged: Judged, i: int, threshold: float, resamples: int, seed: int
) -> dict[str, list[dict[str, Any]]]:
    """Share of reps detected (probability from the threshold on) per step of true severity, of all reps and without plates.

    Counts every rep from a view that shows the fault, the grey zone included; empty where no truth is known.
    """
    key, p = judged.labels[i], judged.scores[MODEL][:, i]
    views = np.array([s.view in views_of(key) for s in judged.samples])
    true = np.array([severity(FAULT[key], t.quantities) if t and key in FAULT else np.nan for t in judged.truths])
    plates = np.array([t.plates if t else "" for t in judged.truths])
    curves: dict[str, list[dict[str, Any]]] = {}
    for name, seen in (("all", views), ("no plates", views & (plates == "none"))):
        steps = enumerate(zip(SEVERITIES[:-1], SEVERITIES[1:], strict=True))
        inside = [(step, np.flatnonzero(seen & (true >= low) & (true < high))) for step, (low, high) in steps]
        curves[name] = [
            {"step": step} | severity_step(judged, rows, true, p >= threshold, resamples, seed)
            for step, rows in inside
            if len(rows)
        ]
    return curves


def severity_step(
    judged: Judged, rows: Rows, true: Array, found: NDArray[np.bool_], resamples: int, seed: int
) -> dict[str, Any]:
    """One step of the severity curve: its mean severity, how many reps, the share detected with its interval."""
    draws = resampled([judged.samples[i].subject for i in rows], resamples, np.random.default_rng(seed))
    share = with_interval(lambda drawn: float(found[rows[drawn]].mean()), len(rows), draws)
    return {"severity": float(true[rows].mean()), "reps": len(rows), "detected": share}
