"""Curves as SVG paths: x is a share of the clip in 0..1000, y in 0..100 downwards; the page stretches them to its width."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from src.motion.hips import hip_motion
from src.motion.keypoints import Track
from src.motion.verdict import RepVerdict

WIDTH, HEIGHT = 1000.0, 100.0


@dataclass(frozen=True)
class HipCurve:
    """Height of the hips over the line from shoulders to knees: its path, and where that line lies (None: out of the chart)."""

    path: str
    line_y: float | None


def path_of(x: Sequence[float], y: Sequence[float]) -> str:
    """A polyline; a point that is NaN breaks it."""
    words, down = [], False
    for a, b in zip(x, y, strict=True):
        if np.isfinite(b):
            words.append(f"{'L' if down else 'M'}{a:.1f} {b:.1f}")
        down = bool(np.isfinite(b))
    return "".join(words)


def hip_curve(track: Track) -> HipCurve | None:
    """The hips over the line to which they shall rise; None where nobody was seen."""
    height = hip_motion(track).height
    if not np.isfinite(height).any():
        return None
    low, high = float(np.nanmin(height)), float(np.nanmax(height))
    margin = 0.08 * max(high - low, 0.1)
    low, high = low - margin, high + margin
    x = WIDTH * (np.arange(len(height)) + 0.5) / len(height)
    line_y = HEIGHT * high / (high - low)
    path = path_of(x.tolist(), (HEIGHT * (high - height) / (high - low)).tolist())
    return HipCurve(path, line_y if 0 <= line_y <= HEIGHT else None)


def evidence_area(rep: RepVerdict, label: str, frames: int, fps_hz: float) -> str:
    """A closed area: how much each frame of the rep shows a fault."""
    values = rep.evidence[label]
    first = round(rep.start_s * fps_hz)
    x = [WIDTH * (first + i + 0.5) / frames for i in range(len(values))]
    y = [HEIGHT * (1 - value) for value in values]
    if not x:
        return ""
    return f"M{x[0]:.1f} {HEIGHT:.0f}" + path_of(x, y).replace("M", "L", 1) + f"L{x[-1]:.1f} {HEIGHT:.0f}Z"
