"""Keypoints of a clip as files: our own ``.npz`` and the ``.trc`` that OpenSim, Mokka and Sports2D's users read.

The angles of every frame stand beside them as ``.mot``, OpenSim's format for motions.
"""

from pathlib import Path

import numpy as np

from src.batch.inputs import file_name
from src.batch.records import write_text
from src.motion.angles import frame_angles
from src.motion.features import ANGLES
from src.motion.keypoints import SKELETONS, Track


def pose_paths(out: Path, clip: str) -> tuple[Path, Path, Path]:
    """``poses/<clip>.npz``, ``poses/<clip>.trc`` and ``poses/<clip>.mot``."""
    stem = out / "poses" / file_name(clip)
    npz, trc, mot = (stem.with_name(f"{stem.name}.{suffix}") for suffix in ("npz", "trc", "mot"))
    return npz, trc, mot


def save_poses(out: Path, clip: str, track: Track) -> None:
    """All three files, each in one step."""
    npz, trc, mot = pose_paths(out, clip)
    track.save(npz)
    write_text(trc, trc_text(track, trc.name))
    write_text(mot, mot_text(track))


def trc_text(track: Track, name: str) -> str:
    """A track as TRC, tab-separated: pixels with the origin at the bottom left and y up, z 0, empty = not seen."""
    points = SKELETONS[track.skeleton].points
    T, K, _ = track.keypoints.shape
    rate = f"{track.fps_hz:.6g}"
    head = "DataRate CameraRate NumFrames NumMarkers Units OrigDataRate OrigDataStartFrame OrigNumFrames"
    axes = [f"{axis}{k + 1}" for k in range(K) for axis in "XYZ"]
    lines = [
        ["PathFileType", "4", "(X/Y/Z)", name],
        head.split(),
        [rate, rate, str(T), str(K), "px", rate, "1", str(T)],
        ["Frame#", "Time", *(cell for point in points for cell in (point, "", ""))],
        ["", "", *axes],
        [],
    ]
    lines += [[str(t + 1), f"{t / track.fps_hz:.6f}", *coordinates(track, t)] for t in range(T)]
    return "".join("\t".join(line) + "\n" for line in lines)


def coordinates(track: Track, t: int) -> list[str]:
    """x, y and z of every point in one frame."""
    height = track.size_px[1]
    seen = [
        (f"{x:.3f}", f"{height - y:.3f}", "0") if np.isfinite(x) else ("", "", "") for x, y, _ in track.keypoints[t]
    ]
    return [cell for point in seen for cell in point]


def mot_text(track: Track) -> str:
    """Angles of a track as MOT, tab-separated, in degrees; NaN = not seen, for OpenSim drops empty cells."""
    T = len(track.keypoints)
    head = ["angles", "version=1", f"nRows={T}", f"nColumns={1 + len(ANGLES)}", "inDegrees=yes", "endheader"]
    lines = [[line] for line in head] + [["time", *ANGLES]]
    rows = enumerate(frame_angles(track))
    lines += [[f"{t / track.fps_hz:.6f}", *(f"{degrees:.3f}" for degrees in angles)] for t, angles in rows]
    return "".join("\t".join(line) + "\n" for line in lines)
