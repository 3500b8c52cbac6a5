"""From raw keypoints to signed, scale-free, mirror-free features, all in torch so that the exported core carries them.

A rep of any length and frame rate becomes ``frames`` samples. Left and right points are averaged, the person is turned to
face right (feet right of shoulders), lengths are divided by the body scale (mean of trunk, thigh and shank). Head and arms
are left out on purpose: they move independently of the faults and would only teach shortcuts.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from src.motion.keypoints import TRUNK, Skeleton, TrackError

PARTS = ("shoulder", "hip", "knee", "ankle", "heel", "toe")
ANGLES = ("hip_deg", "knee_deg", "shin_deg", "trunk_deg", "thigh_deg")
"""hip: signed trunk-thigh angle, 180 straight, above 180 hips above the shoulder-knee line; knee: 180 straight leg; shin: from
the vertical, + = leaning away from the hips; trunk, thigh: pitch above the floor, + = hips above shoulders, knees above hips."""

OUTLINE_SEEN = 0.05
"""A point of ``TRUNK`` less seen than this in a sample has no offset there."""

FEATURE_NAMES = (
    *(f"{angle} / 45" for angle in ("hip_deg - 180", "knee_deg - 90", "shin_deg", "trunk_deg", "thigh_deg", "lean_deg")),
    "hip above shoulder-knee line", "hip above ankle",
    *(f"{point} off the chord, trunk lengths x 5" for point in TRUNK),
    *(f"{name} against the rep's bottom" for name in (*ANGLES[:4], "hip height", *TRUNK)),
    *(f"{part} {axis} from the mean ankle" for part in PARTS for axis in "xy"),
    *(f"{part} left-right distance" for part in PARTS),
    *(f"{point} seen" for point in (*PARTS, *TRUNK)),
    "log seconds",
    "hip rise over the best of the set, (ratio - 1) x 4",
)  # fmt: skip


class Pose(NamedTuple):
    """Midpoints of one person, turned to face right. Lengths in body scales, y up, angles in degrees (see ``ANGLES``).

    parts (N, M, 6, 2), spread (N, M, 6) left-right distances, seen (N, M, 17) in [0, 1] for PARTS + TRUNK,
    angles (N, M, 5), where ``known`` (N, M, 5) says that their points were seen,
    offsets (N, M, 11) of TRUNK from the shoulder-hip chord in chord lengths (+ = front; 0 where unseen),
    height (N, M) of the hips over the shoulder-knee line.
    """

    parts: Tensor
    spread: Tensor
    seen: Tensor
    angles: Tensor
    known: Tensor
    offsets: Tensor
    height: Tensor


def sample_weights(fps_hz: Tensor, frames: Tensor, T: int, M: int) -> Tensor:
    """Kernel (N, M, T) that resamples T rows of which ``frames`` are real to M samples over the same time.

    A Gaussian half a sample wide averages what lies there (no aliasing at high frame rates); its faint tail reaches over gaps.
    """
    t = torch.arange(T, device=fps_hz.device, dtype=torch.float32)[None, None, :]  # (1, 1, T)
    last = (frames.to(torch.float32) - 1.0).clamp(min=1.0)[:, None, None]  # (N, 1, 1)
    m = (
        torch.arange(M, device=fps_hz.device, dtype=torch.float32)[None, :, None] * last
    )  # (N, M, 1) in frames x (M - 1)
    width = (0.5 * last).clamp(min=0.35 * (M - 1))
    distance = (t * (M - 1) - m) / width  # of whole numbers, which no runtime rounds
    kernel = torch.exp(-0.5 * distance * distance) + 1e-3 / (1.0 + distance * distance)
    return kernel * (t < frames.to(torch.float32).clamp(min=1.0)[:, None, None])


def known_points(keypoints: Tensor, frames: Tensor) -> Tensor:
    """Which points (N, T, K) of keypoints (N, T, K, D + 1) were seen: all coordinates there, a score, no padding."""
    known = torch.isfinite(keypoints[..., :-1]).all(dim=-1) & (keypoints[..., -1] > 0)
    return known & (torch.arange(keypoints.size(1), device=frames.device)[None] < frames[:, None])[..., None]


def resample(keypoints: Tensor, fps_hz: Tensor, frames: Tensor, M: int) -> tuple[Tensor, Tensor]:
    """Points (N, M, K, D) from the person's centre and how far each was seen (N, M, K) in [0, 1], 0 = in no frame.

    keypoints: (N, T, K, D + 1), D coordinates and a score.
    Each point is averaged around its own mean: sums of whole picture coordinates would cost 32-bit floats two digits.
    """
    N, T, K, C = keypoints.size()
    D = C - 1
    kernel = sample_weights(fps_hz, frames, T, M)  # (N, M, T)
    known = known_points(keypoints, frames)  # (N, T, K)
    score = torch.where(
        known, keypoints[..., D].clamp(0.0, 1.0) + 1e-3, torch.zeros_like(keypoints[..., D])
    )  # (N, T, K)
    at = torch.where(known[..., None], keypoints[..., :D], torch.zeros_like(keypoints[..., :D]))
    summed, count = at.sum(dim=1), known.sum(dim=1)[..., None]  # (N, K, D), (N, K, 1)
    home = (summed / count.clamp(min=1))[:, None]  # (N, 1, K, D)
    centre = (summed.sum(dim=1) / count.sum(dim=1).clamp(min=1))[:, None, None]  # (N, 1, 1, D)
    wide = kernel.double()  # in 32 bits the order of summing, and so the padding, would show in the sixth digit
    total = (wide @ score.double()).float()  # (N, M, K)
    mean = (wide @ ((at - home) * score[..., None]).double().reshape(N, T, K * D)).float().reshape(N, M, K, D)
    mean = mean / total[..., None].clamp(min=1e-9) + (home - centre)
    seen = (total / kernel.sum(dim=2, keepdim=True)).clamp(0.0, 1.0)
    return mean, seen


def signed_angle(a: Tensor, b: Tensor) -> Tensor:
    """Angle (...) in [0, 360) degrees that turns direction ``b`` counter-clockwise into ``a``; both (..., 2), y up."""
    cross = b[..., 0] * a[..., 1] - b[..., 1] * a[..., 0]
    dot = (a * b).sum(dim=-1)
    return torch.remainder(torch.rad2deg(torch.atan2(cross, dot + 1e-9)), 360.0)


def plain_angle(a: Tensor, b: Tensor) -> Tensor:
    """Angle (...) in [0, 180] degrees between two directions (..., 2)."""
    cross = b[..., 0] * a[..., 1] - b[..., 1] * a[..., 0]
    return torch.rad2deg(torch.atan2(cross.abs(), (a * b).sum(dim=-1) + 1e-9))


def pitch(v: Tensor) -> Tensor:
    """Angle (...) in (-180, 180] degrees of a direction ``v`` (..., 2) above the horizontal, rightwards."""
    return torch.rad2deg(torch.atan2(v[..., 1], v[..., 0] + 1e-9))


def lean(v: Tensor) -> Tensor:
    """Angle (...) in degrees of an upward direction ``v`` (..., 2) from the vertical, + = leaning back to the left."""
    return torch.rad2deg(torch.atan2(-v[..., 0], v[..., 1] + 1e-9))


def stand_ins(mid: Tensor, there: Tensor) -> Tensor:
    """Midpoints (N, M, 6, 2) of PARTS where a part that is not ``there`` (N, M, 6) takes its neighbour's place.

    Nothing is claimed about it (its angles count as unknown); this only keeps a hidden foot from moving the person.
    """
    shoulder, hip, knee = mid[:, :, 0], mid[:, :, 1], mid[:, :, 2]
    hip = torch.where(there[:, :, 1, None], hip, torch.where(there[:, :, 2, None], knee, shoulder))
    shoulder = torch.where(there[:, :, 0, None], shoulder, hip)
    knee = torch.where(there[:, :, 2, None], knee, hip)
    ankle = torch.where(there[:, :, 3, None], mid[:, :, 3], knee)
    heel = torch.where(there[:, :, 4, None], mid[:, :, 4], ankle)
    toe = torch.where(there[:, :, 5, None], mid[:, :, 5], ankle)
    return torch.stack([shoulder, hip, knee, ankle, heel, toe], dim=2)


def off_chord(shoulder: Tensor, hip: Tensor, trunk: Tensor) -> Tensor:
    """Distances (N, M, 11) of points of the trunk (N, M, 11, 2) from the shoulder-hip chord, in its length, + = front."""
    chord = hip - shoulder
    length: Tensor = torch.linalg.vector_norm(chord, dim=-1, keepdim=True).clamp(min=1e-3)  # (N, M, 1)
    normal = torch.stack([-chord[..., 1], chord[..., 0]], dim=-1) / length  # (N, M, 2), front of someone face up
    distance: Tensor = ((trunk - shoulder[:, :, None]) * normal[:, :, None]).sum(dim=-1)
    return distance / length


class Features(nn.Module):
    """Keypoints (N, T, K, 3) -> features (N, F, M), with the intermediate ``Pose`` for measuring and for observability."""

    def __init__(self, skeleton: Skeleton, frames: int = 64) -> None:
        """Look the needed points up by name; a skeleton without shoulders, hips, knees and ankles is refused."""
        super().__init__()
        self.names, self.frames = FEATURE_NAMES, frames
        self.outline_seen = OUTLINE_SEEN
        self.unseen = 1e-6  # a point at most this far seen was seen in no frame of the rep
        present = [part for part in PARTS if f"left_{part}" in skeleton.points]
        if missing := set(PARTS[:4]) - set(present):
            raise TrackError(f"skeleton {skeleton.name} lacks {', '.join(sorted(missing))}; angles need them")
        stand_in = {part: part if part in present else "ankle" for part in PARTS}
        left = [skeleton.index(f"left_{stand_in[part]}") for part in PARTS]
        right = [skeleton.index(f"right_{stand_in[part]}") for part in PARTS]
        self.used = left + right + [skeleton.index(p) if p in skeleton.points else left[0] for p in TRUNK]
        self.given = [float(point in skeleton.points) for point in TRUNK]

    def pose(self, keypoints: Tensor, fps_hz: Tensor, frames: Tensor) -> Pose:
        """Midpoints, angles and trunk of every sample; only seen points decide facing, scale and origin."""
        points, seen = resample(keypoints[:, :, self.used].float(), fps_hz.float(), frames, self.frames)
        left, right, along = (
            points[:, :, :6],
            points[:, :, 6:12],
            points[:, :, 12:],
        )  # (N, M, 6, 2) twice, (N, M, 11, 2)
        wl, wr = seen[:, :, :6, None], seen[:, :, 6:12, None]  # (N, M, 6, 1)
        mid = stand_ins((left * wl + right * wr) / (wl + wr).clamp(min=1e-9), (wl + wr)[..., 0] > self.unseen)
        seen_mid = torch.maximum(wl, wr)[..., 0]
        along_seen = seen[:, :, 12:] * torch.tensor(self.given, device=seen.device)

        toward = (mid[:, :, 3, 0] - mid[:, :, 0, 0]).mean(dim=1)  # (N) feet minus shoulders
        facing = torch.where(toward >= 0, torch.ones_like(toward), -torch.ones_like(toward))
        flip = torch.stack([facing, -torch.ones_like(facing)], dim=1)[:, None, None, :]  # (N, 1, 1, 2)
        lengths = torch.linalg.vector_norm(mid[:, :, 1:4] - mid[:, :, 0:3], dim=-1)  # (N, M, 3) trunk, thigh, shank
        both = ((seen_mid[:, :, 1:4] > self.unseen) & (seen_mid[:, :, 0:3] > self.unseen)).float()
        scale = (lengths * both).sum(dim=2).sum(dim=1) / both.sum(dim=2).sum(dim=1).clamp(min=1.0)
        scale = scale.clamp(min=1e-3)[:, None, None]  # (N, 1, 1)
        origin = mid[:, :, 3].mean(dim=1)[:, None, None, :]
        parts = (mid - origin) * flip / scale[..., None]
        along = (along - origin) * flip / scale[..., None]
        apart = torch.linalg.vector_norm(left - right, dim=-1) / scale
        spread = torch.where((wl[..., 0] > self.unseen) & (wr[..., 0] > self.unseen), apart, torch.zeros_like(apart))

        shoulder, hip, knee, ankle = parts[:, :, 0], parts[:, :, 1], parts[:, :, 2], parts[:, :, 3]  # (N, M, 2)
        angles = torch.stack(
            [
                signed_angle(shoulder - hip, knee - hip),
                plain_angle(hip - knee, ankle - knee),
                lean(knee - ankle),
                pitch(hip - shoulder),
                pitch(knee - hip),
            ],
            dim=-1,
        )
        there = seen_mid > self.unseen  # (N, M, 6)
        trunk, thigh, shank = (
            there[:, :, 0] & there[:, :, 1],
            there[:, :, 1] & there[:, :, 2],
            there[:, :, 2] & there[:, :, 3],
        )
        known = torch.stack([trunk & thigh, thigh & shank, shank, trunk, thigh], dim=-1)  # (N, M, 5)
        offsets = off_chord(shoulder, hip, along)
        offsets = torch.where(along_seen > self.outline_seen, offsets.clamp(-1.0, 1.0), torch.zeros_like(offsets))
        height = hip[..., 1] - 0.5 * (shoulder[..., 1] + knee[..., 1])
        return Pose(parts, spread, torch.cat([seen_mid, along_seen], dim=2), angles, known, offsets, height)

    def forward(
        self, keypoints: Tensor, fps_hz: Tensor, frames: Tensor, rise_ratio: Tensor | None = None
    ) -> tuple[Tensor, Pose]:
        """Features (N, F, M) in the order of ``FEATURE_NAMES``, about unit size, never NaN, and the ``Pose`` behind them.

        ``rise_ratio`` (N) is each rep's hip rise over the best of its set; without it, every rep counts as the best.
        """
        pose = self.pose(keypoints, fps_hz, frames)
        N, M, _ = pose.angles.size()
        centred = pose.angles - torch.tensor([180.0, 90.0, 0.0, 0.0, 0.0], device=pose.angles.device)
        centred = torch.where(pose.known, centred / 45.0, torch.zeros_like(centred))  # (N, M, 5)
        hip, knee, shin, trunk, thigh = centred.unbind(dim=2)  # (N, M) each
        over = shin - trunk.clamp(min=0.0)  # lean beyond what a raised trunk explains
        offsets = pose.offsets * 5.0  # (N, M, 11)
        bottom = torch.softmax(-12.0 * pose.height, dim=1)[..., None]  # (N, M, 1) weight of the rep's lowest part
        moving = torch.cat([centred[..., :4], pose.height[..., None], offsets], dim=2)  # (N, M, 16)
        there = torch.cat(
            [pose.known[..., :4], pose.known[..., 0:1] | True, pose.seen[..., 6:] > self.outline_seen], dim=2
        ).float()  # (N, M, 16)
        weight = bottom * there
        lowest = (moving * weight).sum(dim=1, keepdim=True) / weight.sum(dim=1, keepdim=True).clamp(min=1e-6)
        against_bottom = (moving - lowest) * there * (weight.sum(dim=1, keepdim=True) > 0.05)
        seconds = torch.log(frames.to(torch.float32) / fps_hz.float())[:, None, None].expand(N, M, 1)
        ratio = torch.ones_like(fps_hz) if rise_ratio is None else rise_ratio.to(fps_hz.dtype)
        share = (4.0 * (torch.nan_to_num(ratio, nan=1.0).clamp(0.0, 1.0) - 1.0)).float()[:, None, None].expand(N, M, 1)
        features = torch.cat(
            [
                torch.stack([hip, knee, shin, trunk, thigh, over, pose.height, pose.parts[:, :, 1, 1]], dim=2),
                offsets,
                against_bottom,
                pose.parts.reshape(N, M, 12),
                pose.spread,
                pose.seen,
                seconds,
                share,
            ],
            dim=2,
        )  # (N, M, F)
        return features.clamp(-6.0, 6.0).transpose(1, 2), pose
