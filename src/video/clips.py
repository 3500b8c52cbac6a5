"""Clips: from a video file to upright RGB frames with true times. The only home of decord.

decord decodes sound files in order, PyAV those too long for decord's memory; both give the same pixels. What ``probe`` found
doubtful is decoded by PyAV in a process that can be killed. Both readers must deliver exactly the frames that were announced,
or a ``ClipError`` says how many.
"""

import contextlib
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from src.video.probe import REPAIR, Clip, ClipError, Contents, Seconds, contents, video_track

try:
    import decord
except (ImportError, OSError):  # no wheel for arm64 macOS: PyAV then reads everything
    decord = None

Pictures = NDArray[np.uint8]

READERS = ("auto", "decord", "pyav")
STALL_S, SLOW_S = 30.0, 0.25  # a doubtful file is given up when a batch takes longer than this plus this per frame
AHEAD_BYTES = 512 << 20  # while its caller works decord decodes ahead without limit: only clips that fit as a whole
NARROW_PX = 160  # decord mistakes the padding of some narrower lines (24, 48, 72 px) for a fourth channel
DECORD_FAILS = (RuntimeError, StopIteration, *((decord.DECORDError, decord.DECORDLimitReachedError) if decord else ()))


@dataclass(frozen=True)
class _Job:
    """What is read of a clip, and how."""

    source: Contents
    size_px: tuple[int, int]
    picks: NDArray[np.int64]  # (T',) source frame of every output frame, never falling
    seconds: Seconds  # (T',)
    batch: int
    reader: str

    @property
    def clip(self) -> Clip:
        """The clip itself."""
        return self.source.clip


def read(
    path: Path | str,
    *,
    fps_hz: float | None = None,
    max_side_px: int | None = None,
    batch: int = 16,
    reader: str = "auto",
) -> Iterator[tuple[Pictures, Seconds]]:
    """Yield upright RGB pictures (B, H, W, 3) in order, with their times (B,) in seconds from the first frame.

    fps_hz: constant rate of the output, see ``output_rate``; None gives every frame at its own time.
    max_side_px: limit of the longer side, see ``scaled_size``. The last batch may be shorter than ``batch``.
    reader: decord or pyav insists on that one (decord may then take the memory of the whole decoded clip).
    A ``ClipError`` comes at once for a file that cannot be opened, later for one that fails while decoding.
    """
    if reader not in READERS or batch < 1:
        raise ValueError(f"reader {reader!r}, batch {batch}: the reader is one of {', '.join(READERS)}, the batch >= 1")
    source = contents(Path(path))
    picks, seconds = np.arange(source.clip.frames), source.times_s
    if fps_hz is not None:
        rate_hz = output_rate(source.clip, fps_hz)
        picks = nearest_frames(source.times_s, rate_hz)
        seconds = np.arange(len(picks)) / rate_hz
    width, height = scaled_size(source.clip, max_side_px)
    if reader == "auto" and (source.doubt or source.clip.frames * width * height * 3 > AHEAD_BYTES):
        reader = "pyav"
    job = _Job(source, (width, height), picks, seconds, batch, reader)
    return _read_in_child(job) if source.doubt else _batches(job)


def output_rate(clip: Clip, fps_hz: float | None) -> float:
    """Rate of the frames that ``read`` gives: never above the clip's own average, for that would invent frames."""
    if fps_hz is not None and not fps_hz > 0:
        raise ValueError(f"fps_hz must be above 0, not {fps_hz}")
    return clip.fps_hz if fps_hz is None else min(fps_hz, clip.fps_hz)


def scaled_size(clip: Clip, max_side_px: int | None) -> tuple[int, int]:
    """(width, height) of the pictures that ``read`` gives; a clip is never enlarged."""
    if max_side_px is None or max_side_px >= max(clip.size_px):
        return clip.size_px
    if max_side_px < 1:
        raise ValueError(f"max_side_px must be at least 1, not {max_side_px}")
    width, height = (max(1, round(side * max_side_px / max(clip.size_px))) for side in clip.size_px)
    return width, height


def nearest_frames(times_s: Seconds, rate_hz: float) -> NDArray[np.int64]:
    """Index of the frame nearest to each tick k / rate_hz, from the first frame to the last; the earlier one on a tie.

    times_s: rising (T,), in seconds. A microsecond of slack keeps rounding in the container from deciding ties.
    """
    since_s = times_s - times_s[0]
    ticks_s = np.arange(int(since_s[-1] * rate_hz + 1e-3) + 1) / rate_hz
    midways_s = (since_s[1:] + since_s[:-1]) / 2
    return np.searchsorted(midways_s + 1e-6, ticks_s).astype(np.int64)


def _batches(job: _Job) -> Iterator[tuple[Pictures, Seconds]]:
    """Decode in this process; the source is read to its end, so that a loss after the last wanted frame is seen."""
    copies = np.bincount(job.picks, minlength=job.clip.frames)
    frames = (frame for t, frame in _frames(job, copies > 0) for _ in range(copies[t]))
    width, height = job.size_px
    for start in range(0, len(job.seconds), job.batch):
        seconds = job.seconds[start : start + job.batch]
        pictures = np.empty((len(seconds), height, width, 3), np.uint8)
        for picture, frame in zip(pictures, frames, strict=False):
            picture[...] = frame
        if start + job.batch >= len(job.seconds):
            next(frames, None)
        yield pictures, seconds


def _frames(job: _Job, wanted: NDArray[np.bool_]) -> Iterator[tuple[int, Pictures]]:
    """Index and picture (H, W, 3) of the wanted frames, from the job's reader; PyAV where auto cannot have decord."""
    decoder = _open_decord(job) if job.reader != "pyav" else None
    if decoder is not None:
        return _decord_frames(job, decoder, wanted)
    if job.reader == "decord":
        raise ClipError(job.clip.path, "decord cannot read it; use the reader auto or pyav")
    return _pyav_frames(job, wanted)


def _open_decord(job: _Job) -> Any:
    """A decord reader of upright pictures at the job's size; None when decord is absent or refuses the file."""
    width, height = (-1, -1) if job.size_px == job.clip.size_px else job.size_px
    if decord is None or job.size_px[0] < NARROW_PX:
        return None
    with contextlib.suppress(*DECORD_FAILS):
        decord.logging.set_level(decord.logging.QUIET)
        return decord.VideoReader(str(job.clip.path), width=width, height=height, fault_tol=1e-9)
    return None


def _decord_frames(job: _Job, decoder: Any, wanted: NDArray[np.bool_]) -> Iterator[tuple[int, Pictures]]:
    """One by one in order: ``get_batch`` takes 10 times the memory. Thanks to ``fault_tol`` it repeats no frame."""
    home = os.getpid()
    for t in range(job.clip.frames):
        if os.getpid() != home:
            raise ClipError(job.clip.path, "opened before a fork, after which decord hangs; call read in the worker")
        try:
            picture = decoder.next()  # not skip_frames: that seeks at key frames, and saves no time
        except DECORD_FAILS as error:  # how far decord came depends on its threads: let PyAV count
            for _ in _pyav_frames(job, np.zeros_like(wanted)):
                pass
            lost = f"decord lost frames after {t} of {job.clip.frames}; use the reader pyav"
            raise ClipError(job.clip.path, lost) from error
        if wanted[t]:
            yield t, picture.asnumpy()


def _pyav_frames(job: _Job, wanted: NDArray[np.bool_]) -> Iterator[tuple[int, Pictures]]:
    """One by one in order, each frame checked against the time that demuxing announced; scaled as decord does."""
    turn, t = job.clip.rotation_deg // 90, 0
    width, height = job.size_px[::-1] if turn % 2 else job.size_px
    with contextlib.suppress(av.FFmpegError), av.open(str(job.clip.path), metadata_errors="replace") as box:
        for frame in box.decode(video_track(job.clip.path, box)):
            if t == job.clip.frames or frame.pts != job.source.pts[t]:
                break
            if wanted[t]:
                rgb = frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="BILINEAR")
                yield t, np.rot90(rgb, turn)
            t += 1
        else:
            if t == job.clip.frames:
                return
    raise ClipError(job.clip.path, f"only {t} of {job.clip.frames} frames can be decoded in order; {REPAIR}")


def _read_in_child(job: _Job) -> Iterator[tuple[Pictures, Seconds]]:
    """Decode in a fresh interpreter: nothing is forked, a worker of a pool may do it, and a hang can be killed."""
    paths = [str(Path(__file__).resolve().parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    with subprocess.Popen(
        [sys.executable, "-c", f"from {__name__} import _serve; _serve()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
    ) as child:
        try:
            while (answer := _ask(job, child)) is not None:
                yield answer
        finally:
            child.kill()


def _ask(job: _Job, child: "subprocess.Popen[bytes]") -> tuple[Pictures, Seconds] | None:
    """Next batch of the child, None at its end; ``ClipError`` from it, or when it dies or is silent for too long."""
    assert child.stdin is not None and child.stdout is not None
    limit_s = STALL_S + SLOW_S * job.batch * max(1.0, job.clip.frames / len(job.seconds))
    timer = threading.Timer(limit_s, child.kill)
    timer.start()
    try:
        if not child.stdin.closed:
            pickle.dump(job, child.stdin)
            child.stdin.close()
        answer: tuple[Pictures, Seconds] | ClipError | None = pickle.load(child.stdout)
    except (OSError, EOFError, pickle.UnpicklingError) as error:
        how = f"its decoder died or was silent for {limit_s:.0f} s ({job.source.doubt}; exit {child.wait()})"
        raise ClipError(job.clip.path, f"{how}; {REPAIR}") from error
    finally:
        timer.cancel()
    if isinstance(answer, ClipError):
        raise answer
    return answer


def _serve() -> None:
    """The child's side: a job from stdin; its batches, then None, or its error to stdout."""
    try:
        for answer in _batches(pickle.load(sys.stdin.buffer)):
            _tell(answer)
        _tell(None)
    except ClipError as error:
        _tell(error)


def _tell(answer: object) -> None:
    pickle.dump(answer, sys.stdout.buffer, protocol=5)
    sys.stdout.buffer.flush()
