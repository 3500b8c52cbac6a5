"""Whole runs in processes of their own, with the shipped core and the real detector: killed, resumed, hung, in parallel."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
from conftest import ROOT, python, thrust
from jsonschema import Draft202012Validator

from src import predict
from src.batch import workers
from src.batch.inputs import Job
from src.batch.records import record_of, write_record
from src.batch.workers import Lost, spawned
from src.config import Detect, load
from src.motion.angles import frame_angles
from src.motion.features import ANGLES
from src.motion.keypoints import Track
from src.motion.verdict import STATUSES, Scorer, Verdict
from src.video import clips as clips_module
from src.video.overlay import write_film

CORE = ROOT / "data/models/core.pt"
COUNT = 5


@pytest.fixture(scope="module")
def clips(lifter, tmp_path_factory):
    """A folder of two judged clips and three that are none."""
    folder = tmp_path_factory.mktemp("clips")
    film = lifter.read_bytes()
    for name, body in {
        "a.mp4": film, "b ü#1.mp4": b"no film", "c.mp4": film[:3000], "mon/d.mp4": film + b"\0" * 9, "tue/d.mp4": b"",
    }.items():  # fmt: skip
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(body)
    return folder


def arguments(clips, out, *more):
    options = ["--out", out, "--core", CORE, "--device", "cpu", "--weights", ROOT / "data/weights", "--save-poses"]
    return ["-m", "src.predict", clips, *options, *more]


def files(out):
    """Every file below a folder with its bytes."""
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def whole(clips, tmp_path_factory):
    """An uninterrupted run by one worker: its folder."""
    out = tmp_path_factory.mktemp("whole")
    done = python(*arguments(clips, out, "--workers", "1"))
    assert done.returncode == 3, done.stderr
    return out


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_rows_come_in_the_order_of_the_inputs_and_nothing_is_lost(whole):
    rows = table(whole / "clips.csv")
    assert [row["clip"] for row in rows] == ["a.mp4", "b ü#1.mp4", "c.mp4", "mon/d.mp4", "tue/d.mp4"]
    assert [row["status"] for row in rows] == ["ok", "unreadable", "unreadable", "ok", "unreadable"]
    assert {row["status"] for row in rows} <= set(STATUSES) and all(row["reason"] for row in rows)
    assert not list(whole.rglob("*.part"))


@pytest.mark.parametrize("workers", ["0", "3"])
def test_any_number_of_workers_writes_the_same_files(whole, clips, tmp_path, workers):
    done = python(*arguments(clips, tmp_path / "out", "--workers", workers))
    assert done.returncode == 3 and files(tmp_path / "out") == files(whole)


@pytest.mark.parametrize("written", [0, 1, 3])
def test_a_killed_run_goes_on_and_ends_as_if_it_never_stopped(whole, clips, tmp_path, written):
    out = tmp_path / "out"
    killed_run(clips, out, written)
    assert not (out / "clips.csv").exists() or len(table(out / "clips.csv")) < COUNT
    before = {path: path.stat().st_mtime_ns for path in (out / "json").glob("*.json")}
    done = python(*arguments(clips, out, "--workers", "2", "--resume"))
    assert done.returncode == 3 and files(out) == files(whole)
    judged = [path for path in before if '"status": "ok"' in path.read_text()]
    assert f"{len(judged)} known already" in done.stderr
    assert all(path.stat().st_mtime_ns == before[path] for path in judged)  # not scored twice


def killed_run(clips, out, written):
    """Start a run and kill it once ``written`` clips have their JSON; none of its processes may stay."""
    command = [sys.executable, *map(str, arguments(clips, out, "--workers", "1"))]
    run = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 120
    while not (out / "json").exists() or len(list((out / "json").glob("*.json"))) < written:
        assert time.monotonic() < limit and run.poll() is None
        time.sleep(0.01)
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    run.send_signal(signal.SIGKILL)
    run.wait()
    while any(alive(pid) for pid in children):
        assert time.monotonic() < limit
        time.sleep(0.05)


KILLED = """
import os, pathlib, runpy, signal, sys

left = int(sys.argv.pop(1))

def replace(self, target, whole=pathlib.Path.replace):
    global left
    if not left:
        os.truncate(self, self.stat().st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    return whole(self, target)

pathlib.Path.replace = replace
runpy.run_module("src.predict", run_name="__main__")
"""
"""``src.predict``, killed after so many files in the middle of the next one."""


@pytest.mark.parametrize("written", [0, 2, 7])
def test_a_run_killed_inside_a_file_leaves_no_half_of_it(whole, clips, tmp_path, written):
    out = tmp_path / "out"
    done = python("-c", KILLED, written, *arguments(clips, out, "--workers", "0")[2:])
    assert done.returncode == -signal.SIGKILL
    assert len(list(out.rglob("*.part"))) == 1
    of_clips = {name: body for name, body in files(out).items() if "/" in name and not name.endswith(".part")}
    assert of_clips.items() <= files(whole).items()  # tables are written anew after each clip
    for name in ("clips.csv", "verdicts.csv"):
        assert not (out / name).exists() or all(row in table(whole / name) for row in table(out / name))
    done = python(*arguments(clips, out, "--workers", "0", "--resume"))
    assert done.returncode == 3 and files(out) == files(whole)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("change", "known"),
    [
        ("nothing", True),
        ("content", False),
        ("setting", False),
        (".trc", False),
        (".mot", False),
        ("pages", False),
        ("core", False),
        ("json", False),
    ],
)
def test_only_a_verdict_that_still_holds_is_known(whole, clips, tmp_path, change, known):
    out, film, core = tmp_path / "out", tmp_path / "a.mp4", tmp_path / "core.pt"
    shutil.copytree(whole, out)
    film.write_bytes((clips / "a.mp4").read_bytes() + b"\0" * (change == "content"))
    core.write_bytes(CORE.read_bytes() + b"\0" * (change == "core"))
    if change in (".trc", ".mot"):
        (out / f"poses/a.mp4{change}").unlink()
    if change == "json":
        (out / "json/a.mp4.json").write_text('{"format": 1, "clip"')
    cfg = load(Detect, "detect.device=cpu", f"detect.weights={ROOT / 'data/weights'}")
    order = predict.Order(out, core, replace(cfg, fps_hz=8.0) if change == "setting" else cfg, poses=True)
    order = replace(order, pages="plain") if change == "pages" else order
    record = order.done(Job(film, "a.mp4"))
    assert (record is not None) == known and (record is None or record["status"] == "ok")
    assert order.done(Job(clips / "c.mp4", "c.mp4")) is None  # what could not be read is tried again


def test_a_clip_that_hangs_is_given_up_and_the_others_are_judged(clips, tmp_path):
    os.mkfifo(tmp_path / "hang.mp4")  # a reader waits for ever
    inputs = [tmp_path / "hang.mp4", clips / "a.mp4", clips / "b ü#1.mp4"]
    done = python(*arguments(inputs[0], tmp_path / "out", "--time-limit", "20", *inputs[1:]))
    rows = table(tmp_path / "out" / "clips.csv")
    assert done.returncode == 3 and [row["status"] for row in rows] == ["unreadable", "ok", "unreadable"]
    assert "nothing of it done for 20 s" in rows[0]["reason"] and "hang.mp4" in done.stderr


def slowly(order):
    """Work whose decoder takes 0.6 s for each batch of 16 frames, and for ever for what follows the last one of ``b.mp4``."""
    read = clips_module.read

    def slow(path, **how):
        for batch in read(path, **how):
            time.sleep(0.6)
            yield batch
        time.sleep(600 if path.name == "b.mp4" else 0)

    clips_module.read, predict.make_detector = slow, lambda cfg: closed_form
    return predict.clip_work(order)


def closed_form(frames, fps_hz, size_px):
    """A detector that looks at no picture."""
    assert sum(len(batch) for batch, _ in frames) == len(thrust(1).keypoints)
    return thrust(1)


def test_a_long_clip_is_judged_while_it_goes_on_and_given_up_where_it_hangs(tmp_path):
    wall = np.full((96, 160, 3), 90, np.uint8)
    jobs = [Job(tmp_path / name, name) for name in ("a.mp4", "b.mp4")]
    for job in jobs:
        write_film(job.path, iter([wall] * len(thrust(1).keypoints)), 30.0, (160, 96))
    cfg = load(Detect, "detect.device=cpu", f"detect.weights={ROOT / 'data/weights'}")
    order = predict.Order(tmp_path / "out", CORE, cfg, pages="plain", threads=1)
    assert 0.6 * len(thrust(1).keypoints) / 16 > 4.0  # so the limit is less than either the poses or the film take
    began = time.monotonic()
    answers = dict(spawned(partial(slowly, order), deque(jobs), 2, 4.0))
    assert answers[jobs[0]]["status"] == "ok" and (tmp_path / "out/report/a.mp4/film.mp4").is_file()
    assert answers[jobs[1]] == Lost("nothing of it done for 4 s, killed; --time-limit sets this limit")
    assert time.monotonic() - began < 300


def starts_once(order):
    """Work whose process dies of ``b.mp4`` and can never be started again."""
    if (order.out.parent / "started").exists():
        raise RuntimeError("CUDA out of memory")
    (order.out.parent / "started").touch()
    scorer = Scorer(order.core, "cpu")

    def work(job):
        if job.name == "b.mp4":
            os._exit(9)
        record = record_of(Verdict(job.name, "no_reps", "the hips never rise"), scorer, "none", {"clip": "a hash"})
        write_record(order.out, record)
        return record

    return work


def test_when_no_worker_can_be_started_a_line_says_so_and_what_was_done_is_written(tmp_path, monkeypatch, capsys):
    films = [tmp_path / f"{name}.mp4" for name in "abc"]
    for film in films:
        film.touch()
    monkeypatch.setattr(predict, "clip_work", starts_once)
    monkeypatch.setattr(workers, "PAUSES_S", ())
    options = ["--out", tmp_path / "out", "--core", CORE, "--device", "cpu", "--quiet"]
    monkeypatch.setattr(sys, "argv", ["predict", *map(str, [*films, *options])])
    with pytest.raises(SystemExit) as stop:
        predict.main()
    error = capsys.readouterr().err
    assert stop.value.code == 3 and error.count("\n") == 1
    assert "no worker could be started: RuntimeError: CUDA out of memory; clips left: 2, --resume" in error
    assert [row["clip"] for row in table(tmp_path / "out/clips.csv")] == ["a.mp4"]


def test_every_json_is_what_the_schema_says(whole):
    schema = json.loads((ROOT / "docs/verdict.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    breaches = Draft202012Validator(schema).iter_errors
    records = [json.loads(path.read_text(encoding="utf-8")) for path in (whole / "json").glob("*.json")]
    assert len(records) == COUNT and [error.message for record in records for error in breaches(record)] == []
    assert set(schema["properties"]["status"]["enum"]) == set(STATUSES)
    broken = records[0] | {"status": "fine", "extra": 1}
    del broken["reason"]
    assert len(list(breaches(broken))) == 3


def test_parquet_holds_what_the_csv_holds_with_types(whole):
    rows, typed = table(whole / "verdicts.csv"), parquet.read_table(whole / "verdicts.parquet").to_pylist()
    assert len(rows) == len(typed) > 0 and list(rows[0]) == list(typed[0])
    for row, other in zip(rows, typed, strict=True):
        assert row["clip"] == other["clip"] and int(row["rep"]) == other["rep"]
        for column, value in other.items():
            if value is None or isinstance(value, float):
                assert row[column] == ("" if value is None else f"{value:.4f}")
    assert isinstance(typed[0]["complete"], bool) and typed[0]["tuck"] in (None, 0, 1)


def test_trc_holds_the_keypoints_with_y_upwards(whole):
    track = Track.load(whole / "poses/a.mp4.npz")
    lines = [line.split("\t") for line in (whole / "poses/a.mp4.trc").read_text().splitlines()]
    facts = dict(zip(lines[1], lines[2], strict=True))
    assert facts["NumFrames"] == str(len(track.keypoints)) and facts["NumMarkers"] == "32" and facts["Units"] == "px"
    assert float(facts["DataRate"]) == pytest.approx(track.fps_hz) and lines[3][2] == "nose"
    rows = lines[6:]
    assert len(rows) == len(track.keypoints) and {len(row) for row in rows} == {2 + 3 * 32}
    column, t = 2 + 3 * 11, 5  # left hip
    assert lines[3][column] == "left_hip"
    x, y, _ = track.keypoints[t, 11]
    assert float(rows[t][column]) == pytest.approx(x, abs=1e-2)
    assert float(rows[t][column + 1]) == pytest.approx(track.size_px[1] - y, abs=1e-2)


def test_mot_holds_the_angles_of_every_frame(whole):
    track = Track.load(whole / "poses/a.mp4.npz")
    head, _, body = (whole / "poses/a.mp4.mot").read_text().partition("endheader\n")
    name, *facts = head.splitlines()
    columns, *rows = (line.split("\t") for line in body.splitlines())
    assert name == "angles" and columns == ["time", *ANGLES]
    assert facts == ["version=1", f"nRows={len(rows)}", f"nColumns={len(columns)}", "inDegrees=yes"]
    numbers = np.array(rows, float)  # no cell is empty
    assert numbers[:, 0] == pytest.approx(np.arange(len(track.keypoints)) / track.fps_hz, abs=1e-5)
    np.testing.assert_allclose(numbers[:, 1:], frame_angles(track), atol=1e-3)
    for rep in json.loads((whole / "json/a.mp4.json").read_text())["reps"]:
        top = numbers[round(rep["top_s"] * track.fps_hz)]
        assert top[1 + ANGLES.index("hip_deg")] == pytest.approx(rep["measures"]["hip_top_deg"], abs=10.0)
