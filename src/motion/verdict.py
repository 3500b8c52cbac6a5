"""From a track to a verdict: which reps, which faults, what was measured, and what could not be seen."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from src.motion.dataset import MARGIN_S, cut, padded
from src.motion.hips import hip_motion
from src.motion.keypoints import Track, middle
from src.motion.measure import Measures, measure_all, view_of
from src.motion.model import METADATA, ModelError, check_sum
from src.motion.reps import Rep, find_reps, rise_ratios

STATUSES = {
    "ok": "judged",
    "no_person": "nobody was found",
    "several_people": "several people could be the lifter; film one person, or crop the picture",
    "too_short": "too short to hold a rep",
    "no_reps": "a person, but no hip thrust: the hips never rise to a lockout and come down",
    "view_not_observable": "from this view too little of the faults can be seen; film from the side",
    "low_confidence": "hips or knees are hidden or jump about; what was measured is shown, no fault is claimed",
    "unreadable": "the file cannot be read as a video",
}
"""Every status a clip can get, and what it means."""
DOUBTFUL = ("no_person", "several_people", "too_short", "low_confidence", "unreadable")
"""Those that say that reps cannot be counted, or that nobody should rely on their number."""

FORMAT = 4
"""Version of an exported core's inputs and outputs; 2 added ``rise_ratio``, 3 moved the outline's points, 4 added the spine."""
MIN_CLIP_S = 1.0
MIN_FOUND = 0.3
"""Share of frames that must hold a person."""
MIN_CONFIDENCE = 0.3
"""Of the hip signal (``hip_motion``): a clip with plates over hips and knees measures 0.1, clear ones above 0.8."""
MIN_OBSERVABLE = 0.5


@dataclass(frozen=True)
class RepVerdict:
    """One rep. ``decisions``: 1 fault, 0 none, None not observable or abstained; ``evidence_s``: when it shows most.

    evidence: per fault how much each frame of the track from ``round(start_s * fps_hz)`` on shows it, 0..1.
    """

    rep: int
    start_s: float
    top_s: float
    end_s: float
    complete: bool
    probabilities: dict[str, float]
    decisions: dict[str, int | None]
    observability: dict[str, float]
    evidence_s: dict[str, float]
    measures: Measures
    evidence: dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class Verdict:
    """One clip: a status of ``STATUSES`` with its reason, and its reps. A clip's fault must show in two reps, if it has two."""

    clip: str
    status: str
    reason: str
    view: str = ""
    people: int = 0
    confidence: float = float("nan")
    reps: tuple[RepVerdict, ...] = ()
    probabilities: dict[str, float] | None = None
    decisions: dict[str, int | None] | None = None


class Scorer:
    """A loaded core: ``TorchScript`` module, labels, thresholds, skeleton, all from the one file."""

    def __init__(self, path: Path, device: torch.device) -> None:
        extra = {METADATA: ""}
        if not path.is_file():
            raise ModelError(f"{path}: no such core; run python -m src.export first")
        check_sum(path)
        try:
            self.core = torch.jit.load(str(path), map_location=device, _extra_files=extra)
            self.metadata: dict[str, Any] = json.loads(extra[METADATA])
            self.labels: list[str] = self.metadata["labels"]
            self.thresholds: dict[str, dict[str, float]] = self.metadata["thresholds"]
        except (RuntimeError, ValueError, KeyError) as error:
            raise ModelError(f"{path}: not a core of this project ({type(error).__name__})") from error
        if (reps := self.metadata.get("reps", "found")) != "found":
            raise ModelError(
                f"{path}: a core for {reps} reps of {self.metadata['skeleton']['name']}, not for hip thrusts"
            )
        if (found := self.metadata.get("format")) != FORMAT:
            raise ModelError(f"{path}: a core of format {found}, this version reads {FORMAT}; run python -m src.export")
        self.device = device

    def judge(self, track: Track, reps: Sequence[Rep]) -> list[RepVerdict]:
        """Verdict of every rep of a set, one batch; reps feel each other only through who rose how far."""
        cuts = [cut(track, rep) for rep in reps]
        frames = torch.tensor([len(keypoints) for keypoints in cuts])
        rates = torch.full((len(cuts),), track.fps_hz)
        ratios = torch.tensor(rise_ratios(list(reps)), dtype=torch.float32)
        optimized = self.device.type != "cuda"  # there it would compile kernels anew for every length of a rep
        with torch.no_grad(), torch.jit.optimized_execution(optimized):  # type: ignore[attr-defined]
            out = self.core(*(x.to(self.device) for x in (padded(cuts), rates, frames, ratios)))
        p, evidence, seen = (x.double().cpu().numpy() for x in out)  # (N, L), (N, T, L), (N, L)
        measures = measure_all(track, list(reps))
        return [self.verdict(i + 1, rep, track, p[i], evidence[i], seen[i], measures[i]) for i, rep in enumerate(reps)]

    def decide(self, label: str, p: float) -> int | None:
        """1 from the fault's ``present`` threshold on, 0 below its ``absent`` threshold, None between: too close to say."""
        band = self.thresholds[label]
        return 1 if p >= band["present"] else 0 if p < band["absent"] else None

    def verdict(
        self,
        number: int,
        rep: Rep,
        track: Track,
        p: NDArray[np.float64],
        evidence: NDArray[np.float64],
        seen: NDArray[np.float64],
        measures: Measures,
    ) -> RepVerdict:
        """One rep's numbers under their labels."""
        first = max(0, int(round((rep.start_s - MARGIN_S) * track.fps_hz)))  # of the cut, in frames of the clip
        inside = slice(max(0, round(rep.start_s * track.fps_hz) - first), round(rep.end_s * track.fps_hz) - first + 1)
        peak = first + inside.start + evidence[inside].argmax(axis=0)  # (L,)
        decisions = {
            label: self.decide(label, float(p[i])) if seen[i] >= MIN_OBSERVABLE else None
            for i, label in enumerate(self.labels)
        }
        return RepVerdict(
            number, rep.start_s, rep.top_s, rep.end_s, rep.complete,
            {label: float(p[i]) for i, label in enumerate(self.labels)},
            decisions,
            {label: float(seen[i]) for i, label in enumerate(self.labels)},
            {label: float(peak[i] / track.fps_hz) for i, label in enumerate(self.labels)},
            measures,
            {label: tuple(evidence[inside, i].tolist()) for i, label in enumerate(self.labels)},
        )  # fmt: skip


def clip_probability(values: Iterable[float]) -> float:
    """The second highest rep: a fault of the clip shows in two reps, or in the one there is."""
    return sorted(values)[-2:][0]


def judge_track(name: str, track: Track, scorer: Scorer) -> Verdict:
    """Verdict of one tracked clip; the status says the first thing that stands in the way."""
    found = float(np.isfinite(track.keypoints[..., 0]).any(axis=1).mean()) if len(track.keypoints) else 0.0
    if len(track.keypoints) < MIN_CLIP_S * track.fps_hz:
        return stopped(name, "too_short", f"{len(track.keypoints) / track.fps_hz:.2f} s", track.people)
    if track.people == 0 or found < MIN_FOUND:
        return stopped(name, "no_person", f"seen in {100 * found:.0f} % of frames", track.people)
    motion = hip_motion(track)
    reps = find_reps(track)
    if not reps:
        hidden = motion.coherence < MIN_CONFIDENCE
        status = "several_people" if track.people > 1 else "low_confidence" if hidden else "no_reps"
        return Verdict(name, status, STATUSES[status], people=track.people, confidence=motion.confidence)
    judged = tuple(scorer.judge(track, reps))
    view = view_of(float(np.median([r.measures.width for r in judged])))
    status, detail = "ok", ""
    if track.people > 1:
        status = "several_people"
    elif on_its_head(track):
        status, detail = "view_not_observable", " (the picture stands on its head)"
    elif motion.confidence < MIN_CONFIDENCE:
        status = "low_confidence"
    elif all(value < MIN_OBSERVABLE for r in judged for value in r.observability.values()):
        status = "view_not_observable"
    if status != "ok":
        judged = tuple(abstained(r) for r in judged)
    p = {label: clip_probability(observed(label, judged)) for label in scorer.labels}
    decisions = {
        label: clip_decision(label, judged, p[label], scorer) if status == "ok" else None for label in scorer.labels
    }
    reason = STATUSES[status] + detail
    return Verdict(name, status, reason, view, track.people, motion.confidence, judged, p, decisions)


def on_its_head(track: Track) -> bool:
    """Whether the ankles are above the knees in most frames: no hip thrust is like that, so the film was turned over."""
    knee, ankle = (middle(track.keypoints, part) for part in ("knee", "ankle"))
    below = (ankle - knee)[:, 1]
    below = below[np.isfinite(below)]
    return bool(len(below)) and float(np.median(below)) < 0


def observed(label: str, reps: Sequence[RepVerdict]) -> list[float]:
    """A label's probabilities in the reps that show it; in all of them where none does."""
    seen = [r.probabilities[label] for r in reps if r.observability[label] >= MIN_OBSERVABLE]
    return seen or [r.probabilities[label] for r in reps]


def clip_decision(label: str, reps: Sequence[RepVerdict], p: float, scorer: Scorer) -> int | None:
    """1, 0 or None by the clip's probability, where the clip shows the fault at all."""
    return scorer.decide(label, p) if shown(label, reps) else None


def shown(label: str, reps: Sequence[RepVerdict]) -> bool:
    """Whether a fault was observable in at least half of the reps."""
    return 2 * sum(rep.observability[label] >= MIN_OBSERVABLE for rep in reps) >= len(reps)


def abstained(rep: RepVerdict) -> RepVerdict:
    """The same rep with no fault claimed."""
    return RepVerdict(
        **{**{f.name: getattr(rep, f.name) for f in fields(rep)}, "decisions": dict.fromkeys(rep.decisions)}
    )


def stopped(name: str, status: str, detail: str, people: int) -> Verdict:
    """A verdict without reps."""
    return Verdict(name, status, f"{STATUSES[status]} ({detail})", people=people)
