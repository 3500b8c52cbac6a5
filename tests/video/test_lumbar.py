import numpy as np
import pytest
import torch

from src.motion.keypoints import HIP_THRUST, SPINE
from src.video.lumbar import ACROSS, ALONG, AT, Lumbar, LumbarError, sampled

CROP_PX, PLACES = 256, len(ALONG) * len(ACROSS)


def lying(width=0.0, flip=1):
    """Landmarks (1, 33, 2) px of somebody face up: shoulders at (60, 100), hips at (160, 100), knees up, feet down."""
    points = np.full((1, 33, 2), 100.0)
    for left, x, y in ((11, 60, 100), (23, 160, 100), (25, 220, 60), (27, 225, 140)):
        points[0, left], points[0, left + 1] = (x, y - width / 2), (x, y + width / 2)
    if flip < 0:
        points[..., 0] = CROP_PX - 1 - points[..., 0]
    return points


def ramps():
    """Features (1, 64, 64, 2) that hold their own place in px of the crop, x and y."""
    at = torch.linspace(0, CROP_PX - 1, 64)
    return torch.stack([at.expand(64, 64), at[:, None].expand(64, 64)], -1)[None]


@pytest.mark.parametrize("flip", [1, -1])
def test_features_are_sampled_around_the_chord_with_the_back_below(flip):
    x, y = sampled(ramps(), lying(flip=flip), CROP_PX)[0].T.reshape(2, len(ALONG), len(ACROSS))
    right = x if flip > 0 else CROP_PX - 1 - x
    assert np.allclose(right, (60 + 100 * ALONG)[:, None], atol=1e-3)
    assert np.allclose(y, 100 + 100 * ACROSS, atol=1e-3)  # + = towards the back, which hangs down


@pytest.mark.parametrize("flip", [1, -1])
def test_the_vertebra_lies_in_front_by_what_the_regression_says(flip):
    weights = np.zeros((PLACES, 2), np.float32)
    weights[0, 1] = 0.001  # y of the grid's first place, 100 - 24 px
    around = sampled(ramps(), lying(flip=flip), CROP_PX)
    ((x, y, score),) = Lumbar(weights, 0.024).locate(around, lying(flip=flip))[0]
    assert y == pytest.approx(100 - 100 * (0.076 + 0.024), abs=1e-3) and score == 1
    assert (x if flip > 0 else CROP_PX - 1 - x) == pytest.approx(60 + 100 * AT, abs=1e-3)


def test_from_the_front_there_is_no_vertebra():
    chest = lying(width=80.0)
    found = Lumbar(np.zeros((PLACES, 2), np.float32), 0.1).locate(sampled(ramps(), chest, CROP_PX), chest)
    assert np.isnan(found[0, 0, :2]).all() and found[0, 0, 2] == 0


def test_the_weights_in_the_repository_fit_the_grid_and_the_network():
    lumbar = Lumbar.load()
    assert (
        lumbar.weights.shape == (PLACES, 48) and np.isfinite(lumbar.weights).all() and np.abs(lumbar.weights).max() > 0
    )
    assert SPINE in HIP_THRUST.points


def test_a_file_that_holds_no_weights_is_named(tmp_path):
    (tmp_path / "lumbar.npz").write_bytes(b"no")
    with pytest.raises(LumbarError, match="lumbar.npz: no weights of the spine"):
        Lumbar.load(tmp_path / "lumbar.npz")
