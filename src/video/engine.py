"""Engines that run the pose networks: OpenVINO on a CPU, torch everywhere.

Every engine takes the same crops, scales them as the network wants them, and gives the same outputs. On a CPU one call
uses one thread: whoever has several batches makes the calls from several threads, which scales better than one call.
On CUDA a network is captured as graphs of fixed shapes, and pictures travel while kernels run.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from src.video import tflite

try:
    import openvino
except ImportError:
    openvino = None

ENGINES = ("openvino", "torch")
"""On a CPU auto takes the first that is installed, the faster one: see docs/performance.md."""
PRECISIONS: dict[tuple[str, str], dict[str, Any]] = {
    ("openvino", "cpu"): {"fp32": "f32", "bf16": "bf16"},
    ("torch", "cpu"): {"fp32": torch.float32},
    ("torch", "cuda"): {"fp32": torch.float32, "fp16": torch.float16},
}
"""What each engine can compute in on a device, and what it calls that; the same landmarks within docs/performance.md."""
USUAL = {"cpu": ("fp32", 8), "cuda": ("fp16", 64)}
"""Precision and batch behind ``auto``."""
CALLERS_CUDA = 2
"""Threads that use one GPU: while one waits for its results the other sends its pictures."""
Network = Callable[[Tensor], tuple[Tensor, ...]]
"""Crops uint8 (B, S, S, 3) -> the outputs in float32, B first, axes in TFLite's order; may be called from any thread."""


Captured = tuple[Tensor, Callable[[], None], tuple[Tensor, ...]]
"""Where a graph reads its crops, what runs it, and where it then leaves the outputs."""


class EngineError(ValueError):
    """An engine that is unknown or not there; the message names it and what to do."""


@dataclass(frozen=True)
class Source:
    """A file's network: ``outputs`` as for ``tflite.load``; it sees ``crops / divisor - shift`` of ``size_px`` squared."""

    path: Path
    outputs: tuple[int, ...]
    size_px: int
    divisor: float
    shift: float


def choose_engine(name: str, device: str) -> str:
    """The engine behind auto or a name; ``EngineError`` when it is unknown, not installed or not for that device."""
    if name not in ("auto", *ENGINES):
        raise EngineError(f"engine {name!r} is none of auto, {', '.join(ENGINES)}")
    if name == "auto":
        return "openvino" if device == "cpu" and openvino else "torch"
    if name == "openvino" and device != "cpu":
        raise EngineError("engine openvino runs on the CPU only; use engine=torch or device=cpu")
    if name == "openvino" and not openvino:
        raise EngineError("engine openvino cannot be imported; run pip install openvino, or use engine=auto or torch")
    return name


def load(source: Source, engine: str, device: str, precision: str, batch: int, threads: int) -> Network:
    """The network on an engine that ``choose_engine`` gave; ``batch`` is the usual size, ``threads`` as many callers.

    ``EngineError`` when the engine does not compute in that precision there.
    """
    known = PRECISIONS[engine, device]
    if precision not in known:
        raise EngineError(
            f"precision {precision!r} is none of {', '.join(known)}, which engine {engine} has on {device}"
        )
    if engine == "openvino":
        return OpenVINO(source, known[precision], batch, threads)
    network = Torch(source, device, known[precision])
    return Replayed(network, source.size_px, batch) if device == "cuda" else network


@contextmanager
def callers(threads: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads that call networks; torch keeps to one core in each, and has its own number back afterwards."""
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)


class Torch(nn.Module):
    """The graph as torch runs it, eager."""

    def __init__(self, source: Source, device: str, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = tflite.load(source.path, source.outputs).to(device, dtype)
        self.divisor, self.shift, self.dtype = source.divisor, source.shift, dtype

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        """See ``Network``."""
        return tuple(out.float() for out in self.network((crops / self.divisor - self.shift).to(self.dtype)))


class Replayed:
    """A network on CUDA, captured as graphs for 1, 2, 4, ... ``batch`` crops: one launch in place of hundreds.

    A batch in between is filled up with whatever the graph was last shown; a larger one is cut. cuDNN chooses its algorithms by
    rules, not by timing, so that a clip's landmarks are the same in every process; fp32 is fp32, not TF32.
    """

    def __init__(self, network: Torch, size_px: int, batch: int) -> None:
        self.network, self.size_px, self.lock = network, size_px, Lock()
        self.graphs: dict[int, Captured] = {}
        self.pool: Any = None
        for size in sorted({batch, *(2**i for i in range(batch.bit_length()))}):  # before there are other threads
            self.graphs[size] = self.capture(size)

    @torch.inference_mode()
    def capture(self, size: int) -> Captured:
        """The network for crops (``size``, S, S, 3), ready to be replayed."""
        shown = torch.zeros(size, self.size_px, self.size_px, 3, dtype=torch.uint8, device="cuda")
        aside, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False, fp32_precision="ieee"):
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):  # what is made at the first calls does not belong into a graph
                for _ in range(3):
                    self.network(shown)
            torch.cuda.current_stream().wait_stream(aside)
            with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
                found = self.network(shown)
        self.pool = graph.pool()
        return shown, graph.replay, found

    @torch.inference_mode()
    def __call__(self, crops: Tensor) -> tuple[Tensor, ...]:
        """See ``Network``."""
        pieces = crops.split(max(self.graphs))
        found = [self._replay(piece) for piece in pieces]
        return found[0] if len(found) == 1 else tuple(torch.cat(parts) for parts in zip(*found, strict=True))

    def _replay(self, crops: Tensor) -> tuple[Tensor, ...]:
        count = len(crops)
        shown, replay, found = self.graphs[min(size for size in self.graphs if size >= count)]
        with self.lock:  # all threads share one stream: what is queued under the lock runs in this order
            shown[:count].copy_(crops)
            replay()
            return tuple(out[:count].clone() for out in found)


class Uploads:
    """Pictures on their way to CUDA: through page-locked memory, on a stream of their own, while kernels run on."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.stream = device, torch.cuda.Stream(device)

    def __call__(self, pictures: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> Tensor:
        """Pictures uint8 (B, H, W, 3), which the caller may change at once, as a tensor that the current stream may use."""
        staged = torch.empty((len(pictures), *pictures[0].shape), dtype=torch.uint8, pin_memory=True)
        for slot, picture in zip(staged.numpy(), pictures, strict=True):
            slot[...] = picture
        with torch.cuda.stream(self.stream):
            there = staged.to(self.device, non_blocking=True)  # torch keeps the page-locked memory until it is read
        now = torch.cuda.current_stream(self.device)
        now.wait_stream(self.stream)
        there.record_stream(now)
        return there


class OpenVINO:
    """The file as OpenVINO reads it, compiled for one crop and for ``batch`` of them: fixed shapes run a fifth faster."""

    def __init__(self, source: Source, precision: str, batch: int, threads: int) -> None:
        tflite.read(source.path)  # a file that is not known is refused
        self.core, self.batch, self.threads = openvino.Core(), batch, threads
        self.model = _openvino_model(self.core.read_model(source.path), source)
        self.options = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": threads,
            "ENABLE_CPU_PINNING": False,  # else two processes sit on the same cores
        }
        self.size_px, self.lock = source.size_px, Lock()
        self.idle: dict[int, SimpleQueue[Any]] = {}

    def __call__(self, crops: Tensor) -> tuple[Tensor, ...]:
        """See ``Network``."""
        whole = len(crops) // self.batch * self.batch
        pieces = [*crops[:whole].split(self.batch), *crops[whole:].split(1)] if len(crops) else []
        found = [self._infer(piece.numpy()) for piece in pieces if len(piece)]
        return found[0] if len(found) == 1 else tuple(torch.cat(parts) for parts in zip(*found, strict=True))

    def _infer(self, crops: Any) -> tuple[Tensor, ...]:
        requests = self._requests(len(crops))
        request = requests.get()
        try:
            answer = request.infer({0: crops}, share_inputs=True)
            return tuple(torch.from_numpy(answer[i]) for i in range(len(answer)))
        finally:
            requests.put(request)

    def _requests(self, size: int) -> "SimpleQueue[Any]":
        """Idle requests for batches of a size, compiled when it is first met."""
        with self.lock:
            if size not in self.idle:
                self.model.reshape([size, self.size_px, self.size_px, 3])
                compiled = self.core.compile_model(self.model, "CPU", self.options)
                self.idle[size] = SimpleQueue()
                for _ in range(self.threads):
                    self.idle[size].put(compiled.create_infer_request())
            return self.idle[size]


def _openvino_model(model: Any, source: Source) -> Any:
    """The wanted outputs of a TFLite file's model, for crops uint8 in batches of any size."""
    from openvino import Type, opset13, preprocess

    results = model.get_results()
    if len(results) > tflite.HEAT:
        node = results[tflite.HEAT].input_value(0).get_node()
        while node.get_type_name() != "Convolution":
            node = node.input_value(0).get_node()
        features = opset13.transpose(node.input_value(0), opset13.constant(np.array([0, 2, 3, 1])))  # (B, 64, 64, 48)
        results.append(opset13.result(features))
    model = openvino.Model([results[i] for i in source.outputs], model.get_parameters(), source.path.stem)
    for op in model.get_ops():
        if op.get_type_name() == "Reshape":  # the file fixes B = 1 in the target
            shape = np.array([-1, *list(op.output(0).shape)[1:]], np.int64)
            op.input(1).replace_source_output(opset13.constant(shape).output(0))
    steps = preprocess.PrePostProcessor(model)
    steps.input().tensor().set_element_type(Type.u8)
    scaling = steps.input().preprocess().convert_element_type(Type.f32)
    scaling.mean(source.shift * source.divisor).scale(source.divisor)
    return steps.build()
