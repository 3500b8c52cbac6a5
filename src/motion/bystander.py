"""Somebody who stands in the gym while another one lifts: the same joints as a lifter's, upright, at ease."""

import numpy as np
from numpy.typing import NDArray

from src.motion.keypoints import BACK_FRACTIONS, FRONT_FRACTIONS, OUTLINE, SPINE
from src.motion.kinematics import JOINTS, Performance
from src.motion.limbs import SIDES, feet, two_link
from src.motion.person import Person, sample_person, sample_setup
from src.motion.spine import MID_LUMBAR, NODES, bend, contour

Array = NDArray[np.float64]


def upright(person: Person) -> dict[str, Array]:
    """Joints (1, 3) metres of a person who stands at the origin and looks along x."""
    trunk = bend(person, np.zeros(1))
    hip_z = person.ankle_m + 0.99 * (person.shank_m + person.thigh_m)

    def plane(points: Array) -> Array:
        """(..., 2) down the trunk and in front of it, to (..., 2) ahead and up."""
        return np.stack([points[..., 1], hip_z + trunk.hip[0, 0] - points[..., 0]], axis=-1)

    def deep(points: Array) -> Array:
        return np.stack([points[..., 0], np.zeros(points.shape[:-1]), points[..., 1]], axis=-1)

    parts = {name: plane(getattr(trunk, name)) for name in ("spine", "rear", "fore")}
    chest, hip = plane(trunk.shoulder), plane(trunk.hip)
    points = {f"{part}_{n}": deep(rows[:, i]) for part, rows in parts.items() for i, n in enumerate(NODES)}
    sides = (("rear", BACK_FRACTIONS), ("fore", FRONT_FRACTIONS))
    skin = np.concatenate([contour(chest, hip, parts[side], at) for side, at in sides], axis=1)  # (1, 10, 2)
    points |= {name: deep(skin[:, i]) for i, name in enumerate(OUTLINE)} | {SPINE: deep(parts["spine"][:, MID_LUMBAR])}
    up = deep(chest) + np.array([0.02, 0, 1.05 * person.head_m])
    points |= {"neck": deep(chest) + np.array([0, 0, 0.25 * person.head_m]), "head": up}
    points |= {"crown": up + [0, 0, 0.5 * person.head_m], "nose": up + [0.46 * person.head_m, 0, 0], "bar": deep(hip)}
    for side, sign in SIDES:
        points[f"{side}_ear"] = up + [0, 0.34 * sign * person.head_m, 0]
        points[f"{side}_eye"] = up + [0.38 * person.head_m, 0.14 * sign * person.head_m, 0.08 * person.head_m]
        points[f"{side}_shoulder"] = deep(chest) + [0, sign * person.shoulder_m / 2, 0]
        points[f"{side}_hip"] = deep(hip) + [0, sign * person.hip_m / 2, 0]
        points[f"{side}_bar"] = deep(hip)
    return points


def bystander(fps_hz: float, frames: int, rng: np.random.Generator) -> Performance:
    """A standing person who shifts their weight a little, at the origin: joints (T, J, 3), no reps."""
    person = sample_person(rng)
    setup, points = sample_setup(rng, person), upright(person)
    ankles = np.array([[[0.0, sign * setup.stance_m / 2, person.ankle_m] for _, sign in SIDES]])  # (1, 2, 3)
    points |= feet(person, setup, ankles)
    for i, (side, sign) in enumerate(SIDES):
        ahead, hip, shoulder = np.array([[1.0, 0, 0]]), points[f"{side}_hip"], points[f"{side}_shoulder"]
        points[f"{side}_knee"] = two_link(hip, ankles[:, i], person.thigh_m, person.shank_m, ahead)[0]
        wish = shoulder + [rng.uniform(-0.05, 0.3), sign * rng.uniform(0.05, 0.2), -0.9 * person.trunk_m]
        elbow, wrist = two_link(shoulder, wish, person.upper_arm_m, person.forearm_m, -ahead)
        points |= {f"{side}_elbow": elbow, f"{side}_wrist": wrist}
        points[f"{side}_hand"] = wrist + (wrist - elbow) / person.forearm_m * person.hand_m / 2
    still = np.stack([points[name] for name in JOINTS], axis=1)  # (1, J, 3)
    seconds, hz, late = np.arange(frames) / fps_hz, rng.uniform(0.1, 0.4, 2), rng.uniform(0, 6, 2)
    sway = 0.03 * np.sin(6.28 * seconds[:, None] * hz + late) @ np.array([[1.0, 0, 0], [0, 1, 0]])  # (T, 3)
    return Performance(person, setup, fps_hz, still + sway[:, None] * still[..., 2:] / person.height_m, (), 0.0)
