"""Makes ``blazepose.npz``: what the official runtime says about photographs inside scikit-image, numbers only.

Run with the official runtime, which needs numpy < 2 and therefore its own environment; versions as used:

    python3.11 -m venv /tmp/mp && /tmp/mp/bin/pip install mediapipe==0.10.21 numpy==1.26.4 ai-edge-litert==2.3.0
    .venv/bin/python tests/golden/make_blazepose.py pictures /tmp/pictures.npz  # this project's own environment
    /tmp/mp/bin/python tests/golden/make_blazepose.py official /tmp/pictures.npz tests/golden/blazepose.npz

Contents: ``names`` (P,) of the pictures; ``landmarks`` (P, 33, 3) x px, y px, visibility of ``mediapipe.solutions.pose``
(static_image_mode, model_complexity 1), NaN where nobody was found; ``<network>_<i>`` and ``<network>_<i>_peak``: sampled
outputs of the official interpreter for the seeded input, and their largest size.
"""

import sys
from pathlib import Path

import numpy as np

INPUTS = {"pose_detection": 224, "pose_landmark_full": 256}
SAMPLES = 997
"""Every 997th number of a large output is kept."""


def pictures():
    """Named RGB pictures uint8 (H, W, 3): people, turned, mirrored, scaled, and two pictures without anybody."""
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
            points = [[p.x, p.y, p.visibility] for p in found.landmark] if found else np.full((33, 3), np.nan)
            rows.append(np.array(points) * scale)
    return np.array(rows, np.float32)


def networks(folder):
    """Sampled outputs of the official interpreter."""
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
        landmarks = official([stored[name] for name in stored.files])
        names = np.array(stored.files)
        np.savez_compressed(sys.argv[3], names=names, landmarks=landmarks, **networks(Path("data/weights")))
