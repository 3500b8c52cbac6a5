import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from src.config import ConfigError, Imitate, Simulate, load
from src.imitate import error_table, load_seen, work
from src.motion.keypoints import Track
from src.motion.labels import LabelError, read_labels
from src.simulate import work as simulate


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """Three people rendered small, and a detector that sees everything a tenth of a trunk too low."""
    folder = tmp_path_factory.mktemp("imitate")
    simulate(
        Simulate(
            clips_dir=folder / "clips", train_subjects=1, validation_subjects=1, test_subjects=1, proof_subjects=0,
            clips_per_subject=1, reps=[1], train_reps=[1], heights_px=[96], train_heights_px=[96],
            rates_hz=[10.0], train_rates_hz=[10.0], crfs=[30], workers=1, seed=7,
        )
    )  # fmt: skip
    rng = np.random.default_rng(0)
    for path in (folder / "clips" / "truth").glob("*.npz"):
        true = Track.load(path)
        seen = true.keypoints + np.array([0, 3, 0]) + rng.normal(0, [0.3, 0.3, 0], true.keypoints.shape)
        Track(np.clip(seen, -1e4, 1e4).astype(np.float32), true.fps_hz, true.size_px, "low").save(
            folder / "poses" / path.name
        )
    return folder


def settings(rendered, folder, **changes):
    cfg = load(Imitate)
    paths = dict(
        clips_dir=rendered / "clips", poses_dir=rendered / "poses", tracks_dir=folder / "tracks",
        noise=folder / "models" / "noise.npz", report=folder / "reports" / "detection.json",
    )  # fmt: skip
    return replace(cfg, **paths, subjects=2, tracks_per_subject=2, reps_min=1, reps_max=2, workers=1, **changes)


def arrays(cfg):
    return {p.name: Track.load(p).keypoints for p in cfg.tracks_dir.glob("*.npz")}


def test_tracks_have_the_detectors_errors_and_their_labels(rendered, tmp_path):
    cfg = settings(rendered, tmp_path)
    work(cfg)
    labels = read_labels(cfg.tracks_dir / "labels.csv")
    assert {label.clip for label in labels} == set(arrays(cfg)) and len(arrays(cfg)) == 4
    assert {label.subject for label in labels} == {"sim-0001", "sim-0002"} and {label.split for label in labels} == {""}
    with (cfg.tracks_dir / "truth.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(labels)
    report = json.loads(cfg.report.read_text())
    assert sum(row["clips"] for row in report["errors"]) == 3
    assert all(0.02 < row["hip"] < 0.5 and row["found"] == 1 for row in report["errors"])
    assert set(report["two_sample"]["auc"]) == {"forest", "logistic"}
    assert {(row["view"], row["plates"], row["fault"]) for row in report["lumbar"]} == {
        (view, plates, fault)
        for view in ("side", "oblique")
        for plates in (False, True)
        for fault in ("overarch", "tuck")
    }


def test_any_number_of_processes_gives_the_same_tracks(rendered, tmp_path):
    one, two = settings(rendered, tmp_path / "1"), replace(settings(rendered, tmp_path / "2"), workers=2)
    work(one)
    work(two)
    a, b = arrays(one), arrays(two)
    assert a.keys() == b.keys() and all(np.array_equal(a[k], b[k], equal_nan=True) for k in a)
    assert (one.tracks_dir / "labels.csv").read_bytes() == (two.tracks_dir / "labels.csv").read_bytes()


def test_noise_is_learnt_from_training_people_only(rendered, tmp_path):
    cfg = settings(rendered, tmp_path)
    clips = load_seen(cfg)
    assert sorted(c.split for c in clips) == ["test", "train", "validation"]
    assert len(error_table(clips)) >= 1
    work(cfg)
    with np.load(cfg.noise) as z:
        assert int(z["donors"]) == 1


def test_bad_settings_and_missing_clips_are_named(rendered, tmp_path):
    with pytest.raises(ConfigError, match="reps_min 3"):
        work(replace(settings(rendered, tmp_path), reps_min=3))
    with pytest.raises(LabelError, match="labels.csv.*run python -m src.simulate"):
        work(replace(settings(rendered, tmp_path), clips_dir=tmp_path / "none"))
