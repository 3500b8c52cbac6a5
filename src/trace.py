"""Learn to read the spine off the pose network: ``python -m src.trace``, on rendered people of its own (``make spine``).

What the landmark network saw around the trunk is put beside how far the mid-lumbar vertebra truly lay off the shoulder-hip chord:
in the body, since what a camera shows depends on where it stands. A ridge regression from one to the other becomes
``src/video/lumbar.npz``, a part of the detector like the networks themselves. These people take part in nothing else, so that it
is a stranger to everybody whom the pipeline trains or tests on.
"""

import hashlib
import inspect
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from rich.progress import track as progress

from src.config import Detect, Trace, run_stage
from src.detect import CODE, settled
from src.motion.faults import FAULTS
from src.motion.keypoints import Floats
from src.motion.labels import LabelError, Row, read_table
from src.motion.truth import true_track_of
from src.video import clips, lifter
from src.video.blazepose import BlazePose, Pose
from src.video.lumbar import Lumbar, Singles
from src.video.probe import probe

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
EVERY_S, BEFORE_S, NEAR_TOP_S = 0.2, 0.3, 0.1
"""Frames looked at: so often from a little before the first rep to a little after the last, and three around every lockout."""
SHARED = 0.8
"""Share of a clip's own mean that is taken from its features and offsets before the fit. Bodies and clothes differ by more than a
fault moves the back, so what tells the moments of one clip apart counts more than what tells clips apart."""
FOLDS = 6
TABLE = ("clip", "subject", "view", "load", "start_s", "top_s", "end_s", "lumbar_top")
ADVICE = "run python -m src.simulate experiment=spine"


@dataclass(frozen=True)
class Look:
    """One clip: what the network saw around the trunk (n, G, C) at ``seconds`` (n,), and the true ``offset`` (n,).

    offset: of the vertebra before the chord, trunk lengths, see ``Performance.lumbar``.
    rows: the clip's rows of ``truth.csv``, one per rep.
    """

    around: NDArray[np.float16]
    seconds: Array
    offset: Array
    rows: list[Row]

    @property
    def flat(self) -> Array:
        """Features (n, D) as the regression takes them."""
        return self.around.reshape(len(self.around), -1).astype(float)


def offsets(path: Path, seconds: Array) -> Array:
    """``Performance.lumbar`` of a rendered clip at some times (n,), from the file of its true track."""
    track, lumbar = true_track_of(path)
    at: Array = lumbar[np.round(seconds * track.fps_hz).astype(int).clip(max=len(lumbar) - 1)]
    return at


def wanted(rows: Sequence[Row], fps_hz: float) -> list[int]:
    """Numbers of the frames of a clip that are looked at."""
    starts, tops, ends = ([float(row[key]) for row in rows] for key in ("start_s", "top_s", "end_s"))
    often = np.arange(starts[0] - BEFORE_S, ends[-1] + BEFORE_S, EVERY_S)
    near = np.add.outer(tops, [-NEAR_TOP_S, 0.0, NEAR_TOP_S]).ravel()
    return sorted({int(round(at_s * fps_hz)) for at_s in (*often, *near)})


def look_at(
    clip: Path, rows: Sequence[Row], pose: BlazePose, cfg: Detect
) -> tuple[NDArray[np.float16], Numbers, float]:
    """Features (n, G, C) of the lifter in those ``wanted`` frames (n,) where somebody was seen, and the frame rate."""
    told: list[tuple[Numbers, Floats, Pose]] = []
    film = probe(clip)
    fps_hz, size_px = clips.output_rate(film, cfg.fps_hz), clips.scaled_size(film, cfg.max_side_px)
    frames = clips.read(clip, fps_hz=cfg.fps_hz, max_side_px=cfg.max_side_px)
    lifted = lifter.follow(pose, frames, fps_hz, size_px, cfg.batch, lambda *batch: told.append(batch)).keypoints
    around: dict[int, Singles] = {}
    for numbers, keypoints, look in told:
        assert look.around is not None
        ours = lifted[numbers]
        same = np.isfinite(ours[:, 0, 0]) & (np.nan_to_num(keypoints) == np.nan_to_num(ours)).all((1, 2))
        around |= {int(numbers[i]): look.around[i] for i in np.flatnonzero(same)}  # the rest shows somebody else
    chosen = [number for number in wanted(rows, fps_hz) if number in around]
    if not chosen:
        return np.zeros((0, 1, 1), np.float16), np.zeros(0, np.int64), fps_hz
    return np.stack([around[number] for number in chosen]).astype(np.float16), np.array(chosen), fps_hz


def stamp() -> str:
    """Hash of the code that features depend on: which frames are looked at and the detector, without the regression itself."""
    files = (Path(__file__).parent / name for name in CODE if name.endswith(".py"))
    here = "".join(inspect.getsource(part) for part in (wanted, look_at)) + f"{EVERY_S} {BEFORE_S} {NEAR_TOP_S}"
    return hashlib.sha256(b"".join([here.encode(), *(path.read_bytes() for path in files)])).hexdigest()[:16]


def recalled(path: Path) -> tuple[NDArray[np.float16], Numbers, float] | None:
    """What an earlier run of the same code kept of a clip, None without."""
    try:
        with np.load(path, allow_pickle=False) as z:
            return (z["around"], z["frames"], float(z["fps_hz"])) if str(z["stamp"]) == stamp() else None
    except (OSError, KeyError, ValueError, BadZipFile):
        return None


def keep(path: Path, around: NDArray[np.float16], frames: Numbers, fps_hz: float) -> None:
    """Write what ``recalled`` reads, in one step."""
    part = path.with_suffix(".part.npz")
    np.savez_compressed(part, around=around, frames=frames, fps_hz=fps_hz, stamp=stamp())
    part.replace(path)


def looks(cfg: Trace) -> Iterator[Look]:
    """Every clip of ``clips_dir`` that was filmed from the side and in which the lifter was seen."""
    detect = settled(cfg.detect)
    pose = BlazePose(Path(detect.weights), detect.device, detect.precision, engine=detect.engine, batch=detect.batch)
    cfg.features_dir.mkdir(parents=True, exist_ok=True)
    table = [row for _, row in read_table(cfg.clips_dir / "truth.csv", TABLE, advice=ADVICE) if row["view"] == "side"]
    by_clip = [(clip, list(rows)) for clip, rows in groupby(table, key=lambda row: row["clip"])]
    for clip, rows in progress(by_clip, "looking at people", transient=True):
        kept = (cfg.features_dir / clip).with_suffix(".npz")
        found = recalled(kept)
        if found is None:
            found = look_at(cfg.clips_dir / clip, rows, pose, detect)
            keep(kept, *found)
        around, frames, fps_hz = found
        if len(frames):
            seconds = frames / fps_hz
            yield Look(around, seconds, offsets((cfg.clips_dir / "truth" / clip).with_suffix(".npz"), seconds), rows)


def sums(look: Look) -> tuple[Array, Array]:
    """Mean products of one clip's rows, features and a 1, with themselves (D + 1, D + 1) and with the offsets (D + 1,)."""
    x, y = look.flat, look.offset
    rows = np.column_stack([x - SHARED * x.mean(0), np.full(len(x), 1 - SHARED)])
    return rows.T @ rows / len(rows), rows.T @ (y - SHARED * y.mean()) / len(rows)


def ridge(products: Array, targets: Array, strength: float) -> tuple[Array, float]:
    """Weights (D,) and bias from the mean ``sums`` of some clips; features are held down in units of their own spread."""
    mean, level = products[:-1, -1] / (1 - SHARED), targets[-1] / (1 - SHARED)
    scatter = products[:-1, :-1] - np.outer(mean, mean)
    spread = np.sqrt(np.maximum(np.diag(scatter), 1e-10))
    held = scatter / np.outer(spread, spread) + strength * np.eye(len(mean))
    weights: Array = np.linalg.solve(held, (targets[:-1] - mean * level) / spread) / spread
    return weights, float((level - weights @ mean) / (1 - SHARED))


def risen(look: Look, values: Array) -> list[tuple[Row, float]]:
    """Each rep's row of ``truth.csv`` and its value at lockout less half of that at its ends; reps seen at both."""
    reps = []
    for row in look.rows:
        start_s, top_s, end_s = (float(row[key]) for key in ("start_s", "top_s", "end_s"))
        top = abs(look.seconds - top_s) < 1.3 * NEAR_TOP_S
        ends = np.minimum(abs(look.seconds - start_s), abs(look.seconds - end_s)) < BEFORE_S
        if top.any() and ends.any():
            reps.append((row, float(values[top].mean() - 0.5 * values[ends].mean())))
    return reps


def judged(reps: Sequence[tuple[Row, float]]) -> list[dict[str, Any]]:
    """How well one number per rep, see ``risen``, tells the lumbar cue of each fault: reps, reps with it, AUC."""
    table = []
    lumbar = [(fault.key, cue) for fault in FAULTS for cue in fault.cues if cue.quantity == "lumbar_top"]
    for key, cue in lumbar:
        for barbell in (False, True):
            here = [
                (cue.judge(float(row["lumbar_top"])), v) for row, v in reps if (row["load"] == "barbell") == barbell
            ]
            ill, well = (np.array([v for label, v in here if label == kind]) for kind in (1.0, 0.0))
            above = np.sign(cue.present - cue.absent) * np.subtract.outer(ill, well)
            auc = float((above > 0).mean() + 0.5 * (above == 0).mean()) if above.size else None
            row = {"fault": key, "load": "barbell" if barbell else "none or dumbbell"}
            table.append(row | {"reps": len(ill) + len(well), "with_it": len(ill), "auc": auc})
    return table


def work(cfg: Trace) -> None:
    """Write ``weights``, fitted to everybody, and ``report``: what a fit to five sixths of the people says of the others."""
    seen = list(looks(cfg))
    people = sorted({look.rows[0]["subject"] for look in seen})
    if len(people) < FOLDS:
        raise LabelError(f"{cfg.clips_dir}: {len(people)} people seen from the side, need {FOLDS} at least; {ADVICE}")
    fold = [people.index(look.rows[0]["subject"]) % FOLDS for look in seen]
    size = seen[0].flat.shape[1] + 1
    products, targets, clips_in = np.zeros((FOLDS, size, size)), np.zeros((FOLDS, size)), np.bincount(fold)
    for i, look in zip(fold, progress(seen, "regression", transient=True), strict=True):
        product, target = sums(look)
        products[i] += product
        targets[i] += target

    def fitted(folds: list[int]) -> tuple[Array, float]:
        count = clips_in[folds].sum()
        return ridge(products[folds].sum(0) / count, targets[folds].sum(0) / count, cfg.strength / count)

    others = [fitted([other for other in range(FOLDS) if other != left_out]) for left_out in range(FOLDS)]
    values = [look.flat @ others[i][0] + others[i][1] for i, look in zip(fold, seen, strict=True)]
    weights, bias = fitted(list(range(FOLDS)))
    cfg.weights.parent.mkdir(parents=True, exist_ok=True)
    Lumbar(weights.reshape(seen[0].around.shape[1:]).astype(np.float32), bias).save(cfg.weights)
    moves = [np.concatenate([row - row.mean() for row in rows]) for rows in ([look.offset for look in seen], values)]
    table = judged([rep for look, row in zip(seen, values, strict=True) for rep in risen(look, row)])
    within = float(np.corrcoef(*moves)[0, 1])
    report = {
        "people": len(people),
        "frames": len(moves[0]),
        "strength": cfg.strength,
        "correlation_within_clips": within,
    }
    cfg.report.parent.mkdir(parents=True, exist_ok=True)
    cfg.report.write_text(json.dumps(report | {"lockout_less_half_of_ends": table}, indent=2) + "\n")
    print(f"{cfg.weights}: {len(people)} people; of left-out ones the offset correlates by {within:.2f} within a clip")
    for row in table:
        auc = "unknown" if row["auc"] is None else f"{row['auc']:.2f}"
        print(f"{row['fault']}, load {row['load']}: AUC {auc} ({row['reps']} reps, {row['with_it']} with it)")


def main() -> None:
    """``python -m src.trace [key=value ...]``."""
    run_stage(Trace, work)


if __name__ == "__main__":
    main()
