"""The core and the finding of reps, on invented keypoints."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from src.motion.keypoints import HIP_THRUST, Track
from src.motion.model import Core
from src.motion.reps import find_reps
from src.speed.timing import PICTURE_PX, RATE_HZ, Case, Row

CORE_BATCHES = [4**i for i in range(7)]
INPUT_SETS = 3
"""Inputs of the core take turns, so that a small batch is not always found in the cache."""


def precisions(device: torch.device) -> tuple[str, ...]:
    """What is worth trying on a device."""
    return ("fp32", "fp16") if device.type == "cuda" else ("fp32",)


def load_core(path: Path, device: torch.device) -> tuple[nn.Module, str]:
    """The shipped core, or an untrained eager one of the default size, and which of them it is."""
    if path.is_file():
        return torch.jit.load(str(path), map_location=device).eval(), f"scripted {path.name}"
    return Core().to(device).eval(), f"eager, untrained (no {path.name})"


def sequences(batch: int, frames: int, seed: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Random walks as one rep each: keypoints (N, T, K, 3) px with a tenth missing, 30 Hz, all T rows real."""
    rng, shape = torch.Generator().manual_seed(seed), (batch, frames, len(HIP_THRUST))
    walk = 450 + 3 * torch.randn(*shape, 2, generator=rng).cumsum(dim=1)
    score = torch.rand(*shape, 1, generator=rng)
    keypoints = torch.cat([walk, score], dim=-1).masked_fill(score < 0.1, float("nan"))
    return keypoints.to(device), torch.full((batch,), RATE_HZ).to(device), torch.full((batch,), frames).to(device)


def judge(core: Callable[..., Sequence[Tensor]], precision: str, inputs: Sequence[Tensor]) -> Tensor:
    """Probabilities (N, L) of one batch on its device."""
    with torch.no_grad(), torch.autocast(inputs[0].device.type, torch.float16, enabled=precision == "fp16"):
        return core(*inputs)[0]


def core_cases(args: argparse.Namespace, device: torch.device) -> Iterator[Case]:
    """Batch sweep of the core in each precision, and one sequence on one CPU thread."""
    core, origin = load_core(args.core, device)

    def make(batch: int, precision: str) -> Callable[[], object]:
        sets = cycle([sequences(batch, args.frames, seed, device) for seed in range(INPUT_SETS)])
        return lambda: judge(core, precision, next(sets))

    def error() -> Row:
        inputs = sequences(64, args.frames, 0, device)
        apart = judge(core, "fp16", inputs).float() - judge(core, "fp32", inputs)
        return {"difference_from_fp32": float(apart.abs().max())}

    runs = [(p, b, 0) for p in precisions(device) for b in args.core_batches or CORE_BATCHES]
    for precision, batch, threads in [("fp32", 1, 1), *runs] if device.type == "cpu" and args.threads > 1 else runs:
        facts = {"precision": precision, "batch": batch, "frames": args.frames, "core": origin}
        after = error if precision == "fp16" else dict
        yield Case("core", partial(make, batch, precision), batch, "sequences", facts, after, threads)


def set_of_reps(seconds: float = 30.0) -> Track:
    """A lifter whose hips rise and fall every three seconds, with a pixel of noise."""
    rng, t = np.random.default_rng(0), np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    keypoints = np.ones((len(t), len(HIP_THRUST), 3), np.float32)
    places = {"shoulder": (400, 400), "hip": (600, 510), "knee": (800, 380), "ankle": (800, 560)}
    for i, (_, _, part) in enumerate(name.partition("_") for name in HIP_THRUST.points):
        keypoints[:, i, :2] = np.array(places.get(part, (350, 400))) + rng.normal(0, 1, (len(t), 2))
        keypoints[:, i, 1] -= 60 * (1 - np.cos(2 * np.pi * t / 3)) * (part == "hip")
    return Track(keypoints, RATE_HZ, PICTURE_PX, "drawn")


def reps_cases(args: argparse.Namespace, device: torch.device) -> Iterator[Case]:
    """Finding the reps of a 30-second set."""
    track = set_of_reps()
    facts = {"frames": len(track.keypoints), "reps": len(find_reps(track))}
    yield Case("find_reps", lambda: partial(find_reps, track), len(track.keypoints), "frames", facts)
