"""Annotations of people's own clips as Label Studio and CVAT export them, and the rows of labels.csv that they mean.

What the labels mean is said once, in ``src/import_labels.py``.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from src.motion.faults import FAULT_KEYS
from src.motion.labels import LabelError

Span = tuple[int, int]
"""First and last frame, counted from 0, both included."""

REP, CLEAN, UNCERTAIN = "rep", "clean", "uncertain:"
LABELS = (REP, CLEAN, *FAULT_KEYS, *(UNCERTAIN + key for key in FAULT_KEYS))
SET = {"true": "", "1": "", "present": "", "uncertain": UNCERTAIN}
UNSET = ("", "false", "0", "absent")


@dataclass(frozen=True)
class Mark:
    """A label on some frames of a clip, or, with None, on the whole clip."""

    label: str
    span: Span | None


@dataclass(frozen=True)
class Annotation:
    """What one person said about one clip.

    clip: file name as the tool knows it. asked: faults that were looked for; only these can be 0.
    even: frames are ticks of an even clock (Label Studio), not the frames of the file (CVAT).
    """

    clip: str
    rater: str
    source: str
    marks: tuple[Mark, ...]
    asked: frozenset[str]
    even: bool


def label_studio(path: Path) -> list[Annotation]:
    """Annotations of a Label Studio export of the kind JSON: ``TimelineLabels`` and ``Choices`` of one video per task.

    Frames count from 1 there. Skipped tasks and drafts are no annotations.
    """
    try:
        tasks = json.loads(path.read_text(encoding="utf-8-sig"))
        return [
            Annotation(
                _video(task["data"]), _person(given.get("completed_by")), "label_studio",
                tuple(_studio_marks(given["result"])), frozenset(FAULT_KEYS), True,
            )
            for task in tasks for given in task["annotations"] if not given.get("was_cancelled")
        ]  # fmt: skip
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise LabelError(f"{path}: cannot be read ({error})") from error
    except (KeyError, TypeError, AttributeError) as error:
        known = "no Label Studio export of the kind JSON (JSON-MIN and CSV lack what is needed)"
        raise LabelError(f"{path}: {known}: {type(error).__name__} {error}") from error
    except LabelError as error:
        raise LabelError(f"{path}: {error}") from error


def _video(data: dict[str, Any]) -> str:
    """File name of a task's video, from an upload, a local folder's ``?d=`` or a bucket's address."""
    texts = [value for value in data.values() if isinstance(value, str)]
    url = data.get("video", texts[0] if len(texts) == 1 else None)
    if not isinstance(url, str):
        raise LabelError(f"which of {', '.join(data) or 'no data'} is the video? Name it video in the task's data")
    parts = urlsplit(url)
    return PurePosixPath(parse_qs(parts.query).get("d", [unquote(parts.path)])[0]).name


def _person(by: Any) -> str:
    """Mail address or number of an annotator; empty when the export hides it."""
    return str(by.get("email") or by.get("id") or "") if isinstance(by, dict) else str(by or "")


def _studio_marks(results: list[dict[str, Any]]) -> Iterator[Mark]:
    """Marks of an annotation; what is neither a range nor a choice goes by the name of its type.

    A choice has the range of the region with its id; without such a region it is one on the whole clip.
    """
    ranges = {result["id"]: result["value"]["ranges"] for result in results if "ranges" in result["value"]}
    for result in results:
        value = result["value"]
        labels = value.get("timelinelabels", value.get("choices"))
        if (
            labels is None or "sequence" in value
        ):  # a box, which is sometimes listed once more as a region without frames
            yield Mark("videorectangle" if "sequence" in value else str(result.get("type")), None)
        elif "choices" not in value and "ranges" not in value:
            raise LabelError(f"{', '.join(labels)}: a timeline label without a range")
        else:
            spans = value.get("ranges", ranges.get(result["id"], [None]))
            yield from (Mark(label, _span(span)) for label in labels for span in spans)


def _span(span: dict[str, Any] | None) -> Span | None:
    """Frames counted from 0 of a range counted from 1."""
    return None if span is None else (_frame(span["start"]) - 1, _frame(span["end"]) - 1)


def _frame(value: Any) -> int:
    if not isinstance(value, int | float) or int(value) != value:
        raise LabelError(f"frame {value!r} is no whole number")
    return int(value)


def cvat(path: Path) -> list[Annotation]:
    """Annotations of an ``annotations.xml`` of CVAT, one per task: for video 1.1 (tracks) or for images 1.1 (tags).

    Frames count from 0 in the file, whatever part of it the task shows. Only faults among the task's labels and their
    attributes were asked for. Tags of neighbouring frames are one range.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise LabelError(f"{path}: cannot be read ({error})") from error
    tasks = [task for kind in ("task", "job", "project/tasks/task") for task in root.findall(f"meta/{kind}")]
    if root.tag != "annotations" or not tasks:
        raise LabelError(f"{path}: no annotations.xml of CVAT (formats: CVAT for video 1.1, CVAT for images 1.1)")
    try:
        return [_cvat_task(root, task) for task in tasks]
    except (TypeError, ValueError) as error:
        raise LabelError(f"{path}: a track or tag without a label or frame number ({error})") from error


def _cvat_task(root: Element, task: Element) -> Annotation:
    """One task: the video's name, who annotated, and its marks."""
    number = task.findtext("id")
    step = int((re.search(r"step=(\d+)", task.findtext("frame_filter") or "") or [0, 1])[1])
    start = int(task.findtext("start_frame") or 0)
    mine = [child for child in root if child.get("task_id", number) == number]
    tracks = [list(_track_labels(child, step)) for child in mine if child.tag == "track"]
    images = [(start + step * int(image.get("id", "")), image) for image in mine if image.tag == "image"]
    tracks.append([(frame, label) for frame, image in images for tag in image for label in _labels(tag, tag)])
    names = [*task.iterfind("labels//name"), *root.iterfind("meta/project/labels//name")]
    known = {(name.text or "").removeprefix(UNCERTAIN) for name in names}
    return Annotation(
        task.findtext("source") or root.findtext("meta/source") or task.findtext("name") or "",
        task.findtext("assignee/username") or task.findtext("owner/username") or "", "cvat",
        tuple(mark for track in tracks for mark in _runs(track, step)),
        frozenset(FAULT_KEYS) & known if names else frozenset(FAULT_KEYS), False,
    )  # fmt: skip


def _track_labels(track: Element, step: int) -> Iterator[tuple[int, str]]:
    """(frame, label) wherever a track is seen; between two listed shapes the first one holds."""
    shapes = sorted((s for s in track if s.get("frame")), key=lambda s: int(s.get("frame", "")))
    for shape, after in zip_longest(shapes, shapes[1:]):
        first = int(shape.get("frame", ""))
        end = first + 1 if after is None else int(after.get("frame", ""))
        if shape.get("outside") != "1":
            labels = list(_labels(track, shape))
            yield from ((frame, label) for frame in range(first, end, step) for label in labels)


def _labels(named: Element, shape: Element) -> Iterator[str]:
    """The label of a track or tag and those of its attributes; an attribute of another name stands as it is."""
    yield named.attrib["label"] if "label" in named.attrib else ""
    for attribute in shape.iterfind("attribute"):
        name, value = attribute.get("name", ""), (attribute.text or "").strip().lower()
        if name not in FAULT_KEYS or value in SET:
            yield SET.get(value, "") + name if name in FAULT_KEYS else name
        elif value not in UNSET:
            raise LabelError(f"attribute {name} is {value!r}; it is one of {', '.join(filter(None, [*SET, *UNSET]))}")


def _runs(labelled: Iterable[tuple[int, str]], step: int) -> Iterator[Mark]:
    """Neighbouring frames of one label as one mark."""
    frames: dict[str, list[int]] = {}
    for frame, label in labelled:
        frames.setdefault(label, []).append(frame)
    for label, seen in frames.items():
        unique = np.unique(seen)
        for run in np.split(unique, np.flatnonzero(np.diff(unique) > step) + 1):
            yield Mark(label, (int(run[0]), int(run[-1])))


def covers(span: Span | None, rep: Span | None) -> bool:
    """Whether a mark speaks of a rep: on the whole clip, a single frame inside it, or over more than half of it."""
    if span is None or rep is None:
        return span is None
    if span[0] == span[1]:
        return rep[0] <= span[0] <= rep[1]
    return 2 * (min(span[1], rep[1]) - max(span[0], rep[0])) > rep[1] - rep[0]


def without(annotation: Annotation, labels: Iterable[str]) -> Annotation:
    """The annotation less these labels."""
    gone = set(labels)
    return replace(annotation, marks=tuple(mark for mark in annotation.marks if mark.label not in gone))


def label_rows(annotation: Annotation, times_s: NDArray[np.float64], asked: Iterable[str]) -> list[dict[str, str]]:
    """Rows of labels.csv (clip, times, faults, rater, source) that an annotation means.

    times_s: (T,) moment of every frame that the annotation may name. ``LabelError`` says what makes no sense.
    """
    reps = sorted(mark.span for mark in annotation.marks if mark.label == REP and mark.span)
    marks = [mark for mark in annotation.marks if mark.label != REP]
    _refuse(annotation, reps, marks, len(times_s))
    rows = []
    for rep in (*reps,) or (None,):
        said = {mark.label for mark in marks if covers(mark.span, rep)}
        if CLEAN in said and len(said) > 1:
            raise LabelError(f"{annotation.clip}: clean and {', '.join(sorted(said - {CLEAN}))} at {_place(rep)}")
        times = {} if rep is None else {"start_s": f"{times_s[rep[0]]:.3f}", "end_s": f"{times_s[rep[1]]:.3f}"}
        faults = {key: _cell(key, said) for key in FAULT_KEYS if key in annotation.asked and key in asked}
        rows.append(
            {"clip": annotation.clip, **times, **faults, "rater": annotation.rater, "source": annotation.source}
        )
    return rows


def _cell(key: str, said: set[str]) -> str:
    return "" if UNCERTAIN + key in said else str(int(key in said))


def _place(span: Span | None) -> str:
    return "the whole clip" if span is None else f"frames {span[0]}-{span[1]} (counted from 0)"


def _refuse(annotation: Annotation, reps: list[Span], marks: list[Mark], frames: int) -> None:
    """What cannot be a label: other names, frames that are not there, marks that reach no rep, nothing at all."""
    for mark in annotation.marks:
        where = f"{annotation.clip}: {mark.label} at {_place(mark.span)}"
        if mark.label not in LABELS:
            raise LabelError(
                f"{where}: unknown label; known are {', '.join(LABELS)}; --ignore {mark.label} leaves it out"
            )
        if mark.span and not 0 <= mark.span[0] <= mark.span[1] < frames:
            raise LabelError(f"{where}: no range of frames 0-{frames - 1}")
        if mark.label == REP and mark.span is None:
            raise LabelError(f"{where}: a rep needs a range")
    for mark in marks:
        if mark.span and not any(covers(mark.span, rep) for rep in reps):
            more = (
                "covers no rep by more than half; draw it over the rep" if reps else "no rep is marked; mark the reps"
            )
            raise LabelError(f"{annotation.clip}: {mark.label} at {_place(mark.span)}: {more}")
    if not annotation.marks:
        raise LabelError(f"{annotation.clip}: annotated with nothing; mark its reps, or {CLEAN} on the whole clip")
