"""Five real clips that lie beside the checkout, never in it. What can be said by eye stands here; see their README."""

from pathlib import Path

import pytest
import torch

from src.config import Detect, load
from src.detect import make_detector, track_clip
from src.motion.reps import find_reps
from src.motion.verdict import STATUSES, Scorer, judge_track

ROOT = Path(__file__).resolve().parents[1]
CLIPS = ROOT.parent / "shared/clips"
REPS = {"bridge_side": 3, "bridge_outdoor": 3, "thrust_front_oblique_heavy": 6, "thrust_side_plates": 2}
NAMES = [*REPS, "thrust_side_occluded"]

pytestmark = pytest.mark.skipif(
    not CLIPS.is_dir(), reason=f"no real clips at {CLIPS}: they may not be published, CI has them"
)


@pytest.fixture(scope="module")
def tracks():
    """Each clip through the detector once, when it is first asked for."""
    cfg = load(Detect, "detect.device=cpu", f"detect.weights={ROOT / 'data/weights'}")
    detector, done = make_detector(cfg), {}

    def track(name):
        if name not in done:
            done[name] = track_clip(CLIPS / f"{name}.mp4", detector, cfg)
        return done[name]

    return track


@pytest.fixture(scope="module")
def verdicts(tracks):
    """Verdicts of the core that is in the repository."""
    scorer = Scorer(ROOT / "data/models/core.pt", torch.device("cpu"))
    return lambda name: judge_track(f"{name}.mp4", tracks(name), scorer)


@pytest.mark.parametrize("name", REPS)
def test_reps_are_counted_exactly(tracks, name):
    assert len(find_reps(tracks(name))) == REPS[name]


@pytest.mark.parametrize("name", NAMES)
def test_no_clip_crashes(verdicts, name):
    verdict = verdicts(name)
    assert verdict.status in STATUSES and verdict.status not in ("unreadable", "no_person")
    assert len(verdict.reps) == REPS.get(name, len(verdict.reps))


def test_hidden_hips_are_low_confidence(verdicts):
    verdict = verdicts("thrust_side_occluded")
    assert verdict.status == "low_confidence"
    assert not any(decision is not None for rep in verdict.reps for decision in rep.decisions.values())


def test_plates_that_pull_the_hip_make_no_partial_range(verdicts):
    verdict = verdicts("thrust_side_plates")
    assert verdict.decisions["partial_range"] != 1
    assert not any(rep.decisions["partial_range"] == 1 for rep in verdict.reps)


@pytest.mark.parametrize("name", ["bridge_side", "bridge_outdoor"])
def test_clean_bridges_are_accused_of_nothing(verdicts, name):
    verdict = verdicts(name)
    assert verdict.view in ("side", "oblique") and all(decision != 1 for decision in verdict.decisions.values())
