"""BlazePose in torch: person detector, turned region, 33 landmarks with heatmap refinement, batched over frames.

Networks: ``pose_detection.tflite`` and ``pose_landmark_full.tflite`` of mediapipe 0.10.21 (Apache-2.0; Bazarevsky et
al. 2020, arXiv:2006.10204). ``static`` repeats MediaPipe's ``static_image_mode``; ``lifter.py`` follows one person.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.motion.keypoints import HIP_THRUST, Floats
from src.video import engine as engines
from src.video import tflite
from src.video.crop import NATIVE, Bytes, Doubles, crop, project
from src.video.lumbar import Lumbar, Singles, sampled

DETECTOR_PX, LANDMARK_PX = 224, 256
STRIDES_PX = {8: 2, 16: 2, 32: 6}
"""Detector grid: anchors per cell for each stride."""
MIN_SCORE = 0.5
MIN_OVERLAP = 0.3
REGION_SCALE = 1.25
REFINE_KERNEL = 9
"""The graph file says 7; the released wheel behaves as 9."""
POINTS = 39
HIP_CENTRE, RIM = 33, 34
"""Auxiliary landmarks: middle of the hips and a point on the circle around the body, which give the region."""

LANDMARKS = {
    "nose": 0, "left_eye": 2, "right_eye": 5, "left_ear": 7, "right_ear": 8,
    "left_shoulder": 11, "right_shoulder": 12, "left_elbow": 13, "right_elbow": 14, "left_wrist": 15, "right_wrist": 16,
    "left_hip": 23, "right_hip": 24, "left_knee": 25, "right_knee": 26, "left_ankle": 27, "right_ankle": 28,
    "left_heel": 29, "right_heel": 30, "left_toe": 31, "right_toe": 32,
}  # fmt: skip
"""Our names -> BlazePose's numbers."""
MIRROR = [0, 4, 5, 6, 1, 2, 3, 8, 7, 10, 9, *(i + 1 if i % 2 else i - 1 for i in range(11, 33)), *range(33, POINTS)]
"""The landmark that a mirrored crop shows in place of each."""

Frames = Sequence[Bytes] | Bytes
"""B pictures uint8 (H, W, 3) RGB, all of one size."""


@dataclass(frozen=True)
class Detections:
    """People in one picture, best first: hip centre and rim of the body's circle (D, 2) px each; scores (D,)."""

    hips: Doubles
    rims: Doubles
    scores: Doubles

    def __len__(self) -> int:
        """Number of people D."""
        return len(self.scores)

    def mirrored(self, width_px: int) -> "Detections":
        """The same people in the mirrored picture."""
        turn, origin = np.array([-1, 1]), np.array([width_px - 1, 0])
        return Detections(origin + turn * self.hips, origin + turn * self.rims, self.scores)

    @property
    def regions(self) -> Doubles:
        """Regions (D, 5) for the landmark network."""
        return region(self.hips, self.rims)


@dataclass(frozen=True)
class Pose:
    """One person in each of B crops.

    points: (B, 39, 3) x px, y px of the picture, visibility 0..1. 33 are BlazePose's own, the rest auxiliary.
    presence: (B,) the network's pose flag 0..1; below 0.5 nobody is there.
    masks: (B, 256, 256) logits in crop px, above 0 is person; None when not asked for.
    regions: (B, 5) what the crops showed.
    around, spine: (B, G, C) what the network saw around the trunk, and (B, 1, 3) the vertebra in crop px that ``lumbar`` reads
    off it; None like the masks.
    """

    points: Doubles
    presence: Doubles
    masks: Tensor | None
    regions: Doubles
    around: Singles | None = None
    spine: Doubles | None = None


def region(hips: Doubles, rims: Doubles) -> Doubles:
    """Region (..., 5) that shows a person upright, from the hip centre and a rim point (..., 2) px of their circle."""
    x, y = (rims - hips)[..., 0], (rims - hips)[..., 1]
    angle = np.pi / 2 - np.arctan2(-y, x)
    angle = angle - 2 * np.pi * np.floor((angle + np.pi) / (2 * np.pi))
    return np.concatenate([hips, np.stack([2 * REGION_SCALE * np.hypot(x, y), angle, np.ones_like(x)], -1)], -1)


def anchors() -> Doubles:
    """Centres (2254, 2) of the detector's anchors in units of the picture's side."""
    centres = []
    for stride, count in STRIDES_PX.items():
        cells = DETECTOR_PX // stride
        row, column, _ = np.meshgrid(np.arange(cells), np.arange(cells), np.arange(count), indexing="ij")
        centres.append((np.stack([column.ravel(), row.ravel()], -1) + 0.5) / cells)
    return np.concatenate(centres)


def suppress(boxes: Doubles, scores: Doubles) -> tuple[Doubles, Doubles]:
    """Weighted non-maximum suppression: rows (D, 2 + J, 2) = corners and points, averaged by score, best first."""
    order = np.argsort(-scores, kind="stable")
    boxes, scores = boxes[order], scores[order]
    means, tops = [np.empty((0, *boxes.shape[1:]))], []
    while len(scores):
        near = overlap(boxes[0], boxes) > MIN_OVERLAP
        near[0] = True
        means.append(np.average(boxes[near], axis=0, weights=scores[near])[None])
        tops.append(scores[0])
        boxes, scores = boxes[~near], scores[~near]
    return np.concatenate(means), np.array(tops)


def overlap(box: Doubles, boxes: Doubles) -> Doubles:
    """Intersection over union (D,) of one box with others; rows 0 and 1 of each are its corners."""
    inside = np.clip(np.minimum(box[1], boxes[:, 1]) - np.maximum(box[0], boxes[:, 0]), 0, None).prod(-1)
    areas = (boxes[:, 1] - boxes[:, 0]).prod(-1)
    union = areas + (box[1] - box[0]).prod() - inside
    shares: Doubles = np.where(union > 0, inside / np.where(union > 0, union, 1), 0)
    return shares


def refine(points: Tensor, heatmaps: Tensor) -> Tensor:
    """Points (B, J, 2) in 0..1 of the crop, moved to the centre of heat around them; heatmaps (B, h, w, J) logits.

    A point outside the map, or in a cold place (no cell at 0.5), stays.
    """
    B, h, w, J = heatmaps.shape
    size = torch.tensor([w, h], device=points.device)
    cell = (points * size).long()  # (B, J, 2)
    inside = ((points * size >= 0) & (cell < size)).all(-1)
    steps = torch.arange(REFINE_KERNEL, device=points.device) - REFINE_KERNEL // 2
    around = torch.stack([steps.repeat(REFINE_KERNEL), steps.repeat_interleave(REFINE_KERNEL)], -1)  # (81, 2)
    near = cell.clamp(min=0).minimum(size - 1)[:, :, None] + around  # (B, J, 81, 2)
    held = near.clamp(min=0).minimum(size - 1)
    index = (held[..., 1] * w + held[..., 0]) * J + torch.arange(J, device=points.device)[:, None]  # (B, J, 81)
    heat = heatmaps.reshape(B, -1).gather(1, index.view(B, -1)).view(B, J, -1).sigmoid() * (near == held).all(-1)
    centre = (heat[..., None] * near).sum(2) / size / heat.sum(-1, keepdim=True).clamp(min=1e-12)  # (B, J, 2)
    moves = inside & (heat.amax(-1) >= MIN_SCORE)
    return torch.where(moves[..., None], centre.to(points.dtype), points)


class BlazePose:
    """Both networks on one device and engine; ``threads`` is how many callers may use it at once."""

    def __init__(
        self,
        folder: Path,
        device: str = "cpu",
        precision: str = "fp32",
        masks: bool = True,
        engine: str = "auto",
        batch: int = 8,
    ) -> None:
        """Networks from ``folder``; without ``masks`` a third of the landmarks' time is saved and the outline lost."""
        self.device, self.precision = torch.device(device), precision
        self.engine = engines.choose_engine(engine, self.device.type)
        cuda = self.device.type == "cuda"
        self.threads = engines.CALLERS_CUDA if cuda else torch.get_num_threads()
        self.native = not cuda and NATIVE
        self.uploads = engines.Uploads(self.device) if cuda else None

        def load(source: engines.Source, precision: str) -> engines.Network:
            return engines.load(source, self.engine, self.device.type, precision, batch, self.threads)

        def landmarks(*outputs: int) -> engines.Network:
            source = engines.Source(folder / "pose_landmark_full.tflite", outputs, LANDMARK_PX, 255, 0)
            return load(source, precision)

        detector = engines.Source(folder / "pose_detection.tflite", (0, 1), DETECTOR_PX, 127.5, 1)
        self.detector = load(detector, "fp32" if precision == "bf16" else precision)  # regions feel bf16 the most
        self.landmarks = landmarks(0, 1, tflite.HEAT)
        self.outlined = landmarks(0, 1, tflite.HEAT, 2, tflite.FEATURES) if masks else None
        self.lumbar = Lumbar.load()
        self.anchors = anchors()

    @property
    def name(self) -> str:
        """What makes the landmarks, as a track notes it."""
        return f"blazepose-full {self.engine} {self.precision}"

    def upload(self, frames: Frames) -> Frames | Tensor:
        """Frames uint8 (B, H, W, 3) where they are cropped: as they are for OpenCV, else a tensor on the device."""
        if self.uploads is not None:
            return self.uploads(frames)
        return frames if self.native else torch.as_tensor(np.asarray(frames))

    @torch.inference_mode()
    def detect(self, frames: Frames, flip: int = 1) -> list[Detections]:
        """People in each of the frames uint8 (B, H, W, 3) RGB; with ``flip`` -1 the network is shown them mirrored."""
        H, W, _ = frames[0].shape
        side = max(H, W)
        middle = W / 2 if flip > 0 else W / 2 - 1  # the same pixel of the mirrored picture
        whole = np.tile([middle, H / 2, side, 0.0, flip], (len(frames), 1))
        raw, logits = self.detector(crop(self.upload(frames), whole, DETECTOR_PX, "black"))
        boxes, scores = raw.cpu().double().numpy(), logits[..., 0].sigmoid().cpu().double().numpy()  # (B, 2254)
        offset = np.array([(W - side) / 2, (H - side) / 2])
        found = [self._decode(b, s, side, offset) for b, s in zip(boxes, scores, strict=True)]
        return found if flip > 0 else [people.mirrored(W) for people in found]

    def _decode(self, raw: Doubles, scores: Doubles, side: int, offset: Doubles) -> Detections:
        """Raw boxes (2254, 12) and scores (2254,) of one picture -> people."""
        hot = scores >= MIN_SCORE
        values = raw[hot].reshape(-1, 6, 2) / DETECTOR_PX  # centre, size, four points
        values[:, [0, 2, 3, 4, 5]] += self.anchors[hot, None]
        corners = np.stack([values[:, 0] - values[:, 1] / 2, values[:, 0] + values[:, 1] / 2], 1)
        people, tops = suppress(np.concatenate([corners, values[:, 2:]], 1), scores[hot])
        people = people * side + offset
        return Detections(people[:, 2], people[:, 3], tops)

    @torch.inference_mode()
    def look(self, frames: Frames, regions: Doubles, masks: bool = False) -> Pose:
        """Landmarks, and masks if wanted and loaded, of the person in one region (B, 5) of each frame (B, H, W, 3)."""
        network = self.outlined if masks and self.outlined is not None else self.landmarks
        raw, presence, heatmaps, *more = network(crop(self.upload(frames), regions, LANDMARK_PX, "edge"))
        raw = raw.view(-1, POINTS, 5)  # x, y, z, visibility, presence
        spots = refine(raw[..., :2] / LANDMARK_PX, heatmaps).cpu().double().numpy() * LANDMARK_PX
        visibility = raw[..., 3:4].sigmoid().cpu().double().numpy()
        points = np.concatenate([project(spots, regions, LANDMARK_PX), visibility], -1)
        points = np.where(regions[:, 4, None, None] < 0, points[:, MIRROR], points)
        present = presence[:, 0].cpu().double().numpy()
        if not more:
            return Pose(points, present, None, regions)
        mask, features = more
        around = sampled(features, spots, LANDMARK_PX)
        return Pose(points, present, mask[..., 0], regions, around, self.lumbar.locate(around, spots))

    def static(self, frames: Frames) -> Pose:
        """The best person of every frame on its own; where nobody is found points are NaN and presence is 0."""
        found = self.detect(frames)
        some = [i for i, people in enumerate(found) if len(people)]
        points, presence = np.full((len(found), POINTS, 3), np.nan), np.zeros(len(found))
        regions = np.full((len(found), 5), np.nan)
        if some:
            regions[some] = [found[i].regions[0] for i in some]
            pose = self.look([frames[i] for i in some], regions[some])
            points[some], presence[some] = pose.points, pose.presence
        points[presence < MIN_SCORE] = np.nan
        return Pose(points, presence, None, regions)


def keypoints(points: NDArray[np.floating], trunk: NDArray[np.floating] | None = None) -> Floats:
    """BlazePose points (T, 33 or more, 3) -> keypoints (T, 32, 3), the last eleven from ``trunk`` (T, 11, 3) or NaN."""
    ours = np.full((len(points), len(HIP_THRUST), 3), np.nan, np.float32)
    ours[:, [HIP_THRUST.index(name) for name in LANDMARKS]] = points[:, list(LANDMARKS.values())]
    if trunk is not None:
        ours[:, len(LANDMARKS) :] = trunk
    ours[..., 2] = np.where(np.isfinite(ours[..., 0]), ours[..., 2], 0)
    return ours
