import csv
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from src.config import Simulate
from src.motion.camera import VIEWS, sample_camera, sample_view
from src.motion.faults import FAULT_KEYS, QUANTITIES
from src.motion.keypoints import HIP_THRUST, Track
from src.motion.kinematics import sample_performance
from src.motion.labels import COLUMNS, OPTIONAL, read_labels
from src.motion.person import sample_person
from src.simulate import COVERED, covered_shares, everybody, fill, label_rows, person_clips, work


def settings(folder, **changes):
    values = dict(
        clips_dir=folder / "clips", train_subjects=1, validation_subjects=0, test_subjects=0, proof_subjects=0,
        clips_per_subject=1, reps=[1], train_reps=[1], heights_px=[96], train_heights_px=[96], rates_hz=[5.0],
        train_rates_hz=[5.0], crfs=[30], workers=1, seed=7,
    )  # fmt: skip
    return Simulate(**(values | changes))


def digests(folder):
    return {p.relative_to(folder): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_clips_labels_and_truth(tmp_path):
    cfg = settings(tmp_path, validation_subjects=1, test_subjects=1, reps=[2], workers=2)
    work(cfg)
    labels, truth = rows(cfg.clips_dir / "labels.csv"), rows(cfg.clips_dir / "truth.csv")
    assert tuple(labels[0]) == (*COLUMNS, *OPTIONAL) and len(labels) == len(truth)
    assert {row["clip"] for row in labels} == {p.name for p in cfg.clips_dir.glob("*.mp4")}
    assert {row["subject"]: row["split"] for row in labels} == {
        "ren-train-0001": "train", "ren-validation-0001": "validation", "ren-test-0001": "test",
    }  # fmt: skip
    assert read_labels(cfg.clips_dir / "labels.csv")
    for row, true in zip(labels, truth, strict=True):
        track = Track.load(cfg.clips_dir / "truth" / f"{row['clip'][:-4]}.npz")
        assert row["source"] == "simulated" and row["rater"] == "truth" and set(QUANTITIES) <= set(true)
        times = [float(row["start_s"]), float(true["top_s"]), float(row["end_s"])]
        assert 0 <= times[0] < times[1] < times[2] <= track.seconds[-1] + 1 / track.fps_hz
        assert all(row[key] in ("0", "1", "") for key in FAULT_KEYS)
        assert row["view"] in VIEWS and row["side"] in ("left", "right")
    one = settings(tmp_path / "one", validation_subjects=1, test_subjects=1, reps=[2])
    work(one)
    assert digests(one.clips_dir) == digests(cfg.clips_dir)  # whatever the number of processes


def test_more_people_in_one_split_move_nobody_into_another():
    few = set(everybody(settings(Path(), train_subjects=2, validation_subjects=2, test_subjects=1)))
    many = set(everybody(settings(Path(), train_subjects=9, validation_subjects=4, test_subjects=3)))
    assert few < many and len({seed for _, seed in many}) == 16
    first = [sample_person(np.random.default_rng(seed)) for _, seed in sorted(few)]
    assert len({person.height_m for person in first}) == 5


def test_who_proves_claims_shows_the_back_and_is_in_no_other_split(tmp_path):
    cfg = settings(tmp_path, train_subjects=0, proof_subjects=3)
    work(cfg)
    for row, true in zip(rows(cfg.clips_dir / "labels.csv"), rows(cfg.clips_dir / "truth.csv"), strict=True):
        assert row["split"] == "proof" and row["subject"].startswith("ren-proof-")
        assert row["view"] == "side" and true["arms"] in ("chest", "bench")


def test_remaking_leaves_nothing_stale(tmp_path):
    cfg = settings(tmp_path)
    cfg.clips_dir.mkdir(parents=True)
    (cfg.clips_dir / "stale.mp4").write_bytes(b"")
    work(cfg)
    labels = rows(cfg.clips_dir / "labels.csv")
    assert [row["clip"] for row in labels] == ["ren-train-0001-01.mp4"] and labels[0]["subject"] == "ren-train-0001"
    true = Track.load(cfg.clips_dir / "truth" / "ren-train-0001-01.npz")
    assert true.detector == "truth" and true.fps_hz == 5.0
    assert not (cfg.clips_dir / "stale.mp4").exists()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    before = digests(cfg.clips_dir)
    work(cfg)
    assert digests(cfg.clips_dir) == before


def test_a_run_that_was_stopped_goes_on_and_ends_as_if_it_never_stopped(tmp_path, monkeypatch, capsys):
    cfg = settings(tmp_path, train_subjects=3)
    made = []

    def job(cfg, folder, number):
        made.append(number)
        if made == [1, 2]:
            (folder / "ren-train-0002-01.mp4").write_bytes(b"half a clip")
            raise KeyboardInterrupt
        return person_clips(cfg, folder, number)

    monkeypatch.setattr("src.simulate.person_clips", job)
    with pytest.raises(KeyboardInterrupt):
        work(cfg)
    assert not cfg.clips_dir.exists()
    work(cfg)
    assert made == [1, 2, 2, 3] and "1 of 3 people are there" in capsys.readouterr().out
    stopped = digests(cfg.clips_dir)
    work(settings(tmp_path / "whole", train_subjects=3))
    assert stopped == digests(tmp_path / "whole" / "clips")


def test_another_run_takes_nothing_over(tmp_path):
    part = tmp_path / ".out.part"
    for stamp, known in (("a", False), ("a", True), ("b", False), ("", False), ("", False)):
        made = []

        def job(folder, number, made=made):
            made.append(number)
            if number == 2:
                raise KeyboardInterrupt
            return [{"clip": "c"}], [{"clip": "c"}]

        with pytest.raises(KeyboardInterrupt):
            fill(tmp_path / "out", job, 2, 1, "people", stamp)
        assert made == ([2] if known else [1, 2]) and (part / ".done" / "1.json").is_file()


def test_views_come_in_their_shares():
    drawn = [sample_view(np.random.default_rng(s)) for s in range(600)]
    for view, (share, _, _) in VIEWS.items():
        assert abs(drawn.count(view) / 600 - share) < 0.06


def test_faults_behind_plates_are_hidden_not_absent():
    hidden, seen = dict.fromkeys(FAULT_KEYS, 0), dict.fromkeys(FAULT_KEYS, 0)
    for seed in range(60):
        rng = np.random.default_rng(seed)
        perf = sample_performance(sample_person(rng), 1, 10.0, rng)
        camera = sample_camera(perf.joints[:, :21], 10.0, (640, 360), "side", rng)
        (shares,), (row,) = covered_shares(perf, camera), label_rows(perf, camera, "c", "p")
        assert perf.setup.load != "none" or max(shares.values()) == 0
        assert row["hidden"].split() == [key for key in FAULT_KEYS if shares[key] > COVERED]
        for key in FAULT_KEYS:
            known = shares[key] <= COVERED and np.isfinite(label := perf.reps[0].labels[key])
            assert row[key] == (label if known else "")
            (seen if shares[key] <= COVERED else hidden)[key] += 1
    assert min(seen.values()) >= 25 and min(hidden["tuck"], hidden["partial_range"]) >= 5
    assert hidden["tuck"] >= hidden["partial_range"] > hidden["feet_too_far"]  # the bar lies on the hips


@pytest.mark.parametrize(("behind", "keys"), [
    (("left_hip",), ["overarch", "tuck", "partial_range"]), (("right_hip", "right_knee", "right_ankle"), []),
    (("left_knee",), ["feet_too_far"]), (("left_ankle",), ["feet_too_far"]),
    (("back_55", "back_70", "front_75"), ["overarch", "tuck"]), (("back_55", "back_70"), []),
])  # fmt: skip
def test_what_hides_a_fault(monkeypatch, behind, keys):
    rng = np.random.default_rng(0)
    perf = sample_performance(sample_person(rng), 1, 10.0, rng)
    camera = replace(sample_camera(perf.joints[:, :21], 10.0, (640, 360), "side", rng), side="left")
    covered = np.tile([name in behind for name in HIP_THRUST.points], (len(perf.joints), 1))
    monkeypatch.setattr("src.simulate.behind_plate", lambda perf, camera, points: covered)
    assert label_rows(perf, camera, "c", "p")[0]["hidden"].split() == keys
