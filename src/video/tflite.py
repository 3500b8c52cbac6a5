"""TFLite graphs as torch modules: the operators that BlazePose uses. Torch and numpy alone.

The flatbuffer layout and field numbers are those of TensorFlow's ``lite/schema/schema.fbs`` (v3).
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from src.video.flatbuffer import Table

KNOWN = {
    "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c": "pose_detection",
    "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f": "pose_landmark_full",
}
"""sha256 -> network, both from the wheel ``mediapipe==0.10.21`` (Apache-2.0)."""

OPERATORS = {
    0: "add", 2: "concat", 3: "conv", 4: "depthwise", 5: "depth_to_space", 6: "dequantize", 14: "logistic",
    17: "max_pool", 22: "reshape", 23: "resize", 34: "pad", 124: "densify",
}  # fmt: skip
DTYPES = {0: np.float32, 1: np.float16, 2: np.int32}
HEAT, FEATURES = 3, 5
"""Outputs of the landmark network: its heatmap, and one that the file does not name, the features which that is read from."""
INDEX_DTYPES = {1: np.int32, 2: np.uint16, 3: np.uint8}
SAME = 0
ACTIVATIONS = {0: "none", 1: "relu", 3: "relu6"}
FUSES: dict[str, tuple[str, list[float]]] = {
    "none": ("none", []),
    "relu": ("relu", []),
    "relu6": ("hardtanh", [0.0, 6.0]),
}
"""oneDNN's names: on a CPU a convolution with its activation in one pass takes a quarter less time than the two."""
FUSED = getattr(torch.ops.mkldnn, "_convolution_pointwise", None) if torch.backends.mkldnn.is_available() else None


class WeightsError(ValueError):
    """A network file that is missing or not one of ``KNOWN``; the message names it."""


def densify(values: NDArray[np.generic], shape: tuple[int, ...], sparsity: Table) -> NDArray[np.generic]:
    """Dense tensor of TFLite's compressed rows: last axis sparse, the others dense, no blocks, order as stored."""
    last = sparsity.tables(2)[-1]
    segments = _segment(last, 2).astype(np.int64)
    columns = _segment(last, 4).astype(np.int64)
    dense = np.zeros((len(segments) - 1, shape[-1]), values.dtype)
    dense[np.repeat(np.arange(len(dense)), np.diff(segments)), columns] = values[: len(columns)]
    return dense.reshape(shape)


def _segment(metadata: Table, field: int) -> NDArray[np.generic]:
    vector = metadata.table(field + 1)
    assert vector is not None
    return vector.array(0, INDEX_DTYPES[metadata.number(field, "B")])


class Conv(nn.Module):
    """Convolution (B, C, H, W) with explicit padding (left, right, top, bottom) and a fused activation."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, stride: tuple[int, int], groups: int, activation: str) -> None:
        super().__init__()
        self.register_buffer("weight", weight.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", bias)
        self.stride, self.groups, self.activation = stride, groups, activation
        self.pad = [0, 0, 0, 0]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, h, w)."""
        left, right, top, bottom = self.pad
        if left != right or top != bottom:
            x, left, top = F.pad(x, self.pad), 0, 0
        if FUSED is None or x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_grad_enabled():
            x = F.conv2d(x, self.weight, self.bias, self.stride, (top, left), 1, self.groups)
            return activate(x, self.activation)
        name, limits = FUSES[self.activation]
        fused: Tensor = FUSED(
            x, self.weight, self.bias, [top, left], self.stride, [1, 1], self.groups, name, limits, None
        )
        return fused


class Add(nn.Module):
    """Sum of two tensors of one shape with a fused activation."""

    def __init__(self, activation: str) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Two (B, C, H, W) -> (B, C, H, W)."""
        return activate(x + y, self.activation)


def activate(x: Tensor, name: str) -> Tensor:
    """The activation in place: half the time of a large batch goes into fresh memory otherwise."""
    if name == "relu6":
        return x.clamp_(0, 6)
    return x.relu_() if name == "relu" else x


class Shape(nn.Module):
    """An operator without weights; ``numbers`` as each of them needs."""

    def __init__(self, kind: str, numbers: Sequence[int] = ()) -> None:
        super().__init__()
        self.kind, self.numbers = kind, [int(n) for n in numbers]

    def forward(self, *inputs: Tensor) -> Tensor:
        """(B, C, H, W) in torch's order; what was reshaped keeps TFLite's order (B, N, C)."""
        x, n = inputs[0], self.numbers
        if self.kind == "pad":
            return F.pad(x, n)
        if self.kind == "resize":
            return F.interpolate(x, size=n, mode="bilinear", align_corners=False)
        if self.kind == "max_pool":
            return F.max_pool2d(x, n[:2], n[2:])
        if self.kind == "logistic":
            return x.sigmoid()
        if self.kind == "concat":
            return torch.cat(inputs, n[0])
        if self.kind == "reshape":
            return x.permute(0, 2, 3, 1).reshape(x.shape[0], *n)  # (B, H, W, C) -> (B, ...)
        return depth_to_space(x, n[0])


def depth_to_space(x: Tensor, block: int) -> Tensor:
    """(B, block * block * C, H, W) -> (B, C, H * block, W * block), block outermost as in TFLite."""
    B, C, H, W = x.shape
    x = x.reshape(B, block, block, C // block**2, H, W).permute(0, 3, 4, 1, 5, 2)  # (B, C, H, block, W, block)
    return x.reshape(B, C // block**2, H * block, W * block)


class Graph(nn.Module):
    """A network in execution order. ``outputs`` are the tensors it returns; what they do not need was never built."""

    def __init__(self, steps: list[tuple[nn.Module, list[int], int]], source: int, outputs: list[int]) -> None:
        super().__init__()
        self.ops = nn.ModuleList([op for op, _, _ in steps])
        self.wires = [(reads, writes) for _, reads, writes in steps]
        self.source, self.outputs = source, outputs
        last = {tensor: i for i, (reads, _) in enumerate(self.wires) for tensor in reads}
        done = [[t for t in reads if last[t] == i] for i, (reads, _) in enumerate(self.wires)]
        self.frees = [[t for t in tensors if t not in outputs] for tensors in done]

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Image (B, H, W, 3) -> the outputs in TFLite's order of axes, B first."""
        values = {self.source: image.permute(0, 3, 1, 2)}  # (B, 3, H, W), channels last in memory
        for op, (reads, writes), frees in zip(self.ops, self.wires, self.frees, strict=True):
            values[writes] = op(*[values[t] for t in reads])
            for tensor in frees:
                values.pop(tensor, None)
        return tuple(v.permute(0, 2, 3, 1) if v.ndim == 4 else v for v in (values[t] for t in self.outputs))


class Reader:
    """The constants and operators of one file, as they become modules."""

    def __init__(self, data: bytes) -> None:
        model = Table.root(data)
        self.buffers = model.tables(4)
        self.codes = [max(t.number(3), t.number(0, "b")) for t in model.tables(1)]
        (graph,) = model.tables(2)
        self.tensors, self.operators = graph.tables(0), graph.tables(3)
        self.inputs, self.outputs = ([int(i) for i in graph.array(field)] for field in (1, 2))
        self.made_by = {int(op.array(2)[0]): op for op in self.operators}
        if len(self.outputs) > HEAT:
            self.outputs.append(int(self.made_by[self.outputs[HEAT]].array(1)[0]))

    def kind(self, op: Table) -> str:
        """Operator name; a ``WeightsError`` gives the code of one that is not built here."""
        code = self.codes[op.number(0, "I")]
        if code not in OPERATORS:
            raise WeightsError(f"TFLite operator {code} is not built here")
        return OPERATORS[code]

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Static shape as stored, B = 1."""
        return tuple(int(n) for n in self.tensors[tensor].array(0))

    def constant(self, tensor: int) -> NDArray[np.generic] | None:
        """Value of a stored tensor, through DENSIFY and DEQUANTIZE; None for one that depends on the image."""
        op = self.made_by.get(tensor)
        if op is not None:
            return self.constant(int(op.array(1)[0])) if self.kind(op) in ("dequantize", "densify") else None
        head = self.tensors[tensor]
        values = self.buffers[head.number(2, "I")].array(0, np.uint8)
        if not len(values):
            return None
        values, sparsity = values.view(DTYPES[head.number(1, "b")]), head.table(6)
        return densify(values, self.shape(tensor), sparsity) if sparsity else values.reshape(self.shape(tensor))

    def stored(self, tensor: int) -> NDArray[np.generic]:
        """Value of a tensor that must be a constant."""
        value = self.constant(tensor)
        if value is None:
            raise WeightsError(f"tensor {tensor} should be a constant")
        return value

    def module(self, op: Table) -> nn.Module:
        """The operator with its weights and options."""
        kind, reads, options = self.kind(op), [int(i) for i in op.array(1)], op.table(4)
        shape = self.shape(int(op.array(2)[0]))
        if kind in ("pad", "resize", "reshape"):
            numbers = self.stored(reads[1])
            return Shape(kind, _pad(numbers) if kind == "pad" else shape[1:] if kind == "reshape" else list(numbers))
        if kind == "logistic":
            return Shape(kind)
        assert options is not None
        if kind == "concat":
            return Shape(kind, [options.number(0) if len(shape) < 4 else (0, 2, 3, 1)[options.number(0)]])
        if kind == "depth_to_space":
            return Shape(kind, [options.number(0)])
        if kind == "max_pool":
            return Shape(kind, [options.number(f) for f in (4, 3, 2, 1)])
        if kind == "add":
            return Add(ACTIVATIONS[options.number(0, "b")])
        return self._conv(kind, reads, options)

    def _conv(self, kind: str, reads: list[int], options: Table) -> Conv:
        deep = kind == "depthwise"
        weight = torch.from_numpy(self.stored(reads[1]).astype(np.float32))
        weight = weight.permute(3, 0, 1, 2) if deep else weight.permute(0, 3, 1, 2)  # (D, C or 1, h, w)
        bias = torch.from_numpy(self.stored(reads[2]).astype(np.float32))
        stride = options.number(2), options.number(1)
        name = ACTIVATIONS[options.number(4 if deep else 3, "b")]
        conv = Conv(weight, bias, stride, len(weight) if deep else 1, name)
        if options.number(0, "b") == SAME:
            rows, columns = self.shape(reads[0])[1:3]
            conv.pad = [*_same(columns, weight.shape[3], stride[1]), *_same(rows, weight.shape[2], stride[0])]
        return conv

    def graph(self, outputs: Sequence[int]) -> Graph:
        """The network for the chosen outputs (positions in the file's own list), without what they do not need."""
        wanted = [self.outputs[i] for i in outputs]
        needed, steps = set(wanted), []
        for op in reversed(self.operators):
            writes = int(op.array(2)[0])
            if writes in needed and self.constant(writes) is None:
                reads = [int(i) for i in op.array(1) if self.constant(int(i)) is None]
                needed.update(reads)
                steps.append((self.module(op), reads, writes))
        return Graph(_fold_pads(steps[::-1]), self.inputs[0], wanted)


def _same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _pad(pairs: NDArray[np.generic]) -> list[int]:
    """TFLite's (B, H, W, C) pairs -> torch's order from the last axis: W, H, C."""
    return [int(n) for axis in (2, 1, 3) for n in pairs[axis]]


Step = tuple[nn.Module, list[int], int]


def _fold_pads(steps: list[Step]) -> list[Step]:
    """A spatial pad that feeds one unpadded convolution becomes that convolution's own padding."""
    readers: dict[int, list[int]] = {}
    for i, (_, reads, _) in enumerate(steps):
        for tensor in reads:
            readers.setdefault(tensor, []).append(i)
    for op, reads, writes in list(steps):
        if not isinstance(op, Shape) or op.kind != "pad" or any(op.numbers[4:]) or len(readers.get(writes, [])) != 1:
            continue
        conv, _, result = steps[readers[writes][0]]
        if isinstance(conv, Conv) and not any(conv.pad):
            conv.pad = op.numbers[:4]
            steps[readers[writes][0]] = (conv, reads, result)
            steps[steps.index((op, reads, writes))] = (nn.Identity(), reads, -1)
    return [step for step in steps if step[2] != -1]


def read(path: Path) -> bytes:
    """A known network file; one that is missing or whose hash is not in ``KNOWN`` raises a ``WeightsError``."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: no weights ({error.strerror}); run make setup") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest not in KNOWN:
        names = " or ".join(KNOWN.values())
        raise WeightsError(f"{path}: not {names} of mediapipe 0.10.21 (sha256 {digest[:12]}...); run make setup")
    return data


def load(path: Path, outputs: Sequence[int]) -> Graph:
    """Network of a known file, weights float32, in eval mode; see ``read`` for errors.

    ``outputs`` are positions in the file's list of outputs. Detector: 0 boxes (B, 2254, 12), 1 logits (B, 2254, 1).
    Landmarks: 0 points (B, 195), 1 pose flag (B, 1) in 0..1, 2 mask logits (B, 256, 256, 1), 3 heatmap logits
    (B, 64, 64, 39), 4 world points (B, 117), 5 what the heatmap is read from (B, 64, 64, 48).
    """
    return Reader(read(path)).graph(outputs).eval()
