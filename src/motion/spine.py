"""The trunk in the sagittal plane.

A rigid thorax, five lumbar joints, a rigid pelvis, and the skin before and behind.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.motion.person import Person

Array = NDArray[np.float64]

NODES = ("c7", "t3", "t6", "t9", "t12", "l2", "l3", "l4", "s1", "s3", "coccyx")
"""Vertebral bodies that carry the trunk, head to tail. T12 to S1 bend, the rest is rigid."""

_REST = np.array([
    (-0.10, -0.085), (0.06, -0.110), (0.18, -0.120), (0.30, -0.105), (0.42, -0.072), (0.52, -0.046),
    (0.60, -0.036), (0.69, -0.036), (0.80, -0.060), (0.92, -0.115), (1.02, -0.150),
])  # fmt: skip
"""(11, 2) along the shoulder-hip chord (0 = shoulders, 1 = hips) and in front of it, trunk lengths, at rest, after the
plumb line of posture texts: shoulder, lumbar bodies and hip nearly in line. Working values of this project."""

_BEND = np.array([0, 0, 0, 0, 0.14, 0.19, 0.24, 0.22, 0.21, 0, 0])
"""Share of the lumbar angle at each node (sums to 1), somewhat more in the lower joints, as in White & Panjabi."""
_REAR = np.array([0.085, 0.105, 0.115, 0.120, 0.128, 0.132, 0.135, 0.140, 0.150, 0.150, 0.115])
_FORE = np.array([0.090, 0.220, 0.310, 0.320, 0.285, 0.250, 0.235, 0.230, 0.230, 0.235, 0.200])
_BELLY = np.array([0, 0, 0.1, 0.35, 0.8, 1.0, 1.0, 0.9, 0.55, 0.15, 0])
_GLUTE = np.array([0, 0, 0, 0, 0, 0, 0.05, 0.15, 0.4, 1.0, 0.9])
_FOLD = np.array([0, 0, 0, 0, 0.2, 0.45, 0.65, 0.85, 1.0, 0.8, 0])
"""Share of a person's ``swell`` by which each node's front bulges when the hips are bent by 60 degrees."""
CHEST = 4
"""Nodes up to here (T12) belong to the rigid thorax."""
MID_LUMBAR = NODES.index("l3")


@dataclass(frozen=True)
class Trunk:
    """Trunk shape per frame in the thorax's own frame: (along, in front) in metres, origin at the resting mid-shoulder.

    spine, rear, fore: (T, 11, 2) vertebrae and the skin behind and before them. shoulder, hip: (T, 2) mid-joints.
    pelvis: (T, 2) unit vector in front of the pelvis.
    """

    spine: Array
    rear: Array
    fore: Array
    shoulder: Array
    hip: Array
    pelvis: Array


def _rest(person: Person) -> Array:
    """(11, 2) resting vertebrae with this person's lordosis and kyphosis, metres."""
    rest = _REST.copy()
    top, low = NODES.index("t12"), NODES.index("s1")
    line = np.interp(rest[top:low, 0], rest[[top, low], 0], rest[[top, low], 1])
    rest[top:low, 1] = line + (rest[top:low, 1] - line) * person.lordosis_deg / 42.0
    line = np.interp(rest[: top + 1, 0], rest[[0, top], 0], rest[[0, top], 1])
    rest[: top + 1, 1] = line + (rest[: top + 1, 1] - line) * person.kyphosis
    return rest * person.trunk_m


def _turn(vectors: Array, angle: Array) -> Array:
    """Vectors (..., 2) turned by angle (T,): positive tips the lower end backwards (extension)."""
    c, s = np.cos(angle)[:, None], np.sin(angle)[:, None]
    return np.stack([vectors[..., 0] * c + vectors[..., 1] * s, vectors[..., 1] * c - vectors[..., 0] * s], axis=-1)


def bend(person: Person, lumbar_deg: Array, shrug: float = 0.0, flexion: Array | float = 0.0) -> Trunk:
    """The trunk for lumbar angles (T,), 0 = this person's rest, + = extension (arched), - = flexion (tucked).

    The five lumbar joints share the angle, so the pelvis turns by all of it against the thorax, and the mid-lumbar
    vertebra
    leaves the shoulder-hip chord by about 0.035 trunk lengths per 10 deg. ``shrug`` moves the shoulders up, trunk
    lengths. ``flexion`` (T,) of the hips, 1 = 60 deg, gathers soft tissue in front of the belly and the hip.
    """
    rest = _rest(person)
    turned = np.deg2rad(lumbar_deg)[:, None] * np.cumsum(_BEND)  # (T, 11) angle below each node
    steps = np.stack(
        [_turn(step[None, None], turned[:, i])[:, 0] for i, step in enumerate(np.diff(rest, axis=0))], axis=1
    )
    spine = np.concatenate([np.broadcast_to(rest[0], (len(turned), 1, 2)), rest[0] + np.cumsum(steps, axis=1)], axis=1)
    slope = np.gradient(rest, axis=0)
    front = np.stack([-slope[:, 1], slope[:, 0]], axis=1) / np.linalg.norm(slope, axis=1, keepdims=True)  # (11, 2)
    middle = turned - np.deg2rad(lumbar_deg)[:, None] * _BEND / 2
    fronts = np.stack(
        [_turn(front[i][None, None], middle[:, i])[:, 0] for i in range(len(front))], axis=1
    )  # (T, 11, 2)
    rear, fore = skin(person)
    fold = np.broadcast_to(flexion, len(turned))[:, None] * _FOLD * person.swell * person.trunk_m  # (T, 11)
    low = NODES.index("s1")
    hip = spine[:, low] + _turn((np.array([person.trunk_m, 0.0]) - rest[low])[None, None], turned[:, -1])[:, 0]
    shoulder = np.broadcast_to(np.array([-shrug * person.trunk_m, 0.0]), hip.shape)
    pelvis = _turn(np.array([[[0.0, 1.0]]]), turned[:, -1])[:, 0]
    return Trunk(
        spine, spine - fronts * rear[:, None], spine + fronts * (fore + fold)[..., None], shoulder, hip, pelvis
    )


def skin(person: Person) -> tuple[Array, Array]:
    """Depth of soft tissue behind and before each vertebra, (11,) and (11,), metres."""
    rear = _REAR * person.depth + 0.055 * _GLUTE * person.glute
    fore = _FORE * person.depth * (1 + 0.35 * person.belly * _BELLY) + 0.10 * person.belly * _BELLY
    return rear * person.trunk_m, fore * person.trunk_m


def contour(shoulder: Array, hip: Array, outline: Array, fractions: Sequence[float]) -> Array:
    """Where an outline (T, n, C) first crosses the perpendiculars at fractions (F) of the chord: (T, F, C).

    One that it never reaches gets the outline's point that is nearest to it.
    """
    chord = hip - shoulder
    along = ((outline - shoulder[:, None]) * chord[:, None]).sum(-1) / (chord**2).sum(-1)[:, None]  # (T, n)
    points = []
    row = np.arange(len(along))
    for fraction in fractions:
        beyond = along >= fraction
        i = np.maximum(np.where(beyond.any(axis=1), beyond.argmax(axis=1), along.argmax(axis=1)), 1)  # (T,)
        before, after = along[row, i - 1], along[row, i]
        share = np.clip((fraction - before) / np.maximum(after - before, 1e-9), 0, 1)[:, None]
        points.append(outline[row, i - 1] * (1 - share) + outline[row, i] * share)
    return np.stack(points, axis=1)


def lumbar_offset(shoulder: Array, hip: Array, mid_lumbar: Array) -> Array:
    """Signed distance (T,) of the mid-lumbar point before the shoulder-hip chord, trunk lengths; planar points (T, 2).

    The plane's axes are (towards the feet, up), so for someone lying face up "before" is up.
    """
    chord = hip - shoulder
    arm = mid_lumbar - shoulder
    return (chord[:, 0] * arm[:, 1] - chord[:, 1] * arm[:, 0]) / (chord**2).sum(-1)  # type: ignore[no-any-return]
