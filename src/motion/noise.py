"""How a detector errs on people, learnt from clips whose truth is known, and put onto the true points of other people.

An error is split in two. What follows from pose and scene is the regression of ``causes``. The rest is kept clip by clip and
lent to others who are filmed alike: its slow part, with gaps and scores, moves with the hips; its quick part comes from a clip
of no fewer frames a second, for a repeated error is no jitter, and runs in its own time. So bias, drift, swaps, gaps and scores
of all points come together as they did in a clip. Where plates hide a point in both clips the detector's guess is lent instead
of its error: it knew nothing of the true place.

The frame of reference is that of ``filmed``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from src.motion.causes import WILD, causes, errors, ridge
from src.motion.filmed import Filmed, Timed, on_chord, same_moment, stance, timed, unit
from src.motion.keypoints import TRUNK, Floats, Track, TrackError, mirror
from src.motion.person import ARMS

Array = NDArray[np.float64]

TAIL = 2.5
"""No donor's slow error of a point of the trunk is further from the median than so many standard deviations: what one clip in
thirty shows would otherwise come to one imitated person in thirty."""
SLOW_S = 0.2
"""Width of the Gaussian that parts slow from quick errors."""
NEAREST = 6
"""A donor is drawn from this many clips filmed most alike."""
OWN = 0.5
"""Share of the slow errors' variance that one donor lends; the rest has the mean and covariance of all ``NEAREST``."""
ALIKE = np.array([0.10, 0.10, 0.10, 0.25, 0.5, *[0.7] * len(ARMS)])
"""What counts as a step in each number of ``Filmed.place``: camera (2), plates (m), trunk's pitch (rad), load, ``ARMS`` (5)."""


def smooth(rows: Array, width: float) -> Array:
    """Rows (T, ...) under a running Gaussian of ``width`` rows; NaNs take no part and stay NaN."""
    reach = max(int(3 * width), 1)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(width, 1e-6)) ** 2)
    flat = rows.reshape(len(rows), -1)
    there = np.isfinite(flat)

    def blur(values: Array) -> Array:
        return np.stack(
            [np.convolve(column, kernel, mode="full")[reach : reach + len(rows)] for column in values.T], axis=1
        )

    with np.errstate(invalid="ignore", divide="ignore"):
        mean = blur(np.where(there, flat, 0.0)) / blur(there.astype(float))
    return np.where(there, mean, np.nan).reshape(rows.shape)


@dataclass(frozen=True)
class Donor:
    """What the regression left of one clip: slow and quick errors (T, 32, 2), scores (T, 32), the clip's place and reps.

    guess: (T, 32, 2) where the detector put each point but for the quick part, measured as ``stance``; hidden: (T, 32) 1 where
    plates hide it; phase: (T,) of the rep, see ``Timed``.
    """

    slow: Floats
    quick: Floats
    guess: Floats
    hidden: Floats
    scores: Floats
    fps_hz: float
    place: Array
    reps: Array
    phase: Array

    @property
    def timed(self) -> Timed:
        """When its frames are."""
        return Timed(np.arange(len(self.phase)) / self.fps_hz, self.reps, self.phase)


@dataclass(frozen=True)
class Noise:
    """A fitted detector: ``weights`` (P, 32, 2) of ``causes``, and the donors."""

    weights: Array
    donors: tuple[Donor, ...]

    def observe(self, filmed: Filmed, rng: np.random.Generator) -> Floats:
        """Keypoints (T, 32, 3) that the detector might have reported for these true points."""
        (alike, chance), (jittery, odds) = self._donors(filmed), self._donors(filmed, filmed.true.fps_hz)
        drawn, quick = int(rng.choice(len(alike), p=chance)), jittery[int(rng.choice(len(jittery), p=odds))]
        true, size, slow = filmed.from_left, unit(filmed.from_left), alike[drawn]
        ours, last = timed(filmed), len(quick.quick) - 1
        moments = [same_moment(ours, d.timed) * d.fps_hz for d in alike]
        moment = moments[drawn]
        since = ours.seconds + rng.uniform(0, last / quick.fps_hz)
        free = np.round(since * quick.fps_hz).astype(int) % (2 * last + 1)
        free = np.minimum(free, 2 * last - free).clip(0, last)  # to and fro
        off = np.einsum("tp,pkc->tkc", causes(filmed), self.weights)
        lent = np.stack([between(d.slow, at) for d, at in zip(alike, moments, strict=True)])
        off = off + mixed(lent, chance, drawn, rng)
        both = between(slow.hidden, moment) * (true.keypoints[..., 2] < 1)  # (T, 32)
        guessed = smooth(both.astype(float), SLOW_S * true.fps_hz)[..., None]
        off = np.where(guessed > 0, off + guessed * (between(slow.guess, moment) - stance(filmed) - off), off)
        off = off + np.nan_to_num(quick.quick[free])
        xy = true.keypoints[..., :2] + size * off
        xy[:, -len(TRUNK) :] = on_chord(xy, stance(filmed)[:, -len(TRUNK) :] + off[:, -len(TRUNK) :])
        seen = np.concatenate([xy, between(slow.scores, moment)[..., None]], axis=-1)
        seen[~np.isfinite(seen[..., 0])] = (np.nan, np.nan, 0.0)
        track = Track(seen.astype(np.float32), true.fps_hz, true.size_px, "simulated")
        return (track if filmed.side == "left" else mirror(track)).keypoints

    def _donors(self, filmed: Filmed, fps_hz: float = 0.0) -> tuple[list[Donor], Array]:
        """Those filmed most alike, and each one's chance to lend; who has fewer frames a second comes last."""
        place = filmed.place()
        apart = [np.linalg.norm((place - d.place) / ALIKE) + 9.0 * (d.fps_hz < 0.75 * fps_hz) for d in self.donors]
        near = np.argsort(apart, kind="stable")[:NEAREST]
        chance = np.exp(-0.5 * (np.array(apart)[near] - apart[near[0]]))
        return [self.donors[i] for i in near], chance / chance.sum()

    def save(self, path: Path) -> None:
        """Write one compressed ``.npz`` in one step."""
        path.parent.mkdir(parents=True, exist_ok=True)
        fields = {
            f"{name}_{i}": getattr(d, name) for i, d in enumerate(self.donors) for name in Donor.__dataclass_fields__
        }
        part = path.with_suffix(".part.npz")
        np.savez_compressed(part, weights=self.weights, donors=len(self.donors), **fields)
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Noise":
        """Read what ``save`` wrote; ``TrackError`` names a file that is none."""
        try:
            with np.load(path, allow_pickle=False) as z:
                names = Donor.__dataclass_fields__
                donors = [Donor(**{n: z[f"{n}_{i}"] for n in names}) for i in range(int(z["donors"]))]
                return cls(z["weights"], tuple(donors))
        except (OSError, KeyError, ValueError, BadZipFile) as error:
            raise TrackError(f"{path}: no fitted noise ({error}); run python -m src.imitate") from error


def mixed(lent: Floats, chance: Array, drawn: int, rng: np.random.Generator) -> Floats:
    """Errors (T, 32, 2) with the mean and covariance of the donors' (D, T, 32, 2), missing where the drawn one's are.

    So few clips say so much about errors that a network would learn them by heart if they came again as they were.
    """
    weight = np.where(np.isfinite(lent), chance[:, None, None, None], 0.0)
    mean = np.nansum(weight * lent, axis=0) / np.maximum(weight.sum(axis=0), 1e-9)
    draws = rng.normal(size=len(lent)) * np.sqrt(chance)
    others = np.einsum("d,dtkc->tkc", draws, np.nan_to_num(lent - mean))
    values: Floats = mean + np.sqrt(OWN) * (lent[drawn] - mean) + np.sqrt(1 - OWN) * others
    return values


def between(rows: Floats, at: Array) -> Floats:
    """Rows (T', ...) at fractional numbers (T,), linear between two; where one of them is missing, as the nearer one."""
    at = at.clip(0, len(rows) - 1)
    low = np.minimum(at.astype(int), max(len(rows) - 2, 0))
    high = np.minimum(low + 1, len(rows) - 1)
    share = (at - low).reshape(-1, *[1] * (rows.ndim - 1)).astype(np.float32)
    blend, nearer = rows[low] + share * (rows[high] - rows[low]), np.where(share < 0.5, rows[low], rows[high])
    values: Floats = np.where(np.isfinite(rows[low]) & np.isfinite(rows[high]), blend, nearer)
    return values


def fit(pairs: Sequence[tuple[Filmed, Track]]) -> Noise:
    """Learn the detector's errors from true and detected tracks of the same clips; a ``TrackError`` without any person."""
    rows = [(filmed, seen, errors(filmed, seen)) for filmed, seen in pairs]
    rows = [row for row in rows if _sane(row[2])]
    if not rows:
        raise TrackError("nobody was detected in any of the clips; no noise can be fitted")
    known = [_at(causes(filmed), filmed.true.fps_hz, seen) for filmed, seen, _ in rows]
    weights = ridge(known, [error[..., :2].astype(float) for *_, error in rows])
    donors = [
        _rest(filmed, seen, error, np.einsum("tp,pkc->tkc", x, weights))
        for (filmed, seen, error), x in zip(rows, known, strict=True)
    ]
    return Noise(weights, tuple(tamed(donors)))


def tamed(donors: Sequence[Donor]) -> list[Donor]:
    """Donors whose slow errors of the trunk lie within ``TAIL`` standard deviations, by the median and its deviation, of all."""
    trunk = slice(-len(TRUNK), None)
    lent = np.concatenate([d.slow[:, trunk] for d in donors])  # (T, 11, 2)
    with catch_warnings():
        simplefilter("ignore", RuntimeWarning)  # a point that no donor saw has no median
        median = np.nanmedian(lent, axis=0)
        reach = TAIL * 1.4826 * np.nanmedian(abs(lent - median), axis=0)
    changed = []
    for donor in donors:
        slow = donor.slow.copy()
        slow[:, trunk] = slow[:, trunk].clip(median - reach, median + reach)
        changed.append(replace(donor, slow=slow))
    return changed


def _sane(error: Floats) -> bool:
    """Whether the detector followed the lifter at all: half of the errors are below ``WILD``."""
    off = np.abs(error[..., :2])
    return bool(np.isfinite(off).any() and np.nanmedian(off) < WILD)


def _at(rows: Array, fps_hz: float, seen: Track) -> Array:
    """Rows (T, P) at ``fps_hz`` at the times of a detected track."""
    taken: Array = rows[np.round(seen.seconds * fps_hz).astype(int).clip(max=len(rows) - 1)]
    return taken


def _rest(filmed: Filmed, seen: Track, error: Floats, explained: Array) -> Donor:
    """The donor that a clip makes: what its causes do not explain, and where hidden points were put."""
    true, width = filmed.from_left.keypoints, SLOW_S * seen.fps_hz
    known = stance(filmed), (true[..., 2] < 1).astype(float), timed(filmed).phase
    place, hidden, phase = (_at(rows, filmed.true.fps_hz, seen) for rows in known)
    left, put = error[..., :2] - explained, error[..., :2] + place
    slow, guess = smooth(left, width), smooth(put, width)
    quick = np.where(hidden[..., None] > 0, put - guess, left - slow)
    fields = {"slow": slow, "quick": quick, "guess": guess, "hidden": hidden, "scores": error[..., 2]}
    floats: dict[str, Any] = {name: values.astype(np.float32) for name, values in fields.items()}
    return Donor(**floats, fps_hz=seen.fps_hz, place=filmed.place(), reps=filmed.reps, phase=phase)
