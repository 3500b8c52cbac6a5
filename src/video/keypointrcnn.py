"""Keypoint R-CNN from torchvision, the second detector: COCO-17 on every frame, weights from a file the user gives."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from src.motion.keypoints import Floats, Track, middle
from src.video.choice import LOST_S, absent, choose, pair
from src.video.crop import Bytes
from src.video.tflite import WeightsError

DETECTOR = "keypointrcnn-resnet50-fpn"
COCO = 17
"""COCO's points are the first 17 of ours, in the same order."""
MIN_SCORE = 0.7
"""Of a person's box."""
NEAR = 0.5
"""A person goes on where the hips moved less than this many trunk lengths since they were last seen."""


class KeypointRCNN:
    """``torchvision.models.detection.keypointrcnn_resnet50_fpn`` on one device."""

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        """Read a state dict; a ``WeightsError`` names a file that is missing or fits another network."""
        self.device = torch.device(device)
        self.network = network()
        try:
            self.network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        except OSError as error:
            raise WeightsError(f"{weights}: no Keypoint R-CNN weights ({error.strerror}); give a state dict") from error
        except Exception as error:  # torch.load and load_state_dict raise half a dozen kinds
            kind = type(error).__name__
            raise WeightsError(f"{weights}: not a state dict of keypointrcnn_resnet50_fpn ({kind})") from error
        self.network.to(self.device).eval()

    @torch.inference_mode()
    def detect(self, frames: Bytes) -> list[Floats]:
        """People (D, 17, 3) in each frame uint8 (B, H, W, 3): x px, y px, score 0..1 (sigmoid of the heat's peak)."""
        pictures = [torch.as_tensor(f).to(self.device).permute(2, 0, 1) / 255 for f in frames]  # (3, H, W)
        found = []
        for out in self.network(pictures):
            sure = out["scores"] >= MIN_SCORE
            scores = out["keypoints_scores"][sure].sigmoid()
            found.append(torch.cat([out["keypoints"][sure][..., :2], scores[..., None]], -1).cpu().numpy())
        return found


def network() -> Any:
    """The untrained network: nothing is downloaded."""
    from torchvision.models.detection import keypointrcnn_resnet50_fpn

    return keypointrcnn_resnet50_fpn(weights=None, weights_backbone=None)


def follow(
    net: KeypointRCNN,
    frames: Iterable[tuple[Bytes, NDArray[np.floating]]],
    fps_hz: float,
    size_px: tuple[int, int],
    batch: int = 8,
) -> Track:
    """Track of the lifter in frames uint8 (B, H, W, 3) RGB at a constant rate; ``people`` is 0 when nobody is found."""
    people: list[list[tuple[int, Floats]]] = []
    count = 0
    for block, _ in frames:
        for start in range(0, len(block), batch):
            for found in net.detect(block[start : start + batch]):
                link(people, found, count, fps_hz)
                count += 1
    return choose([_whole(person, count) for person in people], count, fps_hz, size_px, DETECTOR)


def link(people: list[list[tuple[int, Floats]]], found: Floats, frame: int, fps_hz: float) -> None:
    """Give people (D, 17, 3) of one frame to those whose hips were nearest; others begin anew."""
    last = np.array([person[-1][1] for person in people], np.float32).reshape(-1, COCO, 3)  # (P, 17, 3)
    hips, shoulders, now = middle(last, "hip"), middle(last, "shoulder"), middle(found.reshape(-1, COCO, 3), "hip")
    trunks = np.linalg.norm(hips - shoulders, axis=-1).clip(1e-6)  # (P,)
    apart = np.linalg.norm(hips[:, None] - now, axis=-1) / trunks[:, None]
    pairs = pair(apart, NEAR, np.array([frame - person[-1][0] > LOST_S * fps_hz for person in people], bool))
    for p, d in pairs.items():
        people[p].append((frame, found[d]))
    people.extend([(frame, points)] for d, points in enumerate(found) if d not in pairs.values())


def _whole(person: list[tuple[int, Floats]], count: int) -> Floats:
    """Keypoints (T, 32, 3), NaN where the person was not seen and for what COCO lacks."""
    track = absent(count)
    for frame, points in person:
        track[frame, :COCO] = points
    return track
