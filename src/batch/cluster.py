"""The workers of ``workers.py`` on many machines: Ray actors, each with one process on its machine that can be killed.

Plain actors, not Ray Data: that has no time limit per item, gives an item that kills its worker to the next one without
end, and may wait for ever on a worker that is gone (issues 45661 and 62746 of ray-project/ray). The same engine on Ray Data
2.60 needed a counter of starts, rounds and switches for all that, was hardly shorter, and gave its first answers 11 s later.
So a clip has the same outcome here as on one machine, in the same words; Ray chooses the machine and notices when one is lost.
"""

import logging
import os
import pickle
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Generic

from src.batch.workers import A, Failure, J, Lost, NoWorker, attempt, once_more, spawned

STARTS = 3
"""So many workers in a row may be lost before they are ready; then their places stay empty."""


class _Host(Generic[J, A]):
    """The actor: hands one job after the other to its process, and stays small itself."""

    def __init__(self, sealed: bytes, limit_s: float, folder: str) -> None:
        os.chdir(folder)  # relative paths are the caller's
        vars(sys.modules["__main__"]).pop("__file__", None)  # Ray's own: spawned processes would run it again
        self.todo: deque[J] = deque()
        make: Callable[[], Callable[[J], A]] = partial(_opened, sealed)
        self.answers = spawned(make, self.todo, 1, limit_s)

    def ready(self) -> None:
        """Return once the actor has its place."""

    def judge(self, job: J) -> A | Lost | Failure:
        """The answer to a job, or why none can be done."""
        self.todo.append(job)
        return attempt(lambda: next(self.answers)[1])


def _opened(sealed: bytes) -> Any:
    """Unpack and call ``make`` in the actor's process: what it imports stays out of the actor."""
    return pickle.loads(sealed)()


class _Pool(Generic[J, A]):
    """Actors, and what each is at: a job, or None while it waits for its place."""

    def __init__(self, ray: Any, make: Callable[[], Callable[[J], A]], limit_s: float, gpu: bool) -> None:
        self.ray = ray
        self.busy: dict[Any, tuple[Any, J | None]] = {}
        self.begun = False
        actor = ray.remote(num_cpus=1, num_gpus=int(gpu))(_Host)
        self.make = partial(actor.remote, pickle.dumps(make), limit_s, os.getcwd())

    def hire(self) -> None:
        """One more actor, as soon as the cluster has room."""
        actor = self.make()
        self.busy[actor.ready.remote()] = actor, None

    def give(self, actor: Any, job: J) -> None:
        """The actor's next job."""
        self.busy[actor.judge.remote(job)] = actor, job

    def next(self) -> tuple[Any, J | None, A | Lost | Failure]:
        """The next actor that is free, its job and the answer.

        No actor when it is gone: ``Lost`` with the job that it was at, ``Failure`` where it could not begin. A ``ValueError``
        before anyone has begun is wrong usage and keeps its actor.
        """
        ref = self.ray.wait(list(self.busy))[0][0]
        actor, job = self.busy.pop(ref)
        try:
            answer = self.ray.get(ref)
        except self.ray.exceptions.RayError as error:
            self.ray.kill(actor)
            last = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[-1]}"
            lost = Lost(f"its worker was lost twice ({last})", died=True)
            return None, job, lost if job is not None else Failure(RuntimeError(last))
        if isinstance(answer, Failure) and isinstance(answer.error, (NoWorker, ValueError) if self.begun else NoWorker):
            self.ray.kill(actor)
            return None, job, answer
        self.begun = self.begun or job is not None
        return actor, job, answer

    def working(self) -> bool:
        """Whether any job is being done."""
        return any(job is not None for _, job in self.busy.values())

    def close(self) -> None:
        """End every actor, and with it its process."""
        for actor, _ in self.busy.values():
            self.ray.kill(actor)


def on_ray(
    make: Callable[[], Callable[[J], A]], jobs: Sequence[J], count: int, limit_s: float, gpu: bool = False
) -> Generator[tuple[J, A | Lost], None, None]:
    """As ``spawned``, on the cluster that ``RAY_ADDRESS`` names, else on one of this machine, made for this run.

    count: so many workers, a CPU core each, or fewer where there are fewer cores; ``gpu``: one per GPU of the cluster
    instead. A job whose worker or machine is lost is tried once more. ``NoWorker`` as in ``spawned``.
    """
    if not jobs:
        return
    todo, died, unstarted = deque(jobs), set[J](), 0
    with _cluster() as ray:
        pool: _Pool[J, A] = _Pool(ray, make, limit_s, gpu)
        try:
            for _ in range(min(_gpus(ray) if gpu else count, len(jobs))):
                pool.hire()
            while todo or pool.working():
                actor, job, answer = pool.next()
                if isinstance(answer, Failure):
                    if actor is not None:
                        raise answer.error
                    unstarted += 1
                    todo.extendleft([job] if job is not None else [])
                    if todo and unstarted < STARTS:
                        pool.hire()
                    elif todo and not pool.busy:
                        raise NoWorker(f"no worker could be started on the Ray cluster: {answer.error}")
                    continue
                unstarted = 0
                again = actor is None and job is not None and once_more(job, todo, died)
                if todo:
                    pool.hire() if actor is None else pool.give(actor, todo.popleft())
                elif actor is not None:
                    ray.kill(actor)
                if job is not None and not again:
                    yield job, answer
        finally:
            pool.close()


@contextmanager
def _cluster() -> Iterator[Any]:
    """Ray, connected and quiet; what it could not do is a ``RuntimeError``."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    ours = not ray.is_initialized()
    if ours:  # left alone, Ray would join the private cluster of another run here, and end with it
        where = os.environ.get("RAY_ADDRESS", "local")
        ray.init(where, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield ray
    except ray.exceptions.RayError as error:
        raise RuntimeError(f"Ray: {error}") from error
    finally:
        if ours:
            ray.shutdown()


def _gpus(ray: Any) -> int:
    """GPUs of the cluster."""
    count = int(ray.cluster_resources().get("GPU", 0))
    if not count:
        raise RuntimeError("the Ray cluster has no GPU; use --device cpu")
    return count
