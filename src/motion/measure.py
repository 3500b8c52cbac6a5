"""What a rep measures: angles at the top and the bottom, times, view. Numbers, not labels; the rule baseline reads them."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from src.motion.dataset import cut
from src.motion.faults import Fault
from src.motion.features import ANGLES, Features
from src.motion.keypoints import SKELETONS, Track
from src.motion.model import WIDEST_SIDE
from src.motion.reps import Rep, rise_ratios

HELD = 0.1
"""Top and bottom are the samples within 10 % of the excursion from its ends; their median is reported."""


FRONTAL = 1.35
"""From this left-right distance on a view is called frontal: simulated oblique views reach 1.6, frontal ones start at 1.25."""


@dataclass(frozen=True)
class Measures:
    """Angles in degrees, times in seconds, lengths in body scales (mean of trunk, thigh and shank), NaN = not measured.

    hip_top_deg: signed trunk-thigh angle at lockout, 180 = straight, 193 = hips above the shoulder-knee line.
    shin_top_deg: + = the shin leans away from the hips (feet far). lean_top_deg: the same less what a raised trunk explains.
    bend_top_deg: the knee's angle less what hips above the shoulder-knee line explain.
    trunk_top_deg: trunk above the floor, + = hips higher than shoulders. hip_rise: how far the hips came up.
    rise_ratio: this rise over the best of the clip. width: left-right distance of shoulders plus hips, which tells the view.
    """

    hip_top_deg: float
    hip_bottom_deg: float
    knee_top_deg: float
    knee_bottom_deg: float
    shin_top_deg: float
    bend_top_deg: float
    lean_top_deg: float
    trunk_top_deg: float
    hip_rise: float
    rise_ratio: float
    rise_s: float
    hold_s: float
    fall_s: float
    width: float


def measure(track: Track, rep: Rep, rise_ratio: float = float("nan")) -> Measures:
    """Measure one rep; ``rise_ratio`` is passed through, it needs the other reps."""
    features = Features(SKELETONS[track.skeleton], frames=128)
    keypoints = torch.from_numpy(cut(track, rep, margin_s=0.0))[None]
    with torch.no_grad():
        pose = features.pose(keypoints, torch.tensor([track.fps_hz]), torch.tensor([keypoints.shape[1]]))
    height = pose.height[0].numpy().astype(np.float64)  # (M,)
    low, high = np.percentile(height, [3, 97])
    at_top = height >= high - HELD * (high - low)
    at_bottom = height <= low + HELD * (high - low)
    angles = dict(zip(ANGLES, pose.angles[0].numpy().T.astype(np.float64), strict=True))
    known = dict(zip(ANGLES, pose.known[0].numpy().T, strict=True))
    top, bottom = (
        {name: float(np.median(values[at])) if known[name][at].all() else np.nan for name, values in angles.items()}
        for at in (at_top, at_bottom)
    )
    first, last = np.flatnonzero(at_top)[[0, -1]] * (rep.end_s - rep.start_s) / (len(height) - 1)
    hip_y = pose.parts[0, :, 1, 1].numpy()
    rise = float(np.median(hip_y[at_top]) - np.median(hip_y[at_bottom]))
    return Measures(
        hip_top_deg=top["hip_deg"],
        hip_bottom_deg=bottom["hip_deg"],
        knee_top_deg=top["knee_deg"],
        knee_bottom_deg=bottom["knee_deg"],
        shin_top_deg=top["shin_deg"],
        bend_top_deg=top["knee_deg"] - max(0.0, top["hip_deg"] - 180.0),
        lean_top_deg=top["shin_deg"] - max(0.0, top["trunk_deg"]),
        trunk_top_deg=top["trunk_deg"],
        hip_rise=rise,
        rise_ratio=rise_ratio,
        rise_s=float(first) if rep.complete else float("nan"),
        hold_s=float(last - first),
        fall_s=float(rep.end_s - rep.start_s - last) if rep.complete else float("nan"),
        width=float((pose.spread[0, :, 0] + pose.spread[0, :, 1]).median()),
    )


def measure_all(track: Track, reps: list[Rep]) -> list[Measures]:
    """Measures of every rep of a clip, with ``rise_ratio`` against the clip's best rise."""
    return [measure(track, rep, ratio) for rep, ratio in zip(reps, rise_ratios(reps), strict=True)]


def view_of(width: float) -> str:
    """side, oblique or frontal, from the left-right distance of shoulders plus hips in body scales."""
    return "side" if width < WIDEST_SIDE else "oblique" if width < FRONTAL else "frontal"


MEASURED = {"hip_top_deg", "bend_top_deg", "lean_top_deg", "rise_ratio"}
"""The quantities of ``faults.QUANTITIES`` that joints can show; the lumbar chord is not among them."""


def rule_score(fault: Fault, measures: Measures) -> float:
    """How far past its cues a fault is by angles alone: 0 at ``absent``, 1 at ``present``; NaN without a measurable cue."""
    scores = []
    for cue in fault.cues:
        if cue.quantity in MEASURED:
            value = getattr(measures, cue.quantity)
            scores.append((value - cue.absent) / (cue.present - cue.absent))
    known = [score for score in scores if np.isfinite(score)]
    return max(known) if known else float("nan")


def rule_scores(faults: tuple[Fault, ...], measures: list[Measures]) -> NDArray[np.float64]:
    """Rule scores (N, L)."""
    return np.array([[rule_score(fault, m) for fault in faults] for m in measures])
