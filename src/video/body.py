"""A person's surface from moving joints: lofted rings for trunk, limbs, neck and feet, a head with a face and hair."""

from dataclasses import dataclass

import numpy as np

from src.motion.kinematics import Performance
from src.motion.limbs import THIGH, leg_build
from src.motion.spine import NODES
from src.video.mesh import AROUND, Array, Surface, ball, joined_tubes, limb, loft, resampled, unit

SPANNING_M = 0.04
"""Cloth as loose as this spans the hollow of the low back in full."""
SKIN = np.array(
    [
        (0.94, 0.78, 0.68),
        (0.88, 0.68, 0.55),
        (0.78, 0.57, 0.43),
        (0.62, 0.42, 0.30),
        (0.45, 0.29, 0.20),
        (0.32, 0.20, 0.14),
    ]
)
HAIR = np.array([(0.06, 0.05, 0.05), (0.16, 0.10, 0.07), (0.33, 0.20, 0.11), (0.62, 0.47, 0.25), (0.35, 0.33, 0.32)])
CLOTH = np.array([
    (0.07, 0.07, 0.08), (0.16, 0.17, 0.20), (0.45, 0.46, 0.48), (0.88, 0.88, 0.86), (0.10, 0.16, 0.36), (0.45, 0.08,
    0.14),
    (0.12, 0.32, 0.22), (0.70, 0.32, 0.10), (0.38, 0.20, 0.44), (0.20, 0.45, 0.60), (0.72, 0.62, 0.48),
])  # fmt: skip


@dataclass(frozen=True)
class Outfit:
    """Colours (3,) in 0..1 and cut: sleeve and leg 0..1 of the limb covered, loose_m of cloth off the trunk."""

    skin: Array
    hair: Array
    shirt: Array
    trousers: Array
    shoes: Array
    sleeve: float
    leg: float
    loose_m: float
    bun: bool


def sample_outfit(rng: np.random.Generator) -> Outfit:
    """Clothes, skin and hair, independent of everything else."""
    tone = np.clip(SKIN[rng.integers(len(SKIN))] * rng.uniform(0.93, 1.07), 0, 1)
    shirt, trousers, shoes = (np.clip(CLOTH[rng.integers(len(CLOTH))] * rng.uniform(0.8, 1.15), 0, 1) for _ in range(3))
    return Outfit(
        tone, HAIR[rng.integers(len(HAIR))], shirt, trousers, np.clip(shoes + 0.1, 0, 1),
        sleeve=float(rng.choice([0.0, 0.35, 0.5, 0.97])), leg=float(rng.choice([0.45, 0.65, 0.9, 1.9, 1.95])),
        loose_m=float(rng.gamma(1.3, 0.008)), bun=bool(rng.random() < 0.4),
    )  # fmt: skip


def _bridged(rear: Array, fore: Array, share: float) -> Array:
    """Back skin (11, T, 3) under cloth that spans the hollow from below the blades to the seat by ``share`` 0..1."""
    first, last = NODES.index("t9"), NODES.index("s3") + 1
    out = unit(rear - fore)[first:last]
    place = np.linspace(0, 1, last - first)[:, None, None]
    taut = rear[first] * (1 - place) + rear[last - 1] * place  # (n, T, 3)
    gap = np.maximum(((taut - rear[first:last]) * out).sum(-1, keepdims=True), 0)
    cloth = rear.copy()
    cloth[first:last] += share * gap * out
    return cloth


def _trunk(perf: Performance, outfit: Outfit) -> tuple[Array, Array]:
    """Trunk points (T, R, AROUND, 3) and how far down each ring lies, 0 = neck, 1 = seat (R,)."""
    person = perf.person
    rear, fore = (np.stack([perf[f"{side}_{n}"] for n in NODES], axis=0) for side in ("rear", "fore"))  # (11, T, 3)
    half, hip = person.shoulder_m / 2, person.hip_m / 2
    build = person.girth * (1.05 if person.sex == "male" else 0.95)
    width = np.array([0.44 * half, 0.88 * half, 0.84 * half, 0.78 * half, 0.74 * half, 0.72 * half, 0.73 * half])
    width = np.concatenate(
        [width * build, np.array([hip + 0.062, hip + 0.078, hip + 0.085, hip + 0.055]) * (0.6 + 0.4 * person.girth)]
    )
    rear = _bridged(rear, fore, min(outfit.loose_m / SPANNING_M, 1.0))
    loose = outfit.loose_m * np.array([0, 0.3, 0.6, 0.8, 1, 1, 1, 0.8, 0.3, 0, 0])
    centre, deep = (rear + fore) / 2, (fore - rear) / 2
    deep = deep * (1 + loose / np.linalg.norm(deep, axis=-1).mean(axis=1))[:, None, None]
    first, last = 2 * centre[0] - centre[1], centre[-1] + 0.45 * (centre[-1] - centre[-2])
    centre = np.concatenate([(centre[:1] + 0.3 * (first - centre[0])), centre, last[None]])
    deep = np.concatenate([deep[:1] * 0.02, deep, deep[-1:] * 0.05])
    width = np.concatenate([[0.003], width + loose, [0.01]])
    rings = 30
    centre, deep, width = resampled(centre, rings), resampled(deep, rings), np.maximum(resampled(width, rings), 0.002)
    wide = np.zeros_like(centre)
    wide[..., 1] = -width[:, None]
    return loft(centre.swapaxes(0, 1), wide.swapaxes(0, 1), deep.swapaxes(0, 1), 0.82), np.linspace(-1, 11, rings) / 10


def _legs(perf: Performance, side: str) -> list[tuple[str, Array, Array]]:
    """Thigh, shank and foot of one side: name, points (T, R, AROUND, 3), place along the limb (R,), legs 0..2."""
    build = leg_build(perf.person.girth)
    hip, knee, ankle, toe, heel = (perf[f"{side}_{n}"] for n in ("hip", "knee", "ankle", "toe", "heel"))
    ahead = unit((toe - heel) + np.array([0, 0, 0.25]))
    thigh = np.array(THIGH) * (1, build, build, 1)
    shank = np.array([
        (-0.10, 0.008, 0.008, 0), (-0.04, 0.046, 0.046, 0), (0.05, 0.051, 0.054, 0), (0.16, 0.053, 0.059, -0.010),
        (0.30, 0.054, 0.060, -0.014), (0.48, 0.046, 0.050, -0.010),
        (0.68, 0.037, 0.040, -0.004), (0.86, 0.030, 0.034, 0), (0.97, 0.036, 0.037, 0), (1.04, 0.034, 0.036, 0),
        (1.12, 0.012, 0.012, 0),
    ]) * (1, build, build, 1)  # fmt: skip
    size = perf.person.foot_m
    sole = unit(toe - heel)
    at = np.array([-0.20, -0.16, 0.0, 0.22, 0.42, 0.62, 0.82, 1.0, 1.12, 1.18])
    tall = np.array([0.10, 0.36, 0.45, 0.46, 0.43, 0.34, 0.27, 0.22, 0.15, 0.03]) * perf.person.ankle_m
    broad = np.array([0.01, 0.026, 0.033, 0.034, 0.036, 0.042, 0.046, 0.043, 0.030, 0.004]) * (size / 0.26)
    centre = heel[:, None] + (toe - heel)[:, None] * at[:, None]
    centre[..., 2] += tall - 0.018
    across = unit(np.cross(sole, np.array([0.0, 0.0, 1.0])))
    foot = loft(
        centre, across[:, None] * broad[:, None], np.array([0, 0, 1.0]) * tall[:, None] * np.ones_like(centre), 0.75
    )
    front = unit(np.cross(np.cross(knee - hip, ahead), knee - hip))
    return [
        ("thigh", limb(hip, knee, front, thigh), thigh[:, 0]), ("shank", limb(knee, ankle, ahead, shank),
        1 + shank[:, 0]),
        ("foot", foot, np.full(len(at), 2.0)),
    ]  # fmt: skip


def _arms(perf: Performance, side: str) -> list[tuple[str, Array, Array]]:
    """Upper arm, forearm and hand of one side."""
    build = (0.5 + 0.5 * perf.person.girth) * (1.08 if perf.person.sex == "male" else 0.92)
    shoulder, elbow, wrist, hand = (perf[f"{side}_{n}"] for n in ("shoulder", "elbow", "wrist", "hand"))
    ahead = np.broadcast_to(np.array([0.3, 0.1, 1.0]), shoulder.shape)
    upper = np.array([
        (-0.20, 0.01, 0.01, 0), (-0.16, 0.040, 0.040, 0), (-0.04, 0.058, 0.060, 0), (0.12, 0.056, 0.060, 0), (0.35,
        0.047, 0.051, 0.003),
        (0.6, 0.043, 0.046, 0.003), (0.85, 0.038, 0.039, 0), (1.0, 0.038, 0.038, 0), (1.1, 0.01, 0.01, 0),
    ]) * (1, build, build, 1)  # fmt: skip
    fore = np.array([
        (-0.1, 0.01, 0.01, 0), (-0.03, 0.035, 0.035, 0), (0.15, 0.041, 0.039, 0), (0.35, 0.038, 0.036, 0), (0.65,
        0.029, 0.027, 0), (0.95, 0.026, 0.020, 0), (1.04, 0.01, 0.01, 0),
    ]) * (1, build, build, 1)  # fmt: skip
    palm = np.array(
        [
            (-0.1, 0.01, 0.01, 0),
            (0.0, 0.024, 0.018, 0),
            (0.5, 0.040, 0.018, 0),
            (1.0, 0.042, 0.016, 0),
            (1.5, 0.036, 0.012, 0),
            (1.9, 0.022, 0.008, 0),
            (2.0, 0.003, 0.003, 0),
        ]
    )
    return [
        ("upper", limb(shoulder, elbow, ahead, upper), upper[:, 0]), ("fore", limb(elbow, wrist, ahead, fore),
        1 + fore[:, 0]),
        ("hand", limb(wrist, hand, ahead, palm), np.full(len(palm), 2.0)),
    ]  # fmt: skip


def _head(perf: Performance, outfit: Outfit) -> tuple[Array, Array]:
    """Head points (T, R, AROUND * 2, 3) with colours (R, AROUND * 2, 3).

    Skull, chin, nose, eyes, brows, mouth, hair.
    """
    centre, size = perf["head"], perf.person.head_m
    up = unit(perf["crown"] - centre)
    left = unit(perf["left_ear"] - perf["right_ear"])
    face = np.cross(up, left) * -1.0
    face = face * np.sign(((perf["nose"] - centre) * face).sum(-1, keepdims=True))
    rise, turn = np.linspace(-np.pi / 2, np.pi / 2, 26), np.linspace(-np.pi, np.pi, 2 * AROUND, endpoint=False)
    r, a = np.meshgrid(rise, turn, indexing="ij")
    u, f, s = np.sin(r), np.cos(r) * np.cos(a), np.cos(r) * np.sin(a)
    jaw = 1 - 0.30 * np.clip(-u - 0.1, 0, 1) * (f > -0.2) - 0.25 * np.clip(-u - 0.3, 0, 1) * (f <= -0.2)
    nose = np.exp(-((s / 0.13) ** 2) - ((u + 0.12) / 0.17) ** 2) * (f > 0)
    hair = ((u > 0.42 - 0.25 * (f < 0.55)) | (f < -0.05) & (u > -0.45)) & ~((np.abs(f) < 0.2) & (u < 0.05))
    puff = np.where(hair, 1.07, 1.0)
    local_u, local_f, local_s = u * 0.52 * puff, (f * 0.43 * jaw + 0.10 * nose) * puff, s * 0.335 * jaw * puff
    points = centre[:, None, None] + size * (
        local_u[..., None] * up[:, None, None]
        + local_f[..., None] * face[:, None, None]
        + local_s[..., None] * left[:, None, None]
    )
    colour = np.broadcast_to(outfit.skin, (*u.shape, 3)).copy()
    eye = (np.abs(np.abs(s) - 0.33) < 0.13) & (np.abs(u - 0.10) < 0.07) & (f > 0)
    brow = (np.abs(np.abs(s) - 0.34) < 0.19) & (np.abs(u - 0.27) < 0.06) & (f > 0)
    mouth = (np.abs(s) < 0.22) & (np.abs(u + 0.50) < 0.06) & (f > 0)
    for where, paint in (
        (eye, (0.08, 0.06, 0.05)),
        (brow, outfit.hair * 0.8),
        (mouth, outfit.skin * (0.85, 0.55, 0.55)),
        (hair, outfit.hair),
    ):
        colour[where] = paint
    return points, colour


def _ear(perf: Performance, side: str) -> Array:
    """One ear (T, 9, AROUND, 3)."""
    up, face = unit(perf["crown"] - perf["head"]), unit(perf["nose"] - perf["head"])
    outwards: Array = np.cross(up, face).astype(float)
    size = perf.person.head_m
    return ball(perf[f"{side}_ear"], (up * 0.13 * size, face * 0.07 * size, outwards * 0.03 * size))


def _neck(perf: Performance) -> Array:
    """From inside the shoulders into the skull (T, 5, AROUND, 3)."""
    root, top = 0.35 * perf["spine_c7"] + 0.65 * perf["neck"], perf["head"] - 0.18 * (perf["crown"] - perf["head"])
    root = root - 0.25 * (top - root)
    girth = 0.056 * (0.6 + 0.4 * perf.person.girth) * (1.06 if perf.person.sex == "male" else 0.9)
    profile = np.array(
        [
            (-0.1, 0.02, 0.02, 0),
            (0.0, girth * 1.25, girth * 1.25, 0),
            (0.4, girth, girth, 0),
            (1.0, girth, girth, 0),
            (1.1, 0.01, 0.01, 0),
        ]
    )
    return limb(root, top, unit(perf["nose"] - perf["head"]), profile)


def _bun(perf: Performance) -> Array:
    """Hair tied behind the head (T, 9, AROUND, 3)."""
    up, face = perf["crown"] - perf["head"], unit(perf["nose"] - perf["head"])
    centre = perf["head"] + 0.45 * up - face * 0.46 * perf.person.head_m
    x, y, z = (np.eye(3)[i] * 0.2 * perf.person.head_m * np.ones((len(centre), 1)) for i in range(3))
    return ball(centre, (x, y, z))


def _paint(place: Array, bare: Array, cloth: Array, covered: float) -> Array:
    """Ring colours (R, 3): cloth up to ``covered`` along the limb, skin beyond."""
    return np.where((place <= covered)[:, None], cloth, bare)


def person_surface(perf: Performance, outfit: Outfit, part: int = 0, seed: int = 0) -> Surface:
    """The dressed person through all frames of a performance."""
    trunk, place = _trunk(perf, outfit)
    waist = np.where((place < 0.80)[:, None], outfit.shirt, outfit.trousers)
    waist[place < 0.02] = outfit.skin
    sleeve = outfit.sleeve * 2 if outfit.sleeve > 0.9 else outfit.sleeve
    tubes = [(trunk, waist)]  # points and one colour per ring
    for side in ("left", "right"):
        for name, tube, at in _legs(perf, side):
            shoe = np.broadcast_to(outfit.shoes, (len(at), 3))
            tubes.append((tube, shoe if name == "foot" else _paint(at, outfit.skin, outfit.trousers, outfit.leg)))
        tubes += [(tube, _paint(at, outfit.skin, outfit.shirt, sleeve)) for _, tube, at in _arms(perf, side)]
        tubes.append((_ear(perf, side), np.repeat(outfit.skin[None], 9, axis=0)))
    tubes.append((_neck(perf), np.repeat(outfit.skin[None], 5, axis=0)))
    if outfit.bun:
        tubes.append((_bun(perf), np.repeat(outfit.hair[None], 9, axis=0)))
    rng = np.random.default_rng(seed)
    parts = [
        (tube, np.repeat(rings[:, None], AROUND, axis=1) * (1 + 0.035 * rng.standard_normal((len(rings), AROUND, 1))))
        for tube, rings in tubes
    ]
    return joined_tubes([*parts, _head(perf, outfit)], part)
