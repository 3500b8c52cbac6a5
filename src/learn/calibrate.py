"""What validation people say of a fitted core: the scale of its probabilities, and from where a fault is claimed."""

import numpy as np
import torch
from numpy.typing import NDArray

from src.motion.dataset import Sample, collate, item
from src.motion.heads import HEADS
from src.motion.metrics import balanced, claim_band
from src.motion.model import Core
from src.motion.verdict import MIN_OBSERVABLE

Array = NDArray[np.float64]


def outputs_of(core: Core, samples: list[Sample], batch: int = 64) -> tuple[Array, Array]:
    """Uncalibrated logits and observability (N, L) of many reps, in order."""
    core.eval()
    logits, seen = [], []
    with torch.no_grad():
        for start in range(0, len(samples), batch):
            b = collate([item(s) for s in samples[start : start + batch]])
            inputs = b.keypoints, b.fps_hz, b.frames, b.rise_ratio
            logits.append(core.logits(*inputs).double().numpy())
            seen.append(core(*inputs).observability.double().numpy())
    return np.concatenate(logits), np.concatenate(seen)


def fit_calibration(core: Core, samples: list[Sample]) -> dict[str, dict[str, float]]:
    """Write calibration's scale and bias into the core and return the ``claim_band`` of each fault, from validation people.

    Reps that the detector saw count as much in all as the many more that imitate it: on them the core will judge. The bands are
    chosen on reps that show the fault, since of others nothing is ever decided.
    """
    logits, seen = outputs_of(core, samples)
    faults = np.stack([s.faults for s in samples]).astype(np.float64)
    weights, head = balanced([s.tier for s in samples]), HEADS[core.task.head]()
    scale, bias = head.calibrate(faults, logits, weights)
    core.scale[:], core.bias[:] = torch.from_numpy(scale), torch.from_numpy(bias)
    probabilities = head(torch.from_numpy(logits * scale + bias)).numpy()
    shown = np.where(seen >= MIN_OBSERVABLE, faults, np.nan)
    return {key: claim_band(shown[:, i], probabilities[:, i], weights) for i, key in enumerate(core.task.labels)}
