"""Judge videos: ``python -m src.predict A.mp4 some_folder/ --out results/``, or as a library ``score("A.mp4")``.

Writes ``clips.csv`` (a row per clip), ``verdicts.csv`` and ``verdicts.parquet`` (a row per rep) and ``json/<clip>.json``; poses
on request. A file that cannot be read becomes a row with its reason and exit status 3; the others are judged all the
same. ``docs/predict.md`` tells the rest.
"""

import argparse
import hashlib
import os
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

import torch
from rich.console import Console

from src.batch.cluster import on_ray
from src.batch.inputs import InputError, Job, find_jobs, openable
from src.batch.options import CORE, parser
from src.batch.poses import pose_paths, save_poses
from src.batch.progress import Bar, looked_up
from src.batch.records import Record, is_failed, read_record, record_of, write_record, write_text
from src.batch.results import Results
from src.batch.tables import show
from src.batch.workers import Lost, NoWorker, aloud, here, spawned
from src.config import ConfigError, Detect, choose_device, device_name, fail, load, one_line
from src.detect import Detector, key, make_detector, settled, track_clip
from src.motion.keypoints import Track
from src.motion.model import ModelError, content_hash
from src.motion.verdict import Scorer, Verdict, judge_track
from src.pages.page import Source, page_folder, remove_page, write_index, write_page
from src.video.probe import ClipError
from src.video.tflite import WeightsError


class Judge:
    """A loaded core with a detector, for ``score``: make one, use it for many clips."""

    def __init__(self, core: Path = CORE, cfg: Detect | None = None) -> None:
        """Settings are those of conf/config.yaml unless given; a typed error names what is missing or wrong."""
        self.cfg = cfg or load(Detect)
        self.scorer = Scorer(core, choose_device(self.cfg.device))
        self.detector: Detector = make_detector(self.cfg)


def score(path: Path | str, judge: Judge | None = None, name: str = "") -> tuple[Verdict, Track | None]:
    """Judge one video: its verdict, and the keypoints behind it (None when the file could not be read).

    Never raises for what is wrong with the file: that is the status ``unreadable`` with its reason.
    """
    path, judge = Path(path), judge or Judge()
    name = name or path.name
    try:
        track = track_clip(path, judge.detector, judge.cfg)
        with one_thread():
            return judge_track(name, track, judge.scorer), track
    except ClipError as error:
        return Verdict(name, "unreadable", error.reason), None
    except Exception as error:  # whatever one clip does (out of memory, say), the batch goes on and the row says so
        return Verdict(name, "unreadable", f"could not be processed: {type(error).__name__}: {one_line(error)}"), None


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: how many there are changes the core's last digits, and so must not depend on ``--workers``."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Order:
    """What is wanted of every clip, the same in every process of a run; ``pages`` is plain, anonymized or empty for none."""

    out: Path
    core: Path
    cfg: Detect
    poses: bool = False
    pages: str = ""
    threads: int = 0

    def stamp(self, path: Path) -> dict[str, str]:
        """All that a clip's verdict depends on; ``OSError`` when the clip cannot be read."""
        content, _, settings = key(path, self.cfg).strip().partition(" ")
        extras = f"poses={self.poses} pages={self.pages}"
        return {"clip": content, "core": core_hash(self.core), "settings": f"{settings} {code_hash()} {extras}"}

    def done(self, job: Job) -> Record | None:
        """The record of a clip that was scored from this very content, core and settings; None when there is work."""
        record = read_record(self.out, job.name)
        if record is None or not record["stamp"] or not all(path.is_file() for path in self.extras(job)):
            return None
        try:
            return record if record["stamp"] == self.stamp(job.path) else None
        except OSError:
            return None

    def extras(self, job: Job) -> list[Path]:
        """Files of a judged clip beside its JSON."""
        page = [page_folder(self.out, job.name) / "index.html"] if self.pages else []
        return [*(pose_paths(self.out, job.name) if self.poses else ()), *page]


core_hash = cache(content_hash)  # a run's core is read once


@cache
def code_hash() -> str:
    """Hash of the code that turns tracks into verdicts and pages."""
    folders = (Path(__file__).parent / part for part in ("motion", "pages", "video"))
    files = (
        path for folder in folders for path in sorted(folder.rglob("*")) if path.suffix in (".py", ".html", ".css")
    )
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


def clip_work(order: Order) -> Callable[[Job], Record]:
    """Load core and detector once; the work then judges a clip and writes its files, the JSON last."""
    if order.threads:
        torch.set_num_threads(order.threads)
    judge = Judge(order.core, order.cfg)
    detector = judge.detector
    judge.detector = lambda frames, *clip: detector(aloud(frames), *clip)
    return partial(judge_job, order, judge)


def judge_job(order: Order, judge: Judge, job: Job) -> Record:
    """Judge one clip and write what is wanted of it; ``OSError`` when the results cannot be written."""
    with openable(job.path) as path:
        record = judged(order, judge, Job(path, job.name))
    write_record(order.out, record)
    return record


def judged(order: Order, judge: Judge, job: Job) -> Record:
    """The record of a clip, whose other files are written first."""
    try:
        stamp = order.stamp(job.path)
    except OSError:  # score says what is wrong with the file
        stamp = {}
    if order.pages:
        remove_page(order.out, job.name)
    verdict, track = score(job.path, judge, job.name)
    try:
        if track is not None and order.poses:
            save_poses(order.out, job.name, track)
        if track is not None and order.pages:
            source = Source(job.path, order.cfg.fps_hz, order.pages == "anonymized")
            write_page(order.out, verdict, track, judge.scorer.metadata, source)
    except ClipError as error:  # it changed or vanished since
        verdict, track = Verdict(job.name, "unreadable", error.reason), None
    except OSError:  # no clip's fault
        raise
    except Exception as error:  # the verdict holds, but --resume shall try again
        missing = f"its page or poses could not be made: {type(error).__name__}: {one_line(error)}"
        verdict, stamp = replace(verdict, reason=f"{verdict.reason}; {missing}"), {}
    return record_of(verdict, judge.scorer, track.detector if track else "", stamp if track else {})


def lost_record(scorer: Scorer, job: Job, lost: Lost) -> Record:
    """The record of a clip whose process is gone."""
    return record_of(Verdict(job.name, "unreadable", lost.reason), scorer, "", {})


def run(args: argparse.Namespace, say: Callable[[str], None]) -> Results:
    """Judge every clip that has not been judged; results in the order of the inputs."""
    order = order_of(args)
    device = choose_device(order.cfg.device)
    scorer = Scorer(order.core, torch.device("cpu"))  # for its labels: workers judge
    jobs = find_jobs(args.inputs, order.out)
    make_folder(order.out)
    results = Results(order.out, jobs, scorer.labels)
    todo = jobs
    if args.resume:  # every clip is read
        todo = [job for job in looked_up(jobs, args.quiet) if not results.resumed(order.done(job))]
    known = f", {len(jobs) - len(todo)} known already" if args.resume else ""
    pose = f"pose by {order.cfg.detector} {order.cfg.engine} {order.cfg.precision}"
    crew = f"{args.workers} worker{'s' * (args.workers > 1)}" if args.workers else "no worker"
    crew = f"Ray, {'a worker per GPU' if device.type == 'cuda' else crew}" if args.engine == "ray" else crew
    say(f"judging {len(todo)} clip{'s' * (len(todo) != 1)}{known} on {device_name(device)}, {pose}, {crew}")
    answers = answers_of(args, order, todo)
    try:
        with Bar(len(todo), args.quiet) as bar:
            for job, answer in answers:
                if isinstance(answer, Lost):
                    answer = lost_record(scorer, job, answer)
                    write_record(order.out, answer)
                bar.step(results.add(answer), is_failed(answer))
                if args.strict and results.failed:
                    break
    except NoWorker as error:
        if not results.rows:
            raise
        results.ended = str(error)
    finally:
        answers.close()
        if results.rows:  # else an earlier run's tables stay
            results.write()
            if order.pages:
                write_index(order.out, results.rows)
    return results


def answers_of(
    args: argparse.Namespace, order: Order, todo: list[Job]
) -> Generator[tuple[Job, Record | Lost], None, None]:
    """Judge the clips where the command line wants it: on a Ray cluster, in processes or right here."""
    make = partial(clip_work, order)
    if args.engine == "ray":
        return on_ray(make, todo, args.workers, args.time_limit, gpu=order.cfg.device == "cuda")
    return spawned(make, deque(todo), args.workers, args.time_limit) if args.workers else here(make, todo)


def order_of(args: argparse.Namespace) -> Order:
    """Settings of the command line over those of conf/config.yaml; ``ConfigError`` names one that cannot be."""
    given = {"device": args.device, "detector": args.detector, "weights": args.weights, "fps_hz": args.fps}
    cfg = replace(load(Detect), **{key: value for key, value in given.items() if value is not None})
    cfg = settled(cfg)
    if not 0 < cfg.fps_hz < float("inf"):
        raise ConfigError(f"--fps {cfg.fps_hz}: frames per second must be a positive number")
    if not args.time_limit > 0:
        raise ConfigError(f"--time-limit {args.time_limit}: seconds per clip must be a positive number")
    if args.workers < 0:
        raise ConfigError(f"--workers {args.workers}: the number of processes must not be negative")
    if args.engine == "ray" and not args.workers:
        raise ConfigError("--workers 0: Ray needs one at least")
    if args.engine == "ray" and find_spec("ray") is None:
        raise ConfigError("--engine ray: Ray is not installed here; make setup installs it")
    threads = max(1, (os.cpu_count() or 1) // args.workers) if args.workers else 0
    threads = 1 if args.engine == "ray" else threads  # of the one core that Ray gives
    pages = "anonymized" if args.anonymize else "plain" if args.report else ""
    return Order(args.out, args.core, cfg, args.save_poses, pages, threads)


def make_folder(out: Path) -> None:
    """The folder of the results, known to be writable before the first clip is decoded."""
    try:
        write_text(out / "json" / ".writable", "")
        (out / "json" / ".writable").unlink()
    except OSError as error:
        raise ConfigError(f"--out {out}: results cannot be written there ({error.strerror})") from error


def main() -> None:
    """Exit status: 0 all was done, 3 some clips failed or are left, 2 wrong usage, 1 results not written, 130 Ctrl-C."""
    args = parser().parse_intermixed_args()
    try:
        results = run(args, (lambda line: None) if args.quiet else lambda line: print(line, file=sys.stderr))
    except (ConfigError, InputError, ModelError, WeightsError) as error:
        sys.exit(fail(error, 2))
    except OSError as error:
        sys.exit(fail(OSError(f"{one_line(error)}; --resume goes on from here when that is mended"), 1))
    except (ValueError, RuntimeError) as error:
        sys.exit(fail(error, 1))
    except KeyboardInterrupt:
        print("stopped; --resume goes on from here", file=sys.stderr)
        sys.exit(130)
    if not args.quiet:
        show(results.rows, results.labels, Console())
        pages = f", pages in {args.out / 'report' / 'index.html'}" if args.report or args.anonymize else ""
        print(results.summary() + pages)
    if results.ended:
        fail(NoWorker(f"{results.ended}; clips left: {results.left}, --resume goes on with them"), 3)
    sys.exit(3 if results.failed or results.ended else 0)


if __name__ == "__main__":
    from src import predict  # by its own name, which other machines find again

    predict.main()
