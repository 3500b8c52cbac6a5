import contextlib
import itertools
import multiprocessing
import os
import shutil
import signal
import subprocess
import time
from collections import deque
from functools import partial
from pathlib import Path

import pytest

from src.batch import workers
from src.batch.workers import Lost, NoWorker, aloud, going, here, spawned


def make(tag=""):
    """Work that does what the job's name says."""
    if tag == "fail":
        raise ValueError("no core here")
    if tag == "die":
        os._exit(7)
    return partial(work, tag)


def work(tag, job):
    name, _, argument = job.partition(":")
    if name == "hang":
        Path(argument).write_text(str(subprocess.Popen(["sleep", "600"]).pid))
        time.sleep(600)
    if name == "steady":  # for so many seconds
        for _ in aloud(range(round(2 * float(argument)))):
            time.sleep(0.5)
    if name == "stuck":
        going()
        time.sleep(600)
    if name == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if name == "exit":
        os._exit(3)
    if name == "once" and not Path(argument).exists():
        Path(argument).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "orphan" and not (argument and Path(argument).exists()):
        Path(argument or os.devnull).touch()
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    if name.startswith("slow"):
        time.sleep(0.05)
    if name.startswith("where"):
        gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        (Path(argument) / gpu).touch()
        until(lambda: len(list(Path(argument).iterdir())) == 2)
        return gpu
    if name == "mark":
        (Path(argument) / "mark").touch()
    if name == "gone" and Path(argument).exists():
        until(lambda: (Path(argument) / "mark").exists())
        shutil.rmtree(argument)
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    if name == "full":
        raise OSError(28, "No space left on device")
    return f"{tag}{name}"


def until(true):
    """Wait for what another process does, a minute at most."""
    limit = time.monotonic() + 60
    while not true() and time.monotonic() < limit:
        time.sleep(0.01)


def starting(bad, error, folder):
    """Work of a worker, unless its start is one of the ``bad`` ones: they raise the error, or die without one."""
    for number in itertools.count():
        with contextlib.suppress(FileExistsError):
            (folder / f"start{number}").touch(exist_ok=False)
            break
    if number not in bad:
        return partial(work, "")
    if error is None:
        os._exit(7)
    raise error


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("count", [1, 3])
def test_every_job_is_answered_once(count):
    jobs = [f"clip{i}" for i in range(1000)]
    answers = list(spawned(partial(make, "done "), deque(jobs), count, 60))
    assert sorted(answers) == sorted((job, f"done {job}") for job in jobs)
    assert list(here(partial(make, "done "), jobs)) == [(job, f"done {job}") for job in jobs]


@pytest.mark.parametrize("count", [1, 2])
def test_a_job_that_kills_its_process_twice_is_lost_and_no_other(count, tmp_path):
    once = f"once:{tmp_path / 'tried'}"
    answers = list(spawned(make, deque(["a", "crash", "b", "exit", once, "c"]), count, 60))
    assert len(answers) == 6 and dict(answers) == {
        "a": "a",
        "b": "b",
        "c": "c",
        once: "once",
        "crash": Lost("its process died twice (SIGSEGV)", died=True),
        "exit": Lost("its process died twice (exit 3)", died=True),
    }


def test_a_hang_is_killed_with_all_that_it_started(tmp_path):
    began = time.monotonic()
    answers = dict(spawned(make, deque(["a", f"hang:{tmp_path / 'pid'}", "b"]), 1, 2.0))
    assert time.monotonic() - began < 60
    lost = answers.pop(f"hang:{tmp_path / 'pid'}")
    assert isinstance(lost, Lost) and "2 s" in lost.reason and answers == {"a": "a", "b": "b"}
    assert not running(int((tmp_path / "pid").read_text()))


def test_a_job_may_take_long_but_not_stand_still():
    began = time.monotonic()
    answers = dict(spawned(make, deque(["steady:6", "stuck", "a"]), 2, 3.0))
    lost = answers.pop("stuck")
    assert isinstance(lost, Lost) and "nothing of it done for 3 s" in lost.reason
    assert answers == {"steady:6": "steady", "a": "a"} and time.monotonic() - began < 60


def test_work_outside_a_worker_tells_nobody():
    assert list(here(make, ["steady:1"])) == [("steady:1", "steady")]


@pytest.mark.parametrize(
    ("tag", "job", "error", "says"),
    [
        ("fail", "a", ValueError, "no core here"),
        ("die", "a", NoWorker, "no worker could be started: its process died .exit 7"),
        ("", "full", OSError, "No space left"),
    ],
)
def test_what_stops_every_job_stops_the_run(tag, job, error, says, monkeypatch):
    monkeypatch.setattr(workers, "PAUSES_S", (0.0, 0.0))
    with pytest.raises(error, match=says):
        list(spawned(partial(make, tag), deque(["b", job, "c"]), 2, 60))


def test_leaving_early_leaves_no_process(tmp_path):
    answers = spawned(make, deque(["a", f"hang:{tmp_path / 'pid'}", "b"]), 1, 60)
    assert next(answers) == ("a", "a")
    answers.close()
    time.sleep(0.2)
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    assert not [pid for pid in children if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]


CUDA_FULL = RuntimeError("CUDA out of memory")
JOBS = ["a", "crash", "b", "c", "d", "e"]


@pytest.mark.parametrize("error", [None, CUDA_FULL, ValueError("a core that is being replaced")])
def test_a_worker_that_cannot_start_again_is_tried_once_more(error, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "PAUSES_S", (0.1, 0.1))
    answers = dict(spawned(partial(starting, {1, 2}, error, tmp_path), deque(JOBS), 1, 60))
    assert set(answers) == set(JOBS) and answers["crash"].died and answers["e"] == "e"
    assert (
        len(list(tmp_path.glob("start*"))) == 4
    )  # the first, two that fail and one more; crash comes last the second time


@pytest.mark.parametrize("error", [None, CUDA_FULL, OSError(12, "Cannot allocate memory")])
def test_workers_that_live_go_on_without_those_that_cannot_start(error, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "PAUSES_S", (0.0,))
    jobs = [f"slow{i}" for i in range(40)]
    answers = dict(spawned(partial(starting, {0, *range(2, 50)}, error, tmp_path), deque(jobs), 3, 60))
    assert answers == {job: job for job in jobs}


def test_when_no_worker_lives_what_was_done_has_been_answered(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "PAUSES_S", (0.0, 0.0))
    answers, todo = [], deque(JOBS)
    with pytest.raises(NoWorker, match="CUDA out of memory"):
        answers.extend(spawned(partial(starting, set(range(1, 50)), CUDA_FULL, tmp_path), todo, 1, 60))
    assert list(todo) == ["b", "c", "d", "e", "crash"] and len(list(tmp_path.glob("start*"))) == 4


def test_a_process_that_the_system_refuses_is_a_worker_that_cannot_start(monkeypatch):
    def refuse(self):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(workers, "PAUSES_S", ())
    monkeypatch.setattr(multiprocessing.get_context("spawn").Process, "start", refuse)
    with pytest.raises(NoWorker, match="Resource temporarily unavailable"):
        list(spawned(make, deque(["a"]), 2, 60))
