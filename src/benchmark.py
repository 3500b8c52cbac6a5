"""Time decode, pose, reps, core, its peers and the whole road on this machine: ``python -m src.benchmark``.

Every measurement warms up, synchronises the device around each call, and reports median, 95th percentile, throughput.
What cannot run here is a row ``"not measured": reason``. Core, reps and pose need torch and numpy alone; weights and
pictures do not change their times: pose looks at noise in fixed regions, the core's peers have random weights, and an
untrained core serves where no ``core.pt`` is. Without ``--clip`` decode and the whole road read a clip that the simulator
draws into a temporary folder.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from pathlib import Path

import torch

from src.speed.cores import core_cases, reps_cases
from src.speed.peers import peer_rows
from src.speed.poses import pose_cases
from src.speed.road import decode_cases, drawn_clip, trace, whole_cases
from src.speed.summary import NoPlaceError, place, write_readme
from src.speed.tables import machine, show, write
from src.speed.timing import Case, NotMeasuredError, Row, measured, not_measured
from src.speed.turns import official_rows

PARTS = ("decode", "pose", "reps", "core", "peers", "whole", "official")
CPU_ONLY = ("decode", "reps", "official")
WORK: dict[str, Callable[[argparse.Namespace, torch.device], Iterable[Case | Row]]] = {
    "decode": decode_cases,
    "pose": pose_cases,
    "reps": reps_cases,
    "core": core_cases,
    "peers": peer_rows,
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
    figures(report, args.out)
    if args.readme:
        write_readme(args.readme, report)
    return report


def figures(report: Row, out: Path) -> None:
    """Both figures beside ``out``, or a line on stderr where matplotlib is missing."""
    try:
        from src.speed.figures import draw
    except ImportError as error:
        print(f"no figures: {error}", file=sys.stderr)
        return
    draw(report, out)


def profiled(args: argparse.Namespace) -> Path:
    """A trace of the whole road on the GPU where one is seen and wanted, else on the CPU."""
    device = torch.device("cuda" if args.device != "cpu" and torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        args.clip = args.clip or drawn_clip(Path(folder) / "drawn.mp4")
        return trace(args, device, args.profile)


def parts(text: str) -> list[str]:
    """Comma-separated parts; an unknown one is refused by name."""
    if unknown := set(text.split(",")) - set(PARTS):
        raise argparse.ArgumentTypeError(f"no part {', '.join(sorted(unknown))}; parts are {', '.join(PARTS)}")
    return text.split(",")


def sizes(text: str) -> list[int]:
    """Comma-separated batch sizes, each at least 1."""
    batches = [int(n) for n in text.split(",")]
    if min(batches) < 1:
        raise argparse.ArgumentTypeError(f"{min(batches)} is too few; at least 1")
    return batches


def one_or_more(text: str) -> int:
    """A whole number, at least 1."""
    (count,) = sizes(text)
    return count


def readme(text: str) -> Path:
    """A page with a place for the tables; refused before anything is measured."""
    try:
        place(Path(text))
    except (OSError, NoPlaceError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return Path(text)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m src.benchmark", description="Time each part on this machine.")
    p.add_argument("--parts", type=parts, default=list(PARTS[:-1]), help=f"some of {','.join(PARTS[:-1])}")
    p.add_argument("--compare", choices=("official",), help="also time the official runtime, see --mediapipe-python")
    p.add_argument("--device", choices=("cpu", "cuda", "all"), default="all")
    p.add_argument("--clip", type=Path, help="video for decode, whole, official (default: a drawn one)")
    p.add_argument("--seconds", type=float, default=1.0, help="time for each measurement (default: 1)")
    p.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads (default: torch's own)")
    p.add_argument(
        "--processes", type=one_or_more, default=os.cpu_count(), help="for whole clips at once (default: one per core)"
    )
    p.add_argument("--frames", type=int, default=64, help="of a sequence for the core (default: 64)")
    p.add_argument("--core-batches", type=sizes, help="default: 1,4,...,4096")
    p.add_argument("--pose-batches", type=sizes, help="default: 1,2,...,32, on CUDA 256")
    p.add_argument("--core", type=Path, default=Path("data/models/core.pt"))
    p.add_argument("--weights", type=Path, default=Path("data/weights"), help="folder of the two .tflite files")
    p.add_argument("--mediapipe-python", help="interpreter that has mediapipe 0.10, for --compare official")
    p.add_argument("--rounds", type=int, default=5, help="least turns of comparisons (default: 5)")
    p.add_argument("--compare-frames", type=int, default=96, help="frames that are compared (default: 96)")
    p.add_argument(
        "--out", type=Path, default=Path("data/reports/benchmark.json"), help="and a .md and two figures beside it"
    )
    p.add_argument("--profile", type=Path, help="measure nothing, write a torch.profiler trace of the whole road there")
    p.add_argument("--readme", type=readme, help="page whose speed tables are written again")
    return p


def main() -> None:
    """Exit status: 0 done, 1 no trace, 3 something failed that should not have (its row says what), 2 wrong usage."""
    args = parser().parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser().error("--device cuda: PyTorch sees no CUDA GPU here")
    if args.profile:
        try:
            print(profiled(args))
        except Exception as error:
            sys.exit(f"no trace: {not_measured(error)['not measured']}")
        return
    args.parts += [args.compare] if args.compare else []
    report = work(args)
    show(report)
    sys.exit(3 if any("failed" in row for row in report["rows"]) else 0)


if __name__ == "__main__":
    main()
