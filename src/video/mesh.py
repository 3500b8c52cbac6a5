"""Solids as triangles: boxes, turned bodies, lofted tubes, balls; joined to one surface. Metres, z up, faces outwards."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Solid = tuple[Array, Ints, Array]
"""Points (V, 3) in metres, faces (F, 3), colours (V, 3) in 0..1."""

AROUND = 18
"""Points on a ring."""


@dataclass(frozen=True)
class Surface:
    """Points (T, V, 3) metres, faces (F, 3), albedo (V, 3), part of each face (F,)."""

    points: Floats
    faces: Ints
    albedo: Floats
    part: Ints


def unit(vectors: Array) -> Array:
    """Vectors (..., 3) at length 1; those of no length stay so."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)  # type: ignore[no-any-return]


def ring_faces(rings: int, around: int = AROUND) -> Ints:
    """Faces (F, 3) of a closed tube of ``rings`` x ``around`` points; the end rings should be tiny."""
    i, j = np.meshgrid(np.arange(rings - 1), np.arange(around), indexing="ij")
    a, b = i * around + j, i * around + (j + 1) % around
    c, d = a + around, b + around
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([b, d, c], -1).reshape(-1, 3)])
    turned: Ints = faces.astype(np.int32)
    return turned


def loft(centre: Array, wide: Array, deep: Array, square: float = 1.0) -> Array:
    """Points (T, R, AROUND, 3): ellipses about centres (T, R, 3) with half axes (T, R, 3).

    ``square`` < 1 makes them boxier.
    """
    turn = np.linspace(0, 2 * np.pi, AROUND, endpoint=False)
    c, s = (np.sign(v) * np.abs(v) ** square for v in (np.cos(turn), np.sin(turn)))
    points: Array = centre[:, :, None] + wide[:, :, None] * c[:, None] + deep[:, :, None] * s[:, None]
    return points


def limb(start: Array, end: Array, ahead: Array, profile: Array) -> Array:
    """A tube (T, R, AROUND, 3) from start to end (T, 3).

    ``profile`` (R, 4): place 0..1, half width, half depth, shift (m) towards ``ahead``.
    """
    axis = end - start
    side: Array = unit(np.cross(axis, ahead).astype(float))
    front: Array = unit(np.cross(side, axis).astype(float))
    at, wide, deep, shift = (profile[:, i][None, :, None] for i in range(4))
    centre = start[:, None] + axis[:, None] * at + front[:, None] * shift
    return loft(centre, side[:, None] * wide, front[:, None] * deep)


def resampled(values: Array, count: int) -> Array:
    """Rows (R, ...) resampled smoothly to ``count`` rows (Catmull-Rom)."""
    at = np.linspace(0, len(values) - 1, count)
    i = np.clip(at.astype(int), 0, len(values) - 2)
    t = (at - i).reshape(-1, *[1] * (values.ndim - 1))
    p0, p1, p2, p3 = (values[np.clip(i + k, 0, len(values) - 1)] for k in (-1, 0, 1, 2))
    return p1 + 0.5 * t * (p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * (p1 - p2) + p3 - p0)))  # type: ignore[no-any-return]


def ball(centre: Array, axes: tuple[Array, Array, Array]) -> Array:
    """An ellipsoid (T, 9, AROUND, 3) about centres (T, 3) with half axes (T, 3)."""
    rise = np.linspace(-np.pi / 2, np.pi / 2, 9)
    s, c = np.sin(rise)[None, :, None], np.maximum(np.cos(rise), 0.01)[None, :, None]
    return loft(centre[:, None] + axes[0][:, None] * s, axes[1][:, None] * c, axes[2][:, None] * c)


def joined_tubes(parts: list[tuple[Array, Array]], part: int) -> Surface:
    """One surface from parts (points (T, R, M, 3), colours (R, M, 3)), faces turned outwards."""
    points, faces, albedo, offset = [], [], [], 0
    for tube, colour in parts:
        frames, rings, around, _ = tube.shape
        face = ring_faces(rings, around)
        flat = tube[0].reshape(-1, 3)
        a, b, c = (flat[face[:, i]] for i in range(3))
        out = (a + b + c) / 3 - tube[0].mean(axis=1)[np.minimum(face[:, 0] // around, rings - 1)]
        if (np.cross(b - a, c - a) * out).sum() < 0:
            face = face[:, ::-1]
        points.append(tube.reshape(frames, -1, 3).astype(np.float32))
        faces.append(face + offset)
        albedo.append(colour.reshape(-1, 3).astype(np.float32))
        offset += rings * around
    solid = np.concatenate(points, axis=1)
    solid[..., 2] = np.maximum(solid[..., 2], 0.004)  # flesh flattens on the floor
    joined = np.ascontiguousarray(np.concatenate(faces).astype(np.int32))
    return Surface(solid, joined, np.concatenate(albedo), np.full(len(joined), part, np.int32))


def box(low: Array, high: Array, colour: Array) -> Solid:
    """Points (24, 3), faces (12, 3) turned outwards, colours (24, 3).

    Every side has its own corners, so edges stay sharp.
    """
    points, faces = [], []
    for axis in range(3):
        for end in (0, 1):
            u, v = (axis + 1) % 3, (axis + 2) % 3
            for a, b in ((0, 0), (1, 0), (1, 1), (0, 1)):
                corner = np.empty(3)
                corner[axis], corner[u], corner[v] = (low, high)[end][axis], (low, high)[a][u], (low, high)[b][v]
                points.append(corner)
            k = len(points) - 4
            faces += [(k, k + 1, k + 2), (k, k + 2, k + 3)] if end else [(k, k + 2, k + 1), (k, k + 3, k + 2)]
    return np.array(points), np.array(faces, np.int32), np.repeat(np.asarray(colour)[None], 24, axis=0)


def turned(profile: Array, colours: Array, axis: int = 1, around: int = 28) -> Solid:
    """A body of revolution about a coordinate axis: profile (R, 2) of position and radius, colours (R, 3)."""
    turn = np.linspace(0, 2 * np.pi, around, endpoint=False)
    points = np.empty((len(profile), around, 3))
    u, v = (axis + 1) % 3, (axis + 2) % 3
    points[..., axis] = profile[:, :1]
    points[..., u], points[..., v] = profile[:, 1:] * np.cos(turn), profile[:, 1:] * np.sin(turn)
    faces = ring_faces(len(profile), around)
    return points.reshape(-1, 3), faces, np.repeat(colours, around, axis=0)


def rod(low_m: float, high_m: float, radius_m: float, colour: Array, axis: int = 1) -> Solid:
    """A cylinder along a coordinate axis, closed at both ends."""
    rows = np.array(
        [(low_m, 0.001), (low_m, radius_m), (low_m, radius_m), (high_m, radius_m), (high_m, radius_m), (high_m, 0.001)]
    )
    return turned(rows, np.repeat(np.asarray(colour, float)[None], 6, axis=0), axis, 14)


def joined_solids(meshes: list[Solid], part: int) -> Surface:
    """One still surface, points (1, V, 3)."""
    offsets = np.cumsum([0, *[len(points) for points, _, _ in meshes]])
    faces = np.ascontiguousarray(
        np.concatenate([face + offset for (_, face, _), offset in zip(meshes, offsets, strict=False)]).astype(np.int32)
    )
    points, albedo = (np.concatenate([mesh[i] for mesh in meshes]).astype(np.float32) for i in (0, 2))
    return Surface(points[None], faces, np.clip(albedo, 0, 1), np.full(len(faces), part, np.int32))
