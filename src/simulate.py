"""Stage ``simulate``: people who do hip thrusts with known faults, rendered to clips, with true tracks and labels."""

import csv
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from src.config import Simulate, run_stage
from src.motion.camera import Camera, behind_plate, sample_camera, sample_view, true_track
from src.motion.faults import FAULT_KEYS, FAULTS, QUANTITIES
from src.motion.keypoints import HIP_THRUST, OUTLINE
from src.motion.kinematics import Performance, sample_performance
from src.motion.labels import COLUMNS, OPTIONAL, SPLITS
from src.motion.person import sample_person
from src.video import datasheet

COVERED, NEAR_TOP_S = 0.45, 0.25
"""A fault is hidden where plates cover more than this of a group of its carriers, this long before and after lockout."""
PROOF, PLAIN_ARMS = "proof", ("chest", "bench")
"""People of this split are seen from the side, with arms that leave the back in plain view: only there is the spine judged."""
Row = dict[str, Any]
Rows = tuple[list[Row], list[Row]]
"""Rows of ``labels.csv`` and of ``truth.csv``."""


def label_rows(perf: Performance, camera: Camera, clip: str, subject: str, split: str = "") -> list[Row]:
    """One row of ``labels.csv`` per rep; an uncertain fault is empty, one whose carrier plates hide is named as hidden.

    A hidden fault has no label at all, not even where other signs of it show: else plates would foretell the fault.
    """
    rows = []
    for rep, covered in zip(perf.reps, covered_shares(perf, camera), strict=True):
        hidden = [key for key, share in covered.items() if share > COVERED]
        labels = {key: np.nan if key in hidden else label for key, label in rep.labels.items()}
        rows.append({
            "clip": clip, "subject": subject, "start_s": round(rep.start_s, 3), "end_s": round(rep.end_s, 3),
            **{key: "" if np.isnan(label) else int(label) for key, label in labels.items()},
            "view": camera.view, "side": camera.side, "variant": perf.setup.variant, "rater": "truth",
            "source": "simulated", "split": split, "hidden": " ".join(hidden),
        })  # fmt: skip
    return rows


def covered_shares(perf: Performance, camera: Camera) -> list[dict[str, float]]:
    """Per rep and fault, how much of a group of its carriers plates hide from the camera around lockout, at most: 0..1."""
    behind = behind_plate(perf, camera, perf.joints[:, : len(HIP_THRUST)])  # (T, K)
    groups = {f.key: [[_index(name, camera.side) for name in group] for group in f.carriers] for f in FAULTS}
    near, shares = round(NEAR_TOP_S * perf.fps_hz), []
    for rep in perf.reps:
        top = round(rep.top_s * perf.fps_hz)
        covered = behind[max(top - near, 0) : top + near + 1].mean(axis=0)  # (K,)
        shares.append({key: max(float(covered[group].mean()) for group in found) for key, found in groups.items()})
    return shares


def _index(name: str, side: str) -> int:
    """Where a point is, a joint on the side of the camera."""
    return HIP_THRUST.index(name if name in OUTLINE else f"{side}_{name}")


def truth_rows(perf: Performance, camera: Camera, clip: str, subject: str, loose_m: float = float("nan")) -> list[Row]:
    """One row of ``truth.csv`` per rep: quantities, asked severities, and what surrounds them.

    loose_m: cloth off the trunk; NaN where nobody is dressed.
    """
    setup, person = perf.setup, perf.person
    around = {
        "view": camera.view, "side": camera.side, "azimuth_deg": round(camera.azimuth_deg, 2), "fps_hz": perf.fps_hz,
        "bench_m": round(setup.bench_m, 3),
        "load": setup.load, "plate_m": round(setup.plate_m, 3), "arms": setup.arms, "sex": person.sex,
        "height_m": round(person.height_m, 3), "thigh_m": round(person.thigh_m, 3), "trunk_m": round(person.trunk_m, 3),
        "belly": round(person.belly, 3), "stance_m": round(setup.stance_m, 3), "chin_deg": round(setup.chin_deg, 1),
        "loose_m": round(loose_m, 4),
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


def person_clips(cfg: Simulate, folder: Path, number: int) -> Rows:
    """Render the clips of one of ``everybody`` into ``folder`` and the truth into ``folder/truth``; returns the rows.

    A true track carries ``Performance.lumbar`` (T,), which no camera shows, as ``lumbar``.
    """
    from src.video.render import render_clip, sample_look

    split, seed = everybody(cfg)[number - 1]
    subject, person = f"ren-{split}-{seed[-1]:04d}", sample_person(np.random.default_rng(seed))
    labels: list[Row] = []
    truth: list[Row] = []
    reps = cfg.reps if split in ("validation", "test") else cfg.train_reps
    rates_hz = cfg.rates_hz if split == "test" else cfg.train_rates_hz
    heights_px = cfg.heights_px if split == "test" else cfg.train_heights_px
    for i in range(1, cfg.clips_per_subject + 1):
        rng, clip = np.random.default_rng((*seed, i)), f"{subject}-{i:02d}.mp4"
        short, fps_hz = int(rng.choice(heights_px)), float(rng.choice(rates_hz))
        long = round(short * 16 / 9 / 2) * 2
        size_px = (short, long) if rng.random() < 0.3 else (long, short)
        perf = sample_performance(person, int(rng.choice(reps)), fps_hz, rng)
        while split == PROOF and perf.setup.arms not in PLAIN_ARMS:
            perf = sample_performance(person, int(rng.choice(reps)), fps_hz, rng)
        view = "side" if split == PROOF else sample_view(rng)
        camera = sample_camera(perf.joints[:, :21], fps_hz, size_px, view, rng)
        look = sample_look(rng)
        render_clip(perf, camera, look, folder / clip, int(rng.choice(cfg.crfs)))
        true_track(perf, camera).save(folder / "truth" / f"{Path(clip).stem}.npz", lumbar=perf.lumbar)
        labels += label_rows(perf, camera, clip, subject, split)
        truth += truth_rows(perf, camera, clip, subject, look.outfit.loose_m)
    return labels, truth


def everybody(cfg: Simulate) -> list[tuple[str, tuple[int, int, int]]]:
    """Split and seed of each person. Each counts its own: with more people in one, nobody changes sides."""
    counts = (cfg.train_subjects, cfg.validation_subjects, cfg.test_subjects, cfg.proof_subjects)
    groups = enumerate(zip(filter(None, SPLITS), counts, strict=True))
    return [(split, (cfg.seed, part, n)) for part, (split, count) in groups for n in range(1, count + 1)]


def _write(path: Path, rows: list[Row], columns: Iterable[str]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def each(task: Callable[[int], Any], count: int, workers: int, what: str) -> Iterator[Any]:
    """``task(1..count)`` in order, in this process or in several, under a progress bar."""
    with Progress(transient=True) as progress:
        numbers = range(1, count + 1)
        if workers == 1 or count <= 1:
            yield from progress.track(map(task, numbers), total=count, description=what)
            return
        deaf = (signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for this process, which lets the others end their clips
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), signal.signal, deaf) as pool:
            yield from progress.track(pool.map(task, numbers), total=count, description=what)


def once(job: Callable[[Path, int], Rows], folder: Path, number: int) -> Rows:
    """The rows of ``job(folder, number)``, which a run that was stopped may have made already."""
    path = folder / ".done" / f"{number}.json"
    if not path.is_file():
        part = path.with_suffix(".part")
        part.write_text(json.dumps(job(folder, number)))
        part.replace(path)
    labels, truth = json.loads(path.read_text())
    return labels, truth


def stamp_of(cfg: Simulate) -> str:
    """What people depend on beside their number: the settings but for place and processes, and the code."""
    others = ("clips_dir", "workers")
    settings = {key: value for key, value in vars(cfg).items() if key not in others}
    here = Path(__file__).parent
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(here.rglob("*.py"))))
    return json.dumps(settings | {"code": code.hexdigest()})


def fill(
    folder: Path, job: Callable[[Path, int], Rows], count: int, workers: int, what: str, stamp: str = ""
) -> list[Row]:
    """Make ``folder`` anew from ``job(folder, 1..count)``; readers see the old or the new one, never half.

    workers: processes, 0 = one per core. stamp: all that a job depends on beside its number; a run with the same one goes on
    where one that was stopped has ended. Returns the rows of ``labels.csv``.
    """
    part, old = folder.with_name(f".{folder.name}.part"), folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    done_dir, kept = part / ".done", part / ".stamp"
    if not stamp or not kept.is_file() or kept.read_text() != stamp:
        shutil.rmtree(part, ignore_errors=True)
        done_dir.mkdir(parents=True)
        kept.write_text(stamp)
    task = partial(once, job, part)
    if known := len(list(done_dir.glob("*.json"))):
        print(f"{known} of {count} {what} are there from a run that was stopped")
    done = list(each(task, count, min(workers or os.cpu_count() or 1, max(count, 1)), what))
    kept.unlink()
    shutil.rmtree(done_dir)
    labels, truth = [row for rows, _ in done for row in rows], [row for _, rows in done for row in rows]
    _write(part / "labels.csv", labels, (*COLUMNS, *OPTIONAL))
    _write(part / "truth.csv", truth, truth[0] if truth else ("clip",))
    if folder.exists():
        folder.rename(old)
    part.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    return labels


def work(cfg: Simulate) -> None:
    """Write ``clips_dir``: clips, true tracks, ``labels.csv``, ``truth.csv`` and a datasheet.

    All is made anew, unless the same run was stopped. The same seed gives the same files, whatever ``workers``.
    """
    count = len(everybody(cfg))
    rows = fill(Path(cfg.clips_dir), partial(person_clips, cfg), count, cfg.workers, "people", stamp_of(cfg))
    if rows:
        datasheet.write(Path(cfg.clips_dir))
    print(f"{len({row['clip'] for row in rows})} clips with {len(rows)} reps of {count} people in {cfg.clips_dir}")


def main() -> None:
    """Run the stage with section ``simulate`` of the configuration."""
    run_stage(Simulate, work)


if __name__ == "__main__":
    main()
