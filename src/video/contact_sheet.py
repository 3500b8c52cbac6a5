"""Pictures of a folder of labelled clips: a lockout per fault and view, and how its labels and makes are spread."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from math import ceil
from pathlib import Path

import matplotlib
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from src.motion.faults import FAULT_KEYS, FAULTS
from src.motion.labels import VIEWS
from src.video.clips import Pictures, read
from src.video.probe import Clip

SHADES = {"1": "#c1443c", "": "#b9b9b9", "0": "#4c7aa8"}
WORDS = {"1": "present", "": "uncertain", "0": "absent"}
FRAME_PX = 480


@dataclass(frozen=True)
class Rep:
    """A row of labels.csv with its row of truth.csv, which is empty for real footage."""

    label: dict[str, str]
    truth: dict[str, str] = field(default_factory=dict)

    @property
    def clip(self) -> str:
        """File name."""
        return self.label["clip"]

    @property
    def load(self) -> str:
        """What lies on the hips; empty where nobody knows."""
        return self.truth.get("load", "")

    @property
    def subject(self) -> str:
        """Who lifts."""
        return self.label["subject"]

    @property
    def clean(self) -> bool:
        """All four faults are known to be absent."""
        return all(self.label[key] == "0" for key in FAULT_KEYS)

    def severity(self, key: str) -> float:
        """How strong the fault was asked to be, 0 = not at all; 0 where nobody knows."""
        return float(self.truth.get(f"severity_{key}") or 0.0)

    def lockout_s(self, clip: Clip) -> float:
        """Moment of the lockout where it is known, else the middle of the rep or of the clip."""
        if self.truth:
            return float(self.truth["top_s"])
        return (float(self.label["start_s"] or 0.0) + float(self.label["end_s"] or clip.duration_s)) / 2


def grouped(reps: Sequence[Rep], values: Sequence[str], order: Sequence[str] = ()) -> dict[str, list[Rep]]:
    """Reps by a value of each, in this order, then sorted; an empty value is called unknown."""
    names = sorted(set(values), key=lambda v: (order.index(v) if v in order else len(order), v))
    return {name or "unknown": [r for r, v in zip(reps, values, strict=True) if v == name] for name in names}


def by_view(reps: Sequence[Rep]) -> dict[str, list[Rep]]:
    """Reps by the view from which they are seen."""
    return grouped(reps, [rep.label["view"] for rep in reps], VIEWS)


def draw(reps: Sequence[Rep], clips: dict[str, Clip], folder: Path) -> None:
    """Write ``frames.jpg`` and ``histograms.png``; the same data give the same bytes."""
    with style.context("default"):
        matplotlib.rc("font", size=8)
        matplotlib.rc("text", parse_math=False)
        matplotlib.rc("axes.spines", top=False, right=False)
        contact_sheet(reps, clips).savefig(folder / "frames.jpg", dpi=150, pil_kwargs={"quality": 88})
        histograms(reps, clips).savefig(folder / "histograms.png", dpi=110, metadata={"Software": None})


def chosen(reps: Sequence[Rep], key: str, used: set[str]) -> Rep | None:
    """The rep that shows a fault best: it alone, most severe, a person not shown yet; key "" asks for a clean one."""
    found = [rep for rep in reps if (rep.label[key] == "1" if key else rep.clean)]
    if not found:
        return None

    def order(rep: Rep) -> tuple[bool, int, float, str, float]:
        others = sum(rep.label[other] == "1" for other in FAULT_KEYS if other != key)
        severity = rep.severity(key) if key else 0.0
        return rep.subject in used, others, -severity, rep.clip, float(rep.label["start_s"] or 0.0)

    return min(found, key=order)


def frame_at(clip: Clip, moment_s: float) -> Pictures:
    """The picture (H, W, 3) of a clip at a moment, the last one if it is later."""
    for pictures, seconds in read(clip.path, max_side_px=FRAME_PX):
        picture: Pictures = pictures[min(int((seconds < moment_s - 1e-6).sum()), len(pictures) - 1)]
        if seconds[-1] >= moment_s - 1e-6:
            break
    return picture


def contact_sheet(reps: Sequence[Rep], clips: dict[str, Clip]) -> Figure:
    """A lockout per view (rows) and fault (columns)."""
    views = by_view(reps)
    columns = {"": "No fault"} | {fault.key: fault.title for fault in FAULTS}
    tight = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0.0, hspace=0.0)
    figure = Figure(figsize=(2.75 * len(columns), 0.3 + 1.84 * len(views)), layout=tight)
    grid = figure.subplots(len(views), len(columns), squeeze=False)
    used: set[str] = set()
    for row, (view, seen) in zip(grid, views.items(), strict=True):
        for axis, (key, title) in zip(row, columns.items(), strict=True):
            rep = chosen(seen, key, used)
            used |= {rep.subject} if rep else set()
            _cell(axis, rep, clips, key)
            axis.set_title(title if axis in grid[0] else "", fontsize=10, fontweight="bold")
        row[0].set_ylabel(view, fontsize=10, fontweight="bold")
    return figure


def _cell(axis: Axes, rep: Rep | None, clips: dict[str, Clip], key: str) -> None:
    """One picture in a 16:9 field with what it shows below."""
    axis.set(xticks=[], yticks=[], facecolor="#efefef", xlim=(0, 16), ylim=(9, 0), aspect="equal")
    axis.spines[:].set_visible(False)
    if rep is None:
        axis.text(8, 4.5, "none", ha="center", va="center", color="#8a8a8a")
        axis.set_xlabel("\n", fontsize=6.5)
        return
    moment_s = rep.lockout_s(clips[rep.clip])
    picture = frame_at(clips[rep.clip], moment_s)
    height, width = picture.shape[:2]
    scale = min(16 / width, 9 / height)
    x, y = width * scale / 2, height * scale / 2
    axis.imshow(picture, extent=(8 - x, 8 + x, 4.5 + y, 4.5 - y), aspect="equal")
    axis.set(xlim=(0, 16), ylim=(9, 0))
    axis.set_xlabel(caption(rep, key, moment_s), fontsize=6.5)


def caption(rep: Rep, key: str, moment_s: float) -> str:
    """Where a picture comes from, and, on a second line, what is known about it."""
    plate_m = float(rep.truth.get("plate_m") or 0.0)
    others = [other for other in FAULT_KEYS if other != key and rep.label[other] == "1"]
    known = [
        "no load" if rep.load == "none" else rep.load,
        f"plates {100 * plate_m:.0f} cm" if plate_m else "",
        f"severity {rep.severity(key):.2f}" if key and rep.truth else "",
        f"also {', '.join(others)}" if others else "",
    ]
    return f"{Path(rep.clip).stem} at {moment_s:.1f} s\n{', '.join(filter(None, known))}"


def histograms(reps: Sequence[Rep], clips: dict[str, Clip]) -> Figure:
    """Severities, views, frame rates, loads and heights; without truth what labels and files tell."""
    made = [rep for rep in reps if rep.truth]
    first = {rep.clip: rep for rep in reversed(reps)}.values()
    people = {rep.subject: rep for rep in made}.values()
    figure = Figure(figsize=(13, 5.2 if made else 2.7), layout="constrained")
    axes = list(figure.subplots(2 if made else 1, 4, squeeze=False).flat)
    for axis, key in zip(axes, FAULT_KEYS if made else (), strict=False):
        _severities(axis, made, key)
    rest = axes[len(FAULT_KEYS) :] if made else axes
    _bars(rest[0], "view (clips)", [rep.label["view"] or "unknown" for rep in first])
    _bars(rest[1], "frame rate, Hz (clips)", [f"{clip.fps_hz:.4g}" for clip in clips.values()])
    if made:
        _bars(rest[2], "load (clips)", [rep.load or "unknown" for rep in first])
        rest[3].hist([float(rep.truth["height_m"]) for rep in people], bins=12, color=SHADES["0"])
        rest[3].set_title("height of a person, m (people)")
    else:
        _bars(rest[2], "labelled rows per clip (clips)", [str(n) for n in Counter(rep.clip for rep in reps).values()])
        _labels(rest[3], reps)
    return figure


def _severities(axis: Axes, reps: Sequence[Rep], key: str) -> None:
    """Severities above 0, stacked by label."""
    asked = [
        [rep.severity(key) for rep in reps if rep.label[key] == value and rep.severity(key) > 0] for value in SHADES
    ]
    bins = [i / 20 for i in range(ceil(20 * max([1.0, *chain(*asked)])) + 1)]
    axis.hist(asked, bins=bins, stacked=True, color=list(SHADES.values()), label=list(WORDS.values()))
    axis.set_title(f"{key}: severity (reps)\n{len(reps) - sum(map(len, asked))} more at 0")
    axis.legend(frameon=False, loc="upper left")


def _labels(axis: Axes, reps: Sequence[Rep]) -> None:
    """How often each fault is present, uncertain and absent."""
    left = [0] * len(FAULT_KEYS)
    for value, shade in SHADES.items():
        counts = [sum(rep.label[key] == value for rep in reps) for key in FAULT_KEYS]
        axis.barh(FAULT_KEYS, counts, left=left, color=shade, label=WORDS[value])
        left = [a + b for a, b in zip(left, counts, strict=True)]
    axis.invert_yaxis()
    axis.set_title("labels (rows)")
    axis.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=3)


def _bars(axis: Axes, title: str, values: Sequence[str]) -> None:
    """Counts of values, numbers in their order, words by how often they come."""
    counts = Counter(values)
    numbers = all(value.replace(".", "", 1).isdigit() for value in counts)
    names = sorted(counts, key=float) if numbers else sorted(counts, key=lambda name: (-counts[name], name))
    axis.bar(names, [counts[name] for name in names], color=SHADES["0"], width=0.6)
    margin = max(0.6, 2.0 - len(names) / 2)  # a lone bar stays a bar
    axis.set(title=title, xlim=(-margin, len(names) - 1 + margin))
