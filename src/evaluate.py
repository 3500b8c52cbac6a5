"""Judge the checkpoint on people it never saw: JSON, figures, a model card and the one results table, which the README quotes."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markdown import Markdown

from src.config import Evaluate, git_revision, run_stage
from src.motion.dataset import Count, Sample, data_hash, load_samples, repeated
from src.motion.heads import HEADS, Head
from src.motion.labels import SPLITS, LabelError, read_labels
from src.motion.metrics import resampled
from src.motion.model import Core, fingerprint, load_model
from src.motion.task import HIP_THRUSTS
from src.motion.truth import read_truth, truth_at
from src.motion.verdict import DOUBTFUL, Verdict
from src.report.baselines import fit_baselines
from src.report.card import card
from src.report.figures import reliability_figure, risk_figure, save, severity_figure
from src.report.judged import (
    MODEL,
    Checkpoint,
    Judged,
    clip_label,
    judge_clips,
    judged_directly,
    judged_reps,
    labels_of,
)
from src.report.numbers import (
    Thresholds,
    judge_clip_faults,
    judge_counts,
    judge_decisions,
    judge_fault,
    mean_of_known,
    surely_right,
    thresholds_of,
    without_nan,
)
from src.report.strata import judge_confounders, judge_severity, judge_strata
from src.report.tables import origin, results, write_readme

Verdicts = Mapping[tuple[str, str], Verdict]


def parts_of(samples: Sequence[Sample], facts: Mapping[str, Any], path: Path) -> dict[str, list[Sample]]:
    """The samples of the model's people by split; ``LabelError`` for one in two of them, or nobody in any but ``proof``."""
    people = {name: set(facts["people"].get(name, ())) for name in SPLITS if name}
    for name in ("test", "proof"):
        if shared := people[name] & set[str]().union(*(people[other] for other in people if other != name)):
            raise LabelError(f"{path}: {', '.join(sorted(shared))} in {name} and another split; train again")
    parts = {name: [s for s in samples if s.subject in members] for name, members in people.items()}
    if empty := [name for name, part in parts.items() if not part and name != "proof"]:
        raise LabelError(f"{path}: no labelled rep of its {' or '.join(empty)} people is left; train again")
    return parts


def judge_all(
    core: Core, facts: dict[str, Any], parts: Mapping[str, list[Sample]], tested: Sequence[Count], cfg: Evaluate
) -> tuple[Judged, Judged, Verdicts]:
    """Reps of validation people and of test and proof people under the model and the baselines, and the verdicts of their clips.

    Reps that are found are judged as ``predict`` judges them, within their clip; reps that labels time, one by one.
    """
    scorer, held = Checkpoint(core, facts), [parts["validation"], [*parts["test"], *parts["proof"]]]
    if core.task.reps == "found":
        judged, verdicts = judge_as_predict(scorer, held, tested, cfg.poses_dir)
    else:
        judged, verdicts = [judged_directly(part, scorer) for part in held], {}
    train = repeated(parts["train"], cfg.detected_repeats)
    print(f"evaluate: fitting baselines to {len(parts['train'])} reps")
    known = [labels_of(train), labels_of(parts["validation"])]
    learnt = fit_baselines(core, [train, *held], known, cfg.kernels, cfg.seed)
    validation, test = (
        rows.with_scores({name: scores[i] for name, scores in learnt.items()}) for i, rows in enumerate(judged)
    )
    return validation, test, verdicts


def judge_as_predict(
    scorer: Checkpoint, held: Sequence[list[Sample]], tested: Sequence[Count], poses_dir: Path
) -> tuple[list[Judged], Verdicts]:
    """Reps of the held parts and the verdicts of their clips and of all tested clips."""
    samples = [sample for part in held for sample in part]
    clips = dict.fromkeys([*((c.folder, c.clip) for c in tested), *((s.folder, s.clip) for s in samples)])
    print(f"evaluate: judging {len(clips)} clips")
    verdicts = judge_clips(scorer, poses_dir, list(clips))
    truths = {folder: read_truth(poses_dir / folder / "truth.csv") for folder in {s.folder for s in samples}}
    labels = tuple(scorer.labels)
    return [
        judged_reps(part, verdicts, [truth_at(s.rep, truths[s.folder].get(s.clip, ())) for s in part], labels)
        for part in held
    ], verdicts


def prove(validation: Judged, judged: Judged, kept: Collection[str], cfg: Evaluate) -> dict[str, Any]:
    """Of which faults the exported core decides: those whose claims were surely right.

    Of the people ``kept`` for this alone or, without any, of one folder's validation people; ``LabelError`` if it has none.
    """
    asked = judged.rows([i for i, person in enumerate(judged.people) if person in kept])
    asked = asked if kept else validation.of(cfg.proof)
    if cfg.proof and not len(asked):
        known = ", ".join(sorted({s.folder for s in validation.samples}))
        raise LabelError(
            f"evaluate.proof={cfg.proof}: no validation people there, but in {known}; empty = no proof is asked for"
        )
    found: dict[str, Any] = judge_decisions(asked) if cfg.proof else {"faults": {}, "people": 0}
    faults = {key: fault | {"surely_right": surely_right(fault)} for key, fault in found["faults"].items()}
    who = {"kept": bool(kept), "folder": cfg.proof, "people": found["people"], "least_right": cfg.least_right}
    return who | {"faults": faults, "never_judged": unproven(faults, cfg)}


def unproven(faults: Mapping[str, Mapping[str, Any]], cfg: Evaluate) -> list[str]:
    """Faults whose claims were not right surely more often than ``least_right`` and than the fault occurs."""
    return [key for key, f in faults.items() if not f["surely_right"] > max(cfg.least_right, f["prevalence"])]


def judge_folder(
    judged: Judged, thresholds: Thresholds, bands: Mapping[str, dict[str, float]], head: Head, cfg: Evaluate
) -> dict[str, Any]:
    """Everything about one folder's test reps."""
    draws = resampled(judged.people, cfg.bootstrap, np.random.default_rng(cfg.seed))
    faults = {key: judge_fault(judged, i, thresholds, bands[key], draws) for i, key in enumerate(judged.labels)}
    for i, key in enumerate(judged.labels):
        limit = float(thresholds[MODEL][i])
        faults[key]["severity"] = judge_severity(judged, i, limit, cfg.bootstrap, cfg.seed)
    strata = judge_strata(judged, thresholds, cfg.bootstrap, cfg.seed)
    macro = {
        f"macro_{name}": mean_of_known([fault[name]["value"] for fault in faults.values()])
        for name in ("average_precision", "f1")
    }
    macro |= head.overall(judged.faults, judged.scores[MODEL])
    people, confounders = len(set(judged.people)), judge_confounders(judged)
    return {"faults": faults, **macro, "people": people, "strata": strata, "confounders": confounders}


def judge_folder_clips(
    counts: Sequence[Count], verdicts: Verdicts, keys: tuple[str, ...], cfg: Evaluate
) -> dict[str, Any]:
    """Clip decisions of one folder's test people."""
    table = read_labels(cfg.poses_dir / counts[0].folder / "labels.csv", keys)
    labels = np.stack([clip_label([row for row in table if row.clip == c.clip], keys) for c in counts])
    people = [c.subject for c in counts]
    draws = resampled(people, cfg.bootstrap, np.random.default_rng(cfg.seed))
    return judge_clip_faults(labels, keys, [verdicts.get((c.folder, c.clip)) for c in counts], draws)


def save_figures(folder: Path, name: str, judged: Judged, faults: Mapping[str, Any]) -> None:
    """Reliability, risk-coverage and, where truth is known, severity of one folder."""
    title, stem = origin(name), name.replace("/", "_")
    save(reliability_figure(judged, title), folder / f"reliability_{stem}.png")
    save(risk_figure(judged, faults, title), folder / f"risk_coverage_{stem}.png")
    if any(fault["severity"]["all"] for fault in faults.values()):
        save(severity_figure(faults, title), folder / f"severity_{stem}.png")


def work(cfg: Evaluate) -> None:
    """Write ``evaluate.json``, the figures of each folder, the model card and the table; print the table."""
    core, facts = load_model(cfg.models_dir / "model.pt")
    task, head = core.task, HEADS[core.task.head]()
    samples, counts = load_samples(cfg.poses_dir, task)
    parts = parts_of(samples, facts, cfg.models_dir / "model.pt")
    unseen = {*facts["people"]["test"], *facts["people"].get("proof", ())}
    tested = [c for c in counts if c.subject in unseen]
    checked, judged, verdicts = judge_all(core, facts, parts, tested, cfg)
    thresholds = thresholds_of(checked.faults, checked.scores)
    report: dict[str, Any] = {"revision": git_revision(), "data": data_hash(cfg.poses_dir)}
    report |= {"model": fingerprint(cfg.models_dir / "model.pt"), "kernels": cfg.kernels}
    report |= {"proof": prove(checked, judged, {s.subject for s in parts["proof"]}, cfg), "folders": {}}
    for folder in sorted({c.folder for c in tested}):
        here = [c for c in tested if c.folder == folder]
        part: dict[str, Any] = {"faults": {}, "macro_average_precision": float("nan"), "people": 0}
        part |= {"strata": {}, "confounders": {}}
        if len(rows := judged.of(folder)):
            part = judge_folder(rows, thresholds, facts["thresholds"], head, cfg)
            save_figures(cfg.reports_dir / "figures", folder, rows, part["faults"])
        doubted = {c.clip for c in here if (v := verdicts.get((folder, c.clip))) and v.status in DOUBTFUL}
        part |= {"counting": judge_counts(here, doubted)}
        part |= {"clips": judge_folder_clips(here, verdicts, task.labels, cfg) if task.reps == "found" else {}}
        report["folders"][folder] = part
    report["summary"] = {folder: part["macro_average_precision"] for folder, part in report["folders"].items()}
    write(report, card(report, facts, parts, counts) if task == HIP_THRUSTS else "", cfg)


def write(report: dict[str, Any], page: str, cfg: Evaluate) -> None:
    """The report as JSON, as a table and, where there is one, as the model card."""
    cfg.reports_dir.mkdir(parents=True, exist_ok=True)
    text = results(report)
    (cfg.reports_dir / "evaluate.json").write_text(json.dumps(without_nan(report), indent=2, allow_nan=False) + "\n")
    (cfg.reports_dir / "results.md").write_text(text)
    if page:
        (cfg.reports_dir / "model_card.md").write_text(page)
    if cfg.readme:
        write_readme(Path(cfg.readme), text)
    Console().print(Markdown(text))


def main() -> None:
    """``python -m src.evaluate [key=value ...]``."""
    run_stage(Evaluate, work)


if __name__ == "__main__":
    main()
