import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from src.video import tflite

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT / "data/weights"
MAKER = runpy.run_path(str(ROOT / "tests/golden/make_blazepose.py"))
OUTPUTS = {"pose_detection": 2, "pose_landmark_full": 5}


def run(name, image, outputs):
    with torch.inference_mode():
        return tflite.load(WEIGHTS / f"{name}.tflite", outputs)(torch.from_numpy(image))


@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs_are_those_of_the_official_interpreter(name):
    golden = np.load(ROOT / "tests/golden/blazepose.npz")
    for i, out in enumerate(run(name, MAKER["network_input"](name), range(OUTPUTS[name]))):
        values = out.numpy().ravel()
        wanted = golden[f"{name}_{i}"]
        got = values if len(values) == len(wanted) else values[:: MAKER["SAMPLES"]]
        assert np.abs(got - wanted).max() <= 1e-3 * golden[f"{name}_{i}_peak"], f"output {i}"


def test_outputs_are_those_of_an_interpreter_on_this_machine():
    litert = pytest.importorskip(
        "ai_edge_litert.interpreter", reason="no official interpreter: pip install ai-edge-litert"
    )
    for name, size in MAKER["INPUTS"].items():
        image = np.random.default_rng(1).random((1, size, size, 3), np.float32)
        net = litert.Interpreter(str(WEIGHTS / f"{name}.tflite"))
        net.allocate_tensors()
        net.set_tensor(net.get_input_details()[0]["index"], image)
        net.invoke()
        for out, detail in zip(run(name, image, range(OUTPUTS[name])), net.get_output_details(), strict=True):
            official = net.get_tensor(detail["index"])
            assert np.abs(out.numpy() - official).max() <= 1e-3 * np.abs(official).max()


def test_a_batch_is_its_pictures_and_pruning_changes_nothing():
    images = np.random.default_rng(2).random((2, 256, 256, 3), np.float32)
    whole = run("pose_landmark_full", images, range(5))
    flag, points = run("pose_landmark_full", images[1:], (1, 0))
    torch.testing.assert_close(points, whole[0][1:], rtol=1e-3, atol=1e-2)
    torch.testing.assert_close(flag, whole[1][1:], rtol=1e-3, atol=1e-4)


def test_the_mask_branch_is_left_out():
    path = WEIGHTS / "pose_landmark_full.tflite"
    assert len(tflite.load(path, (0, 1, 3)).ops) < len(tflite.load(path, (0, 1, 2, 3)).ops)


@pytest.mark.parametrize(("content", "words"), [(None, "no weights"), (b"TFL3", "not pose_detection or pose_land")])
def test_a_wrong_file_is_one_line_that_names_it(tmp_path, content, words):
    path = tmp_path / "net.tflite"
    if content:
        path.write_bytes(content)
    with pytest.raises(tflite.WeightsError, match=words) as error:
        tflite.load(path, (0,))
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_depth_to_space_has_the_block_outermost():
    x = torch.arange(8.0).view(1, 8, 1, 1)  # two output channels, block 2
    assert tflite.depth_to_space(x, 2).tolist() == [[[[0, 2], [4, 6]], [[1, 3], [5, 7]]]]


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pad"), [(8, 3, 2, (0, 1)), (9, 3, 2, (1, 1)), (8, 5, 1, (2, 2)), (4, 1, 2, (0, 0))]
)
def test_same_padding_puts_the_odd_pixel_last(size, kernel, stride, pad):
    assert tflite._same(size, kernel, stride) == pad


def test_fused_convolutions_change_nothing(monkeypatch):
    image = np.random.default_rng(3).random((1, 224, 224, 3), np.float32)
    fused = run("pose_detection", image, (0, 1))
    monkeypatch.setattr(tflite, "FUSED", None)
    for a, b in zip(fused, run("pose_detection", image, (0, 1)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-3)
