import numpy as np
from conftest import thrust
from hypothesis import given, settings
from hypothesis import strategies as st

from src.motion.augment import augmented, refleshed


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
