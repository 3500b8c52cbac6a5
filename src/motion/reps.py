"""Reps: where one rise and fall of the hips starts, tops out and ends, whatever the facing or the camera."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from src.motion.keypoints import SKELETONS, Track

Array = NDArray[np.float64]

MIN_RISE = 0.08
"""Smallest hip excursion of a rep, in body scales (mean of trunk, thigh and shank); a half rep measures about 0.2."""
MIN_SHARE = 0.25
"""Smallest excursion as a share of the set's largest; the slightest half rep is four tenths, and plates hide some of it."""
CLEAR_SHARE = 0.75
"""Of the set's rise: so high must a rep come whose fall is cut off, and from below that the first one must begin."""
MIN_EFFORT = 0.3
"""Of the set's usual ``effort``: what is both lower and shorter is a fidget; a half rep takes its time."""
MIN_REP_S, MAX_REP_S = 0.5, 15.0
EDGE = 0.12
"""A rep starts and ends where the hips leave and reach the lowest 12 % of its excursion."""


@dataclass(frozen=True)
class Rep:
    """One rise and fall. Times in seconds of the clip; ``complete`` is False where the clip cuts the rise or the fall off.

    rise: hip excursion in body scales, up to the shoulder-knee line (what lies above it is no range); NaN if not measured.
    """

    start_s: float
    top_s: float
    end_s: float
    complete: bool
    rise: float = float("nan")


class Timed(Protocol):
    """What lasts from ``start_s`` to ``end_s``."""

    @property
    def start_s(self) -> float:
        """Seconds of the clip."""

    @property
    def end_s(self) -> float:
        """Seconds of the clip."""


Interval = TypeVar("Interval", bound=Timed)


def most_shared(start_s: float, end_s: float, others: Sequence[Interval]) -> Interval | None:
    """The one that shares most time with ``start_s`` to ``end_s``, if that is more than half of either; None without one."""
    shared = [min(end_s, other.end_s) - max(start_s, other.start_s) for other in others]
    if not shared:
        return None
    best = others[int(np.argmax(shared))]
    return best if max(shared) > 0.5 * min(end_s - start_s, best.end_s - best.start_s) else None


@dataclass(frozen=True)
class Motion:
    """The hip signals of a clip.

    height: (T,) hips above the line between shoulders and knees, in body scales, smoothed; NaN where nobody was seen.
    lift: (T,) hips above the shoulders, likewise and smoother; by it reps are found, as plates pull knees up with the hips.
    confidence: 0..1, how far the signal stands out of its own frame-to-frame noise; occluded hips and knees make it small.
    """

    height: Array
    lift: Array
    confidence: float


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
        return Motion(nowhere, nowhere, 0.0)
    raw = ((knee + shoulder) / 2.0 - hip)[:, 1] / scale
    height = smoothed(bridge_gaps(raw), track.fps_hz)
    lift = smoothed(bridge_gaps((shoulder - hip)[:, 1] / scale), track.fps_hz, sigma_s=0.16)
    excursion = float(np.percentile(height, 95) - np.percentile(height, 5))
    confidence = coherence([hip, knee, ankle], scale, track.fps_hz) * min(1.0, excursion / 0.24)
    far = far_from_data(raw, track.fps_hz)
    return Motion(np.where(far, np.nan, height), np.where(far, np.nan, lift), confidence)


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


def smoothed(signal: Array, fps_hz: float, median_s: float = 0.2, sigma_s: float = 0.08) -> Array:
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


def turning_points(signal: Array, swing: float) -> list[tuple[int, bool]]:
    """Alternating lows and highs at least ``swing`` apart, as (frame, is_high); the unfinished last one included."""
    points: list[tuple[int, bool]] = []
    low = high = 0
    rising: bool | None = None
    for t, value in enumerate(signal):
        low = t if value < signal[low] else low
        high = t if value > signal[high] else high
        if rising is not False and signal[high] - value >= swing:
            points.append((high, True))
            rising, low = False, t
        elif rising is not True and value - signal[low] >= swing:
            points.append((low, False))
            rising, high = True, t
    if rising is not None:
        points.append((high, True) if rising else (low, False))
    return points


def find_reps(track: Track) -> list[Rep]:
    """Every rise of the hips that reaches the level of this set's lockouts, in order.

    Getting under the bar, sitting up and fidgeting are no reps: they move the hips too little or never near the line that
    this lifter's best rep reaches. A rise that the clip's end cuts off before the fall counts, with ``complete=False``.
    """
    motion = hip_motion(track)
    reps: list[Rep] = []
    for first, last in runs(np.isfinite(motion.lift)):
        reps += reps_in(motion.lift[first:last], motion.height[first:last], track.fps_hz, first / track.fps_hz)
    return reps


def rise_ratios(reps: list[Rep]) -> list[float]:
    """Each rep's rise over the best of the set, 1 for the best; NaN where nothing rose to the line from below."""
    best = max((rep.rise for rep in reps), default=0.0)
    return [rep.rise / best if best > 0 else float("nan") for rep in reps]


def runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Half-open (first, last) of every stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def reps_in(lift: Array, height: Array, fps_hz: float, offset_s: float) -> list[Rep]:
    """Reps of one unbroken stretch of the hip signals, ``offset_s`` into the clip; ``lift`` finds, ``height`` measures them."""
    best = max((rise for _, rise in rises(turning_points(lift, MIN_RISE), lift)), default=0.0)
    points = turning_points(lift, max(MIN_RISE, MIN_SHARE * best))
    tops = [top for top, _ in rises(points, lift)]
    if not tops:
        return []
    lows = [t for t, is_high in points if not is_high]
    floor, _ = working_floor(lift, tops, lows)
    _, deepest = working_floor(height, tops, lows)
    highest = float(np.median(np.sort(lift[tops])[-3:]))
    clear, least = (floor + share * (highest - floor) for share in (CLEAR_SHARE, MIN_SHARE))
    reps, efforts = [], []
    for top in tops:
        before = max(t for t in lows if t < top)
        after = min((t for t in lows if t > top), default=None)
        level = least if after is not None and lift[after] < clear else clear
        if lift[top] >= level and (top > tops[0] or lift[before] < clear):
            rep = bounded(lift, before, top, after, floor, fps_hz, offset_s)
            low, peak = before + int(height[before:top].argmin()), before + int(height[before:after].argmax())
            reps.append(replace(rep, rise=rise_of(height, low, peak, deepest)))
            efforts.append(effort(lift, before, top, after))
    usual = float(np.median(efforts)) if reps else 0.0
    return [
        rep
        for rep, spent in zip(reps, efforts, strict=True)
        if MIN_REP_S <= rep.end_s - rep.start_s <= MAX_REP_S
        and (spent >= MIN_EFFORT * usual or not rep.complete)  # nobody knows how long a cut-off rep lasted
    ]


def effort(lift: Array, before: int, top: int, after: int | None) -> float:
    """How far a rep rises above its higher low, times the frames it spends above half of that."""
    low = lift[before] if after is None else max(lift[before], lift[after])
    return float((lift[top] - low) * np.sum(lift[before:after] > (lift[top] + low) / 2.0))


def rises(points: list[tuple[int, bool]], height: Array) -> list[tuple[int, float]]:
    """Every high that a low precedes, with its rise over the higher of its two neighbouring lows."""
    found = []
    for i, (t, is_high) in enumerate(points):
        if is_high and i > 0:
            lows = [height[points[j][0]] for j in (i - 1, i + 1) if j < len(points)]
            found.append((t, float(height[t] - max(lows))))
    return found


def working_floor(height: Array, tops: list[int], lows: list[int]) -> tuple[float, float]:
    """Where this set's reps start and end: the usual and the deepest low between two tops.

    What lies outside the first and the last top says nothing: sitting up does not count as depth.
    """
    between = [t for t in lows if tops[0] < t < tops[-1]]
    if between:
        return float(np.median(height[between])), float(height[between].min())
    around = [max(t for t in lows if t < tops[0]), *[t for t in lows if t > tops[-1]][:1]]
    return float(height[around].max()), float(height[around].max())


def rise_of(height: Array, before: int, top: int, deepest: float) -> float:
    """How far the hips came up to a top, no deeper than the set's ``deepest`` low, no higher than the shoulder-knee line."""
    bottom = max(height[before], min(deepest, height[top] - MIN_RISE))
    return float(min(height[top], 0.0) - min(bottom, 0.0))


def bounded(
    height: Array, before: int, top: int, after: int | None, floor: float, fps_hz: float, offset_s: float
) -> Rep:
    """Start, top and end of a rep to a fraction of a frame; the top is the middle of the hold."""
    bottom = max(height[before], min(floor, height[top] - MIN_RISE))
    rise = height[top] - bottom
    start = crossing(height, top, before, bottom + EDGE * rise)
    held = height >= height[top] - 0.1 * rise
    first, last = next((f, la) for f, la in runs(held) if f <= top < la)
    end, complete = float(len(height) - 1), False
    if after is not None:
        landing = max(height[after], min(floor, height[top] - MIN_RISE))
        end = crossing(height, top, after, landing + EDGE * (height[top] - landing))
        complete = bool(height[top] - height[after] >= 0.5 * rise)
    seconds = [offset_s + frame / fps_hz for frame in (start, (first + last - 1) / 2.0, end)]
    return Rep(seconds[0], seconds[1], seconds[2], complete)


def crossing(height: Array, top: int, low: int, level: float) -> float:
    """The frame, to a fraction, at which the signal walked from ``top`` towards ``low`` first falls to ``level``."""
    step = 1 if low > top else -1
    t = top
    while t != low and height[t] > level:
        t += step
    inner = t - step
    drop = height[inner] - height[t]
    return float(inner + step * ((height[inner] - level) / drop if drop > 0 else 0.0))
