"""A verdict in words: what was found, what it rests on, and why nothing is said of the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from src.motion.faults import FAULTS, LOW_BACK, QUANTITIES, Fault
from src.motion.measure import MEASURED
from src.motion.model import LEVEL_DEG
from src.motion.verdict import RepVerdict, Verdict, shown

WORDS = {1: "Fault", 0: "Not seen", None: "No claim"}
KINDS = {1: "fault", 0: "clear", None: "open"}
QUANTITY_WORDS = {
    "hip_top_deg": "Hip angle at lockout",
    "lumbar_top": "Low back off the line from shoulder to hip",
    "knee_top_deg": "Knee angle at lockout",
    "bend_top_deg": "Knee angle at lockout, less what raised hips explain",
    "lean_top_deg": "Shin leaning away at lockout, less what a raised trunk explains",
    "rise_ratio": "Hip rise against the best rep",
}
MEASURED_ON = {
    "simulated": "simulated keypoints",
    "detected/simulated": "rendered video through the pose network",
    "detected/proof": "rendered video of people kept for proof",
}
"""What the core's metadata call the people it was measured on, in words."""
NEVER_JUDGED = "This model never judges it: on rendered people too few of its claims proved right."
CONTRADICTED = "A number below lies beyond its limit: look at that lockout, whether the points sit on the lifter."


@dataclass(frozen=True)
class Finding:
    """One fault of a clip, in words. ``kind`` is fault, clear or open; ``why`` tells what the verdict rests on.

    p: probability; None of a fault that this core never judges, for a number would pass for a verdict.
    """

    fault: Fault
    kind: str
    verdict: str
    why: str
    p: float | None
    limits: tuple[float, float]
    seen: float
    cues: list[str]


def number(value: float | None, digits: int = 0) -> str:
    """A number, or a dash where there is none; never -0."""
    return "–" if value is None or not np.isfinite(value) else f"{round(value, digits) + 0.0:.{digits}f}"


def probability(p: float) -> str:
    """Two digits; neither 0.00 nor 1.00, which would sound certain."""
    return "<0.01" if p < 0.005 else ">0.99" if p >= 0.995 else f"{p:.2f}"


def told_apart(p: float, *limits: float) -> list[str]:
    """A probability and its limits with two digits, or as many as tell them apart."""
    for digits in (2, 3, 4):
        if all(f"{p:.{digits}f}" != f"{limit:.{digits}f}" for limit in limits):
            break
    said = [f"{value:.{digits}f}" for value in (p, *limits)]
    return [probability(p), *said[1:]] if digits == 2 else said


def headline(verdict: Verdict) -> str:
    """The verdict in one sentence."""
    if verdict.status != "ok":
        return verdict.reason[:1].upper() + verdict.reason[1:] + "."
    found = [fault.title for fault in FAULTS if (verdict.decisions or {}).get(fault.key) == 1]
    if found:
        return " and ".join([", ".join(found[:-1]), found[-1]] if len(found) > 1 else found) + "."
    decisions = set((verdict.decisions or {}).values())
    if decisions == {None}:
        return "None of the four faults could be judged."
    return "No fault claimed." if None in decisions else "None of the four faults was seen."


def findings(verdict: Verdict, model: Mapping[str, Any]) -> list[Finding]:
    """Every fault of the core, in its order; faults that the table of faults does not know have no page."""
    known = [fault for fault in FAULTS if verdict.probabilities and fault.key in verdict.probabilities]
    return [finding(fault, verdict, model["thresholds"][fault.key]) for fault in known]


def finding(fault: Fault, verdict: Verdict, band: Mapping[str, float]) -> Finding:
    """One fault: its decision and why."""
    decision, p = (verdict.decisions or {}).get(fault.key), (verdict.probabilities or {})[fault.key]
    seen = float(np.mean([rep.observability[fault.key] for rep in verdict.reps]))
    limits = (band["absent"], band["present"])
    numbers = cues(fault, verdict.reps)
    if muted(band):
        return Finding(fault, KINDS[None], "Never judged", NEVER_JUDGED, None, limits, seen, numbers)
    why = reason(fault, verdict, decision, p, limits)
    return Finding(fault, KINDS[decision], verdict_word(verdict, fault, decision), why, p, limits, seen, numbers)


def muted(band: Mapping[str, float]) -> bool:
    """Whether a core never judges the fault with these thresholds."""
    return band["present"] > 1


def verdict_word(verdict: Verdict, fault: Fault, decision: int | None) -> str:
    """Fault, Not seen, Not observable or No claim."""
    if decision is None and not shown(fault.key, verdict.reps):
        return "Not observable"
    return WORDS[decision]


def reason(fault: Fault, verdict: Verdict, decision: int | None, p: float, limits: tuple[float, float]) -> str:
    """Why a decision was made or not."""
    value, absent, present = told_apart(p, *limits)
    with_it = sum(rep.decisions[fault.key] == 1 for rep in verdict.reps)
    if decision == 1:
        return f"Probability {value} is at or above {present}; claimed in {with_it} of {len(verdict.reps)} reps."
    if decision == 0:
        doubt = " " + CONTRADICTED if beyond_limits(fault, verdict.reps) else ""
        return f"Probability {value} is below {absent}.{doubt}"
    if verdict.status != "ok":
        return "Nothing is claimed of this clip, as said above."
    if not shown(fault.key, verdict.reps):
        if LOW_BACK in fault.carriers and on_the_floor(verdict.reps):
            return "A bridge on the floor, hips far above shoulders at lockout: faults of the spine are judged on a bench only."
        return f"Too little of what shows it is visible: {hidden_by(fault, verdict.view)}."
    return f"Probability {value} lies between {absent} and {present}: too close to say."


def on_the_floor(reps: Sequence[RepVerdict]) -> bool:
    """Whether the trunk at lockout is so steep in the usual rep that the core takes it for a bridge on the floor."""
    return bool(np.median([rep.measures.trunk_top_deg for rep in reps]) > LEVEL_DEG)


def hidden_by(fault: Fault, view: str) -> str:
    """What to change: the view, or what stands in the way."""
    if view in fault.views and LOW_BACK in fault.carriers:
        return "plates, arms or clothes may hide it; with the arms crossed the back is in view"
    if view in fault.views:
        return "plates, arms or clothes may hide it"
    return f"it is judged from {' or '.join(view_word(v) for v in fault.views)}"


def beyond_limits(fault: Fault, reps: Sequence[RepVerdict]) -> bool:
    """Whether what was measured of any rep lies beyond a limit of the table of faults."""
    cues = [cue for cue in fault.cues if cue.quantity in MEASURED]
    return any(cue.judge(float(getattr(rep.measures, cue.quantity))) == 1 for cue in cues for rep in reps)


def view_word(view: str) -> str:
    """A view as people say it."""
    return {"side": "the side", "oblique": "an oblique view"}.get(view, view)


def cues(fault: Fault, reps: Sequence[RepVerdict]) -> list[str]:
    """What was measured of the fault's signs, beside the limits of the table of faults; a chord no joint shows is named."""
    lines = []
    for cue in fault.cues:
        words = QUANTITY_WORDS.get(cue.quantity, QUANTITIES[cue.quantity].partition(";")[0])
        unit = "°" if cue.quantity.endswith("_deg") else ""
        if cue.quantity not in MEASURED:
            lines.append(f"{words}: no joint angle shows it; the network reads spine and outline of the trunk")
            continue
        values = [v for rep in reps if np.isfinite(v := float(getattr(rep.measures, cue.quantity)))]
        digits = 0 if unit else 2
        measured = " · ".join(f"{number(value, digits)}{unit}" for value in values) or "not measured"
        side = "more" if cue.present > cue.absent else "less"
        lines.append(f"{words}: {measured} (working limit: {cue.present:.{digits}f}{unit} or {side})")
    return lines
