"""A hip-thrust set as moving joints: feet stay on the floor, the upper back on the bench, the rest follows.

Axes: x from the bench towards the feet, y to the lifter's left, z up; the bench's edge is the line x = 0, z = bench height.
The trunk turns about that edge until the trunk-thigh angle is the wished one; two-link legs reach the feet. Labels and angles
are read off the finished joints, never off the sampler.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.motion.cycle import Curves, Severity, Tempo, play, sample_severity, sample_tempo
from src.motion.faults import FAULTS, judge
from src.motion.keypoints import BACK_FRACTIONS, FRONT_FRACTIONS, HIP_THRUST, OUTLINE, SPINE
from src.motion.limbs import arms, behind_thigh, feet, head, knees
from src.motion.person import Person, Setup, sample_setup
from src.motion.spine import CHEST, MID_LUMBAR, NODES, Trunk, bend, contour, lumbar_offset

Array = NDArray[np.float64]

EXTRA = (
    "neck", "head", "crown", "left_hand", "right_hand", "left_bar", "right_bar", "bar",
    *(f"spine_{n}" for n in NODES), *(f"rear_{n}" for n in NODES), *(f"fore_{n}" for n in NODES),
)  # fmt: skip
STEEPEST_DEG = 56.0
"""The trunk is never steeper than this on the bench; on a high bench the hips then hang above the floor."""
JOINTS = HIP_THRUST.points + EXTRA
"""Names of ``Performance.joints``.

The skeleton's 32 points first, then head centre, hands, bar ends, spine and skin.
"""


@dataclass(frozen=True)
class Rep:
    """One rep's truth: seconds, ``QUANTITIES``, labels 0/1/NaN.

    ``severity`` is what was asked for, not the truth.
    """

    start_s: float
    top_s: float
    end_s: float
    quantities: dict[str, float]
    labels: dict[str, float]
    severity: dict[str, float]


@dataclass(frozen=True)
class Performance:
    """A set: joints (T, J, 3) metres in the order ``JOINTS``, at ``fps_hz``, and the truth about each rep.

    neutral_lumbar: mid-lumbar offset of this person at rest, trunk lengths; the zero of ``lumbar_top``.
    """

    person: Person
    setup: Setup
    fps_hz: float
    joints: Array
    reps: tuple[Rep, ...]
    neutral_lumbar: float

    def __getitem__(self, name: str) -> Array:
        """One point (T, 3)."""
        return self.joints[:, JOINTS.index(name)]

    @property
    def lumbar(self) -> Array:
        """Mid-lumbar point before the shoulder-hip chord (T,), trunk lengths: of the body, whatever the camera makes of it."""
        return _angles(self.joints)["lumbar"]


def place(trunk: Trunk, setup: Setup, trunk_m: float, pitch: Array) -> dict[str, Array]:
    """The trunk (T frames) pitched by (T,) rad about the bench's edge, in the plane (x, z); + = hips down.

    The contact point of the back stays on the edge; if the back above it would sink into the bench (or floor),
    it rests on that.
    """
    back = trunk.rear[:, : CHEST + 1]
    at = setup.contact * trunk_m
    i = int(np.clip((back[0, :, 0] < at).sum(), 1, CHEST))
    share = (at - back[:, i - 1, 0]) / (back[:, i, 0] - back[:, i - 1, 0])
    touch = back[:, i - 1] + (back[:, i] - back[:, i - 1]) * share[:, None]  # (T, 2)
    c, s = np.cos(pitch)[:, None], np.sin(pitch)[:, None]

    def turn(points: Array) -> Array:
        u, n = points[..., 0] - touch[:, None, 0], points[..., 1] - touch[:, None, 1]
        return np.stack([u * c + n * s, n * c - u * s], axis=-1)

    above = turn(back[:, :i])
    lift = setup.bench_m + np.maximum(-above[..., 1].min(axis=1), 0.0)
    move = np.stack([np.zeros_like(lift), lift], axis=-1)[:, None]
    joints = np.stack([trunk.shoulder, trunk.hip], axis=1)
    parts = {"spine": trunk.spine, "rear": trunk.rear, "fore": trunk.fore, "mid": joints}
    placed = {name: turn(points) + move for name, points in parts.items()}
    front = trunk.pelvis
    placed["pelvis"] = np.stack(
        [front[:, 0] * c[:, 0] + front[:, 1] * s[:, 0], front[:, 1] * c[:, 0] - front[:, 0] * s[:, 0]], axis=-1
    )
    return placed


def trunk_thigh_deg(shoulder: Array, hip: Array, knee: Array) -> Array:
    """Signed angle (T,): 180 straight, below when flexed, above when the hips are above the shoulder-knee line.

    (T, 2) or (T, 3).
    """
    trunk, thigh = (hip - shoulder)[..., [0, -1]], (knee - hip)[..., [0, -1]]
    cross = trunk[..., 0] * thigh[..., 1] - trunk[..., 1] * thigh[..., 0]
    return 180.0 - np.rad2deg(np.arctan2(cross, (trunk * thigh).sum(-1)))  # type: ignore[no-any-return]


def _legs(person: Person, setup: Setup, hip: Array, ankles: Array) -> tuple[Array, Array]:
    """Hip and knee joints, (T, 2, 3) each, left then right, from the mid-hip (T, 2) and ankles (T, 2, 3)."""
    sides = np.array([0.5, -0.5]) * person.hip_m
    hips = np.stack([np.stack([hip[:, 0], np.full(len(hip), y), hip[:, 1]], axis=-1) for y in sides], axis=1)
    return hips, knees(person, setup, hips, ankles)


def _solve(person: Person, setup: Setup, trunk: Trunk, ankles: Array, hip_deg: Array) -> Array:
    """Trunk pitch (T,) rad at which the trunk-thigh angle is the wished one: secant steps, error below 0.05 deg."""

    def error(pitch: Array) -> Array:
        mid = place(trunk, setup, person.trunk_m, pitch)["mid"]
        _, knee = _legs(person, setup, mid[:, 1], ankles)
        return trunk_thigh_deg(mid[:, 0], mid[:, 1], knee.mean(axis=1)[:, [0, 2]]) - hip_deg

    old = np.deg2rad((178 - hip_deg) * 0.6) + (0.0 if setup.bench_m else -0.4)
    new = old - 0.05
    old_error, new_error = error(old), error(new)
    for _ in range(9):
        slope = (new_error - old_error) / np.where(np.abs(new - old) < 1e-9, 1e-9, new - old)
        step = np.clip(-new_error / np.where(np.abs(slope) < 5, -60, slope), -0.3, 0.3)
        old, old_error, new = new, new_error, np.clip(new + step, -0.9, 1.1)
        new_error = error(new)
        if np.abs(new_error).max() < 0.02:
            break
    return new


def _sweep(person: Person, setup: Setup, shin_deg: float) -> tuple[float, float]:
    """Where the ankles stand so that the shin is ``shin_deg`` at a straight lockout.

    Returns that place (x, metres) and the trunk-thigh angle with the buttocks on the floor.
    """
    pitch = np.deg2rad(np.linspace(STEEPEST_DEG, -50, 400))
    trunk = bend(person, np.full(len(pitch), person.lumbar_rest_deg), setup.shrug)
    placed = place(trunk, setup, person.trunk_m, pitch)
    shoulder, hip = placed["mid"][:, 0], placed["mid"][:, 1]
    aside = abs(setup.stance_m - person.hip_m) / 2 / (person.thigh_m + person.shank_m)
    flat = np.sqrt(1 - aside**2)
    slope = np.arctan2(hip[:, 1] - shoulder[:, 1], hip[:, 0] - shoulder[:, 0]) + np.deg2rad(180 - person.lockout_deg)
    knee_x, knee_z = (
        hip[:, 0] + person.thigh_m * flat * np.cos(slope),
        hip[:, 1] + person.thigh_m * flat * np.sin(slope),
    )
    raised = np.maximum(slope - np.deg2rad(180 - person.lockout_deg), 0.0)  # hips above shoulders, as in a bridge
    shin = np.deg2rad(shin_deg) + setup.shin_follow * raised  # (400,)
    gap = knee_z - person.ankle_m - person.shank_m * flat * np.cos(shin)  # rises as the pitch falls
    at = int(np.argmax(gap >= 0)) if (gap >= 0).any() else int(np.argmax(gap))
    ankle_x = float(knee_x[at] + person.shank_m * flat * np.sin(shin[at]))
    low = int(
        np.argmax(placed["rear"][:, CHEST + 1 :, 1].min(axis=1) >= 0.0)
    )  # steepest with the buttocks above the floor
    ankles = np.broadcast_to(_ankles(person, setup, ankle_x), (len(pitch), 2, 3))
    _, knee = _legs(person, setup, hip, ankles)
    return ankle_x, float(trunk_thigh_deg(shoulder, hip, knee.mean(axis=1)[:, [0, 2]])[low])


def _ankles(person: Person, setup: Setup, ankle_x: float) -> Array:
    """Ankles (2, 3), left then right, feet flat."""
    skew, half = setup.feet_skew_m / 2, setup.stance_m / 2
    return np.array([[ankle_x + skew, half, person.ankle_m], [ankle_x - skew, -half, person.ankle_m]])


def _sit_up(placed: dict[str, Array], sit: Array, lean: Array) -> dict[str, Array]:
    """The trunk turned up about the hips by (T,) rad where the lifter sits, buttocks on the floor."""
    turn = sit * lean
    c, s = np.cos(turn)[:, None, None], np.sin(turn)[:, None, None]
    centre = placed["mid"][:, 1:2]
    out = {}
    for name, points in placed.items():
        arm = points[:, None] if name == "pelvis" else points - centre
        turned = np.concatenate([arm[..., :1] * c + arm[..., 1:] * s, arm[..., 1:] * c - arm[..., :1] * s], axis=-1)
        out[name] = turned[:, 0] if name == "pelvis" else turned + centre
    drop = np.stack([np.zeros_like(sit), sit * out["rear"][..., 1].min(axis=1)], axis=-1)[:, None]
    return {name: points if name == "pelvis" else points - drop for name, points in out.items()}


def _deep(points: Array, y: float = 0.0) -> Array:
    """Plane points (..., 2) as (..., 3) at lateral position y."""
    return np.stack([points[..., 0], np.full(points.shape[:-1], y), points[..., 1]], axis=-1)


def _joints(
    person: Person, setup: Setup, curves: Curves, ankle_x: float, floor_deg: float, rng: np.random.Generator
) -> Array:
    """Joints (T, J, 3) of the curves."""
    ankles = np.repeat(_ankles(person, setup, ankle_x)[None], len(curves.seconds), axis=0)  # (T, 2, 3)
    ankles[..., 0] += curves.feet_m
    ankles[..., 2] += curves.lift_m
    hip_deg = curves.hip_deg * (1 - curves.sit) + floor_deg * curves.sit
    trunk = bend(person, curves.lumbar_deg, setup.shrug, np.clip((180 - hip_deg) / 60, 0, 1.3))
    pitch = _solve(person, setup, trunk, ankles, hip_deg)
    lean = np.maximum(np.deg2rad(rng.uniform(62, 82)) - pitch, 0.0)
    placed = _sit_up(place(trunk, setup, person.trunk_m, pitch), curves.sit, lean)
    hips, knee = _legs(person, setup, placed["mid"][:, 1], ankles)
    shoulder, hip = placed["mid"][:, 0], placed["mid"][:, 1]
    seat = behind_thigh(hip, knee.mean(axis=1)[:, [0, 2]], person.girth)
    rear = contour(shoulder, hip, np.concatenate([placed["rear"], seat], axis=1), BACK_FRACTIONS)
    fore = contour(shoulder, hip, placed["fore"], FRONT_FRACTIONS)
    points = {"left_hip": hips[:, 0], "right_hip": hips[:, 1], "left_knee": knee[:, 0], "right_knee": knee[:, 1]}
    skin = np.concatenate([rear, fore], axis=1)  # (T, 10, 2)
    points |= {name: _deep(skin[:, i]) for i, name in enumerate(OUTLINE)} | {
        SPINE: _deep(placed["spine"][:, MID_LUMBAR])
    }
    points |= {
        f"{part}_{n}": _deep(placed[part][:, i]) for part in ("spine", "rear", "fore") for i, n in enumerate(NODES)
    }
    points |= feet(person, setup, ankles)
    points |= head(person, setup, placed["mid"], curves, rng)
    points |= arms(person, setup, placed, hips, rng)
    return np.stack([points[name] for name in JOINTS], axis=1)


def _angles(perf_joints: Array) -> dict[str, Array]:
    """True angles and offsets over time (T,) from joints (T, J, 3).

    Keys: hip, knee, shin, trunk (deg), lumbar (trunk lengths), hip height (m).
    """
    get = {name: perf_joints[:, i] for i, name in enumerate(JOINTS)}
    shoulder, hip, knee, ankle = (
        (get[f"left_{n}"] + get[f"right_{n}"]) / 2 for n in ("shoulder", "hip", "knee", "ankle")
    )
    bends = []
    for side in ("left", "right"):
        thigh, shank = get[f"{side}_hip"] - get[f"{side}_knee"], get[f"{side}_ankle"] - get[f"{side}_knee"]
        cos = (thigh * shank).sum(-1) / np.linalg.norm(thigh, axis=-1) / np.linalg.norm(shank, axis=-1)
        bends.append(np.rad2deg(np.arccos(np.clip(cos, -1, 1))))
    plane = [0, 2]
    return {
        "hip": trunk_thigh_deg(shoulder, hip, knee), "knee": np.mean(bends, axis=0),
        "shin": np.rad2deg(np.arctan2(ankle[:, 0] - knee[:, 0], knee[:, 2] - ankle[:, 2])),
        "trunk": np.rad2deg(np.arctan2(hip[:, 2] - shoulder[:, 2], np.abs(hip[:, 0] - shoulder[:, 0]))),
        "lumbar": lumbar_offset(shoulder[:, plane], hip[:, plane], get[SPINE][:, plane]),
        "rise": hip[:, 2],
    }  # fmt: skip


def _reps(joints: Array, curves: Curves, severity: Severity, neutral: float, fps_hz: float) -> tuple[Rep, ...]:
    """Truth per rep from the joints: lockout is where the hips are highest, numbers are means within 0.1 s of it."""
    angles, found = _angles(joints), []
    for start_s, end_s in curves.reps:
        inside = np.flatnonzero((curves.seconds >= start_s) & (curves.seconds <= end_s))
        top = inside[np.argmax(angles["rise"][inside])]
        near = slice(max(top - round(0.1 * fps_hz), 0), top + round(0.1 * fps_hz) + 1)
        values = {f"{key}_top_deg": float(angles[key][near].mean()) for key in ("hip", "knee", "shin")}
        trunk = float(angles["trunk"][near].mean())
        values["bend_top_deg"] = values["knee_top_deg"] - max(0.0, values["hip_top_deg"] - 180.0)
        values["lean_top_deg"] = values["shin_top_deg"] - max(0.0, trunk)
        values["lumbar_top"] = float(angles["lumbar"][near].mean()) - neutral
        up = inside[inside <= top]
        to_line = up[angles["hip"][up] <= 180.5]  # what lies above the line is no range
        values["rise_ratio"] = float(np.ptp(angles["rise"][to_line]))
        found.append((start_s, top / fps_hz, end_s, values))
    best = max(values["rise_ratio"] for *_, values in found)
    for *_, values in found:
        values["rise_ratio"] /= best
    return tuple(
        Rep(start, top, end, values, {f.key: judge(f, values) for f in FAULTS}, severity.row(i))
        for i, (start, top, end, values) in enumerate(found)
    )


def perform(
    person: Person, setup: Setup, tempo: Tempo, severity: Severity, fps_hz: float, rng: np.random.Generator
) -> Performance:
    """One set by this person with these faults; the frame rate changes the sampling in time, not the motion."""
    ankle_x, floor_deg = _sweep(person, setup, setup.shin_deg + 22 * severity.feet_too_far)
    curves = play(person, tempo, severity, floor_deg, fps_hz, rng)
    joints = _joints(person, setup, curves, ankle_x, floor_deg, rng)
    rest = bend(person, np.zeros(1))
    neutral = float(lumbar_offset(rest.shoulder, rest.hip, rest.spine[:, MID_LUMBAR])[0])
    return Performance(person, setup, fps_hz, joints, _reps(joints, curves, severity, neutral, fps_hz), neutral)


def sample_performance(person: Person, reps: int, fps_hz: float, rng: np.random.Generator) -> Performance:
    """A random set of ``reps`` reps by this person: setup, tempo and faults drawn independently of each other."""
    setup, tempo = sample_setup(rng, person), sample_tempo(rng)
    return perform(person, setup, tempo, sample_severity(rng, reps), fps_hz, rng)
