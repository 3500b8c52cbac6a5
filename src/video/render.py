"""A performance as pictures: the same joints as in the labels, drawn in software and written as H.264."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from src.motion.camera import Camera
from src.motion.keypoints import Floats
from src.motion.kinematics import Performance
from src.video import recode
from src.video.body import Outfit, person_surface, sample_outfit
from src.video.mesh import Ints, Surface
from src.video.raster import blend, fill, shade
from src.video.room import Room, backdrop, sample_room
from src.video.things import bench_surface, bystander_surfaces, clutter_surface, gear_surface

PERSON, GEAR, BENCH, OTHERS = 0, 1, 2, 3
MARGIN = 0.12
"""Backdrop drawn beyond each edge of the picture, part of its size, for the shaking hand."""


@dataclass(frozen=True)
class Look:
    """How a clip looks besides who does what.

    Clothes, room, sensor noise (grey levels), blur (px at 360 p), shutter (share of a frame's time that it is open, 0..1),
    exposure, shadow.
    """

    outfit: Outfit
    room: Room
    noise: float
    blur: float
    shutter: float
    exposure: float
    shadow: float
    seed: int


def sample_look(rng: np.random.Generator) -> Look:
    """A look drawn independently of person and faults."""
    return Look(
        sample_outfit(rng), sample_room(rng), noise=float(rng.gamma(2.0, 1.2)),
        blur=float(rng.choice([0.0, 0.0, 0.5, 0.8])), shutter=float(rng.choice([0.0, 0.25, 0.5, 1.0])),
        exposure=float(rng.uniform(0.8, 1.15)), shadow=float(rng.uniform(0.2, 0.55)), seed=int(rng.integers(2**31)),
    )  # fmt: skip


@dataclass
class Scene:
    """Surfaces joined in one index space, and the backdrop behind them."""

    surfaces: list[Surface]
    faces: Ints
    albedo: Floats
    part: Ints
    back: Floats

    def points(self, frame: int) -> Floats:
        """World points (V, 3) of one frame."""
        return np.concatenate([s.points[frame if len(s.points) > 1 else 0] for s in self.surfaces])


def build(perf: Performance, camera: Camera, look: Look) -> Scene:
    """Mesh the person, bench and load of a performance, and draw the room."""
    bench, gear = bench_surface(perf, look.room, BENCH), gear_surface(perf, look.room, GEAR)
    surfaces = [person_surface(perf, look.outfit, PERSON, look.seed), bench, *([gear] if gear else [])]
    surfaces += bystander_surfaces(perf, camera, look.room, OTHERS)
    offsets = np.cumsum([0, *[s.points.shape[1] for s in surfaces]])
    faces = np.concatenate([s.faces + np.int32(o) for s, o in zip(surfaces, offsets, strict=False)])
    albedo, part = np.concatenate([s.albedo for s in surfaces]), np.concatenate([s.part for s in surfaces])
    return Scene(surfaces, np.ascontiguousarray(faces), albedo, part, _room_picture(camera, look))


def _room_size(camera: Camera) -> tuple[int, int]:
    width, height = camera.size_px
    return width + 2 * round(width * MARGIN), height + 2 * round(height * MARGIN)


def _room_picture(camera: Camera, look: Look) -> Floats:
    """Room and clutter (H', W', 3) in 0..1 for the camera's first attitude, with a margin."""
    size = _room_size(camera)
    picture = backdrop(camera, look.room, camera.turn[0], size)
    clutter = clutter_surface(camera, look.room)
    if clutter is not None:
        colours = shade(
            clutter.points[0],
            clutter.faces,
            clutter.albedo,
            look.room.light,
            camera.position_m.astype(np.float32),
            look.room.strength,
        )
        screen = _screen(clutter.points[0], camera, 0, size)
        canvas = _Canvas(size)
        canvas.draw(screen, colours * 0.9, clutter.faces, clutter.part)
        blend(canvas.image, canvas.owner, picture, PERSON, np.empty((size[1], size[0]), np.float32))
    return cv2.GaussianBlur(picture, (0, 0), 0.9)  # type: ignore[no-any-return]


def _screen(points: Floats, camera: Camera, frame: int, size_px: tuple[int, int], zoom: int = 2) -> Floats:
    """Points (V, 3) as x, y in a picture drawn ``zoom`` times larger, and depth."""
    seen = (points - camera.position_m.astype(np.float32)) @ camera.turn[frame].T.astype(np.float32)
    depth = seen[:, 2]
    safe = np.maximum(depth, 0.05)
    centre = (np.array(size_px, np.float32) - 1) / 2
    flat = (centre + np.float32(camera.focal_px) * seen[:, :2] / safe[:, None]) * zoom + (zoom - 1) / 2
    screen: Floats = np.concatenate([flat, depth[:, None]], axis=1).astype(np.float32)
    return screen


class _Canvas:
    """Buffers twice a picture's size: image (2H, 2W, 3), depth and owner (2H, 2W), used again for every frame."""

    def __init__(self, size_px: tuple[int, int]) -> None:
        width, height = 2 * size_px[0], 2 * size_px[1]
        self.image, self.depth = np.empty((height, width, 3), np.float32), np.empty((height, width), np.float32)
        self.owner = np.empty((height, width), np.int32)

    def draw(self, screen: Floats, colours: Floats, faces: Ints, part: Ints) -> None:
        """Draw afresh; ``owner`` is -1 where nothing is."""
        self.depth.fill(0)
        self.owner.fill(-1)
        fill(screen, colours, faces, part, self.image, self.depth, self.owner)


def _background(scene: Scene, camera: Camera, frame: int) -> Floats:
    """The backdrop as this frame's attitude sees it (H, W, 3): a rotation is a homography."""
    width, height = camera.size_px
    big = _room_size(camera)
    left, top = (big[0] - width) // 2, (big[1] - height) // 2
    turn = camera.turn[frame] @ camera.turn[0].T
    if np.allclose(turn, np.eye(3), atol=1e-6):
        return scene.back[top : top + height, left : left + width].copy()
    lens = np.array([[camera.focal_px, 0, (width - 1) / 2], [0, camera.focal_px, (height - 1) / 2], [0, 0, 1]])
    wide = np.array([[camera.focal_px, 0, (big[0] - 1) / 2], [0, camera.focal_px, (big[1] - 1) / 2], [0, 0, 1]])
    map_to = lens @ turn @ np.linalg.inv(wide)
    return cv2.warpPerspective(scene.back, map_to, (width, height), borderMode=cv2.BORDER_REPLICATE)  # type: ignore[no-any-return]


def _shadow(points: Floats, scene: Scene, camera: Camera, frame: int, look: Look) -> Floats:
    """How much light the floor loses (H, W): the scene's points pushed along the light onto the floor, softened."""
    light, (width, height) = look.room.light, camera.size_px
    flat = points - light * (points[:, 2:] / light[2])
    small = (width // 4, height // 4)
    screen = _screen(flat.astype(np.float32), camera, frame, camera.size_px, 1)
    screen[:, :2] /= 4
    mask, none = np.zeros((small[1], small[0]), np.float32), np.empty((small[1], small[0], 3), np.float32)
    owner = np.full((small[1], small[0]), -1, np.int32)
    fill(screen, points, scene.faces, scene.part, none, mask, owner)
    soft = cv2.GaussianBlur((owner >= 0).astype(np.float32), (0, 0), 1.6 * max(height, width) / 640)
    return cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR) * look.shadow  # type: ignore[no-any-return]


def _sensor(picture: Floats, look: Look, rng: np.random.Generator, grain: Floats) -> NDArray[np.uint8]:
    """Exposure, blur and noise: (H, W, 3) in 0..1 to uint8."""
    if look.blur:
        picture = cv2.GaussianBlur(picture, (0, 0), look.blur * min(picture.shape[:2]) / 360)
    i, j = (
        rng.integers(0, grain.shape[0] - picture.shape[0] + 1),
        rng.integers(0, grain.shape[1] - picture.shape[1] + 1),
    )
    noise = grain[i : i + picture.shape[0], j : j + picture.shape[1]]
    return cv2.addWeighted(picture, 255 * look.exposure, noise, 1, 0, dtype=cv2.CV_8U)  # type: ignore[no-any-return]


def render_frames(perf: Performance, camera: Camera, look: Look) -> Iterator[tuple[NDArray[np.uint8], Floats]]:
    """Frames (H, W, 3) RGB uint8 with the exact share of the person in each pixel (H, W) in 0..1.

    The same for the same seeds. An open shutter sees part of what was there a frame before.
    """
    scene, eye = build(perf, camera, look), camera.position_m.astype(np.float32)
    canvas, (width, height) = _Canvas(camera.size_px), camera.size_px
    rng = np.random.default_rng(look.seed)
    grain = (rng.standard_normal((height + 64, width + 64, 3)) * look.noise).astype(np.float32)
    before: tuple[Floats, ...] = ()
    for frame in range(len(perf.joints)):
        points = scene.points(frame)
        colours = shade(points, scene.faces, scene.albedo, look.room.light, eye, look.room.strength)
        canvas.draw(_screen(points, camera, frame, camera.size_px), colours, scene.faces, scene.part)
        picture, mask = _background(scene, camera, frame), np.empty((height, width), np.float32)
        picture *= 1 - _shadow(points, scene, camera, frame, look)[..., None]
        blend(canvas.image, canvas.owner, picture, PERSON, mask)
        seen = now = (picture, mask)
        if before and look.shutter:
            share = look.shutter / 2
            seen = tuple(cv2.addWeighted(a, 1 - share, b, share, 0) for a, b in zip(now, before, strict=True))
        before = now
        yield _sensor(seen[0], look, rng, grain), seen[1]


def render_clip(perf: Performance, camera: Camera, look: Look, path: Path, crf: int = 23) -> int:
    """Write the performance as H.264 (yuv420p); returns the number of frames.

    One encoder thread: the same bytes every time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = (picture for picture, _ in render_frames(perf, camera, look))
    return recode.write(path, pictures, camera.size_px, perf.fps_hz, crf)
