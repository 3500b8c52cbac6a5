"""What the lifter does when: tempo, severities per rep, and the curves of one set with what comes before and after."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.motion.faults import FAULT_KEYS
from src.motion.person import Person

Array = NDArray[np.float64]

SHORTEST = 0.6
"""A rep lacks at most this part of its range: whoever moves less than that has not tried, and nobody would count it."""
SET_SHARE = {"overarch": 0.39, "tuck": 0.52, "feet_too_far": 0.24, "partial_range": 0.38}
"""Chance that a set is faulty at all (tuck: of the sets left without overarch).

Reps of a faulty set may still be clean.
"""
PATTERNS = ("all", "last", "first", "some")
STYLES = ("arch", "above", "throughout")


@dataclass(frozen=True)
class Tempo:
    """Seconds per phase of a fresh rep; ``fatigue`` lengthens the rise by that part over the set.

    ``skew`` bends the curves.
    """

    rise_s: float
    hold_s: float
    fall_s: float
    rest_s: float
    fatigue: float
    skew: float
    shake_deg: float


@dataclass(frozen=True)
class Severity:
    """How faulty each rep is: 0 none, 1 strong, continuous, in every fault at once. All (R,) but the set's own habits.

    feet_too_far: one number,
    since feet stay where they are. style: how this person overarches (``STYLES``). onset: part of the
    rise after which the lumbar fault begins. shallow: the partial range happens at the bottom instead of the top.
    """

    overarch: Array
    tuck: Array
    partial_range: Array
    feet_too_far: float
    style: str
    onset: float
    shallow: bool

    def row(self, rep: int) -> dict[str, float]:
        """The severities of one rep by fault key."""
        values = (self.overarch[rep], self.tuck[rep], self.feet_too_far, self.partial_range[rep])
        return dict(zip(FAULT_KEYS, (float(v) for v in values), strict=True))


@dataclass(frozen=True)
class Curves:
    """One set over time, all (T,): the sampler's wish, from which joints and then the truth are computed.

    hip_deg: wished trunk-thigh angle. lumbar_deg: lumbar angle. sit: 0 = on the bench, 1 = sitting up.
    feet_m: (T, 2) how far left and right foot still are from their place. lift_m: (T, 2) foot above the floor.
    phase: 0 at the bottom, 1 at lockout. reps: start, end of each rep (s).
    """

    seconds: Array
    hip_deg: Array
    lumbar_deg: Array
    sit: Array
    feet_m: Array
    lift_m: Array
    phase: Array
    reps: tuple[tuple[float, float], ...]


def sample_tempo(rng: np.random.Generator) -> Tempo:
    """Rise about 1.1 s (0.5-2.2, then varied by rep), a rep usually 3-4 s: Brazil et al. 2021, coaching texts (FAULTS.md)."""
    return Tempo(
        rise_s=float(np.clip(rng.lognormal(0.1, 0.3), 0.5, 2.2)), hold_s=float(np.clip(rng.gamma(2.0, 0.25), 0.1, 1.8)),
        fall_s=float(np.clip(rng.lognormal(0.25, 0.3), 0.55, 2.8)), rest_s=float(np.clip(rng.gamma(1.5, 0.2), 0.0,
        1.2)),
        fatigue=float(rng.uniform(0, 0.5)), skew=float(rng.uniform(0.8, 1.25)), shake_deg=float(rng.uniform(0.05, 0.5)),
    )  # fmt: skip


def _pattern(rng: np.random.Generator, reps: int) -> Array:
    """Which reps of a faulty set are faulty, (R,) 0..1.

    All, from some rep on (fatigue), only at first, or here and there.
    """
    kind = rng.choice(PATTERNS, p=(0.45, 0.30, 0.10, 0.15))
    rank = np.arange(reps)
    turn = rng.integers(1, reps) if reps > 1 else 0
    on = {"all": rank >= 0, "last": rank >= turn, "first": rank < max(turn, 1), "some": rng.random(reps) < 0.6}[
        str(kind)
    ]
    return np.where(on, np.clip(rng.normal(1, 0.12, reps), 0.6, 1.4), 0.0)


def _amount(rng: np.random.Generator) -> float:
    """Severity of a faulty set; one in ten is slight, so that the grey zone is not empty."""
    return float(rng.uniform(0.25, 0.65) if rng.random() < 0.1 else rng.uniform(0.65, 1.25))


def sample_severity(rng: np.random.Generator, reps: int) -> Severity:
    """Faults of one set, drawn independently of each other and of everything else.

    Only overarch and tuck exclude each other.
    """
    arch = rng.random() < SET_SHARE["overarch"]
    tuck = (rng.random() < SET_SHARE["tuck"]) and not arch
    feet, partial = (rng.random() < SET_SHARE[key] for key in ("feet_too_far", "partial_range"))
    over, under, short = (_amount(rng) * _pattern(rng, reps) for _ in range(3))
    return Severity(
        overarch=over * arch, tuck=under * tuck, partial_range=short * partial, feet_too_far=_amount(rng) * feet,
        style=str(rng.choice(STYLES, p=(0.4, 0.4, 0.2))), onset=float(rng.uniform(0.1, 0.75)),
        shallow=bool(rng.random() < 0.3),
    )  # fmt: skip


def _ease(x: Array, skew: float) -> Array:
    """Minimum-jerk 0 -> 1 for x in 0..1, bent in time by ``skew`` (Flash & Hogan 1985)."""
    x = np.clip(x, 0, 1) ** skew
    return x**3 * (10 - 15 * x + 6 * x**2)


def _targets(
    person: Person, severity: Severity, floor_deg: float, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Wished trunk-thigh angle at bottoms (R+1,) and tops (R,), and lumbar angle at tops (R,), degrees."""
    reps = len(severity.overarch)
    habit = max(rng.normal(117, 6), floor_deg + rng.uniform(0, 6))
    bottom = np.maximum(habit + rng.normal(0, 1.6, reps + 1), floor_deg)
    top = np.clip(person.lockout_deg + rng.normal(0, 1.2) + rng.normal(0, 0.9, reps), 171, 183)
    fullest = top - bottom[:-1]
    bottom[:-1] += np.minimum(0.5 * severity.partial_range, SHORTEST) * severity.shallow * fullest
    top -= np.minimum(34 * severity.partial_range, SHORTEST * fullest) * (not severity.shallow)
    top += 15 * severity.overarch * (severity.style == "above")
    lumbar = person.lumbar_rest_deg + rng.normal(0, 1.0) + rng.normal(0, 0.7, reps)
    lumbar += 17 * severity.overarch * (0.65 if severity.style == "above" else 1.0) - 15 * severity.tuck
    return bottom, top, lumbar


def _breaks(tempo: Tempo, reps: int, start_s: float, rng: np.random.Generator) -> Array:
    """Times (R, 4): start, rise done, fall begins, end."""
    tired = 1 + tempo.fatigue * np.linspace(0, 1, reps) if reps > 1 else np.ones(1)
    vary = np.clip(rng.normal(1, 0.08, (reps, 4)), 0.75, 1.3)
    spans = vary * np.array([tempo.rise_s, tempo.hold_s, tempo.fall_s, tempo.rest_s])
    spans[:, 0] *= tired
    spans[:, 3] = np.maximum(spans[:, 3], 0.03)
    begins = start_s + np.concatenate([[0.0], np.cumsum(spans.sum(axis=1))[:-1]])
    return begins[:, None] + np.concatenate([np.zeros((reps, 1)), np.cumsum(spans[:, :3], axis=1)], axis=1)  # type: ignore[no-any-return]


def _wobble(seconds: Array, rng: np.random.Generator, low_hz: float, high_hz: float, waves: int = 4) -> Array:
    """Smooth noise of about unit size over time (T,), a sum of sines, the same whatever the frame rate."""
    hz, turn = rng.uniform(low_hz, high_hz, waves), rng.uniform(0, 2 * np.pi, waves)
    return np.sin(2 * np.pi * seconds[:, None] * hz + turn).sum(axis=1) / np.sqrt(waves / 2)  # type: ignore[no-any-return]


def _around(seconds: Array, first_s: float, last_s: float, rng: np.random.Generator) -> tuple[Array, ...]:
    """Before and after the set: sitting (T,), shuffling hips (T,) deg, feet on their way (T, 2) and lifted (T, 2)."""
    sit, shuffle = np.zeros_like(seconds), np.zeros_like(seconds)
    feet, lift = np.zeros((len(seconds), 2)), np.zeros((len(seconds), 2))
    sits_before, shuffles, walks, sits_after = rng.random(4) < (0.4, 0.5, 0.4, 0.45)
    ready = max(first_s - 0.4, 0.0)
    if sits_before:
        down = ready * rng.uniform(0.35, 0.7)
        sit += 1 - _ease((seconds - down) / max(min(1.4, ready - down), 0.2), 1.0)
    bump_s, bump_deg, walk_s, walk_m = (
        rng.uniform(0, 1, 3),
        rng.uniform(3, 14, 3),
        rng.uniform(0.55, 0.95, 2),
        rng.uniform(-0.12, 0.12),
    )
    if shuffles:
        for at, size in zip(bump_s * ready, bump_deg, strict=True):
            shuffle += size * np.exp(-(((seconds - at) / 0.22) ** 2))
    if walks and ready > 1.2:
        for foot, at in enumerate(walk_s * ready):
            step = np.clip((seconds - at + 0.4) / 0.4, 0, 1)
            feet[:, foot] = walk_m * (1 - _ease(step, 1.0))
            lift[:, foot] = 0.05 * np.sin(np.pi * step)
    if sits_after:
        sit += _ease((seconds - last_s - rng.uniform(0.2, 0.8)) / rng.uniform(0.9, 1.6), 1.0)
    gate = _ease((ready - seconds) / 0.3, 1.0) if ready > 0 else 0.0
    return sit, shuffle * gate, feet, lift


def play(
    person: Person,
    tempo: Tempo,
    severity: Severity,
    floor_deg: float,
    fps_hz: float,
    rng: np.random.Generator,
) -> Curves:
    """The curves of one set. ``floor_deg``: trunk-thigh angle at which the buttocks touch the floor."""
    reps = len(severity.overarch)
    before_s, after_s = rng.uniform(0.3, 4.5), rng.uniform(0.3, 3.0)
    bottom, top, lumbar = _targets(person, severity, floor_deg, rng)
    breaks = _breaks(tempo, reps, before_s, rng)
    seconds = np.arange(int(np.ceil((breaks[-1, 3] + after_s) * fps_hz))) / fps_hz
    hip, phase = np.full(len(seconds), bottom[0]), np.zeros(len(seconds))
    for i, (start, up, leave, end) in enumerate(breaks):
        rise, fall = (
            _ease((seconds - start) / (up - start), tempo.skew),
            _ease((seconds - leave) / (end - leave), 1 / tempo.skew),
        )
        hip += (top[i] - bottom[i]) * rise + (bottom[i + 1] - top[i]) * fall
        phase += rise - fall
    held = np.interp(seconds, breaks[:, 1:3].ravel(), np.repeat(np.arange(reps), 2))  # which rep counts now
    wished = np.interp(held, np.arange(reps), lumbar)
    late = np.clip((phase - severity.onset) / (1 - severity.onset), 0, 1)
    late = late**2 * (3 - 2 * late) if severity.style != "throughout" or severity.tuck.any() else np.ones_like(late)
    low = rng.normal(-5, 4)
    sit, shuffle, feet, lift = _around(seconds, breaks[0, 0], breaks[-1, 3], rng)
    shake = tempo.shake_deg * _wobble(seconds, rng, 0.3, 3.0) * (0.3 + 0.7 * phase) * (1 - np.clip(sit, 0, 1))
    return Curves(
        seconds=seconds, hip_deg=np.maximum(hip + shuffle + shake, floor_deg),
        lumbar_deg=person.lumbar_rest_deg * (1 - late) + wished * late + low * (1 - phase) + 0.15 * shake,
        sit=np.clip(sit, 0, 1), feet_m=feet, lift_m=lift, phase=phase,
        reps=tuple((float(b[0]), float(b[3])) for b in breaks),
    )  # fmt: skip
