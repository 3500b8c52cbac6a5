"""The room behind it all: floor, walls, ceiling and the light, and the colours of what stands in it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.motion.camera import Camera
from src.video.mesh import Array, Floats

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
