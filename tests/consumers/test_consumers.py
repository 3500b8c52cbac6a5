"""Programs that know a core only from its package; every one must say what the eager core says of the same recordings."""

import json
import re
import shutil
import subprocess
import sys
from functools import partial
from html import unescape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch
from conftest import FACTS, ROOT, random_core, torch_alone

from src.export import AOTI, compiler
from src.motion.parity import golden_inputs

HERE = Path(__file__).parent
BROWSER = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --virtual-time-budget=60000 --dump-dom"
).split()
REPLAY = """
import sys
for path in sys.argv[1:]:
    first, *rest = open(path).read().splitlines()
    fps_hz, frames, points = first.split()
    rows = torch.tensor([[float(word) for word in line.split()] for line in rest]).reshape(1, int(frames), int(points), 3)
    out = core(rows, torch.tensor([float(fps_hz)]), torch.tensor([int(frames)])UNKNOWN)
    print(json.dumps(out[0][0].tolist()))
"""
SCRIPTED, COMPILED = REPLAY.replace("UNKNOWN", ""), REPLAY.replace("UNKNOWN", ', torch.tensor([float("nan")])')
REFUSED = """
try:  # a view whose frames do not follow each other in memory
    core(torch.rand(8, 2, 32, 3).transpose(0, 1), torch.rand(2), torch.tensor([8, 8]), torch.rand(2))
except RuntimeError as error:
    print(str(error).splitlines()[0])
"""


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder without a word."""

    def log_message(self, *_):
        pass


def tools(*names):
    """Skip where one of these commands is missing."""
    if missing := [name for name in names if shutil.which(name) is None]:
        pytest.skip(f"{', '.join(missing)} not installed")


def run(*command, cwd=None):
    """What a command prints; its complaint when it fails."""
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    return done.stdout


def readme_program():
    """The code that the README shows for torch alone."""
    section = (ROOT / "README.md").read_text().split("## Use the core in another program")[1]
    return re.search(r"```python\n(.*?)```", section, re.S).group(1)


def shown(language):
    """The code in a language that the guide shows for the compiled core."""
    section = (ROOT / "docs/shipping.md").read_text().split("## Compiled for one machine")[1]
    return re.search(rf"```{language}\n(.*?)```", section, re.S).group(1)


def same(said, core, reps):
    """Whether a program's probabilities (one list per rep) are those of a core, rep by rep."""
    expected = torch.cat([core(*rep)[0] for rep in reps])
    torch.testing.assert_close(torch.tensor(said), expected, atol=1e-5, rtol=0)


@pytest.fixture(scope="session")
def reps():
    """Golden reps, one by one, as (keypoints, fps_hz, frames)."""
    return [
        (keypoints[i : i + 1, :n], fps_hz[i : i + 1], frames[i : i + 1])
        for keypoints, fps_hz, frames in golden_inputs((8, 90, 300), (2,))
        for i, n in enumerate(frames.tolist())
    ]


@pytest.fixture(scope="session")
def recordings(reps, tmp_path_factory):
    """The same as text files: "fps_hz frames points", then a line "x y score" per point and frame."""
    folder = tmp_path_factory.mktemp("recordings")
    for i, (keypoints, fps_hz, frames) in enumerate(reps):
        points = [" ".join(f"{value:.9g}" for value in point) for point in keypoints.reshape(-1, 3).tolist()]
        first = f"{float(fps_hz):.9g} {int(frames)} {keypoints.shape[2]}"
        (folder / f"rep-{i}.txt").write_text("\n".join([first, *points]))
    return sorted(folder.iterdir())


@pytest.fixture(scope="session")
def judge(tmp_path_factory):
    """The C++ program, built once with the CPU libraries inside the torch wheel."""
    tools("cmake", "g++")
    build = tmp_path_factory.mktemp("judge")
    run("cmake", "-S", HERE / "cpp", "-B", build, f"-DTORCH={Path(torch.__file__).parent}")
    run("cmake", "--build", build)
    return build / "judge"


@pytest.fixture(scope="session")
def judge_compiled(tmp_path_factory):
    """The C++ program for the compiled core, built once by the compiler that the export takes."""
    tools(compiler() or "a C++ compiler")
    home, program = Path(torch.__file__).parent, tmp_path_factory.mktemp("judge_compiled") / "judge_compiled"
    libraries = f"-L{home}/lib -Wl,-rpath,{home}/lib -Wl,--no-as-needed -ltorch -ltorch_cpu -lc10".split()
    source = HERE / "cpp/judge_compiled.cpp"
    run(compiler(), "-std=c++20", "-isystem", home / "include", source, *libraries, "-o", program)
    return program


@pytest.fixture(params=[("judge", ".pt"), ("judge_compiled", AOTI)], ids=lambda pair: pair[0])
def program_and_core(request, packages):
    """A C++ program and the package it takes."""
    program, suffix = request.param
    return request.getfixturevalue(program), packages[suffix]


def test_recordings_hold_gaps_and_lose_nothing(reps, recordings):
    assert len(recordings) == len(reps) == 6 and any("nan" in path.read_text() for path in recordings)
    first, *rest = recordings[0].read_text().splitlines()
    again = torch.tensor([[float(word) for word in line.split()] for line in rest])
    assert torch.equal(again.nan_to_num(), reps[0][0].reshape(-1, 3).nan_to_num())


def test_the_readmes_program_with_torch_alone(packages, reps, recordings, tmp_path):
    (tmp_path / "data/models").mkdir(parents=True)
    shutil.copy(packages[".pt"], tmp_path / "data/models/core.pt")
    done = torch_alone(readme_program() + SCRIPTED, *recordings, cwd=tmp_path, also=())
    assert done.returncode == 0, done.stderr[-600:]
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines[: -len(reps)]] == FACTS["labels"]
    same([json.loads(line) for line in lines[-len(reps) :]], random_core(), reps)


def test_compiled_without_this_repository(packages, reps, recordings, tmp_path):
    tools(compiler() or "a C++ compiler")
    (tmp_path / "data/models").mkdir(parents=True)
    shutil.copy(packages[AOTI], tmp_path / "data/models/core.aoti.pt2")
    code = shown("python") + "print(json.dumps(about))" + COMPILED + "print(*sys.modules)" + REFUSED
    about, *said, modules, refused = run(sys.executable, "-c", code, *recordings, cwd=tmp_path).splitlines()
    assert "src" not in modules.split() and "unmatched stride" in refused
    assert json.loads(about)["labels"] == FACTS["labels"]
    same([json.loads(line) for line in said], random_core(), reps)


def test_the_shipped_core_says_the_same_to_python_and_to_cpp(judge, reps, recordings):
    done = torch_alone(readme_program() + SCRIPTED, *recordings, also=())
    assert done.returncode == 0, done.stderr[-600:]
    shipped = torch.jit.load(ROOT / "data/models/core.pt")
    same([json.loads(line) for line in done.stdout.splitlines()[-len(reps) :]], shipped, reps)
    _, *said = run(judge, ROOT / "data/models/core.pt", *recordings).splitlines()
    same([[float(word) for word in line.split()] for line in said], shipped, reps)


def test_cpp(program_and_core, reps, recordings):
    about, *said = run(*program_and_core, *recordings).splitlines()
    assert json.loads(about)["labels"] == FACTS["labels"]
    same([[float(word) for word in line.split()] for line in said], random_core(), reps)


def test_the_guide_shows_lines_of_the_cpp_program():
    lines = [line.strip() for line in (HERE / "cpp/judge_compiled.cpp").read_text().splitlines()]
    assert {line for line in shown("cpp").splitlines() if line} <= set(lines)


def test_cpp_refuses_what_is_no_recording(program_and_core, recordings, tmp_path):
    program, core = program_and_core
    cut, few = tmp_path / "cut.txt", tmp_path / "few.txt"
    cut.write_text("\n".join(recordings[0].read_text().splitlines()[:-1]))
    few.write_text("30 8 19\n" + "1 1 1\n" * 8 * 19)  # of another skeleton
    for package, recording in ((core, cut), (core, tmp_path / "none.txt"), (core, few), (cut, recordings[0])):
        done = subprocess.run([program, package, recording], capture_output=True, text=True, timeout=60)
        assert done.returncode == 1 and re.search("^error: ", done.stderr, re.M)


def test_onnx_runtime_with_numpy_alone(packages, reps, recordings):
    code = f"import runpy, sys; runpy.run_path({str(HERE / 'numpy_alone.py')!r}); print(*sys.modules)"
    about, *said, modules = run(sys.executable, "-c", code, packages[".onnx"], *recordings, cwd=HERE).splitlines()
    assert not {"torch", "src"} & set(modules.split())
    assert json.loads(about)["labels"] == FACTS["labels"]
    same([json.loads(line) for line in said], random_core(), reps)


def test_a_web_page(packages, reps, recordings, tmp_path):
    tools("npm", "chromium")
    site = tmp_path / "site"
    shutil.copytree(HERE / "web", site, ignore=shutil.ignore_patterns("node_modules"))
    run("npm", "ci", "--no-audit", "--no-fund", cwd=site)
    for path in (packages[".onnx"], *recordings):
        shutil.copy(path, site)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        query = "&".join(["core.onnx", *(path.name for path in recordings)])
        url = f"http://127.0.0.1:{server.server_port}/index.html?{query}"
        page = unescape(run("chromium", *BROWSER, f"--user-data-dir={tmp_path / 'profile'}", url))
        server.shutdown()
    assert re.search(r'id="state">(.*?)<', page).group(1) == "done"
    labels, *said = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", page)]
    assert labels == FACTS["labels"]
    same([[float(cell) for cell in row] for row in said], random_core(), reps)


def test_the_pages_lock_names_no_registry():
    lock = json.loads((HERE / "web/package-lock.json").read_text())
    assert lock["packages"] and not any("resolved" in package for package in lock["packages"].values())
    assert all("integrity" in package for name, package in lock["packages"].items() if name)
