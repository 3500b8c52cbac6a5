"""What a pose estimator makes of true points: bias, lasting jitter, far limbs, swaps, gaps, plates, loose shirts.

``BIAS``, ``WANDER`` and scores come from 72 rendered clips (72 people, 46 of them from the side) seen by MediaPipe
0.10.21 with tracking, 2026-11; quick jitter from DESIGN.md section 3. Contour: 23 side
clips without large plates through ``src.detect``; shirts and draping are working values.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.motion.camera import Camera
from src.motion.keypoints import HIP_THRUST, Floats
from src.motion.kinematics import Performance, trunk_thigh_deg

Array = NDArray[np.float64]

JOINTS_21 = HIP_THRUST.points[:21]
BIAS = {
    "shoulder": (-0.01, 0.028, 0.050), "hip": (-0.036, -0.005, 0.037), "knee": (-0.020, 0.003, 0.026),
    "toe": (-0.02, -0.02, 0.050), "ankle": (-0.065, -0.020, 0.038), "heel": (-0.030, 0.015, 0.045),
    "elbow": (-0.02, -0.02, 0.080), "wrist": (-0.02, 0.0, 0.080),
}  # fmt: skip
"""Mean along the limb, mean in front of it, spread of a person's constant bias, trunk lengths.

Head points: 0, 0, 0.03."""
WANDER = {
    "shoulder": 0.021, "hip": 0.021, "knee": 0.020, "ankle": 0.016, "elbow": 0.028, "wrist": 0.025,
    "heel": 0.021, "toe": 0.024,
}  # fmt: skip
"""Spread of the error within a clip, near side, side view, no plates, trunk lengths; head points 0.015."""
SIGHT = {"hip": 1.0, "shoulder": 1.0, "elbow": 0.1, "wrist": 0.1, "knee": 0.6, "ankle": 0.6, "heel": 0.65, "toe": 0.68}
"""Median score of far joints in a side view; near joints have 0.97, hips, shoulders and head always 1."""
UNSEEN = np.array([0.22, 0.18, 0.18, 0.15, 0.12, 0.10])
"""Share of side-view clips without a contour point though no plate or near arm hides it."""
COARSER = {"side": 1.0, "oblique": 1.6, "frontal": 2.2}
"""Errors within a clip against the side view's."""
LIMB = {"shoulder": "trunk", "hip": "trunk", "knee": "thigh", "ankle": "shank", "heel": "shank", "toe": "shank"}
CONTOUR_DEG = 40.0
"""Beyond this azimuth nobody sees the trunk's profile: contour points are NaN."""


@dataclass(frozen=True)
class Habit:
    """How the estimator errs on one person.

    Bias (21, 2) along and in front of the limb, contour bias (6,), shirt, all trunk lengths. ``swell`` (6,) is how far the
    outline and ``shift`` (2,) how far the hip point moves between bent and straight hips, whatever the spine does: on real
    bridges without a fault the front of the trunk sinks by 0.05-0.09 towards lockout, soft tissue gathers in a bent hip.
    """

    bias: Array
    contour: Array
    shirt: float
    swell: Array
    shift: Array


def sample_habit(rng: np.random.Generator) -> Habit:
    """Errors that stay with a person and his clothes."""
    rows = [BIAS.get(point.split("_")[-1], (0.0, 0.0, 0.03)) for point in JOINTS_21]
    mean, spread = np.array([row[:2] for row in rows]), np.array([row[2] for row in rows])
    common = rng.normal(0, 1, (21, 2))
    for i in range(5, 21, 2):  # left and right err alike
        common[i + 1] = 0.8 * common[i] + 0.6 * common[i + 1]
    swell = np.concatenate([rng.normal(0.0, 0.025, 3), rng.normal(0.045, 0.035) + rng.normal(0, 0.01, 3)])
    return Habit(
        mean + common * spread[:, None],
        rng.normal(0.025, 0.018, 6),
        float(rng.gamma(1.2, 0.022)),
        swell,
        rng.normal(0, 0.02, 2),
    )


def _lasting(shape: tuple[int, ...], fps_hz: float, memory_s: float, rng: np.random.Generator) -> Array:
    """AR(1) noise of unit size along the first axis, with that memory in seconds."""
    keep = np.exp(-1 / (fps_hz * memory_s))
    fresh = rng.standard_normal(shape) * np.sqrt(1 - keep**2)
    fresh[0] = rng.standard_normal(shape[1:])
    for t in range(1, shape[0]):
        fresh[t] += keep * fresh[t - 1]
    return fresh  # type: ignore[no-any-return]


def _spells(frames: int, fps_hz: float, per_s: float, longest_s: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Frames (T,) inside random spells that start ``per_s`` times a second."""
    on = np.zeros(frames, dtype=bool)
    for start in rng.uniform(0, frames, rng.poisson(per_s * frames / fps_hz)):
        on[int(start) : int(start + rng.uniform(0.05, longest_s) * fps_hz) + 1] = True
    return on


def behind_plate(perf: Performance, camera: Camera, points: Array) -> NDArray[np.bool_]:
    """Which points (T, n, 3) the plates hide from the camera: (T, n)."""
    hidden = np.zeros(points.shape[:2], dtype=bool)
    if perf.setup.load == "none":
        return hidden
    ray = points - camera.position_m
    for end in ("left_bar", "right_bar"):
        centre = perf[end][:, None]
        share = (centre[..., 1] - camera.position_m[1]) / np.where(np.abs(ray[..., 1]) < 1e-6, 1e-6, ray[..., 1])
        hit = camera.position_m + ray * share[..., None]
        near = np.hypot(hit[..., 0] - centre[..., 0], hit[..., 2] - centre[..., 2]) < perf.setup.plate_m / 2
        hidden |= near & (share > 0) & (share < 1)
    return hidden


def _frames(px: Array, names: tuple[str, ...]) -> dict[str, Array]:
    """Unit vectors along trunk, thigh and shank in the picture, (T, 2) each."""
    mid = {
        n: (px[:, names.index(f"left_{n}")] + px[:, names.index(f"right_{n}")]) / 2
        for n in ("shoulder", "hip", "knee", "ankle")
    }
    pairs = {"trunk": ("shoulder", "hip"), "thigh": ("hip", "knee"), "shank": ("knee", "ankle")}
    axes = {name: mid[b] - mid[a] for name, (a, b) in pairs.items()}
    return {name: axis / np.maximum(np.linalg.norm(axis, axis=-1, keepdims=True), 1e-6) for name, axis in axes.items()}


def _biased(px: Array, bias: Array, unit_px: Array) -> Array:
    """Joints (T, 21, 2) moved by bias (21, 2) in their limb's own frame.

    "in front" is the upper side of the trunk in the picture.
    """
    axes, out = _frames(px, JOINTS_21), px.copy()
    for i, point in enumerate(JOINTS_21):
        along = axes[LIMB.get(point.split("_")[-1], "trunk")]
        trunk = axes["trunk"]
        front = np.stack([along[:, 1], -along[:, 0]], axis=-1) * np.where(trunk[:, :1] >= 0, 1, -1)
        out[:, i] += unit_px[:, None] * (bias[i, 0] * along + bias[i, 1] * front)
    return out


def _lean(px: Array, depth: Array, amount: float) -> tuple[Array, NDArray[np.bool_]]:
    """Far joints pulled towards their near partner by ``amount``; and which joints are far (T, 21)."""
    partner = list(HIP_THRUST.mirrored[:21])
    far = depth > depth[:, partner] + 0.03
    return px + amount * far[..., None] * (px[:, partner] - px), far


def _plates(px: Array, perf: Performance, camera: Camera, hidden: Array, rng: np.random.Generator) -> Array:
    """Hidden joints drawn to the plate that hides them: ``hidden`` (T, 21) in 0..1 says how much."""
    near = "left_bar" if camera.side == "left" else "right_bar"
    plate = camera.project(perf[near][:, None])[0]  # (T, 1, 2)
    return px + hidden[..., None] * rng.uniform(0.25, 0.95, 21)[:, None] * (plate - px)


def _smooth(mask: NDArray[np.bool_], fps_hz: float) -> Array:
    width = max(int(0.12 * fps_hz), 1)
    kernel = np.ones(width) / width
    total = np.cumsum(np.concatenate([np.repeat(mask[:1], width, axis=0), mask]).astype(float), axis=0)
    return (total[width:] - total[:-width]) * kernel[0]  # type: ignore[no-any-return]


def see_joints(perf: Performance, camera: Camera, habit: Habit, rng: np.random.Generator) -> Array:
    """The 21 joints as an estimator would give them: (T, 21, 3) px, px, score."""
    true, depth = camera.project(perf.joints[:, :21])
    unit_px = camera.focal_px * perf.person.trunk_m / depth[:, 5:13].mean(axis=1)  # (T,) pixels per trunk length
    px, far = _lean(true, depth, rng.uniform(0, 0.6) if camera.view == "side" else rng.uniform(0, 0.2))
    px = _biased(px, habit.bias + rng.normal(0, 0.015 + 0.03 * (perf.setup.plate_m > 0.3), (21, 2)), unit_px)
    bent = (flexion(perf) * unit_px)[:, None, None]  # (T, 1, 1)
    px[:, 11:13] += bent * (1.0 if camera.side == "left" else -1.0) * habit.shift * (1.0, 0.0) + bent * habit.shift * (
        0.0,
        1.0,
    )
    hidden = _smooth(behind_plate(perf, camera, perf.joints[:, :21]), perf.fps_hz)
    px = _plates(px, perf, camera, hidden, rng)
    px += _wander(perf, far, hidden, rng) * (COARSER[camera.view] * unit_px)[:, None, None]
    outside = ((px < 0) | (px > np.array(camera.size_px) - 1)).any(axis=-1)
    score = _scores(far * (1.0 if camera.view == "side" else 0.5), hidden, perf.fps_hz, rng) - 0.5 * outside
    return np.concatenate([px, np.clip(score, 0.01, 1.0)[..., None]], axis=-1)


def _wander(perf: Performance, far: NDArray[np.bool_], hidden: Array, rng: np.random.Generator) -> Array:
    """Errors within a clip (T, 21, 2), trunk lengths: one part follows the pose, one is slow, one quick, one rare and wild."""
    shape, fps_hz = (len(far), 21, 2), perf.fps_hz
    size = np.array([WANDER.get(p.split("_")[-1], 0.015) for p in JOINTS_21]) * rng.lognormal(0, 0.3)
    height = (perf["left_hip"] + perf["right_hip"])[:, 2]
    risen = (height - height.mean()) / max(float(height.std()), 0.02)  # (T,) about -1 at the bottom, 1 at lockout
    slow = 0.7 * _lasting(shape, fps_hz, rng.uniform(0.6, 3.0), rng) + 0.7 * risen[:, None, None] * rng.normal(
        0, 1, (21, 2)
    )
    quick = _lasting(shape, fps_hz, rng.uniform(0.03, 0.15), rng)
    wild = _spells(len(far), fps_hz, 0.03, 0.3, rng)[:, None, None] * 0.12
    scale = size * (1 + 0.3 * far + 1.5 * hidden + 0.4 * (perf.setup.load == "barbell"))
    return slow * scale[..., None] + quick * (rng.uniform(0.1, 0.6) * scale[..., None] + wild)  # type: ignore[no-any-return]


def _scores(far: NDArray[np.floating], hidden: Array, fps_hz: float, rng: np.random.Generator) -> Array:
    """Scores (T, 21): far limbs low, hidden knees doubtful, hips, shoulders and head certain even when hidden."""
    sight = np.array([SIGHT.get(p.split("_")[-1], 1.0) for p in JOINTS_21])
    sure = np.array([p.split("_")[-1] in ("knee", "ankle", "heel", "toe", "elbow", "wrist") for p in JOINTS_21])
    low = np.clip(sight + rng.normal(0, 0.15, 21) * sure, 0.03, 1.0)
    score = np.where(sure, 0.97, 0.998) * (1 - far * (1 - low)) * (1 - 0.5 * hidden * sure * rng.random(21))
    return score - 0.03 * sure * np.abs(_lasting(hidden.shape, fps_hz, 0.3, rng))  # type: ignore[no-any-return]


def _arm_cover(perf: Performance, camera: Camera, points_px: Array, unit_px: Array) -> NDArray[np.bool_]:
    """Which contour points (T, 6, 2) lie behind the near arm: (T, 6)."""
    cover = np.zeros(points_px.shape[:2], dtype=bool)
    chain = camera.project(
        np.stack([perf[f"{camera.side}_{n}"] for n in ("shoulder", "elbow", "wrist", "hand")], axis=1)
    )[0]
    for a, b, radius in ((0, 1, 0.10), (1, 2, 0.08), (2, 3, 0.07)):
        bone, arm = (chain[:, b] - chain[:, a])[:, None], points_px - chain[:, a][:, None]
        share = np.clip((arm * bone).sum(-1) / np.maximum((bone**2).sum(-1), 1e-6), 0, 1)
        cover |= np.linalg.norm(arm - share[..., None] * bone, axis=-1) < radius * unit_px[:, None]
    return cover


def flexion(perf: Performance) -> Array:
    """0 at straight hips, 1 at 60 degrees of flexion, over time (T,)."""
    shoulder, hip, knee = (0.5 * (perf[f"left_{part}"] + perf[f"right_{part}"]) for part in ("shoulder", "hip", "knee"))
    return np.clip((180.0 - trunk_thigh_deg(shoulder, hip, knee)) / 60.0, 0.0, 1.3)


def see_contour(perf: Performance, camera: Camera, habit: Habit, rng: np.random.Generator) -> Array:
    """The six trunk-contour points: (T, 6, 3); NaN with score 0 where the view, a plate or an arm hides them."""
    true, depth = camera.project(perf.joints[:, 21:27])
    unit_px = camera.focal_px * perf.person.trunk_m / depth.mean(axis=1)
    middle = (true[:, :3] + true[:, 3:]) / 2
    out = true - np.concatenate([middle, middle], axis=1)
    out = out / np.maximum(np.linalg.norm(out, axis=-1, keepdims=True), 1e-6)
    shape, fps_hz, big = (len(true), 6), perf.fps_hz, perf.setup.load == "barbell" and perf.setup.plate_m > 0.3
    shirt = habit.shirt * np.array([0.6, 1.2, 0.6, 0.5, 0.8, 0.6]) * (1 + 0.2 * _lasting(shape, fps_hz, 0.8, rng))
    noise = habit.contour + rng.normal(0, 0.05 if big else 0.01, 6)
    noise = noise + rng.uniform(0.006, 0.015) * (1 + big) * _lasting(shape, fps_hz, rng.uniform(0.3, 2.0), rng)
    noise = noise * (1 + max(camera.azimuth_deg - 20, 0) / 15)
    noise = noise + flexion(perf)[:, None] * habit.swell
    px = true + out * ((shirt + noise) * unit_px[:, None])[..., None]
    drape = min(habit.shirt / 0.08, 1) * rng.uniform(0, 0.8)  # a loose shirt bridges the hollow
    px[:, 1] += drape * 0.5 * ((px[:, 0] + px[:, 2]) / 2 - px[:, 1])
    px += 0.006 * unit_px[:, None, None] * _lasting(px.shape, fps_hz, 0.1, rng)
    hidden = behind_plate(perf, camera, perf.joints[:, 21:27])
    hidden |= _arm_cover(perf, camera, true, unit_px) & (rng.random(6) < 0.8)
    hidden |= (rng.random(6) < UNSEEN + 0.2 * big) | (camera.azimuth_deg > CONTOUR_DEG)
    hidden |= ((px < 0) | (px > np.array(camera.size_px) - 1)).any(axis=-1)
    score = np.clip(1.02 - np.abs(rng.normal(0, 0.1, 6)) - 0.1 * np.abs(_lasting(shape, fps_hz, 0.3, rng)), 0.05, 1)
    seen: Array = np.concatenate([px, score[..., None]], axis=-1)
    seen[hidden] = (np.nan, np.nan, 0.0)
    return seen


def observe(perf: Performance, camera: Camera, habit: Habit, rng: np.random.Generator) -> Floats:
    """The keypoints (T, 27, 3) float32 that an estimator would report for this performance seen by this camera."""
    keypoints = np.concatenate([see_joints(perf, camera, habit, rng), see_contour(perf, camera, habit, rng)], axis=1)
    frames, fps_hz = len(keypoints), perf.fps_hz
    legs = np.array([HIP_THRUST.index(f"left_{n}") for n in ("hip", "knee", "ankle", "heel", "toe")])
    swapped = _spells(frames, fps_hz, 0.04 if camera.view == "side" else 0.02, 0.5, rng) | (rng.random() < 0.03)
    rows = np.flatnonzero(swapped)[:, None]
    keypoints[rows, legs], keypoints[rows, legs + 1] = keypoints[rows, legs + 1], keypoints[rows, legs].copy()
    often = 0.4 if camera.view == "frontal" else 0.15
    lost = _spells(frames, fps_hz, often, 0.5, rng) & (rng.random() < often + 0.05)
    keypoints[lost] = (np.nan, np.nan, 0.0)
    return keypoints.astype(np.float32)
