import numpy as np
import pytest
import torch

from src.motion.keypoints import HIP_THRUST
from src.video import keypointrcnn
from src.video.tflite import WeightsError


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "random.pt"
    torch.manual_seed(0)
    torch.save(keypointrcnn.network().state_dict(), path)
    return path


def small(weights):
    """A detector whose pictures and lists of proposals are small enough for a test."""
    net = keypointrcnn.KeypointRCNN(weights)
    net.network.transform.min_size, net.network.transform.max_size = (96,), 128
    net.network.rpn._post_nms_top_n, net.network.roi_heads.detections_per_img = {"training": 8, "testing": 8}, 4
    return net


def frames(count):
    return [(np.full((1, 48, 64, 3), 100 + t, np.uint8), np.array([t / 30])) for t in range(count)]


def test_random_weights_run_and_find_nobody(weights):
    track = keypointrcnn.follow(small(weights), frames(2), 30.0, (64, 48))
    assert track.keypoints.shape == (2, 32, 3) and track.detector == keypointrcnn.DETECTOR
    assert track.people == 0 and np.isnan(track.keypoints[..., :2]).all()


def test_people_come_out_as_points_of_the_picture(weights, monkeypatch):
    monkeypatch.setattr(keypointrcnn, "MIN_SCORE", 0.0)
    net = small(weights)
    net.network.roi_heads.score_thresh = 0.0
    (found,) = net.detect(frames(1)[0][0])
    assert found.ndim == 3 and found.shape[1:] == (17, 3) and len(found)
    assert (found[..., 2] >= 0).all() and (found[..., 2] <= 1).all() and (found[..., 0] <= 64).all()


@pytest.mark.parametrize("content", [None, b"no weights"])
def test_wrong_weights_are_one_line_that_names_the_file(tmp_path, content):
    path = tmp_path / "w.pt"
    if content:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match="w.pt") as error:
        keypointrcnn.KeypointRCNN(path)
    assert "\n" not in str(error.value)


class Script:
    """Two people: a lifter on the left and somebody standing, in changing order."""

    def __init__(self):
        self.t = 0

    def person(self, hips, trunk):
        points = np.ones((17, 3), np.float32)
        points[:, :2] = hips
        points[[5, 6], :2] += trunk
        points[[15, 16], :2] -= trunk
        return points

    def detect(self, pictures):
        out = []
        for _ in pictures:
            lifter = self.person((20, 40 + 4 * np.sin(self.t / 10)), (-20, 0))
            stands = self.person((50, 20), (0, -20))
            out.append(np.stack([lifter, stands][:: (-1) ** self.t]))
            self.t += 1
        return out


def test_people_are_linked_and_the_lifter_chosen():
    track = keypointrcnn.follow(Script(), frames(150), 30.0, (64, 48))
    assert track.people == 1
    assert (track.keypoints[:, HIP_THRUST.index("left_hip"), 0] == 20).all()
    assert np.isnan(track.keypoints[:, 17:, :2]).all() and (track.keypoints[:, 17:, 2] == 0).all()


def standing(x):
    points = np.ones((17, 3), np.float32)
    points[:, :2] = (x, 50)
    points[[5, 6], 1] -= 100
    return points


@pytest.mark.parametrize("order", [1, -1])
def test_the_order_of_people_changes_nothing(order):
    people = [[(0, standing(x))] for x in (0, 40)[::order]]
    keypointrcnn.link(people, np.stack([standing(x) for x in (38, -45)[::order]]), 1, 30.0)
    paths = {tuple(float(points[11, 0]) for _, points in person) for person in people}
    assert paths == {(0.0, -45.0), (40.0, 38.0)}


def test_nobody_found_links_nobody():
    people = [[(0, standing(0))]]
    keypointrcnn.link(people, np.zeros((0, 17, 3), np.float32), 1, 30.0)
    assert len(people) == 1 and len(people[0]) == 1
