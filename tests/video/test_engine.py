import runpy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from src.video import engine
from src.video.tflite import WeightsError

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT / "data/weights"
MAKER = runpy.run_path(str(ROOT / "tests/golden/make_blazepose.py"))
SOURCES = {
    "detector": engine.Source(WEIGHTS / "pose_detection.tflite", (0, 1), 224, 127.5, 1),
    "landmarks and masks": engine.Source(WEIGHTS / "pose_landmark_full.tflite", (0, 1, 3, 2, 5), 256, 255, 0),
}


def crops(count, size_px):
    """The golden photograph, each crop a little further to the right."""
    picture = MAKER["pictures"]()["astronaut"]
    pieces = [picture[100 : 100 + size_px, 8 * i : 8 * i + size_px] for i in range(count)]
    return torch.from_numpy(np.stack(pieces))


@torch.inference_mode()
def run(network, batch):
    return network(batch)


@pytest.mark.parametrize("name", SOURCES)
def test_openvino_agrees_with_torch_whatever_the_batch(name):
    source, batch = SOURCES[name], crops(5, SOURCES[name].size_px)
    wanted = run(engine.load(source, "torch", "cpu", "fp32", 2, 1), batch)
    network = engine.load(source, "openvino", "cpu", "fp32", 2, 1)
    for count in (1, 2, 5):
        for a, b in zip(run(network, batch[:count]), wanted, strict=True):
            assert a.shape == b[:count].shape and a.dtype == torch.float32
            assert (a - b[:count]).abs().max() <= 1e-3 * b.abs().max()


@pytest.mark.parametrize("name", engine.ENGINES)
def test_the_same_bytes_again_and_from_several_threads(name):
    network, batch = engine.load(SOURCES["detector"], name, "cpu", "fp32", 2, 2), crops(2, 224)
    with ThreadPoolExecutor(2) as pool:
        first, *others = pool.map(lambda _: run(network, batch), range(6))
    assert all(torch.equal(a, b) for other in others for a, b in zip(first, other, strict=True))


class OnCpu(engine.Replayed):
    """Where a graph would be replayed the network is called: filling, cutting and order without a GPU."""

    def capture(self, size):
        shown = torch.zeros(size, self.size_px, self.size_px, 3, dtype=torch.uint8)
        found = run(self.network, shown)

        def replay():
            for old, new in zip(found, run(self.network, shown), strict=True):
                old.copy_(new)

        return shown, replay, found


def test_a_batch_of_any_size_finds_a_captured_one():
    source, batch = SOURCES["detector"], crops(7, 224)
    network = engine.load(source, "torch", "cpu", "fp32", 1, 1)
    replayed = OnCpu(network, source.size_px, 3)
    assert sorted(replayed.graphs) == [1, 2, 3]
    for count in (7, 1, 2, 3, 5, 0):  # after more crops fewer: what filled the batch up is not seen
        found = replayed(batch[:count])
        for a, b in zip(found, run(network, batch), strict=True):
            assert a.shape == b[:count].shape
            torch.testing.assert_close(a, b[:count], rtol=0, atol=1e-3 * float(b.abs().max()))
    wanted = replayed(batch[:2])
    with ThreadPoolExecutor(3) as pool:  # callers take turns
        others = list(pool.map(lambda first: replayed(batch[first : first + 2]), [0, 1, 0, 2, 0, 3]))
    assert all(torch.equal(a, b) for i in (0, 2, 4) for a, b in zip(others[i], wanted, strict=True))


@pytest.mark.parametrize("name", engine.ENGINES)
def test_a_wrong_file_is_refused(name, tmp_path):
    path = tmp_path / "net.tflite"
    path.write_bytes(b"TFL3")
    with pytest.raises(WeightsError, match=r"net\.tflite: not pose_detection"):
        engine.load(engine.Source(path, (0,), 224, 1, 0), name, "cpu", "fp32", 1, 1)


def test_auto_is_the_fast_engine_that_is_there(monkeypatch):
    assert engine.choose_engine("auto", "cpu") == "openvino" and engine.choose_engine("auto", "cuda") == "torch"
    monkeypatch.setattr(engine, "openvino", None)
    assert engine.choose_engine("auto", "cpu") == "torch"


@pytest.mark.parametrize(
    ("name", "device", "says"),
    [
        ("magic", "cpu", "engine 'magic' is none of auto, openvino, torch"),
        ("openvino", "cuda", "runs on the CPU only"),
        ("openvino", "cpu", "cannot be imported; run pip install openvino"),
    ],
)
def test_a_wrong_engine_is_one_line(name, device, says, monkeypatch):
    monkeypatch.setattr(engine, "openvino", None)
    with pytest.raises(engine.EngineError, match=says) as error:
        engine.choose_engine(name, device)
    assert "\n" not in str(error.value)
