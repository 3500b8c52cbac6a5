"""Every command that README and docs show is one that its program takes, and runs, unless ``NOT_RUN`` says why it cannot."""

import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from dvc.cli import main as dvc
from dvc.cli import parse_args

from src import import_labels
from src.batch.options import parser
from src.batch.tables import clip_columns, rep_columns
from src.config import SECTIONS, load
from src.export import INPUTS
from src.motion import parity
from src.motion.faults import FAULT_KEYS
from src.motion.features import ANGLES
from src.motion.model import CoreOutput
from src.motion.verdict import STATUSES, Scorer
from src.video.overlay import write_film

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OWN_PARSERS = ("predict", "import_labels", "benchmark")
NOT_RUN = {
    "make train": "hours; with EXPERIMENT=smoke the same stages run below",
    "make train EXPERIMENT=full": "hours",
    "make spine": "half an hour; tests/test_trace.py looks at a rendered lifter and fits the regression",
    "make proof": "an hour; tests/test_simulate.py renders such people, tests/test_evaluate.py asks them",
    "make test": "that is these tests",
    "make setup": "installs from the package registry",
    "make ui": "serves its pages until it is stopped",
    "npm ci": "installs from the package registry; tests/consumers does where npm is",
    "uv pip install --python .venv/bin/python dvc[s3]": "installs from the package registry",
    "dvc remote add -d store s3://bucket/lockout": "a cloud's; that of a folder runs",
    "dvc remote add -d store gs://bucket/lockout": "a cloud's",
    "dvc remote add -d store ssh://you@host/srv/lockout": "another machine's",
    "dvc remote modify store endpointurl https://host": "of an S3 server, a folder has none",
    "dvc remote modify --local store ...": "keys of a cloud",
    "python -m src.export export.aoti=true": "half a minute of compiling; tests/test_export.py does it",
    "python -m src.benchmark --compare official --mediapipe-python PATH": "needs another interpreter with mediapipe",
}
"""Commands that are only parsed, and why."""
TINY = (
    "simulate.heights_px=[180] simulate.train_heights_px=[180] "
    "simulate.rates_hz=[10] simulate.train_rates_hz=[10] simulate.reps=[1,1] "
    "simulate.train_reps=[1,1] simulate.workers=1 imitate.subjects=8 imitate.tracks_per_subject=1 imitate.workers=1 "
    "train.epochs=1 train.channels=8 train.blocks=3 train.workers=0 evaluate.kernels=84 evaluate.bootstrap=5 stress.bootstrap=5"
).split()
QUICK = {
    "src.benchmark": "--seconds 0 --threads 1 --core-batches 1 --rounds 1 --parts core --device cpu --clip film.mp4".split(),
    "src.import_labels": [],
    "--multirun": [*TINY, "hydra.sweeper.n_trials=1"],
}
"""What is appended to commands of these modules so that they take seconds; ``TINY`` to those of all others."""
FEW = parity.golden_inputs
"""Fewer reps pass the gate of an export: it has tests of its own."""
BIN = Path(sys.executable).parent
GUIDE = ROOT / "docs/predict.md"
FENCED_OR_SPAN = r"^```(\w*)\n(.*?)^```$|`([^`]+)`"


def blocks(text, language):
    """Fenced code of a language."""
    return [body for name, body in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.S | re.M) if name == language]


def spans(text):
    """Code inside sentences and tables."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]


def words_of(line):
    """Shell words of each command of a line; what stands in <brackets> is one word of the reader's."""
    words = shlex.split(re.sub(r"<[^>]+>", "x", line), comments=True)
    commands = " ".join(shlex.quote(word) for word in words).split(" '&&' ")
    return [shlex.split(command) for command in commands if command]


def commands(page):
    """Words of each command of a page, in its order, of code blocks and of sentences."""
    lines = []
    for language, block, span in re.findall(FENCED_OR_SPAN, page.read_text(encoding="utf-8"), re.S | re.M):
        lines += block.splitlines() if language == "sh" else []
        span = " ".join(span.split())
        lines += [span] if re.match(rf"(\S*/)?({'|'.join(CHECKS)}) ", span) else []
    return [words for line in lines for words in words_of(line)]


def says(*command):
    """Exit status and words of a program that answers at once, with none of this test run's make flags."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def takes(text, words):
    """Whether a program's help names every flag among the words."""
    assert all(re.search(rf"(?<![\w-]){re.escape(word)}\b", text) for word in words if word.startswith("-")), words


def check_python(words):
    assert words[0] == "-m" and words[1].startswith("src."), words
    name, arguments = words[1].removeprefix("src."), words[2:]
    if name in SECTIONS:
        load(SECTIONS[name], *(word for word in arguments if word != "--multirun"))
    else:
        assert name in OWN_PARSERS
        (parser if name == "predict" else importlib.import_module(words[1]).parser)().parse_intermixed_args(arguments)


def check_make(words):
    assert says("make", "--dry-run", *words)[0] == 0, words
    for overlay in re.findall(r"EXPERIMENT=(\S+)", " ".join(words)):
        assert (ROOT / f"conf/experiment/{overlay}.yaml").is_file(), overlay


def check_git(words):
    status, text = says("git", words[0], "-h")
    assert status == 129 and text.startswith("usage: git"), text
    takes(text, words)


def check_uv(words):
    status, text = says(BIN / "uv", *words[:2], "--help")
    assert status == 0, text
    takes(text, words)


def check_npm(words):
    assert words == ["ci"] and (ROOT / "tests/consumers/web/package-lock.json").is_file()


CHECKS = {
    "python": check_python, "make": check_make, "dvc": parse_args, "git": check_git, "uv": check_uv, "npm": check_npm,
    "cd": lambda words: None,
}  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_programs_take_every_command(page):
    for program, *words in commands(page):
        CHECKS[Path(program).name](words)


def test_commands_are_found():
    found = {page.name: {(Path(words[0]).name, *words[1:3]) for words in commands(page)} for page in PAGES}
    first = {("make", "train"), ("python", "-m", "src.predict"), ("npm", "ci"), ("dvc", "add", "data/clips/x")}
    assert first <= found["README.md"]
    assert {("make", "setup"), ("cd", "lockout"), ("git", "commit", "-m"), ("uv", "pip", "install")} <= found["data.md"]


@pytest.mark.parametrize(
    "line",
    [
        "python -m src.predict --repot a.mp4", "python -m src.train train.epoch=3", "make trian", "dvc ad data/clips",
        "dvc add --resume x", "git ad x", "git add --forec x", "uv pip instal x", "make train EXPERIMENT=smok", "python x.py",
        "python -m src.train experiment=smok",
    ],
)  # fmt: skip
def test_a_wrong_command_is_found(line, capsys):
    ((program, *words),) = words_of(line)
    with pytest.raises((Exception, SystemExit)):
        CHECKS[program](words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_flags_paths_and_statuses_exist(page):
    parsers = [importlib.import_module(f"src.{name}").parser() for name in OWN_PARSERS]
    flags = {flag for p in parsers for flag in p._option_string_actions}
    for span in spans(page.read_text(encoding="utf-8")):
        if span.startswith("--"):
            assert span.split()[0] in flags, span
        if re.fullmatch(r"(src|docs|tests|conf|notebooks)/[\w./]+", span):
            assert (ROOT / span).exists(), span


def column_names(page, heading):
    """Code in the first column of the table below a heading."""
    table = (ROOT / "docs" / page).read_text().split(heading)[1].split("\n#")[0]
    return [name for line in table.splitlines() if line.startswith("| `") for name in spans(line.split("|")[1])]


def test_every_column_and_key_is_explained():
    labels = list(FAULT_KEYS)
    assert sorted(column_names("outputs.md", "## clips.csv")) == sorted(clip_columns(labels))
    assert sorted(column_names("outputs.md", "## verdicts.csv")) == sorted(rep_columns(labels))
    assert column_names("outputs.md", "## poses/") == ["time", *ANGLES]
    assert column_names("shipping.md", "## In and out") == [*INPUTS, *CoreOutput._fields]
    metadata = Scorer(ROOT / "data/models/core.pt", "cpu").metadata
    assert sorted(column_names("shipping.md", "## Inside each package")) == sorted(metadata)
    named = re.findall(r"^\| (`.*?) \|", (ROOT / "README.md").read_text().split("| status |")[1].split("\n\n")[0], re.M)
    assert sorted(name for cell in named for name in spans(cell)) == sorted(STATUSES)


def checkout(folder):
    """A checkout as far as the commands need one."""
    for path in ("src", "conf", "data/weights"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).symlink_to(ROOT / path)
    (folder / "data/models").mkdir()
    shutil.copy(ROOT / "data/models/core.pt", folder / "data/models")
    (folder / ".venv").symlink_to(BIN.parent)
    return folder


@pytest.fixture(scope="module")
def desk(lifter, tmp_path_factory):
    """A checkout with a newcomer's videos in it."""
    folder = checkout(tmp_path_factory.mktemp("desk"))
    shutil.copy(lifter, folder / "my_set.mp4")
    films = {"folder_of_videos/a b.mp4": 6, "more/monday/c.mov": 6, "data/clips/gym/monday_1.mp4": 48}  # frames
    for path, frames in films.items():
        write_film(folder / path, iter([np.full((48, 64, 3), 90, np.uint8)] * frames), 24.0, (64, 48))
    return folder


def shell(line, folder):
    """Output of a line of the docs, just as it stands there."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = ["bash", "-euc", line]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def quick_start():
    """README's section on judging videos."""
    return (ROOT / "README.md").read_text().split("## Judge videos")[1].split("\n## ")[0]


def judged():
    """The lines that judge videos, of the quick start and of the guide."""
    return [block.strip() for text in (quick_start(), GUIDE.read_text()) for block in blocks(text, "sh")]


def test_the_quick_start_judges_videos(desk):
    section, line = quick_start(), judged()[0]
    said = shell(line, desk)
    assert all(name in said for name in ("my_set.mp4", "a b.mp4", "c.mov"))
    promised = [span for row in re.findall(r"^\| (`results.*?) \|", section, re.M) for span in spans(row)]
    assert len(promised) == 5
    for name in promised:
        name = f"results/verdicts{name}" if name[0] == "." else name.replace("<clip>", "my_set.mp4")
        assert (desk / name).is_file(), name


def test_the_commands_of_the_predict_guide_judge_videos(desk):
    lines = judged()[1:]
    assert len(lines) == 2 and sum("--engine ray" in line for line in lines) == 1
    for number, line in enumerate(lines):
        out = f"guide{number}/"
        shell(line.replace("INPUT...", "my_set.mp4 more").replace("results/", out) + " --device cpu", desk)
        assert len((desk / out / "clips.csv").read_text().splitlines()) == 3, line


def test_the_library_example_runs(desk, monkeypatch, capsys):
    (code,) = blocks(GUIDE.read_text(), "python")
    monkeypatch.chdir(desk)
    exec(code, {})
    first, *reps = capsys.readouterr().out.splitlines()
    assert first == "ok judged" and reps and all("feet_too_far" in rep for rep in reps)


def annotations(folder):
    """An export of Label Studio and the table of people, as docs/data.md describes them."""
    text = (ROOT / "docs/data.md").read_text()
    (subjects,) = (block for block in blocks(text, "") if block.startswith("clip,subject"))
    marks = [("rep", 1, 40), ("feet_too_far", 5, 40)]
    result = [
        {"id": kind, "from_name": "marks", "to_name": "video", "type": "timelinelabels",
         "value": {"ranges": [{"start": start, "end": end}], "timelinelabels": [kind]}}
        for kind, start, end in marks
    ]  # fmt: skip
    task = {"id": 1, "data": {"video": "monday_1.mp4"}, "annotations": [{"id": 1, "completed_by": 1, "result": result}]}
    (folder / "export.json").write_text(json.dumps([task]))
    (folder / "subjects.csv").write_text(subjects)


def test_labels_are_imported_as_shown(desk, monkeypatch):
    annotations(desk)
    (line,) = (block for block in blocks((ROOT / "docs/data.md").read_text(), "sh") if "import_labels" in block)
    ((_, _, module, *arguments),) = words_of(line)
    monkeypatch.chdir(desk)
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    import_labels.main()
    header, row = (desk / "data/clips/gym/labels.csv").read_text().splitlines()
    assert header.startswith("clip,subject,start_s,end_s,overarch,tuck,feet_too_far,partial_range,view,side")
    assert re.match(r"monday_1.mp4,ann,0\.0*,1\.\d+,0,0,1,0,side,left,", row), row


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """A checkout under git and DVC after ``make train EXPERIMENT=smoke``, its outcome where ``make train`` has it."""
    folder, home = checkout(tmp_path_factory.mktemp("workshop")), tmp_path_factory.mktemp("home")
    for name in ("Makefile", "README.md", "mkdocs.yml", "dvc.yaml", "docs"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, folder / name)
    for path, frames in {"film.mp4": 24, "data/clips/gym/monday_1.mp4": 48, "data/clips/x/monday_1.mp4": 48}.items():
        write_film(folder / path, iter([np.full((48, 64, 3), 90, np.uint8)] * frames), 24.0, (64, 48))
    annotations(folder)
    shop = Workshop(folder, home)
    with pytest.MonkeyPatch.context() as patch:
        shop.enter(patch)
        for line in (
            "git init -b main",
            "dvc init",
            "git add .dvc",
            "git commit -m First",
            "make train EXPERIMENT=smoke",
        ):
            shop.carry_out(line.split(), patch)
    for name in ("poses", "models", "reports"):
        shutil.copytree(folder / "data/smoke" / name, folder / "data" / name, dirs_exist_ok=True)
    return shop


class Workshop:
    """Where commands are carried out, each once."""

    def __init__(self, folder, home):
        self.folder, self.home, self.ran = folder, home, set()

    def enter(self, patch):
        """Go there, with a git, DVC and MLflow that know no home, cache or configuration of this machine."""
        places = {"HOME": "", "XDG_CACHE_HOME": "", "GIT_CONFIG_GLOBAL": "gitconfig", "DVC_SITE_CACHE_DIR": "site"}
        places |= {"DVC_GLOBAL_CONFIG_DIR": "global", "DVC_SYSTEM_CONFIG_DIR": "system"}
        people = {f"GIT_{who}_{what}": "a@b.c" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        settings = {name: self.home / place for name, place in places.items()} | people
        for name, value in (settings | {"MLFLOW_DISABLE_TELEMETRY": "true", "DVC_NO_ANALYTICS": "true"}).items():
            patch.setenv(name, str(value))
        patch.setattr(
            parity, "golden_inputs", lambda lengths, batches, skeleton: FEW(lengths[:2], batches[:2], skeleton)
        )
        patch.chdir(self.folder)

    def carry_out(self, words, patch):
        """Run a command; python and dvc in this process, which has loaded already what they need."""
        program, *words = Path(words[0]).name, *words[1:]
        words = [
            {"x": str(self.folder), "/mnt/disk/lockout": str(self.home / "disk")}.get(word, word) for word in words
        ]
        if (program, *words) in self.ran:
            return
        self.ran.add((program, *words))
        if program == "cd":
            patch.chdir(*words)
        elif program == "python":
            self.run_module(words[1:], patch)
        elif program == "dvc":
            assert dvc(words) == 0, words
        elif program == "make":
            said = shell(shlex.join(["make", "--silent", "--old-file=setup", "PY=echo python", *words]), ".")
            for line in said.splitlines():
                if line.startswith("python "):
                    self.carry_out(line.split(), patch)
        elif words[0] == "clone":  # after the commit of .dvc/config that the guide asks for
            shell(shlex.join(["git", "commit", "-qam", "Place"]) + " && " + shlex.join(["git", *words]), ".")
        else:
            shell(shlex.join([program, *words]), ".")

    def run_module(self, words, patch):
        """``main`` of a module with its arguments and what makes it quick."""
        quick = next((QUICK[word] for word in words if word in QUICK), TINY)
        patch.setattr(sys, "argv", [*words, *quick])
        try:
            importlib.import_module(words[0]).main()
        except SystemExit as end:
            assert not end.code, words


@pytest.mark.filterwarnings("ignore")  # as outside of tests
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_runs(page, workshop, monkeypatch):
    workshop.enter(monkeypatch)
    judging = [words for line in judged() for words in words_of(line)]  # run in the tests above
    for words in commands(page):
        if plain(words) not in NOT_RUN and words not in judging:
            workshop.carry_out(words, monkeypatch)


def test_only_commands_that_are_shown_are_excused():
    shown = {plain(words) for page in PAGES for words in commands(page)}
    assert set(NOT_RUN) <= shown


def plain(words):
    """A command as ``NOT_RUN`` has it."""
    return " ".join([Path(words[0]).name, *words[1:]])
