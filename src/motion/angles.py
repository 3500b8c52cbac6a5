"""The angles of every frame: the midpoints that find reps, the angles that features are made of."""

import numpy as np
import torch
from numpy.typing import NDArray

from src.motion.features import lean, pitch, plain_angle, signed_angle
from src.motion.hips import steady_middle
from src.motion.keypoints import Track


def frame_angles(track: Track) -> NDArray[np.float64]:
    """Angles (T, 5) in degrees in the order of ``features.ANGLES``, not smoothed; NaN where a point was not seen.

    Facing is that of the whole clip: which way the ankles lie from the shoulders.
    """
    middles = [steady_middle(track, part) for part in ("shoulder", "hip", "knee", "ankle")]  # (T, 2) each
    facing = -1.0 if np.nansum(middles[3][:, 0] - middles[0][:, 0]) < 0 else 1.0
    shoulder, hip, knee, ankle = (torch.from_numpy(middle * (facing, -1.0)) for middle in middles)  # feet right, y up
    angles = (
        signed_angle(shoulder - hip, knee - hip),
        plain_angle(hip - knee, ankle - knee),
        lean(knee - ankle),
        pitch(hip - shoulder),
        pitch(knee - hip),
    )
    return torch.stack(angles, dim=-1).numpy()
