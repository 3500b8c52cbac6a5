"""What validation people say of a fitted core: the scale of its probabilities, and from where a fault is claimed."""

import numpy as np
import torch
from numpy.typing import NDArray

from src.motion.dataset import Sample, collate, item
from src.motion.heads import HEADS
from src.motion.metrics import balanced, claim_band
from src.motion.model import Core


def logits_of(core: Core, samples: list[Sample], batch: int = 64) -> NDArray[np.float64]:
    """Uncalibrated logits (N, L) of many reps, in order."""
    core.eval()
    rows = []
    with torch.no_grad():
        for start in range(0, len(samples), batch):
            b = collate([item(s) for s in samples[start : start + batch]])
            rows.append(core.logits(b.keypoints, b.fps_hz, b.frames, b.rise_ratio).double().numpy())
    return np.concatenate(rows)


def fit_calibration(core: Core, samples: list[Sample]) -> dict[str, dict[str, float]]:
    """Write calibration's scale and bias into the core and return the ``claim_band`` of each fault, from validation people.

    Reps that the detector saw count as much in all as the many more that imitate it: on them the core will judge.
    """
    logits = logits_of(core, samples)
    faults = np.stack([s.faults for s in samples]).astype(np.float64)
    weights, head = balanced([s.tier for s in samples]), HEADS[core.task.head]()
    scale, bias = head.calibrate(faults, logits, weights)
    core.scale[:], core.bias[:] = torch.from_numpy(scale), torch.from_numpy(bias)
    probabilities = head(torch.from_numpy(logits * scale + bias)).numpy()
    return {key: claim_band(faults[:, i], probabilities[:, i], weights) for i, key in enumerate(core.task.labels)}
