"""Square, turned regions of a picture and the crops that the pose networks see.

A region is (x px, y px, side px, angle rad, flip): the centre, the length of an edge and the clockwise turn of a square.
Crop pixel (u, v) shows the picture at ``centre + turn(angle) @ ((u, v) / size - 0.5) * side``, as MediaPipe defines it;
where the flip is -1 and not 1 the crop is mirrored: u runs the other way.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

try:
    import cv2
except ImportError:  # the same numbers in torch, slower on a CPU
    cv2 = None  # type: ignore[assignment]
NATIVE = cv2 is not None

Doubles = NDArray[np.float64]
Bytes = NDArray[np.uint8]
Border = Literal["black", "edge"]
GRID = 32
"""Positions are rounded to 1/32 px and colours to whole grey levels, as in OpenCV's warp: the networks feel it."""
FAR_PX = 32767
"""OpenCV's limit of a position."""


def affine(regions: Doubles, size: int) -> Doubles:
    """Matrices (B, 2, 3) from crop pixels (u, v, 1) to picture pixels, for regions (B, 5) and crops of ``size`` px."""
    x, y, side, angle, flip = regions.T
    cos, sin = np.cos(angle) * side / size, np.sin(angle) * side / size
    half = size / 2
    rows = [flip * cos, -sin, x - half * (flip * cos - sin), flip * sin, cos, y - half * (flip * sin + cos)]
    return np.stack(rows, -1).reshape(-1, 2, 3)


def project(points: Doubles, regions: Doubles, size: int) -> Doubles:
    """Points (B, K, 2) in crop px -> picture px."""
    matrix = affine(regions, size)
    turned: Doubles = np.einsum("bij,bkj->bki", matrix[:, :, :2], points) + matrix[:, None, :, 2]
    return turned


def inverse(points: Doubles, regions: Doubles, size: int) -> Doubles:
    """Points (B, K, 2) in picture px -> crop px."""
    matrix = affine(regions, size)
    moved = points - matrix[:, None, :, 2]
    back: Doubles = np.einsum("bij,bkj->bki", np.linalg.inv(matrix[:, :, :2]), moved)
    return back


def crop(frames: Sequence[Bytes] | Bytes | Tensor, regions: Doubles, size: int, border: Border = "edge") -> Tensor:
    """Grey levels uint8 (B, size, size, 3) of regions (B, 5), one for each of frames uint8 (B, H, W, 3)."""
    matrices = affine(regions, size)
    if isinstance(frames, Tensor):
        return _crop_torch(frames, torch.from_numpy(matrices).to(frames.device), size, border)
    pairs = zip(frames, matrices, strict=True)
    return torch.from_numpy(np.stack([_crop_native(f, m, size, border) for f, m in pairs]))


def _crop_native(frame: Bytes, matrix: Doubles, size: int, border: Border) -> Bytes:
    steps = np.arange(size)
    a, b, c = (matrix[:, i, None, None] * GRID for i in range(3))
    at = a * steps + b * steps[:, None]  # (2, size, size)
    at += c
    at = np.clip(np.rint(at, out=at), -FAR_PX * GRID, FAR_PX * GRID, out=at).astype(np.int32)
    whole, part = np.empty((size, size, 2), np.int16), np.empty((size, size), np.uint16)
    np.right_shift(at, 5, out=whole.transpose(2, 0, 1), casting="unsafe")
    at &= GRID - 1
    np.add(at[1] * GRID, at[0], out=part, casting="unsafe")
    mode = cv2.BORDER_CONSTANT if border == "black" else cv2.BORDER_REPLICATE
    picture: Bytes = cv2.remap(frame, whole, part, cv2.INTER_LINEAR, borderMode=mode)
    return picture


def _crop_torch(frames: Tensor, matrix: Tensor, size: int, border: Border) -> Tensor:
    B, H, W, _ = frames.shape
    steps = torch.arange(size, device=frames.device, dtype=torch.float64)
    a, b, c = (matrix[..., i, None, None] for i in range(3))  # (B, 2, 1, 1)
    at = ((a * steps + b * steps[:, None] + c) * GRID).round().int()  # (B, 2, size, size)
    (x, y), (fx, fy) = (at >> 5).unbind(1), (at & 31).unbind(1)
    flat = frames.reshape(B * H * W, 3)
    first = torch.arange(B, device=frames.device).view(B, 1, 1) * (H * W)
    total = torch.zeros(B, size, size, 3, dtype=torch.int32, device=frames.device)
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        u, v = x + dx, y + dy
        weight = (fx if dx else GRID - fx) * (fy if dy else GRID - fy)  # (B, size, size)
        if border == "black":
            weight = weight * ((u >= 0) & (u < W) & (v >= 0) & (v < H))
        index = first + v.clamp(0, H - 1) * W + u.clamp(0, W - 1)
        total += weight[..., None] * flat[index.view(-1)].view(B, size, size, 3).int()
    return ((total + GRID * GRID // 2) >> 10).to(torch.uint8)
