"""Learn how the detector errs on rendered people, and make many more labelled tracks with those very errors.

The noise is fitted to training people alone. How well it passes for the detector is measured on people it never saw.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from src.config import ConfigError, Imitate, run_stage
from src.motion.camera import Camera, sample_camera, sample_size, sample_view, true_track
from src.motion.dataset import cut
from src.motion.faults import FAULTS, QUANTITIES
from src.motion.features import FEATURE_NAMES, Features
from src.motion.filmed import CHAIN, Filmed, as_in_body
from src.motion.keypoints import HIP_THRUST, OUTLINE, SPINE, Track, middle
from src.motion.kinematics import Performance, sample_performance
from src.motion.labels import read_table
from src.motion.noise import Noise, fit
from src.motion.person import sample_person
from src.motion.reps import Rep
from src.motion.truth import severity, true_track_of
from src.simulate import Rows, fill, label_rows, truth_rows

Array = NDArray[np.float64]
LUMBAR = tuple(f for f in FAULTS if any(cue.quantity == "lumbar_top" for cue in f.cues))
TRUTH = ("clip", "subject", "start_s", "top_s", "end_s", "view", "side", "plate_m", "load", "arms", *QUANTITIES)
DRAWS = 3
"""Imitations of every clip that ``two_sample`` asks about."""
ON_SPINE, ON_OUTLINE = (
    np.array([any(point in name for point in points) for name in FEATURE_NAMES] * 2) for points in ((SPINE,), OUTLINE)
)
"""Which columns of ``summaries`` speak of the spine, and of the trunk's outline."""
SHOWN_BY = {"joints": ~(ON_SPINE | ON_OUTLINE), "and outline": ~ON_SPINE, "and spine": ON_SPINE | True}
"""Columns by which ``lumbar_worth`` tells the faults of the spine: joints alone, with the outline, with both."""


@dataclass(frozen=True)
class Seen:
    """A rendered clip: what was filmed, what the detector made of it (None where it failed), and each rep's true severity.

    severity: fault key -> (R,), up to 0 absent, from 1 on present.
    """

    clip: str
    subject: str
    split: str
    view: str
    filmed: Filmed
    track: Track | None
    severity: dict[str, Array]


def load_seen(cfg: Imitate) -> list[Seen]:
    """Every rendered clip with its true and its detected track."""
    labels, truth = (
        [row for _, row in read_table(cfg.clips_dir / name, needed, advice="run python -m src.simulate")]
        for name, needed in (("labels.csv", ("clip", "split")), ("truth.csv", TRUTH))
    )
    splits, found = {row["clip"]: row["split"] for row in labels}, []
    for clip, group in groupby(truth, key=lambda row: row["clip"]):
        rows = list(group)
        first, stem = rows[0], Path(clip).stem
        reps = np.array([[float(row[key]) for key in ("start_s", "top_s", "end_s")] for row in rows])
        true = as_in_body(*true_track_of(cfg.clips_dir / "truth" / f"{stem}.npz"))
        filmed = Filmed(true, first["side"], float(first["plate_m"]), first["load"], first["arms"], reps)
        path = cfg.poses_dir / f"{stem}.npz"
        track = Track.load(path) if path.exists() else None
        true_quantities = [{name: float(row[name]) for name in QUANTITIES} for row in rows]
        far = {fault.key: np.array([severity(fault, q) for q in true_quantities]) for fault in LUMBAR}
        found.append(Seen(clip, first["subject"], splits[clip], first["view"], filmed, track, far))
    return found


@cache
def _noise(path: Path) -> Noise:
    return Noise.load(path)


def filmed_by(perf: Performance, camera: Camera) -> Filmed:
    """A performance as a camera would show it to a perfect detector."""
    reps = np.array([(rep.start_s, rep.top_s, rep.end_s) for rep in perf.reps])
    setup = perf.setup
    true = as_in_body(true_track(perf, camera), perf.lumbar)
    return Filmed(true, camera.side, setup.plate_m, setup.load, setup.arms, reps)


def person_tracks(cfg: Imitate, folder: Path, number: int) -> Rows:
    """Write the tracks of one simulated person into ``folder``; returns label and truth rows."""
    subject, noise = f"sim-{number:04d}", _noise(cfg.noise)
    person, labels, truth = sample_person(np.random.default_rng((cfg.seed, number))), [], []
    for i in range(1, cfg.tracks_per_subject + 1):
        rng = np.random.default_rng((cfg.seed, number, i))
        fps_hz, clip = float(rng.choice(cfg.rates_hz)), f"{subject}-{i:02d}.npz"
        perf = sample_performance(person, int(rng.integers(cfg.reps_min, cfg.reps_max + 1)), fps_hz, rng)
        camera = sample_camera(perf.joints[:, :21], fps_hz, sample_size(rng), sample_view(rng), rng)
        keypoints = noise.observe(filmed_by(perf, camera), rng)
        Track(keypoints, fps_hz, camera.size_px, "simulated").save(folder / clip)
        labels += label_rows(perf, camera, clip, subject)
        truth += truth_rows(perf, camera, clip, subject)
    return labels, truth


def error_table(clips: Sequence[Seen]) -> list[dict[str, Any]]:
    """Per view and load: clips, share of frames with a person, median errors of joints, spine and outline, in trunk lengths."""
    rows = []
    for view in ("side", "oblique", "frontal"):
        for load in ("none", "dumbbell", "barbell"):
            chosen = [c for c in clips if c.view == view and c.filmed.load == load and c.track is not None]
            if chosen:
                rows.append({"view": view, "load": load, "clips": len(chosen), **_errors(chosen)})
    return rows


def _errors(clips: Sequence[Seen]) -> dict[str, float]:
    """Medians over all frames of some clips."""
    off: dict[str, list[Array]] = {name: [] for name in (*CHAIN, "spine", "outline", "found", "outline_seen")}
    for c in clips:
        assert c.track is not None
        true = c.filmed.true.keypoints
        rows = np.round(c.track.seconds * c.filmed.true.fps_hz).astype(int).clip(max=len(true) - 1)
        trunk = float(np.median(np.linalg.norm(middle(true, "hip") - middle(true, "shoulder"), axis=-1)))
        zoom = c.filmed.true.size_px[0] / c.track.size_px[0]
        apart = np.linalg.norm(zoom * c.track.keypoints[..., :2] - true[rows, :, :2], axis=-1) / trunk  # (T, K)
        for name in CHAIN:
            off[name].append(apart[:, [HIP_THRUST.index(f"{s}_{name}") for s in ("left", "right")]].ravel())
        off["spine"].append(apart[:, HIP_THRUST.index(SPINE)])
        off["outline"].append(apart[:, -len(OUTLINE) :].ravel())
        off["found"].append(np.isfinite(apart[:, 5]).astype(float))
        off["outline_seen"].append(np.isfinite(apart[:, -len(OUTLINE) :]).astype(float).ravel())
    flat = {name: np.concatenate(values) for name, values in off.items()}
    known = {name: values[np.isfinite(values)] for name, values in flat.items()}
    return {
        name: float("nan") if not len(v) else float(v.mean() if name in ("found", "outline_seen") else np.median(v))
        for name, v in known.items()
    }


def summaries(track: Track, reps: Array) -> Array:
    """Mean and spread of every feature over each rep (R, 3) in seconds: (R, 2F)."""
    features, rows = Features(HIP_THRUST), []
    for start_s, top_s, end_s in reps:
        keypoints = torch.from_numpy(cut(track, Rep(start_s, top_s, end_s, True)))[None]
        values = features(keypoints, torch.tensor([track.fps_hz]), torch.tensor([keypoints.shape[1]]))[0][0]
        rows.append(torch.cat([values.mean(dim=1), values.std(dim=1)]).numpy())
    return np.array(rows, float)


def lumbar_worth(clips: Sequence[Seen]) -> list[dict[str, Any]]:
    """How well a logistic regression tells lumbar faults from faultless reps, by ``SHOWN_BY``.

    Per view, with and without plates: reps, reps with the fault, people, AUCs on people left out in ten folds; None where fewer
    than ten people have the fault.
    """
    rows = []
    for view in ("side", "oblique"):
        for plates in (False, True):
            seen = [
                c for c in clips if c.view == view and (c.filmed.load == "barbell") == plates and c.track is not None
            ]
            data = (
                np.concatenate([summaries(c.track, c.filmed.reps) for c in seen if c.track])
                if seen
                else np.zeros((0, 1))
            )
            people = np.array([c.subject for c in seen for _ in c.filmed.reps])
            for fault in LUMBAR:
                far = np.concatenate([c.severity[fault.key] for c in seen]) if seen else np.zeros(0)
                sure = (far <= 0) | (far >= 1)
                ill, who = far[sure] >= 1, people[sure]
                row = {
                    "view": view,
                    "plates": plates,
                    "fault": fault.key,
                    "reps": int(sure.sum()),
                    "with_fault": int(ill.sum()),
                }
                enough = min(len(set(who[ill])), len(set(who[~ill]))) >= 10
                auc = {
                    name: _auc(data[sure][:, columns], ill, who) if enough else None
                    for name, columns in SHOWN_BY.items()
                }
                rows.append({**row, "people": len(set(who)), "auc": auc})
    return rows


def _auc(data: Array, ill: NDArray[np.bool_], people: NDArray[np.str_]) -> float:
    """AUC of a logistic regression on rows (R, F) of people that it never saw."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, class_weight="balanced", max_iter=2000))
    folds = StratifiedGroupKFold(10, shuffle=True, random_state=0)
    p = cross_val_predict(model, np.nan_to_num(data), ill, groups=people, cv=folds, method="predict_proba")
    return float(roc_auc_score(ill, p[:, 1]))


def two_sample(noise: Noise, clips: Sequence[Seen], seed: int) -> dict[str, Any]:
    """Can a classifier tell detected from imitated tracks of the same performances? AUC by people, 0.5 = it cannot.

    Mean of ``DRAWS`` imitations, since one differs from the next by some hundredths.
    """
    seen = [c for c in clips if c.track is not None and np.isfinite(c.track.keypoints[..., 0]).any()]
    people = np.array([c.subject for c in seen for _ in c.filmed.reps])
    folds = min(10, len(set(people)))
    if folds < 2:
        return {"people": folds, "draws": 0, "auc": {}}
    models = {
        "forest": RandomForestClassifier(300, min_samples_leaf=3, random_state=seed),
        "logistic": make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=2000)),
    }
    real = [summaries(c.track, c.filmed.reps) for c in seen if c.track]
    labels, auc = np.repeat([1, 0], len(people)), {name: 0.0 for name in models}
    for draw in range(DRAWS):
        made = [imitated(noise, c.filmed, (seed, draw, i)) for i, c in enumerate(seen)]
        data = np.nan_to_num(np.concatenate([*real, *made]))
        for name, model in models.items():
            guess = partial(cross_val_predict, groups=np.tile(people, 2), cv=GroupKFold(folds), method="predict_proba")
            auc[name] += float(roc_auc_score(labels, guess(model, data, labels)[:, 1])) / DRAWS
    return {"people": len(set(people)), "reps": len(people), "draws": DRAWS, "auc": auc}


def imitated(noise: Noise, filmed: Filmed, seed: tuple[int, ...]) -> Array:
    """The ``summaries`` (R, 2F) of what the detector might have reported."""
    true = filmed.true
    keypoints = noise.observe(filmed, np.random.default_rng(seed))
    return summaries(Track(keypoints, true.fps_hz, true.size_px, "simulated"), filmed.reps)


def work(cfg: Imitate) -> None:
    """Fit and save the noise, report on it, write ``tracks_dir``: tracks, ``labels.csv`` and ``truth.csv``."""
    if not 1 <= cfg.reps_min <= cfg.reps_max:
        raise ConfigError(
            f"imitate.reps_min {cfg.reps_min} and reps_max {cfg.reps_max}: need 1 <= reps_min <= reps_max"
        )
    clips = load_seen(cfg)
    noise = fit([(c.filmed, c.track) for c in clips if c.split == "train" and c.track is not None])
    noise.save(cfg.noise)
    others = [c for c in clips if c.split != "train"]
    report: dict[str, Any] = {"errors": error_table(clips), "two_sample": two_sample(noise, others, cfg.seed)}
    report["lumbar"] = lumbar_worth(clips)
    cfg.report.parent.mkdir(parents=True, exist_ok=True)
    cfg.report.write_text(json.dumps(report, indent=2) + "\n")
    rows = fill(cfg.tracks_dir, partial(person_tracks, cfg), cfg.subjects, cfg.workers, "keypoint tracks")
    auc = ", ".join(f"{name} {value:.2f}" for name, value in report["two_sample"]["auc"].items())
    print(f"noise of {len(noise.donors)} clips; detected against imitated, AUC on other people: {auc}")
    print(f"{len(rows)} reps as keypoint tracks in {cfg.tracks_dir}")


def main() -> None:
    """``python -m src.imitate [key=value ...]``."""
    run_stage(Imitate, work)


if __name__ == "__main__":
    main()
