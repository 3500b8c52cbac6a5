"""Other people's networks of published size on our input, re-implemented in plain torch, with random weights: for speed alone.

ST-GCN++ after Duan, Wang, Chen and Lin, "PYSKL: Towards Good Practices for Skeleton Action Recognition" (2022): ten blocks,
64, 128 and 256 channels, the frames halved twice, three learnt adjacencies, six temporal branches. All take keypoints
(N, T, K, 3) px, px, score with NaN = missing and give probabilities (N, L). Unlike our core they neither resample, mirror,
normalise nor say what they saw: the comparison favours them.
"""

import torch
from torch import Tensor, nn

from src.motion.keypoints import Skeleton

BRANCHES = 6
INFLATE, DOWN = (5, 8), (5, 8)
"""Blocks, counted from 1, that double the channels and that halve the frames."""


def adjacency(skeleton: Skeleton) -> Tensor:
    """Itself, inward and outward neighbours (3, K, K), columns of the last two normalised by degree."""
    inward = torch.zeros(len(skeleton), len(skeleton))
    for a, b in skeleton.bones:
        inward[skeleton.index(a), skeleton.index(b)] = 1.0
    both = [hops / hops.sum(dim=0).clamp(min=1.0) for hops in (inward, inward.T)]
    return torch.stack([torch.eye(len(skeleton)), *both])


class SpatialGraph(nn.Module):
    """(N, C, T, K) -> (N, C', T, K): one 1x1 convolution per adjacency, summed over neighbours, beside a shortcut."""

    def __init__(self, channels: int, wide: int, graph: Tensor) -> None:
        super().__init__()
        self.graph = nn.Parameter(graph.clone())
        self.mix = nn.Conv2d(channels, wide * len(graph), 1)
        self.norm = nn.BatchNorm2d(wide)
        shortcut = nn.Sequential(nn.Conv2d(channels, wide, 1), nn.BatchNorm2d(wide))
        self.shortcut = nn.Identity() if channels == wide else shortcut

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        N, _, T, K = x.shape
        h = self.mix(x).view(N, len(self.graph), -1, T, K)
        h = torch.einsum("nactv,avw->nctw", h, self.graph)
        return torch.relu(self.norm(h) + self.shortcut(x))


class ManyScales(nn.Module):
    """(N, C, T, K) -> (N, C, T / stride, K): kernels of 3 frames at dilations 1 to 4, a maximum of 3, a point, joined."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        narrow = channels // BRANCHES
        widths = [channels - narrow * (BRANCHES - 1)] + [narrow] * (BRANCHES - 1)
        steps = [
            *(nn.Conv2d(w, w, (3, 1), (stride, 1), (d, 0), (d, 1)) for d, w in enumerate(widths[:4], start=1)),
            nn.MaxPool2d((3, 1), (stride, 1), (1, 0)),
        ]
        reduced = [
            nn.Sequential(nn.Conv2d(channels, w, 1), nn.BatchNorm2d(w), nn.ReLU(), step)
            for w, step in zip(widths, steps, strict=False)
        ]
        self.branches = nn.ModuleList([*reduced, nn.Conv2d(channels, narrow, 1, (stride, 1))])
        self.join = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, channels, 1))
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        joined: Tensor = self.norm(self.join(torch.cat([branch(x) for branch in self.branches], dim=1)))
        return joined


class GraphBlock(nn.Module):
    """Graph, then time, beside a shortcut where there is one."""

    def __init__(self, channels: int, wide: int, graph: Tensor, stride: int, first: bool) -> None:
        super().__init__()
        self.space, self.time, self.first = SpatialGraph(channels, wide, graph), ManyScales(wide, stride), first
        shortcut = nn.Sequential(nn.Conv2d(channels, wide, 1, (stride, 1)), nn.BatchNorm2d(wide))
        self.shortcut = nn.Identity() if channels == wide and stride == 1 or first else shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, K) -> (N, C', T / stride, K)."""
        y: Tensor = self.time(self.space(x))
        return torch.relu(y if self.first else y + self.shortcut(x))


class GraphNetwork(nn.Module):
    """ST-GCN++ of the published size for one person."""

    def __init__(self, skeleton: Skeleton, labels: int, channels: int = 64, blocks: int = 10) -> None:
        super().__init__()
        graph, narrow, made = adjacency(skeleton), 3, []
        for i in range(1, blocks + 1):
            wide = channels * 2 ** sum(i >= at for at in INFLATE)
            made.append(GraphBlock(narrow, wide, graph, 2 if i in DOWN else 1, i == 1))
            narrow = wide
        self.norm, self.blocks = nn.BatchNorm1d(len(skeleton) * 3), nn.Sequential(*made)
        self.head = nn.Linear(narrow, labels)

    def forward(self, keypoints: Tensor) -> Tensor:
        """(N, T, K, 3) -> (N, L)."""
        N, T, K, C = keypoints.shape
        x = keypoints.nan_to_num().permute(0, 2, 3, 1).reshape(N, K * C, T)
        x = self.norm(x).view(N, K, C, T).permute(0, 2, 3, 1).contiguous()  # (N, C, T, K)
        return torch.sigmoid(self.head(self.blocks(x).mean(dim=(2, 3))))


class Recurrent(nn.Module):
    """A plain GRU of common size: two layers of 128, judged from the last frame."""

    def __init__(self, skeleton: Skeleton, labels: int, hidden: int = 128, layers: int = 2) -> None:
        super().__init__()
        self.gru = nn.GRU(len(skeleton) * 3, hidden, layers, batch_first=True)
        self.head = nn.Linear(hidden, labels)

    def forward(self, keypoints: Tensor) -> Tensor:
        """(N, T, K, 3) -> (N, L)."""
        return torch.sigmoid(self.head(self.gru(keypoints.nan_to_num().flatten(2))[0][:, -1]))
