import json
import re
import subprocess
from dataclasses import replace

import onnxruntime
import openvino
import pytest
import torch
from conftest import FACTS, ROOT, python, random_core, write_report

from src import export
from src.config import Export, load
from src.export import AOTI, METADATA, NEVER, PACKAGES, compiler, required, save_core
from src.motion.faults import FAULT_KEYS
from src.motion.keypoints import HIP_THRUST
from src.motion.model import SUMS, CoreOutput, ModelError, save_model, write_sums
from src.motion.parity import ParityError, hold_half, hold_parity
from src.motion.verdict import Scorer

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
    write_report(tmp_path / "evaluate.json", tmp_path / "model.pt")
    settings = (
        f"export.models_dir={tmp_path}",
        f"export.core={tmp_path}/core.pt",
        f"export.report={tmp_path}/evaluate.json",
    )
    done = python("-m", "src.export", *settings, "export.tolerance=nan")
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "differs from eager" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evaluate.json", "model.pt"]


@pytest.mark.skipif(AOTI not in MADE, reason="there is no C++ compiler")
def test_the_command_fails_where_the_compiled_package_alone_differs(tmp_path, packages):
    save_model(tmp_path / "model.pt", random_core(1), SETTINGS, FACTS)
    write_report(tmp_path / "evaluate.json", tmp_path / "model.pt")
    code = """
import sys
from pathlib import Path
from src import export
other = Path(sys.argv.pop(1)).read_bytes()  # compiled from another core
broken = (lambda core, about, path: path.write_bytes(other), export.read_compiled)
export.PACKAGES = {".pt": export.PACKAGES[".pt"], export.AOTI: broken}
export.main()
"""
    settings = (
        f"export.models_dir={tmp_path}",
        f"export.core={tmp_path}/core.pt",
        f"export.report={tmp_path}/evaluate.json",
    )
    done = python("-c", code, packages[AOTI], *settings, "export.aoti=true")
    assert done.returncode == 1 and re.search(r"^error: .*differs from eager", done.stderr, re.M), done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evaluate.json", "model.pt"]


def test_work_carries_the_report_into_every_package_and_says_how_far_it_is_off(packages):
    paths = [packages[suffix] for suffix in MADE]
    assert sorted(paths[0].parent.iterdir()) == sorted([*paths, paths[0].with_suffix(SUMS)])
    assert all(facts_inside(path)["metrics"] == {"simulated": 0.75} for path in paths)
    lines = [line for line in packages["said"].splitlines() if "left out" not in line]
    assert [line.partition(":")[0] for line in lines] == [str(path) for path in paths]
    assert all(re.search(r": \d+ kB, largest difference from eager \d\.\de[-+]\d\d", line) for line in lines)


def test_without_a_compiler_the_compiled_package_is_left_out_and_no_older_one_stays(tmp_path, monkeypatch, capsys):
    save_model(tmp_path / "model.pt", random_core(), SETTINGS, FACTS)
    written = []
    monkeypatch.setattr(export, "save_core", lambda core, facts, path, *_: written.append(path.write_text("")) or "")
    report = write_report(tmp_path / "evaluate.json", tmp_path / "model.pt")
    cfg = replace(load(Export), models_dir=tmp_path, report=report, core=tmp_path / "core.pt")
    for aoti, line in ((True, f"{tmp_path}/core{AOTI}: left out, there is no C++ compiler here"), (False, None)):
        (tmp_path / f"core{AOTI}").write_text("compiled from an older model")
        with torch._inductor.config.patch("cpp.cxx", ("no-such-compiler",)):
            export.work(replace(cfg, aoti=aoti))
        lines = [text for text in capsys.readouterr().out.splitlines() if AOTI in text]
        assert [text.partition(" (")[0] for text in lines] == ([line] if line else [])
        assert not (tmp_path / f"core{AOTI}").exists() and len(written) == 3
        written.clear()


def test_the_hashes_beside_the_packages_are_theirs(packages):
    checked = subprocess.run(
        ["sha256sum", "-c", "core.sha256"], cwd=packages[".pt"].parent, capture_output=True, text=True
    )
    assert checked.stdout.splitlines() == [f"{packages[suffix].name}: OK" for suffix in MADE]


def test_a_core_that_its_hashes_do_not_know_is_refused(tmp_path):
    core, sums = tmp_path / "core.pt", tmp_path / "core.sha256"
    save_core(random_core(), FACTS, core, 1e-5)
    write_sums(sums, [core])
    Scorer(core, torch.device("cpu"))
    save_core(random_core(1), FACTS, core, 1e-5)
    with pytest.raises(ModelError, match=r"core\.pt: not the core that core\.sha256 names; fetch both again, or run"):
        Scorer(core, torch.device("cpu"))
    sums.write_bytes(b"\xff of something else\n")
    Scorer(core, torch.device("cpu"))
    sums.unlink()
    Scorer(core, torch.device("cpu"))


def test_nothing_is_compiled_unless_asked_for():
    assert load(Export).aoti is False and load(Export, "export.aoti=true").aoti is True


def test_the_program_runs_with_torch_alone(packages, tmp_path):
    code = """
import json, sys, torch
extra = {"metadata.json": ""}
core = torch.export.load(sys.argv[1], extra_files=extra).module()
torch.manual_seed(0)
keypoints = torch.rand(2, 40, 32, 3) * 500
out = core(keypoints, torch.tensor([30.0, 25.0]), torch.tensor([40, 31]), torch.tensor([float("nan")] * 2))
assert not any(name == "src" or name.startswith("src.") for name in sys.modules)
print(json.dumps([json.loads(extra["metadata.json"])["labels"], out[0].tolist()]))
"""
    done = python("-c", code, packages[".pt2"], cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-600:]
    labels, probabilities = json.loads(done.stdout)
    torch.manual_seed(0)
    keypoints = torch.rand(2, 40, 32, 3) * 500
    eager = random_core()(keypoints, torch.tensor([30.0, 25.0]), torch.tensor([40, 31])).probabilities
    assert labels == list(FAULT_KEYS)
    torch.testing.assert_close(torch.tensor(probabilities), eager, atol=1e-5, rtol=0)


def test_a_fault_that_evaluation_mutes_is_never_claimed(tmp_path, capsys):
    save_model(tmp_path / "model.pt", random_core(), SETTINGS, FACTS)
    report = write_report(tmp_path / "evaluate.json", tmp_path / "model.pt", never=["tuck"])
    export.work(replace(load(Export), models_dir=tmp_path, report=report, core=tmp_path / "core.pt"))
    thresholds = facts_inside(tmp_path / "core.pt")["thresholds"]
    assert thresholds.pop("tuck") == NEVER and NEVER["present"] > 1
    assert thresholds == {key: band for key, band in FACTS["thresholds"].items() if key != "tuck"}
    assert "never judged (the model card says why): tuck" in capsys.readouterr().out


@pytest.mark.parametrize("how", ["of another model", "none"])
def test_without_a_report_on_this_model_nothing_is_exported(tmp_path, how):
    """Of the same data, too: another seed makes another model, and its claims have not proven themselves."""
    save_model(tmp_path / "other.pt", random_core(1), SETTINGS, FACTS)
    save_model(tmp_path / "model.pt", random_core(), SETTINGS, FACTS)
    report = tmp_path / "evaluate.json"
    if how != "none":
        write_report(report, tmp_path / "other.pt")
    cfg = replace(load(Export), models_dir=tmp_path, report=report, core=tmp_path / "core.pt")
    with pytest.raises(ModelError, match=r"another model.*src\.evaluate|no such report; run python -m src\.evaluate"):
        export.work(cfg)
    assert not (tmp_path / "core.pt").exists()


def test_the_readme_says_what_the_shipped_core_judges_and_what_it_never_does():
    bands = facts_inside(ROOT / "data/models/core.pt")["thresholds"]
    mute = {key for key, band in bands.items() if band["present"] > 1}
    text = (ROOT / "README.md").read_text()
    never = "".join(re.findall(r"never judges: (.*?)\.", text))
    (decides,) = re.findall(r"the core in this repository decides\s(.*?)\.", text)
    assert set(re.findall(r"`(\w+)`", never)) == mute
    assert set(re.findall(r"`(\w+)`", decides)) == set(bands) - mute
