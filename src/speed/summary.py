"""The short tables of the README: the core beside its peers, and the fastest way of each part."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from src.speed.peers import LATENCY, THROUGHPUT
from src.speed.tables import find, reason
from src.speed.timing import Row

BEGIN, END = "<!-- speed: written by make benchmark -->", "<!-- end of speed -->"
LOST = "not measured"
PEERS = {"cpu": ("core", "GRU", "ST-GCN++", "MiniROCKET"), "cuda": ("core", "GRU", "ST-GCN++")}
PARTS = {
    "decode": ("cpu",), "pose": ("cpu", "cuda"), "reps": ("cpu",), "core": ("cpu", "cuda"), "whole": ("cpu", "cuda"),
}  # fmt: skip


class NoPlaceError(ValueError):
    """A README without the two markers; the message says which."""


def lines(cells: Sequence[Sequence[str]]) -> str:
    """A markdown table; the first row is its head."""
    head, *rows = cells
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)) + "\n"


def peer_lines(rows: Sequence[Row], where: dict[str, str]) -> Iterator[list[str]]:
    """A row per device, precision and model."""
    many, one = (f"{batch} x {frames} frames" for batch, frames in (THROUGHPUT, LATENCY))
    yield [
        "model",
        "on",
        "parameters",
        f"sequences/s, {many}",
        "core faster",
        f"ms, {one}, p50 (p95)",
        "core faster",
        "MB",
    ]
    for device, names in PEERS.items():
        found = find(rows, "peers", device)
        for precision in dict.fromkeys(row["precision"] for row in found) or [""]:
            for name in names:
                here = [row for row in found if row["precision"] == precision]
                yield [name, f"{where[device]} {precision}".strip(), *peer_cells(here, name)]


def peer_cells(rows: Sequence[Row], name: str) -> list[str]:
    """What is known of one model in one precision."""
    by = {(row["step"], row["batch"]): row for row in rows}
    many, one = (by.get((name, shape[0])) for shape in (THROUGHPUT, LATENCY))
    if many is None or one is None:
        return [LOST] * 6
    faster = [by.get((f"core faster than {name}", shape[0])) for shape in (THROUGHPUT, LATENCY)]
    ratios = [f"{row['ratio']:.3g} times" if row else "" for row in faster]
    latency = f"{one['median_ms']:.2f} ({one['p95_ms']:.2f})"
    return [f"{many['parameters']:,}", f"{many['per_s']:.0f}", ratios[0], latency, ratios[1], f"{many['grown_mb']:.0f}"]


def part_lines(rows: Sequence[Row], where: dict[str, str]) -> Iterator[list[str]]:
    """A row per part and device: its fastest setting; on a CPU in fp32, in which the core was trained and ``predict`` runs."""
    yield ["part", "on", "fastest with", "per second"]
    for part, devices in PARTS.items():
        for device in devices:
            found = [
                row for row in find(rows, part, device) if device == "cuda" or row.get("precision", "fp32") == "fp32"
            ]
            best = max(found, key=lambda row: float(row["per_s"]), default=None)
            if best is None:
                yield [part, where[device], "", f"{LOST}: {reason(rows, part, device)}"]
                continue
            how = [best["step"]] if part == "decode" else [best[key] for key in ("engine", "precision") if key in best]
            batch = [f"batch {best['batch']}"] if part in ("pose", "core") else []
            threads = f"{best['threads']} thread{'s' * (best['threads'] > 1)}"
            by = f"{best['processes']} processes" if "processes" in best else threads
            yield [part, where[device], ", ".join([*how, *batch, by]), f"{best['per_s']:.0f} {best['unit']}"]


def short_tables(report: Row) -> str:
    """Both tables, and where they come from."""
    machine, rows = report["machine"], report["rows"]
    where = {"cpu": "CPU", "cuda": machine["gpu"] or "CUDA GPU"}
    origin = f"{machine['cpu']}, {machine['cores']} cores, GPU: {machine['gpu'] or 'none'}, torch {machine['torch']}; "
    origin += f"load when it began {machine['load_1min']:.1f}.\n"
    return "\n".join([origin, lines(list(peer_lines(rows, where))), lines(list(part_lines(rows, where)))])


def place(page: Path) -> str:
    """The README's text; ``NoPlaceError`` where the markers are missing."""
    text = page.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise NoPlaceError(f"{page}: put {BEGIN} and {END} where the tables belong")
    return text


def write_readme(page: Path, report: Row) -> None:
    """Replace what stands between the markers."""
    new = f"{BEGIN}\n{short_tables(report)}{END}"
    page.write_text(re.sub(f"{BEGIN}.*{END}", lambda _: new, place(page), flags=re.DOTALL), encoding="utf-8")
