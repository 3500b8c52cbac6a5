import json
from dataclasses import replace

import numpy as np
import pytest

from src import trace
from src.config import Simulate, Trace, load
from src.motion.camera import sample_camera, true_track
from src.motion.faults import FAULTS
from src.motion.kinematics import sample_performance
from src.motion.labels import LabelError
from src.motion.person import sample_person
from src.simulate import everybody
from src.video.lumbar import Lumbar

PLACES = 55


def look(person, rng, arch):
    """A clip of one rep whose first feature shows the offset, under another constant for everybody; the rest is noise."""
    seconds = np.arange(0.0, 3.0, 0.1)
    offset = rng.normal(0.0, 0.05) + arch * np.exp(-((seconds - 1.5) ** 2) / 0.1)
    around = rng.normal(0.0, 1.0, (len(seconds), PLACES, 2))
    around[:, 0, 0] = 20 * offset + rng.normal(0.0, 1.0)
    row = {
        "clip": f"{person}.mp4",
        "subject": f"p{person}",
        "load": ("none", "barbell")[person % 2],
        "lumbar_top": str(arch),
    }
    times = {"start_s": "0.3", "top_s": "1.5", "end_s": "2.7"}
    return trace.Look(around.astype(np.float16), seconds, offset, [row | times])


def settings(tmp_path):
    cfg = load(Trace)
    return replace(cfg, weights=tmp_path / "lumbar.npz", report=tmp_path / "spine.json", strength=1.0)


def test_it_learns_what_moves_within_clips_and_reports_on_people_left_out(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(3)
    monkeypatch.setattr(trace, "looks", lambda cfg: (look(i, rng, (-0.05, 0.0, 0.06)[i % 3]) for i in range(60)))
    trace.work(settings(tmp_path))
    report, lumbar = json.loads((tmp_path / "spine.json").read_text()), Lumbar.load(tmp_path / "lumbar.npz")
    assert report["people"] == 60 and report["correlation_within_clips"] > 0.8
    assert lumbar.weights.shape == (PLACES, 2) and np.abs(lumbar.weights).argmax() == 0
    assert [(row["fault"], row["load"]) for row in report["lockout_less_half_of_ends"]] == [
        (key, load_) for key in ("overarch", "tuck") for load_ in ("none or dumbbell", "barbell")
    ]
    assert all(row["auc"] > 0.8 for row in report["lockout_less_half_of_ends"])
    assert "of left-out ones the offset correlates by" in capsys.readouterr().out


def test_noise_teaches_nothing_to_people_left_out(tmp_path, monkeypatch):
    rng = np.random.default_rng(4)

    def blind(i):
        seen = look(i, rng, (-0.05, 0.0, 0.06)[i % 3])
        return replace(seen, around=rng.normal(0.0, 1.0, seen.around.shape).astype(np.float16))

    monkeypatch.setattr(trace, "looks", lambda cfg: (blind(i) for i in range(60)))
    trace.work(settings(tmp_path))
    report = json.loads((tmp_path / "spine.json").read_text())
    assert abs(report["correlation_within_clips"]) < 0.2
    assert all(0.2 < row["auc"] < 0.8 for row in report["lockout_less_half_of_ends"])


def test_too_few_people_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(trace, "looks", lambda cfg: (look(i, np.random.default_rng(i), 0.0) for i in range(5)))
    with pytest.raises(LabelError, match="5 people seen from the side, need 6"):
        trace.work(settings(tmp_path))
    assert not (tmp_path / "lumbar.npz").exists()


@pytest.mark.parametrize("seed", range(4))
def test_the_true_offset_is_that_of_the_body_by_which_faults_are_judged(seed, tmp_path):
    rng = np.random.default_rng(seed)
    perf = sample_performance(sample_person(rng), 2, 30.0, rng)
    camera = sample_camera(perf.joints[:, :21], 30.0, (640, 360), "side", rng)
    true_track(perf, camera).save(tmp_path / "true.npz", lumbar=perf.lumbar)
    for rep in perf.reps:
        near = rep.top_s + np.arange(-3, 4) / 30
        judged_by = trace.offsets(tmp_path / "true.npz", near).mean() - perf.neutral_lumbar
        assert abs(judged_by - rep.quantities["lumbar_top"]) < 1e-6


def test_a_true_track_without_the_spine_is_named(tmp_path):
    rng = np.random.default_rng(1)
    perf = sample_performance(sample_person(rng), 1, 10.0, rng)
    true_track(perf, sample_camera(perf.joints[:, :21], 10.0, (640, 360), "side", rng)).save(tmp_path / "old.npz")
    with pytest.raises(LabelError, match="old.npz: no true offsets of the spine; run python -m src.simulate"):
        trace.offsets(tmp_path / "old.npz", np.zeros(1))


def test_frames_are_looked_at_around_the_reps_and_their_lockouts():
    rows = [{"start_s": "1.0", "top_s": "2.0", "end_s": "3.0"}, {"start_s": "3.5", "top_s": "4.5", "end_s": "5.0"}]
    frames = trace.wanted(rows, 30.0)
    assert frames == sorted(set(frames)) and frames[0] == 21 and frames[-1] <= 159
    assert {57, 60, 63, 132, 135, 138} <= set(frames)


def test_a_rendered_lifter_is_looked_at_once(lifter, tmp_path, monkeypatch):
    cfg = replace(load(Trace), clips_dir=tmp_path, features_dir=tmp_path / "features")
    (tmp_path / "lifter.mp4").symlink_to(lifter)
    rng = np.random.default_rng(11)
    perf = sample_performance(sample_person(rng), 2, 10.0, rng)
    true_track(perf, sample_camera(perf.joints[:, :21], 10.0, (256, 144), "side", rng)).save(
        tmp_path / "truth/lifter.npz", lumbar=perf.lumbar
    )
    lines = [",".join(trace.TABLE)]
    lines += [
        f"lifter.mp4,p1,side,none,{rep.start_s},{rep.top_s},{rep.end_s},{rep.quantities['lumbar_top']}"
        for rep in perf.reps
    ]
    (tmp_path / "truth.csv").write_text("\n".join(lines) + "\n")
    (first,) = trace.looks(cfg)
    assert first.around.shape == (len(first.seconds), PLACES, 48) and len(first.offset) == len(first.seconds) > 10
    monkeypatch.setattr(trace.lifter, "follow", lambda *_: pytest.fail("the features of this clip were there"))
    (again,) = trace.looks(cfg)
    assert np.array_equal(first.around, again.around) and len(first.rows) == 2


def test_who_teaches_the_spine_is_nobody_else():
    default, proof, spine = (
        everybody(load(Simulate, *more)) for more in ((), ("experiment=proof",), ("experiment=spine",))
    )
    seeds = [{seed for _, seed in people} for people in (default, proof, spine)]
    assert all(len(a) and not a & b for i, a in enumerate(seeds) for b in seeds[i + 1 :])
    full = {seed for _, seed in everybody(load(Simulate, "experiment=full"))}
    assert not full & seeds[2]


def test_every_lumbar_cue_is_judged():
    assert {row["fault"] for row in trace.judged([])} == {
        f.key for f in FAULTS if any(c.quantity == "lumbar_top" for c in f.cues)
    }
