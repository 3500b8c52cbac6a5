"""Legs, feet, head and arms: two-link chains and free parts that hang on the trunk."""

import numpy as np
from numpy.typing import NDArray

from src.motion.cycle import Curves
from src.motion.person import Person, Setup

Array = NDArray[np.float64]
SIDES = (("left", 1.0), ("right", -1.0))
THIGH = (
    (-0.16, 0.01, 0.01, 0.0), (-0.12, 0.060, 0.060, 0.0), (-0.04, 0.080, 0.083, 0.0), (0.1, 0.086, 0.092, 0.0),
    (0.25, 0.083, 0.090, 0.004), (0.45, 0.074, 0.080, 0.006), (0.65, 0.064, 0.068, 0.004), (0.82, 0.055, 0.058, 0.002),
    (0.94, 0.053, 0.056, 0.004), (1.03, 0.046, 0.048, 0.004), (1.10, 0.008, 0.008, 0.0),
)  # fmt: skip
"""The thigh's skin: place along it from hip (0) to knee (1), half width, half depth and shift forwards, m at average girth."""
SEAT = slice(3, 6)
"""Rows of ``THIGH`` that bound the seat from below."""
BENCH_M = (0.42, 1.3)
"""The largest bench: how far it reaches behind its edge, and how wide it is, m."""
HAND_M = 0.02
"""Half a hand's thickness."""


def two_link(root: Array, target: Array, first_m: float, second_m: float, towards: Array) -> tuple[Array, Array]:
    """Middle joint and reached end, (..., 3) each, of two links; bent towards the vector ``towards``.

    A target out of reach leaves the chain straight.
    """
    reach = target - root
    span = np.linalg.norm(reach, axis=-1, keepdims=True)
    axis = reach / np.maximum(span, 1e-9)
    d = np.clip(span, abs(first_m - second_m) + 1e-3, (first_m + second_m) * 0.9995)
    along = (first_m**2 - second_m**2 + d**2) / (2 * d)
    aside = np.sqrt(np.maximum(first_m**2 - along**2, 0))
    pole = towards - (towards * axis).sum(-1, keepdims=True) * axis
    pole = pole / np.maximum(np.linalg.norm(pole, axis=-1, keepdims=True), 1e-9)
    return root + along * axis + aside * pole, root + d * axis


def knees(person: Person, setup: Setup, hips: Array, ankles: Array) -> Array:
    """Knees (T, 2, 3) above hips and ankles (T, 2, 3), spread outwards by ``setup.knees_deg``."""
    spread = np.deg2rad(np.array(setup.knees_deg))
    towards = np.stack([np.zeros(2), np.sin(spread) * np.array([1, -1]), np.cos(spread)], axis=-1)  # (2, 3)
    return two_link(hips, ankles, person.thigh_m, person.shank_m, np.broadcast_to(towards, hips.shape))[0]


def behind_thigh(hip: Array, knee: Array, girth: float) -> Array:
    """Skin (T, 3, 2) behind the thigh, below the seat, from hips and knees (T, 2): m, in the plane (x, z) of someone face up.

    girth: 1 = average.
    """
    axis = knee - hip
    length = np.linalg.norm(axis, axis=-1, keepdims=True)
    behind = np.stack([axis[:, 1], -axis[:, 0]], axis=-1) / length  # (T, 2)
    at, _, deep_m, shift_m = np.array(THIGH[SEAT]).T[..., None]  # (3, 1) each
    skin: Array = hip[:, None] + at * axis[:, None] + (deep_m - shift_m) * leg_build(girth) * behind[:, None]
    return skin


def leg_build(girth: float) -> float:
    """How thick thigh and shank are, 1 = average; a person's girth is mostly the trunk's."""
    return 0.55 + 0.45 * girth


def feet(person: Person, setup: Setup, ankles: Array) -> dict[str, Array]:
    """Ankles, heels and toes (T, 3); the soles lie flat, turned out by ``toe_out_deg``."""
    points = {}
    for i, (side, sign) in enumerate(SIDES):
        turn = np.deg2rad(setup.toe_out_deg)
        ahead, ankle = np.array([np.cos(turn), sign * np.sin(turn), 0.0]), ankles[:, i]
        sole = ankle - np.array([0, 0, person.ankle_m - 0.018])
        points[f"{side}_ankle"] = ankle
        points[f"{side}_heel"] = sole - 0.22 * person.foot_m * ahead
        points[f"{side}_toe"] = sole + 0.68 * person.foot_m * ahead
    return points


def head(person: Person, setup: Setup, mid: Array, curves: Curves, rng: np.random.Generator) -> dict[str, Array]:
    """Head points (T, 3). The neck is free: its pitch in the room follows the time within the rep, not the spine.

    0 deg = face to the ceiling, 90 = looking towards the feet, upright. ``mid`` (T, 2, 2): mid-shoulder and mid-hip.
    """
    pitch = np.deg2rad(
        setup.chin_deg
        + setup.gaze_deg * curves.phase
        + 2.5 * np.sin(curves.seconds * rng.uniform(0.5, 2) + rng.uniform(0, 6))
    )
    pitch = pitch + np.deg2rad(20) * curves.sit
    shoulder = np.stack([mid[:, 0, 0], np.zeros(len(mid)), mid[:, 0, 1]], axis=-1)
    up = np.stack([-np.cos(pitch), np.zeros_like(pitch), np.sin(pitch)], axis=-1)  # towards the crown
    face = np.stack([np.sin(pitch), np.zeros_like(pitch), np.cos(pitch)], axis=-1)
    turn = np.deg2rad(setup.head_turn_deg)
    left = np.array([0.0, 1.0, 0.0])
    face, left = face * np.cos(turn) + left * np.sin(turn), left * np.cos(turn) - face * np.sin(turn)
    size = person.head_m
    neck = shoulder + up * size * 0.20 * setup.neck - face * size * 0.12
    middle = shoulder + up * size * (0.38 + 0.50 * setup.neck) + face * size * 0.12
    middle[:, 2] = np.maximum(middle[:, 2], setup.bench_m * (shoulder[:, 0] < 0.3) + 0.5 * size)
    points = {
        "neck": neck,
        "head": middle,
        "crown": middle + up * size * 0.5,
        "nose": middle + face * size * 0.46 - up * size * 0.08,
    }
    for side, sign in SIDES:
        points[f"{side}_ear"] = middle + sign * left * size * 0.34 - up * size * 0.04
        points[f"{side}_eye"] = middle + sign * left * size * 0.14 + face * size * 0.38 + up * size * 0.08
    return points


def sunk(points: Array, setup: Setup) -> Array:
    """How deep points (..., 3) lie in the floor or in a bench as large as any, metres; 0 above both."""
    x, y, z = np.moveaxis(points, -1, 0)
    bench = np.minimum.reduce([setup.bench_m - z, -x, x + BENCH_M[0], BENCH_M[1] / 2 - np.abs(y)])
    deep: Array = np.maximum.reduce([-z, bench, np.zeros_like(z)])
    return deep


def arms(
    person: Person, setup: Setup, placed: dict[str, Array], hips: Array, rng: np.random.Generator
) -> dict[str, Array]:
    """Shoulders, elbows, wrists, hands and the bar (T, 3).

    ``placed`` holds the trunk in the plane, ``hips`` is (T, 2, 3).
    """
    mid, front = placed["mid"], placed["pelvis"]
    crease = placed["fore"][:, -2] * 0.5 + placed["fore"][:, -1] * 0.5 + 0.025 * front  # (T, 2)
    bar = np.stack([crease[:, 0], np.zeros(len(crease)), crease[:, 1]], axis=-1)
    chord = mid[:, 1] - mid[:, 0]
    chest = np.stack(
        [0.2 * chord[:, 0] - 0.32 * chord[:, 1], np.zeros(len(chord)), 0.2 * chord[:, 1] + 0.32 * chord[:, 0]], axis=-1
    )
    out, bow, jitter = rng.uniform(0.0, 0.15), rng.uniform(0.15, 0.9), rng.normal(0, 0.02, 3)
    points = {"bar": bar}
    for i, (side, sign) in enumerate(SIDES):
        shoulder = np.stack([mid[:, 0, 0], np.full(len(mid), sign * person.shoulder_m / 2), mid[:, 0, 1]], axis=-1)
        wish = {
            "bar": bar + np.array([-0.03, sign * setup.grip_m, 0.03]),
            "hips": hips[:, i] + np.array([-0.06, sign * (0.07 + out / 4), 0.07]),
            "floor": np.stack(
                [shoulder[:, 0] + 0.40, np.full(len(mid), sign * (0.30 + out)), np.full(len(mid), 0.04)], axis=-1
            ),
            "bench": np.broadcast_to(np.array([-0.10, sign * (0.45 + out), setup.bench_m + 0.05]), shoulder.shape),
            "chest": shoulder + chest + np.array([0.0, -sign * (0.16 + out / 3), 0.0]),
        }[setup.arms] + jitter
        towards = {"floor": (0, sign * 0.4, 0.5), "bench": (-1.0, sign * 0.3, 0.3), "chest": (0.3, sign, -0.6)}.get(
            setup.arms, (-0.2, sign * bow, -1.0)
        )
        aside, lengths = np.array([0.0, sign, 0.2]), (person.upper_arm_m, person.forearm_m)
        poles = (np.broadcast_to((1 - k) * np.array(towards) + k * aside, shoulder.shape) for k in np.linspace(0, 1, 5))
        chains = [two_link(shoulder, wish, *lengths, pole) for pole in poles]
        elbow, wrist = min(chains, key=lambda chain: max(sunk(chain[0], setup).max(), 0.005))  # the first that is clear
        hand = wrist + (wrist - elbow) / person.forearm_m * person.hand_m * 0.5
        hand[:, 2] = np.maximum(hand[:, 2], HAND_M + (setup.bench_m if setup.arms == "bench" else 0.0))  # it lies flat
        points |= {f"{side}_shoulder": shoulder, f"{side}_elbow": elbow, f"{side}_wrist": wrist, f"{side}_hand": hand}
        points[f"{side}_bar"] = bar + np.array([0, sign * setup.bar_half_m, 0])
    return points
