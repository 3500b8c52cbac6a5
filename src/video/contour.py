"""The trunk's outline from the person mask: the edge on which a low back shows.

From points on the chord mid-shoulder -> mid-hip, and on its way on below the seat, a ray goes out along the normal, to the back
and to the front, until the mask ends.
``back`` is the side to which the shins hang from the knees (knees bend backwards) and, when the chord is level, the
side of the floor.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from src.motion.keypoints import BACK_FRACTIONS, FRONT_FRACTIONS
from src.video.crop import Doubles

SHOULDERS, ELBOWS, WRISTS, HIPS, KNEES, ANKLES = (11, 12), (13, 14), (15, 16), (23, 24), (25, 26), (27, 28)
REACH = 0.45
"""Rays end here, in trunk lengths: what reaches further is no trunk (0.13 to 0.33 on real side views)."""
STEPS = 60
FRONTAL = 0.5
"""Shoulder breadth in trunk lengths above which the camera no longer looks at the profile (about 40 degrees off)."""
ARM, SLEEVE = 0.08, 0.2
"""An edge this near to an arm's line is the arm's, in trunk lengths; the second where the ray crossed that line."""
VISIBLE = 0.5
"""Elbows score lower when the trunk hides them: the far arm takes no part."""
STEEP_PX = 2.0
"""The score is how much the mask's probability falls within this distance on both sides of the edge."""


def outline(masks: Tensor, points: Doubles) -> Doubles:
    """Trunk points (B, 10, 3) in crop px with score 0..1, as in ``OUTLINE``: the back from blades to seat, then the front.

    masks: (B, S, S) logits, above 0 is person.
    points: (B, 33 or more, 3) BlazePose's landmarks: x, y in crop px, visibility.
    NaN with score 0 where the ray starts outside the mask, finds no edge inside the crop or an arm's edge, or the view
    is frontal.
    """
    points, seen = points[..., :2], points[..., 2] >= VISIBLE
    chest, hips = points[:, SHOULDERS].mean(1), points[:, HIPS].mean(1)  # (B, 2)
    chord = hips - chest
    trunk = np.maximum(np.hypot(*chord.T), 1e-6)
    back = backwards(points, chord / trunk[:, None])
    starts = chest[:, None] + np.array(BACK_FRACTIONS + FRONT_FRACTIONS)[:, None] * chord[:, None]  # (B, 10, 2)
    normals = np.repeat(np.stack([back, -back], 1), (len(BACK_FRACTIONS), len(FRONT_FRACTIONS)), 1)  # (B, 10, 2)
    distances, scores = _edges(masks, starts, normals, trunk)
    ends = starts + distances[..., None] * normals
    hidden = _arms(points, seen, starts, ends, trunk) | frontal(points, trunk)[:, None] | ~np.isfinite(distances)
    return np.concatenate([np.where(hidden[..., None], np.nan, ends), np.where(hidden, 0, scores)[..., None]], -1)


def backwards(points: Doubles, along: Doubles) -> Doubles:
    """Unit normals (B, 2), towards the back, of a shoulder-hip chord that runs ``along`` (B, 2); landmarks (B, 33 or more, 2)."""
    normal = np.stack([-along[:, 1], along[:, 0]], -1)
    shin = points[:, ANKLES].mean(1) - points[:, KNEES].mean(1)
    shin = shin / np.maximum(np.linalg.norm(shin, axis=-1, keepdims=True), 1e-6)
    towards = (normal * (shin + np.array([0.0, 1.0]))).sum(-1)  # level chord: y grows towards the floor
    turned: Doubles = np.where(towards >= 0, 1.0, -1.0)[:, None] * normal
    return turned


def _edges(masks: Tensor, starts: Doubles, normals: Doubles, trunk: Doubles) -> tuple[Doubles, Doubles]:
    """Distance (B, 10) in crop px to where the mask first falls below one half, NaN without one, and its steepness."""
    size = masks.shape[-1]
    reach = np.linspace(0, REACH, STEPS) * trunk[:, None]  # (B, R)
    at = starts[:, :, None] + reach[:, None, :, None] * normals[:, :, None]  # (B, 10, R, 2)
    levels = _sample(masks, at)  # (B, 10, R)
    outside = levels < 0
    first = outside.argmax(-1)
    found = outside.any(-1) & (first > 0)
    before, after = (np.take_along_axis(levels, np.maximum(first - k, 0)[..., None], -1)[..., 0] for k in (1, 0))
    share = before / np.where(found, before - after, 1)
    distances = (np.maximum(first - 1, 0) + share) * (REACH / (STEPS - 1)) * trunk[:, None]
    ends = starts + distances[..., None] * normals
    found &= ((ends > STEEP_PX) & (ends < size - 1 - STEEP_PX)).all(-1)
    both = np.stack([ends - STEEP_PX * normals, ends + STEEP_PX * normals], 2)  # (B, 10, 2, 2)
    chance = 1 / (1 + np.exp(-_sample(masks, np.where(found[..., None, None], both, 0))))
    return np.where(found, distances, np.nan), np.clip(chance[..., 0] - chance[..., 1], 0, 1)


def _sample(masks: Tensor, at: Doubles) -> Doubles:
    """Mask logits (B, J, R), between -8 and 8, at crop positions (B, J, R, 2); off the crop is background."""
    size = masks.shape[-1]
    grid = torch.from_numpy((at / (size - 1) * 2 - 1).astype(np.float32)).to(masks.device)
    levels = F.grid_sample(masks.float().clamp(-8, 8)[:, None] + 8, grid, mode="bilinear", align_corners=True)[:, 0] - 8
    values: Doubles = levels.cpu().double().numpy()
    return values


def frontal(points: Doubles, trunk: Doubles) -> NDArray[np.bool_]:
    """Which frames (B,) of landmarks (B, 33, 2) look at the chest, by ``trunk`` (B,), its length."""
    across = points[:, SHOULDERS[0]] - points[:, SHOULDERS[1]]
    frontal: NDArray[np.bool_] = np.hypot(*across.T) > FRONTAL * trunk
    return frontal


def _arms(
    points: Doubles, seen: NDArray[np.bool_], starts: Doubles, ends: Doubles, trunk: Doubles
) -> NDArray[np.bool_]:
    """Edge points (B, 10) that belong to an arm which the camera sees: on its line, or just behind it on the ray."""
    ends = np.where(np.isfinite(ends), ends, starts)
    hidden = np.zeros(ends.shape[:2], bool)
    for side in (0, 1):
        visible = seen[:, ELBOWS[side], None]  # (B, 1)
        for upper, lower in ((SHOULDERS, ELBOWS), (ELBOWS, WRISTS)):
            p, q = points[:, None, upper[side]], points[:, None, lower[side]]  # (B, 1, 2)
            away = _apart(ends, p, q) / trunk[:, None]
            crossed = (_turn(starts, ends, p) * _turn(starts, ends, q) < 0) & (
                _turn(p, q, starts) * _turn(p, q, ends) < 0
            )
            hidden |= visible & ((away < ARM) | (crossed & (away < SLEEVE)))
    return hidden


def _apart(at: Doubles, p: Doubles, q: Doubles) -> Doubles:
    """Distance from points to the segments p - q."""
    bone = q - p
    share = np.clip(((at - p) * bone).sum(-1) / np.maximum((bone**2).sum(-1), 1e-9), 0, 1)
    apart: Doubles = np.linalg.norm(p + share[..., None] * bone - at, axis=-1)
    return apart


def _turn(a: Doubles, b: Doubles, c: Doubles) -> Doubles:
    """Twice the signed area of triangles: which side of a - b the point c is on."""
    u, v = b - a, c - a
    area: Doubles = u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
    return area
