"""One page per clip and an index of all: film, lockouts, hip curve, faults with what they rest on. Needs no network."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from src import __version__
from src.batch.inputs import file_name
from src.batch.records import write_text
from src.batch.workers import going
from src.motion.faults import FAULTS
from src.motion.keypoints import Track
from src.motion.verdict import RepVerdict, Verdict
from src.pages.charts import evidence_area, hip_curve
from src.pages.words import KINDS, MEASURED_ON, findings, headline, muted, number, probability
from src.video.overlay import Still, annotate


@dataclass(frozen=True)
class Source:
    """Where a page's clip lies, at which rate it was sampled, and whether heads are hidden."""

    video: Path
    fps_hz: float
    anonymize: bool


def templates() -> Environment:
    """The package's templates, escaping everything; a name that is missing is an error."""
    found = Environment(loader=PackageLoader("src.pages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    found.filters |= {"quote": lambda text: quote(text, safe=""), "number": number, "clock": clock}
    found.filters["probability"] = probability
    return found


def clock(seconds: float) -> str:
    """Minutes and seconds with a tenth."""
    tenths = round(10 * seconds)
    return f"{tenths // 600}:{tenths % 600 / 10:04.1f}"


def page_folder(out: Path, clip: str) -> Path:
    """``report/<clip>/`` in the folder of the results."""
    return out / "report" / file_name(clip)


def remove_page(out: Path, clip: str) -> None:
    """Remove what an earlier run wrote of a clip, which may show a face; ``OSError`` where that cannot be done."""
    if (folder := page_folder(out, clip)).exists():
        shutil.rmtree(folder)


def write_page(out: Path, verdict: Verdict, track: Track, model: Mapping[str, Any], source: Source) -> None:
    """``index.html``, ``film.mp4`` and ``rep_<n>.jpg`` in a clip's folder, the page last; ``ClipError`` as ``annotate``.

    model: metadata of the core.
    """
    folder = page_folder(out, verdict.clip)
    links = {"index": "../index.html", "json": f"../../json/{quote(folder.name)}.json"}
    stills = [Still(top_row(rep, track), folder / f"rep_{rep.rep}.jpg", rep.measures) for rep in verdict.reps]
    annotate(source.video, track, source.fps_hz, folder / "film.mp4", stills, source.anonymize, going)
    page = templates().get_template("clip.html")
    facts = {"verdict": verdict, "track": track, "links": links, "model": model, "anonymized": source.anonymize}
    charts = {"curve": hip_curve(track), "rows": timeline(verdict, track, model), "reps": reps_of(verdict, track)}
    words = {"headline": headline(verdict), "findings": findings(verdict, model), "version": __version__}
    duration_s = len(track.keypoints) / track.fps_hz
    html = page.render(**facts, **charts, **words, measured_on=MEASURED_ON, duration_s=duration_s)
    write_text(folder / "index.html", html)


def write_index(out: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """``report/index.html``: every clip of a run, linked where it could be read and has a page."""
    read = [row["clip"] for row in rows if row["status"] != "unreadable"]
    folders = {clip: file_name(clip) for clip in read if (page_folder(out, clip) / "index.html").is_file()}
    html = templates().get_template("index.html").render(rows=rows, folders=folders, faults=FAULTS, version=__version__)
    write_text(out / "report" / "index.html", html)


def top_row(rep: RepVerdict, track: Track) -> int:
    """Row of the track at a rep's lockout."""
    return min(len(track.keypoints) - 1, round(rep.top_s * track.fps_hz))


def reps_of(verdict: Verdict, track: Track) -> list[dict[str, Any]]:
    """Every rep with where it lies on the time axis, in percent."""
    duration_s = len(track.keypoints) / track.fps_hz
    return [
        {"rep": rep, "left": 100 * rep.start_s / duration_s, "top": 100 * rep.top_s / duration_s,
         "width": 100 * (rep.end_s - rep.start_s) / duration_s}
        for rep in verdict.reps
    ]  # fmt: skip


def timeline(verdict: Verdict, track: Track, model: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row per fault that the core may judge: its evidence as areas over the time axis, and what each rep was judged."""
    frames, rows = len(track.keypoints), []
    for fault in FAULTS:
        if verdict.reps and fault.key in verdict.reps[0].evidence and not muted(model["thresholds"][fault.key]):
            areas = [
                {"path": evidence_area(rep, fault.key, frames, track.fps_hz),
                 "kind": KINDS[rep.decisions[fault.key]]}
                for rep in verdict.reps
            ]  # fmt: skip
            rows.append({"fault": fault, "areas": areas})
    return rows
