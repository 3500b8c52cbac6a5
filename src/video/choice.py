"""Who of several people is the lifter: nobody points at a screen, so posture and movement decide."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from src.motion.keypoints import HIP_THRUST, Floats, Track, middle

EQUAL = 0.8
"""Candidates within this share of the best one's rank are as likely the lifter."""
LOST_S = 1.0
"""So long is a person looked for in the old place when the detector misses them; then the others are linked first."""
SHORTEST_S, LONGEST_S = 0.8, 8.0
"""A rep's duration."""
FULL_SWING = 0.1
"""Standard deviation of the hips' height, in trunk lengths, from which a rhythm counts in full."""


def choose(tracks: Sequence[Floats], count: int, fps_hz: float, size_px: tuple[int, int], detector: str) -> Track:
    """The likeliest lifter of candidates (T, 32, 3), T = ``count``, and how many stood equal; all NaN without any."""
    ranks = np.array([rank(track, fps_hz) for track in tracks])
    if not len(ranks) or not ranks.max() > 0:
        return Track(absent(count), fps_hz, size_px, detector, people=0)
    equal = int((ranks >= EQUAL * ranks.max()).sum())
    return Track(tracks[int(ranks.argmax())], fps_hz, size_px, detector, people=equal)


def pair(apart: NDArray[np.floating], near: float, lost: NDArray[np.bool_]) -> dict[int, int]:
    """Who of P people goes on as which of D detections: the nearest two first, whatever the order of either.

    apart: (P, D) distances; from ``near`` on two are strangers. lost: (P,) who was not seen of late and comes after the others.
    """
    nearest = sorted((bool(lost[p]), float(apart[p, d]), p, d) for p, d in zip(*np.nonzero(apart < near), strict=True))
    pairs: dict[int, int] = {}
    for _, _, p, d in nearest:
        if p not in pairs and d not in pairs.values():
            pairs[int(p)] = int(d)
    return pairs


def absent(count: int) -> Floats:
    """Keypoints (T, 32, 3) of nobody."""
    nobody = np.full((count, len(HIP_THRUST), 3), np.nan, np.float32)
    nobody[..., 2] = 0
    return nobody


def rank(track: Floats, fps_hz: float) -> float:
    """How likely keypoints (T, 32, 3) are the lifter's: lying, hips rising and falling evenly, present; then size."""
    hips, shoulders, ankles = (middle(track, joint) for joint in ("hip", "shoulder", "ankle"))
    present = np.isfinite(hips[:, 0]) & np.isfinite(shoulders[:, 0]) & np.isfinite(ankles[:, 0])
    if not present.any():
        return 0.0
    trunk = (hips - shoulders)[present]
    lengths = np.maximum(np.hypot(*trunk.T), 1e-6)
    lying = float(np.median(np.abs(trunk[:, 0]) / lengths))
    height = (hips - (shoulders + ankles) / 2)[present, 1] / float(np.median(lengths))
    return float(present.mean()) * (lying + periodicity(height, fps_hz)) + 1e-4 * float(np.median(lengths))


def periodicity(height: NDArray[np.floating], fps_hz: float) -> float:
    """How evenly a height (T,) in trunk lengths comes and goes, 0..1: the best autocorrelation after it fell below 0.

    0 for a clip shorter than two of the shortest reps; small swings count less.
    """
    level = height - height.mean()
    first, last = round(SHORTEST_S * fps_hz), min(round(LONGEST_S * fps_hz), len(level) // 2)
    if last <= first or level.std() < 1e-6:
        return 0.0
    spectrum = np.abs(np.fft.rfft(level, 2 * len(level))) ** 2
    echo = np.fft.irfft(spectrum)[: len(level)] / (np.arange(len(level), 0, -1) * level.var())
    fallen = np.maximum.accumulate(echo < 0)[first:last]
    return float(np.clip(np.where(fallen, echo[first:last], 0).max(), 0, 1) * min(float(level.std()) / FULL_SWING, 1))
