import pytest
import torch
from conftest import random_core
from torch import nn

from src.motion.model import CoreOutput
from src.motion.parity import ParityError, golden_inputs, hold_parity, largest_difference


class Bent(nn.Module):
    """A core whose answers are a little wrong for long reps, as a constant baked in by tracing would make them."""

    def __init__(self, core, by):
        super().__init__()
        self.core, self.by = core, by

    def forward(self, keypoints, fps_hz, frames, rise_ratio=None):
        out = self.core(keypoints, fps_hz, frames, rise_ratio)
        return out._replace(evidence=out.evidence + self.by) if keypoints.shape[1] >= 600 and len(frames) == 64 else out


@pytest.mark.parametrize("by", [1e-3, float("nan")])
def test_the_gate_sees_a_small_error_in_one_shape(by):
    with pytest.raises(ParityError, match=r"\(64, 600, 32, 3\)"):
        hold_parity(random_core(), Bent(random_core(), by), 1e-5)
    assert hold_parity(random_core(), Bent(random_core(), 0.0), 1e-5) == 0.0


@pytest.mark.parametrize("which", [0, 1, 2])
def test_nan_in_any_output_counts_as_infinite(which):
    good = CoreOutput(torch.zeros(2, 4), torch.zeros(2, 5, 4), torch.zeros(2, 4))
    bad = list(torch.zeros_like(x) for x in good)
    bad[which][0, 0] = float("nan")
    assert largest_difference(good, CoreOutput(*bad)) == float("inf") == largest_difference(CoreOutput(*bad), good)
    bad[which][0, 0] = 0.25
    assert largest_difference(good, CoreOutput(*bad)) == 0.25


def test_golden_inputs_hold_every_hard_case():
    inputs = golden_inputs((8, 200), (1, 3))
    assert {tuple(k.shape[:2]) for k, _, _ in inputs} == {(1, 8), (3, 8), (1, 200), (3, 200)}
    for keypoints, fps_hz, frames in inputs:
        assert torch.isnan(keypoints).any() and not torch.isnan(keypoints).all() and (fps_hz > 0).all()
        assert (frames >= 2).all() and (frames <= keypoints.shape[1]).all()
    assert any((frames < keypoints.shape[1]).any() for keypoints, _, frames in inputs)
    again = golden_inputs((8, 200), (1, 3))
    assert all(
        torch.equal(a[2], b[2]) and torch.equal(a[0].nan_to_num(), b[0].nan_to_num())
        for a, b in zip(inputs, again, strict=True)
    )


def test_large_golden_batches_hold_every_way_of_missing():
    ((keypoints, _, frames),) = golden_inputs((33,), (64,))
    missing = keypoints.isnan().all(dim=3)  # (N, T, K)
    empty = missing.all(dim=2)  # (N, T)
    gap = empty & (torch.arange(33) < frames[:, None])
    assert missing.flatten(1).all(dim=1).sum() == 8  # nobody at all
    assert (gap.any(dim=1) & ~empty.all(dim=1)).any()  # nobody for a while
    assert ((keypoints[..., 2] == 0.0) & keypoints[..., :2].isfinite().all(dim=3)).any()  # a place, but a score of 0
    assert all(out.isfinite().all() for out in random_core()(*golden_inputs((33,), (64,))[0]))
