import csv
import hashlib

import numpy as np
import pytest

from src.config import Simulate
from src.motion.camera import VIEWS, sample_camera, sample_view
from src.motion.faults import FAULT_KEYS, QUANTITIES
from src.motion.keypoints import HIP_THRUST, Track
from src.motion.kinematics import sample_performance
from src.motion.noise import observe, sample_habit
from src.motion.person import sample_person
from src.simulate import LABEL_COLUMNS, work


def settings(folder, **changes):
    values = dict(
        clips_dir=folder / "clips", tracks_dir=folder / "tracks", subjects=3, tracks_per_subject=2, rendered_subjects=0,
        clips_per_subject=1, reps_min=1, reps_max=2, height_px=96, fps_hz=5.0, crf=30, workers=1, seed=7,
    )  # fmt: skip
    return Simulate(**(values | changes))


def digests(folder):
    return {p.relative_to(folder): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def arrays(folder):
    return {p.name: Track.load(p).keypoints for p in folder.glob("*.npz")}


def test_tracks_labels_and_truth(tmp_path):
    cfg = settings(tmp_path)
    work(cfg)
    labels, truth = rows(cfg.tracks_dir / "labels.csv"), rows(cfg.tracks_dir / "truth.csv")
    assert tuple(labels[0]) == LABEL_COLUMNS and len(labels) == len(truth)
    clips = {row["clip"] for row in labels}
    assert clips == {p.name for p in cfg.tracks_dir.glob("*.npz")} and len(clips) == 6
    for row, true in zip(labels, truth, strict=True):
        track = Track.load(cfg.tracks_dir / row["clip"])
        assert track.detector == "simulated" and row["source"] == "simulated" and row["rater"] == "truth"
        assert (
            0
            <= float(row["start_s"])
            < float(true["top_s"])
            < float(row["end_s"])
            <= track.seconds[-1] + 1 / track.fps_hz
        )
        assert (
            all(row[key] in ("0", "1", "") for key in FAULT_KEYS)
            and row["view"] in VIEWS
            and row["side"] in ("left", "right")
        )
        assert set(QUANTITIES) <= set(true) and row["subject"].startswith("sim-")


def test_any_number_of_workers_gives_the_same_files(tmp_path):
    one, two = settings(tmp_path / "one"), settings(tmp_path / "two", workers=2)
    work(one)
    work(two)
    a, b = arrays(one.tracks_dir), arrays(two.tracks_dir)
    assert a.keys() == b.keys() and all(np.array_equal(a[k], b[k], equal_nan=True) for k in a)
    assert (one.tracks_dir / "labels.csv").read_bytes() == (two.tracks_dir / "labels.csv").read_bytes()


def test_rendered_people_are_others_and_remaking_leaves_nothing_stale(tmp_path):
    cfg = settings(tmp_path, subjects=1, tracks_per_subject=1, rendered_subjects=1, reps_max=1)
    cfg.clips_dir.mkdir(parents=True)
    (cfg.clips_dir / "stale.mp4").write_bytes(b"")
    work(cfg)
    labels = rows(cfg.clips_dir / "labels.csv")
    assert [row["clip"] for row in labels] == ["ren-0001-01.mp4"] and labels[0]["subject"] == "ren-0001"
    true = Track.load(cfg.clips_dir / "truth" / "ren-0001-01.npz")
    assert true.detector == "truth" and true.fps_hz == 5.0
    assert not (cfg.clips_dir / "stale.mp4").exists()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    before = digests(cfg.clips_dir)
    work(cfg)
    assert (
        digests(cfg.clips_dir)[next(p for p in before if p.suffix == ".mp4")]
        == before[next(p for p in before if p.suffix == ".mp4")]
    )


@pytest.mark.parametrize("view", list(VIEWS))
def test_observed_tracks_look_like_an_estimator(view):
    errors, contour = [], []
    for seed in range(6):
        rng = np.random.default_rng((seed, len(view)))
        perf = sample_performance(sample_person(rng), 1, 15.0, rng)
        camera = sample_camera(perf.joints[:, :21], 15.0, (640, 360), view, rng)
        assert camera.view == view
        seen = observe(perf, camera, sample_habit(rng), rng)
        assert seen.shape[1:] == (len(HIP_THRUST), 3) and ((seen[..., 2] >= 0) & (seen[..., 2] <= 1)).all()
        assert (np.isnan(seen[..., 0]) <= (seen[..., 2] == 0)).all()
        true, depth = camera.project(perf.joints[:, :27])
        trunk_px = camera.focal_px * perf.person.trunk_m / depth.mean()
        errors.append(np.nanmedian(np.linalg.norm(seen[:, 5:17, :2] - true[:, 5:17], axis=-1)) / trunk_px)
        contour.append(np.isfinite(seen[:, 21:, 0]).mean())
    assert 0.02 < np.median(errors) < 0.25
    assert np.mean(contour) > 0.2 if view == "side" else np.mean(contour) < 0.6
    if view == "frontal":
        assert np.mean(contour) == 0


def test_views_come_in_their_shares():
    drawn = [sample_view(np.random.default_rng(s)) for s in range(600)]
    for view, (share, _, _) in VIEWS.items():
        assert abs(drawn.count(view) / 600 - share) < 0.06
