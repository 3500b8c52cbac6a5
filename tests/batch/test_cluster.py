"""The engine of many machines on a cluster of this one: the same outcomes as ``spawned``, in the same words."""

import os
import shutil
import sys
from collections import deque
from functools import partial
from pathlib import Path

import pytest
from conftest import ROOT
from test_workers import make, running

from src import predict
from src.batch.cluster import on_ray
from src.batch.workers import Lost, NoWorker, spawned

ray = pytest.importorskip("ray", reason="needs pip install .[ray]")


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """Two cores and two GPUs, which Ray takes our word for; their workers find these tests."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    ray.init("local", num_cpus=2, num_gpus=2, include_dashboard=False, runtime_env={"env_vars": {"PYTHONPATH": paths}})
    yield
    ray.shutdown()


def test_a_thousand_jobs_are_answered_once_as_by_processes_of_our_own(tmp_path):
    jobs = [
        "crash",
        "exit",
        f"hang:{tmp_path / 'pid'}",
        "steady:7",
        *(f"clip{i}" for i in range(1000)),
        f"once:{tmp_path / 'a'}",
    ]
    answers = list(on_ray(partial(make, ""), jobs, 2, 5.0))
    assert not running(int((tmp_path / "pid").read_text()))
    assert len(answers) == len(jobs) and dict(answers) == dict(spawned(partial(make, ""), deque(jobs), 2, 5.0))


def files(out):
    return {path.relative_to(out): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def test_clips_get_the_files_that_one_process_writes_and_known_ones_stay(lifter, tmp_path, monkeypatch):
    film = lifter.read_bytes()
    for name, body in {"a.mp4": film, "b.mp4": film[:3000], "c.mp4": film + b"\0"}.items():
        (tmp_path / name).write_bytes(body)

    def call(out, *more):
        options = ["--core", "data/models/core.pt", "--device", "cpu", "--save-poses", "--quiet", "--out", str(out)]
        monkeypatch.setattr(
            sys, "argv", ["predict", *(str(tmp_path / f"{name}.mp4") for name in "abc"), *options, *more]
        )
        with pytest.raises(SystemExit) as stop:
            predict.main()
        assert stop.value.code == 3

    monkeypatch.chdir(ROOT)
    call(tmp_path / "one", "--workers", "0")
    shutil.copytree(tmp_path / "one", tmp_path / "many")
    (tmp_path / "many/json/c.mp4.json").unlink()
    known = (tmp_path / "many/json/a.mp4.json").stat().st_mtime_ns
    call(tmp_path / "many", "--workers", "1", "--engine", "ray", "--resume")
    assert files(tmp_path / "many") == files(tmp_path / "one") and len(files(tmp_path / "one")) == 3 + 3 + 2 * 3
    assert (tmp_path / "many/json/a.mp4.json").stat().st_mtime_ns == known


def test_the_job_of_a_lost_worker_is_tried_once_more(tmp_path):
    once, always = f"orphan:{tmp_path / 'a'}", "orphan"
    answers = dict(on_ray(partial(make, ""), ["a", once, always, "b"], 2, 60))
    lost = answers.pop(always)
    assert answers == {"a": "a", once: "orphan", "b": "b"}
    assert isinstance(lost, Lost) and lost.reason.startswith("its worker was lost twice (ActorDied")


def test_what_stops_every_job_stops_the_run():
    with pytest.raises(ValueError, match="no core here"):
        list(on_ray(partial(make, "fail"), ["a", "b"], 2, 60))


def test_machines_that_do_not_see_the_folder_stop_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getcwd", lambda: str(tmp_path / "nowhere"))
    with pytest.raises(NoWorker, match="no worker could be started.*nowhere"):
        list(on_ray(make, ["a"], 1, 60))


def test_workers_that_live_go_on_without_those_that_cannot_start(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setattr(os, "getcwd", lambda: str(home))
    jobs = [f"gone:{home}", f"mark:{home}", *(f"slow{i}" for i in range(20))]
    assert dict(on_ray(partial(make, ""), jobs, 2, 60)) == {job: job.partition(":")[0] for job in jobs}


def test_every_gpu_has_one_worker_which_sees_no_other(tmp_path):
    """Only where workers are placed: no GPU is needed for that, and none is used."""
    jobs = [f"where{i}:{tmp_path}" for i in range(4)]
    answers = dict(on_ray(partial(make, ""), jobs, 1, 60, gpu=True))
    assert set(answers) == set(jobs) and set(answers.values()) == {"0", "1"}


def test_no_job_needs_no_worker_and_gpus_must_be_there(monkeypatch):
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0})
    assert list(on_ray(make, [], 2, 60)) == []
    with pytest.raises(RuntimeError, match="no GPU"):
        list(on_ray(make, ["a"], 2, 60, gpu=True))
