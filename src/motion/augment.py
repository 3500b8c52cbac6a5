"""What another cut, frame rate or camera would have made of a rep: the changes that training puts onto keypoints."""

import numpy as np

from src.motion.keypoints import Floats


def augmented(keypoints: Floats, fps_hz: float, rng: np.random.Generator) -> tuple[Floats, float]:
    """The rep (T, K, D + 1) cut a little shorter, at half the rate (three in ten), the camera rolled; never another label.

    Nothing else is changed: errors of a detector, of which what is learnt from detected or imitated keypoints has its own,
    cost more than they taught (docs/training.md).
    """
    ends = (rng.uniform(0.0, 0.2, 2) * fps_hz).astype(int)
    if len(keypoints) - ends.sum() > 8:
        keypoints = keypoints[ends[0] : len(keypoints) - ends[1]]
    if rng.random() < 0.3 and len(keypoints) >= 32:
        keypoints, fps_hz = keypoints[::2], fps_hz / 2
    roll = np.radians(rng.normal(0.0, 2.0))
    turn = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]], np.float32)
    keypoints = keypoints.copy()
    keypoints[..., :2] = keypoints[..., :2] @ turn  # in the picture's plane
    return keypoints, fps_hz
