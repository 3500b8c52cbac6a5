"""Everything that is not the lifter: bench, bar and plates, floor, walls, clutter, and the light."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from src.motion.bystander import bystander
from src.motion.camera import Camera
from src.motion.kinematics import Performance
from src.video.body import Floats, Ints, Surface, person_surface, ring_faces, sample_outfit

Array = NDArray[np.float64]

FLOORS = ("rubber", "wood", "tile", "mat")
PAINTS = np.array(
    [
        (0.75, 0.74, 0.72),
        (0.55, 0.56, 0.58),
        (0.86, 0.85, 0.82),
        (0.36, 0.40, 0.46),
        (0.62, 0.55, 0.48),
        (0.30, 0.31, 0.33),
        (0.50, 0.60, 0.58),
    ]
)
GROUNDS = {
    "rubber": (0.17, 0.18, 0.18),
    "wood": (0.55, 0.40, 0.26),
    "tile": (0.58, 0.58, 0.56),
    "mat": (0.25, 0.29, 0.36),
}
PLATE_PAINT = np.array(
    [
        (0.06, 0.06, 0.07),
        (0.06, 0.06, 0.07),
        (0.10, 0.10, 0.11),
        (0.55, 0.08, 0.08),
        (0.08, 0.18, 0.45),
        (0.60, 0.50, 0.08),
        (0.10, 0.35, 0.16),
    ]
)


@dataclass(frozen=True)
class Room:
    """Colours in 0..1, light towards the lamp (3,), strength (sky, lamp, camera).

    ``seed`` is that of texture and clutter.
    """

    floor: str
    ground: Array
    wall: Array
    brick_m: float
    clutter: int
    bystanders: int
    light: Floats
    strength: Floats
    plate: Array
    bench: Array
    seed: int


def sample_room(rng: np.random.Generator) -> Room:
    """A gym or a living room, independent of who lifts and how."""
    floor = str(rng.choice(FLOORS))
    light = np.array([rng.normal(0, 0.45), rng.normal(0, 0.45), 1.0])
    return Room(
        floor=floor, ground=np.array(GROUNDS[floor]) * rng.uniform(0.7, 1.4),
        wall=PAINTS[rng.integers(len(PAINTS))] * rng.uniform(0.75, 1.1),
        brick_m=float(rng.choice([0.0, 0.0, 0.25, 0.6])), clutter=int(rng.integers(0, 14)),
        bystanders=int(rng.choice([0, 1, 2], p=(0.65, 0.25, 0.1))),
        light=(light / np.linalg.norm(light)).astype(np.float32),
        strength=np.array([rng.uniform(0.5, 0.75), rng.uniform(0.25, 0.6), rng.uniform(0.05, 0.25)], np.float32),
        plate=PLATE_PAINT[rng.integers(len(PLATE_PAINT))],
        bench=PAINTS[rng.integers(len(PAINTS))] * rng.choice([0.15, 0.3, 0.8]), seed=int(rng.integers(2**31)),
    )  # fmt: skip


def _box(low: Array, high: Array, colour: Array) -> tuple[Array, Ints, Array]:
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


def _turned(profile: Array, colours: Array, axis: int = 1, around: int = 28) -> tuple[Array, Ints, Array]:
    """A body of revolution about a coordinate axis: profile (R, 2) of position and radius, colours (R, 3)."""
    turn = np.linspace(0, 2 * np.pi, around, endpoint=False)
    points = np.empty((len(profile), around, 3))
    u, v = (axis + 1) % 3, (axis + 2) % 3
    points[..., axis] = profile[:, :1]
    points[..., u], points[..., v] = profile[:, 1:] * np.cos(turn), profile[:, 1:] * np.sin(turn)
    faces = ring_faces(len(profile), around)
    return points.reshape(-1, 3), faces, np.repeat(colours, around, axis=0)


def _plate(radius_m: float, thick_m: float, colour: Array, middle_m: float) -> tuple[Array, Ints, Array]:
    """A weight plate across the bar at ``middle_m``; rims, face rings and a steel hub."""
    t, r = thick_m / 2, radius_m
    profile = [
        (-t, 0.002),
        (-t, 0.03),
        (-t, 0.03),
        (-t * 0.7, 0.035),
        (-t * 0.7, 0.62 * r),
        (-t, 0.68 * r),
        (-t, 0.94 * r),
        (-t, 0.94 * r),
        (-t * 0.8, r),
        (-t * 0.8, r),
    ]
    rows = np.array(profile + [(-p, q) for p, q in profile[::-1]])
    steel, dark = np.array([0.6, 0.6, 0.62]), colour * 0.75
    shades = np.array([steel, steel, colour, colour, dark, colour, colour, colour, colour, colour])
    rows[:, 0] += middle_m
    return _turned(rows, np.concatenate([shades, shades[::-1]]))


def _rod(low_m: float, high_m: float, radius_m: float, colour: Array, axis: int = 1) -> tuple[Array, Ints, Array]:
    rows = np.array(
        [(low_m, 0.001), (low_m, radius_m), (low_m, radius_m), (high_m, radius_m), (high_m, radius_m), (high_m, 0.001)]
    )
    return _turned(rows, np.repeat(np.asarray(colour, float)[None], 6, axis=0), axis, 14)


def _join(meshes: list[tuple[Array, Ints, Array]], part: int) -> Surface:
    """One still surface, points (1, V, 3)."""
    offsets = np.cumsum([0, *[len(points) for points, _, _ in meshes]])
    faces = np.ascontiguousarray(
        np.concatenate([face + offset for (_, face, _), offset in zip(meshes, offsets, strict=False)]).astype(np.int32)
    )
    points, albedo = (np.concatenate([mesh[i] for mesh in meshes]).astype(np.float32) for i in (0, 2))
    return Surface(points[None], faces, np.clip(albedo, 0, 1), np.full(len(faces), part, np.int32))


def bench_surface(perf: Performance, room: Room, part: int) -> Surface:
    """The bench (pad, legs) with its edge at x = 0, or a mat for the floor bridge."""
    rng = np.random.default_rng(room.seed)
    height, deep, wide = perf.setup.bench_m, rng.uniform(0.26, 0.42), rng.uniform(0.45, 0.65)
    if height == 0:
        return _join([_box(np.array([-0.7, -0.35, -0.01]), np.array([1.15, 0.35, 0.001]), room.bench * 1.3)], part)
    pad = rng.uniform(0.06, 0.11)
    meshes = [_box(np.array([-deep, -wide, height - pad]), np.array([0.0, wide, height]), room.bench)]
    steel = np.array([0.12, 0.12, 0.13])
    for x in (-deep + 0.04, -0.08):
        for y in (-wide * 0.8, wide * 0.8):
            meshes.append(_box(np.array([x, y - 0.025, 0.0]), np.array([x + 0.05, y + 0.025, height - pad]), steel))
    return _join(meshes, part)


def gear_surface(perf: Performance, room: Room, part: int) -> Surface | None:
    """Bar with plates, or a dumbbell, riding on the hips: points (T, V, 3)."""
    setup, steel = perf.setup, np.array([0.55, 0.55, 0.57])
    if setup.load == "none":
        return None
    rng = np.random.default_rng(room.seed + 1)
    radius, end = setup.plate_m / 2, setup.bar_half_m
    if setup.load == "barbell":
        meshes = [_rod(-1.05, 1.05, 0.0145, steel)]
        thick = rng.uniform(0.03, 0.08)
        for sign in (-1, 1):
            meshes += [
                _plate(radius, thick, room.plate, sign * (end + thick / 2)),
                _rod(min(sign * end, sign * 1.08), max(sign * end, sign * 1.08), 0.025, steel),
            ]
        if rng.random() < 0.5:
            meshes.append(_rod(-0.2, 0.2, 0.045, np.array([0.08, 0.08, 0.09])))
    else:
        meshes = [_rod(-0.10, 0.10, 0.017, steel)]
        meshes += [_plate(radius, 0.07, room.plate, sign * end) for sign in (-1, 1)]
    still = _join(meshes, part)
    return Surface(still.points + perf["bar"][:, None].astype(np.float32), still.faces, still.albedo, still.part)


def _behind(camera: Camera, rng: np.random.Generator) -> Array:
    """A place (3,) on the floor behind the lifter as seen from the camera."""
    away = np.array([0.4, 0.0, 0.0]) - camera.position_m
    away[2] = 0
    away /= np.linalg.norm(away)
    across = np.array([-away[1], away[0], 0.0])
    return np.array([0.4, 0, 0]) + away * rng.uniform(1.3, 3.2) + across * rng.uniform(-3.0, 3.0)


def bystander_surfaces(perf: Performance, camera: Camera, room: Room, part: int) -> list[Surface]:
    """Other people who stand about: points (T, V, 3) each."""
    rng = np.random.default_rng(room.seed + 4)
    people = []
    for _ in range(room.bystanders):
        stands = bystander(perf.fps_hz, len(perf.joints), rng)
        turn, spot = rng.uniform(0, 2 * np.pi), _behind(camera, rng)
        c, s = np.cos(turn), np.sin(turn)
        joints = stands.joints @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) + spot
        people.append(
            person_surface(replace(stands, joints=joints), sample_outfit(rng), part, int(rng.integers(2**31)))
        )
    return people


def clutter_surface(camera: Camera, room: Room) -> Surface | None:
    """Racks, boxes and balls behind the lifter as seen from the camera."""
    rng = np.random.default_rng(room.seed + 2)
    meshes = []
    for _ in range(room.clutter):
        spot = _behind(camera, rng)
        colour, kind = PAINTS[rng.integers(len(PAINTS))] * rng.uniform(0.1, 1.0), rng.integers(4)
        if kind == 0:
            size = rng.uniform(0.15, 0.5, 3)
            meshes.append(_box(spot - size * (0.5, 0.5, 0), spot + size * (0.5, 0.5, 1.5), colour))
        elif kind == 1:  # a rack: posts and shelves
            for dx in (-0.5, 0.5):
                meshes.append(_box(spot + (dx, -0.04, 0), spot + (dx + 0.07, 0.04, 2.1), colour))
            for z in rng.uniform(0.2, 2.0, 3):
                meshes.append(_box(spot + (-0.5, -0.1, z), spot + (0.57, 0.1, z + 0.06), colour * 0.8))
        elif kind == 2:
            points, faces, paint = _plate(rng.uniform(0.15, 0.23), 0.06, colour, 0.0)
            meshes.append((points + spot + (0, 0, rng.uniform(0.25, 1.2)), faces, paint))
        else:
            points, faces, paint = _rod(0.0, rng.uniform(0.3, 1.8), rng.uniform(0.03, 0.2), colour, axis=2)
            meshes.append((points + spot, faces, paint))
    return _join(meshes, 0) if meshes else None


def backdrop(camera: Camera, room: Room, turn: Array, size_px: tuple[int, int]) -> Floats:
    """Floor, walls and ceiling (H, W, 3) in 0..1, ray by ray, for one camera.

    ``turn`` (3, 3) is its attitude, ``size_px`` the picture's width and height.
    """
    rng = np.random.default_rng(room.seed + 3)
    width, height = size_px
    x, y = np.meshgrid(np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2)
    rays = np.stack([x / camera.focal_px, y / camera.focal_px, np.ones_like(x)], axis=-1) @ turn  # (H, W, 3) world
    yaw = rng.normal(0, 0.08)
    spin = np.array([[np.cos(yaw), np.sin(yaw), 0], [-np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    rays, eye = rays @ spin.T, spin @ camera.position_m
    low = np.minimum(np.minimum(eye - 0.6, spin @ (0, 0, 0) - 2.0), -1.5) - rng.uniform(0, 2.0, 3)
    high = np.maximum(np.maximum(eye + 0.6, 2.2), 1.5) + rng.uniform(0, 2.0, 3)
    low[2], high[2] = 0.0, rng.uniform(2.5, 3.6)
    edge = np.where(rays > 0, high, low)
    reach = (edge - eye) / np.where(np.abs(rays) < 1e-9, 1e-9, rays)
    side = reach.argmin(axis=-1)
    hit = eye + rays * reach.min(axis=-1, keepdims=True)
    picture = np.empty((height, width, 3))
    ground, roof = (side == 2) & (rays[..., 2] < 0), (side == 2) & (rays[..., 2] >= 0)
    picture[side < 2] = _wall(hit[side < 2], side[side < 2], room, rng)
    picture[ground] = _ground(hit[ground], room, rng)
    lamps = (np.abs((hit[roof][:, 0] % 1.8) - 0.9) < 0.15) & (np.abs((hit[roof][:, 1] % 2.4) - 1.2) < 0.6)
    picture[roof] = np.where(lamps[:, None], 1.0, 0.55 * room.wall + 0.25)
    dim = np.clip(1.05 - 0.05 * np.linalg.norm(hit - (0.4, 0, 0.5), axis=-1), 0.55, 1.05)
    return np.clip(picture * dim[..., None] * (0.35 + 0.75 * float(room.strength[:2].sum())), 0, 1).astype(np.float32)  # type: ignore[no-any-return]


def _grain(points: Array, rng: np.random.Generator, scale_m: float) -> Array:
    """Smooth-free hash noise in -1..1 per cell of ``scale_m``, (n,)."""
    table = rng.uniform(-1, 1, 4096)
    cell = np.floor(points / scale_m).astype(np.int64)
    return table[(cell[..., 0] * 73856093 ^ cell[..., 1] * 19349663) & 4095]  # type: ignore[no-any-return]


def _ground(hit: Array, room: Room, rng: np.random.Generator) -> Array:
    shade = 1 + 0.05 * _grain(hit[:, :2], rng, 0.02)
    if room.floor == "rubber":
        shade = shade + 1.2 * (_grain(hit[:, :2], rng, 0.012) > 0.985)
    elif room.floor == "wood":
        shade = shade + 0.13 * _grain(hit[:, :2] * (0.1, 1.0), rng, 0.12) - 0.3 * ((hit[:, 1] % 0.12) < 0.006)
    elif room.floor == "tile":
        shade = shade - 0.3 * (((hit[:, 0] % 0.5) < 0.008) | ((hit[:, 1] % 0.5) < 0.008))
    return room.ground * shade[:, None]


def _wall(hit: Array, side: NDArray[np.int64], room: Room, rng: np.random.Generator) -> Array:
    along = np.where(side == 0, hit[:, 1], hit[:, 0])
    flat = np.stack([along, hit[:, 2]], axis=-1)
    colour = room.wall * (1 + 0.02 * _grain(flat, rng, 0.05) + 0.04 * np.sin(along * 0.7 + side))[:, None]
    if room.brick_m:
        row = np.floor(hit[:, 2] / (room.brick_m / 3))
        lines = ((hit[:, 2] % (room.brick_m / 3)) < 0.012) | (((along + row * room.brick_m / 2) % room.brick_m) < 0.012)
        colour = (
            colour
            * np.where(lines, 0.75, 1 + 0.06 * _grain(flat / (room.brick_m, room.brick_m / 3), rng, 1.0))[:, None]
        )
    colour[hit[:, 2] < 0.1] *= 0.5
    for _ in range(rng.integers(0, 6)):  # posters, windows, mirrors
        x, z, w, h = rng.uniform(-3, 3), rng.uniform(0.8, 2.0), rng.uniform(0.15, 0.8), rng.uniform(0.15, 0.5)
        colour[(np.abs(along - x) < w) & (np.abs(hit[:, 2] - z) < h)] = PAINTS[rng.integers(len(PAINTS))] * rng.uniform(
            0.3, 1.1
        )
    return colour
