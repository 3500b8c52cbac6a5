"""Every notebook runs in a fresh clone right after ``make setup``, as Jupyter runs it, and is kept without outputs."""

import ast
import csv
import re

import matplotlib
import nbformat
import numpy as np
import pytest
from conftest import ROOT
from nbclient import NotebookClient

from src.motion.camera import sample_camera
from src.motion.kinematics import sample_performance
from src.motion.person import sample_person
from src.simulate import label_rows, truth_rows

NAMES = ("data", "results", "core")
REPORTS = ("evaluate.json", "stress.json", "detection.json", "results.md")


def notebook(name):
    return nbformat.read(ROOT / f"notebooks/{name}.ipynb", as_version=4)


def code(name):
    return [cell for cell in notebook(name).cells if cell.cell_type == "code"]


@pytest.fixture
def clone(tmp_path):
    """What a fresh clone has of what the notebooks read: no clips, no poses, no checkpoint."""
    for path in ("conf", "src", "data/models/core.pt", *(f"data/reports/{name}" for name in REPORTS)):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).symlink_to(ROOT / path)
    (tmp_path / "notebooks").mkdir()
    return tmp_path


def test_there_are_no_others():
    assert {path.stem for path in (ROOT / "notebooks").iterdir() if path.suffix} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_right_after_setup(name, clone, monkeypatch):
    for place in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):  # nobody's own settings
        monkeypatch.setenv(place, str(clone / place))
    done = NotebookClient(notebook(name), timeout=250, resources={"metadata": {"path": clone / "notebooks"}}).execute()
    cells = [cell for cell in done.cells if cell.cell_type == "code"]
    for cell in cells:
        pictures = sum("image/png" in output.get("data", {}) for output in cell.outputs)
        assert pictures == len(re.findall(r"subplots\(|_figure\(", cell.source)), cell.source
        assert not [output.text for output in cell.outputs if output.get("name") == "stderr"]
    assert sum(len(cell.outputs) for cell in cells) > 1


@pytest.mark.parametrize("name", NAMES)
def test_it_is_kept_without_outputs(name):
    for cell in code(name):
        assert cell.outputs == [] and cell.execution_count is None and not cell.metadata


@pytest.mark.parametrize("name", NAMES)
def test_it_defines_nothing_that_the_source_could_need(name):
    for cell in code(name):
        tree = ast.parse(re.sub(r"^%.*", "", cell.source, flags=re.M))
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)]


def test_the_core_takes_ten_lines():
    (cell,) = (cell for cell in code("core") if "torch.jit.load" in cell.source)
    assert len(cell.source.splitlines()) == 10


def test_rendered_clips_are_read_where_they_are(clone, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    perf = sample_performance(sample_person(rng), 2, 15.0, rng)
    camera = sample_camera(perf.joints[:, :21], 15.0, (640, 360), "side", rng)
    folder = clone / "data/clips/simulated"
    folder.mkdir(parents=True)
    for name, make in (("labels.csv", label_rows), ("truth.csv", truth_rows)):
        rows = make(perf, camera, "a.mp4", "ann")
        with (folder / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    monkeypatch.chdir(clone / "notebooks")
    names = {}
    with matplotlib.rc_context():
        for cell in code("data")[:3]:
            exec(cell.source, names)
    assert "2 reps of 1 people in 1 clips" in capsys.readouterr().out
    assert [row["load"] for row in names["truth"]] == 2 * [perf.setup.load]
