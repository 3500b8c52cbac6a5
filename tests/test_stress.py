import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import FACTS, random_core, thrust, write_labels, write_report

from src import stress
from src.config import Stress, load
from src.motion.faults import FAULT_KEYS
from src.motion.keypoints import Track
from src.motion.labels import LabelError
from src.motion.model import ModelError, save_model
from src.report.costs import Scores
from src.stress import MirrorError, clips_of, hold_mirror, some, work

PEOPLE = {"train": ["t0"], "validation": ["t1"], "test": ["p0", "p1", "p2"]}


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Tracks and stand-ins for clips of four people, a random model, thresholds; the detector and the encoder are fakes."""
    rows = []
    for person in ("p0", "p1", "p2", "t0"):
        for clip in (0, 1):
            track = thrust(2, 20.0, noise_px=1.0, shin_deg=20.0 * clip, seed=clip)
            track.save(tmp_path / "poses" / "gym" / f"{person}_{clip}.npz")
            for start in (0.8, 3.8):
                row = {
                    "clip": f"{person}_{clip}.mp4",
                    "subject": person,
                    "start_s": start,
                    "end_s": start + 2.7,
                    "view": "side",
                }
                rows.append(row | dict.fromkeys(FAULT_KEYS, "0") | {"feet_too_far": str(clip)})
    write_labels(tmp_path / "poses" / "gym", rows)
    save_model(
        tmp_path / "models" / "model.pt", random_core(), {"channels": 8, "blocks": 3}, FACTS | {"people": PEOPLE}
    )
    faults = {key: {"threshold": 0.5} for key in FAULT_KEYS}
    folders = {"empty": {"faults": {}}, "gym": {"faults": faults}}
    report = write_report(tmp_path / "evaluate.json", tmp_path / "models" / "model.pt", folders=folders)
    cfg = load(Stress)
    detect = replace(cfg.detect, poses_dir=tmp_path / "poses", clips_dir=tmp_path / "clips")
    monkeypatch.setattr(stress, "recode", lambda source, target, crf, scale: target.write_text(source.stem))
    monkeypatch.setattr(stress, "make_detector", lambda cfg: None)
    found = tmp_path / "poses" / "gym"

    def tracked(path, *_):
        return Track.load(found / f"{path.read_text() if path.exists() else path.stem}.npz")

    monkeypatch.setattr(stress, "track_clip", tracked)
    return replace(
        cfg, models_dir=tmp_path / "models", reports_dir=tmp_path / "reports", report=report, folder="gym", clips=3,
        bootstrap=10, detect=detect,
    )  # fmt: skip


def test_every_change_is_paired_and_reported(settings):
    work(settings)
    report = json.loads((settings.reports_dir / "stress.json").read_text())
    changes = report["changes"]
    assert len(changes) == len(stress.CHANGES) + len(stress.RECODINGS) + 1 and report["mirror_difference"] <= 1e-3
    assert report["mirrored_pictures"] == 0.0  # the fakes see no picture
    for name, cost in changes.items():
        limited = name in (*stress.RECODINGS, stress.MIRRORED)
        assert (cost["clips"], cost["people"], cost["reps"]) == ((3, 3, 6) if limited else (6, 3, 12)), name
        if limited or name == "mirrored":  # the fakes give the same tracks back
            for metric in ("f1", "average_precision"):
                assert cost[metric]["difference"] is None or abs(cost[metric]["difference"]) < 1e-9
    table = (settings.reports_dir / "stress.md").read_text()
    assert table.count("\n| ") == len(changes) + 2 and "nan" not in table
    assert (settings.reports_dir / "stress.png").stat().st_size > 0


def test_the_same_seed_gives_the_same_report(settings):
    reports = []
    for _ in range(2):
        work(settings)
        reports.append((settings.reports_dir / "stress.json").read_bytes())
    assert reports[0] == reports[1]


def test_only_test_people_and_everybody_once_before_anybody_twice(settings):
    clips = clips_of(settings, PEOPLE["test"])
    assert {labels[0].subject for labels in clips.values()} == set(PEOPLE["test"])
    assert list(some(clips, 4)) == ["p0_0.mp4", "p1_0.mp4", "p2_0.mp4", "p0_1.mp4"]
    with pytest.raises(LabelError, match="no timed rep of a test person"):
        clips_of(settings, ["somebody else"])


def test_thresholds_come_from_evaluate(settings):
    assert stress.thresholds(settings).tolist() == [0.5] * 4
    settings.report.unlink()
    with pytest.raises(ModelError, match=r"evaluate\.json.*src\.evaluate"):
        stress.thresholds(settings)


def test_the_detector_is_shown_mirrored_pictures():
    pictures = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    shown = stress.flipped(lambda frames, *clip: [*frames, clip])([(pictures, [0.0, 0.1])], 30.0, (4, 3))
    assert (
        np.array_equal(shown[0][0][:, :, 0], pictures[:, :, 3])
        and shown[0][1] == [0.0, 0.1]
        and shown[1] == (30.0, (4, 3))
    )


def test_a_mirror_that_changes_a_verdict_fails_the_stage():
    before, found = np.array([[0.2, 0.4]]), np.ones(1, dtype=bool)
    assert hold_mirror(Scores(before, found), Scores(before + 1e-4, found), 1e-3) == pytest.approx(1e-4)
    for after in (before + 0.01, before * np.nan):
        with pytest.raises(MirrorError, match="allowed 1e-03"):
            hold_mirror(Scores(before, found), Scores(after, found), 1e-3)
