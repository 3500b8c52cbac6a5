"""Heads made unrecognisable: where the lifter's head is, and the same picture without it."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from src.motion.keypoints import SKELETONS, Track

Picture = NDArray[np.uint8]
Points = NDArray[np.float64]

CHAIN = ("shoulder", "hip", "knee", "ankle")
HEAD = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
HEAD_SIZE = 0.42
"""Least radius of a hidden head, in body scales (mean of trunk, thigh and shank); a head is about 0.5 long."""
BLOCKS = 5
"""A hidden head is left with so many patches of mean colour across."""


def centre(keypoints: NDArray[np.float32], name: str, part: str) -> Points:
    """Mean place (2,) of a left and right joint, of one where the other is missing, NaN without both."""
    body = SKELETONS[name]
    pair = keypoints[[body.index(f"left_{part}"), body.index(f"right_{part}")], :2].astype(np.float64)
    pair = pair[np.isfinite(pair[:, 0])]
    return pair.mean(axis=0) if len(pair) else np.full(2, np.nan)


def pixel(xy: NDArray[np.floating]) -> tuple[int, int]:
    """A point as whole pixels; far outside stays within what the drawing takes."""
    x, y = np.clip(np.round(xy[:2]), -20_000, 20_000)
    return int(x), int(y)


def head_circles(track: Track) -> Points:
    """Where the lifter's head is, (T, 3): x px, y px, radius px; gaps are bridged, all NaN where no head is ever seen."""
    body = SKELETONS[track.skeleton]
    head = track.keypoints[:, [body.index(point) for point in HEAD], :2].astype(np.float64)
    seen = np.flatnonzero(np.isfinite(head[..., 0]).any(axis=1))
    if not len(seen):
        return np.full((len(head), 3), np.nan)
    middle = np.nanmean(head[seen], axis=1)  # (S, 2)
    reach = np.nanmax(np.linalg.norm(head[seen] - middle[:, None], axis=-1), axis=1)
    radius = np.maximum(2.2 * reach, HEAD_SIZE * body_scale(track))
    rows = np.column_stack([middle, radius])
    frames = np.arange(len(head))
    circles = np.column_stack([np.interp(frames, seen, column) for column in rows.T])
    apart = np.abs(frames[:, None] - seen[np.abs(frames[:, None] - seen).argmin(axis=1)][:, None])[:, 0]
    circles[:, 2] *= 1.0 + apart / track.fps_hz  # the longer unseen, the less is known where it is
    return circles


def body_scale(track: Track) -> float:
    """Median length of trunk, thigh and shank in px; 0 where they were never seen."""
    parts = [np.array([centre(row, track.skeleton, part) for row in track.keypoints]) for part in CHAIN]
    lengths = [np.linalg.norm(a - b, axis=1) for a, b in zip(parts[1:], parts[:-1], strict=True)]
    known = np.concatenate(lengths)
    known = known[np.isfinite(known)]
    return float(np.median(known)) if len(known) else 0.0


def hide(frame: Picture, circle: Points) -> Picture:
    """A copy with what lies in the circle reduced to a few patches of mean colour; the whole picture where it is NaN."""
    height, width = frame.shape[:2]
    x, y, radius = circle if np.isfinite(circle).all() else (width / 2, height / 2, float(max(width, height)))
    block = max(2, round(2 * radius / BLOCKS))
    small = cv2.resize(frame, (max(1, width // block), max(1, height // block)), interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    mask = np.zeros((height, width), np.uint8)
    cv2.circle(mask, pixel(np.array([x, y])), math.ceil(radius), 1, -1)
    hidden: Picture = np.where(mask[..., None] == 1, coarse, frame)
    return hidden
