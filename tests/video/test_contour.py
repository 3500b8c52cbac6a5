import numpy as np
import pytest
import torch

from src.motion.keypoints import BACK_FRACTIONS
from src.video import contour

BACK = len(BACK_FRACTIONS)
TOP, BOTTOM = 100, 160  # px of the crop; the edge lies between the last row of the person and the next


def masks():
    levels = torch.full((1, 256, 256), -4.0)
    levels[:, TOP : BOTTOM + 1, 40:230] = 4
    return levels


def lying(breadth=8.0):
    """Head to the left, face up: chord at y = 120 from x = 60 to 160, knees up, feet on the floor; arms away."""
    points = np.full((33, 3), 250.0)
    points[:, 2] = 1
    for joints, (x, y) in {
        contour.SHOULDERS: (60, 120), contour.HIPS: (160, 120), contour.KNEES: (200, 100), contour.ANKLES: (205, 158),
    }.items():  # fmt: skip
        points[list(joints), :2] = (x, y)
    points[contour.SHOULDERS[0], 0] += breadth / 2
    points[contour.SHOULDERS[1], 0] -= breadth / 2
    points[list(contour.ELBOWS + contour.WRISTS), :2] = (20, 20)
    points[list(contour.ELBOWS), 2] = 0
    return points


def test_the_edge_is_between_pixels():
    trunk = contour.outline(masks(), lying()[None])[0]
    np.testing.assert_allclose(trunk[:, 0], [85, 100, 115, 130, 145, 160, 180, 85, 110, 135], atol=1e-6)
    np.testing.assert_allclose(trunk[:, 1], [BOTTOM + 0.5] * BACK + [TOP - 0.5] * 3, atol=0.2)
    assert (trunk[:, 2] > 0.9).all()


def test_a_soft_edge_scores_less():
    soft = torch.linspace(4, -4, 121).view(1, -1, 1).repeat(1, 1, 256)
    levels = torch.full((1, 256, 256), -4.0)
    levels[:, 100:221] = soft
    levels[:, :100] = 4
    points = lying()
    points[:, 1] += 20
    scores = contour.outline(levels, points[None])[0, :3, 2]
    assert ((scores > 0) & (scores < 0.4)).all()


def test_a_mirrored_picture_gives_mirrored_points():
    mirrored = lying()
    mirrored[:, 0] = 255 - mirrored[:, 0]
    trunk = contour.outline(masks(), lying()[None])[0]
    other = contour.outline(masks().flip(-1), mirrored[None])[0]
    np.testing.assert_allclose(other[:, 0], 255 - trunk[:, 0], atol=1e-4)
    np.testing.assert_allclose(other[:, 1:], trunk[:, 1:], atol=1e-4)


@pytest.mark.parametrize("turn", [1, -1])
def test_the_back_of_who_sits_upright_is_where_the_shins_go(turn):
    points = lying()
    x, y = points[:, 0].copy(), points[:, 1].copy()
    points[:, 0], points[:, 1] = (y, x) if turn == 1 else (255 - y, x)
    picture = masks().transpose(1, 2) if turn == 1 else masks().transpose(1, 2).flip(-1)
    trunk = contour.outline(picture.contiguous(), points[None])[0]
    assert (turn * trunk[:BACK, 0]).min() > (turn * trunk[BACK:, 0]).max()


def test_a_frontal_view_has_no_profile():
    assert np.isnan(contour.outline(masks(), lying(breadth=60)[None])[0, :, :2]).all()


@pytest.mark.parametrize(("seen", "hidden"), [(1.0, True), (0.1, False)])
def test_a_visible_arm_on_the_floor_hides_the_back_only(seen, hidden):
    points = lying()
    points[list(contour.ELBOWS), :2], points[list(contour.WRISTS), :2] = (100, 152), (150, 152)
    points[list(contour.ELBOWS), 2] = seen
    trunk = contour.outline(masks(), points[None])[0]
    assert np.isnan(trunk[2:5, 0]).all() == hidden
    assert np.isfinite(trunk[BACK:]).all() and (trunk[np.isnan(trunk[:, 0]), 2] == 0).all()


def test_an_arm_along_the_trunk_does_not_hide_the_edge_beyond_it():
    points = lying()
    points[list(contour.ELBOWS), :2], points[list(contour.WRISTS), :2] = (110, 125), (158, 128)
    points[list(contour.ELBOWS), 2] = 1
    assert np.isfinite(contour.outline(masks(), points[None])).all()


def test_no_edge_is_nan():
    everywhere, nowhere = torch.full((1, 256, 256), 4.0), torch.full((1, 256, 256), -4.0)
    for levels in (everywhere, nowhere):
        trunk = contour.outline(levels, lying()[None])[0]
        assert np.isnan(trunk[:, :2]).all() and (trunk[:, 2] == 0).all()


def test_an_edge_made_by_the_end_of_the_crop_does_not_count():
    points = lying()
    points[:, 1] += 110  # chord at y = 230: the picture ends below
    levels = torch.full((1, 256, 256), 4.0)
    assert np.isnan(contour.outline(levels, points[None])[0, :3, 0]).all()


def test_batches_are_independent():
    two = contour.outline(masks().repeat(2, 1, 1), np.stack([lying(), lying(breadth=60)]))
    assert np.isfinite(two[0]).all() and np.isnan(two[1, :, 0]).all()
