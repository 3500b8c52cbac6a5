"""What may happen to a track without a change of the exercise: rate, jitter, gaps, mirror, tempo, a tilted camera."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from src.motion.keypoints import SKELETONS, Floats, Track, mirror

Seed = np.random.Generator
SPELL_S = 0.3
"""How long gaps and swaps last on average."""
WANDER_S = 0.5
FOCAL = 0.75
"""Focal length of an ordinary phone's main camera over the longer side of its picture."""


@dataclass(frozen=True)
class Change:
    """A named change of a track; ``tempo`` multiplies all its times."""

    name: str
    apply: Callable[[Track, Seed], Track]
    tempo: float = 1.0


def halved(track: Track, _: Seed) -> Track:
    """Every second frame."""
    return replace(track, keypoints=track.keypoints[::2], fps_hz=track.fps_hz / 2)


def jitter_px(keypoints: Floats) -> Floats:
    """Each point's own frame-to-frame noise (K, 2) in px, from its second differences; 0 where it is never seen."""
    xy = keypoints[..., :2]
    second = np.ma.masked_invalid(np.abs(xy[2:] - 2 * xy[1:-1] + xy[:-2]))
    size: Floats = 1.4826 * np.ma.median(second, axis=0).filled(0.0) / np.sqrt(6)
    return size


def noisier(track: Track, rng: Seed) -> Track:
    """Twice the jitter: independent noise of the square root of 3 times each point's own adds up to that."""
    keypoints = track.keypoints.copy()
    size = np.sqrt(3) * jitter_px(keypoints)
    keypoints[..., :2] += (size * rng.standard_normal(keypoints[..., :2].shape)).astype(np.float32)
    return replace(track, keypoints=keypoints)


def wandering(track: Track, rng: Seed, share: float = 0.03) -> Track:
    """Every point wanders on its own, by 3 % of the trunk's length and with half a second's memory, as detectors err."""
    skeleton, keypoints = SKELETONS[track.skeleton], track.keypoints.copy()
    trunk = keypoints[:, skeleton.index("left_shoulder"), :2] - keypoints[:, skeleton.index("left_hip"), :2]
    seen = np.isfinite(trunk[:, 0])
    length = float(np.median(np.hypot(*trunk[seen].T))) if seen.any() else 0.0
    keep = np.exp(-1 / (WANDER_S * track.fps_hz))
    fresh = rng.standard_normal(keypoints[..., :2].shape)
    fresh[1:] *= np.sqrt(1 - keep**2)
    for t in range(1, len(fresh)):
        fresh[t] += keep * fresh[t - 1]
    keypoints[..., :2] += (share * length * fresh).astype(np.float32)
    return replace(track, keypoints=keypoints)


def spells(frames: int, columns: int, share: float, fps_hz: float, rng: Seed) -> NDArray[np.bool_]:
    """Random spells (frames, columns) of about ``SPELL_S`` that together cover ``share`` of the frames."""
    leave = min(1.0, 1 / (SPELL_S * fps_hz))
    enter = leave * share / (1 - share)
    on, state = np.zeros((frames, columns), dtype=bool), rng.random(columns) < share
    for t in range(frames):
        on[t] = state
        state = np.where(state, rng.random(columns) >= leave, rng.random(columns) < enter)
    return on


def dropped(track: Track, rng: Seed, share: float = 0.2) -> Track:
    """Each point is missing in spells of its own, a fifth of the time."""
    keypoints = track.keypoints.copy()
    frames, points = keypoints.shape[:2]
    keypoints[spells(frames, points, share, track.fps_hz, rng)] = (np.nan, np.nan, 0.0)
    return replace(track, keypoints=keypoints)


def swapped(track: Track, rng: Seed, share: float = 0.2) -> Track:
    """Left and right points change names in spells, a fifth of the time."""
    on = spells(len(track.keypoints), 1, share, track.fps_hz, rng)
    other = track.keypoints[:, list(SKELETONS[track.skeleton].mirrored)]
    return replace(track, keypoints=np.where(on[..., None], other, track.keypoints))


def tilted(track: Track, degrees: float) -> Track:
    """The picture after the camera turned up by ``degrees`` where it stands: a homography, points kept outside the frame."""
    width, height = track.size_px
    focal, turn = FOCAL * max(width, height), np.radians(degrees)
    x, y = (track.keypoints[..., i] - (side - 1) / 2 for i, side in enumerate((width, height)))
    depth = focal * np.cos(turn) - y * np.sin(turn)
    keypoints = track.keypoints.copy()
    keypoints[..., 0] = (width - 1) / 2 + focal * x / depth
    keypoints[..., 1] = (height - 1) / 2 + focal * (y * np.cos(turn) + focal * np.sin(turn)) / depth
    return replace(track, keypoints=keypoints)


def at_tempo(track: Track, tempo: float) -> Track:
    """The same frames, taken to last ``tempo`` times as long."""
    return replace(track, fps_hz=track.fps_hz / tempo)


MIRROR = Change("mirrored", lambda track, _: mirror(track))
CHANGES = (
    MIRROR,
    Change("half the frame rate", halved),
    Change("twice the jitter", noisier),
    Change("points wander by 3 % of the trunk", wandering),
    Change("20 % of points missing", dropped),
    Change("left and right swapped for 20 %", swapped),
    Change("25 % faster", lambda track, _: at_tempo(track, 0.8), 0.8),
    Change("25 % slower", lambda track, _: at_tempo(track, 1.25), 1.25),
    Change("camera turned up by 10 deg", lambda track, _: tilted(track, 10.0)),
    Change("camera turned down by 10 deg", lambda track, _: tilted(track, -10.0)),
)
