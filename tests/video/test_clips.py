import multiprocessing
import os
import pickle
import random
import signal
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.video import clips
from src.video.clips import nearest_frames, output_rate, read, scaled_size
from src.video.probe import ClipError, _timed, probe

REAL = Path(__file__).resolve().parents[2].parent / "shared/clips"


def picture(t, width, height):
    """Frame number as eight dark or bright columns over a half red, half grey floor: order, identity, orientation."""
    rgb = np.full((height, width, 3), 96, np.uint8)
    for bit in range(8):
        rgb[: height // 2, bit * width // 8 : (bit + 1) * width // 8] = 235 if t >> bit & 1 else 20
    rgb[height // 2 :, : width // 2] = (200, 30, 30)
    return rgb


def number(rgb):
    height, width = rgb.shape[:2]
    return sum(1 << bit for bit in range(8) if rgb[height // 4, int((bit + 0.5) * width / 8)].mean() > 128)


def make(path, frames=40, size=(160, 96), codec="libx264", pix="yuv420p", rotation=0, ms=None, mux=None, **options):
    """Encode numbered frames at 30 Hz, or at the given milliseconds."""
    base = Fraction(1, 1000) if ms else Fraction(1, 30)
    with av.open(str(path), "w", options=mux or {}) as box:
        quality = {"crf": "12", "g": "20", "preset": "fast"} if codec == "libx264" else {}
        track = box.add_stream(codec, rate=30, options=quality | options)
        track.width, track.height, track.pix_fmt = size[0], size[1], pix
        if ms:
            track.codec_context.time_base = track.time_base = base
        if rotation:
            track.set_display_rotation(rotation)
        for t in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(t, *size), format="rgb24").reformat(format=pix)
            frame.pts, frame.time_base = (ms[t] if ms else t), base
            box.mux(track.encode(frame))
        box.mux(track.encode())
    return path


def remux(source, target, edit):
    """Copy the packets that ``edit`` gives back, without decoding."""
    with av.open(str(source)) as box, av.open(str(target), "w") as out:
        track = out.add_stream_from_template(box.streams.video[0])
        for k, packet in enumerate(p for p in box.demux(video=0) if p.size):
            if (packet := edit(k, packet)) is not None:
                packet.stream = track
                out.mux(packet)
    return target


def trimmed(folder):
    """Cut at 0.5 s without encoding, as phones do: an edit list hides the 15 frames up to there."""

    def earlier(k, packet):
        shift = int(Fraction(1, 2) / packet.time_base)
        packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
        return packet

    return remux(make(folder / "whole.mp4", 60, g="60"), folder / "trimmed.mp4", earlier)


def spoiled(folder, spoilt, name="spoiled.mp4"):
    """Packets of the given positions are noise, as after a bad download; the container does not know."""

    def noise(k, packet):
        if k not in spoilt:
            return packet
        bad = av.Packet(random.Random(k).randbytes(packet.size))
        bad.pts, bad.dts, bad.time_base, bad.duration = packet.pts, packet.dts, packet.time_base, packet.duration
        return bad

    return remux(make(folder / "sound.mp4", 60), folder / name, noise)


def cut(source, share):
    """The first bytes of a file."""
    data = source.read_bytes()
    target = source.with_stem("cut")
    target.write_bytes(data[: int(len(data) * share)])
    return target


def overreporting(folder):
    """An .avi whose header announces 600 frames and that has 40."""
    path = make(folder / "over.avi", codec="mpeg4")
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.find(b"avih") + 8 + 16, 600)
    struct.pack_into("<I", data, data.find(b"strh") + 8 + 32, 600)
    path.write_bytes(data)
    return path


def sound_only(folder):
    with av.open(str(folder / "song.mp4"), "w") as box:
        track = box.add_stream("aac", rate=44100)
        for k in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = 44100, k * 1024
            box.mux(track.encode(frame))
        box.mux(track.encode())
    return folder / "song.mp4"


def written(folder, name, data):
    (folder / name).write_bytes(data)
    return folder / name


def everything(path, **how):
    batches = list(read(path, **how))
    return np.concatenate([p for p, _ in batches]), np.concatenate([s for _, s in batches])


def numbers(path, **how):
    return [number(rgb) for rgb in everything(path, **how)[0]]


@pytest.mark.parametrize("reader", clips.READERS)
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("plain.mp4", {}),
        ("fast.mp4", {"mux": {"movflags": "faststart"}}),
        ("fragmented.mp4", {"mux": {"movflags": "frag_keyframe+empty_moov"}}),
        ("ten_bit.mp4", {"pix": "yuv420p10le"}),
        ("grey.mp4", {"pix": "gray"}),
        ("odd.mp4", {"pix": "yuv444p", "size": (161, 97)}),
        ("interlaced.mp4", {"x264-params": "interlaced=1:tff=1"}),
        ("a.mov", {}),
        ("a.mkv", {}),
        ("a.webm", {"codec": "libvpx"}),
    ],
)
def test_every_sound_file_gives_every_frame_once(tmp_path, name, kind, reader):
    path = make(tmp_path / name, **kind)
    clip = probe(path)
    assert (clip.frames, clip.fps_hz, clip.rotation_deg, clip.variable_rate) == (40, 30.0, 0, False)
    assert clip.size_px == kind.get("size", (160, 96)) and clip.duration_s == pytest.approx(40 / 30)
    batches = list(read(path, batch=16, reader=reader))
    assert [p.shape for p, _ in batches] == [(n, clip.size_px[1], clip.size_px[0], 3) for n in (16, 16, 8)]
    pictures, seconds = everything(path, reader=reader)
    assert pictures.dtype == np.uint8 and seconds.dtype == np.float64
    assert [number(rgb) for rgb in pictures] == list(range(40))
    np.testing.assert_allclose(seconds, np.arange(40) / 30, atol=1e-3)  # Matroska rounds to milliseconds


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.ts", {}), ("a.avi", {"codec": "mpeg4"}), ("av1.mp4", {"codec": "libsvtav1", "preset": "12", "frames": 10})],
)
def test_auto_is_right_where_decord_is_not(tmp_path, name, kind):
    if kind.get("codec", "libx264") not in av.codecs_available:
        pytest.skip(f"this PyAV has no encoder {kind['codec']}")
    path = make(tmp_path / name, **kind)
    assert numbers(path) == list(range(kind.get("frames", 40)))


def test_edit_list_hides_frames_and_repeats_none(tmp_path):
    path = trimmed(tmp_path)
    clip = probe(path)
    assert (clip.frames, clip.fps_hz, clip.duration_s) == (45, 30.0, 1.5)
    pictures, seconds = everything(path)
    assert [number(rgb) for rgb in pictures] == list(range(15, 60))
    np.testing.assert_allclose(seconds, np.arange(45) / 30, atol=1e-9)
    assert numbers(path, reader="decord") == list(range(15, 60))  # alone it would repeat the last frame 15 times


def test_decord_is_not_believed_when_it_loses_frames(tmp_path):
    path = make(tmp_path / "a.ts")  # it starts at the second key frame and repeats the last one 20 times
    with pytest.raises(ClipError, match="a.ts: decord lost frames after 20 of 40; use the reader pyav"):
        everything(path, reader="decord")


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_rotation_is_the_same_from_both_readers(tmp_path, degrees):
    upright = np.rot90(everything(make(tmp_path / "plain.mp4", 10, size=(320, 240)))[0], degrees // 90, axes=(1, 2))
    path = make(tmp_path / "turned.mp4", 10, size=(320, 240), rotation=degrees)
    clip = probe(path)
    assert clip.rotation_deg == degrees % 360 and clip.size_px == upright.shape[2:0:-1]
    for reader in ("decord", "pyav"):
        np.testing.assert_array_equal(everything(path, reader=reader)[0], upright)
    scaled = [everything(path, reader=reader, max_side_px=220)[0].astype(int) for reader in ("decord", "pyav")]
    assert scaled[0].shape == scaled[1].shape == (10, *scaled_size(clip, 220)[::-1], 3)
    assert np.abs(scaled[0] - scaled[1]).mean() < 2


@pytest.mark.parametrize("size", [(640, 360), (360, 640), (341, 243)])
def test_scaling_keeps_the_picture(tmp_path, size):
    path = make(tmp_path / "a.mp4", 12, size=size, pix="yuv444p")
    clip = probe(path)
    assert scaled_size(clip, None) == scaled_size(clip, 4000) == size
    assert max(scaled_size(clip, 300)) == 300
    ours, theirs = (everything(path, reader=reader, max_side_px=300)[0] for reader in ("decord", "pyav"))
    assert [number(rgb) for rgb in ours] == [number(rgb) for rgb in theirs] == list(range(12))
    assert np.abs(ours.astype(int) - theirs).mean() < 2
    assert everything(path, reader="auto", max_side_px=48)[0].shape[1:] == (*scaled_size(clip, 48)[::-1], 3)


def test_variable_rate_is_read_by_its_true_times(tmp_path):
    ms = [t * 33 if t < 20 else 660 + (t - 20) * 100 for t in range(40)]
    path = make(tmp_path / "variable.mp4", ms=ms)
    clip = probe(path)
    assert clip.variable_rate and clip.fps_hz == pytest.approx(39 / 2.56) and clip.frames == 40
    np.testing.assert_allclose(everything(path)[1], np.array(ms) / 1000, atol=1e-9)
    for reader in ("decord", "pyav"):
        pictures, seconds = everything(path, fps_hz=10, reader=reader)
        np.testing.assert_allclose(seconds, np.arange(26) / 10)
        shown_s = np.array([ms[number(rgb)] for rgb in pictures]) / 1000
        assert np.all(np.abs(shown_s - seconds) <= 0.0501)
    rate_hz = output_rate(clip, 60)
    assert rate_hz == clip.fps_hz  # never above its own average
    np.testing.assert_allclose(everything(path, fps_hz=60)[1], np.arange(40) / rate_hz)


def test_a_film_that_claims_hours_gives_no_more_pictures_than_it_has_frames(tmp_path):
    path = make(tmp_path / "hours.mp4", frames=3, ms=[0, 40, 36_000_000])
    assert probe(path).duration_s >= 36_000 and numbers(path, fps_hz=30.0, reader="pyav") == [0, 1, 2]


@pytest.mark.parametrize("reader", clips.READERS)
@pytest.mark.parametrize(
    ("fps_hz", "expected"), [(30, range(40)), (120, range(40)), (15, range(0, 40, 2)), (1, (0, 30))]
)
def test_constant_rate_takes_the_expected_frames(tmp_path, reader, fps_hz, expected):
    path = make(tmp_path / "a.mp4")
    pictures, seconds = everything(path, fps_hz=fps_hz, reader=reader, batch=7)
    assert [number(rgb) for rgb in pictures] == list(expected)
    np.testing.assert_allclose(seconds, np.arange(len(pictures)) / min(fps_hz, 30))


@given(st.lists(st.floats(0.001, 0.5), max_size=60), st.floats(0.5, 240), st.floats(-100, 100))
def test_nearest_frames(gaps_s, rate_hz, start_s):
    times_s = start_s + np.cumsum([0.0, *gaps_s])
    picks = nearest_frames(times_s, rate_hz)
    ticks_s = np.arange(len(picks)) / rate_hz
    away_s = np.abs((times_s - times_s[0])[None] - ticks_s[:, None])  # (T', T)
    assert picks[0] == 0 and np.all(np.diff(picks) >= 0) and picks[-1] < len(times_s)
    assert np.all(away_s[np.arange(len(picks)), picks] <= away_s.min(1) + 3e-6)
    assert ticks_s[-1] <= times_s[-1] - times_s[0] + 1e-2 and ticks_s[-1] + 1 / rate_hz > times_s[-1] - times_s[0]


@given(st.integers(1, 500), st.floats(1, 240), st.integers(1, 8))
def test_nearest_frames_round_trip(frames, rate_hz, step):
    times_s = np.round(np.arange(frames) / rate_hz, 6)
    np.testing.assert_array_equal(nearest_frames(times_s, rate_hz), np.arange(frames))
    np.testing.assert_array_equal(nearest_frames(times_s, rate_hz / step), np.arange(0, frames, step))


def link(path, target):
    path.symlink_to(target)
    return path


BROKEN = {
    "missing": (lambda d: d / "none.mp4", "none.mp4: no such file"),
    "link to nothing": (lambda d: link(d / "a.mp4", "gone.mp4"), "a.mp4: a link that leads nowhere"),
    "links in a circle": (lambda d: link(d / "a.mp4", "a.mp4"), "a.mp4: a link that leads nowhere"),
    "folder": (lambda d: d, "not a file"),
    "empty": (lambda d: written(d, "empty.mp4", b""), "empty.mp4: 0 bytes"),
    "text": (lambda d: written(d, "notes.mp4", b"3 sets of 10\n" * 99), "notes.mp4: not a readable video"),
    "sound only": (sound_only, "song.mp4: no video track among 1 tracks"),
    "truncated fast start": (
        lambda d: cut(make(d / "a.mp4", mux={"movflags": "faststart"}), 0.6),
        r"cut.mp4: only \d+ of 40 announced frames are there",
    ),
    "truncated without index": (lambda d: cut(make(d / "a.mp4"), 0.6), "cut.mp4: an .mp4 whose index cannot be read"),
    "truncated fragments": (
        lambda d: cut(make(d / "a.mp4", mux={"movflags": "frag_keyframe+empty_moov"}), 0.9),
        r"only 3\d of 40 announced frames are there",
    ),
    "truncated Matroska": (lambda d: cut(make(d / "a.mkv", 60), 0.4), r"only \d+ of 60 announced frames are there"),
    "over-reporting": (overreporting, "over.avi: only 40 of 600 announced frames are there"),
    "no decodable frame": (lambda d: spoiled(d, range(60)), "spoiled.mp4: 0 of 60 frames can be decoded"),
    "no key frame": (
        lambda d: remux(make(d / "a.mp4"), d / "b.mp4", lambda k, packet: packet if k > 5 else None),
        r"only 0 of 3\d frames can be decoded in order",
    ),
    "noise inside": (lambda d: spoiled(d, range(30, 40)), r"only 2\d of 60 frames can be decoded in order"),
    "noise at the end": (lambda d: spoiled(d, [59]), r"only 5\d of 60 frames can be decoded in order"),
    "no times": (lambda d: make(d / "raw.h264"), "frame rate 0 Hz"),
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("fps_hz", [None, 3.0])
def test_broken_files_say_what_is_wrong_in_one_line(tmp_path, kind, fps_hz):
    build, said = BROKEN[kind]
    path = build(tmp_path)
    with pytest.raises(ClipError, match=said) as caught:
        everything(path, fps_hz=fps_hz)
    error = caught.value
    assert error.path == path and str(error) == f"{path.name}: {error.reason}" and "\n" not in str(error)
    again = pickle.loads(pickle.dumps(error))  # it must survive a worker pool
    assert (str(again), again.path, again.reason) == (str(error), error.path, error.reason)


def test_all_frames_at_one_time_have_no_rate(tmp_path):
    path = make(tmp_path / "a.mp4", 5)
    with av.open(str(path)) as box:
        track, first = box.streams.video[0], next(box.decode(video=0))
        with pytest.raises(ClipError, match="a.mp4: frame rate 0 Hz; cannot time a rep"):
            _timed(path, track, [7] * 5, first, "")


def test_one_frame_is_a_clip(tmp_path):
    path = make(tmp_path / "a.mp4", 1)
    assert (probe(path).frames, probe(path).fps_hz, probe(path).duration_s) == (1, 30.0, 1 / 30)
    assert numbers(path, fps_hz=10) == [0]


HANGING_DECORD = """
import time

DECORDError = DECORDLimitReachedError = KeyError

class logging:
    QUIET = 0
    set_level = id

def VideoReader(*args, **kwargs):
    time.sleep(600)
"""


def test_a_hanging_decoder_is_killed(tmp_path, monkeypatch):
    path = trimmed(tmp_path)
    (tmp_path / "decord.py").write_text(HANGING_DECORD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(clips, "STALL_S", 2.0)
    monkeypatch.setattr(clips, "SLOW_S", 0.0)
    with pytest.raises(ClipError, match=r"trimmed.mp4: its decoder died or was silent for 2 s \(an edit list"):
        everything(path, reader="decord")
    assert numbers(path) == list(range(15, 60))  # PyAV is not held up


def test_a_reader_left_early_leaves_no_process(tmp_path, monkeypatch):
    started = []
    popen = clips.subprocess.Popen
    monkeypatch.setattr(clips.subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])
    batches = read(trimmed(tmp_path), batch=1)
    assert number(next(batches)[0][0]) == 15
    batches.close()
    assert len(started) == 1 and started[0].poll() is not None


def test_doubtful_files_may_be_read_in_a_pool(tmp_path):
    with multiprocessing.get_context("spawn").Pool(1) as pool:  # its workers may not start multiprocessing children
        assert pool.apply(numbers, (trimmed(tmp_path),)) == list(range(15, 60))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_reader_carried_over_a_fork_says_so(tmp_path):
    batches = read(make(tmp_path / "a.mp4"), batch=1, reader="decord")
    next(batches)
    child = os.fork()
    if child == 0:
        signal.alarm(10)  # decord itself would hang here
        try:
            next(batches)
        except ClipError as error:
            os._exit(7 if "fork" in str(error) else 1)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_without_decord_pyav_reads_everything(tmp_path, monkeypatch):
    monkeypatch.setattr(clips, "decord", None)
    path = make(tmp_path / "a.mp4")
    assert numbers(path) == list(range(40))
    with pytest.raises(ClipError, match="use the reader auto or pyav"):
        everything(path, reader="decord")


def test_long_clips_are_not_given_to_decord(tmp_path, monkeypatch):
    path = make(tmp_path / "a.mp4")
    opened = []
    monkeypatch.setattr(clips.decord, "VideoReader", lambda *a, **k: opened.append(a) or pytest.fail("decord was used"))
    monkeypatch.setattr(clips, "AHEAD_BYTES", 40 * 160 * 96 * 3 - 1)  # decord may decode all of it ahead
    assert numbers(path) == list(range(40)) and not opened


def test_wrong_arguments_are_named(tmp_path):
    path = make(tmp_path / "a.mp4", 3)
    for how, said in (({"reader": "cv2"}, "cv2"), ({"batch": 0}, "batch 0"), ({"fps_hz": 0}, "fps_hz"),
                      ({"max_side_px": 0}, "max_side_px")):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            read(path, **how)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real clips are not here: {REAL}")
@pytest.mark.parametrize(
    ("name", "frames"),
    [("bridge_outdoor", 299), ("bridge_side", 392), ("thrust_front_oblique_heavy", 615), ("thrust_side_occluded", 151),
     ("thrust_side_plates", 316)],
)  # fmt: skip
def test_real_clips(name, frames):
    path = REAL / f"{name}.mp4"
    clip = probe(path)
    assert clip.frames == frames
    rate_hz = output_rate(clip, 10)
    ours, seconds = everything(path, fps_hz=10, max_side_px=256)
    assert len(ours) == len(seconds) == int((clip.frames - 1) / clip.fps_hz * rate_hz + 1e-3) + 1
    theirs = next(iter(read(path, fps_hz=10, max_side_px=256, reader="pyav", batch=8)))[0]
    assert np.abs(ours[:8].astype(int) - theirs).mean() < 0.5
    np.testing.assert_array_equal(*(next(read(path, batch=4, reader=reader))[0] for reader in ("decord", "pyav")))
