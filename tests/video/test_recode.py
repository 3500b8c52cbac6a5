import av
import numpy as np
import pytest

from src.video.clips import read
from src.video.probe import ClipError, probe
from src.video.recode import recode


@pytest.fixture
def clip(tmp_path):
    """Ten frames of 162 x 94 px at 25 Hz, each of its own brightness, under fine noise."""
    rng = np.random.default_rng(0)
    with av.open(str(tmp_path / "a.mp4"), "w") as box:
        track = box.add_stream("libx264", rate=25, options={"crf": "10"})
        track.width, track.height, track.pix_fmt = 162, 94, "yuv420p"
        for t in range(10):
            picture = np.clip(20 * t + 20 + rng.normal(0, 8, (94, 162, 1)), 0, 255).astype(np.uint8).repeat(3, axis=2)
            box.mux(track.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        box.mux(track.encode())
    return tmp_path / "a.mp4"


def brightness(path):
    return np.concatenate([pictures.mean(axis=(1, 2, 3)) for pictures, _ in read(path)])


@pytest.mark.parametrize(("scale", "size_px"), [(1.0, (162, 94)), (0.5, (80, 46))])
def test_a_clip_stays_the_same_film(clip, tmp_path, scale, size_px):
    recode(clip, tmp_path / "b.mp4", 28, scale)
    again = probe(tmp_path / "b.mp4")
    assert (again.size_px, again.frames, again.fps_hz) == (size_px, 10, 25.0)
    np.testing.assert_allclose(brightness(tmp_path / "b.mp4"), brightness(clip), atol=4)


def test_harder_is_smaller(clip, tmp_path):
    for crf in (20, 40):
        recode(clip, tmp_path / f"{crf}.mp4", crf)
    assert (tmp_path / "40.mp4").stat().st_size < 0.7 * (tmp_path / "20.mp4").stat().st_size


def test_a_broken_clip_is_named(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(ClipError, match=r"a\.mp4"):
        recode(tmp_path / "a.mp4", tmp_path / "b.mp4", 28)
