import dataclasses
import re
import subprocess

import hydra
import pytest
import torch
from conftest import python
from omegaconf import OmegaConf

from src import config
from src.config import (
    CONF,
    SECTIONS,
    ConfigError,
    Trace,
    choose_device,
    data_versions,
    git_revision,
    guarded,
    load,
    section,
)

KINDS = list(SECTIONS.values())


@pytest.mark.parametrize("experiment", ["", "smoke", "full", "proof", "spine", "custom_skeleton", "search"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_section_composes(kind, experiment):
    cfg = load(kind, *([f"experiment={experiment}"] if experiment else []))
    assert isinstance(cfg, kind)
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        written = hydra.compose("config")[kind.__name__.lower()]
    assert set(written) == {field.name for field in dataclasses.fields(kind)}


def test_smoke_keeps_to_its_own_folders():
    for kind in KINDS:
        for name, value in vars(load(kind, "experiment=smoke")).items():
            if name.endswith(("_dir", "report", "core", "noise")) or kind is Trace and name == "weights":
                assert str(value).startswith("data/smoke"), f"{kind.__name__}.{name} = {value}"


def test_stages_hand_over_where_the_next_one_looks():
    for overlay in ([], ["experiment=smoke"]):
        simulate, detect, trace, imitate, train, evaluate, stress, export = (load(kind, *overlay) for kind in KINDS)
        assert simulate.clips_dir.is_relative_to(detect.clips_dir) and imitate.clips_dir == simulate.clips_dir
        assert imitate.poses_dir == detect.poses_dir / simulate.clips_dir.relative_to(detect.clips_dir)
        assert imitate.tracks_dir.is_relative_to(train.poses_dir) and detect.poses_dir.is_relative_to(train.poses_dir)
        assert train.poses_dir == evaluate.poses_dir
        assert train.models_dir == evaluate.models_dir == export.models_dir
        assert export.report == stress.report == evaluate.reports_dir / "evaluate.json"
        assert stress.models_dir == train.models_dir and stress.detect == trace.detect == detect
        assert stress.folder == str(simulate.clips_dir.relative_to(detect.clips_dir))


@pytest.mark.parametrize(
    ("kind", "override", "names"),
    [
        ("train", "train.epohcs=3", "epohcs"),
        ("train", "train.epochs=many", "epochs"),
        ("train", "train.epochs=1.5", "epochs"),
        ("train", "train.resume=perhaps", "resume"),
        ("train", "train.dropout=[1]", "dropout"),
        ("train", "train.learning_rate=null", "learning_rate"),
        ("detect", "detect.fps_hz=fast", "fps_hz"),
        ("simulate", "simulate.train_reps=[0]", "train_reps"),
        ("simulate", "simulate.train_rates_hz=[15,-5]", "train_rates_hz"),
        ("simulate", "simulate.crfs=[]", "crfs"),
        ("simulate", "simulat.seed=3", "simulat"),
        ("export", "experiment=smoek", "smoek"),
        ("export", "export.core=a=b", "export.core"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_the_key(kind, override, names):
    with pytest.raises(ConfigError) as caught:
        load(SECTIONS[kind], override)
    message = str(caught.value)
    assert names in message and "\n" not in message and len(message) < 300


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_key_or_section_is_one_line_that_names_it(kind):
    name, key = kind.__name__.lower(), dataclasses.fields(kind)[-1].name
    plain = {
        k: str(v) if k.endswith(("dir", "core", "report", "weights", "noise")) else v
        for k, v in vars(load(kind)).items()
    }
    with pytest.raises(ConfigError) as caught:
        section(OmegaConf.create({name: {k: v for k, v in plain.items() if k != key}}), kind)
    assert key in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=name):
        section(OmegaConf.create({"other": {}}), kind)


def test_devices():
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(ConfigError, match="tpu"):
        choose_device("tpu")
    if torch.cuda.is_available():
        assert choose_device("auto").type == choose_device("cuda").type == "cuda"
    else:
        assert choose_device("auto").type == "cpu"
        with pytest.raises(ConfigError, match="cuda"):
            choose_device("cuda")


def test_exit_status_and_one_line_on_stderr(tmp_path):
    wrong = python("-m", "src.export", "export.tolerance=tiny")
    assert wrong.returncode == 2 and wrong.stderr.startswith("error: ") and "tolerance" in wrong.stderr
    assert wrong.stderr.count("\n") == 1
    failed = python("-m", "src.export", f"export.models_dir={tmp_path}")
    assert failed.returncode == 1 and failed.stderr.startswith("error: ") and "model.pt" in failed.stderr
    assert failed.stderr.count("\n") == 1


def test_ctrl_c_is_one_line(capsys):
    def stopped():
        raise KeyboardInterrupt

    assert guarded(stopped) == 130 and capsys.readouterr().err == "stopped\n"


def test_data_versions_are_those_of_dvc(tmp_path):
    assert data_versions(tmp_path, tmp_path) == {}
    (tmp_path / "dvc.lock").write_text("""schema: '2.0'
stages:
  detect: {cmd: x, outs: [{path: data/poses/detected, hash: md5, md5: abc.dir, size: 3}]}
  train: {cmd: x, deps: [{path: data/poses/detected, md5: old}], outs: [{path: data/models/model.pt, md5: def}]}
  evaluate: {cmd: x}
""")
    assert data_versions(tmp_path / "data" / "poses", tmp_path) == {"data/poses/detected": "abc.dir"}
    assert data_versions(tmp_path / "data" / "smoke" / "poses", tmp_path) == {}


def test_code_that_is_not_committed_is_marked_and_what_stages_write_is_no_code(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "CONF", tmp_path / "conf")
    assert git_revision() == "unknown"
    for folder in ("src", "conf"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.py").write_text("a = 1\n")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True)
    clean = git_revision()
    assert re.fullmatch(r"[0-9a-f]{10}", clean)
    (tmp_path / "dvc.lock").write_text("outs")
    assert git_revision() == clean
    (tmp_path / "src" / "a.py").write_text("a = 2\n")
    assert git_revision() == clean + "+"
