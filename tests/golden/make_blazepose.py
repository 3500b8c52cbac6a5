"""Makes ``blazepose.npz``: what the official runtime says about photographs that ship inside scikit-image, numbers only.

Run with the official runtime, which needs numpy < 2 and therefore its own environment; versions as used:

    python3.11 -m venv /tmp/mp && /tmp/mp/bin/pip install mediapipe==0.10.21 numpy==1.26.4 ai-edge-litert==2.3.0
    .venv/bin/python -m tests.golden.make_blazepose pictures /tmp/pictures.npz     # this project's environment (scikit-image 0.25+)
    /tmp/mp/bin/python tests/golden/make_blazepose.py official /tmp/pictures.npz tests/golden/blazepose.npz

Contents: ``landmarks`` (P, 33, 3) x px, y px, visibility of ``mediapipe.solutions.pose`` (static_image_mode, model_complexity 1), NaN where
nobody was found; ``detection_<i>`` and ``landmark_<i>``: outputs of the official interpreter (without XNNPACK) for the seeded input.
"""

import sys
from pathlib import Path

import numpy as np

INPUTS = {"pose_detection": 224, "pose_landmark_full": 256}
SAMPLES = 997
"""Every 997th number of a large output is kept."""


def pictures():
    """Named RGB pictures uint8 (H, W, 3), the same on every machine: people, turned, mirrored, scaled, and one without anybody."""
    from skimage import data

    def turn(picture, quarters):
        return np.ascontiguousarray(np.rot90(picture, quarters))

    astronaut = data.astronaut()
    wide = np.zeros((512, 900, 3), np.uint8)
    wide[:, 200:712] = astronaut
    small = np.full((720, 1280, 3), 90, np.uint8)
    small[300:556, 100:356] = astronaut[::2, ::2]
    camera = np.repeat(data.camera()[..., None], 3, 2)
    return {
        "astronaut": astronaut, "mirrored": np.ascontiguousarray(astronaut[:, ::-1]), "quarter": turn(astronaut, 1),
        "half": turn(astronaut, 2), "three_quarters": turn(astronaut, 3), "wide": wide, "small": small,
        "cut": np.ascontiguousarray(astronaut[:, 60:400]), "dark": (astronaut * 0.4).astype(np.uint8),
        "camera": camera, "camera_mirrored": np.ascontiguousarray(camera[:, ::-1]), "camera_quarter": turn(camera, 1),
        "coffee": data.coffee(), "chelsea": data.chelsea(),
    }  # fmt: skip


def network_input(name):
    """Seeded input float32 (1, size, size, 3) of one network."""
    size = INPUTS[name]
    return np.random.default_rng(0).random((1, size, size, 3), np.float32)


def official(pictures):
    """Landmarks (P, 33, 3) of the official runtime."""
    import mediapipe

    rows = []
    with mediapipe.solutions.pose.Pose(static_image_mode=True, model_complexity=1) as pose:
        for picture in pictures:
            found = pose.process(picture).pose_landmarks
            scale = np.array([picture.shape[1], picture.shape[0], 1])
            rows.append(np.array([[p.x, p.y, p.visibility] for p in found.landmark]) * scale if found else np.full((33, 3), np.nan))
    return np.array(rows, np.float32)


def networks(folder):
    """Sampled outputs of the official interpreter's reference path."""
    from ai_edge_litert.interpreter import Interpreter

    out = {}
    for name in INPUTS:
        net = Interpreter(str(folder / f"{name}.tflite"))
        net.allocate_tensors()
        net.set_tensor(net.get_input_details()[0]["index"], network_input(name))
        net.invoke()
        for i, detail in enumerate(net.get_output_details()):
            values = net.get_tensor(detail["index"]).ravel()
            out[f"{name}_{i}"] = values if len(values) < 2000 else values[::SAMPLES]
            out[f"{name}_{i}_peak"] = np.abs(values).max()
    return out


if __name__ == "__main__":
    if sys.argv[1] == "pictures":
        np.savez_compressed(sys.argv[2], **pictures())
    else:
        stored = np.load(sys.argv[2])
        np.savez_compressed(sys.argv[3], names=np.array(stored.files), landmarks=official([stored[n] for n in stored.files]),
                            **networks(Path("data/weights")))  # fmt: skip
