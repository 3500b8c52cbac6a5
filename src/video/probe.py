"""What a video file holds: frames, times, orientation, found by demuxing it once and decoding its first frame only.

That is the truth which ``clips`` holds its readers to. Whatever makes it doubtful is named.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

Seconds = NDArray[np.float64]

LOST_S = 1.0  # so much may lie between the announced and the found end: sound and picture rarely end together
SOUND_FORMATS = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}  # in others decord loses frames: 30 of 60 in a .ts
SOUND_CODECS = {"h264", "hevc", "vp8", "vp9"}  # decord's FFmpeg 4.1 has no AV1; its MPEG-4 shifts frames in time
REPAIR = "cut off or badly written: copy it again or re-export it"


class ClipError(Exception):
    """A clip that cannot be read as it claims. ``str`` is one line: name, what is wrong with its number, what to do."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path.name}: {self.reason}"


@dataclass(frozen=True)
class Clip:
    """What is known of a clip before decoding it.

    size_px: (width, height) upright, after rotation, before any scaling.
    fps_hz: average frame rate. rotation_deg: quarter turns counter-clockwise that make it upright: 0, 90, 180 or 270.
    variable_rate: the longest and the shortest gap between frames differ by more than half the usual one.
    """

    path: Path
    size_px: tuple[int, int]
    fps_hz: float
    frames: int
    duration_s: float
    rotation_deg: int
    variable_rate: bool


@dataclass(frozen=True)
class Contents:
    """A clip and the presentation times of its frames; ``doubt`` is empty for a sound file."""

    clip: Clip
    pts: tuple[int, ...]
    times_s: Seconds  # (T,) from the first frame
    doubt: str


def probe(path: Path | str) -> Clip:
    """Count, time and orient the frames, decoding only the first; ``ClipError`` when that cannot be done."""
    return contents(Path(path)).clip


def frame_times(path: Path | str) -> Seconds:
    """Times (T,) of all frames in seconds from the first one, as ``read`` gives them at the clip's own rate."""
    return contents(Path(path)).times_s


def contents(path: Path) -> Contents:
    """Demux the whole file; ``ClipError`` where that cannot be done."""
    if not path.exists():
        what = "a link that leads nowhere" if path.is_symlink() else "no such file"
        raise ClipError(path, f"{what}: {path}; check the path")
    if not path.is_file():
        raise ClipError(path, "not a file; give a video file")
    if path.stat().st_size == 0:
        raise ClipError(path, "0 bytes; copy it again")
    try:
        with av.open(str(path), metadata_errors="replace") as box:
            return _demux(path, box)
    except (av.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        with contextlib.suppress(OSError), path.open("rb") as file:
            if file.read(8)[4:] == b"ftyp":
                raise ClipError(path, f"an .mp4 whose index cannot be read ({reason}), {REPAIR}") from error
        raise ClipError(path, f"not a readable video ({reason}); give a video file") from error


def _demux(path: Path, box: Any) -> Contents:
    """Count what is there against what is announced, and time it; packets are dropped as they are read."""
    track = video_track(path, box)
    pts, first, key_first, packets, damaged, end_s = [], None, False, 0, 0, 0.0
    for packet in box.demux():
        if packet.pts is not None and packet.size:
            end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if packet.stream is not track:
            continue
        if packet.size:
            key_first = packet.is_keyframe if packets == 0 else key_first
            packets, damaged = packets + 1, damaged + packet.is_corrupt
            pts += [] if packet.is_discard else [packet.pts]
        with contextlib.suppress(av.FFmpegError):
            first = first or next(iter(packet.decode()), None)  # an empty packet flushes the decoder
    total, announced_s = max(packets, len(track.index_entries)), (box.duration or 0) / av.time_base
    if end_s < announced_s - LOST_S:
        total = max(total, track.frames, round(announced_s * float(track.average_rate or 0)))
    if packets - damaged < total:
        raise ClipError(path, f"only {packets - damaged} of {total} announced frames are there; {REPAIR}")
    if first is None or not pts:
        raise ClipError(path, f"0 of {total} frames can be decoded; {REPAIR}")
    if None in pts:
        raise ClipError(path, "frame rate 0 Hz (frames without times); cannot time a rep: put it into an .mp4")
    doubts = {
        f"container {box.format.name}": box.format.name not in SOUND_FORMATS,
        f"codec {track.codec_context.name}": track.codec_context.name not in SOUND_CODECS,
        "several video tracks": len(box.streams.video) > 1,
        "an edit list hides frames": len(pts) < packets,
        "does not start with a key frame": not key_first,
        "two frames at one time": len(set(pts)) < len(pts),
        "a rotation that is no quarter turn": bool(first.rotation % 90),
    }
    return _timed(path, track, sorted(pts), first, ", ".join(name for name, met in doubts.items() if met))


def video_track(path: Path, box: Any) -> Any:
    """First video track that is not a cover picture."""
    for track in box.streams.video:
        if not track.disposition & Disposition.attached_pic:
            return track
    raise ClipError(path, f"no video track among {len(box.streams)} tracks (sound only?); give a video file")


def _timed(path: Path, track: Any, pts: list[int], first: Any, doubt: str) -> Contents:
    """Rate and orientation from rising times and the first frame."""
    times_s = np.array([float((t - pts[0]) * track.time_base) for t in pts], np.float64)
    gaps_s = np.diff(times_s)
    variable = bool(len(gaps_s)) and bool(np.ptp(gaps_s) > np.median(gaps_s) / 2)
    named_hz = float(track.average_rate or 0)
    fps_hz = named_hz if len(pts) == 1 else len(gaps_s) / times_s[-1] if times_s[-1] > 0 else 0.0
    if not fps_hz > 0:
        raise ClipError(path, "frame rate 0 Hz; cannot time a rep: re-export it")
    if not variable and abs(named_hz / fps_hz - 1) < 0.01:
        fps_hz = named_hz  # free of the container's rounding to milliseconds
    turn = round(first.rotation / 90) % 4
    size_px = (first.height, first.width) if turn % 2 else (first.width, first.height)
    clip = Clip(path, size_px, float(fps_hz), len(pts), len(pts) / float(fps_hz), turn * 90, variable)
    return Contents(clip, tuple(pts), times_s, doubt)
