"""dvc.yaml says what each stage rests on: no more, no less."""

import ast
from functools import cache
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from src.detect import CODE

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
SETTINGS_ONLY = {"src/config.py", "src/__init__.py", "src/motion/__init__.py", "src/video/__init__.py"}
"""Read by every stage, changing no result: the section of conf/config.yaml is tracked instead."""


def rests_on(name):
    """Files of this project that a file imports, directly or not, itself and the weights beside them included."""
    code = imports(name)
    return code | {path.replace(".py", ".npz") for path in code if (ROOT / path).with_suffix(".npz").exists()}


@cache
def imports(name):
    """The code of ``rests_on``."""
    found = {name}
    for node in ast.walk(ast.parse((ROOT / name).read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("src"):
            modules = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names if alias.name.startswith("src")]
        else:
            continue
        paths = {f"{module.replace('.', '/')}.py" for module in modules}
        found |= set().union(*(imports(path) for path in paths if (ROOT / path).exists()))
    return frozenset(found - SETTINGS_ONLY)


def outputs(stage):
    """Paths a stage writes."""
    entries = [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_exactly_the_code_it_imports(name):
    code = {dep for dep in STAGES[name]["deps"] if dep.startswith("src/")}
    assert code == rests_on(f"src/{name}.py")


def test_tracks_are_made_anew_when_code_that_makes_them_changes():
    assert {f"src/{name}" for name in CODE} == rests_on("src/detect.py")
    assert "src/video/lumbar.npz" in rests_on("src/detect.py")


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_is_a_module_a_section_and_a_command(name):
    assert STAGES[name]["cmd"] == f"python -m src.{name}"
    assert STAGES[name]["params"] == [{"conf/config.yaml": [name]}]


def test_stages_follow_the_order_of_the_configuration():
    sections = [key for key in yaml.safe_load((ROOT / "conf/config.yaml").read_text()) if key in STAGES]
    assert sections == list(STAGES)


def test_nothing_is_read_before_it_is_written():
    written = set()
    for stage in STAGES.values():
        data = {dep for dep in stage["deps"] if dep.startswith("data/")} - {
            "data/clips"
        }  # also holds people's own clips
        assert all({dep, str(Path(dep).parent)} & written for dep in data)
        written |= set(outputs(stage))
