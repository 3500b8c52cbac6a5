"""The skeleton drawn over its clip: an H.264 film that browsers play, and the lockouts with their measured angles."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from src.motion.keypoints import SKELETONS, TRUNK, Track
from src.motion.measure import Measures
from src.video import clips
from src.video.anonymous import CHAIN, centre, head_circles, hide, pixel
from src.video.recode import X264

Picture = NDArray[np.uint8]
Points = NDArray[np.float64]

FILM_PX = 960
"""Longer side of the film."""
STILL_PX = (960, 540)
"""Stills show the lifter and a margin, all at one size."""
LEFT, RIGHT, MIDDLE = (255, 176, 0), (86, 180, 233), (240, 240, 240)
INK, ANGLE = (18, 20, 24), (255, 255, 255)


@dataclass(frozen=True)
class Still:
    """A moment to keep as a picture: the row of the track, the file, the angles to write into it."""

    row: int
    path: Path
    measures: Measures


def annotate(
    video: Path,
    track: Track,
    fps_hz: float,
    film: Path,
    stills: Sequence[Still],
    anonymize: bool = False,
    going: Callable[[], None] = lambda: None,
) -> None:
    """Write the film and the stills of a clip whose track was made at ``fps_hz``; ``ClipError`` when it cannot be read again.

    anonymize: the lifter's head is hidden; while it is nowhere known the whole picture is. going: called with every picture.
    """
    wanted = {still.row: still for still in stills}
    heads = head_circles(track) if anonymize else None

    def pictures() -> Iterator[Picture]:
        batches = clips.read(video, fps_hz=fps_hz, max_side_px=max(track.size_px))
        frames = (frame for batch, _ in batches for frame in batch)
        for t, (frame, keypoints) in enumerate(zip(frames, track.keypoints, strict=True)):
            going()
            plain = hide(frame, heads[t]) if heads is not None else frame.copy()
            if t in wanted:
                save_jpeg(wanted[t].path, lockout(*closer(plain, keypoints), track.skeleton, wanted[t].measures))
            yield skeleton(plain, keypoints, track.skeleton)

    write_film(film, pictures(), track.fps_hz, track.size_px)


def write_film(path: Path, pictures: Iterator[Picture], fps_hz: float, size_px: tuple[int, int]) -> None:
    """H.264 4:2:0 with its index in front, in one step; even sides, at most ``FILM_PX``; no sound, no metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    scale = min(1.0, FILM_PX / max(size_px))
    width, height = (max(2, 2 * round(side * scale / 2)) for side in size_px)
    rate = max(Fraction(fps_hz).limit_denominator(1001), Fraction(1, 1001))  # less: 0, or times that no file holds
    with av.open(str(part), "w", format="mp4", options={"movflags": "+faststart"}) as box:
        stream: Any = box.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = {"crf": "25", "preset": "veryfast", "x264-params": X264}
        for t, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame = frame.reformat(width=width, height=height, format="yuv420p")
            frame.pts, frame.time_base = t, 1 / rate
            box.mux(stream.encode(frame))
        box.mux(stream.encode())
    part.replace(path)


def save_jpeg(path: Path, picture: Picture) -> None:
    """A JPEG in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    Image.fromarray(picture).save(part, "JPEG", quality=88)
    part.replace(path)


def skeleton(picture: Picture, keypoints: NDArray[np.float32], name: str) -> Picture:
    """Bones and joints (K, 3) drawn into a picture (H, W, 3): left orange, right blue, spine and outline white; dark rims."""
    body, unit = SKELETONS[name], line_px(picture)
    places = {point: pixel(xy) for point, xy in zip(body.points, keypoints, strict=True) if np.isfinite(xy[0])}
    bones = [(a, b) for a, b in body.bones if a in places and b in places]
    for extra, colours in ((unit, None), (0, COLOURS)):
        for a, b in bones:
            colour = colours[side(a, b)] if colours else INK
            cv2.line(picture, places[a], places[b], colour, 2 * unit + extra, cv2.LINE_AA)
    for point, place in places.items():
        if point in TRUNK or any(point in bone for bone in bones):
            cv2.circle(picture, place, 2 * unit, INK, -1, cv2.LINE_AA)
            cv2.circle(picture, place, 2 * unit - max(1, unit // 2), COLOURS[side(point, point)], -1, cv2.LINE_AA)
    return picture


COLOURS = {"left": LEFT, "right": RIGHT, "": MIDDLE}


def side(a: str, b: str) -> str:
    """left, right, or nothing for what joins both."""
    sides = {a.partition("_")[0], b.partition("_")[0]}
    return sides.pop() if len(sides) == 1 and sides <= {"left", "right"} else ""


def line_px(picture: Picture) -> int:
    """Thickness that suits the picture."""
    return max(1, int(max(picture.shape[:2]) / 640 + 0.5))


def closer(picture: Picture, keypoints: NDArray[np.float32]) -> tuple[Picture, NDArray[np.float32]]:
    """The part of a picture that shows the lifter, at ``STILL_PX``, and the keypoints in it; black beyond the picture."""
    seen = keypoints[np.isfinite(keypoints[:, 0]), :2].astype(np.float64)
    height, width = picture.shape[:2]
    low, high = (seen.min(axis=0), seen.max(axis=0)) if len(seen) else (np.zeros(2), np.array([width, height], float))
    middle, span = (low + high) / 2, 1.3 * np.maximum(high - low, 16.0)
    scale = min(STILL_PX[0] / span[0], STILL_PX[1] / span[1])
    scale = max(scale, min(STILL_PX[0] / width, STILL_PX[1] / height))  # never smaller than the whole picture
    room = np.maximum(0.0, np.array([width, height]) - np.array(STILL_PX) / scale) / 2
    middle = np.clip(middle, np.array([width, height]) / 2 - room, np.array([width, height]) / 2 + room)
    shift = np.array(STILL_PX) / 2 - scale * middle
    way = np.array([[scale, 0.0, shift[0]], [0.0, scale, shift[1]]])
    part: Picture = cv2.warpAffine(picture, way, STILL_PX, flags=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA)
    moved = keypoints.copy()
    moved[:, :2] = scale * moved[:, :2] + shift
    return part, moved


def lockout(picture: Picture, keypoints: NDArray[np.float32], name: str, measures: Measures) -> Picture:
    """The skeleton with arcs at hip, knee and shin, and the angles that were measured there."""
    skeleton(picture, keypoints, name)
    joints = {part: centre(keypoints, name, part) for part in CHAIN}
    lengths = [float(np.hypot(*(joints[a] - joints[b]))) for a, b in (("hip", "knee"), ("knee", "ankle"))]
    length = max((value for value in lengths if np.isfinite(value)), default=0.0)
    if not length > 0:
        return picture
    radius = 0.22 * length
    chain = np.array([joints[part] for part in CHAIN])
    cv2.polylines(picture, [np.round(chain[np.isfinite(chain[:, 0])]).astype(np.int32)], False, ANGLE, 1, cv2.LINE_AA)
    up = joints["ankle"] + (0.0, -length)
    arcs = (
        ("hip", "shoulder", "knee", measures.hip_top_deg),
        ("knee", "hip", "ankle", measures.knee_top_deg),
        ("ankle", "knee", up, measures.shin_top_deg),
    )
    labels = []
    for at, a, b, degrees in arcs:
        ends = [joints[end] if isinstance(end, str) else end for end in (a, b)]
        if np.isfinite([joints[at], *ends]).all() and np.isfinite(degrees):
            if at == "ankle":
                cv2.line(picture, pixel(joints[at]), pixel(up), ANGLE, line_px(picture), cv2.LINE_AA)
            labels.append((f"{degrees:.0f}°", arc(picture, joints[at], ends[0], ends[1], degrees, radius)))
    return written(picture, labels)


def arc(picture: Picture, at: Points, a: Points, b: Points, degrees: float, radius: float) -> Points:
    """Draw the arc from a to b round a joint; of its two ways round the one of the measured size, or else the upper one.

    Returns where its label goes.
    """
    start, end = (math.degrees(math.atan2(*(p - at)[::-1])) for p in (a, b))
    ways = [(start, (end - start) % 360.0), (end, (start - end) % 360.0)]
    first, sweep = min(
        ways, key=lambda way: (round(abs(way[1] - abs(degrees)) / 15), math.sin(math.radians(way[0] + way[1] / 2)))
    )
    turns = np.radians(first + np.linspace(0.0, sweep, 40))
    path = np.stack([at[0] + radius * np.cos(turns), at[1] + radius * np.sin(turns)], -1)
    for colour, times in ((INK, 4), (ANGLE, 2)):
        thickness = line_px(picture) * times
        cv2.polylines(picture, [np.round(path).astype(np.int32)], False, colour, thickness, cv2.LINE_AA)
    middle = math.radians(first + sweep / 2)
    return at + 1.9 * radius * np.array([math.cos(middle), math.sin(middle)])


def written(picture: Picture, labels: Sequence[tuple[str, Points]]) -> Picture:
    """Labels on dark plates, inside the picture."""
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image, "RGBA")
    font = ImageFont.load_default(size=max(11, round(max(picture.shape[:2]) / 30)))
    for text, (x, y) in labels:
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font, anchor="lt")
        half = np.array([(right - left) / 2 + 6, (bottom - top) / 2 + 5])
        x, y = np.clip((x, y), half, np.maximum(half, np.array(image.size) - half))
        draw.rounded_rectangle((x - half[0], y - half[1], x + half[0], y + half[1]), 5, fill=(*INK, 210))
        draw.text((x, y), text, font=font, fill=ANGLE, anchor="mm")
    return np.asarray(image)
