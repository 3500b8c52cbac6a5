"""Two figures of what was measured: throughput against batch, and the share of time of each part."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from src.report.figures import panels, save
from src.speed.tables import find, reason
from src.speed.timing import Row

DEVICES = ("cpu", "cuda")


def draw(report: Row, out: Path) -> list[Path]:
    """Write both beside ``out``, named after it, and say where; a panel of what was not measured gives the reason."""
    paths = [out.with_name(f"{out.stem}_{name}.png") for name in ("batches", "share")]
    batches(report["rows"], where(report), paths[0])
    share(report["rows"], where(report), paths[1])
    return paths


def where(report: Row) -> str:
    """The machine in a line."""
    machine = report["machine"]
    return f"{machine['cpu']}, {machine['cores']} cores; GPU: {machine['gpu'] or 'none'}"


def batches(rows: Sequence[Row], machine: str, path: Path) -> None:
    """Sequences and frames per second against batch, a line per engine, precision and number of threads."""
    wanted = [(part, device) for part in ("core", "pose") for device in DEVICES]
    figure, axes = panels(f"Throughput against batch\n{machine}", [f"{part}, {device}" for part, device in wanted])
    for axis, (part, device) in zip(axes, wanted, strict=True):
        lines: dict[str, dict[int, float]] = {}
        for row in find(rows, part, device):
            name = f"{row.get('engine', '')} {row['precision']}, {row['threads']} thread(s)".strip()
            lines.setdefault(name, {})[row["batch"]] = row["per_s"]
        for name, points in lines.items():
            axis.plot(list(points), list(points.values()), marker="o", markersize=4, label=name)
        if lines:
            axis.set(xscale="log", yscale="log", xlabel="batch", ylabel=f"{unit(part)} per second")
            axis.legend(fontsize=8)
        else:
            axis.set_axis_off()
            axis.text(0.5, 0.5, f"not measured:\n{reason(rows, part, device)}", ha="center", wrap=True)
    save(figure, path)


def unit(part: str) -> str:
    """What is counted."""
    return "sequences" if part == "core" else "frames"


def share(rows: Sequence[Row], machine: str, path: Path) -> None:
    """How the time from file to verdict is spent, a bar per engine and precision."""
    figure, axes = panels(f"Share of time from file to verdict\n{machine}", DEVICES)
    for axis, device in zip(axes, DEVICES, strict=True):
        bars: Mapping[str, Row] = {
            f"{r['engine']} {r['precision']}\n{r['per_s']:.0f} frames/s": r["share"]
            for r in find(rows, "whole", device)
            if "share" in r
        }
        left = dict.fromkeys(bars, 0.0)
        for part in next(iter(bars.values()), {}):
            widths = [shares[part] for shares in bars.values()]
            axis.barh(list(bars), widths, left=list(left.values()), label=part)
            left = {name: start + width for (name, start), width in zip(left.items(), widths, strict=True)}
        if bars:
            axis.set(xlim=(0, 1), xlabel="share of the main thread's time; pose goes on beside decoding")
            figure.legend(*axis.get_legend_handles_labels(), ncols=4, loc="outside lower center")
        else:
            axis.set_axis_off()
            axis.text(0.5, 0.5, f"not measured:\n{reason(rows, 'whole', device)}", ha="center", wrap=True)
    save(figure, path)
