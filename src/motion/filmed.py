"""A set as a camera saw it: true points, what surrounds them, and which clips and which moments of two sets are alike.

Everything happens in one frame of reference: the camera on the person's left (others are mirrored), lengths in mean limbs. Points
of the trunk lie in the frame of the shoulder-hip chord, since from there detectors measure them: what moves the chord moves them.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.motion.features import PARTS
from src.motion.keypoints import HIP_THRUST, SPINE, TRUNK, Track, middle, mirror
from src.motion.person import ARMS, LOADS

Array = NDArray[np.float64]

CHAIN = PARTS[:4]
"""From shoulder to ankle."""
CLOCK = 0.05
"""Share of the clock in the phase of a rep; the rest is the hips' rise."""


@dataclass(frozen=True)
class Filmed:
    """A true track (T, 32, 3), the vertebra ``as_in_body``, and what surrounds it.

    side: where the camera stands, ``left`` or ``right`` of the person. reps: (R, 3) start, top and end in seconds.
    """

    true: Track
    side: str
    plate_m: float
    load: str
    arms: str
    reps: Array

    @property
    def from_left(self) -> Track:
        """The true track as if filmed from the left."""
        return self.true if self.side == "left" else mirror(self.true)

    def place(self) -> Array:
        """Numbers (10,) by which clips are alike, see ``noise.ALIKE``."""
        xy, size = self.from_left.keypoints[..., :2].astype(float), unit(self.from_left)
        left, right = (xy[:, HIP_THRUST.index(f"{side}_hip")] for side in ("left", "right"))
        across = np.median(left - right, axis=0) / size
        trunk = np.median(middle(xy, "hip") - middle(xy, "shoulder"), axis=0)
        pitch, arms = np.arctan2(-trunk[1], abs(trunk[0])), [float(self.arms == place) for place in ARMS]
        return np.array([*across, self.plate_m, pitch, LOADS.index(self.load), *arms])


def unit(true: Track) -> float:
    """Pixels of a mean limb: median over time of the mean of trunk, thigh and shank."""
    chain = np.stack([middle(true.keypoints.astype(float), part) for part in CHAIN])  # (4, T, 2)
    return float(np.median(np.linalg.norm(np.diff(chain, axis=0), axis=-1).mean(axis=0)))


def stance(filmed: Filmed) -> Array:
    """True points (T, 32, 2): joints from the middle between shoulders and knees, in mean limbs, the trunk's ``off_chord``."""
    xy = filmed.from_left.keypoints[..., :2].astype(float)
    held: Array = (xy - (middle(xy, "shoulder") + middle(xy, "knee"))[:, None] / 2) / unit(filmed.from_left)
    held[:, -len(TRUNK) :] = off_chord(xy)
    return held


def chord_of(xy: Array) -> tuple[Array, Array, Array]:
    """Mid-shoulder of points (T, 32, 2), the way from there to mid-hip, and as far at a right angle to it: (T, 2) each."""
    shoulder, hip = middle(xy, "shoulder"), middle(xy, "hip")
    chord = hip - shoulder
    return shoulder, chord, np.stack([chord[:, 1], -chord[:, 0]], axis=-1)


def off_chord(xy: Array) -> Array:
    """The trunk's points (T, 11, 2) of points (T, 32, 2): along the shoulder-hip chord and off it, both in its length."""
    shoulder, chord, across = chord_of(xy)
    arm = (xy[:, -len(TRUNK) :] - shoulder[:, None]) / np.maximum((chord**2).sum(-1), 1e-6)[:, None, None]
    return np.stack([(arm * chord[:, None]).sum(-1), (arm * across[:, None]).sum(-1)], axis=-1)


def on_chord(xy: Array, held: Array) -> Array:
    """The reverse: where points (T, 11, 2) that are ``held`` off the chord lie, by the joints of points (T, 32, 2)."""
    shoulder, chord, across = chord_of(xy)
    placed: Array = shoulder[:, None] + held[..., :1] * chord[:, None] + held[..., 1:] * across[:, None]
    return placed


def as_in_body(true: Track, lumbar: Array) -> Track:
    """A true track whose vertebra lies as far off the shoulder-hip chord as in the body (T,): there the detector looks for it.

    lumbar: see ``Performance.lumbar``.
    """
    xy, row = true.keypoints[..., :2].astype(float), TRUNK.index(SPINE)
    held, facing = off_chord(xy), np.sign((middle(xy, "ankle") - middle(xy, "shoulder"))[:, 0].sum())
    held[:, row, 1] = facing * lumbar
    keypoints = true.keypoints.copy()
    keypoints[:, HIP_THRUST.index(SPINE), :2] = on_chord(xy, held)[:, row]
    return replace(true, keypoints=keypoints)


class Timed(NamedTuple):
    """A set in time: ``seconds`` (T,) of its frames, ``reps`` (R, 3) start, top, end in seconds, and ``phase`` (T,).

    Phase is how far a frame is in its rep: 0 at the start, 1 at lockout, 2 at the end, NaN outside.
    """

    seconds: Array
    reps: Array
    phase: Array


def timed(filmed: Filmed) -> Timed:
    """A set in time; the phase goes with the hips' rise over shoulders and knees and, lest it rest, a little with the clock."""
    height = {part: -middle(filmed.true.keypoints.astype(float), part)[:, 1] for part in CHAIN}
    rise = height["hip"] - (height["shoulder"] + height["knee"]) / 2
    seconds = filmed.true.seconds.astype(float)
    phase: Array = np.full(len(rise), np.nan)
    for start_s, top_s, end_s in filmed.reps:
        for way, (first_s, last_s) in enumerate(((start_s, top_s), (top_s, end_s))):
            rows = np.flatnonzero((seconds >= first_s) & (seconds <= last_s))
            gone = np.maximum.accumulate(rise[rows] * (1, -1)[way])
            share = (gone - gone[:1]) / max(float(np.ptp(gone)) if len(gone) else 0.0, 1e-6)
            phase[rows] = way + (1 - CLOCK) * share + CLOCK * (seconds[rows] - first_s) / max(last_s - first_s, 1e-6)
    return Timed(seconds, filmed.reps, phase)


def same_moment(ours: Timed, theirs: Timed) -> Array:
    """Seconds (T,) of their set at the like moment of ours, their reps again and again.

    Inside a rep moments are alike of the same phase. Before the first and after the last rep time runs as it does,
    between two reps it rests at the end of the one before.
    """
    seconds, reps = ours.seconds, ours.reps
    at: Array = np.empty_like(seconds)
    for i, (start_s, _, end_s) in enumerate(reps):
        first_s, _, last_s = theirs.reps[i % len(theirs.reps)]
        inside = (seconds >= start_s) & (seconds <= end_s)
        known = (theirs.seconds >= first_s) & (theirs.seconds <= last_s) & np.isfinite(theirs.phase)
        at[inside] = np.interp(
            ours.phase[inside], [0.0, *theirs.phase[known], 2.0], [first_s, *theirs.seconds[known], last_s]
        )
        after = (seconds > end_s) & (seconds < (reps[i + 1, 0] if i + 1 < len(reps) else np.inf))
        at[after] = last_s
    before, after = seconds < reps[0, 0], seconds > reps[-1, 2]
    at[before] = np.maximum(theirs.reps[0, 0] - (reps[0, 0] - seconds[before]), 0.0)
    at[after] = theirs.reps[-1, 2] + seconds[after] - reps[-1, 2]
    return at
