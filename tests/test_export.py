import json
import re
from dataclasses import replace

import onnxruntime
import openvino
import pytest
import torch
from conftest import FACTS, ROOT, python, random_core

from src import export
from src.config import Export, load
from src.export import AOTI, METADATA, PACKAGES, compiler, proven, required, save_core, surely_right
from src.motion.faults import FAULT_KEYS
from src.motion.keypoints import HIP_THRUST
from src.motion.model import CoreOutput, ModelError, save_model
from src.motion.parity import ParityError, hold_half, hold_parity

SETTINGS = {"channels": 8, "blocks": 3}
MADE = [end for end in PACKAGES if end != AOTI or compiler()]


def facts_inside(path):
    """The metadata of a package, read as its own runtime reads it."""
    extra = {METADATA: ""}
    if path.suffix == ".onnx":
        extra = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    elif path.name.endswith(AOTI):
        return json.loads(torch._inductor.aoti_load_package(str(path)).get_metadata()[METADATA])
    elif path.suffix == ".pt2":
        torch.export.load(path, extra_files=extra)
    else:
        torch.jit.load(str(path), _extra_files=extra)
    return json.loads(extra[METADATA])


@pytest.mark.parametrize("suffix", MADE)
def test_parity_holds_and_metadata_is_inside(packages, suffix):
    exported = PACKAGES[suffix][1](packages[suffix])
    assert hold_parity(random_core(), exported, 1e-5) <= 1e-5
    with pytest.raises(ParityError):
        hold_parity(random_core(1), exported, 1e-5)
    facts = facts_inside(packages[suffix])
    assert facts["labels"] == list(FAULT_KEYS) and facts["thresholds"] == FACTS["thresholds"]
    assert tuple(facts["skeleton"]["points"]) == HIP_THRUST.points
    assert tuple(facts["skeleton"]["mirrored"]) == HIP_THRUST.mirrored
    assert facts["receptive_field_samples"] == random_core().receptive_field and facts["frames"] == 64
    assert {"version", "revision", "data", "input", "output", "format"} <= set(facts)


def test_openvino_reads_the_onnx_package_as_well(packages):
    compiled = openvino.Core().compile_model(packages[".onnx"], "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(*inputs):
        out = compiled([x.numpy() for x in required(*inputs)])
        return [torch.from_numpy(out[name].copy()) for name in CoreOutput._fields]

    assert hold_parity(random_core(), run, 1e-5) <= 1e-5


@pytest.mark.parametrize("suffix", [end for end in PACKAGES if end != AOTI])  # which stays where it was built
def test_a_package_names_no_file_of_its_builder(packages, suffix):
    assert not re.search(rb"site-packages|" + str(ROOT).encode(), packages[suffix].read_bytes())


@pytest.mark.parametrize("suffix", MADE)
@pytest.mark.parametrize("how", ["differs", "does not write"])
def test_a_broken_export_raises_and_leaves_no_file(tmp_path, monkeypatch, packages, suffix, how):
    def broken(core, about, path):
        path.write_bytes(packages[suffix].read_bytes())  # of another core
        if how == "does not write":
            raise RuntimeError("cannot be written")

    monkeypatch.setitem(PACKAGES, suffix, (broken, PACKAGES[suffix][1]))
    path = tmp_path / f"core{suffix}"
    path.write_bytes(b"the core of an older model")
    with pytest.raises(RuntimeError, match="differs from eager|cannot be written"):
        save_core(random_core(1), FACTS, path, 1e-5)
    assert list(tmp_path.iterdir()) == []


CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no CUDA GPU")


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=CUDA)])
def test_half_precision_is_held_as_well(core_path, device):
    assert hold_half(random_core(), torch.jit.load(core_path, device), 1e-3, device) <= 1e-3
    with pytest.raises(ParityError):
        hold_half(random_core(1), torch.jit.load(core_path, device), 1e-3, device)


def test_a_core_that_fails_on_the_gpu_leaves_no_file(tmp_path, monkeypatch):
    read = torch.jit.load
    monkeypatch.setattr(torch.jit, "load", lambda path, device="cpu": read(path, "cpu"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    asked = []

    def half(core, exported, tolerance):
        asked.append(tolerance)
        raise ParityError("exported core differs from eager in fp16")

    monkeypatch.setattr(export, "hold_half", half)
    with pytest.raises(ParityError, match="fp16"):
        save_core(random_core(), FACTS, tmp_path / "core.pt", 1e-5, 2e-3)
    assert asked == [2e-3] and list(tmp_path.iterdir()) == []


def test_the_command_fails_by_name_and_leaves_no_file(tmp_path):
    save_model(tmp_path / "model.pt", random_core(), SETTINGS, FACTS)
    for suffix in PACKAGES:
        (tmp_path / f"core{suffix}").write_bytes(b"the core of an older model")
    settings = (f"export.models_dir={tmp_path}", f"export.core={tmp_path}/core.pt", f"export.report={tmp_path}/none")
    done = python("-m", "src.export", *settings, "export.tolerance=-1")
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "differs from eager" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


@pytest.mark.skipif(AOTI not in MADE, reason="there is no C++ compiler")
def test_the_command_fails_where_the_compiled_package_alone_differs(tmp_path, packages):
    save_model(tmp_path / "model.pt", random_core(1), SETTINGS, FACTS)
    code = """
import sys
from pathlib import Path
from src import export
other = Path(sys.argv.pop(1)).read_bytes()  # compiled from another core
export.PACKAGES = {export.AOTI: (lambda core, about, path: path.write_bytes(other), export.read_compiled)}
export.main()
"""
    settings = (f"export.models_dir={tmp_path}", f"export.core={tmp_path}/core.pt", f"export.report={tmp_path}/none")
    done = python("-c", code, packages[AOTI], *settings, "export.aoti=true")
    assert done.returncode == 1 and re.search(r"^error: .*differs from eager", done.stderr, re.M), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def test_work_carries_the_report_into_every_package_and_says_how_far_it_is_off(packages):
    paths = [packages[suffix] for suffix in MADE]
    assert sorted(paths[0].parent.iterdir()) == sorted(paths)
    assert all(facts_inside(path)["metrics"] == {"simulated": 0.75} for path in paths)
    lines = [line for line in packages["said"].splitlines() if "left out" not in line]
    assert [line.partition(":")[0] for line in lines] == [str(path) for path in paths]
    assert all(re.search(r": \d+ kB, largest difference from eager \d\.\de[-+]\d\d", line) for line in lines)


def test_without_a_compiler_the_compiled_package_is_left_out_and_no_older_one_stays(tmp_path, monkeypatch, capsys):
    save_model(tmp_path / "model.pt", random_core(), SETTINGS, FACTS)
    written = []
    monkeypatch.setattr(export, "save_core", lambda core, facts, path, *_: written.append(path.write_text("")) or "")
    cfg = replace(load(Export), models_dir=tmp_path, report=tmp_path / "none", core=tmp_path / "core.pt")
    for aoti, line in ((True, f"{tmp_path}/core{AOTI}: left out, there is no C++ compiler here"), (False, None)):
        (tmp_path / f"core{AOTI}").write_text("compiled from an older model")
        with torch._inductor.config.patch("cpp.cxx", ("no-such-compiler",)):
            export.work(replace(cfg, aoti=aoti))
        lines = [text for text in capsys.readouterr().out.splitlines() if AOTI in text]
        assert [text.partition(" (")[0] for text in lines] == ([line] if line else [])
        assert not (tmp_path / f"core{AOTI}").exists() and len(written) == 3
        written.clear()


def test_nothing_is_compiled_unless_asked_for():
    assert load(Export).aoti is False and load(Export, "export.aoti=true").aoti is True


def test_the_program_runs_with_torch_alone(packages, tmp_path):
    code = """
import json, sys, torch
extra = {"metadata.json": ""}
core = torch.export.load(sys.argv[1], extra_files=extra).module()
torch.manual_seed(0)
keypoints = torch.rand(2, 40, 31, 3) * 500
out = core(keypoints, torch.tensor([30.0, 25.0]), torch.tensor([40, 31]), torch.tensor([float("nan")] * 2))
assert not any(name == "src" or name.startswith("src.") for name in sys.modules)
print(json.dumps([json.loads(extra["metadata.json"])["labels"], out[0].tolist()]))
"""
    done = python("-c", code, packages[".pt2"], cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-600:]
    labels, probabilities = json.loads(done.stdout)
    torch.manual_seed(0)
    keypoints = torch.rand(2, 40, 31, 3) * 500
    eager = random_core()(keypoints, torch.tensor([30.0, 25.0]), torch.tensor([40, 31])).probabilities
    assert labels == list(FAULT_KEYS)
    torch.testing.assert_close(torch.tensor(probabilities), eager, atol=1e-5, rtol=0)


def test_a_fault_whose_claims_failed_is_never_claimed():
    bands = {key: {"absent": 0.3, "present": 0.7} for key in ("a", "b", "c", "d", "e")}
    judged = {
        "a": (0.8, 0.2),
        "b": (0.6, 0.2),
        "c": (0.0, 0.1),
        "d": (None, 0.2),
        "e": (0.8, 0.75),
    }  # right, prevalence; None: no claim made
    part = {
        "faults": {key: {"right_by_person": p, "prevalence": q, "claimed_people": 40} for key, (p, q) in judged.items()}
    }
    thresholds, mute = proven(bands, part, 0.5)
    assert mute == ["b", "c", "d", "e"] and thresholds["a"] == bands["a"]
    assert all(thresholds[key] == {"absent": 0.0, "present": 1.01} for key in mute)
    assert proven(bands, {}, 0.5) == (bands, [])
    part["faults"]["a"] |= {"right_by_person": 1.0, "claimed_people": 5}  # all claims of five people are no proof
    assert "a" in proven(bands, part, 0.5)[1]


@pytest.mark.parametrize(("right", "count", "least"), [
    (0, 0, 0.0), (0, 9, 0.0), (1, 1, 0.025), (4, 4, 0.398), (5, 5, 0.478), (6, 6, 0.541), (11, 12, 0.615), (10, 13, 0.462),
])  # fmt: skip
def test_how_surely_a_share_is_right(right, count, least):
    assert surely_right(right, count) == pytest.approx(least, abs=5e-4)  # as in tables of the exact interval
    assert surely_right(right + 0.5, count) == surely_right(right, count)


def test_a_report_on_another_model_is_refused(tmp_path):
    save_model(tmp_path / "model.pt", random_core(), SETTINGS, FACTS)
    report = tmp_path / "evaluate.json"
    report.write_text('{"summary": {}, "folders": {}, "model_data": "of another model"}')
    cfg = replace(load(Export), models_dir=tmp_path, report=report, core=tmp_path / "core.pt")
    with pytest.raises(ModelError, match="another model"):
        export.work(cfg)
    assert not (tmp_path / "core.pt").exists()


def test_the_readme_names_what_the_shipped_core_never_judges():
    bands = facts_inside(ROOT / "data/models/core.pt")["thresholds"]
    mute = {key for key, band in bands.items() if band["present"] > 1}
    (line,) = re.findall(r"never judges: (.*?)\.", (ROOT / "README.md").read_text())
    assert set(re.findall(r"`(\w+)`", line)) == mute
