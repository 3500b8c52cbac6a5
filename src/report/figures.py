"""Figures of the report; with ``src.learn.runs`` the home of matplotlib."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from src.motion.metrics import reliability, risk_coverage
from src.report.judged import MODEL, Judged
from src.report.numbers import confidence
from src.report.strata import FAULT, SEVERITIES

matplotlib.use("Agg")
Array = NDArray[np.float64]
STEPS = [f"{low:g} to {high:g}" for low, high in zip(SEVERITIES[:-1], SEVERITIES[1:], strict=True)]
STEPS[0], STEPS[-1] = f"< {SEVERITIES[1]:g}", f"> {SEVERITIES[-2]:g}"
GREY = STEPS.index("0 to 1")


def save(figure: Figure, path: Path) -> None:
    """Write and forget a figure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def panels(title: str, labels: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """One panel per label, two in a row."""
    rows = (len(labels) + 1) // 2
    figure, axes = plt.subplots(rows, 2, figsize=(9, 3.75 * rows), layout="constrained", squeeze=False)
    figure.suptitle(title)
    for axis, label in zip(axes.flat, labels, strict=False):
        axis.set_title(label)
    for axis in axes.flat[len(labels) :]:
        axis.remove()
    return figure, list(axes.flat[: len(labels)])


def reliability_figure(judged: Judged, title: str) -> Figure:
    """Share of reps with the fault against mean probability; the bars below say how many reps stand behind a point."""
    figure, axes = panels(title, judged.labels)
    for i, axis in enumerate(axes):
        mean, share, count = reliability(judged.faults[:, i], judged.scores[MODEL][:, i])
        axis.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
        axis.bar((np.arange(10) + 0.5) / 10, 0.3 * count / max(count.max(), 1), 0.09, color="lightgrey")
        axis.plot(mean[count > 0], share[count > 0], marker="o", markersize=4)
        axis.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="mean probability", ylabel="share of reps with the fault")
        axis.text(0.02, 0.96, f"{count.sum():.0f} reps; bars: how many, tallest {count.max():.0f}", fontsize=8)
    return figure


def risk_figure(judged: Judged, faults: Mapping[str, Any], title: str) -> Figure:
    """Share of wrong decisions against the share decided, the surest first; the dot is what is decided in use."""
    figure, axes = panels(title, judged.labels)
    for i, axis in enumerate(axes):
        fault, y, p = faults[judged.labels[i]], judged.faults[:, i], judged.scores[MODEL][:, i]
        coverage, risk = risk_coverage(y, (p >= fault["threshold"]).astype(float), confidence(p, fault["threshold"]))
        axis.plot(coverage, risk, label=f"best-F1 threshold, area {fault['selective']['area']:.3f}")
        axis.axhline(fault["prevalence"], color="grey", linewidth=0.8, linestyle="--", label="always saying no")
        axis.plot(fault["decided_share"], fault["decided_risk"], "o", color="black", label="decided by predict")
        axis.set(xlim=(0, 1.02), ylim=(0, None), xlabel="share of reps decided", ylabel="share of decisions wrong")
        axis.legend(fontsize=8)
    return figure


def severity_figure(faults: Mapping[str, Any], title: str) -> Figure:
    """Share of reps detected against how far they truly are past the fault's limits, with 95 % intervals by person."""
    figure, axes = panels(title, list(faults))
    for (key, fault), axis in zip(faults.items(), axes, strict=True):
        axis.axvspan(GREY - 0.5, GREY + 0.5, color="lightgrey")
        for (name, steps), place in zip(fault["severity"].items(), (-0.1, 0.1), strict=True):
            x = np.array([step["step"] + place for step in steps])
            share, low, high = (np.array([step["detected"][n] for step in steps]) for n in ("value", "low", "high"))
            reach = np.abs([share - low, high - share])
            line = axis.errorbar(x, share, reach, marker="o", markersize=4, capsize=2, label=f"{name} (numbers: reps)")
            for step in steps:
                spot = (step["step"] + 2 * place, -0.08 + place / 3)
                axis.annotate(step["reps"], spot, ha="center", fontsize=7, color=line[0].get_color())
        axis.set_xticks(range(len(STEPS)), STEPS, fontsize=8)
        axis.set(ylim=(-0.15, 1.03), ylabel="share detected")
        axis.set_xlabel(units(key), fontsize=8)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def units(key: str) -> str:
    """What one step of a fault's severity is."""
    cues = FAULT[key].cues if key in FAULT else ()
    steps = " or ".join(f"{abs(cue.present - cue.absent):.3g} of {cue.quantity}" for cue in cues)
    return f"true severity; a step is {steps}"


def stress_figure(changes: Mapping[str, Any]) -> Figure:
    """Difference of macro F1 and macro average precision under every change, with 95 % intervals by person."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 0.35 * len(changes) + 1.5), layout="constrained", sharey=True)
    for axis, name in zip(axes, ("f1", "average_precision"), strict=True):
        value, low, high = (np.array([c[name][n] for c in changes.values()]) for n in ("difference", "low", "high"))
        axis.errorbar(value, range(len(changes)), xerr=np.abs([value - low, high - value]), fmt="o", capsize=2)
        axis.axvline(0, color="grey", linewidth=0.8)
        axis.set_yticks(range(len(changes)), [f"{name} ({c['reps']} reps)" for name, c in changes.items()])
        axis.set_xlabel(f"change of macro {'F1' if name == 'f1' else 'AP'}")
    axes[0].invert_yaxis()
    return figure
