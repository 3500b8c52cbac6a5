"""Lockout: hip-thrust faults from ordinary video.

One letter per axis, everywhere in this package:

    N  reps in a batch        T  frames          K  keypoints     C  coordinates (x, y, score)
    F  features               L  faults (labels) B  images in a batch

Pixels have their origin at the top left, x to the right, y down. Angles are in degrees, lengths in the
unit that the name ends with (``_px``, ``_m``, ``_s``, ``_hz``); a length without a unit is in trunk lengths.
Missing numbers are NaN.
"""

import os
import warnings

__version__ = "0.1.0"

# Waiting OpenMP threads sleep instead of spinning: on a busy two-core machine spinning stalls training.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# TorchScript is what this project ships although torch prefers torch.export by now; users need not read that each time.
warnings.filterwarnings("ignore", message=r"`torch\.jit")
