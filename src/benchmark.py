"""Time decode, pose, reps, core and the whole road on this machine: ``python -m src.benchmark``.

Every measurement warms up, synchronises the device around each call, and reports median, 95th percentile, throughput.
What cannot run here is a row ``"not measured": reason``. Core, reps and pose need torch and numpy alone; weights and
pictures do not change their times: pose looks at noise in fixed regions, and an untrained core serves where no
``core.pt`` is. Without ``--clip`` decode and the whole road read a clip that the simulator draws into a temporary folder.
"""

import argparse
import json
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle, islice, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from src.motion.dataset import cut
from src.motion.keypoints import HIP_THRUST, Track
from src.motion.model import Core
from src.motion.reps import find_reps
from src.video import lifter
from src.video.blazepose import DETECTOR_PX, LANDMARK_PX, BlazePose
from src.video.engine import PRECISIONS, EngineError
from src.video.official import MODES, Official, OfficialError, Run, our_run

PARTS = ("decode", "pose", "reps", "core", "whole", "official")
CPU_ONLY = ("decode", "reps", "official")
CORE_BATCHES = {"cpu": [4**i for i in range(5)], "cuda": [4**i for i in range(7)]}
POSE_BATCHES = [2**i for i in range(6)]
LEAST_CALLS = 3
INPUT_SETS = 3
"""Inputs of the core take turns, so that a small batch is not always found in the cache."""
PICTURE_PX = (1280, 720)
RATE_HZ, MAX_SIDE_PX, BATCH = 30.0, 1280, 8
"""As in section detect of conf/config.yaml, which needs Hydra."""
COLUMNS = (
    "part",
    "step",
    "device",
    "engine",
    "precision",
    "threads",
    "batch",
    "median_ms",
    "p95_ms",
    "per_s",
    "unit",
    "peak_mb",
)
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


def peak_mb(device: torch.device) -> float:
    """Most memory in MB (10^6 bytes): tensors of this measurement on CUDA, the whole process so far on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def measured(case: Case, device: torch.device, args: argparse.Namespace) -> Row:
    """One row of the report, after a quarter of the time as warm-up; a case that fails says why."""
    torch.set_num_threads(case.threads or args.threads)
    where = {"step": case.step, "threads": torch.get_num_threads(), **case.facts}
    try:
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
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


def judge(core: nn.Module, precision: str, inputs: Sequence[Tensor]) -> Tensor:
    """Probabilities (N, L) of one batch on its device."""
    with torch.no_grad(), torch.autocast(inputs[0].device.type, torch.float16, enabled=precision == "fp16"):
        return core(*inputs)[0]  # type: ignore[no-any-return]


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

    runs = [(p, b, 0) for p in precisions(device) for b in args.core_batches or CORE_BATCHES[device.type]]
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


def load_pose(
    args: argparse.Namespace, device: torch.device, engine: str = "auto", precision: str = "fp32"
) -> BlazePose:
    """Both networks, if their files are there."""
    if not (args.weights / "pose_detection.tflite").is_file():
        raise NotMeasuredError(f"no pose_detection.tflite in {args.weights}: run make setup, or give --weights")
    return BlazePose(args.weights, device.type, precision, engine=engine, batch=BATCH)


def each_pose(args: argparse.Namespace, device: torch.device) -> Iterator[tuple[Row, BlazePose | None]]:
    """Every engine and precision of a device with its networks; None with the reason in the row where one is missing."""
    for (engine, where), known in PRECISIONS.items():
        for precision in known if where == device.type else ():
            facts: Row = {"engine": engine, "precision": precision}
            try:
                pose = load_pose(args, device, engine, precision)
            except EngineError as error:
                yield facts | not_measured(error), None
            else:
                yield facts, pose


def pose_steps(pose: BlazePose, most: int) -> dict[str, Callable[[int], object]]:
    """Calls that take a batch size up to ``most``; all start at frames in host memory but the last, at ready crops.

    "same, detector every 8th" is the work of ``lifter.follow`` for one person; "networks alone" goes without masks.
    """
    rng, (width, height), every = np.random.default_rng(0), PICTURE_PX, lifter.KEY_EVERY
    frames = rng.integers(0, 256, (most, height, width, 3), np.uint8)
    regions = np.tile([width / 2, height / 2, 0.9 * height, 0.3], (most, 1))
    sizes_px = (DETECTOR_PX, LANDMARK_PX)
    crops = [torch.from_numpy(rng.integers(0, 256, (most, px, px, 3), np.uint8)).to(pose.device) for px in sizes_px]

    def lift(b: int) -> None:
        pose.detect(frames[:b:every])
        pose.look(frames[:b:every], regions[:b:every])
        pose.look(frames[:b], regions[:b], masks=True)

    @torch.inference_mode()
    def networks(b: int) -> None:
        pose.detector(crops[0][:b])
        pose.landmarks(crops[1][:b])

    return {
        "detector": lambda b: pose.detect(frames[:b]),
        "landmarks": lambda b: pose.look(frames[:b], regions[:b]),
        "landmarks and masks": lambda b: pose.look(frames[:b], regions[:b], masks=True),
        f"same, detector every {every}th": lift,
        "networks alone": networks,
    }


def pose_cases(args: argparse.Namespace, device: torch.device) -> Iterator[Case | Row]:
    """Batch sweep of the pose networks with their crops on each engine, one caller on one thread."""
    batches = args.pose_batches or POSE_BATCHES
    torch.set_num_threads(1)
    for facts, pose in each_pose(args, device):
        if pose is None:
            yield facts
            continue
        more = facts | {"size_px": PICTURE_PX, "crop": "opencv" if pose.native else "torch"}
        for (step, call), b in product(pose_steps(pose, max(batches)).items(), batches):
            yield Case(step, partial(partial, call, b), b, "frames", more | {"batch": b}, threads=1)


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
    from src.video import clips

    clip = clips.probe(path)
    return {"clip": path.name, "size_px": clip.size_px, "frames": clip.frames, "fps_hz": clip.fps_hz, "batch": BATCH}


def decode_cases(args: argparse.Namespace, device: torch.device) -> Iterator[Case]:
    """Every frame of the clip through each reader, opening included."""
    from src.video import clips

    def read(reader: str) -> None:
        for _ in clips.read(args.clip, batch=BATCH, reader=reader):
            pass

    facts = clip_facts(args.clip)
    for reader in clips.READERS:
        yield Case(reader, partial(partial, read, reader), facts["frames"], "frames", facts)


class Road:
    """File to probabilities, as ``src.predict`` goes it without measuring and writing; notes what each part took."""

    def __init__(self, path: Path, pose: BlazePose, core: nn.Module) -> None:
        self.path, self.pose, self.core = path, pose, core
        self.spent_s = {"decode": 0.0, "pose": 0.0, "reps": 0.0, "core": 0.0}
        self.reps = 0

    def __call__(self) -> None:
        """Go once."""
        from src.video import clips

        clip = self.clocked("decode", lambda: clips.probe(self.path))
        rate_hz, size_px = clips.output_rate(clip, RATE_HZ), clips.scaled_size(clip, MAX_SIDE_PX)
        frames = clips.read(self.path, fps_hz=RATE_HZ, max_side_px=MAX_SIDE_PX, batch=BATCH)
        before_s = self.spent_s["decode"]
        track = self.clocked("pose", lambda: lifter.follow(self.pose, self.decoded(frames), rate_hz, size_px, BATCH))
        self.spent_s["pose"] -= self.spent_s["decode"] - before_s
        cuts = self.clocked("reps", lambda: [torch.from_numpy(cut(track, rep)) for rep in find_reps(track)])
        self.reps = len(cuts)
        if cuts:
            batch = nn.utils.rnn.pad_sequence(cuts, batch_first=True, padding_value=float("nan"))
            inputs = (batch, torch.full((len(cuts),), rate_hz), torch.tensor([len(c) for c in cuts]))
            on_device = [x.to(self.pose.device) for x in inputs]
            self.clocked("core", lambda: judge(self.core, self.pose.precision, on_device).cpu())

    def clocked(self, part: str, call: Callable[[], Any]) -> Any:
        """What ``call`` gives, its seconds noted."""
        start = time.perf_counter()
        result = call()
        self.spent_s[part] += time.perf_counter() - start
        return result

    def decoded(self, frames: Iterator[Any]) -> Iterator[Any]:
        """The same frames, the waiting for them noted."""
        while (piece := self.clocked("decode", lambda: next(frames, None))) is not None:
            yield piece

    def facts(self) -> Row:
        """Each part's share of the time, and the number of reps."""
        total = sum(self.spent_s.values())
        return {"share": {part: s / total for part, s in self.spent_s.items()}, "reps": self.reps}


def whole_cases(args: argparse.Namespace, device: torch.device) -> Iterator[Case | Row]:
    """The whole road on the clip with each engine, in frames of the source per second."""
    (core, origin), facts = load_core(args.core, device), clip_facts(args.clip)
    torch.set_num_threads(args.threads)
    for how, pose in each_pose(args, device):
        if pose is None:
            yield how
            continue
        road = Road(args.clip, pose, core)
        more = {**facts, **how, "core": origin}
        yield Case("file to verdict", lambda road=road: road, facts["frames"], "frames", more, road.facts)  # type: ignore[misc]


def official_rows(args: argparse.Namespace, device: torch.device) -> Iterator[Row]:
    """Official and our pipeline in turns on the same decoded frames, ``--rounds`` times in each mode."""
    if not args.mediapipe_python:
        raise NotMeasuredError("needs --mediapipe-python PATH, an interpreter with mediapipe")
    from src.video import clips

    source = clips.read(args.clip, fps_hz=RATE_HZ, max_side_px=MAX_SIDE_PX, batch=1)
    frames = np.concatenate([picture for picture, _ in islice(source, args.compare_frames)])
    rate_hz, file = clips.output_rate(clips.probe(args.clip), RATE_HZ), args.folder / "frames.npy"
    np.save(file, frames)
    torch.set_num_threads(args.threads)
    pose = load_pose(args, device)
    with Official(args.mediapipe_python, file) as theirs:
        facts = {
            "mediapipe": theirs.version,
            "ours": pose.name,
            "clip": args.clip.name,
            "size_px": frames.shape[2:0:-1],
        }
        for mode in MODES:
            our_run(pose, mode, frames[: 2 * BATCH], rate_hz, BATCH)
            runs = [(theirs.run(mode), our_run(pose, mode, frames, rate_hz, BATCH)) for _ in range(args.rounds)]
            yield from compared(mode, runs, len(frames), facts)


def compared(mode: str, runs: Sequence[tuple[Run, Run]], frames: int, facts: Row) -> Iterator[Row]:
    """A row, per frame, for each side; ratios are official over ours run by run, above 1 where ours is faster."""
    for i, who in enumerate(("official", "ours")):
        cpu_ms = 1e3 * float(np.median([pair[i][1] for pair in runs])) / frames
        times = numbers(summary([pair[i][0] / frames for pair in runs]), 1, "frames")
        more = {"cpu_ms": cpu_ms, "frames": frames, "found": runs[-1][i][2]}
        more |= {"threads": torch.get_num_threads(), "batch": BATCH} if who == "ours" else {}
        yield {"step": f"{who} {mode}", **facts, **times, **more}
    for k, what in enumerate(("wall", "cpu")):
        ratios = [theirs[k] / own[k] for theirs, own in runs]
        middle, low, high = float(np.median(ratios)), min(ratios), max(ratios)
        yield {"step": f"ours faster, {mode}, {what} time", "ratio": middle, "range": [low, high], "unit": "times"}


WORK: dict[str, Callable[[argparse.Namespace, torch.device], Iterable[Case | Row]]] = {
    "decode": decode_cases,
    "pose": pose_cases,
    "reps": reps_cases,
    "core": core_cases,
    "whole": whole_cases,
    "official": official_rows,
}


def part_rows(part: str, device: torch.device, args: argparse.Namespace) -> Iterator[Row]:
    """All rows of one part on one device, or the one that says why there are none."""
    head = {"part": part, "device": device.type}
    try:
        if part not in args.parts:
            raise NotMeasuredError("not asked for")
        if device.type == "cuda" and not torch.cuda.is_available():
            raise NotMeasuredError("PyTorch sees no CUDA GPU here")
        if device.type == "cuda" and part in CPU_ONLY:
            raise NotMeasuredError("runs on the CPU only")
        if part in ("decode", "whole", "official") and args.clip is None:
            args.clip = drawn_clip(args.folder / "drawn.mp4")
        for found in WORK[part](args, device):
            yield head | (measured(found, device, args) if isinstance(found, Case) else found)
    except Exception as error:  # one part's failure must not cost the numbers of the others
        yield head | not_measured(error)


def machine() -> Row:
    """Where the numbers come from."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    gpu = torch.cuda.get_device_properties(0) if torch.cuda.is_available() else None
    return {
        "cpu": names[0] if names else platform.processor() or platform.machine(), "cores": os.cpu_count(),
        "gpu": gpu.name if gpu else None, "gpu_memory_gb": gpu.total_memory / 1e9 if gpu else None,
        "system": platform.platform(), "python": platform.python_version(), "numpy": np.__version__,
        "torch": torch.__version__, "load_1min": os.getloadavg()[0],
    }  # fmt: skip


def table(rows: Sequence[Row]) -> list[list[str]]:
    """What was measured, a row of texts in the order of ``COLUMNS`` each; a ratio stands under ``per_s``."""
    lines = []
    for row in rows:
        if "not measured" not in row:
            shown = row | ({"per_s": row["ratio"]} if "ratio" in row else {})
            lines.append([short(shown.get(column, "")) for column in COLUMNS])
    return lines


def short(value: object) -> str:
    """Four digits of a float, no exponent for large ones."""
    if isinstance(value, float):
        return f"{value:.0f}" if value > 999 else f"{value:.4g}"
    return str(value)


def missing(rows: Sequence[Row]) -> list[str]:
    """A line for each row that was not measured."""
    lost = [row for row in rows if "not measured" in row]
    return [f"{r.get('step') or r['part']} on {r['device']}: not measured: {r['not measured']}" for r in lost]


def markdown(report: Row) -> str:
    """The table for a README, then what is missing."""
    where, rows = report["machine"], report["rows"]
    head = f"{where['cpu']}, {where['cores']} cores, GPU {where['gpu'] or 'none'}, torch {where['torch']}\n"
    lines = ["| " + " | ".join(row) + " |" for row in (COLUMNS, ["---"] * len(COLUMNS), *table(rows))]
    return "\n".join([head, *lines, "", *(f"- {line}" for line in missing(rows))]) + "\n"


def write(out: Path, report: Row) -> None:
    """``out`` and the table beside it, each in one step."""
    out.parent.mkdir(parents=True, exist_ok=True)
    for path, text in ((out, json.dumps(report, indent=1) + "\n"), (out.with_suffix(".md"), markdown(report))):
        part = path.with_name(path.name + ".part")
        part.write_text(text, encoding="utf-8")
        part.replace(path)


def show(report: Row) -> None:
    """The table on stdout, drawn by rich where it is installed."""
    try:
        from rich import box, console
        from rich import table as tables
    except ImportError:
        print(markdown(report))
        return
    grid = tables.Table(*COLUMNS, box=box.SIMPLE)
    for row in table(report["rows"]):
        grid.add_row(*row)
    screen = console.Console()
    screen.width = max(screen.width, 140)
    screen.print(grid)
    print("\n".join(missing(report["rows"])))


def work(args: argparse.Namespace) -> Row:
    """Measure every part on every device, writing after each, so that a stopped run keeps what it has."""
    report: Row = {"machine": machine(), "seconds_per_measurement": args.seconds, "complete": False, "rows": []}
    devices = ("cpu", "cuda") if args.device == "all" else (args.device,)
    with tempfile.TemporaryDirectory() as folder:
        args.folder = Path(folder)
        for device, part in product(devices, PARTS):
            print(f"{part} on {device}", file=sys.stderr)
            report["rows"] += part_rows(part, torch.device(device), args)
            write(args.out, report)
    report |= {"complete": True, "load_1min_end": os.getloadavg()[0]}
    write(args.out, report)
    return report


def parts(text: str) -> list[str]:
    """Comma-separated parts; an unknown one is refused by name."""
    if unknown := set(text.split(",")) - set(PARTS):
        raise argparse.ArgumentTypeError(f"no part {', '.join(sorted(unknown))}; parts are {', '.join(PARTS)}")
    return text.split(",")


def sizes(text: str) -> list[int]:
    """Comma-separated batch sizes, each at least 1."""
    batches = [int(n) for n in text.split(",")]
    if min(batches) < 1:
        raise argparse.ArgumentTypeError(f"batch {min(batches)}; a batch is at least 1")
    return batches


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m src.benchmark", description="Time each part on this machine.")
    p.add_argument("--parts", type=parts, default=list(PARTS[:-1]), help=f"some of {','.join(PARTS[:-1])}")
    p.add_argument("--compare", choices=("official",), help="also time the official runtime, see --mediapipe-python")
    p.add_argument("--device", choices=("cpu", "cuda", "all"), default="all")
    p.add_argument("--clip", type=Path, help="video for decode, whole, official (default: a drawn one)")
    p.add_argument("--seconds", type=float, default=1.0, help="time for each measurement (default: 1)")
    p.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads (default: torch's own)")
    p.add_argument("--frames", type=int, default=64, help="of a sequence for the core (default: 64)")
    p.add_argument("--core-batches", type=sizes, help="default: 1,4,...,256 on CPU, 1,4,...,4096 on CUDA")
    p.add_argument("--pose-batches", type=sizes, help="default: 1,2,...,32")
    p.add_argument("--core", type=Path, default=Path("data/models/core.pt"))
    p.add_argument("--weights", type=Path, default=Path("data/weights"), help="folder of the two .tflite files")
    p.add_argument("--mediapipe-python", help="interpreter that has mediapipe 0.10, for --compare official")
    p.add_argument("--rounds", type=int, default=5, help="turns of the comparison (default: 5)")
    p.add_argument("--compare-frames", type=int, default=96, help="frames that are compared (default: 96)")
    p.add_argument("--out", type=Path, default=Path("data/reports/benchmark.json"), help="and a .md beside it")
    return p


def main() -> None:
    """Exit status: 0 done, 3 something failed that should not have (its row says what), 2 wrong usage."""
    args = parser().parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser().error("--device cuda: PyTorch sees no CUDA GPU here")
    args.parts += [args.compare] if args.compare else []
    report = work(args)
    show(report)
    sys.exit(3 if any("failed" in row for row in report["rows"]) else 0)


if __name__ == "__main__":
    main()
