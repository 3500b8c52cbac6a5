"""From logits to probabilities: labels that come together or exclude each other, with their loss and their calibration."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, smooth_l1_loss

from src.motion.metrics import Array, accuracy, calibrate, one_of, temperature


def masked_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross entropy over the known labels (N, L); NaN labels weigh nothing, a batch without any gives 0."""
    known = torch.isfinite(labels)
    loss = binary_cross_entropy_with_logits(logits, torch.where(known, labels, 0.0), reduction="none")
    return (loss * known).sum() / known.sum().clamp(min=1)


def masked_distance(values: Tensor, truth: Tensor) -> Tensor:
    """Smooth mean distance of severities (N, L), the truth held to -2..3: what is far past a limit need not be told apart."""
    known = torch.isfinite(truth)
    loss = smooth_l1_loss(values, torch.where(known, truth, 0.0).clamp(-2.0, 3.0), reduction="none", beta=0.5)
    return (loss * known).sum() / known.sum().clamp(min=1)


class Head(nn.Module):
    """Its ``forward`` turns logits (N, L, ...) into probabilities; the rest is for training."""

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """What training minimises, of logits and labels (N, L), NaN where unknown; 0 if nothing is known."""
        raise NotImplementedError

    def calibrate(self, labels: Array, logits: Array, weights: Array | None = None) -> tuple[Array, Array]:
        """Scale and bias (L,) of logits, from validation labels and logits (N, L), which may weigh differently."""
        raise NotImplementedError

    def overall(self, labels: Array, probabilities: Array) -> dict[str, float]:
        """Numbers over all labels (N, L) at once, by name."""
        return {}


class MultiLabel(Head):
    """Any number of labels at once: a sigmoid each."""

    def forward(self, logits: Tensor) -> Tensor:
        """Probabilities of logits (N, L, ...)."""
        return torch.sigmoid(logits)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """See ``masked_loss``."""
        return masked_loss(logits, labels)

    def calibrate(self, labels: Array, logits: Array, weights: Array | None = None) -> tuple[Array, Array]:
        """Platt's scale and bias per label."""
        fitted = [calibrate(labels[:, i], logits[:, i], weights) for i in range(labels.shape[1])]
        return np.array([scale for scale, _ in fitted]), np.array([bias for _, bias in fitted])


class SingleLabel(Head):
    """Exactly one label: a softmax over them. A rep none of whose labels is known to be there teaches nothing."""

    def forward(self, logits: Tensor) -> Tensor:
        """Probabilities of logits (N, L, ...), which sum to 1 over L."""
        return torch.softmax(logits, dim=1)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross entropy over the reps whose label is known, 0 without any."""
        is_there = torch.nan_to_num(labels, nan=0.0)  # (N, L)
        known = is_there.sum(dim=1) > 0
        loss = cross_entropy(logits, is_there.argmax(dim=1), reduction="none")
        return (loss * known).sum() / known.sum().clamp(min=1)

    def calibrate(self, labels: Array, logits: Array, weights: Array | None = None) -> tuple[Array, Array]:
        """One temperature for all labels, no bias."""
        known, which = one_of(labels)
        scale = temperature(which[known], logits[known], None if weights is None else weights[known])
        return np.full(labels.shape[1], scale), np.zeros(labels.shape[1])

    def overall(self, labels: Array, probabilities: Array) -> dict[str, float]:
        """How often the likeliest label is the one that is there."""
        return {"accuracy": accuracy(labels, probabilities)}


HEADS: dict[str, type[Head]] = {"multi_label": MultiLabel, "single_label": SingleLabel}
