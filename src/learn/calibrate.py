"""What validation people say of a fitted core: the scale of its probabilities, and from where a fault is claimed."""

import numpy as np
import torch
from numpy.typing import NDArray

from src.motion.dataset import Sample, collate, item
from src.motion.heads import HEADS
from src.motion.metrics import best_threshold, claim_threshold
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
    """Write calibration's scale and bias into the core and return two thresholds per fault, all from validation people.

    From ``present`` on a fault is claimed, below ``absent`` it is denied, between them the model abstains. They are the
    threshold that is right in 80 % of validation cases and the one with the best F1, in this or the other order; but a claim
    is never less likely to be right than wrong, nor a denial.
    """
    logits = logits_of(core, samples)
    faults = np.stack([s.faults for s in samples]).astype(np.float64)
    head = HEADS[core.task.head]()
    scale, bias = head.calibrate(faults, logits)
    core.scale[:], core.bias[:] = torch.from_numpy(scale), torch.from_numpy(bias)
    probabilities = head(torch.from_numpy(logits * scale + bias)).numpy()
    thresholds = {}
    for i, key in enumerate(core.task.labels):
        p = probabilities[:, i]
        best, claim = best_threshold(faults[:, i], p), claim_threshold(faults[:, i], p)
        thresholds[key] = {"absent": min(best, claim, 0.5), "present": max(best, claim, 0.5)}
    return thresholds
