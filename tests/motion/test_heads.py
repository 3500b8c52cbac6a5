import numpy as np
import pytest
import torch

from src.motion.heads import HEADS, MultiLabel, SingleLabel, masked_distance, masked_loss
from src.motion.metrics import accuracy, temperature
from src.motion.task import HEADS as NAMES

NAN = float("nan")


def test_every_head_of_a_task_is_there():
    assert tuple(HEADS) == NAMES


def test_masked_labels_do_not_touch_the_loss():
    logits = torch.tensor([[0.3, -2.0], [1.0, 5.0]], requires_grad=True)
    faults = torch.tensor([[1.0, NAN], [0.0, NAN]])
    loss = MultiLabel().loss(logits, faults)
    loss.backward()
    expected = (np.log1p(np.exp(-0.3)) + np.log1p(np.exp(1.0))) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert (logits.grad[:, 1] == 0).all() and (logits.grad[:, 0] != 0).all()
    assert masked_loss(logits, torch.full((2, 2), NAN)).item() == 0.0


def test_one_of_several_labels_is_learnt_where_it_is_known():
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0], [5.0, 5.0, 5.0]], requires_grad=True)
    labels = torch.tensor([[1.0, 0.0, 0.0], [NAN, 1.0, NAN], [0.0, NAN, NAN]])
    loss = SingleLabel().loss(logits, labels)
    loss.backward()
    p = torch.softmax(logits.detach(), dim=1)
    assert loss.item() == pytest.approx(-float(p[0, 0].log() + p[1, 1].log()) / 2, rel=1e-5)
    assert (logits.grad[2] == 0).all() and (logits.grad[:2] != 0).all()
    assert SingleLabel().loss(logits, labels[2:].expand(3, 3)).item() == 0.0


def test_exclusive_probabilities_sum_to_one_over_labels():
    evidence = torch.randn(2, 3, 5)
    torch.testing.assert_close(SingleLabel()(evidence).sum(dim=1), torch.ones(2, 5))
    assert (MultiLabel()(evidence) == torch.sigmoid(evidence)).all()


def drawn(n, factor, seed=0):
    """Logits and the labels that their softmax, sharpened by ``factor``, draws."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0.0, 1.0, (n, 4))
    p = np.exp(factor * logits) / np.exp(factor * logits).sum(axis=1, keepdims=True)
    return np.array([rng.choice(4, p=row) for row in p]), logits


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_is_found_again(factor):
    which, logits = drawn(3000, factor)
    assert temperature(which, logits) == pytest.approx(factor, rel=0.1)
    labels = np.eye(4)[which]
    labels[::3] = NAN  # unknown rows count for nothing
    scale, bias = SingleLabel().calibrate(labels, logits)
    assert scale == pytest.approx([factor] * 4, rel=0.2) and (bias == 0).all()


def test_a_few_right_reps_are_no_certainty():
    logits = np.eye(4) * 3.0
    assert 0.2 < temperature(np.arange(4), logits) < 3.0
    assert temperature(np.zeros(0, int), np.zeros((0, 4))) == 1.0


def test_accuracy_counts_known_rows():
    labels = np.array([[1.0, 0.0], [0.0, 1.0], [NAN, NAN]])
    assert accuracy(labels, np.array([[0.9, 0.1], [0.8, 0.2], [0.0, 1.0]])) == 0.5
    assert np.isnan(accuracy(labels[2:], np.ones((1, 2))))
    assert SingleLabel().overall(labels, np.ones((3, 2))).keys() == {"accuracy"} and not MultiLabel().overall(
        labels, labels
    )


def test_severities_count_where_the_truth_is_known():
    values, truth = torch.tensor([[0.5, 9.0], [4.0, 0.0]]), torch.tensor([[1.0, NAN], [8.0, NAN]])
    assert masked_distance(values, truth).item() == pytest.approx((0.25 + 0.75) / 2)  # 8 counts as 3
    assert masked_distance(values, torch.full((2, 2), NAN)).item() == 0.0
