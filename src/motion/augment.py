"""What another body, camera or detector would have made of a rep: the changes that training puts onto keypoints."""

import numpy as np

from src.motion.keypoints import HIP_THRUST, SPINE, TRUNK, Floats, middle

LAYERS = [[HIP_THRUST.index(point) for point in TRUNK if point.startswith(part)] for part in ("back", "front", SPINE)]
FLESH = ((0.0, 0.02, 0.0, 0.02), (0.0, 0.03, -0.02, 0.04), (0.0, 0.005, 0.0, 0.005))
"""Back, front and spine of other bodies and clothes, as a detector sees them, trunk lengths towards the front: mean and spread
of a constant, and of what comes with straight hips. Rendered skin varies less: on real bridges without a fault the front sinks
by 0.05-0.09 to lockout. Of the spine real bridges show nothing that rendered people do not: it is moved by little."""


def refleshed(keypoints: Floats, rng: np.random.Generator) -> Floats:
    """Keypoints (T, 32, 3) with the trunk of another body: the low back's own movement stays, soft tissue's changes."""
    shoulder, hip, knee = (middle(keypoints, part) for part in ("shoulder", "hip", "knee"))
    chord = hip - shoulder
    back, front = (keypoints[:, rows, :2] for rows in LAYERS[:2])
    normal = np.stack([-chord[:, 1], chord[:, 0]], axis=-1)  # (T, 2), a trunk long
    ahead, behind = (np.nansum((rows - shoulder[:, None]) * normal[:, None]) for rows in (front, back))
    normal *= 1 if ahead >= behind else -1  # towards the front
    height = ((shoulder + knee) / 2 - hip)[:, 1]
    low, high = (np.nanmin(height), np.nanmax(height)) if np.isfinite(height).any() else (0.0, 0.0)
    straight = np.nan_to_num((height - low) / max(float(high - low), 1e-6))  # (T,) 0 at the bottom, 1 at lockout
    changed = keypoints.copy()
    for rows, (mean, spread, sink, wide) in zip(LAYERS, FLESH, strict=True):
        amount = rng.normal(mean, spread) + rng.normal(sink, wide) * straight
        moved = amount[:, None] + rng.normal(0.0, 0.006, len(rows))  # (T, 5)
        changed[:, rows, :2] += np.nan_to_num(moved[..., None] * normal[:, None]).astype(np.float32)
    return changed


def augmented(keypoints: Floats, fps_hz: float, rng: np.random.Generator) -> tuple[Floats, float]:
    """What another body, camera or detector would have made of the rep: flesh, cut, rate, roll, jitter, gaps; never the label."""
    ends = (rng.uniform(0.0, 0.2, 2) * fps_hz).astype(int)
    if len(keypoints) - ends.sum() > 8:
        keypoints = keypoints[ends[0] : len(keypoints) - ends[1]]
    if rng.random() < 0.3 and len(keypoints) >= 32:
        keypoints, fps_hz = keypoints[::2], fps_hz / 2
    keypoints = refleshed(keypoints, rng) if keypoints.shape[1] == len(HIP_THRUST) else keypoints.copy()
    at, nowhere = keypoints[..., :-1], (*[np.nan] * (keypoints.shape[2] - 1), 0.0)
    if not np.isfinite(at).any():
        return keypoints, fps_hz
    flat = at.reshape(-1, at.shape[2])
    size = float((np.nanmax(flat, axis=0) - np.nanmin(flat, axis=0)).max())  # px, about a body
    roll = np.radians(rng.normal(0.0, 2.0))
    turn = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]], np.float32)
    at[..., :2] = at[..., :2] @ turn  # in the picture's plane
    at[:] = at + rng.normal(0.0, 0.003 * size, at.shape) + rng.normal(0.0, 0.004 * size, (1, *at.shape[1:]))
    gone = rng.random(keypoints.shape[1]) < 0.04
    keypoints[:, gone] = nowhere
    gaps = rng.random(keypoints.shape[:2]) < 0.03
    keypoints[gaps] = nowhere
    return keypoints, fps_hz
