import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.motion.coordinates import Coordinates, Shown
from src.motion.keypoints import Skeleton

POINTS = ("pelvis", "left_hand", "right_hand", "head")
NAN = float("nan")


def skeleton(dimensions):
    return Skeleton("small", POINTS, dimensions=dimensions)


def rep(dimensions, frames=40, seed=0):
    """Keypoints (1, T, 4, D + 1) in which the head rises by 1 over the rep."""
    rng = np.random.default_rng(seed)
    at = np.tile(rng.normal(0.0, 1.0, (4, dimensions)), (frames, 1, 1))
    at[:, 3, 1] += np.linspace(0.0, 1.0, frames)
    rows = np.concatenate([at, np.full((frames, 4, 1), 0.8)], axis=2)
    return torch.from_numpy(rows.astype(np.float32))[None]


def features(keypoints, fps_hz=20.0, frames=48):
    """Features by name, each (M,), and what was there."""
    module = Coordinates(skeleton(keypoints.shape[3] - 1), frames)
    values, pose = module(keypoints, torch.tensor([fps_hz]), torch.tensor([keypoints.shape[1]]))
    assert values.shape == (1, len(module.names), frames) and torch.isfinite(values).all()
    return dict(zip(module.names, values[0], strict=True)), pose


@pytest.mark.parametrize("dimensions", [2, 3])
def test_each_feature_has_its_name(dimensions):
    assert len(Coordinates(skeleton(dimensions)).names) == 4 * (2 * dimensions + 2) + 1
    found, _ = features(rep(dimensions))
    assert found["y of head"][-1] > found["y of head"][0] and found["y of pelvis"].std() < 1e-3
    rise = found["y of head"][-1] - found["y of head"][0]
    assert found["change of y of head in a tenth of the rep"][20] == pytest.approx(float(rise) / 10, rel=0.2)
    assert found["change of y of pelvis in a tenth of the rep"].abs().max() < 1e-3
    assert found["head score"].mean() == pytest.approx(0.8, abs=0.01) and (found["head seen"] > 0.999).all()
    assert found["log seconds"][0] == pytest.approx(np.log(39 / 20))


@settings(max_examples=20)
@given(size=st.floats(0.1, 50.0), place=st.floats(-100, 100), dimensions=st.sampled_from([2, 3]))
def test_size_and_place_change_nothing(size, place, dimensions):
    keypoints = rep(dimensions)
    moved = keypoints.clone()
    moved[..., :dimensions] = moved[..., :dimensions] * size + place
    a, b = features(keypoints)[0], features(moved)[0]
    for name in a:
        torch.testing.assert_close(b[name], a[name], atol=1e-2, rtol=0)


def test_what_is_missing_is_said_and_moves_nothing():
    keypoints = rep(3)
    keypoints[0, 10:20, 3], keypoints[0, :, 1] = torch.tensor([NAN, NAN, NAN, 0.0]), torch.tensor([NAN, NAN, NAN, 0.0])
    found, pose = features(keypoints)
    assert found["head seen"].min() < 0.1 and found["head seen"][0] > 0.9 and found["left_hand seen"].max() == 0.0
    assert all(found[f"{axis} of left_hand"].abs().max() == 0.0 for axis in "xyz")
    rise = found["y of head"]
    assert (rise[1:] - rise[:-1]).min() > -0.02  # bridged, not dropped to 0
    shown = Shown(("a", "b"))
    assert shown(pose).tolist() == [[1.0, 1.0]]
    nothing = torch.full_like(keypoints, NAN)
    values, pose = features(nothing)
    assert shown(pose).abs().max() == 0.0 and all(values[f"y of {point}"].abs().max() == 0.0 for point in POINTS)


def test_half_the_frame_rate_says_nearly_the_same():
    a, b = features(rep(3, 61), 30.0)[0], features(rep(3, 61)[:, ::2], 15.0)[0]
    for name in a:
        torch.testing.assert_close(b[name], a[name], atol=0.03, rtol=0)
