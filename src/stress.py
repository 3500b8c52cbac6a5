"""What changes of a clip that nobody should mind cost the model: ``python -m src.stress``, after ``evaluate``.

Tracks of test people are changed as keypoints, some of their clips as pixels and detected again. Every labelled rep counts
before and after; one that is lost has probability 0. Mirrored tracks must be judged alike, or the stage fails; how far
mirrored pictures are not, which the detector sees with other errors, is reported.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markdown import Markdown

from src.config import Stress, run_stage
from src.detect import Detector, make_detector, track_clip
from src.motion.changes import CHANGES, MIRROR, Change
from src.motion.faults import FAULT_KEYS
from src.motion.keypoints import Track
from src.motion.labels import Label, LabelError, read_labels
from src.motion.model import load_model, read_report
from src.motion.verdict import judge_track
from src.report.costs import Scores, compare, label_scores, labels_known
from src.report.figures import save, stress_figure
from src.report.judged import Checkpoint
from src.report.numbers import without_nan
from src.report.tables import stress_table
from src.video.recode import recode

RECODINGS = {"CRF 28": (28, 1.0), "CRF 34": (34, 1.0), "half the size": (23, 0.5)}
"""How clips are written again: H.264 quality (greater is worse) and scale."""
MIRRORED = "mirrored pictures"
Clips = dict[str, list[Label]]
"""Timed labels of each clip of a test person."""


class MirrorError(RuntimeError):
    """A mirrored clip was judged differently; the message carries the clip and the difference."""


def clips_of(cfg: Stress, people: Sequence[str]) -> Clips:
    """Clips of test people that have a track, with their labels; ``LabelError`` when there is none."""
    folder, clips = cfg.detect.poses_dir / cfg.folder, Clips()
    for label in read_labels(folder / "labels.csv"):
        if label.subject in people and label.start_s is not None and track_path(cfg, label.clip).exists():
            clips.setdefault(label.clip, []).append(label)
    if not clips:
        raise LabelError(f"{folder}: no timed rep of a test person; the model knows {len(people)} test people")
    return clips


def track_path(cfg: Stress, clip: str) -> Path:
    """Where ``detect`` put a clip's track."""
    return (cfg.detect.poses_dir / cfg.folder / clip).with_suffix(".npz")


def thresholds(cfg: Stress) -> NDArray[np.float64]:
    """The model's thresholds (L,) as ``evaluate`` chose them on validation people."""
    folders = read_report(cfg.report, cfg.models_dir / "model.pt")["folders"].values()
    faults = next(part["faults"] for part in folders if part["faults"])
    return np.array([faults[key]["threshold"] for key in FAULT_KEYS])


def changed_scores(scorer: Checkpoint, clips: Clips, cfg: Stress, change: Change) -> Scores:
    """Scores of every labelled rep after a change of the tracks; each clip's chance is its own."""
    scores = []
    for number, (clip, labels) in enumerate(clips.items()):
        track = change.apply(Track.load(track_path(cfg, clip)), np.random.default_rng((cfg.seed, number)))
        scores.append(label_scores(judge_track(clip, track, scorer), labels, change.tempo))
    return Scores.joined(scores)


def recoded_scores(scorer: Checkpoint, clips: Clips, cfg: Stress, detector: Detector, crf: int, scale: float) -> Scores:
    """Scores of every labelled rep after the clips were written again and detected again."""
    scores = []
    with TemporaryDirectory() as folder:
        for clip, labels in clips.items():
            target = Path(folder) / "recoded.mp4"
            recode(cfg.detect.clips_dir / cfg.folder / clip, target, crf, scale)
            scores.append(label_scores(judge_track(clip, track_clip(target, detector, cfg.detect), scorer), labels))
    return Scores.joined(scores)


def flipped(detector: Detector) -> Detector:
    """The same detector, shown every picture from left to right."""
    return lambda frames, *clip: detector(((np.ascontiguousarray(p[:, :, ::-1]), s) for p, s in frames), *clip)


def seen_again(scorer: Checkpoint, clips: Clips, cfg: Stress, detector: Detector) -> Scores:
    """Scores of every labelled rep after the clips were detected again."""
    folder = cfg.detect.clips_dir / cfg.folder
    verdicts = (judge_track(clip, track_clip(folder / clip, detector, cfg.detect), scorer) for clip in clips)
    return Scores.joined([label_scores(v, labels) for v, labels in zip(verdicts, clips.values(), strict=True)])


def some(clips: Clips, count: int) -> Clips:
    """``count`` clips with a known label: everybody's first before anybody's second."""
    known = [clip for clip, labels in clips.items() if np.isfinite(labels_known(labels)).any()]
    subjects = [clips[clip][0].subject for clip in known]
    turn = [subjects[:i].count(subject) for i, subject in enumerate(subjects)]
    order = sorted(range(len(known)), key=lambda i: (turn[i], i))
    return {known[i]: clips[known[i]] for i in order[:count]}


def hold_mirror(before: Scores, after: Scores, tolerance: float) -> float:
    """Largest difference of a mirrored rep's probability; beyond ``tolerance`` a ``MirrorError``."""
    difference = float(np.abs(before.p - after.p).max())
    if not difference <= tolerance:
        raise MirrorError(f"mirrored clips differ by {difference:.1e} in probability (allowed {tolerance:.0e})")
    return difference


def work(cfg: Stress) -> None:
    """Write ``stress.json``, ``stress.md`` and ``stress.png``; print the table."""
    core, facts = load_model(cfg.models_dir / "model.pt")
    limits, scorer = thresholds(cfg), Checkpoint(core, facts)
    clips = clips_of(cfg, facts["people"]["test"])
    before = changed_scores(scorer, clips, cfg, Change("none", lambda track, _: track))
    costs: dict[str, Any] = {}
    for change in CHANGES:
        print(f"stress: {change.name}, {len(clips)} clips")
        after = changed_scores(scorer, clips, cfg, change)
        if change is MIRROR:
            largest = hold_mirror(before, after, cfg.tolerance)
        costs[change.name] = compare(clips, before, after, limits, cfg.bootstrap, cfg.seed)
    fewer = some(clips, cfg.clips)
    before, detector = (
        changed_scores(scorer, fewer, cfg, Change("none", lambda track, _: track)),
        make_detector(cfg.detect),
    )
    for name, (crf, scale) in RECODINGS.items():
        print(f"stress: {name}, {len(fewer)} clips")
        after = recoded_scores(scorer, fewer, cfg, detector, crf, scale)
        costs[name] = compare(fewer, before, after, limits, cfg.bootstrap, cfg.seed)
    print(f"stress: {MIRRORED}, {len(fewer)} clips")
    after = seen_again(scorer, fewer, cfg, flipped(detector))
    costs[MIRRORED] = compare(fewer, before, after, limits, cfg.bootstrap, cfg.seed)
    differences = {"mirror_difference": largest, "mirrored_pictures": float(np.abs(before.p - after.p).max())}
    write({"folder": cfg.folder, **differences, "changes": costs}, cfg)


def write(report: Mapping[str, Any], cfg: Stress) -> None:
    """JSON, table and figure."""
    cfg.reports_dir.mkdir(parents=True, exist_ok=True)
    (cfg.reports_dir / "stress.json").write_text(json.dumps(without_nan(report), indent=2, allow_nan=False) + "\n")
    text = stress_table(report)
    (cfg.reports_dir / "stress.md").write_text(text)
    save(stress_figure(report["changes"]), cfg.reports_dir / "stress.png")
    Console().print(Markdown(text))


def main() -> None:
    """``python -m src.stress [key=value ...]``."""
    run_stage(Stress, work)


if __name__ == "__main__":
    main()
