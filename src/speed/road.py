"""Decoding, and the whole road from a file to probabilities."""

import argparse
import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch._C._profiler import _ExperimentalConfig
from torch.profiler import ProfilerActivity, profile, record_function

from src.motion.dataset import cut
from src.motion.reps import find_reps
from src.speed.cores import judge, load_core
from src.speed.poses import each_pose, load_pose
from src.speed.timing import BATCH, MAX_SIDE_PX, PICTURE_PX, RATE_HZ, Case, Row
from src.video import lifter
from src.video.blazepose import BlazePose
from src.video.engine import USUAL


def drawn_clip(path: Path, size_px: tuple[int, int] = PICTURE_PX, fps_hz: float = RATE_HZ) -> Path:
    """A simulated person doing one rep, as H.264."""
    from src.motion.camera import sample_camera
    from src.motion.kinematics import sample_performance
    from src.motion.person import sample_person
    from src.video.render import render_clip, sample_look

    rng = np.random.default_rng(1)
    performance = sample_performance(sample_person(rng), 1, fps_hz, rng)
    camera = sample_camera(performance.joints[:, :21], fps_hz, size_px, "side", rng)
    render_clip(performance, camera, sample_look(rng), path)
    return path


def clip_facts(path: Path) -> Row:
    """What the clip is."""
    from src.video.probe import probe

    clip = probe(path)
    return {"clip": path.name, "size_px": clip.size_px, "frames": clip.frames, "fps_hz": clip.fps_hz}


def decode_cases(args: argparse.Namespace, device: torch.device) -> Iterator[Case]:
    """Every frame of the clip through each reader, opening included."""
    from src.video import clips

    def read(reader: str) -> None:
        for _ in clips.read(args.clip, batch=BATCH, reader=reader):
            pass

    facts = clip_facts(args.clip) | {"batch": BATCH}
    for reader in clips.READERS:
        yield Case(reader, partial(partial, read, reader), facts["frames"], "frames", facts)


class Road:
    """File to probabilities, as ``src.predict`` goes it without measuring and writing; notes what each part took."""

    def __init__(self, path: Path, pose: BlazePose, core: nn.Module) -> None:
        self.path, self.pose, self.core = path, pose, core
        self.batch = USUAL[pose.device.type][1]
        self.spent_s = {"decode": 0.0, "pose": 0.0, "reps": 0.0, "core": 0.0}
        self.reps = 0

    def __call__(self) -> None:
        """Go once."""
        from src.video import clips
        from src.video.probe import probe

        clip = self.clocked("decode", lambda: probe(self.path))
        rate_hz, size_px = clips.output_rate(clip, RATE_HZ), clips.scaled_size(clip, MAX_SIDE_PX)
        frames = clips.read(self.path, fps_hz=RATE_HZ, max_side_px=MAX_SIDE_PX, batch=BATCH)
        before_s = self.spent_s["decode"]
        track = self.clocked(
            "pose", lambda: lifter.follow(self.pose, self.decoded(frames), rate_hz, size_px, self.batch)
        )
        self.spent_s["pose"] -= self.spent_s["decode"] - before_s
        cuts = self.clocked("reps", lambda: [torch.from_numpy(cut(track, rep)) for rep in find_reps(track)])
        self.reps = len(cuts)
        if cuts:
            batch = nn.utils.rnn.pad_sequence(cuts, batch_first=True, padding_value=float("nan"))
            inputs = (batch, torch.full((len(cuts),), rate_hz), torch.tensor([len(c) for c in cuts]))
            on_device = [x.to(self.pose.device) for x in inputs]
            self.clocked("core", lambda: judge(self.core, "fp32", on_device).cpu())

    def clocked(self, part: str, call: Callable[[], Any]) -> Any:
        """What ``call`` gives, its seconds noted."""
        start = time.perf_counter()
        with record_function(part):
            result = call()
        self.spent_s[part] += time.perf_counter() - start
        return result

    def decoded(self, frames: Iterator[Any]) -> Iterator[Any]:
        """The same frames, the waiting for them noted."""
        while (piece := self.clocked("decode", lambda: next(frames, None))) is not None:
            yield piece

    def facts(self) -> Row:
        """Each part's share of this thread's time, and the number of reps.

        Decoding counts while it is waited for; threads of pose work on beside it.
        """
        total = sum(self.spent_s.values())
        return {"share": {part: s / total for part, s in self.spent_s.items()}, "reps": self.reps}


def whole_cases(args: argparse.Namespace, device: torch.device) -> Iterator[Case | Row]:
    """The whole road on the clip with each engine, in frames of the source per second: one clip, then several at once."""
    (core, origin), facts = load_core(args.core, device), clip_facts(args.clip)
    torch.set_num_threads(args.threads)
    for how, pose in each_pose(args, device):
        if pose is None:
            yield how
            continue
        road, crowd = Road(args.clip, pose, core), Crowd(args, device, how)
        more = {**facts, **how, "core": origin, "batch": road.batch}
        yield Case("file to verdict", lambda road=road: road, facts["frames"], "frames", more, road.facts)  # type: ignore[misc]
        if args.processes > 1:
            frames, more = facts["frames"] * args.processes, more | {"processes": args.processes}
            step = f"files to verdicts, {args.processes} processes"
            yield Case(step, crowd.start, frames, "frames", more, crowd.stop, threads=1)


class Crowd:
    """Several processes that go the road at the same time, one thread each, as ``src.predict --workers`` does."""

    def __init__(self, args: argparse.Namespace, device: torch.device, how: Row) -> None:
        self.args, self.device, self.how = args, device, how

    def start(self) -> Callable[[], object]:
        """Processes with their networks; the call to time gives them as many clips."""
        count, spawn = self.args.processes, multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(count, spawn, _equip, (self.args, self.device, self.how))
        return lambda: list(self.pool.map(_go, range(count)))

    def stop(self) -> Row:
        """End them; the memory of this process, which only waits, says nothing."""
        self.pool.shutdown()
        return {"peak_mb": None}


_road: Road | None = None  # of a process of the crowd


def _equip(args: argparse.Namespace, device: torch.device, how: Row) -> None:
    """Load the networks of one process."""
    global _road
    torch.set_num_threads(1)
    pose = load_pose(args, device, how["engine"], how["precision"])
    _road = Road(args.clip, pose, load_core(args.core, device)[0])


def _go(_: int) -> None:
    """Judge the clip once."""
    assert _road is not None
    _road()


def trace(args: argparse.Namespace, device: torch.device, out: Path) -> Path:
    """Go the whole road once to warm up and once watched; ``out`` is for chrome://tracing or Perfetto, ``.gz`` is packed.

    The parts are spans of the main thread, decoding within pose, which asks for frames; threads of pose stand below with their
    operators where PyTorch is the engine. What OpenVINO does inside a call stays unseen.
    """
    torch.set_num_threads(args.threads)
    road = Road(args.clip, load_pose(args, device), load_core(args.core, device)[0])
    road()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with profile(activities=activities, experimental_config=_ExperimentalConfig(profile_all_threads=True)) as watched:
        road()
    out.parent.mkdir(parents=True, exist_ok=True)
    watched.export_chrome_trace(str(out))
    return out
