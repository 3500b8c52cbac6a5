"""Processes that can be killed: one clip that crashes or hangs its decoder costs that clip and nothing else.

A job whose process dies is tried once more, at the end: something else may have taken all memory. One that hangs is not: it
hangs when its work has not called ``going`` for too long.
A worker that cannot start is tried again after a pause, while the others go on; the run ends when none is left.
Workers are spawned, never forked: decord and CUDA hang in a forked process. Each leads a process group, so that what it
started itself dies with it, and watches its parent, so that no worker outlives a killed run.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Generic, TypeVar

J = TypeVar("J")
A = TypeVar("A")
P = TypeVar("P")


READY = "ready"
PAUSES_S = (1.0, 5.0, 25.0)
"""Waits before each new try of a worker that could not start; after the last its place stays empty."""


class NoWorker(RuntimeError):
    """Not one worker is left and none can be started; jobs that were not answered are not done."""


@dataclass(frozen=True)
class Lost:
    """A job whose process had to be killed, or died (``died``); ``reason`` is one clause."""

    reason: str
    died: bool = False


@dataclass(frozen=True)
class Going:
    """A worker's word that it got on with its job."""


@dataclass(frozen=True)
class Failure:
    """What a worker cannot go on with: a missing core, a full disk."""

    error: Exception


def here(make: Callable[[], Callable[[J], A]], jobs: Sequence[J]) -> Generator[tuple[J, A], None, None]:
    """Do the jobs in this process: nothing can be killed, everything can be debugged."""
    work = make()
    for job in jobs:
        yield job, work(job)


def spawned(
    make: Callable[[], Callable[[J], A]], todo: deque[J], count: int, limit_s: float
) -> Generator[tuple[J, A | Lost], None, None]:
    """Do the jobs in ``count`` processes; yield each with its answer as it ends, in no order.

    make: importable or a ``partial`` of it; runs once in each process. todo: hashable jobs, taken from it as processes come
    free; the caller may add more between answers. A job of which nothing is done for ``limit_s`` (see ``going``) or that kills
    its process twice is ``Lost``, and its process replaced. An exception of the work itself is raised here, so is a
    ``ValueError`` of ``make`` while no worker was ready yet (wrong usage); ``NoWorker`` when there are jobs but no worker can
    be started for them.
    """
    died, begun = set[J](), False
    problem: Exception | None = None
    crew: list[_Worker[J, A]] = [_Worker(make) for _ in range(min(count, len(todo)))]
    try:
        while crew:
            for worker in crew:
                worker.feed(todo, limit_s)
            crew = [worker for worker in crew if not worker.retired]
            left_s = min((worker.left_s() for worker in crew), default=0.0)
            wait([worker.pipe for worker in crew], None if left_s == float("inf") else left_s)
            for i, worker in enumerate(crew):
                done = worker.answer(limit_s)
                begun = begun or worker.ready
                if worker.unstarted is not None:
                    problem, crew[i] = worker.unstarted, worker.again(make)
                    if isinstance(problem, ValueError) and not begun:
                        raise problem
                if done is None:
                    continue
                job, answer = done
                if not (isinstance(answer, Lost) and answer.died and once_more(job, todo, died)):
                    yield job, answer
                crew[i] = _Worker(make) if isinstance(answer, Lost) and todo else worker
        if todo:
            raise NoWorker(f"no worker could be started: {problem}")
    finally:
        for worker in crew:
            worker.kill()


def once_more(job: J, todo: deque[J], died: set[J]) -> bool:
    """Put a job back whose process died for the first time; False when it is the second."""
    if job in died:
        return False
    died.add(job)
    todo.append(job)
    return True


class _Worker(Generic[J, A]):
    """One process: starting, idle, or busy with a job until ``deadline``; retired once it is killed.

    tries: how many processes could not start in its place before; ``unstarted`` says why this one could not.
    """

    def __init__(self, make: Callable[[], Callable[[J], A]], tries: int = 0) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        pause_s = PAUSES_S[tries - 1] if tries else 0.0
        self.process = context.Process(target=_serve, args=(make, theirs, pause_s), daemon=True)
        self.job: J | None = None
        self.deadline, self.ready, self.retired = float("inf"), False, False
        self.tries = tries
        self.unstarted: Exception | None = None
        try:
            self.process.start()
        except OSError as error:  # no memory or no process left
            self.unstarted = error
        theirs.close()

    def feed(self, todo: deque[J], limit_s: float) -> None:
        """Give an idle process its next job; one for which there is none retires, even before it is ready."""
        if self.job is not None or self.retired:
            return
        if not todo:
            self.kill()
        elif self.ready:
            self.job, self.deadline = todo.popleft(), time.monotonic() + limit_s
            with contextlib.suppress(OSError):  # it died this moment: answer() says so
                self.pipe.send(self.job)

    def left_s(self) -> float:
        """Seconds until the deadline."""
        return max(0.0, self.deadline - time.monotonic())

    def answer(self, limit_s: float) -> tuple[J, A | Lost] | None:
        """The job that ended, with its answer or its loss; None while there is none."""
        try:
            message = self.pipe.recv() if self.pipe.poll() else None
        except (EOFError, OSError):
            return self.died()
        if isinstance(message, Failure) and self.ready:
            raise message.error
        if isinstance(message, Failure):
            self.unstarted = message.error
        elif message is not None and not self.ready:
            self.ready, self.tries = True, 0
        elif isinstance(message, Going):
            self.deadline = time.monotonic() + limit_s
        elif message is not None and self.job is not None:
            job, self.job, self.deadline = self.job, None, float("inf")
            return job, message
        elif time.monotonic() >= self.deadline:
            return self.lost(f"nothing of it done for {limit_s:g} s, killed; --time-limit sets this limit")
        return None

    def died(self) -> tuple[J, Lost] | None:
        """The job whose process died; one without a job could not start."""
        if self.job is None:
            self.unstarted = self.unstarted or RuntimeError(f"its process died ({self.death()})")
            return None
        return self.lost(f"its process died twice ({self.death()})", died=True)

    def again(self, make: Callable[[], Callable[[J], A]]) -> "_Worker[J, A]":
        """Who comes in place of a worker that could not start: a new one after a pause, or after the last try nobody."""
        self.kill()
        return _Worker(make, self.tries + 1) if self.tries < len(PAUSES_S) else self

    def lost(self, reason: str, died: bool = False) -> tuple[J, Lost]:
        """The job that is lost; the process is gone."""
        self.kill()
        assert self.job is not None
        job, self.job = self.job, None
        return job, Lost(reason, died)

    def death(self) -> str:
        """How the process ended."""
        self.process.join(5)
        code = self.process.exitcode
        if code is None or code >= 0:
            return f"exit {code}"
        name = signal.Signals(-code).name
        return f"{name}, out of memory most likely" if name == "SIGKILL" else name

    def kill(self) -> None:
        """End the process and whatever it started, once."""
        if self.retired:
            return
        self.retired = True
        if self.process.pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.kill()
            self.process.join()
        self.pipe.close()


_parent: Connection | None = None  # where a worker tells how it gets on


def going() -> None:
    """Tell that a piece of the job at hand is done, from when its time limit counts anew; nothing outside a worker."""
    if _parent is not None:
        with contextlib.suppress(OSError):  # the parent is gone, and this process will be
            _parent.send(Going())


def aloud(pieces: Iterable[P]) -> Iterator[P]:
    """The same pieces of a job; each is told to be ``going``."""
    for piece in pieces:
        going()
        yield piece


def _serve(make: Callable[[], Callable[[J], A]], pipe: Connection, pause_s: float) -> None:
    """The worker's side: ready after a pause, then an answer per job, until the parent is gone or the work itself fails."""
    global _parent
    _parent = pipe
    os.setpgrp()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    time.sleep(pause_s)
    work = attempt(make)
    with contextlib.suppress(EOFError, OSError):
        pipe.send(work if isinstance(work, Failure) else READY)
        while not isinstance(work, Failure):
            pipe.send(attempt(work, pipe.recv()))


def attempt(call: Callable[..., A], *arguments: object) -> A | Failure:
    """What ``call`` returns or why it failed; what may not survive the pipe goes by its name."""
    try:
        return call(*arguments)
    except (OSError, ValueError, NoWorker) as error:
        return Failure(error)
    except Exception as error:
        return Failure(RuntimeError(f"{type(error).__name__}: {error}"))


def _end_with_parent() -> None:
    """Wait for the parent's end, however it comes, then end this process and its children."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os.killpg(0, signal.SIGKILL)
