"""The core against other people's models on the same input, device, batch and frames, taking turns in one run."""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from src.motion.faults import FAULT_KEYS
from src.motion.keypoints import HIP_THRUST
from src.speed.cores import judge, load_core, precisions, sequences
from src.speed.networks import GraphNetwork, Recurrent
from src.speed.timing import Row, forget_peak, hand_back, not_measured, numbers, peak_mb, resident_mb, summary

THROUGHPUT, LATENCY = (16, 100), (1, 64)
"""Sequences of frames per call."""
KERNELS = 10_000
"""Of MiniROCKET, as published."""
Call = Callable[[], object]


def peer_rows(args: argparse.Namespace, device: torch.device) -> Iterator[Row]:
    """A row per model, shape and precision, then how many times faster the core was, turn by turn.

    All peers have random weights, which do not change their speed. Batch 1 runs on one CPU thread.
    """
    for precision in precisions(device):
        for batch, frames in (THROUGHPUT, LATENCY):
            threads = 1 if batch == 1 and device.type == "cpu" else args.threads
            torch.set_num_threads(threads)
            facts = {"precision": precision, "threads": threads, "batch": batch, "frames": frames}
            inputs = sequences(batch, frames, 0, device)
            calls, sizes = models(args, inputs, precision)
            memory = {name: used(call, device) for name, call in calls.items()}
            seconds = turns(calls, args.seconds * len(calls), args.rounds, device)
            for name in calls:
                times = numbers(summary(seconds[name]), batch, "sequences")
                yield {"step": name, **facts, **times, **sizes[name], **memory[name]}
            for name in list(calls)[1:]:
                yield {"step": f"core faster than {name}", **facts, **ratio(seconds[name], seconds["core"])}
            if device.type == "cpu" and "MiniROCKET" not in calls:
                yield {"step": "MiniROCKET", **facts, **sizes["MiniROCKET"]}


def models(
    args: argparse.Namespace, inputs: tuple[Tensor, ...], precision: str
) -> tuple[dict[str, Call], dict[str, Row]]:
    """What each model does with the inputs, the core first, and facts of each; MiniROCKET says there why it is missing."""
    keypoints = inputs[0]
    core, origin = load_core(args.core, keypoints.device)
    calls: dict[str, Call] = {"core": lambda: judge(core, precision, inputs)}
    facts: dict[str, Row] = {"core": {"core": origin, "parameters": parameters(core)}}
    torch.manual_seed(0)
    for name, made in {"GRU": Recurrent, "ST-GCN++": GraphNetwork}.items():
        network = made(HIP_THRUST, len(FAULT_KEYS)).to(keypoints.device).eval()
        calls[name] = lambda network=network: judge(lambda x, *_: (network(x),), precision, inputs)  # type: ignore[misc]
        facts[name] = {"parameters": parameters(network)}
    if keypoints.device.type == "cpu":
        try:
            calls["MiniROCKET"], facts["MiniROCKET"] = minirocket(keypoints)
        except ImportError as error:
            facts["MiniROCKET"] = not_measured(error)
    return calls, facts


def parameters(network: nn.Module) -> int:
    """How many numbers were or would be learnt."""
    return sum(p.numel() for p in network.parameters())


def minirocket(keypoints: Tensor) -> tuple[Call, Row]:
    """Aeon's transform and a linear read-out of random weights, fitted beforehand; its parameters are the read-out's."""
    from src.report.baselines import fitted_minirocket

    rows = keypoints.nan_to_num().flatten(2).transpose(1, 2)  # (N, 3 K, T)
    fitted = sequences(64, keypoints.size(1), 1, keypoints.device)[0].nan_to_num().flatten(2).transpose(1, 2)
    values = fitted_minirocket(fitted.numpy(), KERNELS, 0, torch.get_num_threads())
    weights = np.random.default_rng(0).normal(size=(values(rows.numpy()).shape[1], len(FAULT_KEYS)))
    weights = weights.astype(np.float32)
    return lambda: values(rows.numpy()) @ weights, {"parameters": weights.size + len(FAULT_KEYS), "kernels": KERNELS}


def used(call: Call, device: torch.device) -> Row:
    """Most memory while calling twice, and how much of it was not there before, in MB."""
    hand_back()
    forget_peak(device)
    before = resident_mb(device)
    call()
    call()
    peak = peak_mb(device)
    return {"peak_mb": peak, "grown_mb": max(peak - before, 0.0)}


def turns(calls: Mapping[str, Call], budget_s: float, least: int, device: torch.device) -> dict[str, list[float]]:
    """Wall seconds of each, one call each in turn, at least so many turns; the device is idle before and after."""
    sync: Callable[[], Any] = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    end, turn = time.perf_counter() + budget_s, 0
    while turn < least or time.perf_counter() < end:
        turn += 1
        for name, call in calls.items():
            sync()
            start = time.perf_counter()
            call()
            sync()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(theirs: list[float], ours: list[float]) -> Row:
    """Theirs over ours turn by turn: the median, and 5th to 95th percentile; above 1 where the core is faster."""
    times = np.array(theirs) / np.array(ours)
    low, middle, high = (float(np.percentile(times, at)) for at in (5, 50, 95))
    return {"ratio": middle, "range": [low, high], "unit": "times", "calls": len(ours)}
