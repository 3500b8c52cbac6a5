"""The model: raw keypoints of one rep in, fault probabilities, per-frame evidence and observability out.

A dilated residual temporal CNN in the line of Bai, Kolter and Koltun, "An Empirical Evaluation of Generic Convolutional and
Recurrent Networks for Sequence Modeling" (2018), made symmetric in time: a rep is judged when it is over. ``Core`` is the
whole of inference: resampling, gap masking, mirroring, normalising, network and calibration live in its graph.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from src.motion.coordinates import Coordinates, Shown
from src.motion.features import ANGLES, OUTLINE_SEEN, PARTS, Features, Pose
from src.motion.heads import HEADS
from src.motion.keypoints import BACK_FRACTIONS, OUTLINE, SPINE, TRUNK
from src.motion.task import HIP_THRUSTS, Task, views_of

INPUTS = ("keypoints", "fps_hz", "frames", "rise_ratio")
"""What a core is called with; ``CoreOutput`` is what it answers."""


class CoreOutput(NamedTuple):
    """probabilities (N, L) and observability (N, L) in [0, 1]; evidence (N, T, L) in [0, 1], 0 on padding.

    Evidence is how much a frame speaks for a fault times how much the verdict looks at it.
    """

    probabilities: Tensor
    evidence: Tensor
    observability: Tensor


class Block(nn.Module):
    """Residual block: dilated convolution, normalisation, ReLU, dropout, pointwise convolution."""

    def __init__(self, channels: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.wide = nn.Conv1d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False)
        self.norm = nn.BatchNorm1d(channels)
        self.drop = nn.Dropout(dropout)
        self.mix = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, M) -> (N, C, M)."""
        y: Tensor = self.mix(self.drop(torch.relu(self.norm(self.wide(x)))))
        return x + y


class TemporalCNN(nn.Module):
    """Features (N, F, M) -> logits (N, L), per-sample logits (N, L, M), the attention whose weighted mean they are (N, L, M).

    Besides, logits (N, L) of how likely what carries a fault was seen at all, and how far past its limits (N, L) a fault is:
    training alone asks for that, as it tells more of a rep than yes or no.
    """

    def __init__(
        self, features: int, labels: int, channels: int, blocks: int, dropout: float, feature_dropout: float
    ) -> None:
        super().__init__()
        self.drop = nn.Dropout1d(feature_dropout)
        self.stem = nn.Conv1d(features, channels, 1)
        self.blocks = nn.Sequential(*(Block(channels, 2**i, dropout) for i in range(blocks)))
        self.evidence = nn.Conv1d(channels, labels, 1)
        self.attention = nn.Conv1d(channels, labels, 1)
        self.seen = nn.Linear(channels, labels)
        self.severity = nn.Conv1d(channels, labels, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Judge every sample, then weigh the samples per label: (N, L), (N, L, M), (N, L, M), (N, L), (N, L)."""
        h = torch.relu(self.blocks(self.stem(self.drop(x))))  # (N, C, M)
        evidence = self.evidence(h)  # (N, L, M)
        weight = torch.softmax(self.attention(h), dim=2)
        mean = torch.einsum("nlm,nlm->nl", evidence, weight)  # as a sum of products OpenVINO 2026.4 gets it wrong
        severity = torch.einsum("nlm,nlm->nl", self.severity(h), weight)
        return mean, evidence, weight, self.seen(h.mean(dim=2)), severity

    def trust_geometry(self) -> None:
        """Never say that something was hidden: for when no label said so, and nothing could be learnt of it."""
        nn.init.zeros_(self.seen.weight)
        nn.init.constant_(self.seen.bias, 6.0)


class Core(nn.Module):
    """The inference core. Input: keypoints (N, T, K, 3) px, px, score (NaN or score 0 = missing), fps_hz (N), frames (N).

    Of a task in three dimensions they are (N, T, K, 4).
    ``frames`` says how many of the T rows are real; each item is one rep, cut as ``src.motion.reps`` does. ``rise_ratio`` (N),
    optional, is each rep's hip rise over the best of its set: a rep alone cannot show that others went higher.
    ``scale`` and ``bias`` (L) are the calibration, fitted on validation people.
    """

    scale: Tensor
    bias: Tensor

    def __init__(
        self,
        task: Task = HIP_THRUSTS,
        frames: int = 64,
        channels: int = 64,
        blocks: int = 5,
        dropout: float = 0.2,
        feature_dropout: float = 0.05,
    ) -> None:
        super().__init__()
        features, limits = SEEING[task.features]
        self.task, self.frames = task, frames
        self.features = features(task.skeleton, frames)
        self.network = TemporalCNN(
            len(self.features.names), len(task.labels), channels, blocks, dropout, feature_dropout
        )
        self.head, self.limits = HEADS[task.head](), limits(task.labels)
        self.receptive_field = 1 + 2 * (2**blocks - 1)
        self.register_buffer("scale", torch.ones(len(task.labels)))
        self.register_buffer("bias", torch.zeros(len(task.labels)))

    def logits(self, keypoints: Tensor, fps_hz: Tensor, frames: Tensor, rise_ratio: Tensor | None = None) -> Tensor:
        """Uncalibrated logits (N, L) of the faults."""
        return self.heads(keypoints, fps_hz, frames, rise_ratio)[0]

    def heads(
        self, keypoints: Tensor, fps_hz: Tensor, frames: Tensor, rise_ratio: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Uncalibrated logits (N, L) of the faults and of having seen what carries them, and severities: what training fits.

        Under automatic mixed precision the geometry stays in 32 bits.
        """
        with torch.autocast(keypoints.device.type, enabled=False):
            features, _ = self.features(keypoints, fps_hz, frames, rise_ratio)
        logits, _, _, seen, severity = self.network(features)
        return logits.float(), seen.float(), severity.float()

    def forward(
        self, keypoints: Tensor, fps_hz: Tensor, frames: Tensor, rise_ratio: Tensor | None = None
    ) -> CoreOutput:
        """Probabilities, evidence and observability of N reps."""
        features, pose = self.features(keypoints, fps_hz, frames, rise_ratio)  # (N, F, M)
        logits, evidence, weight, seen, _ = self.network(
            features.to(self.network.stem.weight.dtype)
        )  # which may be half precision
        probabilities = self.head(logits * self.scale + self.bias)
        per_sample = self.head(evidence * self.scale[:, None] + self.bias[:, None])  # (N, L, M)
        per_sample = per_sample * weight / weight.amax(dim=2, keepdim=True)  # only what the verdict rests on
        back = spread_back(frames, keypoints.size(1), self.frames)  # (N, T, M)
        return CoreOutput(
            probabilities, back @ per_sample.transpose(1, 2), self.limits(pose) * torch.sigmoid(seen.float())
        )


class ViewLimits(nn.Module):
    """How far each fault can be judged (N, L): the camera stands sideways enough, and what carries the fault was seen.

    The camera's angle shows in the left-right distance of shoulders and hips, about 0.4 body scales together from the
    side and 1.0 from 45 degrees; lumbar faults also need the spine, the outline of the back in ``BACK_SEEN`` of samples and
    points, and a trunk that is level at lockout: of bridges on the floor their claims are unproven. The network adds what it
    has learnt of plates.
    """

    widest: Tensor
    needs_back: Tensor

    def __init__(self, labels: tuple[str, ...]) -> None:
        super().__init__()
        views = [views_of(label) for label in labels]
        widest = [WIDEST.get(seen_from, ANY_WIDTH) for seen_from in views]
        self.register_buffer("widest", torch.tensor(widest))
        self.spine, self.blades = (len(PARTS) + TRUNK.index(point) for point in (SPINE, OUTLINE[0]))
        self.seat = self.blades + sum(at <= 1.0 for at in BACK_FRACTIONS)
        self.outline_seen, self.back_seen = OUTLINE_SEEN, BACK_SEEN
        self.level_deg, self.trunk = LEVEL_DEG, ANGLES.index("trunk_deg")
        self.register_buffer("needs_back", torch.tensor([float(seen_from == ("side",)) for seen_from in views]))

    def forward(self, pose: Pose) -> Tensor:
        """See the class."""
        width = lower_median(pose.spread[:, :, 0]) + lower_median(pose.spread[:, :, 1])  # (N)
        sideways = torch.sigmoid((self.widest[None] - width[:, None]) * 12.0)  # (N, L)
        joints = (pose.seen[:, :, 0:4].amin(dim=2).mean(dim=1) * 4.0).clamp(max=1.0)[:, None]
        seen = pose.seen[:, :, self.blades : self.seat] > self.outline_seen  # (N, M, points from blades to seat)
        back = (0.5 + 2.0 * (seen.float().mean(dim=2).mean(dim=1) - self.back_seen)).clamp(0.0, 1.0)[:, None]
        pitch = (
            pose.angles[:, :, self.trunk].sort(dim=1).values[:, 4 * pose.angles.size(1) // 5]
        )  # (N), of the highest fifth
        level = torch.sigmoid((self.level_deg - pitch) / 1.5)[:, None]
        back = back * (pose.seen[:, :, self.spine] > self.outline_seen).float().mean(dim=1)[:, None]
        return sideways * joints * (1.0 - self.needs_back + self.needs_back * back * level)


WIDEST_SIDE, WIDEST_OBLIQUE, ANY_WIDTH = 0.65, 1.1, 1e3
"""Left-right distance of shoulders plus hips, in body scales, at which judging a fault becomes a coin's toss."""
BACK_SEEN = 0.6
"""Share of the back's outline, from blades to seat and over the rep, below which the spine is not judged: of 0.5, 0.6 and 0.7 the
one at which an earlier core's claims of overarch passed the proof in all of eight deals of 600 rendered people."""
LEVEL_DEG = 8.0
"""Pitch of the trunk, + = hips above shoulders, from which on a rep counts as a bridge on the floor: its highest fifth is so in
2 % of the simulated thrusts that the detector saw and in 77 % of the bridges."""
WIDEST = {("side",): WIDEST_SIDE, ("side", "oblique"): WIDEST_OBLIQUE}
SEEING: dict[str, tuple[Any, Any]] = {"angles": (Features, ViewLimits), "coordinates": (Coordinates, Shown)}
"""What reads the keypoints, and what says from where a label can be judged, per ``Task.features``."""


def lower_median(x: Tensor) -> Tensor:
    """The median (N) of each row of (N, M), the lower of two, as ``torch.median`` has it; ONNX has sorting but no median."""
    return x.sort(dim=1).values[:, (x.size(1) - 1) // 2]


def spread_back(frames: Tensor, T: int, M: int) -> Tensor:
    """Linear interpolation (N, T, M) from M samples back to T rows; rows of padding are 0."""
    t = torch.arange(T, device=frames.device, dtype=torch.float32)[None]  # (1, T)
    last = (frames.to(torch.float32) - 1.0).clamp(min=1.0)[:, None]  # (N, 1)
    m = torch.arange(M, device=frames.device, dtype=torch.float32)  # (M)
    apart = ((t * (M - 1))[..., None] - m * last[..., None]).abs() / last[..., None]  # (N, T, M) samples
    hat = (1.0 - apart).clamp(min=0.0)
    return hat * (t < frames[:, None])[..., None]


METADATA = "metadata.json"
"""Name of the metadata inside an exported core."""


SUMS = ".sha256"
"""Ending of the file beside a core that holds the hashes of its packages."""


class ModelError(ValueError):
    """A model file that cannot be used; the message names it."""


def save_model(path: Path, core: Core, settings: dict[str, float], facts: dict[str, Any]) -> None:
    """Write a core with what is needed to build it again and ``facts`` (thresholds, data hash, metrics) in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    saved = {"task": asdict(core.task), "settings": settings, "state": core.state_dict(), "facts": facts}
    torch.save(saved, part)
    part.replace(path)


def write_sums(path: Path, packages: Sequence[Path]) -> None:
    """The hashes of a core's packages in ``path``, as ``sha256sum`` writes and checks them."""
    path.write_text("".join(f"{content_hash(package)}  {package.name}\n" for package in packages))


def check_sum(path: Path) -> None:
    """``ModelError`` where the ``.sha256`` file beside a core names another content: damaged, or of another export.

    A core without such a file, or not named in it, is taken as it is.
    """
    sums = path.with_suffix(SUMS)
    lines = sums.read_text(errors="replace").splitlines() if sums.is_file() else []
    named = {name.strip(): digest for digest, _, name in (line.partition("  ") for line in lines)}
    if path.name in named and named[path.name] != content_hash(path):
        raise ModelError(f"{path}: not the core that {sums.name} names; fetch both again, or run python -m src.export")


def fingerprint(path: Path) -> str:
    """Short hash of a model file's content, by which a report says of which model it speaks."""
    return content_hash(path)[:16]


def content_hash(path: Path) -> str:
    """sha256 of a file, 64 hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_report(path: Path, model: Path) -> dict[str, Any]:
    """What ``evaluate`` reported on this very model; ``ModelError`` for none, or one on another model."""
    try:
        report: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        raise ModelError(f"{path}: no such report; run python -m src.evaluate first") from None
    if report.get("model") != fingerprint(model):
        raise ModelError(f"{path}: speaks of another model than {model}; run python -m src.evaluate")
    return report


def load_model(path: Path) -> tuple[Core, dict[str, Any]]:
    """The core in evaluation mode on the CPU and its facts; tensors and plain values only, no code is unpickled."""
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        core = Core(Task.plain(saved["task"]), **saved["settings"])
        core.load_state_dict(saved["state"])
    except FileNotFoundError:
        raise ModelError(f"{path}: no such model; run python -m src.train first") from None
    except (EOFError, OSError, KeyError, RuntimeError, TypeError, UnpicklingError) as error:
        raise ModelError(f"{path}: not a model of this version ({type(error).__name__}); train again") from error
    return core.eval().requires_grad_(False), saved["facts"]
