"""How the hips move: over shoulders and knees, from left and right points that come and go."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.motion.keypoints import SKELETONS, Track

Array = NDArray[np.float64]
HEIGHT_S, LIFT_S = 0.08, 0.16
"""Gaussian smoothing (sigma) of the two hip signals: one is measured, the other only finds reps."""


@dataclass(frozen=True)
class Motion:
    """The hip signals of a clip.

    height: (T,) hips above the line between shoulders and knees, in body scales, smoothed; NaN where nobody was seen.
    lift: (T,) hips above the shoulders, likewise and smoother; by it reps are found, as plates pull knees up with the hips.
    confidence: 0..1, how far the signal stands out of its own frame-to-frame noise; occluded hips and knees make it small.
    coherence: 0..1, the same whether or not the hips move: 1 where limbs move like limbs.
    """

    height: Array
    lift: Array
    confidence: float
    coherence: float


def steady_middle(track: Track, part: str) -> Array:
    """Mean (T, 2) of a left and right point, weighted by score; NaN where both are missing.

    A missing side stands at its usual distance from the other, so that a far side that comes and goes moves nothing.
    """
    skeleton = SKELETONS[track.skeleton]
    pair = track.keypoints[:, [skeleton.index(f"left_{part}"), skeleton.index(f"right_{part}")]].astype(np.float64)
    usual = (
        np.nan_to_num(np.nanmedian(pair[:, 0, :2] - pair[:, 1, :2], axis=0)) if both_seen(pair).any() else np.zeros(2)
    )
    for side, other, step in ((0, 1, usual), (1, 0, -usual)):
        gone = ~np.isfinite(pair[:, side, 0])
        pair[gone, side] = pair[gone, other] + (*step, 0.0)
    weight = np.where(np.isfinite(pair[..., 0]), pair[..., 2] + 1e-3, 0.0)  # (T, 2)
    total = weight.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        mean: Array = (np.nan_to_num(pair[..., :2]) * weight[..., None]).sum(axis=1) / np.where(
            total > 0, total, np.nan
        )
    return mean


def both_seen(pair: Array) -> NDArray[np.bool_]:
    """Frames (T,) in which both points of a pair (T, 2, 3) are there."""
    seen: NDArray[np.bool_] = np.isfinite(pair[:, 0, 0]) & np.isfinite(pair[:, 1, 0])
    return seen


def hip_motion(track: Track) -> Motion:
    """Height of the hips over shoulders and knees, and over the shoulders: needs no facing, no floor, no still camera."""
    shoulder, hip, knee, ankle = (steady_middle(track, part) for part in ("shoulder", "hip", "knee", "ankle"))
    lengths = sum(np.linalg.norm(a - b, axis=1) for a, b in ((shoulder, hip), (hip, knee), (knee, ankle)))
    scale = float(np.nanmedian(lengths)) / 3.0 if np.isfinite(lengths).any() else 0.0
    if not scale > 0:
        nowhere = np.full(len(hip), np.nan)
        return Motion(nowhere, nowhere, 0.0, 0.0)
    raw = ((knee + shoulder) / 2.0 - hip)[:, 1] / scale
    height = smoothed(bridge_gaps(raw), track.fps_hz, HEIGHT_S)
    lift = smoothed(bridge_gaps((shoulder - hip)[:, 1] / scale), track.fps_hz, LIFT_S)
    excursion = float(np.percentile(height, 95) - np.percentile(height, 5))
    coherent = coherence([hip, knee, ankle], scale, track.fps_hz)
    far = far_from_data(raw, track.fps_hz)
    height, lift = (np.where(far, np.nan, signal) for signal in (height, lift))
    return Motion(height, lift, coherent * min(1.0, excursion / 0.24), coherent)


def coherence(points: list[Array], scale: float, fps_hz: float) -> float:
    """1 for limbs that move like limbs, towards 0 for points that jump (a plate or a wall hides them)."""
    step = max(1, round(fps_hz / 15.0))
    jumps = []
    for point in points:
        seen = np.isfinite(point[:, 0])
        second = np.linalg.norm(point[2 * step :] - 2 * point[step:-step] + point[: -2 * step], axis=1) / scale
        second = second[np.isfinite(second)]
        jumps.append(np.percentile(second, 80) if len(second) else 1.0)
        jumps[-1] += 0.5 * (1.0 - seen.mean())
    return float(1.0 / (1.0 + (float(np.mean(jumps)) / 0.12) ** 3))


def bridge_gaps(signal: Array) -> Array:
    """The signal with its NaNs bridged by straight lines, ends held."""
    seen = np.flatnonzero(np.isfinite(signal))
    bridged: Array = np.interp(np.arange(len(signal)), seen, signal[seen])
    return bridged


def far_from_data(signal: Array, fps_hz: float, gap_s: float = 1.0) -> NDArray[np.bool_]:
    """True (T,) where the nearest seen frame is more than ``gap_s`` away: no rep is claimed there."""
    seen = np.flatnonzero(np.isfinite(signal))
    where = np.arange(len(signal))
    after = seen[np.searchsorted(seen, where).clip(max=len(seen) - 1)]
    before = seen[(np.searchsorted(seen, where, side="right") - 1).clip(min=0)]
    far: NDArray[np.bool_] = np.minimum(abs(after - where), abs(where - before)) > gap_s * fps_hz
    return far


def smoothed(signal: Array, fps_hz: float, sigma_s: float, median_s: float = 0.2) -> Array:
    """Running median against jumps, then a Gaussian; edges are held, so nothing bends at the ends of a clip."""
    half = max(1, round(median_s * fps_hz / 2))
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(signal, half, mode="edge"), 2 * half + 1)
    sigma = sigma_s * fps_hz
    reach = max(1, round(3 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    flat: Array = np.convolve(
        np.pad(np.median(windows, axis=1), reach, mode="edge"), kernel / kernel.sum(), mode="valid"
    )
    return flat
