"""Train the temporal CNN: poses with labels -> ``model.pt``, every epoch in MLflow."""

import json

import numpy as np

from src import __version__
from src.config import Train, git_revision, run_stage
from src.learn.calibrate import fit_calibration
from src.learn.fit import checkpoint, fit, say, shape, task_of
from src.learn.runs import close_run, open_run
from src.motion.dataset import collate, data_hash, item, load_samples, split_people
from src.motion.model import save_model


def work(cfg: Train) -> float | None:
    """Load, split by person, fit, calibrate, save ``model.pt`` and ``training.json``, log it all.

    Returns the best validation loss; nothing in the processes that help another one.
    """
    task = task_of(cfg)
    checkpoint(cfg)
    samples, counts = load_samples(cfg.poses_dir, task)
    parts = split_people(samples, cfg.validation_share, cfg.test_share, cfg.seed)
    for name, part in parts.items():
        if part:
            say(f"{name}: {len(part)} reps of {len({s.subject for s in part})} people")
    logger = open_run(cfg)
    fitted = fit(cfg, parts["train"], parts["validation"], logger)
    if fitted is None:
        return None
    people = {name: sorted({s.subject for s in part}) for name, part in parts.items()}
    for name in ("test", "proof"):  # also those of whom no rep was found
        people[name] = sorted({*people[name], *(c.subject for c in counts if c.split == name)})
    facts = {
        "version": __version__,
        "revision": git_revision(),
        "data": data_hash(cfg.poses_dir),
        "labels": list(task.labels),
        "thresholds": fit_calibration(fitted.core, parts["validation"]),
        "epochs": len(fitted.epochs),
        "people": people,
    }
    save_model(cfg.models_dir / "model.pt", fitted.core, shape(cfg), facts)
    scores = [row["val_loss"] for row in fitted.epochs]
    shipped = fitted.epochs[int(np.argmin(scores))]  # the epoch that model.pt holds
    report = {"best_val_loss": fitted.best_loss, **shipped, "epochs": len(fitted.epochs)}
    (cfg.models_dir / "training.json").write_text(json.dumps(report, indent=2) + "\n")
    close_run(logger, cfg, fitted, facts, collate([item(parts["validation"][0])]))
    print(f"{cfg.models_dir / 'model.pt'}: validation loss {fitted.best_loss:.4f} after {len(fitted.epochs)} epochs")
    return fitted.best_loss


def main() -> None:
    """``python -m src.train [key=value ...]``."""
    run_stage(Train, work)


if __name__ == "__main__":
    main()
