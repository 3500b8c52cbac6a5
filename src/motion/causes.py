"""What of a detector's errors follows from pose and scene: a point drawn to a plate, a rise seen too small. A ridge regression.

The frame of reference is that of ``filmed``.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from src.motion.features import PARTS
from src.motion.filmed import CHAIN, Filmed, off_chord, unit
from src.motion.keypoints import HIP_THRUST, TRUNK, Floats, Track, middle, mirror

Array = NDArray[np.float64]

SCENE = 6
"""How many ``causes`` are of the scene: the first ones."""
OWN_CAUSES = 5
"""How many ``causes`` after them each point of the trunk has of its own."""
WILD = 0.5
"""Errors beyond this many mean limbs (a swap, somebody else) count as this much in the regression."""
RIDGE = 15.0
"""Strength of the ridge, in clips."""


def causes(filmed: Filmed) -> Array:
    """What errors may follow from (T, P): 1, camera, load, depth of ``TRUNK``, what plates hide, limbs, left-right distances.

    Of a hidden point the detector knows nothing: its error then undoes the very pose that the true point has. From elsewhere
    than the side, and beside a barbell, it sees less of how the back moves.
    """
    hidden = (filmed.from_left.keypoints[..., 2] < 1).astype(float)  # (T, 32)
    xy, size = filmed.from_left.keypoints[..., :2].astype(float), unit(filmed.from_left)
    mid, frames = {part: middle(xy, part) for part in PARTS}, len(xy)
    limbs = (*pairwise(CHAIN), ("ankle", "heel"), ("ankle", "toe"))
    steps = [(mid[b] - mid[a]) / size for a, b in limbs]
    left, right = (xy[:, [HIP_THRUST.index(f"{side}_{part}") for part in PARTS]] for side in ("left", "right"))
    apart = ((left - right) / size).reshape(frames, -1)
    depth = off_chord(xy)[..., 1]  # (T, 11)
    place = filmed.place()
    plates = [place[2], float(filmed.load == "barbell"), place[2] * (filmed.load == "barbell")]
    scene = np.tile([1.0, place[0], place[1], *plates], (frames, 1))
    pose, hips, skin = (
        np.concatenate(steps, axis=1),
        hidden[:, [HIP_THRUST.index("left_hip")]],
        hidden[:, -len(TRUNK) :],
    )
    back = [depth, skin, skin * depth, float(filmed.load == "barbell") * depth, abs(place[0]) * depth]
    return np.concatenate([scene, *back, pose, apart, hips, hips * pose], axis=1)


def allowed(causes_: int) -> NDArray[np.bool_]:
    """Which of so many ``causes`` the error of each point may follow from (P, 32).

    Of the trunk's points these are the scene, their own depth in it, and whether plates hide them: all others, with some
    dozens of clips to learn from, drown what the detector makes of a vertebra that moves.
    """
    may = np.ones((causes_, len(HIP_THRUST)), bool)
    may[SCENE:, -len(TRUNK) :] = False
    may[SCENE : SCENE + OWN_CAUSES * len(TRUNK), -len(TRUNK) :] = np.tile(
        np.eye(len(TRUNK), dtype=bool), (OWN_CAUSES, 1)
    )
    return may


def errors(filmed: Filmed, seen: Track) -> Floats:
    """Errors (T, 32, 3) of a detected track: x, y in mean limbs (of the trunk's points ``off_chord``), and the score itself.

    NaN where nothing was seen.
    """
    true, found = filmed.from_left, seen if filmed.side == "left" else mirror(seen)
    rows = np.round(found.seconds * true.fps_hz).astype(int).clip(max=len(true.keypoints) - 1)
    zoom = true.size_px[0] / found.size_px[0]  # large pictures are scaled down while decoding
    xy = true.keypoints[..., :2].astype(float)
    off = (zoom * found.keypoints[..., :2] - xy[rows]) / unit(true)
    off[:, -len(TRUNK) :] = off_chord(found.keypoints.astype(float)[..., :2]) - off_chord(xy[rows])
    both: Floats = np.concatenate([off, found.keypoints[..., 2:]], axis=-1).astype(np.float32)
    return both


def ridge(causes_: Sequence[Array], errors_: Sequence[Array]) -> Array:
    """Weights (P, 32, 2): every clip counts alike, every cause but the first is held down in units of its own spread."""
    x = np.concatenate(causes_)
    spread = np.maximum(x.std(axis=0), 1e-6)
    spread[0] = 1.0
    centre = x.mean(axis=0) * (np.arange(x.shape[1]) > 0)
    share = np.concatenate([np.full(len(c), 1.0 / len(c)) for c in causes_])
    y = np.clip(np.concatenate(errors_).reshape(len(x), -1), -WILD, WILD)
    z, held = (x - centre) / spread, RIDGE * np.eye(x.shape[1])
    held[0, 0] = 1e-6
    weights, may = np.zeros((x.shape[1], y.shape[1])), allowed(x.shape[1]).repeat(2, axis=1)
    for j, column in enumerate(y.T):
        there, own = np.isfinite(column), np.flatnonzero(may[:, j])
        rows = z[there][:, own]
        left = rows.T * share[there]
        weights[own, j] = np.linalg.solve(left @ rows + held[np.ix_(own, own)], left @ column[there])
    weights /= spread[:, None]
    weights[0] -= centre @ weights
    return weights.reshape(-1, len(HIP_THRUST), 2)
