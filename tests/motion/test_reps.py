from dataclasses import replace

import numpy as np
import pytest
from conftest import HOLD_S, LEAD_S, REP_S, RISE_S, thrust, tops
from hypothesis import given, settings
from hypothesis import strategies as st

from src.motion.camera import sample_camera, true_track
from src.motion.hips import hip_motion
from src.motion.keypoints import HIP_THRUST, Track, mirror
from src.motion.kinematics import sample_performance
from src.motion.person import sample_person
from src.motion.reps import find_reps, reps_in, rise_of, rise_ratios, turning_points, working_floor

HIPS, KNEES = ([HIP_THRUST.index(f"{side}_{part}") for side in ("left", "right")] for part in ("hip", "knee"))


def times(track):
    return np.array([(rep.start_s, rep.top_s, rep.end_s) for rep in find_reps(track)]).reshape(-1, 3)


@settings(max_examples=40)
@given(
    reps=st.integers(0, 6),
    fps_hz=st.sampled_from([12.0, 15.0, 24.0, 29.97, 60.0, 120.0]),
    top_deg=st.floats(150.0, 195.0),
    facing=st.sampled_from([-1, 1]),
    noise_px=st.floats(0.0, 4.0),
    shin_deg=st.floats(-5.0, 25.0),
    bench=st.booleans(),
    seed=st.integers(0, 99),
)
def test_counts_and_times_every_rep(reps, fps_hz, top_deg, facing, noise_px, shin_deg, bench, seed):
    track = thrust(reps, fps_hz, top_deg, facing, noise_px, shin_deg=shin_deg, bench=bench, seed=seed)
    found = find_reps(track)
    assert len(found) == reps
    for rep, top_s in zip(found, tops(reps), strict=True):
        assert abs(rep.top_s - top_s) < 0.2 and rep.complete
        assert (
            abs(rep.start_s - (top_s - HOLD_S / 2 - RISE_S)) < 0.35
            and abs(rep.end_s - (top_s + HOLD_S / 2 + RISE_S)) < 0.35
        )
    assert all(a.end_s <= b.start_s for a, b in zip(found, found[1:], strict=False))


@settings(max_examples=20)
@given(seed=st.integers(0, 999), facing=st.sampled_from([-1, 1]), occlusion=st.floats(0.0, 0.1))
def test_a_mirrored_clip_has_the_same_reps(seed, facing, occlusion):
    track = thrust(2, facing=facing, noise_px=2.0, occlusion=occlusion, seed=seed)
    np.testing.assert_allclose(times(mirror(track)), times(track), atol=1e-3)
    assert hip_motion(mirror(track)).confidence == pytest.approx(hip_motion(track).confidence, abs=1e-3)


@settings(max_examples=20)
@given(seed=st.integers(0, 999), fps_hz=st.sampled_from([30.0, 60.0]))
def test_half_the_frame_rate_finds_the_same_reps(seed, fps_hz):
    track = thrust(3, fps_hz, noise_px=1.0, seed=seed)
    half = replace(track, keypoints=track.keypoints[::2], fps_hz=fps_hz / 2)
    np.testing.assert_allclose(times(half), times(track), atol=0.15)


@settings(max_examples=20)
@given(size=st.floats(0.2, 4.0), dx=st.floats(-500, 500), dy=st.floats(-500, 500), walk=st.floats(-20, 20))
def test_size_place_and_a_moving_camera_change_nothing(size, dx, dy, walk):
    track = thrust(2, noise_px=0.5)
    moved = track.keypoints.copy()
    moved[..., :2] = moved[..., :2] * size + (dx, dy) + (walk * track.seconds[:, None, None])
    np.testing.assert_allclose(times(replace(track, keypoints=moved)), times(track), atol=0.02)


def test_a_rep_that_the_clip_cuts_off_counts_and_is_incomplete():
    track = thrust(3)
    last = round((LEAD_S + 2 * REP_S + RISE_S + HOLD_S) * 30)
    found = find_reps(replace(track, keypoints=track.keypoints[:last]))
    assert [rep.complete for rep in found] == [True, True, False]
    assert found[-1].end_s <= last / 30


@pytest.mark.parametrize("missing", [0.3, 0.4, 0.6])
def test_a_rep_without_all_of_its_rise_or_fall_is_incomplete_and_its_rise_unknown(missing):
    track = thrust(3)
    risen = round((LEAD_S + missing * RISE_S) * 30)
    found = find_reps(replace(track, keypoints=track.keypoints[risen:]))
    assert [rep.complete for rep in found][-2:] == [True, True] and not any(rep.complete for rep in found[:-2])
    assert np.isnan([rep.rise for rep in found[:-2]]).all() and min(rise_ratios(found)[-2:]) > 0.95
    fallen = round((LEAD_S + 2 * REP_S + 2 * RISE_S + HOLD_S - missing * RISE_S) * 30)
    found = find_reps(replace(track, keypoints=track.keypoints[:fallen]))
    assert [rep.complete for rep in found] == [True, True, False] and min(rise_ratios(found)) > 0.95


def test_long_sets_are_counted_exactly():
    exact = []
    for seed in range(40):
        rng = np.random.default_rng((12, seed))
        perf = sample_performance(sample_person(rng), 12, 15.0, rng)
        camera = sample_camera(perf.joints[:, :21], 15.0, (640, 360), "side", rng)
        exact.append(len(find_reps(true_track(perf, camera))) == 12)
    assert np.mean(exact) >= 0.95


@pytest.mark.parametrize("fps_hz", [10.0, 15.0, 30.0])
def test_lockouts_are_timed_to_a_part_of_a_frame(fps_hz):
    np.testing.assert_allclose(times(thrust(3, fps_hz=fps_hz))[:, 1], tops(), atol=0.02)


def test_sitting_up_and_fidgeting_are_no_reps():
    track = thrust(3)
    seconds = track.seconds
    for height_px, expected in ((30.0, 3), (-130.0, 3)):  # a fidget upwards; hips slumping to the floor and back
        keypoints = track.keypoints.copy()
        after = np.clip((seconds - LEAD_S - 3 * REP_S) / 0.8, 0.0, 1.0)
        keypoints[:, HIPS, 1] -= (height_px * np.sin(np.pi * after) ** 2)[:, None]
        assert len(find_reps(replace(track, keypoints=keypoints))) == expected


@pytest.mark.parametrize("pull", [0.5, 1.0, 2.0])
def test_plates_that_pull_the_knees_up_with_the_hips_hide_no_rep(pull):
    track = thrust(3, noise_px=1.0)
    keypoints = track.keypoints.copy()
    hip_y = keypoints[:, HIPS, 1].mean(axis=1)
    keypoints[:, KNEES, 1] += pull * (hip_y - hip_y.max())[:, None]
    found = times(replace(track, keypoints=keypoints))
    np.testing.assert_allclose(found[:, 1], tops(), atol=0.2)


def test_one_shallow_rep_among_deep_ones_still_counts():
    deep, shallow = thrust(1), thrust(1, top_deg=156.0)
    joined = np.concatenate([deep.keypoints, shallow.keypoints, deep.keypoints])
    assert len(find_reps(replace(deep, keypoints=joined))) == 3


def test_a_gap_of_seconds_claims_no_rep_inside_it():
    track = thrust(3)
    keypoints = track.keypoints.copy()
    gone = (track.seconds > LEAD_S + REP_S - 0.2) & (track.seconds < LEAD_S + 2 * REP_S)
    keypoints[gone] = (np.nan, np.nan, 0.0)
    found = find_reps(replace(track, keypoints=keypoints))
    assert not any(LEAD_S + REP_S + 0.5 < rep.top_s < LEAD_S + 2 * REP_S - 0.5 for rep in found)
    assert any(abs(rep.top_s - tops()[0]) < 0.2 for rep in found) and any(
        abs(rep.top_s - tops()[2]) < 0.2 for rep in found
    )


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 5, 40])
@pytest.mark.parametrize("content", ["nothing", "one place", "still", "one frame"])
def test_nothing_to_see_is_no_rep_and_no_crash(rows, content):
    still = np.broadcast_to(thrust(1).keypoints[:1], (rows, len(HIP_THRUST), 3)).copy()
    if content == "nothing":
        still[:] = (np.nan, np.nan, 0.0)
    elif content == "one place":
        still[:] = (100.0, 100.0, 1.0)
    elif content == "one frame":
        still[1:] = (np.nan, np.nan, 0.0)
    track = Track(still, 30.0, (640, 360), "test")
    assert find_reps(track) == [] and 0.0 <= hip_motion(track).confidence <= 1.0


@settings(max_examples=30)
@given(seed=st.integers(0, 9999), rows=st.integers(0, 200), missing=st.floats(0.0, 1.0))
def test_random_points_never_crash(seed, rows, missing):
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(0, 720, (rows, len(HIP_THRUST), 3)).astype(np.float32)
    keypoints[..., 2] = rng.random(keypoints.shape[:2])
    keypoints[rng.random(keypoints.shape[:2]) < missing] = (np.nan, np.nan, 0.0)
    track = Track(keypoints, 30.0, (1280, 720), "test")
    for rep in find_reps(track):
        assert 0.0 <= rep.start_s < rep.end_s <= rows / 30 and rep.start_s <= rep.top_s <= rep.end_s
    assert 0.0 <= hip_motion(track).confidence <= 1.0


def test_half_reps_before_a_full_one_are_known_as_half():
    """Two reps start high up, the last one from the floor: only that one has the set's full rise."""
    height = np.interp(np.arange(0, 6, 1 / 30), range(7), [-0.1, 0.0, -0.1, 0.0, -0.4, 0.0, -0.4])
    points = turning_points(height, 0.05)
    lows, tops = ([t for t, high in points if high is wanted] for wanted in (False, True))
    usual, deepest = working_floor(height, tops, lows)
    assert usual == pytest.approx(-0.25) and deepest == pytest.approx(-0.4)
    found = [rise_of(height, max(t for t in lows if t < top), top, deepest) for top in tops]
    assert found == pytest.approx([0.1, 0.1, 0.4], abs=0.01)


@pytest.mark.parametrize(
    ("moves", "counted"),
    [
        ([], 3),
        ([(0.3, 0.7, 0.25)], 3),  # a quick shove of a third of the range before the set
        ([(0.3, 0.8, 0.5)], 3),  # a quick, high one
        ([(11.6, 12.8, 0.3)], 3),  # one neither very low nor very quick, but both
        ([(12.8, 14.6, 0.2)], 3),  # a last rise, cut off low
        ([(12.8, 14.6, 0.35)], 3),  # a last rise, cut off below three quarters of the range
        ([(12.8, 14.6, 0.4)], 4),  # and one above it
        ([(4.6, 7.2, 0.2)], 3),  # a slow, low rep among the others counts: three instead of two full ones
    ],
)
def test_what_is_a_rep_beside_full_ones(moves, counted):
    seconds = np.arange(0, 14, 1 / 30)
    height = np.full(len(seconds), -0.5)
    full = [(1, 4, 0.5), (4.6, 7.2, 0.5), (8, 11, 0.5)]
    taken = {first for first, _, _ in moves}
    for first, last, rise in [*(rep for rep in full if rep[0] not in taken), *moves]:
        inside = np.clip((seconds - first) / (last - first), 0, 1)
        height += rise * np.sin(np.pi * inside) ** 2
    assert len(reps_in(height, height, 30.0, 0.0)) == counted
