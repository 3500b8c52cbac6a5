"""Progress on stderr: how many, how fast, how long still, and every failure as it comes."""

import time
from collections.abc import Iterable, Sequence
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn, track

from src.batch.inputs import Job
from src.batch.tables import Row


def looked_up(jobs: Sequence[Job], quiet: bool) -> Iterable[Job]:
    """The same clips one by one, for what is done with each before the first is judged; the bar goes with the last."""
    console = Console(stderr=True, highlight=False)
    return track(jobs, "known already?", console=console, transient=True, disable=quiet)


class Bar:
    """A bar over ``total`` clips; nothing at all when ``quiet``."""

    def __init__(self, total: int, quiet: bool) -> None:
        columns = ("clips", BarColumn(), MofNCompleteColumn(), "{task.fields[note]}", TimeRemainingColumn(compact=True))
        self.progress = Progress(*columns, console=Console(stderr=True, highlight=False), disable=quiet)
        self.task = self.progress.add_task("clips", total=total, note="")
        self.began, self.done, self.failed = time.monotonic(), 0, 0

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def step(self, row: Row, failed: bool) -> None:
        """One clip is done, or has failed."""
        self.done += 1
        if failed:
            self.failed += 1
            self.progress.console.print(f"{row['clip']}: {row['reason']}", markup=False, soft_wrap=True)
        rate = 60 * self.done / (time.monotonic() - self.began)
        self.progress.update(self.task, advance=1, note=f"{rate:.1f}/min, {self.failed} failed")
