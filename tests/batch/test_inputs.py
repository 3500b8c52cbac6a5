import io
import os
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from src.batch.inputs import InputError, clip_names, file_name, find_jobs

RESULTS = Path("results")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("a.mp4", "b/c.mov", "b/x[2].mp4", "b/._a.mp4", "notes.txt", "results/report/a/overlay.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(*inputs):
    return [str(job.path) for job in find_jobs(inputs, RESULTS)]


def given(monkeypatch, raw):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))


@pytest.mark.parametrize(
    ("inputs", "clips"),
    [
        (["."], ["a.mp4", "b/c.mov", "b/x[2].mp4"]),
        (["b", "a.mp4", "b/c.mov"], ["b/c.mov", "b/x[2].mp4", "a.mp4"]),
        (["*.mp4"], ["a.mp4"]),
        (["b/*"], ["b/c.mov", "b/x[2].mp4"]),
        (["**/*.mov", "a.*"], ["b/c.mov", "a.mp4"]),
        (["b/x[2].mp4"], ["b/x[2].mp4"]),
        (["notes.txt", "gone.mp4"], ["notes.txt", "gone.mp4"]),
    ],
)
def test_files_folders_and_patterns(folder, inputs, clips):
    assert found(*inputs) == clips


@pytest.mark.parametrize(
    "raw",
    [b"b/c.mov\n\na.mp4\r\n", b"b/c.mov\0a.mp4\0", b"b/c.mov\na.mp4", b"\xef\xbb\xbfb/c.mov\na.mp4\n"],
    ids=["lines", "find -print0", "no end", "byte order mark"],
)
def test_a_list_on_stdin(folder, monkeypatch, raw):
    given(monkeypatch, raw)
    assert found("-") == ["b/c.mov", "a.mp4"]


def test_a_list_may_hold_folders_patterns_and_names_that_are_no_utf8(folder, monkeypatch):
    given(monkeypatch, b"b\n*.mp4\nd\xfc.mp4\n")
    assert found("-") == ["b/c.mov", "b/x[2].mp4", "a.mp4", "d\udcfc.mp4"]


def test_a_link_that_leads_nowhere_stays_in_a_folder_and_what_is_no_file_does_not(folder):
    (folder / "b" / "gone.mp4").symlink_to(folder / "nowhere.mp4")
    (folder / "b" / "ring.mp4").symlink_to("ring.mp4")
    (folder / "b" / "results.mp4").symlink_to(folder / "results/report/a/overlay.mp4")
    (folder / "b" / "day.mp4").mkdir()
    os.mkfifo(folder / "b" / "pipe.mp4")
    assert found("b") == ["b/c.mov", "b/gone.mp4", "b/ring.mp4", "b/x[2].mp4"]


def test_a_name_too_long_for_any_file_is_a_clip_like_another(folder, monkeypatch):
    """So it becomes a row with its reason, and the others are judged."""
    given(monkeypatch, b"a.mp4\n" + 5000 * b"x" + b".mp4\n")
    assert found("-") == ["a.mp4", 5000 * "x" + ".mp4"]


@pytest.mark.parametrize("column", ["clip", "path"])
def test_a_manifest_is_relative_to_itself_and_names_each_clip_once(folder, column):
    (folder / "b" / "list.csv").write_text(
        f"\ufeffsubject,{column}\np1,c.mov\np1,c.mov\np2,../a.mp4\np3,\n", encoding="utf-8"
    )
    assert found("b/list.csv") == ["b/c.mov", "b/../a.mp4"]


@pytest.mark.parametrize("entry", ["*.avi", "results/none", "empty.csv", "b/none.csv"])
def test_inputs_without_a_clip_are_named(folder, entry):
    (folder / "results" / "none").mkdir()
    (folder / "empty.csv").write_text("clip\n")
    with pytest.raises(InputError, match=entry.replace("*", r"\*")):
        found(entry)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("https://example.org/a.mp4", "https://example.org/a.mp4: an address is no input; download"),
        ("", "an input is an empty name"),
        ("-", "the list on stdin: no video found"),
    ],
)
def test_inputs_that_a_newcomer_tries_are_answered_plainly(folder, monkeypatch, entry, says):
    given(monkeypatch, b"")
    with pytest.raises(InputError, match=says):
        found(entry)


@drawn(
    st.lists(st.sampled_from(["..", ".", "a", "_", "-", "_-", "~", "\\", "%2e", "\u2025"]), min_size=1).map("/".join)
)
def test_no_name_leads_out_of_the_results(name):
    folder = Path("/results/json")
    path = folder / f"{file_name(name)}.json"
    assert Path(os.path.normpath(path)) == path and path.parent == folder


def test_ten_thousand_equal_names_are_told_apart_in_seconds():
    began = time.monotonic()
    names = clip_names([Path(f"/day{i}/set.mp4") for i in range(10_000)])
    assert names[0] == "day0/set.mp4" and len(set(names)) == 10_000 and time.monotonic() - began < 10


def test_names_that_differ_in_the_root_alone_stay_apart():
    assert clip_names([Path("/a/x.mp4"), Path("b/x.mp4")]) == ["a/x.mp4", "b/x.mp4"]
    names = clip_names([Path("/a/x.mp4"), Path("a/x.mp4")])
    assert len(set(names)) == 2 and len({file_name(name) for name in names}) == 2


def test_names_that_differ_many_folders_up_stay_apart():
    deep = "/".join("abcdefghijklmnopqrstuvwxyz")
    assert clip_names([Path(f"/1/{deep}"), Path(f"/2/{deep}")]) == [f"1/{deep}", f"2/{deep}"]
