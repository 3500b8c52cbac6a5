import numpy as np
import pytest
from conftest import FACTS, random_core, thrust, write_people

from src.motion.dataset import collate, item, load_samples
from src.motion.labels import Label
from src.report.judged import MODEL, Checkpoint, clip_label, judge_clips, judged_reps

NAN = float("nan")


def rep(*faults, start=0.0):
    return Label("a.mp4", "p", start, start + 1.0, faults, "side")


def test_a_clip_has_what_two_of_its_reps_have():
    labels = [rep(1, 1, 0, NAN), rep(1, 0, 0, 1, start=2), rep(0, 0, NAN, NAN, start=4)]
    np.testing.assert_equal(clip_label(labels), [1.0, 0.0, 0.0, NAN])


def test_a_clip_of_one_rep_has_what_that_rep_has():
    np.testing.assert_equal(clip_label([rep(1, 0, NAN, 1)]), [1.0, 0.0, NAN, 1.0])


def test_what_a_view_hides_stays_unknown():
    oblique = Label("a.mp4", "p", None, None, (1.0, 1.0, 1.0, 0.0), "oblique")
    np.testing.assert_equal(clip_label([oblique]), [NAN, NAN, 1.0, 0.0])


@pytest.fixture
def judged(tmp_path):
    write_people(tmp_path / "gym", 3)
    samples, _ = load_samples(tmp_path)
    verdicts = judge_clips(
        Checkpoint(random_core(), FACTS), tmp_path, [("gym", f"p{i}_{c}.mp4") for i in range(3) for c in (0, 1)]
    )
    return samples, verdicts


def test_reps_are_scored_as_the_core_scores_them(judged):
    samples, verdicts = judged
    b = collate([item(s) for s in samples])
    expected = random_core()(b.keypoints, b.fps_hz, b.frames, b.rise_ratio).probabilities
    rows = judged_reps(samples, verdicts, [None] * len(samples))
    np.testing.assert_allclose(rows.scores[MODEL], expected.numpy(), atol=1e-5)
    seen = np.isfinite(rows.decisions)
    assert seen.any() and set(rows.decisions[seen]) <= {0.0, 1.0}
    assert (rows.scores[MODEL][rows.decisions == 1] >= 0.6).all() and (
        rows.scores[MODEL][rows.decisions == 0] < 0.4
    ).all()


def test_a_refused_clip_claims_nothing(judged):
    samples, verdicts = judged
    verdicts = {key: verdict for key, verdict in verdicts.items() if key[1] != "p0_0.mp4"}
    rows = judged_reps(samples, verdicts, [None] * len(samples))
    gone = np.array([s.clip == "p0_0.mp4" for s in samples])
    assert gone.any() and (rows.scores[MODEL][gone] == 0).all() and np.isnan(rows.decisions[gone]).all()
    assert (rows.scores[MODEL][~gone] > 0).all()


def test_a_clip_without_a_track_has_no_verdict(tmp_path):
    thrust(1, 20.0).save(tmp_path / "gym" / "a.npz")
    clips = [("gym", "a.mp4"), ("gym", "b.mp4")]
    assert list(judge_clips(Checkpoint(random_core(), FACTS), tmp_path, clips)) == clips[:1]


def test_bands_decide_as_the_core_does(judged):
    samples, verdicts = judged
    rows = judged_reps(samples, verdicts, [None] * len(samples))
    np.testing.assert_equal(rows.decided([FACTS["thresholds"][key] for key in rows.labels]).decisions, rows.decisions)
