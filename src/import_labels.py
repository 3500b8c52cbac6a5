"""Label your own clips: ``python -m src.import_labels export.json --clips data/clips/mine --subjects subjects.csv``.

Turns exports of Label Studio (JSON), of CVAT (XML) and tables (CSV with columns of labels.csv, times in seconds) into the
``labels.csv`` of a folder of clips. Everything is checked first; then the file is there as a whole, or not at all, and a
datasheet with pictures beside it.

The labels are ``rep``, the four faults, ``uncertain:<fault>`` and ``clean``:

- ``rep`` spans one rep. A clip without any gets one row for the whole clip.
- A fault is 1 for a rep if a range of it covers more than half of the rep, if a mark of a single frame lies in the rep,
  or if it is set on the rep itself (an attribute in CVAT, a choice per region in Label Studio) or on the whole clip.
- ``uncertain:<fault>`` reaches a rep in the same way, beats 1, and leaves the cell empty: masked from loss and metrics.
- A fault is 0 for the other reps if it was asked for: if it is in ``--faults`` and, in CVAT, among the task's labels or
  their attributes. Else the cell is empty.
- ``clean`` says of a clip or rep that somebody looked and saw nothing; beside a fault it is an error.

A range runs from the moment of its first frame to that of its last one; moments come from the video file itself, except
that Label Studio counts ticks of the ``framerate`` its Video tag was given, which must be the clip's (or ``--tag-hz``).
A mark that reaches no rep, a frame past the clip's end and a label of another name are errors: nothing is lost silently.
"""

import argparse
import csv
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from src.config import ConfigError, fail
from src.motion.annotation import Annotation, cvat, label_rows, label_studio, without
from src.motion.faults import FAULT_KEYS
from src.motion.labels import (
    COLUMNS,
    OPTIONAL,
    Label,
    LabelError,
    Row,
    read_label,
    read_labels,
    read_table,
    refuse_overlaps,
    refuse_two_splits,
)
from src.video import datasheet
from src.video.probe import Clip, ClipError, frame_times, probe

ALL_COLUMNS = (*COLUMNS, *OPTIONAL)
SUBJECT_COLUMNS = ("clip", "subject", "view", "side", "split")
READERS = {".json": label_studio, ".xml": cvat}
UPLOAD = 8  # hexadecimal digits and a dash that Label Studio puts before the name of an uploaded file


def read_subjects(path: Path | None) -> dict[str, Row]:
    """Subject, view, side and split of each clip, which stands there once."""
    found: dict[str, Row] = {}
    for where, row in read_table(path, ("clip", "subject"), SUBJECT_COLUMNS) if path else []:
        if found.setdefault(row["clip"], row) is not row:
            raise LabelError(f"{where}: {row['clip']} a second time")
    return found


def clip_in(folder: Path, name: str, where: str) -> str:
    """The name under which a clip lies in ``folder``: its own, or without what Label Studio put before it."""
    for candidate in (name, name[UPLOAD + 1 :] if name[UPLOAD : UPLOAD + 1] == "-" else ""):
        if candidate and (folder / candidate).is_file():
            return candidate
    raise LabelError(f"{where}: unknown clip {name!r}; there is no such file in {folder}")


def moments(clip: Clip, even: bool, tag_hz: float | None) -> NDArray[np.float64]:
    """(T,) seconds of the frames an annotation may name: those of the file, or even ticks up to the clip's end."""
    if not even:
        return frame_times(clip.path)
    rate_hz = tag_hz or clip.fps_hz
    return np.arange(round(clip.duration_s * rate_hz) + 1) / rate_hz


def annotations(args: argparse.Namespace) -> Iterator[tuple[Path, Annotation]]:
    """(export, annotation) of the wanted rater, clips by the name they have in the folder; two of one clip are an error."""
    seen: dict[str, str] = {}
    for path in args.exports:
        read = READERS.get(path.suffix.lower())
        for given in read(path) if read else ():
            if args.rater not in (None, given.rater):
                continue
            clip = clip_in(args.clips, given.clip, str(path))
            if clip in seen:
                raise LabelError(f"{path}: {clip} is annotated twice (by {seen[clip]}, {given.rater}); use --rater")
            seen[clip] = given.rater
            yield path, without(replace(given, clip=clip), args.ignore)


def found_rows(args: argparse.Namespace) -> Iterator[tuple[str, Row]]:
    """(where from, row) of all exports, the rows as incomplete as these are."""
    for path, given in annotations(args):
        clip = probe(args.clips / given.clip)
        try:
            for row in label_rows(given, moments(clip, given.even, args.tag_hz), args.faults):
                yield f"{path}: {given.clip}", row
        except LabelError as error:
            raise LabelError(f"{path}: {error}") from error
    for path in (p for p in args.exports if p.suffix.lower() == ".csv"):
        for where, row in read_table(path, ("clip",), ALL_COLUMNS):
            if args.rater in (None, row.get("rater")):
                yield where, row | {"clip": clip_in(args.clips, row["clip"], where)}


def with_subject(row: Row, about: Row, where: str) -> Row:
    """The row with every column; what the subjects' table says must not contradict it."""
    full = dict.fromkeys(ALL_COLUMNS, "") | row
    for column in SUBJECT_COLUMNS[1:]:
        said = about.get(column, "")
        if said and full[column] not in ("", said):
            raise LabelError(f"{where}: {column} {full[column]!r}, but {said!r} in the table of subjects")
        full[column] = full[column] or said
    return full


def checked_rows(args: argparse.Namespace) -> list[Row]:
    """Every row, whole and checked; ``LabelError`` names the first fault with its file and clip."""
    about = read_subjects(args.subjects)
    full = [(where, with_subject(row, about.get(row["clip"], {}), where)) for where, row in found_rows(args)]
    if nameless := sorted({row["clip"] for _, row in full if not row["subject"].strip()}):
        raise LabelError(f"no subject for {', '.join(nameless)}; name the person of each clip with --subjects")
    files = " and ".join(map(str, [*args.exports, *filter(None, [args.subjects])]))
    if not full:
        raise LabelError(f"{files}: no annotated clip" + (" by that rater" if args.rater else ""))
    labels = [(where, read_label(row, where)) for where, row in full]
    for clip in {label.clip: None for _, label in labels}:
        refuse_bad_times([(where, label) for where, label in labels if label.clip == clip], args.clips / clip)
    refuse_two_splits(((label.subject, label.split) for _, label in labels), files)
    order = sorted(range(len(full)), key=lambda i: (labels[i][1].clip, labels[i][1].start_s or 0.0))
    return [full[i][1] for i in order]


def refuse_bad_times(labels: list[tuple[str, Label]], path: Path) -> None:
    """Rows of one clip must not overlap nor go on after its end."""
    refuse_overlaps((label for _, label in labels), Path(labels[0][0]))
    clip = probe(path)
    for where, label in labels:
        if label.end_s is not None and label.end_s > clip.duration_s + 1 / clip.fps_hz:
            raise LabelError(f"{where}: {label.end_s} s is past the end of the clip ({clip.duration_s:.2f} s)")


def write(rows: list[Row], target: Path) -> None:
    """``labels.csv`` in one step, after reading it back as training will and describing the clips in a datasheet."""
    columns = [*COLUMNS, *(column for column in OPTIONAL if any(row[column] for row in rows))]
    part = target.with_name(f".{target.name}.part")
    try:
        with part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        read_labels(part)
        datasheet.write(target.parent, part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def refuse_usage(args: argparse.Namespace) -> None:
    """``ConfigError`` for arguments that cannot be meant."""
    if odd := [str(path) for path in args.exports if path.suffix.lower() not in (*READERS, ".csv")]:
        raise ConfigError(f"{', '.join(odd)}: an export is a .json (Label Studio), .xml (CVAT) or .csv file")
    if odd := [key for key in args.faults if key not in FAULT_KEYS]:
        raise ConfigError(f"--faults {','.join(odd)}: the faults are {', '.join(FAULT_KEYS)}")
    if args.tag_hz is not None and not 0 < args.tag_hz < float("inf"):
        raise ConfigError(f"--tag-hz {args.tag_hz}: frames per second must be a positive number")
    if not args.clips.is_dir():
        raise ConfigError(f"--clips {args.clips}: no such folder; put the clips there first")
    if (args.clips / "labels.csv").exists() and not args.force:
        raise ConfigError(f"{args.clips / 'labels.csv'} is there already; --force replaces it")


def run(args: argparse.Namespace) -> str:
    """Import and write; returns what was done, and which files of the labelled kinds were left without labels."""
    refuse_usage(args)
    rows = checked_rows(args)
    write(rows, args.clips / "labels.csv")
    clips, people = ({row[column] for row in rows} for column in ("clip", "subject"))
    present = ", ".join(f"{key} {sum(row[key].strip() == '1' for row in rows)}" for key in FAULT_KEYS)
    done = (
        f"{args.clips / 'labels.csv'}: {len(rows)} rows, {len(clips)} clips, {len(people)} people; present: {present}"
    )
    kinds = {Path(clip).suffix for clip in clips}
    files = (path.relative_to(args.clips).as_posix() for path in args.clips.rglob("*") if path.suffix in kinds)
    bare = sorted(set(files) - clips)
    return done + (f"\nwithout labels: {', '.join(bare)}" if bare else "")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m src.import_labels",
        description="Turn annotations of your own clips into their labels.csv.",
        epilog=f"Labels: rep, {', '.join(FAULT_KEYS)}, uncertain:<fault>, clean. docs/data.md says what they mean.",
    )
    p.add_argument("exports", nargs="+", type=Path, metavar="EXPORT", help="Label Studio .json, CVAT .xml, or .csv")
    p.add_argument("--clips", type=Path, required=True, help="folder of the clips, such as data/clips/mine")
    p.add_argument("--subjects", type=Path, help="CSV with clip, subject and, if you like, view, side, split")
    p.add_argument("--faults", type=lambda text: [key.strip() for key in text.split(",")], default=FAULT_KEYS,
                   metavar="FAULT,FAULT", help="faults looked for; the others stay uncertain (default: all)")  # fmt: skip
    p.add_argument("--rater", help="take only the annotations of this person (name, mail address or number)")
    p.add_argument("--ignore", action="append", default=[], metavar="LABEL", help="a label to leave out; repeatable")
    p.add_argument("--tag-hz", type=float, metavar="HZ",
                   help="framerate of Label Studio's Video tag where it is not that of the clips")  # fmt: skip
    p.add_argument("--force", action="store_true", help="replace a labels.csv that is there")
    return p


def main() -> None:
    """Exit status: 0 written, 2 wrong usage, 1 bad data."""
    args = parser().parse_args()
    try:
        print(run(args))
    except ConfigError as error:
        sys.exit(fail(error, 2))
    except (OSError, ValueError, ClipError) as error:
        sys.exit(fail(error, 1))


if __name__ == "__main__":
    main()
