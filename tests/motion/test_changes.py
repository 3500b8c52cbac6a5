import numpy as np
import pytest
from conftest import TRUNK_M, thrust, tops

from src.motion.changes import (
    CHANGES,
    FOCAL,
    MIRROR,
    at_tempo,
    dropped,
    halved,
    jitter_px,
    noisier,
    spells,
    swapped,
    tilted,
    wandering,
)
from src.motion.keypoints import HIP_THRUST
from src.motion.reps import find_reps


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_a_changed_set_is_the_same_set(change):
    track = thrust(3, 30.0, noise_px=0.5)
    before = track.keypoints.copy()
    reps = find_reps(change.apply(track, rng()))
    assert [rep.top_s for rep in reps] == pytest.approx(change.tempo * tops(3), abs=0.2)
    np.testing.assert_array_equal(track.keypoints, before)  # the original is left alone


def test_half_the_rate_keeps_the_time():
    track = thrust(1, 30.0)
    half = halved(track, rng())
    assert half.fps_hz == 15.0 and len(half.keypoints) == (len(track.keypoints) + 1) // 2


@pytest.mark.parametrize("noise_px", [0.5, 3.0])
def test_jitter_is_measured_and_doubled(noise_px):
    track = thrust(6, 60.0, noise_px=noise_px)
    assert np.median(jitter_px(track.keypoints)) == pytest.approx(noise_px, rel=0.1)
    assert np.median(jitter_px(noisier(track, rng(1)).keypoints)) == pytest.approx(2 * noise_px, rel=0.1)


def test_a_point_that_is_never_seen_has_no_jitter():
    track = thrust(1)
    track.keypoints[:, 3] = (np.nan, np.nan, 0.0)
    assert (jitter_px(track.keypoints)[3] == 0).all() and np.isnan(noisier(track, rng()).keypoints[:, 3, :2]).all()


def test_wandering_has_its_size_and_memory():
    track = thrust(20, 30.0)
    error = (wandering(track, rng(1)).keypoints - track.keypoints)[..., :2] / (420 * TRUNK_M)
    assert error.std() == pytest.approx(0.03, rel=0.15)
    lag = 15  # frames in half a second
    assert (error[lag:] * error[:-lag]).mean() / error.var() == pytest.approx(np.exp(-1), abs=0.1)


@pytest.mark.parametrize(("share", "fps_hz"), [(0.05, 30.0), (0.2, 15.0), (0.5, 60.0)])
def test_spells_cover_their_share_and_last(share, fps_hz):
    on = spells(4000, 8, share, fps_hz, rng())
    assert on.mean() == pytest.approx(share, rel=0.2)
    starts = (~on[:-1] & on[1:]).sum()
    assert on.sum() / starts == pytest.approx(0.3 * fps_hz, rel=0.25)


def test_gaps_and_swaps_do_what_they_say():
    track = thrust(6, 30.0, occlusion=0.0)
    assert np.isnan(dropped(track, rng()).keypoints[..., 0]).mean() == pytest.approx(0.2, abs=0.03)
    other = swapped(track, rng()).keypoints
    left, right = HIP_THRUST.index("left_hip"), HIP_THRUST.index("right_hip")
    moved = (other[:, left] != track.keypoints[:, left]).any(axis=1)
    assert 0.05 < moved.mean() < 0.4
    np.testing.assert_array_equal(other[moved, left], track.keypoints[moved, right])
    np.testing.assert_array_equal(other[~moved], track.keypoints[~moved])


def test_a_tilted_camera_sees_the_centre_shift_by_its_angle_and_comes_back():
    track = thrust(1)
    width, height = track.size_px
    track.keypoints[:, 0, :2] = ((width - 1) / 2, (height - 1) / 2)
    up = tilted(track, 10.0)
    assert up.keypoints[0, 0, 1] - (height - 1) / 2 == pytest.approx(FOCAL * width * np.tan(np.radians(10.0)), rel=1e-4)
    np.testing.assert_allclose(tilted(up, -10.0).keypoints, track.keypoints, atol=0.05)


def test_tempo_changes_nothing_but_time():
    track = thrust(1, 30.0)
    slow = at_tempo(track, 1.25)
    assert slow.fps_hz == 24.0 and slow.keypoints is track.keypoints
    assert MIRROR in CHANGES and len({change.name for change in CHANGES}) == len(CHANGES)
