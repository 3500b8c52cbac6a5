import runpy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from src.motion.keypoints import HIP_THRUST
from src.video import blazepose, clips, crop
from src.video.engine import ENGINES

ROOT = Path(__file__).resolve().parents[2]
MAKER = runpy.run_path(str(ROOT / "tests/golden/make_blazepose.py"))


@pytest.fixture(scope="module", params=["auto", *ENGINES])
def pose(request):
    return blazepose.BlazePose(ROOT / "data/weights", masks=False, engine=request.param)


def errors(pose, picture, official):
    """Distances (33,) in px of the 256 px crop, None when nobody is found; found or not is as official."""
    mine = pose.static(picture[None])
    assert np.isfinite(mine.points[0]).all() == np.isfinite(official).all()
    if np.isnan(official).any():
        return None
    return np.hypot(*(mine.points[0, :33] - official)[:, :2].T) * 256 / mine.regions[0, 2]


def apart(pose):
    """Distances of all landmarks on the golden pictures, crop px."""
    golden = np.load(ROOT / "tests/golden/blazepose.npz")
    pictures = MAKER["pictures"]()
    assert list(pictures) == list(golden["names"])
    found = [errors(pose, p, g) for p, g in zip(pictures.values(), golden["landmarks"], strict=True)]
    distances = np.concatenate([e for e in found if e is not None])
    assert len(distances) >= 10 * 33 and any(e is None for e in found)
    return distances


def test_landmarks_are_those_of_the_official_static_mode(pose):
    distances = apart(pose)
    assert np.median(distances) <= 0.5 and np.percentile(distances, 95) <= 2


def test_bf16_disturbs_landmarks_less_than_a_grey_level_disturbs_the_official_runtime():
    """That runtime moves by 1.67 (95th percentile 13.0) crop px on these pictures under random steps of -1, 0 or 1."""
    distances = apart(blazepose.BlazePose(ROOT / "data/weights", precision="bf16", masks=False, engine="openvino"))
    assert 0.1 < np.median(distances) <= 1.67 and np.percentile(distances, 95) <= 13


def test_a_batch_of_pictures_is_each_of_them(pose):
    pictures = MAKER["pictures"]()
    both = np.stack([pictures["astronaut"], pictures["half"], np.zeros_like(pictures["half"])])
    batch = pose.static(both)
    assert np.isnan(batch.points[2]).all() and batch.presence[2] == 0
    for i in (0, 1):
        np.testing.assert_allclose(batch.points[i], pose.static(both[i : i + 1]).points[0], atol=0.5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
@pytest.mark.parametrize(("precision", "limit_px"), [("fp32", 0.5), ("fp16", 2)])
def test_the_gpu_agrees(pose, precision, limit_px):
    picture = MAKER["pictures"]()["astronaut"][None]
    gpu = blazepose.BlazePose(ROOT / "data/weights", "cuda", precision, masks=False)
    apart = (gpu.static(picture).points - pose.static(picture).points)[0, :33, :2]
    assert np.median(np.abs(apart)) * 256 / 1255 < limit_px


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
@pytest.mark.parametrize(("precision", "limit"), [("fp32", 0.002), ("fp16", 0.02)])
def test_masks_and_spine_are_those_of_the_cpu(precision, limit, lifter):
    """Two threads, and batches that the graphs have to cut (7 = 4 + 3) and to fill up (3 of 4)."""
    frames = np.stack(next(iter(clips.read(lifter)))[0][:7])
    cpu = blazepose.BlazePose(ROOT / "data/weights", engine="torch")
    gpu = blazepose.BlazePose(ROOT / "data/weights", "cuda", precision, batch=4)
    regions = np.concatenate([found.regions[:1] for found in cpu.detect(frames)])
    with ThreadPoolExecutor(2) as pool:
        looks = list(pool.map(lambda _: gpu.look(frames, regions, masks=True), range(8)))
    here = cpu.look(frames, regions, masks=True)
    assert here.around is not None and here.masks is not None
    for look in looks:
        assert look.around is not None and look.masks is not None
        assert np.array_equal(look.around, looks[0].around) and np.array_equal(look.points, looks[0].points)
        assert (look.masks.cpu() - here.masks).abs().mean() < limit
    spread = np.abs(here.around).mean()
    assert np.abs(looks[0].around - here.around).mean() < 5 * limit * spread


@pytest.mark.parametrize("border", ["black", "edge"])
def test_both_crops_give_the_same_grey_levels(border):
    frames = np.random.default_rng(0).integers(0, 256, (3, 40, 60, 3), np.uint8)
    regions = np.array([[30, 20, 60, 0.0, 1], [10, 30, 45, 1.2, -1], [55.5, 3.3, 12, -2.5, 1]])
    native = crop.crop(frames, regions, 32, border)
    assert torch.equal(native, crop.crop(torch.from_numpy(frames), regions, 32, border))


def test_a_crop_shows_what_its_region_says():
    frames = torch.arange(64, dtype=torch.uint8).view(1, 8, 8, 1).repeat(1, 1, 1, 3)
    same = crop.crop(frames, np.array([[4, 4, 8, 0.0, 1]]), 8)
    assert torch.equal(same[..., 0], frames[..., 0])
    black = crop.crop(frames, np.array([[8, 4, 8, 0.0, 1]]), 8, "black")
    assert torch.equal(black[0, :, :4, 0], frames[0, :, 4:, 0]) and not black[0, :, 4:].any()


def test_the_network_sees_one_picture_and_its_mirror_image_alike(pose):
    """Left becomes right: the same landmarks at mirrored places, in the other side's names."""
    picture = MAKER["pictures"]()["astronaut"]
    x, y, side, angle, _ = pose.detect(picture[None])[0].regions[0]
    width = picture.shape[1]
    here = pose.look(picture[None], np.array([[x, y, side, angle, 1]]), masks=True)
    there = pose.look(picture[None, :, ::-1], np.array([[width - 1 - x, y, side, -angle, -1]]), masks=True)
    names = [name.replace("left", "RIGHT").replace("right", "left").lower() for name in blazepose.LANDMARKS]
    swapped = there.points[0, [blazepose.LANDMARKS[name] for name in names]]
    plain = here.points[0, list(blazepose.LANDMARKS.values())]
    np.testing.assert_allclose(width - 1 - swapped[:, 0], plain[:, 0], atol=0.02)
    np.testing.assert_allclose(swapped[:, 1:], plain[:, 1:], atol=0.02)


def test_people_are_found_alike_in_a_picture_and_its_mirror_image(pose):
    picture = MAKER["pictures"]()["astronaut"]
    here, there = pose.detect(picture[None])[0], pose.detect(picture[None, :, ::-1], -1)[0]
    assert len(here) and np.array_equal(there.scores, here.scores)
    np.testing.assert_allclose(there.mirrored(picture.shape[1]).hips, here.hips, atol=1e-6)
    np.testing.assert_allclose(there.regions[:, 3], -here.regions[:, 3], atol=1e-6)


@given(st.floats(-500, 500), st.floats(-500, 500), st.floats(5, 2000), st.floats(-3.1, 3.1), st.sampled_from([-1, 1]))
def test_projection_goes_there_and_back(x, y, side, angle, flip):
    region = np.array([[x, y, side, angle, flip]])
    points = np.array([[[0.0, 0], [256, 0], [31.5, 200]]])
    back = crop.inverse(crop.project(points, region, 256), region, 256)
    np.testing.assert_allclose(back, points, atol=1e-6)
    np.testing.assert_allclose(crop.project(np.array([[[128.0, 128]]]), region, 256)[0, 0], [x, y], atol=1e-6)


@pytest.mark.parametrize(("rim", "angle"), [((0, -10), 0.0), ((10, 0), np.pi / 2), ((-10, 0), -np.pi / 2)])
def test_a_region_turns_the_body_upright(rim, angle):
    region = blazepose.region(np.zeros((1, 2)), np.array([rim], float))
    np.testing.assert_allclose(region[0], [0, 0, 25, angle, 1], atol=1e-9)


def test_overlapping_boxes_become_their_weighted_mean():
    def box(x):
        return [[x, 0], [x + 10, 10], [x + 5, 5]]

    means, scores = blazepose.suppress(np.array([box(0.0), box(2.0), box(50.0)]), np.array([0.9, 0.6, 0.7]))
    assert scores.tolist() == [0.9, 0.7]
    np.testing.assert_allclose(means[:, 2], [[5.8, 5], [55, 5]])


def test_heat_moves_a_point_and_cold_does_not():
    heat = torch.full((1, 64, 64, 2), -20.0)
    heat[0, 21, 33, 0] = 20
    points = torch.tensor([[[30.5 / 64, 20.2 / 64], [0.5, 0.5]]])
    moved = blazepose.refine(points, heat)
    torch.testing.assert_close(moved[0, 0], torch.tensor([33 / 64, 21 / 64]), atol=1e-3, rtol=0)
    torch.testing.assert_close(moved[0, 1], points[0, 1])
    outside = torch.tensor([[[-0.1, 0.5], [1.0, 0.5]]])
    torch.testing.assert_close(blazepose.refine(outside, torch.full_like(heat, 20.0)), outside)


def test_points_get_our_names():
    points = np.stack([np.arange(39), np.arange(39), np.ones(39)], -1)[None].astype(float)
    ours = blazepose.keypoints(points)[0]
    assert [ours[HIP_THRUST.index(n), 0] for n in ("nose", "left_hip", "right_hip", "left_toe")] == [0, 23, 24, 31]
    assert np.isnan(ours[21:, :2]).all() and (ours[21:, 2] == 0).all()
