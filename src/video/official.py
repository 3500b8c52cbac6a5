"""MediaPipe's own runtime beside ours on the same frames: it pins numpy < 2, so it runs in an interpreter of its own."""

import subprocess
import time
from pathlib import Path
from types import TracebackType

import numpy as np

from src.video import lifter
from src.video.blazepose import MIN_SCORE, BlazePose
from src.video.crop import Bytes
from src.video.engine import callers

OFFICIAL = """
import sys, time
import mediapipe, numpy
frames = numpy.load(sys.argv[1])
print(mediapipe.__version__, flush=True)
for mode in sys.stdin:
    options = {"static_image_mode": mode == "static\\n", "enable_segmentation": "masks" in mode}
    with mediapipe.solutions.pose.Pose(model_complexity=1, **options) as pose:
        pose.process(frames[0])
        wall, cpu = time.perf_counter(), time.process_time()
        found = sum(pose.process(frame).pose_landmarks is not None for frame in frames)
        print(time.perf_counter() - wall, time.process_time() - cpu, found, flush=True)
"""
MODES = ("static", "tracking", "tracking with masks")
"""Of the official runtime; to both kinds of tracking ours answers with what ``src.detect`` does, masks included."""
Run = tuple[float, float, int]
"""Wall seconds, CPU seconds of all threads, frames in which a person was found."""


class OfficialError(RuntimeError):
    """The official runtime does not answer; the message says what to check."""


class Official:
    """The official runtime in a child process, to be used in a ``with``; ``frames`` is an ``.npy`` (T, H, W, 3) RGB."""

    def __init__(self, interpreter: str, frames: Path) -> None:
        command, pipe = [interpreter, "-c", OFFICIAL, str(frames)], subprocess.PIPE
        self.child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)

    def __enter__(self) -> "Official":
        self.version = self._line()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.child.__exit__(kind, error, trace)

    def run(self, mode: str) -> Run:
        """All frames once, in one of ``MODES``."""
        assert self.child.stdin
        print(mode, file=self.child.stdin, flush=True)
        wall_s, cpu_s, found = self._line().split()
        return float(wall_s), float(cpu_s), int(found)

    def _line(self) -> str:
        assert self.child.stdout
        if not (line := self.child.stdout.readline().strip()):
            raise OfficialError("the interpreter of --mediapipe-python cannot run mediapipe's pose on the clip")
        return line


def our_run(pose: BlazePose, mode: str, frames: Bytes, rate_hz: float, batch: int) -> Run:
    """Our pipeline over the same frames in memory; static looks at each alone, else it follows the lifter, with masks."""
    pieces = [frames[i : i + batch] for i in range(0, len(frames), batch)]
    wall, cpu = time.perf_counter(), time.process_time()
    if mode == "static":
        with callers(pose.threads) as pool:
            found = sum(int((seen.presence >= MIN_SCORE).sum()) for seen in pool.map(pose.static, pieces))
    else:
        timed = [(piece, np.zeros(len(piece))) for piece in pieces]
        track = lifter.follow(pose, timed, rate_hz, (frames.shape[2], frames.shape[1]), batch)
        found = int(np.isfinite(track.keypoints[:, :, 0]).any(axis=1).sum())
    return time.perf_counter() - wall, time.process_time() - cpu, found
