from dataclasses import replace

import numpy as np
from conftest import thrust

from src.motion.hips import hip_motion
from src.motion.keypoints import HIP_THRUST


def test_jumping_points_lower_the_confidence():
    calm = hip_motion(thrust(3, noise_px=1.0)).confidence
    shaky = hip_motion(thrust(3, noise_px=15.0)).confidence
    wild = hip_motion(thrust(3, noise_px=40.0)).confidence
    assert calm > 0.8 > shaky > wild and wild < 0.3


def test_points_that_only_lose_a_partner_do_not_jump():
    track = thrust(3, width_m=0.12)
    keypoints = track.keypoints.copy()
    right = [i for i, name in enumerate(HIP_THRUST.points) if name.startswith("right_")]
    keypoints[5::10, right] = (np.nan, np.nan, 0.0)  # the far side is lost in every tenth frame, the near one never
    assert hip_motion(replace(track, keypoints=keypoints)).confidence > 0.5
