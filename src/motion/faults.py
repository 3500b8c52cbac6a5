"""The four faults: one sourced row each, read by the simulator, the labels, the metrics, the report and the model card."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Cue:
    """One measurable sign of a fault.

    quantity: name of a number per rep (see ``QUANTITIES``).
    absent, present: up to ``absent`` the sign is not there, from ``present`` on it is, between them nobody should be sure.
    ``present < absent`` means that small values are the fault.
    """

    quantity: str
    absent: float
    present: float

    def judge(self, value: float) -> float:
        """1 present, 0 absent, NaN in the grey zone or when the value is missing."""
        sign = 1.0 if self.present > self.absent else -1.0
        if sign * value >= sign * self.present:
            return 1.0
        return 0.0 if sign * value <= sign * self.absent else float("nan")


@dataclass(frozen=True)
class Fault:
    """What a fault is called, what shows it, from where it can be seen, and what to tell the lifter.

    carriers: groups of points, of the near side or of the trunk's outline; where one is covered nobody can judge the fault.
    """

    key: str
    title: str
    meaning: str
    cues: tuple[Cue, ...]
    views: tuple[str, ...]
    carriers: tuple[tuple[str, ...], ...]
    advice: str
    source: str


QUANTITIES = {
    "hip_top_deg": "signed trunk-thigh angle at lockout; 180 = straight, above 180 = hips above the shoulder-knee line",
    "lumbar_top": "mid-lumbar point off the shoulder-hip chord at lockout, against neutral, trunk lengths, + arched",
    "knee_top_deg": "knee angle at lockout; 180 = straight leg",
    "bend_top_deg": "knee_top_deg less what hips above the shoulder-knee line explain (they open the knees without a fault)",
    "shin_top_deg": "shin against the vertical at lockout; + = leaning away from the hips (feet far)",
    "lean_top_deg": "shin_top_deg less what a raised trunk explains (a floor bridge leans the shins without a fault)",
    "rise_ratio": "hip rise of this rep over the person's own best rise in the set",
}

LOW_BACK = ("back_55", "back_70", "back_85", "front_50", "front_75")

FAULTS = (
    Fault(
        "overarch", "Overarched low back", "the low back extends instead of the hips",
        (Cue("hip_top_deg", 186.0, 190.0), Cue("lumbar_top", 0.03, 0.04)), ("side",), (LOW_BACK, ("hip",)),
        "Ribs down, brace, stop where the hips meet the line from shoulders to knees.",
        "angle and chord limits: working values of this project, to be calibrated on labelled footage",
    ),
    Fault(
        "tuck", "Tucked pelvis", "the tailbone tucks under and the low back rounds under load",
        (Cue("lumbar_top", -0.02, -0.03),), ("side",), (LOW_BACK, ("hip",)),
        "Keep the distance from breastbone to navel constant and move at the hips.",
        "chord limit: working value of this project; a pelvic tilt of 9-11 deg moves the mid-lumbar point about 2.3 cm",
    ),
    Fault(
        "feet_too_far", "Feet too far from the hips", "at lockout the shins lean away from the hips",
        (Cue("bend_top_deg", 100.0, 110.0), Cue("lean_top_deg", 10.0, 15.0)), ("side", "oblique"), (("knee",), ("ankle",)),
        "Bring the feet in until the shins are vertical at the top.",
        "geometry for a 1.75 m person: feet 10 / 15 cm out give knee 105 / 114 deg, shin 13 / 21 deg",
    ),
    Fault(
        "partial_range", "Partial range", "the hips stop short of the line, or do not come down",
        (Cue("hip_top_deg", 170.0, 160.0), Cue("rise_ratio", 0.85, 0.80)), ("side", "oblique"), (("hip",),),
        "Less load, pause one count at the line, control the way down.",
        "coaching texts ask for 176-180 deg at lockout; the limits are working values of this project",
    ),
)  # fmt: skip

FAULT_KEYS = tuple(fault.key for fault in FAULTS)


def judge(fault: Fault, quantities: Mapping[str, float]) -> float:
    """Label of one fault from true quantities: 1 if any cue is present, 0 if all are absent, else NaN (grey zone)."""
    verdicts = [cue.judge(quantities[cue.quantity]) for cue in fault.cues]
    if 1.0 in verdicts:
        return 1.0
    return 0.0 if all(verdict == 0.0 for verdict in verdicts) else float("nan")
