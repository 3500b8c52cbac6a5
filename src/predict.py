"""Judge videos: ``python -m src.predict A.mp4 some_folder/ --out results/``, or ``score(path, ...)`` as a library.

Writes ``clips.csv`` (a row per input), ``verdicts.csv`` (a row per rep) and ``json/<clip>.json``; prints a table. A file that
cannot be read becomes a row with its reason and exit status 3; the others are judged all the same.
"""

import argparse
import csv
import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from src.config import ConfigError, Detect, choose_device, device_name, fail, load, one_line
from src.detect import Detector, engine_name, make_detector, track_clip
from src.motion.keypoints import Track
from src.motion.measure import Measures
from src.motion.model import ModelError
from src.motion.verdict import Scorer, Verdict, judge_track
from src.video.clips import ClipError
from src.video.tflite import WeightsError

VIDEO_SUFFIXES = set(".mp4 .mov .m4v .avi .mkv .webm .mpg .mpeg .mts .m2ts .3gp .wmv .flv .ts".split())


def score(path: Path, detector: Detector, scorer: Scorer, cfg: Detect, name: str = "") -> tuple[Verdict, Track | None]:
    """Judge one video. Never raises for what is wrong with the file: that is the status ``unreadable``."""
    name = name or path.name
    try:
        track = track_clip(path, detector, cfg)
        return judge_track(name, track, scorer), track
    except ClipError as error:
        return Verdict(name, "unreadable", error.reason), None
    except Exception as error:  # whatever one clip does (out of memory, say), the batch goes on and the row says so
        return Verdict(name, "unreadable", f"could not be processed: {type(error).__name__}: {one_line(error)}"), None


def find_videos(inputs: Sequence[str]) -> list[Path]:
    """Files as given, videos of folders recursively and sorted, each once."""
    paths: list[Path] = []
    for entry in map(Path, inputs):
        inside = (p for p in entry.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file())
        paths += sorted(inside) if entry.is_dir() else [entry]
    return list(dict.fromkeys(paths))


def clip_names(paths: Sequence[Path]) -> list[str]:
    """A name per path: the file's, with as many parent folders as it takes to tell equal names apart."""
    names = [path.name for path in paths]
    for depth in range(2, 20):
        doubled = {name for name in names if names.count(name) > 1}
        names = ["/".join(p.parts[-depth:]) if n in doubled else n for n, p in zip(names, paths, strict=True)]
    return [name.lstrip("/").encode("utf-8", "backslashreplace").decode() for name in names]


def file_name(clip: str) -> str:
    """A clip's name as one path component of at most 200 bytes; two clips never share it."""
    flat = clip.replace("_", "__").replace("/", "_-") if "/" in clip or "_-" in clip else clip
    if len(flat.encode()) <= 200:
        return flat
    return f"{flat.encode()[:150].decode(errors='ignore')}-{hashlib.sha256(flat.encode()).hexdigest()[:16]}"


MEASURE_COLUMNS = tuple(f.name for f in fields(Measures))


def text(value: object) -> object:
    """A cell: empty for None and NaN, floats with four decimals."""
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return ""
    return f"{value:.4f}" if isinstance(value, float) else int(value) if isinstance(value, bool) else value


def clip_row(verdict: Verdict, labels: Sequence[str]) -> dict[str, object]:
    """One row of clips.csv."""
    p, decisions = verdict.probabilities or {}, verdict.decisions or {}
    row: dict[str, object] = {
        "clip": verdict.clip, "status": verdict.status, "reason": verdict.reason, "reps": len(verdict.reps),
        "view": verdict.view,
    }  # fmt: skip
    row |= {f"p_{label}": p.get(label) for label in labels} | {label: decisions.get(label) for label in labels}
    row |= {"people": verdict.people, "confidence": verdict.confidence}
    return {column: text(value) for column, value in row.items()}


def rep_rows(verdict: Verdict, labels: Sequence[str]) -> list[dict[str, object]]:
    """Rows of verdicts.csv."""
    rows = []
    for rep in verdict.reps:
        row: dict[str, object] = {
            "clip": verdict.clip, "rep": rep.rep, "start_s": rep.start_s, "top_s": rep.top_s, "end_s": rep.end_s,
            "complete": rep.complete,
        }  # fmt: skip
        row |= {f"p_{label}": rep.probabilities[label] for label in labels} | {
            label: rep.decisions[label] for label in labels
        }
        rows.append({column: text(value) for column, value in (row | asdict(rep.measures)).items()})
    return rows


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[dict[str, object]]) -> None:
    """A whole CSV in one step."""
    part = path.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    part.replace(path)


def plain(value: Any) -> Any:
    """JSON has no NaN: a missing number becomes null."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def write_json(out: Path, verdict: Verdict, scorer: Scorer, detector: str) -> None:
    """``json/<clip>.json``: the verdict with the model it rests on."""
    path = out / "json" / f"{file_name(verdict.clip)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    model = {key: scorer.metadata.get(key) for key in ("version", "revision", "data", "thresholds")}
    body = plain(asdict(verdict)) | {"model": model, "detector": detector}
    part = path.with_suffix(".part")
    part.write_text(json.dumps(body, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)


def write_tables(out: Path, verdicts: Sequence[Verdict], labels: Sequence[str]) -> None:
    """``clips.csv`` and ``verdicts.csv`` as of now; written after every clip, so that a stopped run keeps what it has."""
    faults = [*(f"p_{label}" for label in labels), *labels]
    clip_columns = ["clip", "status", "reason", "reps", "view", *faults, "people", "confidence"]
    rep_columns = ["clip", "rep", "start_s", "top_s", "end_s", "complete", *faults, *MEASURE_COLUMNS]
    write_csv(out / "clips.csv", clip_columns, (clip_row(v, labels) for v in verdicts))
    write_csv(out / "verdicts.csv", rep_columns, (row for v in verdicts for row in rep_rows(v, labels)))


def show(verdicts: Sequence[Verdict], console: Console) -> None:
    """The table people read: what was found, what could not be judged, and why."""
    clip = Column("clip", overflow="fold", min_width=16)
    wide = [Column(name, overflow="fold") for name in ("faults (probability)", "not judged")]
    table = Table(clip, Column("status", no_wrap=True), "view", "reps", *wide)
    for v in verdicts:
        p, decisions = v.probabilities or {}, v.decisions or {}
        faults = ", ".join(f"{label} ({p[label]:.2f})" for label, made in decisions.items() if made == 1)
        unknown = ", ".join(label for label, made in decisions.items() if made is None)
        none = "none" if any(made == 0 for made in decisions.values()) else ""
        unknown = "everything" if decisions and all(made is None for made in decisions.values()) else unknown
        table.add_row(escape(v.clip), v.status, v.view, str(len(v.reps)), faults or none, unknown)
    console.print(table)
    for v in verdicts:
        if v.status != "ok":
            console.print(f"{v.clip}: {v.reason}", markup=False, highlight=False)


def run(args: argparse.Namespace, report: Callable[[str], None]) -> list[Verdict]:
    """Judge every input, write after each; returns the verdicts in order."""
    given = {"device": args.device, "detector": args.detector, "weights": args.weights, "fps_hz": args.fps}
    cfg = replace(load(Detect), **{key: value for key, value in given.items() if value is not None})
    if not 0 < cfg.fps_hz < float("inf"):
        raise ConfigError(f"--fps {cfg.fps_hz}: frames per second must be a positive number")
    device = choose_device(cfg.device)
    scorer, detector = Scorer(args.core, device), make_detector(cfg)
    report(f"judging on {device_name(device)}, pose by {cfg.detector} {engine_name(cfg)} {cfg.precision}")
    paths = find_videos(args.inputs)
    if not paths:
        raise ConfigError(
            f"{', '.join(args.inputs)}: no video found; known suffixes are {' '.join(sorted(VIDEO_SUFFIXES))}"
        )
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {args.out}: cannot be made ({error.strerror})") from error
    verdicts: list[Verdict] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=args.quiet) as progress:
        task = progress.add_task("clips", total=len(paths))
        for path, name in zip(paths, clip_names(paths), strict=True):
            progress.update(task, description=escape(path.name[-40:].encode("utf-8", "replace").decode()))
            verdict, track = score(path, detector, scorer, cfg, name)
            verdicts.append(verdict)
            write_json(args.out, verdict, scorer, track.detector if track else "")
            write_tables(args.out, verdicts, scorer.labels)
            if args.save_poses and track is not None:
                track.save(args.out / "poses" / f"{file_name(name)}.npz")
            progress.advance(task)
    if not args.quiet:
        show(verdicts, Console())
    return verdicts


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m src.predict", description="Judge hip-thrust videos for four faults, per rep and per clip."
    )
    p.add_argument("inputs", nargs="+", metavar="VIDEO|FOLDER", help="files, or folders that are searched for videos")
    p.add_argument(
        "--out",
        type=Path,
        default=Path("results"),
        help="folder of clips.csv, verdicts.csv and json/ (default: results)",
    )
    p.add_argument(
        "--core", type=Path, default=Path("data/models/core.pt"), help="exported core (default: data/models/core.pt)"
    )
    p.add_argument("--device", choices=("auto", "cpu", "cuda"), help="default: as in conf/config.yaml")
    p.add_argument("--detector", choices=("blazepose", "keypointrcnn"), help="default: as in conf/config.yaml")
    p.add_argument("--weights", type=Path, help="folder or file of the detector's weights")
    p.add_argument("--fps", type=float, help="frames per second that the detector sees (default: 30)")
    p.add_argument("--save-poses", action="store_true", help="also write poses/<clip>.npz")
    p.add_argument("--quiet", action="store_true", help="no progress bar, no table")
    return p


def main() -> None:
    """Exit status: 0 every file was read, 3 some were not, 2 wrong usage, 1 anything else."""
    args = parser().parse_args()
    try:
        verdicts = run(args, (lambda line: None) if args.quiet else lambda line: print(line, file=sys.stderr))
    except (ConfigError, ModelError, WeightsError) as error:
        sys.exit(fail(error, 2))
    except (OSError, ValueError) as error:
        sys.exit(fail(error, 1))
    sys.exit(3 if any(v.status == "unreadable" for v in verdicts) else 0)


if __name__ == "__main__":
    main()
