import numpy as np
import pytest
from conftest import thrust
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from src.motion.keypoints import HIP_THRUST, Track, TrackError, middle, mirror

K = len(HIP_THRUST)


def test_skeleton_names_are_whole():
    assert len(set(HIP_THRUST.points)) == K
    assert all(end in HIP_THRUST.points for bone in HIP_THRUST.bones for end in bone)
    for name, partner in zip(HIP_THRUST.points, HIP_THRUST.mirrored, strict=True):
        swapped = name.replace("left_", "~").replace("right_", "left_").replace("~", "right_")
        assert HIP_THRUST.points[partner] == swapped
    with pytest.raises(TrackError, match="tail"):
        HIP_THRUST.index("tail")


@settings(max_examples=25)
@given(
    keypoints=arrays(np.float32, st.tuples(st.integers(0, 6), st.just(K), st.just(3)), elements=st.floats(width=32)),
    fps_hz=st.floats(0.1, 1000.0),
    size=st.tuples(st.integers(1, 9999), st.integers(1, 9999)),
    detector=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20),
    people=st.integers(0, 9),
)
def test_save_and_load_give_the_same_track(tmp_path_factory, keypoints, fps_hz, size, detector, people):
    path = tmp_path_factory.mktemp("track") / "new folder" / "my clip (1).v2.npz"
    track = Track(keypoints, fps_hz, size, detector, people)
    track.save(path)
    again = Track.load(path)
    assert np.array_equal(again.keypoints, keypoints, equal_nan=True) and again.keypoints.dtype == np.float32
    assert (again.fps_hz, again.size_px, again.detector, again.people) == (fps_hz, size, detector, people)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@settings(max_examples=20)
@given(seed=st.integers(0, 999), occlusion=st.floats(0.0, 0.5))
def test_a_mirror_twice_is_no_mirror(seed, occlusion):
    track = thrust(1, 10.0, noise_px=5.0, occlusion=occlusion, seed=seed)
    once, twice = mirror(track), mirror(mirror(track))
    np.testing.assert_allclose(twice.keypoints, track.keypoints, atol=1e-3)
    left, right = HIP_THRUST.index("left_hip"), HIP_THRUST.index("right_hip")
    np.testing.assert_allclose(once.keypoints[:, left, 0], 1279 - track.keypoints[:, right, 0], atol=1e-3)
    np.testing.assert_array_equal(once.keypoints[:, left, 1:], track.keypoints[:, right, 1:])


@pytest.mark.parametrize(
    ("shape", "fps_hz", "names"),
    [
        ((5, K), 30.0, "(5, 32)"),
        ((5, K, 2), 30.0, "(5, 32, 2)"),
        ((5, 17, 3), 30.0, "17"),
        ((5, K, 3), 0.0, "0.0"),
        ((5, K, 3), -25.0, "-25"),
        ((5, K, 3), float("nan"), "nan"),
        ((5, K, 3), float("inf"), "inf"),
    ],
)
def test_a_broken_contract_is_refused_with_its_number(shape, fps_hz, names):
    with pytest.raises(TrackError) as caught:
        Track(np.zeros(shape, np.float32), fps_hz, (640, 360), "test")
    assert names in str(caught.value)


@pytest.mark.parametrize("damage", ["missing", "empty", "text", "cut", "field"])
def test_a_damaged_file_is_a_track_error_that_names_it(tmp_path, damage):
    path = tmp_path / "clip.npz"
    thrust(1, 10.0).save(path)
    if damage == "missing":
        path.unlink()
    elif damage == "field":
        np.savez(path, keypoints=np.zeros((2, K, 3)))
    else:
        path.write_bytes({"empty": b"", "text": b"no track at all", "cut": path.read_bytes()[:-200]}[damage])
    with pytest.raises(TrackError, match="clip.npz"):
        Track.load(path)


def test_seconds_run_at_the_frame_rate():
    track = thrust(1, 25.0)
    np.testing.assert_allclose(track.seconds, np.arange(len(track.keypoints)) / 25.0, rtol=1e-6)


def test_a_track_of_another_skeleton_may_have_three_dimensions(tmp_path):
    keypoints = np.random.default_rng(0).random((5, 19, 4), np.float32)
    Track(keypoints, 50.0, (0, 0), "mocap", skeleton="body_19").save(tmp_path / "a.npz")
    again = Track.load(tmp_path / "a.npz")
    assert np.array_equal(again.keypoints, keypoints) and again.skeleton == "body_19"
    for shape in ((5, 19, 5), (5, 19)):
        with pytest.raises(TrackError, match="3 or 4"):
            Track(np.zeros(shape, np.float32), 50.0, (0, 0), "mocap", skeleton="body_19")
    with pytest.raises(TrackError, match="3"):  # hip thrusts are seen in a picture
        Track(np.zeros((5, K, 4), np.float32), 50.0, (640, 360), "x")


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_the_middle_lies_between_left_and_right_and_needs_both(kind):
    keypoints = np.zeros((2, K, 3), kind)
    keypoints[:, HIP_THRUST.index("left_knee"), :2], keypoints[:, HIP_THRUST.index("right_knee"), :2] = (2, 4), (6, 8)
    keypoints[1, HIP_THRUST.index("right_knee"), :2] = np.nan
    knee = middle(keypoints, "knee")
    assert knee.dtype == kind and knee[0].tolist() == [4, 6] and np.isnan(knee[1]).all()
