"""Features of any skeleton in two or three dimensions: where each point is, how fast it moves, how surely it was seen.

Nothing is known of the movement here, so nothing is turned: who films from elsewhere must show that in the data. Place and
size are taken out: coordinates are from the mean of all points over the rep, in units of their spread. Speeds are per tenth of
the rep, whose seconds stand beside them: per second, short reps would amplify what runtimes round differently.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from src.motion.features import known_points, resample, sample_weights
from src.motion.keypoints import Skeleton

AXES = "xyz"


class Presence(NamedTuple):
    """there (N, M, K): share of the frames around a sample in which a point was seen, in [0, 1]."""

    there: Tensor


class Coordinates(nn.Module):
    """Keypoints (N, T, K, D + 1) -> features (N, F, M), F = K (2 D + 2) + 1, with the ``Presence`` behind them.

    ``names`` says what each is; coordinates and speeds of a point that the rep never shows are 0.
    """

    def __init__(self, skeleton: Skeleton, frames: int = 64) -> None:
        """No point is needed by name."""
        super().__init__()
        self.frames = frames
        axes = [f"{axis} of {point}" for point in skeleton.points for axis in AXES[: skeleton.dimensions]]
        points = [f"{point} {what}" for what in ("score", "seen") for point in skeleton.points]
        self.names = (*axes, *(f"change of {axis} in a tenth of the rep" for axis in axes), *points, "log seconds")

    def forward(
        self, keypoints: Tensor, fps_hz: Tensor, frames: Tensor, rise_ratio: Tensor | None = None
    ) -> tuple[Tensor, Presence]:
        """See the class; ``rise_ratio`` is there for the sake of ``Features`` and says nothing here."""
        N, T, K, _ = keypoints.size()
        keypoints, fps_hz = keypoints.float(), fps_hz.float()
        points, score = resample(keypoints, fps_hz, frames, self.frames)  # (N, M, K, D), (N, M, K)
        kernel = sample_weights(fps_hz, frames, T, self.frames)  # (N, M, T)
        there = (kernel @ known_points(keypoints, frames).float()) / kernel.sum(dim=2, keepdim=True)  # (N, M, K)
        shown = (there.amax(dim=1, keepdim=True) > 0).float()[..., None]  # (N, 1, K, 1)
        points = points * shown
        size = ((points**2).sum(dim=3).mean(dim=1) / shown[:, 0].sum(dim=1).clamp(min=1.0)).sum(dim=1)  # (N) squared
        points = points / size.sqrt().clamp(min=1e-6)[:, None, None, None]
        seconds = (frames.to(torch.float32) - 1.0).clamp(min=1.0) / fps_hz  # (N)
        step = (points[:, 2:] - points[:, :-2]) * (0.05 * (self.frames - 1))
        speed = torch.cat([step[:, :1], step, step[:, -1:]], dim=1)  # (N, M, K, D)
        length = torch.log(seconds)[:, None, None].expand(N, self.frames, 1)
        parts = [points.flatten(2), speed.flatten(2), score, there, length]
        return torch.cat(parts, dim=2).clamp(-6.0, 6.0).transpose(1, 2), Presence(there)


class Shown(nn.Module):
    """How far the labels can be judged (N, L) when nothing is known of views: in full from a quarter of the points on."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        super().__init__()
        self.labels = len(labels)

    def forward(self, pose: Presence) -> Tensor:
        """The same for every label."""
        share = pose.there.mean(dim=2).mean(dim=1)  # (N)
        return (share * 4.0).clamp(max=1.0)[:, None].expand(share.size(0), self.labels)
