"""Judge videos: ``python -m src.predict A.mp4 some_folder/ --out results/``, or ``score(path, ...)`` as a library.

Writes ``clips.csv`` (a row per input), ``verdicts.csv`` (a row per rep) and ``json/<clip>.json``; prints a table. A file that
cannot be read becomes a row with its reason and exit status 3; the others are judged all the same.
"""

import argparse
import csv
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from src.config import ConfigError, Detect, choose_device, device_name, fail, load
from src.detect import Detector, make_detector, track_clip
from src.export import METADATA
from src.motion.dataset import cut
from src.motion.keypoints import Track, TrackError
from src.motion.measure import Measures, measure_all, view_of
from src.motion.reps import Rep, find_reps, hip_motion
from src.video.clips import ClipError

STATUSES = {
    "ok": "judged",
    "no_person": "nobody was found",
    "several_people": "several people could be the lifter; film one person, or crop the picture",
    "too_short": "too short to hold a rep",
    "no_reps": "a person, but no hip thrust: the hips never rise to a lockout and come down",
    "view_not_observable": "from this view the faults cannot be seen; film from the side",
    "low_confidence": "hips or knees are hidden or jump about; measured numbers are shown, no fault is claimed",
    "unreadable": "the file cannot be read as a video",
}
"""Every status a clip can get, and what it means."""

VIDEO_SUFFIXES = {
    ".mp4",
    ".mov",
    ".m4v",
    ".avi",
    ".mkv",
    ".webm",
    ".mpg",
    ".mpeg",
    ".mts",
    ".m2ts",
    ".3gp",
    ".wmv",
    ".flv",
    ".ts",
}
MIN_CLIP_S = 1.0
MIN_FOUND = 0.3
"""Share of frames that must hold a person."""
MIN_CONFIDENCE = 0.3
"""Of the hip signal (``hip_motion``): a clip with plates over hips and knees measures 0.1, clear ones above 0.8."""
MIN_OBSERVABLE = 0.5


@dataclass(frozen=True)
class RepVerdict:
    """One rep. ``decisions``: 1 fault, 0 none, None not observable or abstained; ``evidence_s``: when it shows most."""

    rep: int
    start_s: float
    top_s: float
    end_s: float
    complete: bool
    probabilities: dict[str, float]
    decisions: dict[str, int | None]
    observability: dict[str, float]
    evidence_s: dict[str, float]
    measures: Measures


@dataclass(frozen=True)
class Verdict:
    """One clip: a status of ``STATUSES`` with its reason, and its reps. A clip's fault must show in two reps, if it has two."""

    clip: str
    status: str
    reason: str
    view: str = ""
    people: int = 0
    confidence: float = float("nan")
    reps: tuple[RepVerdict, ...] = ()
    probabilities: dict[str, float] | None = None
    decisions: dict[str, int | None] | None = None


class Scorer:
    """A loaded core: ``TorchScript`` module, labels, thresholds, skeleton, all from the one file."""

    def __init__(self, path: Path, device: torch.device) -> None:
        extra = {METADATA: ""}
        if not path.is_file():
            raise ConfigError(f"{path}: no such core; run python -m src.export, or give --core")
        try:
            self.core = torch.jit.load(str(path), map_location=device, _extra_files=extra)
            self.metadata: dict[str, Any] = json.loads(extra[METADATA])
            self.labels: list[str] = self.metadata["labels"]
            self.thresholds: dict[str, dict[str, float]] = self.metadata["thresholds"]
        except (RuntimeError, ValueError, KeyError) as error:
            raise ConfigError(f"{path}: not a core of this project ({type(error).__name__})") from error
        self.device = device

    def judge(self, track: Track, reps: Sequence[Rep]) -> list[RepVerdict]:
        """Verdict of every rep, one batch."""
        cuts = [cut(track, rep) for rep in reps]
        frames = torch.tensor([len(keypoints) for keypoints in cuts])
        batch = torch.full((len(cuts), int(frames.max()), *cuts[0].shape[1:]), float("nan"))
        for row, keypoints in zip(batch, cuts, strict=True):
            row[: len(keypoints)] = torch.from_numpy(keypoints)
        rates = torch.full((len(cuts),), track.fps_hz)
        with torch.no_grad():
            out = self.core(batch.to(self.device), rates.to(self.device), frames.to(self.device))
        p, evidence, seen = (x.double().cpu().numpy() for x in out)  # (N, L), (N, T, L), (N, L)
        measures = measure_all(track, list(reps))
        return [self.verdict(i + 1, rep, track, p[i], evidence[i], seen[i], measures[i]) for i, rep in enumerate(reps)]

    def decide(self, label: str, p: float) -> int | None:
        """1 from the fault's ``present`` threshold on, 0 below its ``absent`` threshold, None between: too close to say."""
        band = self.thresholds[label]
        return 1 if p >= band["present"] else 0 if p < band["absent"] else None

    def verdict(
        self,
        number: int,
        rep: Rep,
        track: Track,
        p: np.ndarray,
        evidence: np.ndarray,
        seen: np.ndarray,
        measures: Measures,
    ) -> RepVerdict:
        """One rep's numbers under their labels."""
        first_s = max(0, int(round((rep.start_s - 0.25) * track.fps_hz))) / track.fps_hz
        decisions = {
            label: self.decide(label, float(p[i])) if seen[i] >= MIN_OBSERVABLE else None
            for i, label in enumerate(self.labels)
        }
        return RepVerdict(
            number, rep.start_s, rep.top_s, rep.end_s, rep.complete,
            {label: float(p[i]) for i, label in enumerate(self.labels)},
            decisions,
            {label: float(seen[i]) for i, label in enumerate(self.labels)},
            {label: float(first_s + evidence[:, i].argmax() / track.fps_hz) for i, label in enumerate(self.labels)},
            measures,
        )  # fmt: skip


def clip_probability(values: Iterable[float]) -> float:
    """Mean of the two highest reps: a fault of the clip shows more than once, where there is more than one rep."""
    return float(np.mean(sorted(values)[-2:]))


def judge_track(name: str, track: Track, scorer: Scorer) -> Verdict:
    """Verdict of one tracked clip; the status says the first thing that stands in the way."""
    found = float(np.isfinite(track.keypoints[..., 0]).any(axis=1).mean()) if len(track.keypoints) else 0.0
    if len(track.keypoints) < MIN_CLIP_S * track.fps_hz:
        return stopped(name, "too_short", f"{len(track.keypoints) / track.fps_hz:.2f} s")
    if track.people == 0 or found < MIN_FOUND:
        return stopped(name, "no_person", f"seen in {100 * found:.0f} % of frames")
    motion = hip_motion(track)
    reps = find_reps(track)
    if not reps:
        return Verdict(name, "no_reps", STATUSES["no_reps"], people=track.people, confidence=motion.confidence)
    judged = tuple(scorer.judge(track, reps))
    view = view_of(float(np.median([r.measures.width for r in judged])))
    status = "ok"
    if track.people > 1:
        status = "several_people"
    elif motion.confidence < MIN_CONFIDENCE:
        status = "low_confidence"
    elif all(value < MIN_OBSERVABLE for r in judged for value in r.observability.values()):
        status = "view_not_observable"
    if status != "ok":
        judged = tuple(abstained(r) for r in judged)
    p = {label: clip_probability(r.probabilities[label] for r in judged) for label in scorer.labels}
    decisions = {
        label: clip_decision(label, judged, p[label], scorer) if status == "ok" else None for label in scorer.labels
    }
    return Verdict(name, status, STATUSES[status], view, track.people, motion.confidence, judged, p, decisions)


def clip_decision(label: str, reps: Sequence[RepVerdict], p: float, scorer: Scorer) -> int | None:
    """1, 0 or None by the clip's probability, where the fault was observable in at least half of the reps that may be judged."""
    seen = [r for r in reps if r.observability[label] >= MIN_OBSERVABLE]
    return scorer.decide(label, p) if 2 * len(seen) >= len(reps) else None


def abstained(rep: RepVerdict) -> RepVerdict:
    """The same rep with no fault claimed."""
    return RepVerdict(
        **{**{f.name: getattr(rep, f.name) for f in fields(rep)}, "decisions": dict.fromkeys(rep.decisions)}
    )


def stopped(name: str, status: str, detail: str) -> Verdict:
    """A verdict without reps."""
    return Verdict(name, status, f"{STATUSES[status]} ({detail})")


def score(path: Path, detector: Detector, scorer: Scorer, cfg: Detect, name: str = "") -> tuple[Verdict, Track | None]:
    """Judge one video. Never raises for what is wrong with the file: that is the status ``unreadable``."""
    name = name or path.name
    try:
        track = track_clip(path, detector, cfg)
    except (ClipError, TrackError) as error:
        return Verdict(name, "unreadable", str(error)), None
    return judge_track(name, track, scorer), track


def find_videos(inputs: Sequence[str]) -> list[Path]:
    """Files as given, videos of folders recursively and sorted, each once."""
    paths: list[Path] = []
    for entry in map(Path, inputs):
        inside = (
            sorted(p for p in entry.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES) if entry.is_dir() else [entry]
        )
        paths += inside
    return list(dict.fromkeys(paths))


def clip_names(paths: Sequence[Path]) -> list[str]:
    """A name per path: the file's, with as many parent folders as it takes to tell equal names apart."""
    names = [path.name for path in paths]
    for depth in range(2, 20):
        doubled = {name for name in names if names.count(name) > 1}
        names = ["/".join(p.parts[-depth:]) if n in doubled else n for n, p in zip(names, paths, strict=True)]
    return [name.lstrip("/") for name in names]


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
        "view": verdict.view, "people": verdict.people, "confidence": verdict.confidence,
    }  # fmt: skip
    row |= {f"p_{label}": p.get(label) for label in labels} | {label: decisions.get(label) for label in labels}
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
    path = out / "json" / f"{verdict.clip.replace('/', '__')}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    model = {key: scorer.metadata.get(key) for key in ("version", "revision", "data", "thresholds")}
    body = plain(asdict(verdict)) | {"model": model, "detector": detector}
    part = path.with_suffix(".part")
    part.write_text(json.dumps(body, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)


def write_tables(out: Path, verdicts: Sequence[Verdict], labels: Sequence[str]) -> None:
    """``clips.csv`` and ``verdicts.csv`` as of now; written after every clip, so that a stopped run keeps what it has."""
    faults = [*(f"p_{label}" for label in labels), *labels]
    clip_columns = ["clip", "status", "reason", "reps", "view", "people", "confidence", *faults]
    rep_columns = ["clip", "rep", "start_s", "top_s", "end_s", "complete", *faults, *MEASURE_COLUMNS]
    write_csv(out / "clips.csv", clip_columns, (clip_row(v, labels) for v in verdicts))
    write_csv(out / "verdicts.csv", rep_columns, (row for v in verdicts for row in rep_rows(v, labels)))


def show(verdicts: Sequence[Verdict], labels: Sequence[str], console: Console) -> None:
    """The table people read."""
    table = Table(
        "clip",
        "status",
        "view",
        "reps",
        *labels,
        "hip top",
        "shin top",
        title="verdicts (probability, ✗ = fault, – = not judged)",
    )
    marks = {1: " ✗", 0: "", None: " –"}
    for v in verdicts:
        p, decisions = v.probabilities or {}, v.decisions or {}
        cells = [f"{p[label]:.2f}{marks[decisions[label]]}" if label in p else "" for label in labels]
        tops = [
            f"{np.median([getattr(r.measures, name) for r in v.reps]):.0f}°" if v.reps else ""
            for name in ("hip_top_deg", "shin_top_deg")
        ]
        table.add_row(v.clip, v.status, v.view, str(len(v.reps)), *cells, *tops)
    console.print(table)
    for v in verdicts:
        if v.status != "ok":
            console.print(f"{v.clip}: {v.status}: {v.reason}", markup=False, highlight=False)


def run(args: argparse.Namespace, report: Callable[[str], None]) -> list[Verdict]:
    """Judge every input, write after each; returns the verdicts in order."""
    overrides = {"device": args.device, "detector": args.detector, "weights": args.weights, "fps_hz": args.fps}
    cfg = load(Detect, *(f"detect.{key}={value}" for key, value in overrides.items() if value is not None))
    device = choose_device(cfg.device)
    scorer, detector = Scorer(args.core, device), make_detector(cfg)
    report(f"judging on {device_name(device)}")
    paths = find_videos(args.inputs)
    if not paths:
        raise ConfigError(
            f"{', '.join(args.inputs)}: no video found; known suffixes are {' '.join(sorted(VIDEO_SUFFIXES))}"
        )
    args.out.mkdir(parents=True, exist_ok=True)
    verdicts: list[Verdict] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=args.quiet) as progress:
        task = progress.add_task("clips", total=len(paths))
        for path, name in zip(paths, clip_names(paths), strict=True):
            progress.update(task, description=path.name[-40:])
            verdict, track = score(path, detector, scorer, cfg, name)
            verdicts.append(verdict)
            write_json(args.out, verdict, scorer, track.detector if track else "")
            write_tables(args.out, verdicts, scorer.labels)
            if args.save_poses and track is not None:
                track.save(args.out / "poses" / f"{name.replace('/', '__')}.npz")
            progress.advance(task)
    if not args.quiet:
        show(verdicts, scorer.labels, Console())
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
    except ConfigError as error:
        sys.exit(fail(error, 2))
    except OSError as error:
        sys.exit(fail(error, 1))
    sys.exit(3 if any(v.status == "unreadable" for v in verdicts) else 0)


if __name__ == "__main__":
    main()
