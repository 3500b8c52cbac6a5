"""Judge the checkpoint on people it never saw: JSON, figures and the one results table, which the README quotes."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.markdown import Markdown

from src.config import Evaluate, git_revision, run_stage
from src.motion.dataset import Count, LabelError, Sample, collate, data_hash, item, load_samples
from src.motion.faults import FAULT_KEYS, FAULTS
from src.motion.keypoints import Track
from src.motion.measure import Measures, measure_all, rule_scores
from src.motion.metrics import (
    average_precision,
    expected_calibration_error,
    f1,
    interval,
    precision,
    recall,
    reliability,
)
from src.motion.model import Core, load_model
from src.motion.reps import find_reps
from src.motion.verdict import MIN_OBSERVABLE

matplotlib.use("Agg")
Array = NDArray[np.float64]
BEGIN, END = "<!-- results: written by python -m src.evaluate -->", "<!-- end of results -->"
ORIGIN = {"simulated": "simulated keypoints", "detected/simulated": "rendered video through the detector"}
"""How the table names the folders that this project fills itself; every other folder is somebody's own footage."""


def outputs_of(core: Core, samples: Sequence[Sample], batch: int = 64) -> tuple[Array, Array]:
    """Calibrated probabilities and observability, (N, L) each, of many reps."""
    rows, seen = [], []
    with torch.no_grad():
        for start in range(0, len(samples), batch):
            b = collate([item(s) for s in samples[start : start + batch]])
            out = core(b.keypoints, b.fps_hz, b.frames, b.rise_ratio)
            rows.append(out.probabilities.double().numpy())
            seen.append(out.observability.double().numpy())
    return np.concatenate(rows), np.concatenate(seen)


def measures_of(samples: Sequence[Sample], poses_dir: Path) -> list[Measures]:
    """Measures of each sample's rep, every clip measured once."""
    by_clip: dict[tuple[str, str], dict[float, Measures]] = {}
    for folder, clip in {(s.folder, s.clip) for s in samples}:
        track = Track.load(poses_dir / folder / f"{Path(clip).stem}.npz")
        reps = find_reps(track)
        by_clip[folder, clip] = {rep.start_s: m for rep, m in zip(reps, measure_all(track, reps), strict=True)}
    return [by_clip[s.folder, s.clip][s.rep.start_s] for s in samples]


def with_interval(metric: Any, people: Sequence[str], cfg: Evaluate) -> dict[str, float]:
    """A metric of all rows with its 95 % interval over people."""
    value = metric(np.arange(len(people)))
    low, high = interval(metric, people, cfg.bootstrap, np.random.default_rng(cfg.seed))
    return {"value": value, "low": low, "high": high}


def judge_fault(
    labels: Array, p: Array, seen: Array, rule: Array, band: dict[str, float], people: Sequence[str], cfg: Evaluate
) -> dict[str, Any]:
    """Every number of one fault on one set of reps, the rule baseline beside it.

    Claims are made as ``predict`` makes them per rep: only where the fault is observable and from ``present`` on.
    """
    claims = (p >= band["present"]) & (seen >= MIN_OBSERVABLE)
    chosen, claimed, ruled = (np.asarray(x, float) for x in (p >= band["absent"], claims, rule >= 0.5))
    has_rule = bool(np.isfinite(rule).any())
    known = np.isfinite(labels)
    return {
        "reps": int(known.sum()),
        "positives": int(np.nansum(labels)),
        "people": len({person for person, k in zip(people, known, strict=True) if k}),
        "thresholds": band,
        "average_precision": with_interval(lambda rows: average_precision(labels[rows], p[rows]), people, cfg),
        "f1": with_interval(lambda rows: f1(labels[rows], chosen[rows]), people, cfg),
        "claims": int(claimed[known].sum()),
        "claim_precision": precision(labels, claimed),
        "claim_recall": recall(labels, claimed),
        "observable_share": float((seen >= MIN_OBSERVABLE)[known].mean()) if known.any() else float("nan"),
        "ece": expected_calibration_error(labels, p),
        "rule_average_precision": average_precision(labels, rule) if has_rule else float("nan"),
        "rule_f1": f1(labels, ruled) if has_rule else float("nan"),
        "prevalence": float(np.nanmean(labels)) if known.any() else float("nan"),
    }


def judge_folder(
    core: Core, samples: list[Sample], thresholds: dict[str, dict[str, float]], cfg: Evaluate
) -> tuple[dict[str, Any], Array, Array]:
    """All faults on one folder's test reps; also its labels and probabilities for the figures."""
    labels = np.stack([s.faults for s in samples]).astype(np.float64)  # (N, L)
    p, seen = outputs_of(core, samples)
    rules = rule_scores(FAULTS, measures_of(samples, cfg.poses_dir))
    people = [s.subject for s in samples]
    faults = {
        key: judge_fault(labels[:, i], p[:, i], seen[:, i], rules[:, i], thresholds[key], people, cfg)
        for i, key in enumerate(FAULT_KEYS)
    }
    macro = [faults[key]["average_precision"]["value"] for key in FAULT_KEYS]
    return (
        {"faults": faults, "macro_average_precision": mean_of_known(macro), "people": len(set(people))},
        labels,
        p,
    )


def mean_of_known(values: Sequence[float]) -> float:
    """Mean of what could be measured, NaN if nothing could."""
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def judge_reps(counts: Sequence[Count]) -> dict[str, Any]:
    """How well reps are counted: clips with the exact number, share of labelled reps found, reps found too many.

    Clips whose labels do not time reps say nothing about counting and are left out; NaN where no clip is left.
    """
    timed = [(c.labelled, c.found, c.matched) for c in counts if c.labelled is not None]
    labelled = sum(n for n, _, _ in timed)
    return {
        "clips": len(counts),
        "timed_clips": len(timed),
        "exact_share": float(np.mean([n == found for n, found, _ in timed])) if timed else float("nan"),
        "found_share": sum(matched for _, _, matched in timed) / labelled if labelled else float("nan"),
        "extra": sum(max(0, found - n) for n, found, _ in timed),
    }


def cell(number: dict[str, float]) -> str:
    """``0.91 (0.88-0.94)``, or a dash where nothing could be measured."""
    return f"{number['value']:.2f} ({number['low']:.2f}-{number['high']:.2f})" if np.isfinite(number["value"]) else "–"


def table(report: dict[str, Any]) -> str:
    """The results as one markdown table per origin of the data, never mixed."""
    lines = []
    for folder, part in report["folders"].items():
        lines += [
            f"**{ORIGIN.get(folder, f'own footage: {folder}')}**: {part['people']} people unseen in training; "
            f"{counting(part['reps'])}",
            "",
            "| fault | reps (with it) | AP (95 % by person) | F1 (95 % by person) | claims right | ECE | rules: AP | rules: F1 |",
            "|---|---|---|---|---|---|---|---|",
        ]
        lines += [table_row(key, fault) for key, fault in part["faults"].items()] + [""]
    return "\n".join(lines)


def counting(reps: dict[str, Any]) -> str:
    """How well reps were counted, in a sentence."""
    if not reps["timed_clips"]:
        return f"{reps['clips']} clips, whose labels do not time reps."
    return (
        f"reps counted exactly in {100 * reps['exact_share']:.0f} % of {reps['timed_clips']} clips, "
        f"{100 * reps['found_share']:.0f} % of labelled reps found (only these are judged below)."
    )


def table_row(key: str, fault: dict[str, Any]) -> str:
    """One fault; a dash where nothing could be measured."""
    ece, rule_ap, rule_f1 = (
        f"{fault[n]:.2f}" if np.isfinite(fault[n]) else "–" for n in ("ece", "rule_average_precision", "rule_f1")
    )
    right = f"{fault['claim_precision']:.2f} of {fault['claims']}" if fault["claims"] else "no claim"
    cells = [f"`{key}`", f"{fault['reps']} ({fault['positives']})", cell(fault["average_precision"]), cell(fault["f1"])]
    return f"| {' | '.join([*cells, right, ece, rule_ap, rule_f1])} |"


def write_readme(path: Path, text: str) -> None:
    """Replace what stands between the two markers; a README without them is a ``LabelError``-like plain error."""
    page = path.read_text()
    if BEGIN not in page or END not in page:
        raise LabelError(f"{path}: no results markers; put {BEGIN} and {END} where the table belongs")
    path.write_text(re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n{text}{END}", page, flags=re.DOTALL))


def without_nan(value: Any) -> Any:
    """JSON has no NaN: a number that could not be measured becomes null."""
    if isinstance(value, dict):
        return {key: without_nan(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not np.isfinite(value) else value


def reliability_figure(labels: Array, p: Array, title: str) -> Figure:
    """Share of positives against mean probability, one line per fault."""
    figure, axis = plt.subplots(figsize=(5, 5), layout="constrained")
    axis.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    for i, fault in enumerate(FAULTS):
        mean, share, count = reliability(labels[:, i], p[:, i])
        axis.plot(mean[count > 0], share[count > 0], marker="o", markersize=4, label=fault.key)
    axis.set(xlabel="mean probability", ylabel="share of reps with the fault", title=title)
    axis.legend()
    return figure


def save_reliability(figures: Path, folder: str, labels: Array, p: Array) -> None:
    """The reliability figure of one folder as a file."""
    figure = reliability_figure(labels, p, ORIGIN.get(folder, folder))
    figure.savefig(figures / f"reliability_{folder.replace('/', '_')}.png", dpi=110)
    plt.close(figure)


def work(cfg: Evaluate) -> None:
    """Write ``evaluate.json``, one reliability figure per folder, the table; print the table."""
    core, facts = load_model(cfg.models_dir / "model.pt")
    samples, counts = load_samples(cfg.poses_dir)
    people = set(facts["people"]["test"])
    if shared := people & {*facts["people"]["train"], *facts["people"]["validation"]}:
        raise LabelError(
            f"{cfg.models_dir / 'model.pt'}: {', '.join(sorted(shared))} in test and training; train again"
        )
    report: dict[str, Any] = {
        "revision": git_revision(),
        "data": data_hash(cfg.poses_dir),
        "model_data": facts["data"],
        "folders": {},
    }
    (figures := cfg.reports_dir / "figures").mkdir(parents=True, exist_ok=True)
    for folder in sorted({c.folder for c in counts if c.subject in people}):
        chosen = [s for s in samples if s.folder == folder and s.subject in people]
        part: dict[str, Any] = {"faults": {}, "macro_average_precision": float("nan"), "people": 0}
        if chosen:
            part, labels, p = judge_folder(core, chosen, facts["thresholds"], cfg)
            save_reliability(figures, folder, labels, p)
        part["reps"] = judge_reps([c for c in counts if c.folder == folder and c.subject in people])
        report["folders"][folder] = part
    report["summary"] = {folder: part["macro_average_precision"] for folder, part in report["folders"].items()}
    text = table(report)
    (cfg.reports_dir / "evaluate.json").write_text(json.dumps(without_nan(report), indent=2, allow_nan=False) + "\n")
    (cfg.reports_dir / "results.md").write_text(text)
    if cfg.readme:
        write_readme(Path(cfg.readme), text)
    Console().print(Markdown(text))


def main() -> None:
    """``python -m src.evaluate [key=value ...]``."""
    run_stage(Evaluate, work)


if __name__ == "__main__":
    main()
