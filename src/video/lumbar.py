"""The mid-lumbar vertebra, read off what the landmark network has seen around the trunk.

None of BlazePose's landmarks lies on the spine, and joints and mask hardly tell an arched from a tucked back. The features
from which the network reads its heatmaps know more: a ridge regression turns them, sampled on a grid around the
shoulder-hip chord, into the vertebra's distance from that chord in the body. ``lumbar.npz`` holds its weights, which
``src.trace`` fitted on rendered people of its own.
"""

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from src.video.contour import HIPS, SHOULDERS, backwards, frontal
from src.video.crop import Doubles

Singles = NDArray[np.float32]

WEIGHTS = Path(__file__).with_name("lumbar.npz")
ALONG = np.arange(0.0, 1.26, 0.125)
"""Grid along the chord, 0 = shoulders, 1 = hips."""
ACROSS = np.arange(-0.24, 0.25, 0.12)
"""Grid across it, trunk lengths, + = towards the back."""
AT = 0.6
"""Where along the chord the third lumbar vertebra lies, at rest: the regression moves it across only."""

FURTHEST = 0.3
"""No vertebra is further off the chord, in trunk lengths, whatever was taken for one: rendered ones lie from -0.13 to 0.05."""


class LumbarError(ValueError):
    """A file of weights that cannot be read; the message names it."""


@dataclass(frozen=True)
class Lumbar:
    """The regression: ``weights`` (G, C) of C features at each of G places of the grid, and a ``bias``, in trunk lengths."""

    weights: Singles
    bias: float

    def locate(self, around: Singles, points: Doubles) -> Doubles:
        """The vertebra (B, 1, 3): x, y in px of the crop, score 1; NaN with score 0 where the camera looks at the chest.

        around: (B, G, C) as ``sampled`` gives it at the same landmarks ``points`` (B, 33 or more, 2) in crop px.
        """
        forward = np.einsum("bgc,gc->b", around, self.weights, dtype=np.float64) + self.bias  # trunk lengths
        forward = forward.clip(-FURTHEST, FURTHEST)
        chest, chord, back, trunk = _chord(points)
        at = chest + AT * chord - (forward * trunk)[:, None] * back
        rows = np.concatenate([at, np.ones((len(at), 1))], -1)
        rows[frontal(points, trunk)] = (np.nan, np.nan, 0.0)
        vertebra: Doubles = rows[:, None]
        return vertebra

    def save(self, path: Path = WEIGHTS) -> None:
        """Write the weights."""
        np.savez_compressed(path, weights=self.weights, bias=self.bias)

    @classmethod
    def load(cls, path: Path = WEIGHTS) -> "Lumbar":
        """Read what ``save`` wrote."""
        try:
            with np.load(path, allow_pickle=False) as z:
                return cls(z["weights"], float(z["bias"]))
        except (OSError, KeyError, ValueError, BadZipFile) as error:
            raise LumbarError(f"{path}: no weights of the spine ({error}); run git checkout, or make spine") from error


def sampled(features: Tensor, points: Doubles, crop_px: int) -> Singles:
    """What features (B, h, w, C) of crops hold on the grid (B, G, C) around the trunk.

    points: (B, 33 or more, 2) landmarks in px of crops that are ``crop_px`` wide.
    """
    chest, chord, back, trunk = _chord(points)
    along, across = (axis.ravel() for axis in np.meshgrid(ALONG, ACROSS, indexing="ij"))
    at = (
        chest[:, None] + along[:, None] * chord[:, None] + across[:, None] * (trunk[:, None] * back)[:, None]
    )  # (B, G, 2)
    grid = torch.from_numpy((at / (crop_px - 1) * 2 - 1).astype(np.float32))[:, None].to(features.device)
    planes = features.permute(0, 3, 1, 2).float()
    if planes.is_cuda:  # cuDNN's sampler is not known to read channels that lie last
        planes = planes.contiguous()
    found = F.grid_sample(planes, grid, align_corners=True)[:, :, 0]  # (B, C, G)
    values: Singles = found.transpose(1, 2).cpu().numpy()
    return values


def _chord(points: Doubles) -> tuple[Doubles, Doubles, Doubles, Doubles]:
    """Mid-shoulder (B, 2), from there to mid-hip (B, 2), the unit normal towards the back (B, 2), the chord's length (B,)."""
    chest, hips = points[:, SHOULDERS].mean(1), points[:, HIPS].mean(1)
    chord = hips - chest
    trunk = np.maximum(np.hypot(*chord.T), 1e-6)
    return chest, chord, backwards(points, chord / trunk[:, None]), trunk
