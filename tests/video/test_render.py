from dataclasses import replace
from itertools import pairwise

import av
import numpy as np
import pytest

from src.motion.camera import sample_camera, true_track
from src.motion.kinematics import sample_performance
from src.motion.person import sample_person
from src.video.render import build, render_clip, render_frames, sample_look

SIZE = (160, 96)


def scene(seed=1, view="side", fps_hz=4.0, size=SIZE):
    rng = np.random.default_rng(seed)
    perf = sample_performance(sample_person(rng), 1, fps_hz, rng)
    return perf, sample_camera(perf.joints[:, :21], fps_hz, size, view, rng), sample_look(rng)


@pytest.mark.parametrize("view", ["side", "oblique", "frontal"])
def test_joints_lie_on_the_person(view):
    perf, camera, look = scene(2, view, size=(320, 180))
    track = true_track(perf, camera)
    rates = []
    for keypoints, (picture, mask) in zip(track.keypoints, render_frames(perf, camera, look), strict=True):
        assert picture.shape == (180, 320, 3) and picture.dtype == np.uint8
        assert mask.min() >= 0 and mask.max() == 1
        x, y = np.clip(np.round(keypoints[5:17, :2]), 0, (319, 179)).astype(int).T
        rates.append((mask[y, x] > 0).mean())
    assert np.mean(rates) > (0.8 if view == "side" else 0.6)


def test_same_seed_same_pixels_and_other_look_other_pixels():
    perf, camera, look = scene(3)
    first, again = ([frame for frame, _ in render_frames(perf, camera, look)] for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    other = next(iter(render_frames(perf, camera, sample_look(np.random.default_rng(9)))))[0]
    assert not np.array_equal(first[0], other)


def test_clip_has_every_frame_and_the_same_bytes_every_time(tmp_path):
    perf, camera, look = scene(4)
    count = render_clip(perf, camera, look, tmp_path / "a.mp4")
    render_clip(perf, camera, look, tmp_path / "b.mp4")
    assert count == len(perf.joints)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == SIZE and float(stream.average_rate) == perf.fps_hz
        assert stream.codec_context.pix_fmt == "yuv420p" and stream.codec_context.name == "h264"
        assert sum(1 for _ in container.decode(video=0)) == count


def test_surface_is_closed_and_finite():
    perf, camera, look = scene(5)
    built = build(perf, camera, look)
    points = built.points(0)
    assert np.isfinite(points).all() and built.faces.max() < len(points) == len(built.albedo)
    assert 2000 < len(points) < 20000
    assert points[:, 2].min() > -0.35  # a large plate may dip below the floor of a low set, a body may not
    assert built.surfaces[0].points[..., 2].min() >= 0


def test_an_open_shutter_blurs_what_moves():
    perf, camera, look = scene(5)
    sharp, soft = (
        [mask for _, mask in render_frames(perf, camera, replace(look, shutter=shutter))] for shutter in (0.0, 1.0)
    )
    assert np.allclose(soft[0], sharp[0])
    for (before, now), blurred in zip(pairwise(sharp), soft[1:], strict=True):
        assert np.allclose(blurred, (before + now) / 2, atol=1e-6)
    assert max(np.abs(now - before).max() for before, now in pairwise(sharp)) > 0.5
