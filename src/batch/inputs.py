"""Which clips: files, folders, patterns, CSV manifests and lists on stdin become named jobs, each clip once."""

import codecs
import contextlib
import csv
import glob
import hashlib
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

VIDEO_SUFFIXES = set(
    ".mp4 .mov .m4v .avi .mkv .webm .mpg .mpeg .mts .m2ts .3gp .wmv .flv .ts .ogv .mxf .vob .asf .divx .f4v".split()
)
MANIFEST_COLUMNS = ("clip", "path")


class InputError(ValueError):
    """Inputs that name no clip; the message says which and what to do."""


@dataclass(frozen=True)
class Job:
    """One clip: where it lies, and its name in every table, the shortest end of its path that no other clip has."""

    path: Path
    name: str


def find_jobs(inputs: Sequence[str], out: Path) -> list[Job]:
    """All clips of the inputs in their order, each once; nothing below ``out`` is searched, results are no inputs."""
    paths = list(dict.fromkeys(path for entry in inputs for path in clips_of(entry, out)))
    if not paths:
        known = " ".join(sorted(VIDEO_SUFFIXES))
        names = ", ".join("the list on stdin" if entry == "-" else entry for entry in inputs)
        raise InputError(f"{names}: no video found; known suffixes are {known}")
    return [Job(path, name) for path, name in zip(paths, clip_names(paths), strict=True)]


def clips_of(entry: str, out: Path) -> Iterator[Path]:
    """Clips of one input: ``-`` is a list on stdin; what exists is taken as it is called, else as a pattern."""
    path = Path(entry)
    if not entry.strip():
        raise InputError("an input is an empty name; is a variable of the shell not set?")
    if entry == "-":
        yield from (
            found
            for line in listed(sys.stdin.buffer.read())
            for found in clips_of(f"./{line}" if line == "-" else line, out)
        )
    elif os.path.isdir(path):  # which, unlike Path's, answers for names too long for any file
        yield from videos_below(path, out)
    elif path.suffix.lower() == ".csv":
        yield from manifest(path)
    elif not os.path.exists(path) and "://" in entry:
        raise InputError(f"{entry}: an address is no input; download the video first")
    elif not os.path.exists(path) and glob.has_magic(entry):
        found = sorted(glob.glob(entry, recursive=True))
        if not found:
            raise InputError(f"{entry}: nothing matches this pattern")
        yield from (clip for match in found for clip in clips_of(match, out))
    else:
        yield path


def listed(raw: bytes) -> list[str]:
    """Names from stdin, one per line, or NUL between them as ``find -print0`` writes; file names may be no UTF-8."""
    raw = raw.removeprefix(codecs.BOM_UTF8)
    names = raw.split(b"\0") if b"\0" in raw else raw.splitlines()
    return [name.decode("utf-8", "surrogateescape") for name in names if name.strip()]


def videos_below(folder: Path, out: Path) -> list[Path]:
    """Videos in a folder and its folders, sorted; hidden files (a Mac's ``._clip.mp4``) and results left out.

    A link that leads nowhere stays in: the row says so. What is no file (a pipe, a folder called ``a.mp4``) is left out.
    """
    results = os.path.realpath(out)  # of links in a circle Path.resolve makes an error
    found = (path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES and path.name[0] != ".")
    films = (path for path in found if os.path.isfile(path) or not os.path.exists(path))
    return sorted(path for path in films if not Path(os.path.realpath(path)).is_relative_to(results))


def manifest(path: Path) -> list[Path]:
    """Clips that a CSV names in a column ``clip`` or ``path``, relative to the CSV; a ``labels.csv`` is one."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            column = next((name for name in MANIFEST_COLUMNS if name in (rows.fieldnames or [])), None)
            if column is None:
                raise InputError(f"{path}: no column {' or '.join(MANIFEST_COLUMNS)}; add a header line")
            names = [(row[column] or "").strip() for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a CSV ({error})") from error
    return [path.parent / name for name in names if name]


def clip_names(paths: Sequence[Path]) -> list[str]:
    """A name per path: the file's, with as many parent folders as it takes to tell equal names apart."""
    deepest = max((len(path.parts) for path in paths), default=0)
    names = [path.name for path in paths]
    for depth in range(2, deepest + 1):
        count = Counter(names)
        if len(count) == len(names):
            break
        names = ["/".join(p.parts[-depth:]) if count[n] > 1 else n for n, p in zip(names, paths, strict=True)]
    rootless = [name.lstrip("/") for name in names]
    names = rootless if len(set(rootless)) == len(paths) else names
    return [name.encode("utf-8", "backslashreplace").decode() for name in names]


def file_name(clip: str) -> str:
    """A clip's name as one path component of at most 200 bytes; two clips never share it."""
    flat = clip.replace("_", "__").replace("/", "_-") if "/" in clip or "_-" in clip else clip
    if len(flat.encode()) <= 200:
        return flat
    return f"{flat.encode()[:150].decode(errors='ignore')}-{hashlib.sha256(flat.encode()).hexdigest()[:16]}"


@contextlib.contextmanager
def openable(path: Path) -> Iterator[Path]:
    """The path, or a link to it where its name is no UTF-8, which no decoder opens."""
    if str(path).encode("utf-8", "replace").decode() == str(path) or not path.exists():
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / f"clip{path.suffix if path.suffix.isascii() else ''}"
        link.symlink_to(path.absolute())
        yield link
