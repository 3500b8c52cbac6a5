"""The gate of the export: does a packaged core answer as the eager one does, on inputs that leave nothing out?"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from src.motion.keypoints import HIP_THRUST, Skeleton
from src.motion.model import Core, CoreOutput

LYING = {
    "nose": (-0.45, -0.25), "eye": (-0.5, -0.22), "ear": (-0.45, -0.12), "shoulder": (0.0, 0.0), "elbow": (0.3, 0.3),
    "wrist": (0.7, -0.2), "hip": (1.0, 0.2), "knee": (1.7, -0.3), "ankle": (1.75, 0.5), "heel": (1.65, 0.58),
    "toe": (2.0, 0.6), "mid_lumbar": (0.6, 0.15),
    "back_25": (0.25, 0.2), "back_40": (0.4, 0.24), "back_55": (0.55, 0.28), "back_70": (0.7, 0.31), "back_85": (0.85, 0.35),
    "back_100": (1.0, 0.38), "back_120": (1.2, 0.38), "front_25": (0.25, -0.1), "front_50": (0.5, -0.05), "front_75": (0.75, 0.0),
}  # fmt: skip
"""A person before the lift in trunk lengths, x and y of the picture, sides alike."""


class ParityError(RuntimeError):
    """The exported core differs from eager; the message carries the difference and the input."""


def body_of(skeleton: Skeleton) -> Tensor:
    """Where the points (K, D) of a skeleton lie, y down: a person before the lift, or a cloud if it is no person we know."""
    names = [point.removeprefix("left_").removeprefix("right_") for point in skeleton.points]
    if skeleton.dimensions == 2 and all(name in LYING for name in names):
        return torch.tensor([LYING[name] for name in names])
    return 2.0 * torch.rand(len(skeleton), skeleton.dimensions, generator=torch.Generator().manual_seed(0))


def golden_inputs(
    lengths: tuple[int, ...], batches: tuple[int, ...], skeleton: Skeleton = HIP_THRUST
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """(keypoints, fps_hz, frames) of every length and batch, with missing points, gaps and ragged frame counts.

    People of 60 to 360 px trunk anywhere in a large picture raise their hips, jitter and drift. Every fourth has scores of 0 and
    is gone for a quarter of the rows, every eighth is never seen.
    """
    body = body_of(skeleton)
    K, D = body.size()
    inputs = []
    for n, (length, batch) in enumerate((t, b) for t in lengths for b in batches):
        rng = torch.Generator().manual_seed(n)
        frames = torch.randint(max(2, length // 2), length + 1, (batch,), generator=rng)
        lift = 0.25 - 0.25 * torch.cos(2 * torch.pi * torch.arange(length) / frames[:, None])  # (N, T) trunk lengths
        raised = body[:, 0].clamp(0.0, 1.0) * (body[:, 1] < 0.5)  # (K) hips most, feet not at all
        pose = body.repeat(batch, length, 1, 1)  # (N, T, K, D)
        pose[..., 1] -= lift[..., None] * raised
        pose = pose + 0.03 * torch.randn(batch, length, K, D, generator=rng)
        pose[..., 0] *= torch.randint(0, 2, (batch, 1, 1), generator=rng) * 2 - 1  # facing
        size_px = 60 + 300 * torch.rand(batch, 1, 1, 1, generator=rng)
        drift = torch.randn(batch, length, 1, D, generator=rng).cumsum(dim=1)
        place = 1500 * torch.rand(batch, 1, 1, D, generator=rng)
        score = torch.rand(batch, length, K, 1, generator=rng)
        keypoints = torch.cat([pose * size_px + drift + place, score], dim=-1)
        keypoints[torch.rand(batch, length, K, generator=rng) < 0.1] = float("nan")
        keypoints[: batch // 2, :, -6:] = float("nan")
        keypoints[3::4, :, ::4, -1] = 0.0  # missing as well
        keypoints[3::4, length // 4 : length // 2] = float("nan")  # nobody is seen for a while
        keypoints[7::8] = float("nan")
        inputs.append((keypoints, torch.rand(batch, generator=rng) * 50 + 10, frames))
    return inputs


def largest_difference(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    """Largest absolute difference over all outputs; NaN anywhere counts as infinite."""
    worst = torch.stack([(x - y).abs().max() for x, y in zip(a, b, strict=True)])
    return float("inf") if bool(worst.isnan().any()) else float(worst.max())


def hold_parity(
    core: Core,
    exported: Callable[..., Any],
    tolerance: float,
    device: str = "cpu",
    outputs: tuple[str, ...] = CoreOutput._fields,
) -> float:
    """Largest difference over lengths 8-600 and batches 1-64; beyond ``tolerance`` a ``ParityError``."""
    worst = 0.0
    with torch.no_grad():
        for golden in golden_inputs((8, 33, 64, 200, 600), (1, 3, 64), core.task.skeleton):
            inputs = tuple(x.to(device) for x in golden)
            ratio = torch.rand(len(inputs[0]), generator=torch.Generator().manual_seed(len(inputs[0])))
            calls = (inputs, (*inputs, ratio.to(device)))  # the rise ratio may be unknown
            pairs = [(core(*call), CoreOutput(*exported(*call))) for call in calls]
            difference = max(largest_difference(*([getattr(x, o) for o in outputs] for x in pair)) for pair in pairs)
            if not difference <= tolerance:
                shape = tuple(inputs[0].shape)
                raise ParityError(
                    f"exported core differs from eager by {difference:.2e} (allowed {tolerance:.0e}) on {shape}"
                )
            worst = max(worst, difference)
    return worst


def hold_half(core: Core, exported: Any, tolerance: float, device: str = "cuda") -> float:
    """The same with both networks in fp16, geometry in fp32, on ``device``, where ``exported`` lies already.

    Only of what a verdict rests on: evidence is read off a curve, and fp16 alone moves it by 2e-3.
    """
    eager = deepcopy(core).to(device)
    eager.network.half()
    exported.network.half()
    return hold_parity(eager, exported, tolerance, device, ("probabilities", "observability"))
