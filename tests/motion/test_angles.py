from dataclasses import replace

import numpy as np
import pytest
from conftest import thrust, tops

from src.motion.angles import frame_angles
from src.motion.features import ANGLES
from src.motion.keypoints import HIP_THRUST, Track, mirror
from src.motion.measure import measure_all
from src.motion.reps import find_reps


@pytest.mark.parametrize("facing", [1, -1])
@pytest.mark.parametrize("top_deg", [160.0, 180.0, 193.0])
def test_a_frame_at_lockout_has_the_angles_that_are_measured_there(facing, top_deg):
    track = thrust(3, 30.0, top_deg, facing, shin_deg=12.0)
    at_top = frame_angles(track)[np.round(tops() * 30.0).astype(int)]
    for angles, measures in zip(at_top, measure_all(track, find_reps(track)), strict=True):
        named = dict(zip(ANGLES, angles, strict=True))
        assert named["hip_deg"] == pytest.approx(top_deg, abs=0.1)
        for name in ("hip", "knee", "shin", "trunk"):
            assert named[f"{name}_deg"] == pytest.approx(getattr(measures, f"{name}_top_deg"), abs=1.0), name


def test_a_mirrored_clip_has_the_same_angles():
    track = thrust(2, noise_px=1.0, occlusion=0.1)
    np.testing.assert_allclose(frame_angles(mirror(track)), frame_angles(track), atol=1e-3)


def test_what_was_not_seen_is_missing_and_nothing_else():
    whole = thrust(1)
    keypoints = whole.keypoints.copy()
    keypoints[10:20, [HIP_THRUST.index("left_ankle"), HIP_THRUST.index("right_ankle")]] = (np.nan, np.nan, 0.0)
    missing = np.isnan(frame_angles(replace(whole, keypoints=keypoints)))
    assert missing[10:20].tolist() == [[name in ("knee_deg", "shin_deg") for name in ANGLES]] * 10
    assert missing.sum() == 20


@pytest.mark.parametrize("frames", [0, 5])
def test_a_clip_without_a_person_has_rows_without_angles(frames):
    track = Track(np.full((frames, 32, 3), np.nan, np.float32), 30.0, (64, 48), "none", 0)
    angles = frame_angles(track)
    assert angles.shape == (frames, len(ANGLES)) and np.isnan(angles).all()
