import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import FACTS, python, random_core, torch_alone
from torch import nn

from src.config import Export, load
from src.export import METADATA, ParityError, golden_inputs, hold_parity, largest_difference, proven, save_core, work
from src.motion.faults import FAULT_KEYS
from src.motion.keypoints import HIP_THRUST
from src.motion.model import CoreOutput, save_model

SETTINGS = {"channels": 8, "blocks": 3}


class Bent(nn.Module):
    """A core whose answers are a little wrong for long reps, as a constant baked in by tracing would make them."""

    def __init__(self, core, by):
        super().__init__()
        self.core, self.by = core, by

    def forward(self, keypoints, fps_hz, frames, rise_ratio=None):
        out = self.core(keypoints, fps_hz, frames, rise_ratio)
        return out._replace(evidence=out.evidence + self.by) if keypoints.shape[1] >= 600 and len(frames) == 64 else out


def test_parity_holds_and_metadata_is_inside(core_path):
    extra = {METADATA: ""}
    loaded = torch.jit.load(str(core_path), _extra_files=extra)
    assert hold_parity(random_core(), loaded, 1e-5) <= 1e-5
    facts = json.loads(extra[METADATA])
    assert facts["labels"] == list(FAULT_KEYS) and facts["thresholds"] == FACTS["thresholds"]
    assert tuple(facts["skeleton"]["points"]) == HIP_THRUST.points
    assert tuple(facts["skeleton"]["mirrored"]) == HIP_THRUST.mirrored
    assert facts["receptive_field_samples"] == random_core().receptive_field and facts["frames"] == 64
    assert {"version", "revision", "data", "input", "output", "format"} <= set(facts)


@pytest.mark.parametrize("by", [1e-3, float("nan")])
def test_the_gate_sees_a_small_error_in_one_shape(by):
    with pytest.raises(ParityError, match=r"\(64, 600, 27, 3\)"):
        hold_parity(random_core(), Bent(random_core(), by), 1e-5)
    assert hold_parity(random_core(), Bent(random_core(), 0.0), 1e-5) == 0.0


@pytest.mark.parametrize("which", [0, 1, 2])
def test_nan_in_any_output_counts_as_infinite(which):
    good = CoreOutput(torch.zeros(2, 4), torch.zeros(2, 5, 4), torch.zeros(2, 4))
    bad = list(torch.zeros_like(x) for x in good)
    bad[which][0, 0] = float("nan")
    assert largest_difference(good, CoreOutput(*bad)) == float("inf") == largest_difference(CoreOutput(*bad), good)
    bad[which][0, 0] = 0.25
    assert largest_difference(good, CoreOutput(*bad)) == 0.25


def test_golden_inputs_hold_every_hard_case():
    inputs = golden_inputs((8, 200), (1, 3), len(HIP_THRUST))
    assert {tuple(k.shape[:2]) for k, _, _ in inputs} == {(1, 8), (3, 8), (1, 200), (3, 200)}
    for keypoints, fps_hz, frames in inputs:
        assert torch.isnan(keypoints).any() and not torch.isnan(keypoints).all() and (fps_hz > 0).all()
        assert (frames >= 2).all() and (frames <= keypoints.shape[1]).all()
    assert any((frames < keypoints.shape[1]).any() for keypoints, _, frames in inputs)
    again = golden_inputs((8, 200), (1, 3), len(HIP_THRUST))
    assert all(
        torch.equal(a[2], b[2]) and torch.equal(a[0].nan_to_num(), b[0].nan_to_num())
        for a, b in zip(inputs, again, strict=True)
    )


@pytest.mark.parametrize("how", ["differs", "does not script"])
def test_a_broken_export_raises_and_leaves_no_file(tmp_path, monkeypatch, how):
    path = tmp_path / "core.pt"
    save_core(random_core(), FACTS, path, 1e-4)
    honest = torch.jit.script

    def broken(core):
        if how == "differs":
            return honest(random_core(1))
        raise RuntimeError("cannot be scripted")

    monkeypatch.setattr(torch.jit, "script", broken)
    with pytest.raises(RuntimeError):
        save_core(random_core(), FACTS, path, 1e-5)
    assert list(tmp_path.iterdir()) == []  # neither half a file nor the core of an older model


def test_the_command_fails_by_name_and_leaves_no_file(tmp_path):
    save_model(tmp_path / "model.pt", random_core(), SETTINGS, FACTS)
    settings = (f"export.models_dir={tmp_path}", f"export.core={tmp_path}/core.pt", "export.tolerance=-1")
    done = python("-m", "src.export", *settings)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "differs from eager" in done.stderr
    assert not (tmp_path / "core.pt").exists() and not list(tmp_path.glob("*.part"))


def test_work_carries_the_report_into_the_core(tmp_path):
    save_model(tmp_path / "model.pt", random_core(), SETTINGS, FACTS)
    (tmp_path / "evaluate.json").write_text(json.dumps({"summary": {"simulated": 0.75}, "folders": {}}))
    work(
        replace(load(Export), models_dir=tmp_path, report=tmp_path / "evaluate.json", core=tmp_path / "new" / "core.pt")
    )
    extra = {METADATA: ""}
    torch.jit.load(str(tmp_path / "new" / "core.pt"), _extra_files=extra)
    assert json.loads(extra[METADATA])["metrics"] == {"simulated": 0.75}


def test_the_core_runs_with_torch_alone(core_path, tmp_path):
    code = """
import json
extra = {"metadata.json": ""}
core = torch.jit.load(sys.argv[1], _extra_files=extra)
torch.manual_seed(0)
keypoints = torch.rand(2, 40, 27, 3) * 500
out = core(keypoints, torch.tensor([30.0, 25.0]), torch.tensor([40, 31]))
assert not any(name == "src" or name.startswith("src.") for name in sys.modules)
print(json.dumps([json.loads(extra["metadata.json"])["labels"], out.probabilities.tolist()]))
"""
    done = torch_alone(code, Path(core_path), cwd=tmp_path, also=())
    assert done.returncode == 0, done.stderr[-600:]
    labels, probabilities = json.loads(done.stdout)
    torch.manual_seed(0)
    keypoints = torch.rand(2, 40, 27, 3) * 500
    eager = random_core()(keypoints, torch.tensor([30.0, 25.0]), torch.tensor([40, 31])).probabilities
    assert labels == list(FAULT_KEYS)
    torch.testing.assert_close(torch.tensor(probabilities), eager, atol=1e-5, rtol=0)


def test_a_fault_whose_claims_failed_is_never_claimed():
    bands = {key: {"absent": 0.3, "present": 0.7} for key in ("a", "b", "c", "d")}
    judged = {
        "a": (0.6, 0.2),
        "b": (0.3, 0.2),
        "c": (0.0, 0.1),
        "d": (None, 0.2),
    }  # right, prevalence; None: no claim made
    part = {"faults": {key: {"claim_precision": p, "prevalence": q} for key, (p, q) in judged.items()}}
    thresholds, mute = proven(bands, part, 2.0)
    assert mute == ["b", "c", "d"] and thresholds["a"] == bands["a"]
    assert all(thresholds[key] == {"absent": 0.3, "present": 1.01} for key in mute)
    assert proven(bands, {}, 2.0) == (bands, [])
