"""Export the trained core as TorchScript, with its metadata, only if it equals eager."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from src.config import Export, run_stage
from src.motion.keypoints import HIP_THRUST, Skeleton
from src.motion.model import METADATA, Core, CoreOutput, load_model
from src.motion.verdict import FORMAT


class ParityError(RuntimeError):
    """The exported core differs from eager; the message carries the difference and the input."""


def golden_inputs(
    lengths: tuple[int, ...], batches: tuple[int, ...], points: int
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Random walks as (keypoints, fps_hz, frames): every length and batch, missing points and gaps, ragged frame counts."""
    inputs = []
    for n, (length, batch) in enumerate((t, b) for t in lengths for b in batches):
        rng = torch.Generator().manual_seed(n)
        walk = (
            torch.randn(batch, length, points, 2, generator=rng).cumsum(dim=1) * 3
            + torch.rand(batch, 1, points, 2, generator=rng) * 900
        )
        score = torch.rand(batch, length, points, 1, generator=rng)
        keypoints = torch.cat([walk, score], dim=-1)
        keypoints[torch.rand(batch, length, points, generator=rng) < 0.1] = float("nan")
        keypoints[: batch // 2, :, -6:] = float("nan")
        frames = torch.randint(max(2, length // 2), length + 1, (batch,), generator=rng)
        inputs.append((keypoints, torch.rand(batch, generator=rng) * 50 + 10, frames))
    return inputs


def largest_difference(a: CoreOutput, b: CoreOutput) -> float:
    """Largest absolute difference over all outputs; NaN anywhere counts as infinite."""
    worst = torch.stack([(x - y).abs().max() for x, y in zip(a, b, strict=True)])
    return float("inf") if bool(worst.isnan().any()) else float(worst.max())


def hold_parity(core: Core, exported: torch.nn.Module, tolerance: float, points: int = len(HIP_THRUST)) -> float:
    """Largest difference over lengths 8-600 and batches 1-64; beyond ``tolerance`` a ``ParityError``."""
    worst = 0.0
    with torch.no_grad():
        for inputs in golden_inputs((8, 33, 64, 200, 600), (1, 3, 64), points):
            ratio = torch.rand(len(inputs[0]), generator=torch.Generator().manual_seed(len(inputs[0])))
            calls = (inputs, (*inputs, ratio))  # the rise ratio may be left out
            difference = max(largest_difference(core(*call), CoreOutput(*exported(*call))) for call in calls)
            if not difference <= tolerance:
                shape = tuple(inputs[0].shape)
                raise ParityError(
                    f"exported core differs from eager by {difference:.2e} (allowed {tolerance:.0e}) on {shape}"
                )
            worst = max(worst, difference)
    return worst


def metadata(facts: dict[str, Any], skeleton: Skeleton, core: Core) -> dict[str, Any]:
    """What an app needs to use a core without this repository."""
    return {
        "format": FORMAT,
        "labels": facts["labels"],
        "thresholds": facts["thresholds"],
        "skeleton": {
            "name": skeleton.name,
            "points": skeleton.points,
            "mirrored": skeleton.mirrored,
            "bones": skeleton.bones,
        },
        "input": "keypoints (N, T, K, 3): x px, y px, score (NaN or 0 = missing); fps_hz (N); frames (N) real rows, a rep each; "
        "rise_ratio (N), optional: hip rise over the best of the set",
        "output": "probabilities (N, L), evidence (N, T, L), observability (N, L), all in [0, 1]",
        "frames": core.frames,
        "receptive_field_samples": core.receptive_field,
        **{key: facts[key] for key in ("version", "revision", "data", "metrics") if key in facts},
    }


def save_core(core: Core, facts: dict[str, Any], path: Path, tolerance: float) -> float:
    """Script, save, load again, compare; only then is ``path`` replaced. Returns the largest difference.

    A failure of any kind leaves no core at ``path``: a stale one would pass for the new.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    try:
        extra = {METADATA: json.dumps(metadata(facts, HIP_THRUST, core))}
        torch.jit.save(torch.jit.script(core), str(part), _extra_files=extra)
        worst = hold_parity(core, torch.jit.load(str(part)), tolerance)
        part.replace(path)
    except Exception:
        path.unlink(missing_ok=True)
        raise
    finally:
        part.unlink(missing_ok=True)
    return worst


def proven(
    thresholds: dict[str, dict[str, float]], part: dict[str, Any], least_lift: float
) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Thresholds where a fault is claimed only if its claims proved themselves on a folder of the report; who did not.

    Proved: right at least ``least_lift`` times as often as the fault is there at all. Others get a ``present`` above 1, so
    that the core denies or abstains. Without a report on that folder, nothing is changed.
    """
    mute = [
        key
        for key, fault in part.get("faults", {}).items()
        if (fault["claim_precision"] or 0.0) < least_lift * (fault["prevalence"] or 0.0)
    ]
    return {key: band | ({"present": 1.01} if key in mute else {}) for key, band in thresholds.items()}, mute


def work(cfg: Export) -> None:
    """``model.pt`` -> ``core.pt``."""
    core, facts = load_model(cfg.models_dir / "model.pt")
    if cfg.report.exists():
        report = json.loads(cfg.report.read_text())
        facts["metrics"] = report["summary"]
        facts["thresholds"], mute = proven(facts["thresholds"], report["folders"].get(cfg.proof, {}), cfg.least_lift)
        if mute:
            print(f"never claimed (right less than {cfg.least_lift:g} x prevalence on {cfg.proof}): {', '.join(mute)}")
    worst = save_core(core, facts, cfg.core, cfg.tolerance)
    print(f"{cfg.core}: {cfg.core.stat().st_size / 1e3:.0f} kB, largest difference from eager {worst:.1e}")


def main() -> None:
    """``python -m src.export [key=value ...]``."""
    run_stage(Export, work)


if __name__ == "__main__":
    main()
