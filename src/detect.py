"""Clips -> keypoint tracks: ``python -m src.detect``.

Every folder below ``clips_dir`` that holds a ``labels.csv`` becomes a folder of ``poses_dir`` with one track per clip
and the same ``labels.csv``. A clip whose content and settings have not changed is skipped; a bad clip is named at the
end and stops nothing.
"""

import csv
import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from src.config import ConfigError, Detect, choose_device, device_name, run_stage
from src.motion.keypoints import Track, TrackError
from src.video import blazepose, clips, engine, keypointrcnn, lifter
from src.video.probe import ClipError, probe
from src.video.tflite import WeightsError

Detector = Callable[[lifter.Frames, float, tuple[int, int]], Track]
"""(frames as ``clips.read`` gives them, their rate in Hz, (width, height) px) -> the lifter's track."""


CODE = (
    "detect.py", "motion/keypoints.py",
    *(f"video/{name}.py" for name in (
        "blazepose", "choice", "clips", "contour", "crop", "engine", "flatbuffer", "keypointrcnn", "lifter", "lumbar", "probe",
        "tflite",
    )),
    "video/lumbar.npz",
)  # fmt: skip
"""Files of ``src`` that make tracks: when one of them changes, tracks are made anew."""


@dataclass(frozen=True)
class Job:
    """One clip and where its track goes; ``problem`` says why it cannot be done at all."""

    clip: Path
    track: Path
    problem: str = ""


def make_detector(cfg: Detect) -> Detector:
    """The configured detector on its device; ``ConfigError`` or ``WeightsError`` says what is wrong."""
    cfg = settled(cfg)
    if cfg.detector == "keypointrcnn":
        return partial(keypointrcnn.follow, keypointrcnn.KeypointRCNN(Path(cfg.weights), cfg.device), batch=cfg.batch)
    pose = partial(blazepose.BlazePose, Path(cfg.weights), cfg.device, cfg.precision)
    try:
        return partial(lifter.follow, pose(engine=cfg.engine, batch=cfg.batch), batch=cfg.batch)
    except engine.EngineError as error:
        raise ConfigError(f"detect.{error}") from error


def settled(cfg: Detect) -> Detect:
    """The same settings with a device, engine, precision and batch in place of auto and 0; ``ConfigError`` for what cannot be."""
    device = choose_device(cfg.device).type
    precision, batch = engine.USUAL[device]
    if cfg.detector == "keypointrcnn":
        for key, value, known in (("engine", cfg.engine, "torch"), ("precision", cfg.precision, "fp32")):
            if value not in ("auto", known):
                raise ConfigError(f"detect.{key} {value!r}: keypointrcnn has auto or {known} only")
        name, precision = "torch", "fp32"
    elif cfg.detector == "blazepose":
        try:
            name = engine.choose_engine(cfg.engine, device)
        except engine.EngineError as error:
            raise ConfigError(f"detect.{error}") from error
        precision = precision if cfg.precision == "auto" else cfg.precision
    else:
        raise ConfigError(f"detect.detector {cfg.detector!r} is none of blazepose, keypointrcnn")
    return replace(cfg, device=device, engine=name, precision=precision, batch=cfg.batch or batch)


def track_clip(path: Path, detector: Detector, cfg: Detect) -> Track:
    """Decode one clip and follow its lifter; ``ClipError`` when it cannot be read."""
    clip = probe(path)
    frames = clips.read(path, fps_hz=cfg.fps_hz, max_side_px=cfg.max_side_px)
    return detector(frames, clips.output_rate(clip, cfg.fps_hz), clips.scaled_size(clip, cfg.max_side_px))


def jobs(cfg: Detect) -> list[Job]:
    """Every clip that a ``labels.csv`` below ``clips_dir`` names, once; ``ConfigError`` when there is none."""
    found: dict[Path, Job] = {}
    for table in sorted(Path(cfg.clips_dir).rglob("labels.csv")):
        folder = Path(cfg.poses_dir) / table.parent.relative_to(cfg.clips_dir)
        for name in clip_names(table):
            job = Job(table.parent / name, (folder / name).with_suffix(".npz"))
            other = found.get(job.track)
            if other and other.clip != job.clip:
                problem = f"{job.clip}: {other.clip.name} has the same stem; rename one"
                job = Job(job.clip, folder / f"{name}.npz", problem)
            found[job.track] = job
    if not found:
        raise ConfigError(f"{cfg.clips_dir}: no labels.csv with clips below it; run python -m src.simulate")
    return list(found.values())


def clip_names(table: Path) -> list[str]:
    """The different clips of a ``labels.csv``, in its order."""
    with table.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        if "clip" not in (rows.fieldnames or []):
            raise ConfigError(f"{table}: no column clip")
        return list(dict.fromkeys(row["clip"].strip() for row in rows if (row["clip"] or "").strip()))


def key(path: Path, cfg: Detect) -> str:
    """What a track depends on: the clip's content, the settings that change pixels or networks, the code, the weights."""
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    cfg = settled(cfg)
    networks = (cfg.detector, cfg.engine, cfg.device, cfg.precision)
    settings = (code_and_weights(Path(cfg.weights)), *networks, cfg.fps_hz, cfg.max_side_px)
    return f"{content} {' '.join(str(value) for value in settings)}\n"


@cache
def code_and_weights(weights: Path) -> str:
    """Hash of the code that makes tracks and of a weights file; BlazePose's files are fixed by hashes in that code."""
    digest = hashlib.sha256()
    for path in [*(Path(__file__).parent / name for name in CODE), *([weights] if weights.is_file() else [])]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def detect_one(job: Job, detector: Detector, cfg: Detect) -> bool:
    """Make one track unless it is already there; True when it was made."""
    if job.problem:
        raise TrackError(job.problem)
    if not job.clip.is_file():
        job.track.unlink(missing_ok=True)
        raise TrackError(f"{job.clip}: labels.csv names it, but there is no such file")
    stamp, wanted = job.track.with_suffix(".key"), key(job.clip, cfg)
    if job.track.is_file() and stamp.is_file() and stamp.read_text() == wanted:
        return False
    stamp.unlink(missing_ok=True)
    job.track.unlink(missing_ok=True)
    track_clip(job.clip, detector, cfg).save(job.track)
    stamp.write_text(wanted)
    return True


def copy_labels(cfg: Detect) -> None:
    """Each folder's ``labels.csv``, and ``truth.csv`` of simulated clips, beside its tracks, each in one step."""
    for table in sorted(Path(cfg.clips_dir).rglob("labels.csv")):
        folder = Path(cfg.poses_dir) / table.parent.relative_to(cfg.clips_dir)
        folder.mkdir(parents=True, exist_ok=True)
        for source in (table, table.with_name("truth.csv")):
            if source.is_file():
                shutil.copyfile(source, folder / f"{source.stem}.part")
                os.replace(folder / f"{source.stem}.part", folder / source.name)
            else:
                (folder / source.name).unlink(missing_ok=True)


def drop_strangers(cfg: Detect, todo: list[Job]) -> None:
    """Remove our tracks and labels of clips and folders that are gone: they would count as data. Other files stay."""
    tracks = {job.track.resolve() for job in todo}
    tables = {
        (Path(cfg.poses_dir) / table.parent.relative_to(cfg.clips_dir) / "labels.csv").resolve()
        for table in Path(cfg.clips_dir).rglob("labels.csv")
    }
    for kind, wanted in (("labels.csv", tables), ("*.npz", tracks)):
        for path in Path(cfg.poses_dir).rglob(kind):
            ours = path.with_suffix(".key").exists() or path.name == "labels.csv" and any(path.parent.glob("*.key"))
            if ours and path.resolve() not in wanted:
                path.unlink()
                path.with_suffix(".key").unlink(missing_ok=True)
                if path.name == "labels.csv":
                    path.with_name("truth.csv").unlink(missing_ok=True)


def work(cfg: Detect) -> int:
    """Detect every clip and list those that failed; 3 when not one worked, so that one bad clip does not stop the pipeline."""
    todo, cfg = jobs(cfg), settled(cfg)
    detector, console = make_detector(cfg), Console(stderr=True, highlight=False)
    device = device_name(choose_device(cfg.device))
    console.print(f"detect: {cfg.detector} {cfg.engine} {cfg.precision} on {device}, {len(todo)} clips")
    drop_strangers(cfg, todo)
    made, failures = 0, []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("clips", total=len(todo))
        for job in todo:
            progress.update(task, description=job.clip.name[-40:])
            try:
                made += detect_one(job, detector, cfg)
            except (ClipError, TrackError, WeightsError, OSError, RuntimeError) as error:
                failures.append(" ".join(str(error).split()))
            progress.advance(task)
    copy_labels(cfg)
    console.print(f"detect: {made} made, {len(todo) - made - len(failures)} unchanged, {len(failures)} failed")
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return 3 if len(failures) == len(todo) else 0


def main() -> None:
    """``python -m src.detect [key=value ...]``."""
    run_stage(Detect, work)


if __name__ == "__main__":
    main()
