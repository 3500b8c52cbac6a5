"""A phone somewhere in the gym: where it stands, what it is called from there, and how metres become pixels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.motion.keypoints import HIP_THRUST, Track
from src.motion.kinematics import Performance

Array = NDArray[np.float64]

VIEWS = {"side": (0.78, 0.0, 30.0), "oblique": (0.13, 30.0, 60.0), "frontal": (0.09, 60.0, 90.0)}
"""Share of clips and range of the camera's azimuth (deg) against the normal of the person's own sagittal plane."""
SIZES_PX = ((640, 360), (854, 480), (1280, 720), (1920, 1080), (640, 480))


@dataclass(frozen=True)
class Camera:
    """A pinhole camera. position_m (3,); turn (T, 3, 3): rows right, down, forward of each frame; focal_px; size_px."""

    position_m: Array
    turn: Array
    focal_px: float
    size_px: tuple[int, int]
    azimuth_deg: float
    side: str

    @property
    def view(self) -> str:
        """``side``, ``oblique`` or ``frontal`` (from the feet or from the head), by the true azimuth."""
        return next(name for name, (_, _, high) in VIEWS.items() if self.azimuth_deg <= high)

    def project(self, points: Array) -> tuple[Array, Array]:
        """Pixels (T, n, 2) and depth (T, n) in metres of world points (T, n, 3)."""
        seen = np.einsum("tij,tnj->tni", self.turn, points - self.position_m)
        depth = np.maximum(seen[..., 2], 0.05)
        centre = (np.array(self.size_px) - 1) / 2
        return centre + self.focal_px * seen[..., :2] / depth[..., None], depth


def _look(position: Array, target: Array, angles: Array) -> Array:
    """Camera axes (T, 3, 3) looking at ``target``, then yawed, pitched and rolled by angles (T, 3) rad."""
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right = right / np.linalg.norm(right)
    base = np.stack([right, np.cross(forward, right), forward])
    yaw, pitch, roll = angles.T
    zero, one = np.zeros_like(yaw), np.ones_like(yaw)

    def matrix(*rows: tuple[Array, Array, Array]) -> Array:
        return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)

    yawed = matrix((np.cos(yaw), zero, -np.sin(yaw)), (zero, one, zero), (np.sin(yaw), zero, np.cos(yaw)))
    pitched = matrix((one, zero, zero), (zero, np.cos(pitch), -np.sin(pitch)), (zero, np.sin(pitch), np.cos(pitch)))
    rolled = matrix((np.cos(roll), -np.sin(roll), zero), (np.sin(roll), np.cos(roll), zero), (zero, zero, one))
    return rolled @ pitched @ yawed @ base  # type: ignore[no-any-return]


def _shake(frames: int, fps_hz: float, rng: np.random.Generator) -> Array:
    """Small angles (T, 3) rad: nothing on a tripod, up to about half a degree in the hand.

    A steady roll of about 1.5 deg.
    """
    seconds = np.arange(frames)[:, None, None] / fps_hz
    hz, turn = rng.uniform(0.15, 2.5, (1, 5, 3)), rng.uniform(0, 6.28, (1, 5, 3))
    size = rng.uniform(0.05, 0.5) * (rng.random() < 0.4)
    waves = (np.sin(6.28 * seconds * hz + turn) / np.sqrt(hz * 5)).sum(axis=1) * size
    return np.deg2rad(waves + np.array([0, 0, rng.normal(0, 1.5)]))  # type: ignore[no-any-return]


def sample_view(rng: np.random.Generator) -> str:
    """A key of ``VIEWS`` by its share."""
    return str(rng.choice(list(VIEWS), p=[share for share, _, _ in VIEWS.values()]))


def sample_size(rng: np.random.Generator) -> tuple[int, int]:
    """A common picture size in px, landscape or (two in five) portrait."""
    width, height = SIZES_PX[rng.integers(len(SIZES_PX))]
    return (height, width) if rng.random() < 0.4 else (width, height)


def sample_camera(
    points: Array, fps_hz: float, size_px: tuple[int, int], view: str, rng: np.random.Generator
) -> Camera:
    """A camera that has the person's points (T, n, 3) mostly in the picture; 0.3-1.6 m high, 1.8-4.5 m away or more."""
    low, high = VIEWS[view][1:]
    azimuth = abs(rng.normal(0, 14)) % 30 if view == "side" else rng.uniform(low, high)
    sign, ahead = rng.choice([-1, 1]), rng.choice([-1, 1])
    box = np.percentile(points.reshape(-1, 3), (1, 99), axis=0)
    target, away = box.mean(axis=0) + rng.normal(0, 0.06, 3), rng.uniform(1.8, 4.5)
    direction = np.array([ahead * np.sin(np.deg2rad(azimuth)), sign * np.cos(np.deg2rad(azimuth)), 0.0])
    fill, height_m = rng.uniform(0.6 if size_px[0] < size_px[1] else 0.5, 0.95), rng.uniform(0.3, 1.6)
    frames, shake = points[:: max(len(points) // 40, 1)], _shake(len(points), fps_hz, rng)
    for _ in range(12):  # step back until an ordinary lens can hold the person
        position = target + direction * away
        position[2] = height_m
        camera = Camera(
            position,
            _look(position, target, np.zeros((len(frames), 3))),
            1.0,
            size_px,
            float(azimuth),
            "left" if sign > 0 else "right",
        )
        seen = camera.project(frames)[0] - (np.array(size_px) - 1) / 2
        focal = fill * float((np.array(size_px) / 2 / np.abs(seen).max(axis=(0, 1))).min())
        if focal > 0.62 * max(size_px):
            break
        away *= 1.15
    return Camera(position, _look(position, target, shake), focal, size_px, float(azimuth), camera.side)


def behind_plate(perf: Performance, camera: Camera, points: Array) -> NDArray[np.bool_]:
    """Which points (T, n, 3) the plates hide from the camera: (T, n)."""
    hidden = np.zeros(points.shape[:2], dtype=bool)
    if perf.setup.load == "none":
        return hidden
    ray = points - camera.position_m
    for end in ("left_bar", "right_bar"):
        centre = perf[end][:, None]
        share = (centre[..., 1] - camera.position_m[1]) / np.where(np.abs(ray[..., 1]) < 1e-6, 1e-6, ray[..., 1])
        hit = camera.position_m + ray * share[..., None]
        near = np.hypot(hit[..., 0] - centre[..., 0], hit[..., 2] - centre[..., 2]) < perf.setup.plate_m / 2
        hidden |= near & (share > 0) & (share < 1)
    return hidden


def true_track(perf: Performance, camera: Camera) -> Track:
    """The true points in the picture, hidden or not: score 1, 0.5 behind a plate."""
    count = len(HIP_THRUST)
    points = perf.joints[:, :count]
    px, _ = camera.project(points)
    hidden = behind_plate(perf, camera, points)
    seen = np.concatenate([px, np.where(hidden, 0.5, 1.0)[..., None]], axis=-1)
    return Track(seen.astype(np.float32), perf.fps_hz, camera.size_px, "truth")
