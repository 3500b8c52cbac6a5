from dataclasses import astuple, replace

import numpy as np
import pytest
from conftest import HOLD_S, thrust
from hypothesis import given, settings
from hypothesis import strategies as st

from src.motion.faults import FAULT_KEYS, FAULTS
from src.motion.keypoints import HIP_THRUST, Track, mirror
from src.motion.measure import MEASURED, measure, measure_all, rule_score, rule_scores, view_of
from src.motion.reps import Rep, find_reps


def measured(track):
    return measure_all(track, find_reps(track))


@settings(max_examples=25)
@given(
    top_deg=st.floats(150.0, 195.0),
    shin_deg=st.floats(-8.0, 25.0),
    facing=st.sampled_from([-1, 1]),
    fps_hz=st.sampled_from([15.0, 30.0, 60.0]),
)
def test_angles_are_the_true_ones(top_deg, shin_deg, facing, fps_hz):
    for m in measured(thrust(2, fps_hz, top_deg, facing, shin_deg=shin_deg)):
        pitch = (top_deg - 180.0) / 2
        assert m.hip_top_deg == pytest.approx(top_deg, abs=1.0)
        assert m.shin_top_deg == pytest.approx(shin_deg, abs=1.0)
        assert m.knee_top_deg == pytest.approx(90.0 + pitch + shin_deg, abs=1.0)
        assert m.trunk_top_deg == pytest.approx(pitch, abs=1.0)
        assert m.hip_bottom_deg < m.hip_top_deg - 20 and m.rise_ratio == pytest.approx(1.0, abs=0.01)
        assert 0.5 < m.rise_s < 1.1 and HOLD_S - 0.1 < m.hold_s < HOLD_S + 0.5 and 0.5 < m.fall_s < 1.1


def test_a_floor_bridge_is_straight_too_and_its_feet_are_near():
    for m in measured(thrust(2, bench=False)):
        assert m.hip_top_deg == pytest.approx(180.0, abs=1.0) and m.trunk_top_deg == pytest.approx(15.0, abs=1.0)
        assert m.shin_top_deg == pytest.approx(0.0, abs=1.0)


@settings(max_examples=15)
@given(seed=st.integers(0, 99), facing=st.sampled_from([-1, 1]))
def test_a_mirrored_clip_measures_the_same(seed, facing):
    track = thrust(2, top_deg=172.0, facing=facing, noise_px=2.0, seed=seed)
    for a, b in zip(measured(track), measured(mirror(track)), strict=True):
        np.testing.assert_allclose(astuple(a), astuple(b), atol=0.05)


@settings(max_examples=15)
@given(size=st.floats(0.25, 4.0), dx=st.floats(-500, 500))
def test_size_and_place_change_nothing(size, dx):
    track = thrust(2)
    moved = track.keypoints.copy()
    moved[..., :2] = moved[..., :2] * size + dx
    for a, b in zip(measured(track), measured(replace(track, keypoints=moved)), strict=True):
        np.testing.assert_allclose(astuple(a), astuple(b), atol=0.1)


def test_noise_moves_the_lockout_by_a_few_degrees_at_most():
    for m in measured(thrust(4, noise_px=4.0)):
        assert m.hip_top_deg == pytest.approx(180.0, abs=4.0)


def test_a_shallow_rep_is_measured_against_the_best():
    deep, shallow = thrust(1, drop_deg=35.0), thrust(1, drop_deg=35.0, top_deg=156.0)
    joined = replace(deep, keypoints=np.concatenate([deep.keypoints, shallow.keypoints, deep.keypoints]))
    ratios = [m.rise_ratio for m in measured(joined)]
    assert max(ratios) == 1.0 and np.argmin(ratios) == 1 and ratios[1] < 0.9


def test_a_rep_that_is_cut_off_has_no_fall():
    track = thrust(1)
    rep = find_reps(track)[0]
    assert np.isnan(measure(track, replace(rep, complete=False)).fall_s)
    assert np.isnan(measure(track, rep).rise_ratio)


def test_views():
    assert [view_of(measured(thrust(1, width_m=w))[0].width) for w in (0.05, 0.23, 0.6)] == [
        "side",
        "oblique",
        "frontal",
    ]


def rules(**kwargs):
    return dict(zip(FAULT_KEYS, rule_scores(FAULTS, measured(thrust(1, **kwargs)))[0], strict=True))


def test_rules_say_what_the_angles_say():
    def present(**kwargs):
        return {key for key, score in rules(**kwargs).items() if score >= 1.0}

    assert present() == set()
    assert present(top_deg=194.0) == {"overarch"} and present(top_deg=156.0) == {"partial_range"}
    assert present(shin_deg=22.0) == {"feet_too_far"}
    assert rules(top_deg=188.0)["overarch"] == pytest.approx(0.5, abs=0.3)


def test_a_rule_without_a_measure_scores_nothing():
    m = measured(thrust(1))[0]
    tuck = FAULTS[FAULT_KEYS.index("tuck")]
    assert not any(cue.quantity in MEASURED for cue in tuck.cues) and np.isnan(rule_score(tuck, m))
    nothing = type(m)(*[float("nan")] * len(astuple(m)))
    assert all(np.isnan(rule_score(fault, nothing)) for fault in FAULTS)


@settings(max_examples=20)
@given(seed=st.integers(0, 9999), missing=st.floats(0.0, 1.0))
def test_random_points_never_crash(seed, missing):
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(0, 720, (60, len(HIP_THRUST), 3)).astype(np.float32)
    keypoints[..., 2] = rng.random(keypoints.shape[:2])
    keypoints[rng.random(keypoints.shape[:2]) < missing] = (np.nan, np.nan, 0.0)
    track = Track(keypoints, 30.0, (1280, 720), "test")
    for m in measure_all(track, [Rep(0.1, 0.5, 0.9, True), Rep(0.9, 1.2, 1.9, False)]):
        assert all(isinstance(value, float) for value in astuple(m))


def test_an_angle_of_an_unseen_joint_is_missing_and_not_a_number():
    track = thrust(3)
    keypoints = track.keypoints.copy()
    second = (track.seconds > 3.6) & (track.seconds < 6.6)
    for side in ("left", "right"):
        for part in ("ankle", "heel", "toe"):
            keypoints[second, HIP_THRUST.index(f"{side}_{part}")] = (np.nan, np.nan, 0.0)
    first, hidden, last = measured(replace(track, keypoints=keypoints))
    assert np.isnan(hidden.shin_top_deg) and np.isnan(hidden.knee_top_deg) and np.isnan(hidden.lean_top_deg)
    assert hidden.hip_top_deg == pytest.approx(180.0, abs=1.0) or np.isnan(hidden.hip_top_deg)
    assert first.shin_top_deg == pytest.approx(last.shin_top_deg, abs=1.0)
