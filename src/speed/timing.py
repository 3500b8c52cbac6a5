"""How anything is timed: warm up, synchronise the device around each call, report median, 95th percentile and throughput."""

import argparse
import ctypes
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from src.video.engine import EngineError
from src.video.official import OfficialError

LEAST_CALLS = 3
PICTURE_PX = (1280, 720)
RATE_HZ, MAX_SIDE_PX, BATCH = 30.0, 1280, 8
"""As in section detect of conf/config.yaml, which needs Hydra."""
FORGET = Path("/proc/self/clear_refs")
"""Where Linux is told, by a 5, to forget a process's peak of memory."""
Row = dict[str, Any]


class NotMeasuredError(Exception):
    """A part that cannot run here for a known reason, which is the message."""


@dataclass(frozen=True)
class Timing:
    """Seconds of one call: median and 95th percentile over so many calls."""

    median_s: float
    p95_s: float
    calls: int


@dataclass(frozen=True)
class Case:
    """One measurement: ``make`` prepares inputs and gives the call to time, which does ``items`` of ``unit``."""

    step: str
    make: Callable[[], Callable[[], object]]
    items: int
    unit: str
    facts: Row
    after: Callable[[], Row] = field(default=dict)
    threads: int = 0


def summary(seconds: Sequence[float]) -> Timing:
    """Median and 95th percentile (linear between ranks) of wall times in seconds."""
    return Timing(float(np.median(seconds)), float(np.percentile(seconds, 95)), len(seconds))


def clock(call: Callable[[], object], budget_s: float, device: torch.device) -> list[float]:
    """Wall seconds of each call, ``LEAST_CALLS`` or for ``budget_s`` seconds; the device is idle before and after."""
    sync: Callable[[], object] = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    seconds: list[float] = []
    end = time.perf_counter() + budget_s
    while len(seconds) < LEAST_CALLS or time.perf_counter() < end:
        sync()
        start = time.perf_counter()
        call()
        sync()
        seconds.append(time.perf_counter() - start)
    return seconds


def forget_peak(device: torch.device) -> None:
    """What ``peak_mb`` says from now on is of what comes; off Linux the process's peak so far stays."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    elif os.access(FORGET, os.W_OK):
        FORGET.write_text("5")


def hand_back() -> None:
    """Give freed memory back to the system where the C library can (glibc), so that the next peak is not found ready."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)


def peak_mb(device: torch.device) -> float:
    """Most memory in MB (10^6 bytes) since ``forget_peak``: on the CPU the whole process's, on CUDA what is reserved.

    Graphs replay in memory that counts as free.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def resident_mb(device: torch.device) -> float:
    """Memory in use now, in MB, counted as ``peak_mb`` counts it; NaN on the CPU off Linux."""
    if device.type == "cuda":
        return torch.cuda.memory_reserved(device) / 1e6
    pages = Path("/proc/self/statm")
    return int(pages.read_text().split()[1]) * resource.getpagesize() / 1e6 if pages.is_file() else float("nan")


def measured(case: Case, device: torch.device, args: argparse.Namespace) -> Row:
    """One row of the report, after a quarter of the time as warm-up; a case that fails says why."""
    torch.set_num_threads(case.threads or args.threads)
    where = {"step": case.step, "threads": torch.get_num_threads(), **case.facts}
    try:
        forget_peak(device)
        call = case.make()
        clock(call, args.seconds / 4, device)
        timing = summary(clock(call, args.seconds, device))
        return where | numbers(timing, case.items, case.unit) | {"peak_mb": peak_mb(device)} | case.after()
    except Exception as error:
        return where | not_measured(error)


def numbers(timing: Timing, items: int, unit: str) -> Row:
    """Times of a call in milliseconds, and items per second."""
    ms = {"median_ms": 1e3 * timing.median_s, "p95_ms": 1e3 * timing.p95_s, "calls": timing.calls}
    return {**ms, "per_s": items / timing.median_s, "unit": unit}


def not_measured(error: Exception) -> Row:
    """The reason in one line; ``failed`` when it is none of the expected ones."""
    expected = isinstance(error, NotMeasuredError | EngineError | OfficialError | ImportError)
    text = " ".join((str(error) if expected else f"{type(error).__name__}: {error}").split())[:300]
    return {"not measured": text} | ({} if expected else {"failed": True})
