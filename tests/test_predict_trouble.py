"""Films that real people send: the shipped core and the real detector on each, then damaged ones through the decoder."""

import itertools
import os
import resource
from collections import Counter, deque
from copy import copy
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import ROOT, film_lifter

from src import predict
from src.batch.inputs import Job
from src.batch.workers import Lost, spawned
from src.config import Detect, load
from src.motion.faults import FAULT_KEYS
from src.motion.verdict import STATUSES

SETTINGS = ("detect.device=cpu", f"detect.weights={ROOT / 'data/weights'}")


@pytest.fixture(scope="module")
def judge():
    return predict.Judge(ROOT / "data/models/core.pt", load(Detect, *SETTINGS))


@pytest.fixture(scope="module")
def pictures(lifter):
    """The lifter's frames (T, H, W, 3)."""
    return frames_of(lifter)


def frames_of(film):
    """Frames (T, H, W, 3) of a film."""
    with av.open(str(film)) as box:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in box.decode(video=0)])


def encode(path, frames, codec="libx264", pix_fmt="yuv420p", rate_hz=10, times=None, rotation=0, **options):
    """Write frames (T, H, W, 3), at ``times`` of the rate instead of one after the other if given."""
    with av.open(str(path), "w") as box:
        stream = box.add_stream(codec, rate=rate_hz)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt, stream.options = pix_fmt, options
        if rotation:
            stream.set_display_rotation(rotation)
        for t, picture in zip(times or itertools.count(), frames, strict=False):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame = frame.reformat(format=pix_fmt)
            frame.pts, frame.time_base = t, Fraction(1, rate_hz)
            box.mux(stream.encode(frame))
        box.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def plain(judge, pictures, tmp_path_factory):
    """The lifter's verdict."""
    return predict.score(encode(tmp_path_factory.mktemp("plain") / "plain.mp4", pictures, crf="10"), judge)[0]


def test_the_same_film_in_other_codecs_has_the_same_reps(judge, plain, pictures, tmp_path):
    odd = {
        "ten bits.mp4": {"pix_fmt": "yuv420p10le"},
        "all colour.mkv": {"pix_fmt": "yuv444p"},
        "interlaced.mp4": {"x264-params": "tff=1"},
        "vp9.webm": {"codec": "libvpx-vp9", "deadline": "realtime", "cpu-used": "8"},
    }
    assert plain.status == "ok" and plain.reps
    for name, how in odd.items():
        verdict, _ = predict.score(encode(tmp_path / name, pictures, **({"crf": "10"} | how)), judge)
        assert (verdict.status, verdict.view, len(verdict.reps)) == (plain.status, plain.view, len(plain.reps)), name
        assert verdict.reps[0].top_s == pytest.approx(plain.reps[0].top_s, abs=0.15), name


def test_a_mirrored_film_has_the_same_verdict(judge, tmp_path):
    """In a picture larger than the others here: in a tiny one the detector itself sees another person in the mirror."""
    plain = frames_of(film_lifter(tmp_path / "lifter.mp4", 15.0, (640, 360)))
    a, b = (
        predict.score(encode(tmp_path / f"{name}.mp4", frames, rate_hz=15, crf="10"), judge)[0]
        for name, frames in (("as it is", plain), ("mirrored", plain[:, :, ::-1]))
    )
    assert (a.status, a.view, len(a.reps)) == (b.status, b.view, len(b.reps))
    both = [(a.decisions[key], b.decisions[key]) for key in a.decisions]  # one may abstain where the other just decides
    assert all(one == other for one, other in both if None not in (one, other)) and any(
        None not in pair for pair in both
    )
    for key in FAULT_KEYS:
        assert a.probabilities[key] == pytest.approx(b.probabilities[key], abs=0.05), key


def test_a_phone_that_turned_its_pictures_or_skipped_some_tells_the_same_reps(judge, plain, pictures, tmp_path):
    kept = [t for t in range(len(pictures)) if t % 7]  # a rate that varies
    for name, frames, how in (
        ("turned.mp4", np.rot90(pictures, -1, axes=(1, 2)), {"rotation": 90}),
        ("skipped.mp4", pictures[kept], {"times": kept}),
    ):
        verdict, track = predict.score(encode(tmp_path / name, frames, crf="10", **how), judge)
        assert track.size_px == (256, 144), name
        assert (verdict.status, verdict.view, len(verdict.reps)) == (plain.status, plain.view, len(plain.reps)), name
        for rep, same in zip(verdict.reps, plain.reps, strict=True):
            assert rep.top_s == pytest.approx(same.top_s, abs=0.2), name


def test_two_lifters_are_several_people(judge, pictures, tmp_path):
    """One above the other, so that neither is small in the detector's square picture."""
    both = np.concatenate([pictures, np.roll(pictures, 7, axis=0)], axis=1)
    verdict, track = predict.score(encode(tmp_path / "two.mp4", both, crf="10"), judge)
    assert verdict.status == "several_people" and verdict.people == track.people == 2
    assert all(decision is None for decision in verdict.decisions.values())


def test_nothing_is_claimed_of_who_has_left(judge, pictures, tmp_path):
    first = predict.score(encode(tmp_path / "whole.mp4", pictures, crf="10"), judge)[0].reps[0]
    gone = round(10 * (first.end_s + 0.3))  # frames, 10 a second
    room = np.repeat(pictures[:1, :, :40].repeat(7, axis=2)[:, :, :256], 40, axis=0)
    verdict, track = predict.score(encode(tmp_path / "a.mp4", np.concatenate([pictures[:gone], room]), crf="10"), judge)
    assert verdict.reps[0].top_s == pytest.approx(first.top_s, abs=0.15)
    assert len(track.keypoints) == gone + 40 and np.isnan(track.keypoints[gone + 15 :, :, 0]).all()
    after = [decision for rep in verdict.reps[1:] for decision in rep.decisions.values()]
    assert len(verdict.reps) <= 2 and all(decision is None for decision in after)


def test_large_pictures_and_long_films_are_read_whole(judge, pictures, tmp_path):
    large = pictures[:12].repeat(15, axis=1).repeat(15, axis=2)
    verdict, track = predict.score(encode(tmp_path / "4k.mp4", large, preset="ultrafast"), judge)
    assert track.size_px == (1280, 720) and len(track.keypoints) == 12 and verdict.status == "no_reps"
    wall = np.broadcast_to(np.uint8(110), (8000, 48, 64, 3))
    rarely = copy(judge)
    rarely.cfg = replace(judge.cfg, fps_hz=1.0)
    verdict, track = predict.score(encode(tmp_path / "long.mp4", wall, rate_hz=30, preset="ultrafast"), rarely)
    assert len(track.keypoints) == 267 and verdict.status == "no_person"


def test_odd_sizes_are_judged(judge, pictures, tmp_path):
    verdict, track = predict.score(encode(tmp_path / "a.mp4", pictures[:, :-1, :-1], pix_fmt="yuv444p"), judge)
    assert track.size_px == (255, 143) and verdict.status == "ok"


@pytest.mark.parametrize(
    ("name", "change", "status"),
    [
        ("one frame", lambda film: film[:1], {"too_short"}),
        ("half a second", lambda film: film[:5], {"too_short"}),
        ("black", lambda film: film * 0, {"no_person"}),
        ("an empty room", lambda film: np.repeat(film[:1, :, :40].repeat(6, axis=2), 30, axis=0), {"no_person"}),
        (
            "upside down",
            lambda film: film[:, ::-1, ::-1],
            {"view_not_observable", "no_person", "no_reps", "low_confidence"},
        ),
        ("a still", lambda film: np.repeat(film[:1], 30, axis=0), {"no_reps", "no_person"}),
        ("tiny", lambda film: film[:30, 60:76, 60:92], {"no_person", "no_reps", "low_confidence"}),
    ],
)
def test_what_cannot_be_judged_gets_its_status(judge, pictures, tmp_path, name, change, status):
    verdict, _ = predict.score(encode(tmp_path / f"{name}.mp4", change(pictures)), judge)
    assert verdict.status in status and verdict.reason
    if verdict.status != "ok":
        assert all(decision is None for decision in (verdict.decisions or {}).values())


DAMAGES = ("flip", "cut", "zero", "twice", "swap", "insert", "head")
FUZZED = int(os.environ.get("LOCKOUT_FUZZED", "21"))


def damaged(film, seed):
    """The bytes of a film with one kind of damage, the same for the same seed."""
    rng, kind, body = np.random.default_rng(seed), DAMAGES[seed % len(DAMAGES)], bytearray(film)
    a, b = sorted(rng.integers(0, len(body), 2).tolist())
    b = min(b, a + int(rng.integers(1, 4000)))
    if kind in ("flip", "head"):
        reach = len(body) if kind == "flip" else 200
        for place in rng.integers(0, reach, int(rng.integers(1, 60))):
            body[place] ^= 1 << int(rng.integers(0, 8))
    elif kind == "cut":
        del body[a:]
    elif kind == "zero":
        body[a:b] = bytes(b - a)
    elif kind == "twice":
        body[b:b] = body[a:b]
    elif kind == "swap":
        body[a:b] = body[a:b][::-1]
    else:
        body[a:a] = rng.bytes(int(rng.integers(1, 500)))
    return bytes(body)


def other_pictures(pictures, seed):
    """Frames with one kind of change that a decoder does not mind, the same for the same seed."""
    rng, kind = np.random.default_rng(seed), ("blocks", "order", "crop", "noise", "turned", "scaled")[seed % 6]
    T, H, W, _ = pictures.shape
    y, x = int(rng.integers(0, H - 20)), int(rng.integers(0, W - 20))
    if kind == "blocks":
        out = pictures.copy()
        out[rng.integers(0, T, 20), y : y + 60, x : x + 90] = rng.integers(0, 256, 3)
        return out
    if kind == "order":
        return pictures[rng.integers(0, T, int(rng.integers(1, 60)))]
    if kind == "crop":
        return pictures[:, y : y + int(rng.integers(17, H)), x : x + int(rng.integers(17, W))]
    if kind == "noise":
        return np.clip(pictures + rng.normal(0, rng.integers(5, 120), pictures.shape), 0, 255).astype(np.uint8)
    if kind == "turned":
        return np.rot90(pictures, int(rng.integers(1, 4)), axes=(1, 2))
    return pictures.repeat(int(rng.integers(1, 4)), axis=1).repeat(int(rng.integers(1, 6)), axis=2)


def tried(order):
    """The work of a run, which also tells the most memory in MiB that it and its decoders ever took."""
    return partial(with_memory, predict.clip_work(order))


def with_memory(work, job):
    record = work(job)
    words = Path("/proc/self/status").read_text().split()
    own = int(words[words.index("VmHWM:") + 1])  # ru_maxrss would also count the process that this one was forked from
    return record["status"], max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) // 1024


@pytest.mark.timeout(300 + 3 * FUZZED)
def test_damaged_films_end_as_rows_and_never_hang(pictures, tmp_path):
    """``LOCKOUT_FUZZED=500`` tries so many; ``-s`` shows the numbers."""
    films = [encode(tmp_path / name, pictures[:45], crf="20").read_bytes() for name in ("whole.mp4", "whole.mkv")]
    jobs = []
    for seed in range(FUZZED):
        jobs.append(Job(tmp_path / f"{seed}.mp4", f"{seed}.mp4"))
        if seed % 2:
            jobs[-1].path.write_bytes(damaged(films[seed % 3 % 2], seed // 2))
        else:
            encode(jobs[-1].path, other_pictures(pictures[:45], seed // 2), pix_fmt="yuv444p")
    order = predict.Order(tmp_path / "out", ROOT / "data/models/core.pt", load(Detect, *SETTINGS), threads=1)
    answers = list(spawned(partial(tried, order), deque(jobs), 2, 90.0))
    assert len(answers) == FUZZED and {job for job, _ in answers} == set(jobs)
    lost = {job.name: answer.reason for job, answer in answers if isinstance(answer, Lost)}
    said = Counter(answer[0] for _, answer in answers if not isinstance(answer, Lost))
    most = max(answer[1] for _, answer in answers if not isinstance(answer, Lost))
    print(f"{FUZZED} films: {len(lost)} lost {lost}, {dict(said)}, at most {most} MiB in a process")
    assert not lost and {"unreadable", "no_person"} <= set(said) <= set(STATUSES) and most < 3000
    assert len(list((tmp_path / "out/json").glob("*.json"))) == FUZZED
