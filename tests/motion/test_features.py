from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import thrust
from hypothesis import given, settings
from hypothesis import strategies as st

from src.motion.dataset import cut
from src.motion.features import ANGLES, FEATURE_NAMES, Features, resample
from src.motion.keypoints import BACK_FRACTIONS, HIP_THRUST, OUTLINE, Skeleton, TrackError, mirror
from src.motion.reps import find_reps

FEATURES = Features(HIP_THRUST, 64)
SECONDS = FEATURE_NAMES.index("log seconds")


def tensors(track, rep=0):
    """Model input of one rep; the cut is given by the track's own times, so that equal reps are equal rows."""
    keypoints = cut(track, find_reps(track)[rep])
    return torch.from_numpy(keypoints)[None], torch.tensor([track.fps_hz]), torch.tensor([len(keypoints)])


def features(track):
    return FEATURES(*tensors(track))[0][0]


def at_lockout(track):
    """Angles by name where the hips are highest."""
    pose = FEATURES.pose(*tensors(track))
    return dict(zip(ANGLES, pose.angles[0, pose.height[0].argmax()].tolist(), strict=True))


@pytest.mark.parametrize("facing", [-1, 1])
@pytest.mark.parametrize("top_deg", [150.0, 165.0, 180.0, 193.0])
def test_the_hip_angle_is_signed(top_deg, facing):
    assert at_lockout(thrust(1, top_deg=top_deg, facing=facing))["hip_deg"] == pytest.approx(top_deg, abs=0.5)


@pytest.mark.parametrize("facing", [-1, 1])
@pytest.mark.parametrize("shin_deg", [-8.0, 0.0, 20.0])
def test_the_shin_is_positive_with_far_feet(shin_deg, facing):
    angles = at_lockout(thrust(1, shin_deg=shin_deg, facing=facing))
    assert angles["shin_deg"] == pytest.approx(shin_deg, abs=0.5) and angles["knee_deg"] == pytest.approx(
        90.0 + shin_deg, abs=0.5
    )
    assert angles["trunk_deg"] == pytest.approx(0.0, abs=0.5) and angles["thigh_deg"] == pytest.approx(0.0, abs=0.5)


@pytest.mark.parametrize("facing", [-1, 1])
def test_the_outline_has_a_front_and_a_back(facing):
    spine, offsets = FEATURES.pose(*tensors(thrust(1, facing=facing))).offsets[0].split([1, len(OUTLINE)], dim=1)
    back = len(BACK_FRACTIONS)
    np.testing.assert_allclose(spine, 0.0, atol=0.01)
    np.testing.assert_allclose(offsets[:, :back], -0.09 / 0.52, atol=0.01)
    np.testing.assert_allclose(offsets[:, back:], 0.11 / 0.52, atol=0.01)


@settings(max_examples=20)
@given(
    seed=st.integers(0, 999),
    facing=st.sampled_from([-1, 1]),
    occlusion=st.floats(0.0, 0.3),
    top_deg=st.floats(150.0, 195.0),
)
def test_a_mirrored_clip_has_the_same_features(seed, facing, occlusion, top_deg):
    keypoints, fps_hz, frames = tensors(
        track := thrust(1, top_deg=top_deg, facing=facing, noise_px=2.0, occlusion=occlusion, seed=seed)
    )
    other = torch.from_numpy(mirror(replace(track, keypoints=keypoints[0].numpy())).keypoints)[None]
    torch.testing.assert_close(
        FEATURES(other, fps_hz, frames)[0], FEATURES(keypoints, fps_hz, frames)[0], atol=1e-3, rtol=0
    )


@settings(max_examples=20)
@given(size=st.floats(0.2, 4.0), dx=st.floats(-800, 800), dy=st.floats(-800, 800), seed=st.integers(0, 99))
def test_size_and_place_change_nothing(size, dx, dy, seed):
    keypoints, fps_hz, frames = tensors(thrust(1, noise_px=1.0, seed=seed))
    moved = keypoints.clone()
    moved[..., :2] = moved[..., :2] * size + torch.tensor([dx, dy])
    torch.testing.assert_close(
        FEATURES(moved, fps_hz, frames)[0], FEATURES(keypoints, fps_hz, frames)[0], atol=5e-3, rtol=0
    )


@pytest.mark.parametrize("fps_hz", [24.0, 30.0, 60.0])
def test_half_the_frame_rate_has_nearly_the_same_features(fps_hz):
    track = thrust(1, fps_hz)
    half = replace(track, keypoints=track.keypoints[::2], fps_hz=fps_hz / 2)
    difference = (features(half) - features(track)).abs()
    assert difference.mean() < 0.01 and difference.amax(dim=1).median() < 0.1  # units of about 45 deg


def test_a_slower_rep_only_differs_in_its_seconds():
    keypoints, fps_hz, frames = tensors(thrust(1))
    fast, slow = FEATURES(keypoints, fps_hz, frames)[0][0], FEATURES(keypoints, fps_hz / 2, frames)[0][0]
    assert torch.equal(fast[:SECONDS], slow[:SECONDS])
    np.testing.assert_allclose(slow[SECONDS] - fast[SECONDS], np.log(2.0), atol=1e-5)


@settings(max_examples=25)
@given(seed=st.integers(0, 9999), rows=st.integers(1, 80), missing=st.floats(0.0, 1.0))
def test_features_are_never_nan(seed, rows, missing):
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(0, 1000, (1, rows, len(HIP_THRUST), 3)).astype(np.float32)
    keypoints[..., 2] = rng.random(keypoints.shape[:3])
    keypoints[rng.random(keypoints.shape[:3]) < missing] = (np.nan, np.nan, 0.0)
    values, pose = FEATURES(torch.from_numpy(keypoints), torch.tensor([30.0]), torch.tensor([rows]))
    assert values.shape == (1, len(FEATURE_NAMES), 64)
    assert all(torch.isfinite(x).all() for x in (values, *pose)) and values.abs().max() <= 6.0


def test_a_point_with_score_zero_or_nan_is_not_seen():
    keypoints, fps_hz, frames = tensors(thrust(1))
    back = HIP_THRUST.index("back_55")
    for value in ((float("nan"), float("nan"), 0.9), (5000.0, 5000.0, 0.0)):
        other = keypoints.clone()
        other[:, :, back] = torch.tensor(value)
        _, seen = resample(other, fps_hz, frames, 64)
        assert seen[..., back].max() == 0.0
        values = FEATURES(other, fps_hz, frames)[0][0]
        assert values[FEATURE_NAMES.index("back_55 seen")].max() == 0.0
        assert values[FEATURE_NAMES.index("back_55 off the chord, trunk lengths x 5")].abs().max() == 0.0


def test_a_small_person_far_from_the_corner_of_a_large_picture_loses_no_digits():
    keypoints, fps_hz, frames = tensors(thrust(1, 200.0))
    keypoints[..., :2] = (keypoints[..., :2] / 4 * 64).round() / 64  # exact in 32 bits wherever it stands
    far = keypoints.clone()
    far[..., :2] += 4096.0
    torch.testing.assert_close(
        FEATURES(far, fps_hz, frames)[0], FEATURES(keypoints, fps_hz, frames)[0], atol=2e-5, rtol=0
    )


def test_head_and_arms_are_left_out():
    keypoints, fps_hz, frames = tensors(thrust(1))
    other = keypoints.clone()
    for i, name in enumerate(HIP_THRUST.points):
        if name.partition("_")[2] in ("eye", "ear", "elbow", "wrist") or name == "nose":
            other[:, :, i, :2] += 300.0
    assert torch.equal(FEATURES(other, fps_hz, frames)[0], FEATURES(keypoints, fps_hz, frames)[0])


def test_any_skeleton_with_four_joints_will_do():
    coco = HIP_THRUST.points[:17]
    keypoints, fps_hz, frames = tensors(thrust(1))
    values = Features(Skeleton("coco_17", coco, ()), 64)(keypoints[:, :, :17], fps_hz, frames)[0]
    assert torch.isfinite(values).all()
    own = FEATURES(keypoints, fps_hz, frames)[0]
    torch.testing.assert_close(values[:, :8], own[:, :8])  # angles and heights need neither feet nor outline
    with pytest.raises(TrackError, match="knee"):
        Features(Skeleton("no_knees", tuple(p for p in coco if "knee" not in p), ()))


@pytest.mark.parametrize("gone", ["left_hip", "right_knee", "left_ankle"])
@pytest.mark.parametrize("facing", [-1, 1])
def test_an_unseen_point_has_no_place(gone, facing):
    keypoints, fps_hz, frames = tensors(thrust(1, facing=facing))
    keypoints[:, :, HIP_THRUST.index(gone)] = torch.tensor([float("nan"), float("nan"), 0.0])
    moved = keypoints.clone()
    moved[..., :2] += torch.tensor([700.0, 300.0])
    torch.testing.assert_close(
        FEATURES(moved, fps_hz, frames)[0], FEATURES(keypoints, fps_hz, frames)[0], atol=5e-3, rtol=0
    )


@pytest.mark.parametrize("part", ["knee", "ankle"])
def test_an_unseen_joint_has_no_place(part):
    keypoints, fps_hz, frames = tensors(thrust(1))
    for side in ("left", "right"):
        keypoints[:, :, HIP_THRUST.index(f"{side}_{part}")] = torch.tensor([float("nan"), float("nan"), 0.0])
    moved = keypoints.clone()
    moved[..., :2] += torch.tensor([700.0, 300.0])
    torch.testing.assert_close(
        FEATURES(moved, fps_hz, frames)[0], FEATURES(keypoints, fps_hz, frames)[0], atol=5e-3, rtol=0
    )


def test_hiding_an_outline_point_moves_only_its_own_features_and_to_nothing():
    track = thrust(1, noise_px=0.5)
    rep = find_reps(track)[0]
    whole = cut(track, rep).copy()
    k = HIP_THRUST.index("back_55")
    whole[:, 21:] = whole[:, 11:12] * 0.4 + whole[:, 5:6] * 0.6  # spine and outline somewhere on the trunk
    whole[:, 21:, 2] = 1.0
    hidden = whole.copy()
    middle = slice(len(whole) // 3, 2 * len(whole) // 3)
    hidden[middle, k] = (np.nan, np.nan, 0.0)
    a, b = (
        Features(HIP_THRUST)(torch.from_numpy(x)[None], torch.tensor([track.fps_hz]), torch.tensor([len(x)]))[0][0]
        for x in (whole, hidden)
    )
    own = [i for i, name in enumerate(FEATURE_NAMES) if name.startswith("back_55")]
    others = [i for i in range(len(FEATURE_NAMES)) if i not in own]
    torch.testing.assert_close(a[others], b[others])
    gone = b[FEATURE_NAMES.index("back_55 seen")] <= 0.05
    assert gone.sum() > 10
    for i in own[:2]:
        assert (b[i, gone] == 0).all() and (b[i, ~gone] - a[i, ~gone]).abs().max() < 0.2
