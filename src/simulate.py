"""Stage ``simulate``: people who do hip thrusts with known faults, as keypoint tracks and as rendered clips."""

import csv
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from src.config import ConfigError, Simulate, run_stage
from src.motion.camera import RATES_HZ, Camera, sample_camera, sample_size, sample_view
from src.motion.faults import FAULT_KEYS, QUANTITIES
from src.motion.keypoints import Track
from src.motion.kinematics import Performance, sample_performance
from src.motion.noise import observe, sample_habit
from src.motion.person import Person, sample_person

LABEL_COLUMNS = ("clip", "subject", "start_s", "end_s", *FAULT_KEYS, "view", "side", "variant", "rater", "source")
Row = dict[str, Any]
TRACKS, CLIPS = 1, 2
"""First word of the seeds below the run's seed: people behind tracks and rendered people are never the same."""


def _rng(cfg: Simulate, *words: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence((cfg.seed, *words)))


def label_rows(perf: Performance, camera: Camera, clip: str, subject: str) -> list[Row]:
    """One row of ``labels.csv`` per rep; an uncertain fault is empty."""
    return [
        {
            "clip": clip, "subject": subject, "start_s": round(rep.start_s, 3), "end_s": round(rep.end_s, 3),
            **{key: "" if np.isnan(rep.labels[key]) else int(rep.labels[key]) for key in FAULT_KEYS},
            "view": camera.view, "side": camera.side, "variant": perf.setup.variant, "rater": "truth", "source":
            "simulated",
        }
        for rep in perf.reps
    ]  # fmt: skip


def truth_rows(perf: Performance, camera: Camera, clip: str, subject: str) -> list[Row]:
    """One row of ``truth.csv`` per rep: quantities, asked severities, and what surrounds them."""
    setup, person = perf.setup, perf.person
    around = {
        "view": camera.view, "azimuth_deg": round(camera.azimuth_deg, 2), "fps_hz": perf.fps_hz,
        "bench_m": round(setup.bench_m, 3),
        "load": setup.load, "plate_m": round(setup.plate_m, 3), "arms": setup.arms, "sex": person.sex,
        "height_m": round(person.height_m, 3),
    }  # fmt: skip
    return [
        {
            "clip": clip, "subject": subject, "rep": i, "start_s": round(rep.start_s, 3), "top_s": round(rep.top_s,
            3), "end_s": round(rep.end_s, 3),
            **{key: round(rep.quantities[key], 4) for key in QUANTITIES},
            **{f"severity_{key}": round(rep.severity[key], 4) for key in FAULT_KEYS}, **around,
        }
        for i, rep in enumerate(perf.reps)
    ]  # fmt: skip


def _set(
    cfg: Simulate, person: Person, fps_hz: float, size_px: tuple[int, int], rng: np.random.Generator
) -> tuple[Performance, Camera]:
    """One set of a person and the camera on it."""
    perf = sample_performance(person, int(rng.integers(cfg.reps_min, cfg.reps_max + 1)), fps_hz, rng)
    return perf, sample_camera(perf.joints[:, :21], fps_hz, size_px, sample_view(rng), rng)


def subject_tracks(cfg: Simulate, folder: Path, number: int) -> tuple[list[Row], list[Row]]:
    """Write the keypoint tracks of one simulated person into ``folder``; returns label and truth rows."""
    subject, rng = f"sim-{number:04d}", _rng(cfg, TRACKS, number)
    person, habit = sample_person(rng), sample_habit(rng)
    labels, truth = [], []
    for i in range(1, cfg.tracks_per_subject + 1):
        rng = _rng(cfg, TRACKS, number, i)
        fps_hz, clip = float(rng.choice(RATES_HZ)), f"{subject}-{i:02d}.npz"
        perf, camera = _set(cfg, person, fps_hz, sample_size(rng), rng)
        Track(observe(perf, camera, habit, rng), fps_hz, camera.size_px, "simulated").save(folder / clip)
        labels += label_rows(perf, camera, clip, subject)
        truth += truth_rows(perf, camera, clip, subject)
    return labels, truth


def subject_clips(cfg: Simulate, folder: Path, number: int) -> tuple[list[Row], list[Row]]:
    """Render the clips of one person into ``folder`` and true projected tracks into ``folder/truth``.

    Returns the rows.
    """
    from src.video.render import render_clip, sample_look, true_track

    subject, rng = f"ren-{number:04d}", _rng(cfg, CLIPS, number)
    person, labels, truth = sample_person(rng), [], []
    for i in range(1, cfg.clips_per_subject + 1):
        rng = _rng(cfg, CLIPS, number, i)
        clip, long_px = f"{subject}-{i:02d}.mp4", round(cfg.height_px * 16 / 9 / 2) * 2
        size_px = (cfg.height_px, long_px) if rng.random() < 0.3 else (long_px, cfg.height_px)
        perf, camera = _set(cfg, person, cfg.fps_hz, size_px, rng)
        render_clip(perf, camera, sample_look(rng), folder / clip, cfg.crf)
        true_track(perf, camera).save(folder / "truth" / f"{Path(clip).stem}.npz")
        labels += label_rows(perf, camera, clip, subject)
        truth += truth_rows(perf, camera, clip, subject)
    return labels, truth


def _write(path: Path, rows: list[Row], columns: Iterable[str]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _each(task: Callable[[int], Any], count: int, workers: int, what: str) -> Iterator[Any]:
    """``task(1..count)`` in order, in this process or in several, under a progress bar."""
    with Progress(transient=True) as progress:
        numbers = range(1, count + 1)
        if workers == 1 or count <= 1:
            yield from progress.track(map(task, numbers), total=count, description=what)
            return
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            yield from progress.track(pool.map(task, numbers), total=count, description=what)


def _fill(folder: Path, job: Callable[..., tuple[list[Row], list[Row]]], cfg: Simulate, count: int, what: str) -> int:
    """Make ``folder`` anew from ``job(cfg, folder, 1..count)``; readers see the old or the new one, never half."""
    part, old = folder.with_name(f".{folder.name}.part"), folder.with_name(f".{folder.name}.old")
    for stale in (part, old):
        shutil.rmtree(stale, ignore_errors=True)
    part.mkdir(parents=True)
    workers = min(cfg.workers or os.cpu_count() or 1, max(count, 1))
    done = list(_each(partial(job, cfg, part), count, workers, what))
    labels, truth = [row for rows, _ in done for row in rows], [row for _, rows in done for row in rows]
    _write(part / "labels.csv", labels, LABEL_COLUMNS)
    _write(part / "truth.csv", truth, truth[0] if truth else ("clip",))
    if folder.exists():
        folder.rename(old)
    part.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    return len(labels)


def work(cfg: Simulate) -> None:
    """Write ``tracks_dir`` and ``clips_dir``: clips, ``labels.csv`` and ``truth.csv``, all made anew.

    The same seed gives the same files, whatever ``workers``. People of the two folders are different people.
    """
    if not 1 <= cfg.reps_min <= cfg.reps_max:
        raise ConfigError(
            f"simulate.reps_min {cfg.reps_min} and reps_max {cfg.reps_max}: need 1 <= reps_min <= reps_max"
        )
    tracks = _fill(Path(cfg.tracks_dir), subject_tracks, cfg, cfg.subjects, "keypoint tracks")
    clips = _fill(Path(cfg.clips_dir), subject_clips, cfg, cfg.rendered_subjects, "rendered clips")
    print(f"{tracks} reps as keypoint tracks in {cfg.tracks_dir}, {clips} rendered in {cfg.clips_dir}")


def main() -> None:
    """Run the stage with section ``simulate`` of the configuration."""
    run_stage(Simulate, work)


if __name__ == "__main__":
    main()
