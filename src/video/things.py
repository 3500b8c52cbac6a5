"""What stands in the room beside the lifter: bench, bar and plates, racks and boxes, other people."""

from dataclasses import replace

import numpy as np

from src.motion.bystander import bystander
from src.motion.camera import Camera
from src.motion.kinematics import Performance
from src.motion.limbs import BENCH_M
from src.video.body import person_surface, sample_outfit
from src.video.mesh import Array, Solid, Surface, box, joined_solids, rod, turned
from src.video.room import PAINTS, Room


def _plate(radius_m: float, thick_m: float, colour: Array, middle_m: float) -> Solid:
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
    return turned(rows, np.concatenate([shades, shades[::-1]]))


def bench_surface(perf: Performance, room: Room, part: int) -> Surface:
    """The bench (pad, legs) with its edge at x = 0, or a mat for the floor bridge."""
    rng = np.random.default_rng(room.seed)
    height, deep, wide = perf.setup.bench_m, rng.uniform(0.26, BENCH_M[0]), rng.uniform(0.45, BENCH_M[1] / 2)
    if height == 0:
        return joined_solids(
            [box(np.array([-0.7, -0.35, -0.01]), np.array([1.15, 0.35, 0.001]), room.bench * 1.3)], part
        )
    pad = rng.uniform(0.06, 0.11)
    meshes = [box(np.array([-deep, -wide, height - pad]), np.array([0.0, wide, height]), room.bench)]
    steel = np.array([0.12, 0.12, 0.13])
    for x in (-deep + 0.04, -0.08):
        for y in (-wide * 0.8, wide * 0.8):
            meshes.append(box(np.array([x, y - 0.025, 0.0]), np.array([x + 0.05, y + 0.025, height - pad]), steel))
    return joined_solids(meshes, part)


def gear_surface(perf: Performance, room: Room, part: int) -> Surface | None:
    """Bar with plates, or a dumbbell, riding on the hips: points (T, V, 3)."""
    setup, steel = perf.setup, np.array([0.55, 0.55, 0.57])
    if setup.load == "none":
        return None
    rng = np.random.default_rng(room.seed + 1)
    radius, end = setup.plate_m / 2, setup.bar_half_m
    if setup.load == "barbell":
        meshes = [rod(-1.05, 1.05, 0.0145, steel)]
        thick = rng.uniform(0.03, 0.08)
        for sign in (-1, 1):
            meshes += [
                _plate(radius, thick, room.plate, sign * (end + thick / 2)),
                rod(min(sign * end, sign * 1.08), max(sign * end, sign * 1.08), 0.025, steel),
            ]
        if rng.random() < 0.5:
            meshes.append(rod(-0.2, 0.2, 0.045, np.array([0.08, 0.08, 0.09])))
    else:
        meshes = [rod(-0.10, 0.10, 0.017, steel)]
        meshes += [_plate(radius, 0.07, room.plate, sign * end) for sign in (-1, 1)]
    still = joined_solids(meshes, part)
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
            meshes.append(box(spot - size * (0.5, 0.5, 0), spot + size * (0.5, 0.5, 1.5), colour))
        elif kind == 1:  # a rack: posts and shelves
            for dx in (-0.5, 0.5):
                meshes.append(box(spot + (dx, -0.04, 0), spot + (dx + 0.07, 0.04, 2.1), colour))
            for z in rng.uniform(0.2, 2.0, 3):
                meshes.append(box(spot + (-0.5, -0.1, z), spot + (0.57, 0.1, z + 0.06), colour * 0.8))
        elif kind == 2:
            points, faces, paint = _plate(rng.uniform(0.15, 0.23), 0.06, colour, 0.0)
            meshes.append((points + spot + (0, 0, rng.uniform(0.25, 1.2)), faces, paint))
        else:
            points, faces, paint = rod(0.0, rng.uniform(0.3, 1.8), rng.uniform(0.03, 0.2), colour, axis=2)
            meshes.append((points + spot, faces, paint))
    return joined_solids(meshes, 0) if meshes else None
