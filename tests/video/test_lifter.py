import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from src.motion.keypoints import HIP_THRUST, SPINE
from src.video import choice, lifter
from src.video.blazepose import HIP_CENTRE, RIM, Detections, Pose

FPS_HZ, SIZE_PX = 30.0, (640, 480)


def body(hips, trunk, rise=0.0):
    """Landmarks (39, 3) of somebody with hips at (x, y), a trunk vector towards the shoulders, and lifted hips."""
    hips, trunk = np.array(hips, float), np.array(trunk, float)
    points = np.ones((39, 3))
    points[:, :2] = hips
    points[[11, 12], :2] += trunk
    points[[27, 28], :2] += -trunk + [0, 30]
    points[[23, 24], 1] -= rise
    points[RIM, :2] = hips + 1.5 * trunk
    points[HIP_CENTRE, :2] = hips
    return points


class FakePose:
    """People by script: the frame's first pixel is its number; ``people(t)`` gives landmarks (39, 3) each."""

    threads, name = 2, "fake"

    def __init__(self, people, misses=()):
        self.people, self.misses, self.detected, self.looked, self.flips = people, misses, [], [], []

    def number(self, frame):
        return int(frame[0, 0, 0]) + 256 * int(frame[0, 0, 1])

    def detect(self, frames, flip=1):
        self.flips.append(flip)
        out = []
        for t in map(self.number, frames):
            self.detected.append(t)
            p = np.array([] if t in self.misses else self.people(t)).reshape(-1, 39, 3)
            out.append(Detections(p[:, HIP_CENTRE, :2], p[:, RIM, :2], np.ones(len(p))))
        return out

    def look(self, frames, regions, masks=False):
        self.looked.append(len(frames))
        points, presence = np.zeros((len(frames), 39, 3)), np.zeros(len(frames))
        for i, (frame, region) in enumerate(zip(frames, regions, strict=True)):
            for p in self.people(self.number(frame)):
                if np.hypot(*(p[HIP_CENTRE, :2] - region[:2])) < 0.3 * region[2]:
                    points[i], presence[i] = p, 1
        return Pose(points, presence, None, regions)


def frames(count, batch=5):
    numbers = np.arange(count)
    pictures = np.zeros((count, 4, 4, 3), np.uint8)
    pictures[:, 0, 0, 0], pictures[:, 0, 0, 1] = numbers % 256, numbers // 256
    for start in range(0, count, batch):
        yield pictures[start : start + batch], numbers[start : start + batch] / FPS_HZ


def lifting(t, x=200):
    return body((x, 300), (-100, 0), 25 + 25 * np.sin(2 * np.pi * t / 60))


def standing(t, x=500):
    return body((x, 200), (0, -80))


def hips(track):
    return track.keypoints[:, HIP_THRUST.index("left_hip")]


@pytest.mark.parametrize("count", [1, 63, 64, 150])
def test_every_frame_has_its_row_however_frames_come(count):
    tracks = [lifter.follow(FakePose(lambda t: [lifting(t)]), frames(count, b), FPS_HZ, SIZE_PX) for b in (1, 7, 200)]
    for track in tracks:
        assert track.people == 1 and track.size_px == SIZE_PX and len(track.keypoints) == count
        wanted = [lifting(t)[23, 1] for t in range(count)]
        np.testing.assert_allclose(hips(track)[:, 1], wanted, rtol=1e-5)


def test_the_detector_runs_on_every_eighth_frame():
    pose = FakePose(lambda t: [lifting(t)])
    lifter.follow(pose, frames(100), FPS_HZ, SIZE_PX)
    assert pose.detected == list(range(0, 100, 8))
    assert sum(pose.looked) == 100 + 13


def test_what_goes_wrong_on_a_thread_is_raised():
    class Broken(FakePose):
        def look(self, frames, regions, masks=False):
            if masks:
                raise RuntimeError("out of memory")
            return super().look(frames, regions)

    with pytest.raises(RuntimeError, match="out of memory"):
        lifter.follow(Broken(lambda t: [lifting(t)]), frames(10), FPS_HZ, SIZE_PX)


def test_torch_keeps_its_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        lifter.follow(FakePose(lambda t: [lifting(t)]), frames(10), FPS_HZ, SIZE_PX)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_nobody_is_all_nan():
    track = lifter.follow(FakePose(lambda t: []), frames(20), FPS_HZ, SIZE_PX)
    assert track.people == 0 and np.isnan(track.keypoints[..., :2]).all() and (track.keypoints[..., 2] == 0).all()


def test_no_frames_is_an_empty_track():
    assert lifter.follow(FakePose(lambda t: []), iter(()), FPS_HZ, SIZE_PX).keypoints.shape == (0, 32, 3)


@pytest.mark.parametrize("order", [1, -1])
def test_the_lifter_is_chosen_not_the_larger_bystander(order):
    def people(t):
        return [lifting(t), body((500, 200), (0, -200))][::order]

    track = lifter.follow(FakePose(people), frames(200), FPS_HZ, SIZE_PX)
    assert track.people == 1 and np.nanmedian(hips(track)[:, 0]) == 200


def test_two_lifters_are_two_people():
    track = lifter.follow(FakePose(lambda t: [lifting(t), lifting(t + 20, 480)]), frames(200), FPS_HZ, SIZE_PX)
    assert track.people == 2


def test_the_detector_may_miss_a_second():
    pose = FakePose(lambda t: [lifting(t)], misses=range(40, 64))
    track = lifter.follow(pose, frames(128), FPS_HZ, SIZE_PX)
    assert np.isfinite(hips(track)[:, 0]).all()


def test_who_leaves_is_missing_until_back():
    track = lifter.follow(FakePose(lambda t: [] if 60 <= t < 200 else [lifting(t)]), frames(260), FPS_HZ, SIZE_PX)
    there = np.isfinite(hips(track)[:, 0])
    assert track.people == 1 and there[:60].all() and there[200:].all() and not there[60:200].any()


def person_whose_hips_move(height_px):
    person = lifter.Person()
    for t in range(0, 128, 8):
        pose = Pose(lifting(0)[None].copy(), np.ones(1), None, np.zeros((1, 5)))
        pose.points[0, HIP_CENTRE, 1] += height_px(t)
        person.see(t, pose, 0)
    return person.steady(np.arange(128), FPS_HZ)[:, 1]


def test_regions_do_not_jump_with_single_key_frames():
    heights = person_whose_hips_move(lambda t: 20 * (-1) ** (t // 8))
    assert np.abs(np.diff(heights)).max() < 4 and np.ptp(heights[16:-16]) < 20


def test_regions_ride_with_the_hips():
    heights = person_whose_hips_move(lambda t: 40 * np.sin(2 * np.pi * t / 90))
    assert np.ptp(heights[16:-16]) > 0.75 * 80


@pytest.mark.parametrize(("heading", "turn", "flip"), [(2.0, 1.5, 1), (-2.0, -1.5, -1), (0, -1.5, 1), (0, 1.5, -1)])
def test_the_network_sees_every_head_on_the_left(heading, turn, flip):
    """By the trunks seen so far; of a newcomer, by the detector's region."""
    person = lifter.Person(heading=heading)
    assert person.flipped(np.array([[10, 20, 100, turn, 1]])).tolist() == [[10, 20, 100, turn, flip]]


@pytest.mark.parametrize(("trunk_px", "flips"), [(-100, [1, 1]), (100, [1, -1, -1])])
def test_the_detector_is_shown_every_head_on_the_left(trunk_px, flips):
    """A film of two blocks; in the first nobody knows on which side the head is."""
    pose = FakePose(lambda t: [body((300, 300), (trunk_px, 0))])
    lifter.follow(pose, frames(2 * lifter.BLOCK), FPS_HZ, SIZE_PX)
    assert pose.flips == flips


def candidate(x, frame=0):
    person = lifter.Person([frame], [np.array([x, 0.0, 100.0, 0.0, 1.0])], [1.0])
    return person


def continued(people, xs, frame):
    """Which x each old person goes on with, and where new people begin."""
    at = np.array([[x, 0.0] for x in xs]).reshape(-1, 2)
    rim = at + [0.0, 40.0]
    found = Detections(at, rim, np.ones(len(at)))
    return {(p.regions[-1][0] if p.frames else None, r[0]) for p, r in lifter.match(people, found, frame, FPS_HZ)}


@pytest.mark.parametrize("order", [1, -1])
def test_the_nearest_two_are_linked_first(order):
    people, found = [candidate(0), candidate(30)][::order], [28, -34][::order]
    assert continued(people, found, 8) == {(0.0, -34.0), (30.0, 28.0)}


@given(
    st.lists(st.floats(0, 400), max_size=3, unique=True),
    st.lists(st.floats(0, 400), max_size=3, unique=True),
    st.integers(0, 200),
    st.randoms(use_true_random=False),
)
def test_the_order_of_people_changes_nothing(old, new, frame, random):
    apart = np.abs(np.subtract.outer(old, new))
    assume(len(np.unique(apart)) == apart.size)
    people = [candidate(x, -40 * (i % 2)) for i, x in enumerate(old)]
    wanted = continued(people, new, frame)
    random.shuffle(people)
    random.shuffle(new)
    assert continued(people, new, frame) == wanted


def test_who_was_lost_does_not_take_the_detection_of_who_is_there():
    assert (30.0, 10.0) in continued([candidate(8, -1000), candidate(30, 0)], [10], 8)


@pytest.mark.parametrize(("swing", "wanted"), [(0.3, 1.0), (0.0, 0.0), (0.01, 0.07)])
def test_periodicity(swing, wanted):
    height = swing * np.sin(2 * np.pi * np.arange(300) / 75)
    assert abs(choice.periodicity(height, FPS_HZ) - wanted) < 0.06


def test_a_drift_is_no_rhythm():
    assert choice.periodicity(np.linspace(0, 3, 300), FPS_HZ) < 0.2


def test_masks_give_the_outline_and_the_spine_comes_with_them():
    points = lifting(45)[None]
    points[0, [25, 26], :2] = (280, 270)
    region = np.array([[200.0, 300, 400, 0, 1]])
    masks = torch.full((1, 256, 256), -5.0)
    masks[:, 100:148, 20:220] = 5
    keypoints = lifter.posed(Pose(points, np.ones(1), masks, region, None, np.array([[[128.0, 64.0, 1.0]]])))[0]
    assert keypoints[HIP_THRUST.index(SPINE)].tolist() == [200.0, 200.0, 1.0]
    back, front = (keypoints[HIP_THRUST.index(n)] for n in ("back_55", "front_50"))
    assert back[1] > 300 > front[1] and back[2] > 0.8 and front[2] > 0.8


def test_feet_taken_for_the_head_leave_gaps_not_a_turned_lifter():
    def people(t):
        return [body((200, 300), (100, 0)) if 60 <= t < 90 else lifting(t)]

    track = lifter.follow(FakePose(people), frames(240), FPS_HZ, SIZE_PX)
    across = (
        track.keypoints[:, HIP_THRUST.index("left_hip"), 0] - track.keypoints[:, HIP_THRUST.index("left_shoulder"), 0]
    )
    assert np.isnan(across[60:90]).all() and (across[:60] > 0).all() and (across[90:] > 0).all()


def test_who_watches_is_told_of_every_batch_of_the_track():
    told = []
    track = lifter.follow(
        FakePose(lambda t: [lifting(t)]), frames(100), FPS_HZ, SIZE_PX, 8, lambda *batch: told.append(batch)
    )
    rows = {int(n): points for numbers, keypoints, _ in told for n, points in zip(numbers, keypoints, strict=True)}
    assert sorted(rows) == list(range(100)) and all(len(numbers) == len(look.points) <= 8 for numbers, _, look in told)
    assert all(np.array_equal(points, track.keypoints[n], equal_nan=True) for n, points in rows.items())


def test_who_sits_up_is_not_turned():
    track = lifter.follow(FakePose(lambda t: [standing(t) if t > 150 else lifting(t)]), frames(240), FPS_HZ, SIZE_PX)
    assert np.isfinite(track.keypoints[:150, HIP_THRUST.index("left_hip"), 0]).all()
    assert (
        not lifter.wrong_way(np.array([0.0, 0.4, -0.4]), -3.0).any() and lifter.wrong_way(np.array([0.6]), -3.0).all()
    )
