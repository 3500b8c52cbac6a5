from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from conftest import thrust

from src.motion.keypoints import HIP_THRUST
from src.motion.measure import measure
from src.motion.reps import find_reps
from src.video.anonymous import HEAD, head_circles
from src.video.overlay import STILL_PX, Still, annotate, skeleton, write_film
from src.video.probe import ClipError


def film_of(path, frames, size=(320, 180), noise=True):
    """A film of noise, in which everything that is drawn or hidden shows."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as box:
        stream = box.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.options = {"crf": "12", "preset": "ultrafast"}
        for t in range(frames):
            picture = rng.integers(0, 256, (size[1], size[0], 3), np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = t, Fraction(1, 30)
            box.mux(stream.encode(frame))
        box.mux(stream.encode())
    return path


def small_track(reps=1, size=(320, 180), **more):
    """The closed-form thrust in a picture of this size."""
    track = thrust(reps, **more)
    keypoints = track.keypoints.copy()
    keypoints[..., :2] *= np.array(size, np.float32) / track.size_px
    return replace(track, keypoints=keypoints, size_px=size)


def decoded(path):
    with av.open(str(path)) as box:
        return [frame.to_ndarray(format="rgb24") for frame in box.decode(video=0)]


@pytest.mark.parametrize("size", [(320, 180), (182, 322), (98, 66)])
def test_a_film_that_every_browser_plays_with_all_its_frames(tmp_path, size):
    track = small_track(size=size)
    film = tmp_path / "out" / "film.mp4"
    annotate(film_of(tmp_path / "a.mp4", len(track.keypoints), size), track, 30.0, film, [])
    with av.open(str(film)) as box:
        stream = box.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == size and len(box.streams) == 1
        assert float(stream.average_rate) == pytest.approx(30.0)
    body = film.read_bytes()
    assert body.index(b"moov") < body.index(b"mdat")  # starts before it is loaded
    assert len(decoded(film)) == len(track.keypoints) and not list(film.parent.glob("*.part"))


@pytest.mark.parametrize("fps_hz", [0.4, 1 / 6000, 1e-7])
def test_a_film_of_hardly_any_frames_a_second(tmp_path, fps_hz):
    write_film(tmp_path / "film.mp4", iter(np.zeros((4, 66, 98, 3), np.uint8)), fps_hz, (98, 66))
    with av.open(str(tmp_path / "film.mp4")) as box:
        assert float(box.streams.video[0].average_rate) == pytest.approx(max(fps_hz, 1 / 1001))
    assert len(decoded(tmp_path / "film.mp4")) == 4


def test_the_same_pictures_make_the_same_film_whatever_was_written_before(tmp_path):
    """x264's look-ahead on threads of its own carries over from film to film."""
    rng = np.random.default_rng(1)
    pictures = rng.integers(0, 256, (2, 40, 120, 214, 3), np.uint8)
    pictures = pictures // 4 + np.linspace(0, 180, 214).astype(np.uint8)[:, None]
    made = set()
    for i in range(12):
        write_film(tmp_path / "other.mp4", iter(pictures[1][: 5 + 3 * i]), 30.0, (214, 120))
        write_film(tmp_path / "film.mp4", iter(pictures[0]), 30.0, (214, 120))
        made.add((tmp_path / "film.mp4").read_bytes())
    assert len(made) == 1


def test_stills_show_the_lifter_at_one_size(tmp_path):
    track = small_track(reps=2)
    reps = find_reps(track)
    stills = [Still(round(r.top_s * 30), tmp_path / f"{i}.jpg", measure(track, r)) for i, r in enumerate(reps)]
    annotate(film_of(tmp_path / "a.mp4", len(track.keypoints)), track, 30.0, tmp_path / "film.mp4", stills)
    assert len(reps) == 2
    for still in stills:
        with av.open(str(still.path)) as box:
            picture = next(box.decode(video=0)).to_ndarray(format="rgb24").astype(int)
        assert picture.shape == (STILL_PX[1], STILL_PX[0], 3)
        orange = (abs(picture - (255, 176, 0)).max(axis=-1) < 40).sum()
        assert orange > 500  # a bone of the left side


def test_nobody_and_unmeasured_angles_are_drawn_as_nothing(tmp_path):
    track = small_track()
    nobody = replace(track, keypoints=np.full_like(track.keypoints, np.nan), people=0)
    measures = replace(measure(track, find_reps(track)[0]), hip_top_deg=float("nan"))
    still = Still(10, tmp_path / "a.jpg", measures)
    annotate(film_of(tmp_path / "a.mp4", len(track.keypoints)), nobody, 30.0, tmp_path / "film.mp4", [still])
    assert (tmp_path / "a.jpg").is_file() and len(decoded(tmp_path / "film.mp4")) == len(track.keypoints)


def detail(frame, x, y, radius):
    """How much neighbouring pixels differ around a place."""
    x, y, r = round(x), round(y), max(2, round(0.5 * radius))
    part = frame[max(0, y - r) : y + r, max(0, x - r) : x + r].astype(float)
    return float(np.abs(np.diff(part, axis=1)).mean())


def test_anonymize_leaves_nothing_of_a_head_and_touches_nothing_far_from_it(tmp_path):
    track = small_track()
    keypoints = track.keypoints.copy()
    keypoints[20:40, [HIP_THRUST.index(p) for p in HEAD]] = (np.nan, np.nan, 0.0)  # looked away
    track = replace(track, keypoints=keypoints)
    source = film_of(tmp_path / "a.mp4", len(track.keypoints))
    for name, hidden in (("plain", False), ("hidden", True)):
        annotate(source, track, 30.0, tmp_path / f"{name}.mp4", [], anonymize=hidden)
    circles, plain, hidden = head_circles(track), decoded(tmp_path / "plain.mp4"), decoded(tmp_path / "hidden.mp4")
    for t in (0, 30, len(circles) - 1):
        assert detail(hidden[t], *circles[t]) < 0.4 * detail(plain[t], *circles[t])
        assert detail(hidden[t], 300, 20, 20) > 0.8 * detail(plain[t], 300, 20, 20)


def test_without_a_known_head_the_whole_picture_is_hidden(tmp_path):
    track = small_track()
    nobody = replace(track, keypoints=np.full_like(track.keypoints, np.nan), people=0)
    source = film_of(tmp_path / "a.mp4", len(track.keypoints))
    annotate(source, nobody, 30.0, tmp_path / "film.mp4", [], anonymize=True)
    frames, before = decoded(tmp_path / "film.mp4"), decoded(source)
    for x, y in ((20, 20), (160, 90), (300, 160)):
        assert detail(frames[5], x, y, 30) < 0.2 * detail(before[5], x, y, 30)


def test_a_clip_that_is_gone_is_named(tmp_path):
    with pytest.raises(ClipError, match="gone.mp4"):
        annotate(tmp_path / "gone.mp4", small_track(), 30.0, tmp_path / "film.mp4", [])
    assert not (tmp_path / "film.mp4").exists()


def test_the_outline_that_a_verdict_rests_on_is_drawn():
    keypoints = np.full((len(HIP_THRUST), 3), np.nan, np.float32)
    keypoints[HIP_THRUST.index("back_55")] = (40, 30, 1)
    drawn = skeleton(np.zeros((60, 80, 3), np.uint8), keypoints, HIP_THRUST.name)
    assert drawn[30, 40].min() > 200 and not drawn[:20].any() and not drawn[:, :30].any()
