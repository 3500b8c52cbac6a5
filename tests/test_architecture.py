"""The two laws of STYLE.md: verbs run and nouns are read; pixels in video/, keypoints in motion/."""

import ast
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, torch_alone

from src.config import SECTIONS

HOMES = {
    "decord": {"src/video/clips.py"},
    "lightning": {"src/learn/fit.py", "src/learn/runs.py"},
    "pytorch_lightning": set(),
    "mlflow": {"src/learn/runs.py"},
    "torchvision": {"src/video/keypointrcnn.py"},
    "hydra": {"src/config.py"},
    "openvino": {"src/video/engine.py"},
    "matplotlib": {"src/learn/runs.py", "src/report/figures.py", "src/video/contact_sheet.py"},
    "sklearn": {"src/report/baselines.py", "src/imitate.py"},
    "aeon": {"src/report/baselines.py"},
    "onnxruntime": {"src/export.py"},
    "pyarrow": {"src/batch/tables.py"},
    "ray": {"src/batch/cluster.py"},
    "jinja2": {"src/pages/page.py"},
    "PIL": {"src/video/overlay.py"},
    "mediapipe": set(),
    "tensorflow": set(),
}
NO_SECTION = {"predict", "benchmark", "import_labels"}
NOUNS = ("motion", "video", "batch", "pages")
NOT_STAGES = {"__init__", "config"}
APART = {"trace"}
"""Stages whose output is in git: no part of DVC's road."""
STDLIB = set(sys.stdlib_module_names)


def imported(path, root):
    """Full names of all modules that a file imports anywhere, ``from a import b`` as a.b; strings count as well."""
    package = path.relative_to(root).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            yield from (".".join([*base, *filter(None, [node.module]), alias.name]) for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in (
            "import_module",
            "__import__",
        ):
            yield ast.literal_eval(node.args[0]) if isinstance(node.args[0], ast.Constant) else "a computed module"


def sections(root):
    """Names of the stages' sections in conf/config.yaml, in order."""
    keys = yaml.safe_load((root / "conf/config.yaml").read_text())
    return [key for key in keys if key not in ("defaults", "hydra")]


def breaches_of_imports(root):
    """Every import that crosses a wall, as one line."""
    for path in sorted((root / "src").rglob("*.py")):
        where = path.relative_to(root).as_posix()
        folder = path.relative_to(root / "src").parts[0] if path.parent != root / "src" else ""
        for name in imported(path, root):
            top, _, rest = name.partition(".")
            inside = rest.partition(".")[0]
            if where not in HOMES.get(top, {where}):
                yield f"{where}: {top} lives in {', '.join(HOMES[top]) or 'no file'}"
            if folder == "motion" and not (top in STDLIB | {"numpy", "torch"} or (top == "src" and inside == "motion")):
                yield f"{where}: motion imports {name}"
            if folder == "video" and top == "src" and inside not in ("motion", "video"):
                yield f"{where}: video imports {name}"
            if folder == "report" and top == "src" and inside not in ("motion", "report"):
                yield f"{where}: report imports {name}"
            if folder == "learn" and top == "src" and inside not in ("motion", "learn", "config"):
                yield f"{where}: learn imports {name}"
            if folder in ("batch", "pages") and top == "src" and inside not in (*NOUNS, "__version__"):
                yield f"{where}: {folder} imports {name}"
            if folder == "speed" and top == "src" and inside not in (*NOUNS, "report", "speed"):
                yield f"{where}: speed imports {name}"
            if where == "src/config.py" and top == "src":
                yield f"{where}: config imports {name}"


def breaches_of_verbs(root):
    """Every module that runs and should not, or the other way round."""
    names = sections(root)
    verbs = {path.stem for path in (root / "src").glob("*.py")} - NOT_STAGES
    for verb in sorted(verbs - set(names) - NO_SECTION):
        yield f"src/{verb}.py: a stage without a section in conf/config.yaml"
    for name in sorted(set(names) - verbs):
        yield f"conf/config.yaml: section {name} without src/{name}.py"
    for path in sorted((root / "src").rglob("*.py")):
        where, tree = path.relative_to(root).as_posix(), ast.parse(path.read_text())
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        runs = any(isinstance(node, ast.If) and "__name__" in ast.unparse(node.test) for node in tree.body)
        if path.parent == root / "src" and path.stem in verbs:
            if "main" not in functions or not runs:
                yield f"{where}: a stage without main"
            if path.stem in names and "work" not in functions:
                yield f"{where}: a stage without work"
        elif "main" in functions or runs:
            yield f"{where}: a noun with main"


def test_imports_keep_to_their_side():
    assert list(breaches_of_imports(ROOT)) == []


def test_verbs_run_and_nouns_are_read():
    assert list(breaches_of_verbs(ROOT)) == []


@pytest.fixture
def copy(tmp_path):
    """The source tree, to be damaged."""
    for folder in ("src", "conf"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize(
    ("file", "line", "says"),
    [
        ("src/motion/stray.py", "import decord", "decord"),
        ("src/predict.py", "def f():\n    import decord", "decord"),
        ("src/motion/stray.py", "import scipy.signal", "motion imports scipy.signal"),
        ("src/motion/stray.py", "from src.video.clips import read", "motion imports src.video"),
        ("src/motion/stray.py", "from src.config import ConfigError", "motion imports src.config"),
        ("src/motion/stray.py", "from ..video import clips", "motion imports src.video"),
        ("src/motion/stray.py", "from src import predict", "motion imports src.predict"),
        ("src/motion/stray.py", "import src.report.numbers", "motion imports src.report"),
        ("src/video/stray.py", "import src.train", "video imports src.train"),
        ("src/learn/stray.py", "from src.video.clips import read", "learn imports src.video"),
        ("src/batch/stray.py", "from src.predict import score", "batch imports src.predict"),
        ("src/batch/stray.py", "import pyarrow.csv", "pyarrow"),
        ("src/video/stray.py", "import mediapipe as mp", "mediapipe"),
        ("src/video/blazepose.py", "import openvino", "openvino"),
        ("src/video/stray.py", "import importlib\nimportlib.import_module('mlflow')", "mlflow"),
        ("src/report/stray.py", "from src.video.clips import read", "report imports src.video"),
        ("src/report/tables.py", "from src.config import Evaluate", "report imports src.config"),
        ("src/speed/stray.py", "from src.predict import score", "speed imports src.predict"),
        ("src/evaluate.py", "import sklearn.metrics", "sklearn"),
        ("src/config.py", "import src.train", "config imports src.train"),
        ("src/simulate.py", "from lightning.pytorch import Trainer", "lightning"),
    ],
)
def test_a_stray_import_is_found(copy, file, line, says):
    before = set(breaches_of_imports(copy))
    with (copy / file).open("a") as out:
        out.write(f"\n{line}\n")
    new = set(breaches_of_imports(copy)) - before
    assert new and any(says in breach for breach in new) and all(breach.startswith(file) for breach in new)


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("src/stray.py", "def main(): ...\nif __name__ == '__main__':\n    main()", "without a section"),
        ("src/motion/stray.py", "def main(): ...", "a noun with main"),
        ("src/video/stray.py", "if __name__ == '__main__':\n    print(1)", "a noun with main"),
        ("src/train.py", "work = None", "without main"),
    ],
)
def test_a_wrong_verb_is_found(copy, file, text, says):
    before = set(breaches_of_verbs(copy))
    (copy / file).write_text(text)
    new = set(breaches_of_verbs(copy)) - before
    assert any(breach.startswith(file) and says in breach for breach in new)


def test_one_stage_is_one_module_one_section_one_dvc_stage():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert sections(ROOT) == list(SECTIONS)
    assert [name for name in SECTIONS if name not in APART] == list(stages)
    for name, stage in stages.items():
        assert stage["cmd"] == f"python -m src.{name}", name
        assert {"conf/config.yaml": [name]} in stage["params"], name
        assert f"src/{name}.py" in stage["deps"], name


CORE = [f"src.motion.{path.stem}" for path in sorted(Path(ROOT / "src/motion").glob("*.py")) if path.stem != "__init__"]
POSE = ["src.video.blazepose", "src.video.tflite", "src.video.crop", "src.video.engine"]


def test_core_and_pose_import_with_torch_and_numpy_alone():
    lines = [f"import {name}" for name in [*CORE, *POSE, "src.benchmark"]]
    done = torch_alone("\n".join([*lines, "print('ok')"]))
    assert done.stdout == "ok\n", done.stderr[-600:]


def test_the_wall_of_that_test_stands():
    done = torch_alone("import rich")
    assert done.returncode == 1 and "blocked: rich" in done.stderr
