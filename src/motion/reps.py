"""Reps: where one rise and fall of the hips starts, tops out and ends, whatever the facing or the camera."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from src.motion.hips import Array, hip_motion
from src.motion.keypoints import Track

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

    rise: hip excursion in body scales, up to the shoulder-knee line (what lies above it is no range); NaN if not measured
    or cut off.
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
    this lifter's best rep reaches. A rep of which the clip cuts off part of the rise or the fall counts, with
    ``complete=False``; the fall may be missing altogether.
    """
    motion = hip_motion(track)
    reps: list[Rep] = []
    for first, last in runs(np.isfinite(motion.lift)):
        reps += reps_in(motion.lift[first:last], motion.height[first:last], track.fps_hz, first / track.fps_hz)
    return reps


def rise_ratios(reps: list[Rep]) -> list[float]:
    """Each rep's rise over the best of the set, 1 for the best; NaN where it is unknown or nothing rose to the line."""
    best = max((rep.rise for rep in reps if rep.rise > 0), default=0.0)
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
            no_rise, no_fall = cut_off(lift, before, top, after, floor, fps_hz)
            rise = float("nan") if no_rise else rise_of(height, low, peak, deepest)
            reps.append(replace(rep, complete=not (no_rise or no_fall), rise=rise))
            efforts.append((effort(lift, before, top, after), rep.complete))
    usual = float(np.median([spent for spent, _ in efforts])) if reps else 0.0
    return [
        rep
        for rep, (spent, fell) in zip(reps, efforts, strict=True)
        if MIN_REP_S <= rep.end_s - rep.start_s <= MAX_REP_S
        and (spent >= MIN_EFFORT * usual or not fell)  # nobody knows how long a cut-off rep lasted
    ]


def cut_off(lift: Array, before: int, top: int, after: int | None, floor: float, fps_hz: float) -> tuple[bool, bool]:
    """Whether the signal begins within the rise, and whether it ends within the fall; ``before``, ``top``, ``after`` are frames.

    It does where it is not in the lowest ``EDGE`` and on the move already; who starts from higher up stands still first.
    """
    last = len(lift) - 1 if after is None else after
    lowest = min(floor, lift[before], lift[last])
    moving = []
    for low, edge in ((before, 0), (last, len(lift) - 1)):
        step, ahead = max(round(0.2 * fps_hz), 1), 1 if low < top else -1
        near = low + ahead * min(step, abs(top - low))
        usual = (lift[top] - lift[low]) / max(abs(top - low), 1)
        fast = (lift[near] - lift[low]) / max(abs(near - low), 1) > 0.5 * usual
        high = lift[low] - lowest > EDGE * (lift[top] - lowest)
        moving.append(bool(fast and high and abs(low - edge) < 0.1 * fps_hz))
    return moving[0], moving[1] or after is None


def effort(lift: Array, before: int, top: int, after: int | None) -> float:
    """How far a rep rises above its higher low, times the frames it spends above half of that."""
    low = lift[before] if after is None else max(lift[before], lift[after])
    return float((lift[top] - low) * np.sum(lift[before:after] > (lift[top] + low) / 2.0))


def rises(points: list[tuple[int, bool]], signal: Array) -> list[tuple[int, float]]:
    """Every high that a low precedes, with its rise over the higher of its two neighbouring lows."""
    found = []
    for i, (t, is_high) in enumerate(points):
        if is_high and i > 0:
            lows = [signal[points[j][0]] for j in (i - 1, i + 1) if j < len(points)]
            found.append((t, float(signal[t] - max(lows))))
    return found


def working_floor(signal: Array, tops: list[int], lows: list[int]) -> tuple[float, float]:
    """Where this set's reps start and end: the usual and the deepest low between two tops.

    What lies outside the first and the last top says nothing: sitting up does not count as depth.
    """
    between = [t for t in lows if tops[0] < t < tops[-1]]
    if between:
        return float(np.median(signal[between])), float(signal[between].min())
    around = [max(t for t in lows if t < tops[0]), *[t for t in lows if t > tops[-1]][:1]]
    return float(signal[around].max()), float(signal[around].max())


def rise_of(height: Array, before: int, top: int, deepest: float) -> float:
    """How far the hips came up to a top, no deeper than the set's ``deepest`` low, no higher than the shoulder-knee line."""
    bottom = max(height[before], min(deepest, height[top] - MIN_RISE))
    return float(min(height[top], 0.0) - min(bottom, 0.0))


def bounded(
    signal: Array, before: int, top: int, after: int | None, floor: float, fps_hz: float, offset_s: float
) -> Rep:
    """Start, top and end of a rep to a fraction of a frame; the top is the middle of the hold. ``complete``: it fell half-way."""
    bottom = max(signal[before], min(floor, signal[top] - MIN_RISE))
    rise = signal[top] - bottom
    start = crossing(signal, top, before, bottom + EDGE * rise)
    level, stop = signal[top] - 0.1 * rise, len(signal) - 1
    held = (crossing(signal, top, before, level), min(crossing(signal, top, stop, level), stop) if top < stop else stop)
    end, complete = float(stop), False
    if after is not None:
        landing = max(signal[after], min(floor, signal[top] - MIN_RISE))
        end = crossing(signal, top, after, landing + EDGE * (signal[top] - landing))
        complete = bool(signal[top] - signal[after] >= 0.5 * rise)
    seconds = [offset_s + frame / fps_hz for frame in (start, sum(held) / 2.0, end)]
    return Rep(seconds[0], seconds[1], seconds[2], complete)


def crossing(signal: Array, top: int, low: int, level: float) -> float:
    """The frame, to a fraction, at which the signal walked from ``top`` towards ``low`` first falls to ``level``."""
    step = 1 if low > top else -1
    t = top
    while t != low and signal[t] > level:
        t += step
    inner = t - step
    drop = signal[inner] - signal[t]
    return float(inner + step * ((signal[inner] - level) / drop if drop > 0 else 0.0))
