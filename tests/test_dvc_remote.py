"""Own clips go to a remote and come back on another machine, byte for byte: the commands of docs/data.md."""

import os
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT, write_labels


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A command that sees no configuration, cache or home of this machine."""
    home = tmp_path / "home"
    home.mkdir()
    for name in [name for name in os.environ if name.startswith(("GIT_", "DVC_"))]:
        monkeypatch.delenv(name)
    places = {"HOME": home, "XDG_CONFIG_HOME": home, "XDG_CACHE_HOME": home, "GIT_CONFIG_GLOBAL": home / "gitconfig"}
    places |= {f"DVC_{kind}_CONFIG_DIR": home / kind for kind in ("GLOBAL", "SYSTEM")} | {
        "DVC_SITE_CACHE_DIR": home / "site"
    }
    for name, value in (places | {"DVC_NO_ANALYTICS": "true", "GIT_CONFIG_NOSYSTEM": "1"}).items():
        monkeypatch.setenv(name, str(value))

    def call(folder, command):
        words = command.split()
        words = [sys.executable, "-m", "dvc", *words[1:], "-q"] if words[0] == "dvc" else words
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    call(home, "git config --global user.name t")
    call(home, "git config --global user.email t@example.org")
    return call


def project(folder, run):
    """A checkout with this project's ignore rules and DVC settings, and one folder of clips."""
    folder.mkdir()
    run(folder, "git init -b main")
    run(folder, "dvc init")
    for name in (".gitignore", ".dvc/config", ".dvcignore"):
        shutil.copy(ROOT / name, folder / name)
    clips = folder / "data/clips/mine"
    write_labels(clips, [{"clip": "a b.mp4", "subject": "ann", "tuck": "1"}, {"clip": "sub/ü.mov", "subject": "bob"}])
    (clips / "sub").mkdir()
    (clips / "a b.mp4").write_bytes(bytes(range(256)) * 40)
    (clips / "sub/ü.mov").write_bytes(b"\x00\r\n" * 999)
    return clips


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_clips_and_labels_come_back_from_a_remote(run, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    clips = project(here, run)
    before = content(clips)
    run(here, "dvc add data/clips/mine")
    run(here, f"dvc remote add --default store {tmp_path / 'store'}")
    run(here, "git add data/clips/mine.dvc data/clips/.gitignore .dvc/config .gitignore .dvcignore")
    run(here, "git commit -m clips")
    assert "mine/" not in run(here, "git ls-files")  # the clips themselves never enter git
    assert run(here, "git status --porcelain --untracked-files=all data") == ""
    run(here, "dvc push data/clips/mine.dvc")

    shutil.rmtree(here / ".dvc/cache")
    shutil.rmtree(clips)
    run(here, "dvc pull")
    assert content(clips) == before and len(before) == 3

    run(tmp_path, f"git clone {here} {there}")
    shutil.rmtree(here)
    run(there, "dvc pull data/clips/mine.dvc")
    assert content(there / "data/clips/mine") == before
    assert run(there, "git status --porcelain --untracked-files=all") == ""


def test_a_lost_remote_is_an_error_not_an_empty_folder(run, tmp_path):
    clips = project(tmp_path / "here", run)
    run(tmp_path / "here", "dvc add data/clips/mine")
    run(tmp_path / "here", f"dvc remote add --default store {tmp_path / 'store'}")
    run(tmp_path / "here", "dvc push")
    shutil.rmtree(tmp_path / "here/.dvc/cache")
    shutil.rmtree(clips)
    shutil.rmtree(tmp_path / "store")
    with pytest.raises(AssertionError, match="dvc pull"):
        run(tmp_path / "here", "dvc pull")
