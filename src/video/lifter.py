"""One person through a clip: detector on every eighth frame, steady regions, one batched landmark pass.

A jumping region disturbs landmarks more than the network does, so regions are averaged over about a rep. While threads
work on the landmarks of one block, the next is decoded and looked through for people: frames are held for three blocks
of ``BLOCK`` (192 frames: 530 MB at 720p), whatever the clip's length; else only keypoints stay.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from src.motion.keypoints import Floats, Track
from src.video.blazepose import HIP_CENTRE, LANDMARK_PX, MIN_SCORE, RIM, BlazePose, Detections, Pose, keypoints, region
from src.video.choice import LOST_S, absent, choose, pair
from src.video.contour import outline
from src.video.crop import Bytes, Doubles, inverse, project
from src.video.engine import callers

Frames = Iterable[tuple[Bytes, NDArray[np.floating]]]
Watch = Callable[[NDArray[np.int64], Floats, Pose], None]
"""Told, from any thread, of every batch of landmarks: frame numbers (B,), keypoints (B, 32, 3), and what they were made of."""
BLOCK = 64
KEY_EVERY = 8
STEADY_S = 0.5
"""Regions are averaged over about this many seconds to each side (Hann weights): against jitter, yet they ride with the hips.
A region that stands still through the reps holds the feet steadier but makes the network see less of the rise: on rendered
side views the lockout's hip angle was off by 8 degrees at 5 s, 1 at half a second."""
LIKE_SIDE, LIKE_RAD = 0.2, 0.8
"""Other postures count less: distance in sides of the region and turn at which a key frame's weight falls to 0.6."""
NEAR = 0.35
"""A detection continues a person when its hips are within this share of the region's side."""
MAX_PEOPLE = 3
LYING = 0.7
"""Trunks are lying when their horizontal share is at least this (45 degrees)."""
WRONG_WAY = 0.5
"""Horizontal share of a trunk that lies the other way from which it is a mistake: the network took feet for the head."""


@dataclass(eq=False)
class Person:
    """One candidate: a row per key frame seen (frame number, region, lying share) and keypoints per frame.

    heading: sum of the trunk's horizontal shares in all key frames, above 0 when the hips lie right of the shoulders.
    """

    frames: list[int] = field(default_factory=list)
    regions: list[Doubles] = field(default_factory=list)
    lying: list[float] = field(default_factory=list)
    pieces: dict[int, Floats] = field(default_factory=dict)
    heading: float = 0.0

    def see(self, frame: int, pose: Pose, i: int) -> None:
        """Note the region that landmarks i of a key frame's pose give, unless they take the feet for the head."""
        points = pose.points[i]
        (across,) = lies(points[None])
        self.heading += float(across)
        if not self.frames or not wrong_way(across, self.heading):
            self.frames.append(frame)
            self.regions.append(region(points[HIP_CENTRE, :2], points[RIM, :2]))
            self.lying.append(float(abs(across)))

    def flipped(self, regions: Doubles) -> Doubles:
        """Regions (N, 5), mirrored where the head is on the right: the network sees every head on the left.

        It errs otherwise on a mirrored person, and the outline of the back with it.
        """
        return np.column_stack([regions[:, :4], flips(self.heading, regions[:, 3])])

    def steady(self, frames: NDArray[np.int64], fps_hz: float) -> Doubles:
        """Regions (N, 5) at frame numbers (N,): what was seen for seconds around, where it is like now; NaN if nothing.

        The first mean says where the person is now, the second runs over the reps around but not over another posture.
        """
        seen = np.array(self.regions)
        turn = np.exp(1j * seen[:, 3])
        rows = np.column_stack([seen[:, :2], np.log(seen[:, 2]), turn.real, turn.imag])
        frames_apart = np.abs(frames[:, None] - np.array(self.frames))  # (N, keys)
        now = _mean(_hann(frames_apart / (LOST_S * fps_hz + KEY_EVERY)), rows)
        moved = np.linalg.norm(now[:, None, :2] - rows[:, :2], axis=-1) / np.exp(now[:, None, 2]) / LIKE_SIDE
        turned = np.linalg.norm(now[:, None, 3:] - rows[:, 3:], axis=-1) / LIKE_RAD
        likeness = np.exp(-0.5 * (moved**2 + turned**2))
        mean = _mean(_hann(frames_apart / (STEADY_S * fps_hz + KEY_EVERY)) * likeness, rows)
        sides, turns = np.exp(mean[:, 2]), np.arctan2(mean[:, 4], mean[:, 3])
        return self.flipped(np.column_stack([mean[:, :2], sides, turns, np.ones_like(turns)]))


def flips(heading: float, angles: Doubles) -> Doubles:
    """-1 where the head is on the right, else 1, for regions of these ``angles`` (N,): by the heading, before any by them."""
    headed_right = np.full(len(angles), heading < 0) if heading else np.sin(angles) > 0
    return np.where(headed_right, -1.0, 1.0)


def lies(points: Doubles) -> Doubles:
    """Horizontal shares (B,) of the trunks of landmarks (B, 33 or more, 3), + = hips right of the shoulders, 0 upright."""
    trunk = points[:, [23, 24], :2].mean(1) - points[:, [11, 12], :2].mean(1)
    across: Doubles = trunk[:, 0] / np.maximum(np.hypot(*trunk.T), 1e-6)
    return across


def wrong_way(across: NDArray[np.floating], heading: float) -> NDArray[np.bool_]:
    """Which trunks with these horizontal shares (B,) lie the other way than ``heading``: nobody turns about during a set."""
    wrong: NDArray[np.bool_] = across * np.sign(heading) < -WRONG_WAY
    return wrong


def _hann(distance: Doubles) -> Doubles:
    """Weight 1 at distance 0, falling to 0 at 1."""
    return np.where(distance < 1, 0.5 + 0.5 * np.cos(np.pi * np.minimum(distance, 1)), 0)


def _mean(weights: Doubles, rows: Doubles) -> Doubles:
    """Weighted means (N, J) of rows (keys, J) under weights (N, keys); NaN where all weights vanish."""
    total = weights.sum(1, keepdims=True)
    means: Doubles = (weights @ rows) / np.where(total > 1e-6, total, np.nan)
    return means


def follow(
    pose: BlazePose,
    frames: Frames,
    fps_hz: float,
    size_px: tuple[int, int],
    batch: int = 8,
    watch: Watch | None = None,
) -> Track:
    """Track of the lifter in frames uint8 (B, H, W, 3) RGB at a constant rate; ``people`` is 0 when nobody is found."""
    people: list[Person] = []
    waiting: tuple[int, list[Bytes]] | None = None
    older: list[Future[None]] = []
    count = 0
    with callers(pose.threads) as pool:
        for start, block in blocks(frames):
            _keys(pose, people, start, block, fps_hz, batch)
            newer = _landmarks(pool, pose, people, *waiting, fps_hz, batch, watch) if waiting else []
            _finish(older)
            older, waiting, count = newer, (start, block), start + len(block)
        _finish(older + (_landmarks(pool, pose, people, *waiting, fps_hz, batch, watch) if waiting else []))
    return choose([_whole(p, count) for p in people if p.pieces], count, fps_hz, size_px, pose.name)


def _finish(running: Iterable[Future[None]]) -> None:
    """Wait for jobs; what one of them raised is raised here."""
    for job in running:
        job.result()


def blocks(frames: Frames) -> Iterator[tuple[int, list[Bytes]]]:
    """The same frames in pieces of ``BLOCK``, however they came, each with the number of its first frame."""
    block: list[Bytes] = []
    start = 0
    for pictures, _ in frames:
        for picture in pictures:
            block.append(picture)
            if len(block) == BLOCK:
                yield start, block
                block, start = [], start + BLOCK
    if block:
        yield start, block


def _keys(pose: BlazePose, people: list[Person], start: int, block: Sequence[Bytes], fps_hz: float, batch: int) -> None:
    """Find and continue people on the block's key frames."""
    keys = block[::KEY_EVERY]
    for i, detections in enumerate(_detect(pose, people, keys, batch)):
        frame = start + i * KEY_EVERY
        wanted = match(people, detections, frame, fps_hz)
        if not wanted:
            continue
        look = pose.look([keys[i]] * len(wanted), np.concatenate([p.flipped(r[None]) for p, r in wanted]))
        for j, (person, _) in enumerate(wanted):
            if look.presence[j] >= MIN_SCORE:
                if not person.frames:
                    people.append(person)
                person.see(frame, look, j)
        _merge(people, frame)


def _detect(pose: BlazePose, people: list[Person], keys: Sequence[Bytes], batch: int) -> list[Detections]:
    """People in each key frame (H, W, 3), shown mirrored to the detector, too, where the heads are on the right."""

    def found(flip: int) -> list[Detections]:
        return [d for i in range(0, len(keys), batch) for d in pose.detect(keys[i : i + batch], flip)]

    heading = sum(person.heading for person in people)
    if heading:
        return found(-1 if heading < 0 else 1)
    plain = found(1)
    first = next((seen.regions for seen in plain if len(seen)), None)
    return plain if first is None or flips(0, first[:, 3])[0] > 0 else found(-1)


def match(people: list[Person], detections: Detections, frame: int, fps_hz: float) -> list[tuple[Person, Doubles]]:
    """Regions to look at: detections with whom they continue or begin, and recent people whom the detector missed."""
    regions = detections.regions.reshape(-1, 5)  # (D, 5)
    last = np.array([person.regions[-1] for person in people]).reshape(-1, 5)  # (P, 5)
    sides = np.maximum(last[:, None, 2], regions[:, 2])
    apart = np.linalg.norm(last[:, None, :2] - regions[:, :2], axis=-1) / sides
    lost = np.array([frame - person.frames[-1] > LOST_S * fps_hz for person in people], bool)
    pairs = pair(apart, NEAR, lost)
    wanted = [(people[p], regions[d]) for p, d in pairs.items()]
    wanted += [(person, last[p]) for p, person in enumerate(people) if p not in pairs and not lost[p]]
    begins = [d for d in range(len(regions)) if d not in pairs.values()]
    return wanted + [(Person(), regions[d]) for d in begins[:MAX_PEOPLE]]


def _merge(people: list[Person], frame: int) -> None:
    """Two candidates on the same body become the older one."""
    now = [p for p in people if p.frames[-1] == frame]
    for i, older in enumerate(now):
        for younger in now[i + 1 :]:
            a, b = older.regions[-1], younger.regions[-1]
            if younger in people and np.hypot(*(a[:2] - b[:2])) < 0.1 * max(a[2], b[2]):
                people.remove(younger)


def _landmarks(
    pool: ThreadPoolExecutor,
    pose: BlazePose,
    people: list[Person],
    start: int,
    block: Sequence[Bytes],
    fps_hz: float,
    batch: int,
    watch: Watch | None,
) -> list[Future[None]]:
    """Jobs that put keypoints of the likely lifters on every frame of a block into their pieces, a job per batch."""
    numbers = np.arange(start, start + len(block))
    jobs = []
    for person in _likely(people, start, start + len(block) + BLOCK):
        regions = person.steady(numbers, fps_hz)
        seen = np.flatnonzero(np.isfinite(regions[:, 0]))
        piece = person.pieces[start] = absent(len(block))
        for i in range(0, len(seen), batch):
            rows = seen[i : i + batch]
            told = partial(watch, start + rows) if watch else None
            shown = [block[t] for t in rows], regions[rows]
            jobs.append(pool.submit(_fill, pose, person.heading, piece, rows, *shown, told))
    return jobs


def _fill(
    pose: BlazePose,
    heading: float,
    piece: Floats,
    rows: NDArray[np.int64],
    frames: Sequence[Bytes],
    regions: Doubles,
    told: Callable[[Floats, Pose], None] | None,
) -> None:
    """Keypoints of frames (B, H, W, 3) in regions (B, 5) into rows (B,) of a piece, where the person is there and lies right."""
    look = pose.look(frames, regions, masks=True)
    there = (look.presence >= MIN_SCORE) & ~wrong_way(lies(look.points), heading)
    piece[rows[there]] = posed(look)[there]
    if told:
        told(piece[rows], look)


def posed(pose: Pose) -> Floats:
    """Keypoints (B, 32, 3) of a pose, with spine and outline of the trunk where masks were asked for."""
    if pose.masks is None or pose.spine is None:
        return keypoints(pose.points)
    spots = inverse(pose.points[..., :2], pose.regions, LANDMARK_PX)
    skin = outline(pose.masks, np.concatenate([spots, pose.points[..., 2:]], -1))
    trunk = np.concatenate([pose.spine, skin], 1)  # (B, 11, 3)
    trunk[..., :2] = project(trunk[..., :2], pose.regions, LANDMARK_PX)
    return keypoints(pose.points, trunk)


def _likely(people: list[Person], first: int, end: int) -> list[Person]:
    """People seen from frame ``first`` to ``end``, the largest ones; while somebody lies the upright are left out."""
    rows = []
    for person in people:
        here = [i for i, f in enumerate(person.frames) if first <= f < end]
        if here:
            lies = float(np.mean([person.lying[i] >= LYING for i in here]))
            rows.append((lies > 0.25, float(np.median([person.regions[i][2] for i in here])), person))
    lying = [row for row in rows if row[0]] or rows
    return [person for _, _, person in sorted(lying, key=lambda row: -row[1])[:MAX_PEOPLE]]


def _whole(person: Person, count: int) -> Floats:
    """Keypoints (T, 32, 3) of all frames, NaN where the person was not looked at."""
    track = absent(count)
    for start, piece in person.pieces.items():
        track[start : start + len(piece)] = piece
    return track
