from dataclasses import replace

import numpy as np
from conftest import thrust
from hypothesis import given, settings
from hypothesis import strategies as st

from src.motion.augment import augmented, refleshed
from src.motion.keypoints import HIP_THRUST, mirror


@settings(max_examples=25)
@given(seed=st.integers(0, 9999), fps_hz=st.sampled_from([8.0, 15.0, 30.0]))
def test_augmenting_changes_a_copy_and_keeps_the_time(seed, fps_hz):
    track = thrust(1, fps_hz, occlusion=0.1)
    before = track.keypoints.copy()
    keypoints, rate = augmented(track.keypoints, fps_hz, np.random.default_rng(seed))
    assert np.array_equal(track.keypoints, before, equal_nan=True) and keypoints.dtype == np.float32
    assert 0.85 * len(before) / fps_hz - 0.4 < len(keypoints) / rate <= len(before) / fps_hz + 1 / rate
    nothing = np.isnan(keypoints[..., 0])
    assert (keypoints[nothing][:, 2] == 0).all() and not nothing.all()


def test_other_flesh_moves_the_outline_and_nothing_else():
    track = thrust(1)
    moved = [refleshed(track.keypoints, np.random.default_rng(seed)) - track.keypoints for seed in range(40)]
    trunk_px = np.linalg.norm(track.keypoints[0, 11, :2] - track.keypoints[0, 5, :2])
    assert all((change[:, :21] == 0).all() and (change[..., 2] == 0).all() for change in moved)
    sizes = np.array([np.abs(change[:, 21:, :2]).max() / trunk_px for change in moved])
    assert 0.01 < sizes.min() and sizes.max() < 0.25 and sizes.std() > 0.01


@given(seed=st.integers(0, 9999), gone=st.sampled_from([21, 23, 26, 30]))
def test_flesh_is_the_same_in_the_mirror_whatever_part_of_the_outline_is_hidden(seed, gone):
    track = thrust(1)
    track.keypoints[::3, gone] = (np.nan, np.nan, 0.0)
    here, there = (refleshed(t.keypoints, np.random.default_rng(seed)) for t in (track, mirror(track)))
    np.testing.assert_allclose(mirror(replace(track, keypoints=here)).keypoints, there, atol=0.01)


def test_flesh_does_not_jump_where_a_hip_is_lost():
    track, lost = thrust(1), thrust(1)
    hips = [HIP_THRUST.index(f"{side}_hip") for side in ("left", "right")]
    lost.keypoints[40:44, hips] = (np.nan, np.nan, 0.0)
    plain, moved = (refleshed(t.keypoints, np.random.default_rng(3)) for t in (track, lost))
    kept = np.r_[0:40, 44 : len(plain)]
    np.testing.assert_allclose(moved[kept], plain[kept], atol=0.01)
