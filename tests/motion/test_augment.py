import numpy as np
from conftest import thrust
from hypothesis import given, settings
from hypothesis import strategies as st

from src.motion.augment import augmented


@settings(max_examples=25)
@given(seed=st.integers(0, 9999), fps_hz=st.sampled_from([8.0, 15.0, 30.0]))
def test_augmenting_changes_a_copy_and_keeps_the_time(seed, fps_hz):
    track = thrust(1, fps_hz, occlusion=0.1)
    before = track.keypoints.copy()
    keypoints, rate = augmented(track.keypoints, fps_hz, np.random.default_rng(seed))
    assert np.array_equal(track.keypoints, before, equal_nan=True) and keypoints.dtype == np.float32
    assert 0.85 * len(before) / fps_hz - 0.4 < len(keypoints) / rate <= len(before) / fps_hz + 1 / rate


@settings(max_examples=25)
@given(seed=st.integers(0, 9999), fps_hz=st.sampled_from([15.0, 30.0]))
def test_a_rep_is_cut_thinned_and_turned_and_nothing_else(seed, fps_hz):
    track = thrust(1, fps_hz, occlusion=0.1)
    keypoints, rate = augmented(track.keypoints, fps_hz, np.random.default_rng(seed))
    step, scores = round(fps_hz / rate), track.keypoints[..., 2]
    first = next(i for i in range(len(scores)) if np.array_equal(scores[i::step][: len(keypoints)], keypoints[..., 2]))
    kept = track.keypoints[first::step][: len(keypoints)]
    seen = np.isfinite(kept[..., 0])
    assert np.array_equal(np.isfinite(keypoints[..., 0]), seen)
    turned, still = (points[..., :2][seen].astype(float) @ (1, 1j) for points in (keypoints, kept))
    turn = turned @ still.conj() / (still @ still.conj())
    assert abs(abs(turn) - 1) < 1e-5 and abs(np.angle(turn)) < np.radians(10)
    np.testing.assert_allclose(turned, turn * still, atol=1e-2)
