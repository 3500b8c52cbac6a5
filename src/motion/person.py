"""Who lifts and where: body proportions, bench, feet, load, head and arms; all of it independent of the faults."""

from dataclasses import dataclass

import numpy as np

FRACTIONS = {
    "thigh_m": 0.245, "shank_m": 0.246, "ankle_m": 0.039, "foot_m": 0.152, "trunk_m": 0.288, "upper_arm_m": 0.186,
    "forearm_m": 0.146, "hand_m": 0.108, "head_m": 0.130, "shoulder_m": 0.225, "hip_m": 0.105,
}  # fmt: skip
"""Segment lengths over body height: Drillis & Contini (1966) as printed in Winter, Biomechanics and Motor Control of
Human Movement, fig. 4.1. ``shoulder_m`` and ``hip_m`` are distances between joint centres, narrower than the breadths
printed there (0.259, 0.191); that narrowing and ``FEMALE`` are working values of this project."""

FEMALE = {"shoulder_m": 0.92, "hip_m": 1.08, "trunk_m": 1.01, "foot_m": 0.96, "hand_m": 0.97}
SPREAD = 0.035
"""Standard deviation of one segment's fraction between people, as a part of the mean (long and short femurs)."""
SOLE_M = (0.005, 0.035)
"""Soles of flat and of running shoes: Winter measured bare feet, and lifters wear shoes."""

ARMS = ("bar", "hips", "floor", "bench", "chest")
LOADS = ("none", "dumbbell", "barbell")
PLATES_M = (0.20, 0.23, 0.28, 0.33, 0.36, 0.40, 0.45)


@dataclass(frozen=True)
class Person:
    """One body. Lengths in metres; ``depth``, ``belly``, ``glute`` and ``girth`` scale soft tissue (1 = average).

    ankle_m: height of the joint above the floor, in shoes. swell: how far the front of the trunk bulges at hips bent by
    60 deg, trunk lengths: on real bridges without a fault it sinks by 0.05-0.09 towards lockout.
    """

    sex: str
    height_m: float
    thigh_m: float
    shank_m: float
    ankle_m: float
    foot_m: float
    trunk_m: float
    upper_arm_m: float
    forearm_m: float
    hand_m: float
    head_m: float
    shoulder_m: float
    hip_m: float
    lordosis_deg: float
    kyphosis: float
    depth: float
    belly: float
    glute: float
    girth: float
    swell: float
    lumbar_rest_deg: float
    lockout_deg: float


@dataclass(frozen=True)
class Setup:
    """One set's equipment and posture habits.

    bench_m: height of the bench's edge; 0 = floor bridge. contact: where it meets the back, trunk lengths down.
    shin_deg: shin at a straight lockout, + = feet far (the only entry that a fault moves); shin_follow: share of a raised
    trunk's pitch that the shins lean besides. stance_m: between the ankles. feet_skew_m: left foot ahead of the right.
    knees_deg: (left, right), + = knees out. load, plate_m, bar_half_m: what lies on the hips. arms: one of ``ARMS``.
    chin_deg, gaze_deg: head pitch in the room at the bottom, and its change towards the top. head_turn_deg: to the left.
    neck: length, 1 = average. shrug: shoulders up, trunk lengths.
    """

    bench_m: float
    contact: float
    shin_deg: float
    shin_follow: float
    stance_m: float
    toe_out_deg: float
    feet_skew_m: float
    knees_deg: tuple[float, float]
    load: str
    plate_m: float
    bar_half_m: float
    arms: str
    grip_m: float
    chin_deg: float
    gaze_deg: float
    head_turn_deg: float
    neck: float
    shrug: float

    @property
    def variant(self) -> str:
        """``hip_thrust`` on a bench, ``glute_bridge`` on the floor."""
        return "hip_thrust" if self.bench_m > 0 else "glute_bridge"


def _between(rng: np.random.Generator, mean: float, sd: float, low: float, high: float) -> float:
    return float(np.clip(rng.normal(mean, sd), low, high))


def sample_person(rng: np.random.Generator) -> Person:
    """A person of either sex, 1.50-2.00 m.

    Lumbar lordosis 25-60 deg (supine, working range), every proportion its own.
    """
    sex = "female" if rng.random() < 0.5 else "male"
    height_m = _between(rng, 1.65, 0.07, 1.50, 1.88) if sex == "female" else _between(rng, 1.77, 0.075, 1.56, 2.00)
    lengths = {
        name: height_m
        * share
        * (FEMALE.get(name, 1.0) if sex == "female" else 1.0)
        * _between(rng, 1, SPREAD, 0.9, 1.1)
        for name, share in FRACTIONS.items()
    }
    lengths["ankle_m"] += rng.uniform(*SOLE_M)
    return Person(
        sex=sex, height_m=height_m, **lengths,
        lordosis_deg=_between(rng, 42, 8, 25, 60), kyphosis=_between(rng, 1, 0.25, 0.4, 1.6),
        depth=_between(rng, 1, 0.09, 0.8, 1.3), belly=float(rng.gamma(2.0, 0.07)), glute=_between(rng, 1, 0.15, 0.65,
        1.5),
        girth=_between(rng, 1, 0.12, 0.75, 1.35), swell=_between(rng, 0.045, 0.03, -0.01, 0.11),
        lumbar_rest_deg=_between(rng, 0, 1.6, -3.5, 3.5), lockout_deg=_between(rng, 177.6, 1.8, 173, 181.5),
    )  # fmt: skip


def sample_setup(rng: np.random.Generator, person: Person) -> Setup:
    """Bench 0.30-0.50 m (one set in six on the floor), load, feet and habits; ``shin_deg`` is the clean habit -8..9."""
    floor = rng.random() < 1 / 6
    load = str(rng.choice(LOADS, p=(0.6, 0.15, 0.25) if floor else (0.4, 0.15, 0.45)))
    arms = str(rng.choice([a for a in ARMS if (a != "bar" or load != "none") and (a != "bench" or not floor)]))
    plate_m = {"none": 0.0, "dumbbell": _between(rng, 0.15, 0.03, 0.1, 0.2)}.get(load, float(rng.choice(PLATES_M)))
    knees = rng.normal(3, 5) + rng.normal(0, 2.5, 2)
    return Setup(
        bench_m=0.0 if floor else _between(rng, 0.41, 0.04, 0.30, 0.50),
        contact=_between(rng, 0.12, 0.03, 0.06, 0.18) if floor else _between(rng, 0.27, 0.04, 0.18, 0.36),
        shin_deg=_between(rng, 0.5, 3.3, -8, 9), shin_follow=float(rng.uniform(0.5, 1.0)) * floor,
        stance_m=person.height_m * _between(rng, 0.18, 0.04, 0.09, 0.30),
        toe_out_deg=_between(rng, 12, 9, -5, 35), feet_skew_m=_between(rng, 0, 0.012, -0.03, 0.03),
        knees_deg=(float(knees[0]), float(knees[1])), load=load, plate_m=plate_m,
        bar_half_m=float(rng.uniform(0.60, 0.72)) if load == "barbell" else 0.11,
        arms=arms, grip_m=person.hip_m * float(rng.uniform(1.2, 2.2)),
        chin_deg=_between(rng, 52, 14, 15, 85), gaze_deg=_between(rng, -26, 13, -60, 10), head_turn_deg=_between(rng,
        0, 9, -40, 40),
        neck=_between(rng, 1, 0.12, 0.75, 1.25), shrug=_between(rng, 0, 0.035, -0.08, 0.08),
    )  # fmt: skip
