import shutil
from pathlib import Path

import av
import numpy as np
import pytest

from src import detect
from src.config import ConfigError, Detect, load
from src.motion.keypoints import HIP_THRUST, Track
from src.video.probe import ClipError
from src.video.tflite import WeightsError


def settings(tmp_path, **changes):
    values = {
        "clips_dir": tmp_path / "clips", "poses_dir": tmp_path / "poses", "detector": "blazepose", "device": "cpu",
        "engine": "auto", "weights": Path("data/weights"), "precision": "fp32", "fps_hz": 15.0, "max_side_px": 64, "batch": 4,
    }  # fmt: skip
    return Detect(**(values | changes))


def film(path, frames=12):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as box:
        stream = box.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for t in range(frames):
            picture = av.VideoFrame.from_ndarray(np.full((96, 128, 3), 10 * t, np.uint8), format="rgb24")
            box.mux(stream.encode(picture))
        box.mux(stream.encode())


def label(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "labels.csv").write_text("clip,subject,start_s\n" + "".join(f"{n},s1,0\n{n},s1,2\n" for n in names))


@pytest.fixture
def calls(monkeypatch):
    """A detector that only counts frames; the list of what it was given."""
    seen = []

    def detector(frames, fps_hz, size_px):
        count = sum(len(pictures) for pictures, _ in frames)
        seen.append((count, fps_hz, size_px))
        return Track(np.zeros((count, len(HIP_THRUST), 3), np.float32), fps_hz, size_px, "fake")

    monkeypatch.setattr(detect, "make_detector", lambda cfg: detector)
    return seen


def test_each_clip_is_detected_once_and_kept(tmp_path, calls):
    cfg = settings(tmp_path)
    for name in ("a.mp4", "b.mp4"):
        film(tmp_path / "clips/mine" / name)
    label(tmp_path / "clips/mine", "a.mp4", "b.mp4")
    assert detect.work(cfg) == 0 and detect.work(cfg) == 0
    assert calls == [(6, 15.0, (64, 48))] * 2
    track = Track.load(tmp_path / "poses/mine/a.npz")
    assert track.fps_hz == 15 and len(track.keypoints) == 6
    assert (tmp_path / "poses/mine/labels.csv").read_text() == (tmp_path / "clips/mine/labels.csv").read_text()


def test_changed_content_or_settings_are_detected_again(tmp_path, calls):
    film(tmp_path / "clips/mine/a.mp4")
    label(tmp_path / "clips/mine", "a.mp4")
    for frames, cfg in ((12, settings(tmp_path)), (8, settings(tmp_path)), (8, settings(tmp_path, fps_hz=30.0))):
        film(tmp_path / "clips/mine/a.mp4", frames)
        detect.work(cfg)
    assert [count for count, _, _ in calls] == [6, 4, 8]
    detect.work(settings(tmp_path, fps_hz=30.0, batch=2, engine="auto", precision="auto"))
    assert len(calls) == 3
    detect.work(settings(tmp_path, fps_hz=30.0, engine="torch"))
    assert len(calls) == 4


def test_the_engine_behind_auto_is_named(tmp_path, calls, capsys):
    film(tmp_path / "clips/mine/a.mp4")
    label(tmp_path / "clips/mine", "a.mp4")
    detect.work(settings(tmp_path))
    assert "blazepose openvino fp32 on cpu" in capsys.readouterr().err


def test_bad_clips_are_listed_and_stop_nothing(tmp_path, calls, capsys):
    film(tmp_path / "clips/mine/good.mp4")
    (tmp_path / "clips/mine/bad.mp4").write_bytes(b"no video")
    label(tmp_path / "clips/mine", "bad.mp4", "gone.mp4", "good.mp4")
    assert detect.work(settings(tmp_path)) == 0
    assert (tmp_path / "poses/mine/good.npz").is_file() and len(calls) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2 and "bad.mp4" in errors[0] and "gone.mp4" in errors[1]


def test_a_clip_that_went_bad_leaves_no_old_track(tmp_path, calls):
    film(tmp_path / "clips/mine/a.mp4")
    label(tmp_path / "clips/mine", "a.mp4")
    assert detect.work(settings(tmp_path)) == 0
    (tmp_path / "clips/mine/a.mp4").write_bytes(b"no video")
    assert detect.work(settings(tmp_path)) == 3  # not one clip worked
    assert not (tmp_path / "poses/mine/a.npz").exists()


def test_a_folder_that_is_gone_goes_and_other_peoples_files_stay(tmp_path, calls):
    for folder in ("mine", "old"):
        film(tmp_path / f"clips/{folder}/a.mp4")
        label(tmp_path / f"clips/{folder}", "a.mp4")
    (tmp_path / "clips/old/truth.csv").write_text("clip\n")
    assert detect.work(settings(tmp_path)) == 0 and (tmp_path / "poses/old/truth.csv").exists()
    shutil.rmtree(tmp_path / "clips/old")
    (tmp_path / "poses/research").mkdir()
    for name in ("x.npz", "labels.csv"):
        (tmp_path / "poses/research" / name).write_bytes(b"not ours")
    assert detect.work(settings(tmp_path)) == 0
    assert list((tmp_path / "poses/old").iterdir()) == [] and len(calls) == 2
    assert sorted(p.name for p in (tmp_path / "poses/research").iterdir()) == ["labels.csv", "x.npz"]


def test_one_stem_twice_is_an_error_for_the_second(tmp_path, calls, capsys):
    for name in ("a.mp4", "a.mkv"):
        film(tmp_path / "clips/mine" / name)
    label(tmp_path / "clips/mine", "a.mp4", "a.mkv")
    assert detect.work(settings(tmp_path)) == 0 and len(calls) == 1
    assert "same stem" in capsys.readouterr().err


def test_no_clips_is_a_config_error(tmp_path):
    (tmp_path / "clips").mkdir()
    with pytest.raises(ConfigError, match=r"no labels\.csv"):
        detect.work(settings(tmp_path))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"detector": "magic"}, "detector"),
        ({"precision": "int4"}, "detect.precision 'int4' is none of fp32, bf16"),
        ({"engine": "magic"}, r"detect\.engine 'magic' is none of auto, openvino, torch"),
        ({"precision": "bf16", "engine": "torch"}, "none of fp32, which engine torch has on cpu"),
        ({"weights": Path("nowhere")}, "nowhere"),
        ({"detector": "keypointrcnn", "weights": Path("nowhere.pt")}, r"nowhere\.pt"),
        (
            {"detector": "keypointrcnn", "engine": "openvino"},
            "detect.engine 'openvino': keypointrcnn has auto or torch only",
        ),
        (
            {"detector": "keypointrcnn", "precision": "bf16"},
            "detect.precision 'bf16': keypointrcnn has auto or fp32 only",
        ),
    ],
)
def test_wrong_settings_are_named(tmp_path, change, error):
    with pytest.raises((ConfigError, WeightsError), match=error) as caught:
        detect.make_detector(settings(tmp_path, **change))
    assert "\n" not in str(caught.value)


def test_the_shipped_settings_detect_a_clip_without_people(tmp_path):
    cfg = load(Detect, "detect.device=cpu", "detect.precision=fp32")
    film(tmp_path / "grey.mp4")
    track = detect.track_clip(tmp_path / "grey.mp4", detect.make_detector(cfg), cfg)
    assert track.people == 0 and track.size_px == (128, 96) and np.isnan(track.keypoints[..., 0]).all()
    with pytest.raises(ClipError):
        detect.track_clip(tmp_path / "none.mp4", detect.make_detector(cfg), cfg)


def test_tracks_of_clips_that_left_the_labels_are_removed(tmp_path, calls):
    cfg = settings(tmp_path)
    for name in ("a.mp4", "b.mp4"):
        film(tmp_path / "clips/mine" / name)
    label(tmp_path / "clips/mine", "a.mp4", "b.mp4")
    detect.work(cfg)
    label(tmp_path / "clips/mine", "a.mp4")
    detect.work(cfg)
    assert sorted(path.name for path in (tmp_path / "poses/mine").iterdir()) == ["a.key", "a.npz", "labels.csv"]
