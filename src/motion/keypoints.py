"""The skeleton and the ``Track``: the only value that crosses from pixels to motion."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Float = TypeVar("Float", np.float32, np.float64)


class TrackError(ValueError):
    """A track that breaks its contract; the message names the file or field and the number that is wrong."""


@dataclass(frozen=True)
class Skeleton:
    """Named keypoints in two or three ``dimensions``.

    ``bones`` are pairs of names; left and right partners differ only in that prefix, ``left_`` or ``right_``.
    """

    name: str
    points: tuple[str, ...]
    bones: tuple[tuple[str, str], ...] = ()
    dimensions: int = 2

    def __len__(self) -> int:
        """Number of keypoints K."""
        return len(self.points)

    def index(self, point: str) -> int:
        """Position of a named point; a ``TrackError`` names the point that is missing."""
        if point not in self.points:
            raise TrackError(f"skeleton {self.name} has no point {point!r}; it has {', '.join(self.points)}")
        return self.points.index(point)

    @property
    def mirrored(self) -> tuple[int, ...]:
        """Permutation (K,) that swaps left and right: what a mirrored picture does to the labels."""
        swap = {"left": "right", "right": "left"}
        partners = []
        for point in self.points:
            side, _, rest = point.partition("_")
            partner = f"{swap[side]}_{rest}" if side in swap else point
            partners.append(self.index(partner if partner in self.points else point))
        return tuple(partners)


BACK_FRACTIONS, FRONT_FRACTIONS = (0.25, 0.4, 0.55, 0.7, 0.85, 1.0, 1.2), (0.25, 0.5, 0.75)
"""Where along the shoulder-to-hip chord the outline is sampled (0 = shoulders, 1 = hips): the back from the shoulder blades to
below the seat. What is measured is how the low back lies against the blades and the seat: the ends of the chord are joints, which
detectors misplace by as much as a fault moves the back."""
OUTLINE = tuple(
    f"{side}_{round(100 * at)}"
    for side, fractions in (("back", BACK_FRACTIONS), ("front", FRONT_FRACTIONS))
    for at in fractions
)
"""``back_25`` ... ``front_75``: the trunk's outline towards the floor and towards the ceiling of someone lying face up."""
SPINE = "mid_lumbar"
"""The third lumbar vertebra: how far it lies off the shoulder-hip chord is what an arched and a tucked low back are judged by."""
TRUNK = (SPINE, *OUTLINE)
"""Points without a left and a right, the last ones of ``HIP_THRUST``."""

HIP_THRUST = Skeleton(
    name="hip_thrust_v3",
    points=(
        "nose", "left_eye", "right_eye", "left_ear", "right_ear",
        "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
        "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
        "left_heel", "right_heel", "left_toe", "right_toe",
        *TRUNK,
    ),
    bones=(
        ("left_shoulder", "right_shoulder"), ("left_hip", "right_hip"),
        ("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist"),
        ("right_shoulder", "right_elbow"), ("right_elbow", "right_wrist"),
        ("left_shoulder", "left_hip"), ("left_hip", "left_knee"), ("left_knee", "left_ankle"),
        ("left_ankle", "left_heel"), ("left_heel", "left_toe"),
        ("right_shoulder", "right_hip"), ("right_hip", "right_knee"), ("right_knee", "right_ankle"),
        ("right_ankle", "right_heel"), ("right_heel", "right_toe"),
    ),
)  # fmt: skip
"""COCO-17, heels, toes, and optionally the spine and ten points on the trunk's outline. ``hip_thrust_v2`` had no spine."""

SKELETONS = {HIP_THRUST.name: HIP_THRUST}


@dataclass(frozen=True)
class Track:
    """One person's keypoints through one clip, at a constant frame rate.

    keypoints: (T, K, 3) float32: x px, y px, score in [0, 1]. A point the detector did not give has NaN for x and y and score 0.
    In three dimensions (T, K, 4): x, y, z in any one unit, score.
    fps_hz: frames per second of the rows; row t lies at ``t / fps_hz`` seconds of the clip.
    size_px: (width, height) of the upright picture; (0, 0) where there is none.
    detector: which detector and version made it, for instance ``blazepose-full`` or ``simulated``.
    people: how many people stood as equal candidates for the lifter (1 = no doubt, 0 = nobody found).
    skeleton: key of ``SKELETONS`` or any name when K points come from elsewhere.
    """

    keypoints: Floats
    fps_hz: float
    size_px: tuple[int, int]
    detector: str
    people: int = 1
    skeleton: str = HIP_THRUST.name

    def __post_init__(self) -> None:
        """Hold the contract or raise ``TrackError``."""
        known = SKELETONS.get(self.skeleton)
        widths = (3, 4) if known is None else (known.dimensions + 1,)
        if self.keypoints.ndim != 3 or self.keypoints.shape[2] not in widths:
            raise TrackError(f"keypoints must be (T, K, {' or '.join(map(str, widths))}), not {self.keypoints.shape}")
        if known is not None and self.keypoints.shape[1] != len(known):
            raise TrackError(f"{self.keypoints.shape[1]} keypoints where skeleton {known.name} has {len(known)}")
        if not 0 < self.fps_hz < float("inf"):
            raise TrackError(f"frame rate {self.fps_hz} Hz; cannot time a rep")

    @property
    def seconds(self) -> Floats:
        """Times (T,) of the rows."""
        return np.arange(len(self.keypoints), dtype=np.float32) / np.float32(self.fps_hz)

    def save(self, path: Path, **more: NDArray[Any]) -> None:
        """Write a compressed ``.npz`` in one step: a reader never meets half a file. ``load`` leaves ``more`` arrays alone."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npz")
        arrays: dict[str, Any] = {
            "keypoints": self.keypoints.astype(np.float32), "fps_hz": np.float64(self.fps_hz), "size_px": np.array(self.size_px),
            "detector": np.array(self.detector), "people": np.array(self.people), "skeleton": np.array(self.skeleton),
        }  # fmt: skip
        np.savez_compressed(part, **arrays | more)
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Track":
        """Read what ``save`` wrote (no pickle); ``TrackError`` names the file that is not a track."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as z:
                width, height = (int(v) for v in z["size_px"])
                detector, people, skeleton = str(z["detector"]), int(z["people"]), str(z["skeleton"])
                return cls(z["keypoints"], float(z["fps_hz"]), (width, height), detector, people, skeleton)
        except (OSError, EOFError, KeyError, ValueError, BadZipFile) as error:
            raise TrackError(f"{path}: not a readable track ({error}); run python -m src.detect again") from error


def middle(keypoints: NDArray[Float], part: str) -> NDArray[Float]:
    """Point (T, 2) midway between the left and the right ``part`` of HIP_THRUST points (T, 32, 2 or more); NaN without both."""
    left, right = (keypoints[:, HIP_THRUST.index(f"{side}_{part}"), :2] for side in ("left", "right"))
    half: NDArray[Float] = ((left + right) / 2).astype(keypoints.dtype)
    return half


def mirror(track: Track) -> Track:
    """The track of the left-right mirrored clip: x flipped, left and right points swapped."""
    keypoints = track.keypoints[:, list(SKELETONS[track.skeleton].mirrored)].copy()
    keypoints[..., 0] = (track.size_px[0] - 1) - keypoints[..., 0]
    return Track(keypoints, track.fps_hz, track.size_px, track.detector, track.people, track.skeleton)
