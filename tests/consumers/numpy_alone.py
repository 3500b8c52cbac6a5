"""Judges recorded reps with ONNX Runtime and numpy alone: numpy_alone.py core.onnx rep.txt ..."""

import json
import sys

import numpy as np
import onnxruntime

core = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
print(core.get_modelmeta().custom_metadata_map["metadata.json"])
for recording in sys.argv[2:]:
    with open(recording) as file:
        fps_hz, frames, points = file.readline().split()
        values = np.loadtxt(file, dtype=np.float32)
    inputs = {
        "keypoints": values.reshape(1, int(frames), int(points), 3),
        "fps_hz": np.array([fps_hz], np.float32),
        "frames": np.array([frames], np.int64),
        "rise_ratio": np.array([np.nan], np.float32),  # unknown
    }
    print(json.dumps(core.run(["probabilities"], inputs)[0][0].tolist()))
