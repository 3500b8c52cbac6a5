"""What a run has found so far: a row per clip, tables that are written now and then, and the words at the end."""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from src.batch.inputs import Job
from src.batch.records import Record, is_failed, read_record
from src.batch.tables import Row, clip_row, write_tables

TABLES_SHARE = 0.05
"""Of a run's time at most so much goes into tables that the next clip makes old."""


class Results:
    """Outcomes of a run in the order of its jobs, whatever the order in which they come."""

    def __init__(self, out: Path, jobs: Sequence[Job], labels: Sequence[str]) -> None:
        self.out, self.labels = out, labels
        self.found: dict[str, Row | None] = dict.fromkeys(job.name for job in jobs)
        self.failed = 0  # clips that could not be read, or whose page or poses are missing
        self.began = time.monotonic()
        self.next_tables = self.began
        self.ended = ""  # what ended the run before its last clip

    @property
    def rows(self) -> list[Row]:
        """A row per clip that is done."""
        return [row for row in self.found.values() if row is not None]

    @property
    def left(self) -> int:
        """How many clips are not done."""
        return len(self.found) - len(self.rows)

    def add(self, record: Record) -> Row:
        """Note a clip; the tables follow at once while they cost little, and ever more rarely as they grow."""
        row = self.found[record["clip"]] = clip_row(record, self.labels)
        self.failed += is_failed(record)
        before = time.monotonic()
        if before >= self.next_tables:
            self.write()
            after = time.monotonic()
            self.next_tables = after + (after - before) / TABLES_SHARE
        return row

    def resumed(self, record: Record | None) -> bool:
        """Note a clip that an earlier run has judged; False when there is none."""
        if record is not None:
            self.found[record["clip"]] = clip_row(record, self.labels)
        return record is not None

    def write(self) -> None:
        """All tables as of now, from the clips' own JSON files: a resumed run and a whole one write the same."""
        done = (read_record(self.out, name) for name, row in self.found.items() if row is not None)
        write_tables(self.out, (record for record in done if record is not None), self.labels)

    def summary(self) -> str:
        """One line: how many clips in which time, how many of each status, where the tables are."""
        taken_s = time.monotonic() - self.began
        counts = Counter(str(row["status"]) for row in self.rows)
        kinds = ", ".join(f"{count} {status}" for status, count in counts.most_common())
        minutes, seconds = divmod(round(taken_s), 60)
        text = (
            f"{len(self.rows)} clip{'s' * (len(self.rows) != 1)} in {minutes}:{seconds:02d}: {kinds or 'nothing done'}"
        )
        return f"{text}{f'; {self.left} left, --resume goes on' if self.left else ''}; tables in {self.out}"
