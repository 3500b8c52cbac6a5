"""Train the temporal CNN: poses with labels -> ``model.pt``, every epoch in MLflow. The home of Lightning and MLflow."""

import json
import logging
import math
import os
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any, no_type_check

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

import lightning as L
import matplotlib
import mlflow
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, LearningRateMonitor, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.utilities import rank_zero_only
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from mlflow.models import infer_signature
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from src import __version__
from src.config import CONF, ConfigError, Train, choose_device, data_versions, device_name, git_revision, run_stage
from src.motion.augment import augmented
from src.motion.dataset import (
    Batch,
    RepDataset,
    Sample,
    collate,
    data_hash,
    item,
    load_samples,
    split_people,
)
from src.motion.heads import HEADS, masked_distance, masked_loss
from src.motion.keypoints import SKELETONS, Skeleton
from src.motion.metrics import average_precision, best_threshold, claim_threshold
from src.motion.model import Core, load_model, save_model
from src.motion.task import Task

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it warns of type hints of its own
    from mlflow.pyfunc import PythonModel

matplotlib.use("Agg")
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
say = rank_zero_only(print)


def task_of(cfg: Train) -> Task:
    """What the settings ask to learn; ``TaskError`` says why that cannot be."""
    given = cfg.skeleton
    bones = tuple((start, end) for start, end in given.bones)
    new = Skeleton(given.name, tuple(given.points), bones, given.dimensions)
    skeleton = new if new.points else SKELETONS.get(new.name, new)
    return Task(skeleton, tuple(cfg.labels), cfg.head, cfg.features, cfg.reps)


def shape(cfg: Train) -> dict[str, Any]:
    """The settings of a ``Core`` besides its task."""
    return {"frames": cfg.frames, "channels": cfg.channels, "blocks": cfg.blocks, "dropout": cfg.dropout}


class FaultModule(L.LightningModule):
    """The training side of ``Core``: loss, optimiser, schedule, validation average precision."""

    def __init__(self, cfg: Train, steps: int) -> None:
        super().__init__()
        self.core = Core(task_of(cfg), **shape(cfg))
        self.head = HEADS[cfg.head]()
        self.cfg, self.steps = cfg, steps
        self.seen: list[tuple[Tensor, Tensor]] = []

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Masked loss of one batch: the faults, whether they could be seen and, where the truth is known, how far they went."""
        logits, seen, severity = self.core.heads(batch.keypoints, batch.fps_hz, batch.frames, batch.rise_ratio)
        loss = self.head.loss(logits, batch.faults) + masked_loss(seen, batch.observable)
        loss = loss + masked_distance(severity, batch.severity)
        self.log("train_loss", loss, on_epoch=True, on_step=False, batch_size=len(batch.faults), sync_dist=True)
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        """Masked loss; logits are kept for the epoch's average precision."""
        logits = self.core.logits(batch.keypoints, batch.fps_hz, batch.frames, batch.rise_ratio)
        loss = self.head.loss(logits, batch.faults)
        self.log("val_loss", loss, prog_bar=True, batch_size=len(batch.faults), sync_dist=True)
        self.seen.append((logits, batch.faults))

    def on_validation_epoch_end(self) -> None:
        """Average precision per fault over all validation people."""
        whole = (self.all_gather(torch.cat(part)).flatten(0, -2) for part in zip(*self.seen, strict=True))
        logits, faults = (part.double().cpu().numpy() for part in whole)  # of all processes
        self.seen.clear()
        for i, key in enumerate(self.core.task.labels):
            if np.isfinite(ap := average_precision(faults[:, i], logits[:, i])):
                self.log(f"val_ap_{key}", ap, sync_dist=True)

    def rate_at(self, step: int) -> float:
        """Share of the learning rate: a warm-up over the first tenth of the run, then a cosine down to a hundredth."""
        done = min(1.0, step / max(1, self.steps))
        return min(1.0, 10 * done + 0.02) * (0.505 + 0.495 * math.cos(math.pi * done))

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW under ``rate_at``."""
        optimizer = torch.optim.AdamW(self.parameters(), self.cfg.learning_rate, weight_decay=self.cfg.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.rate_at)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Chance(Callback):
    """All that is drawn, so that a resumed run goes on as an unbroken one would.

    Augmentation is seeded by seed, epoch and item; the checkpoint keeps the states behind the order of batches and dropout.
    """

    def __init__(self, batches: DataLoader[Any]) -> None:
        self.order: torch.Generator = batches.generator
        self.data: Any = batches.dataset

    def state_dict(self) -> dict[str, Any]:
        """Called by Lightning when it saves."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {
            "order": self.order.get_state(),
            "cpu": torch.get_rng_state(),
            "cuda": cuda,
            "next": self.data.epoch + 1,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Called by Lightning when it resumes."""
        self.order.set_state(state_dict["order"])
        self.data.epoch = state_dict["next"]  # Lightning starts the first workers before an epoch starts
        torch.set_rng_state(state_dict["cpu"])
        if torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state_dict["cuda"])

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Called by Lightning."""
        self.data.epoch = trainer.current_epoch


def loader(samples: list[Sample], cfg: Train, training: bool) -> DataLoader[Any]:
    """Batches of padded reps; shuffled and augmented for training, by a generator of its own."""
    dataset = RepDataset(samples, augmented if training else None, cfg.seed)
    order = torch.Generator().manual_seed(cfg.seed)
    return DataLoader(
        dataset,
        cfg.batch,
        shuffle=training,
        collate_fn=collate,
        generator=order,
        num_workers=cfg.workers if training else 0,
        drop_last=len(samples) > cfg.batch and training,
    )


def logits_of(core: Core, samples: list[Sample], batch: int = 64) -> NDArray[np.float64]:
    """Uncalibrated logits (N, L) of many reps, in order."""
    core.eval()
    rows = []
    with torch.no_grad():
        for start in range(0, len(samples), batch):
            b = collate([item(s) for s in samples[start : start + batch]])
            rows.append(core.logits(b.keypoints, b.fps_hz, b.frames, b.rise_ratio).double().numpy())
    return np.concatenate(rows)


def fit_calibration(core: Core, samples: list[Sample]) -> dict[str, dict[str, float]]:
    """Write calibration's scale and bias into the core and return two thresholds per fault, all from validation people.

    From ``present`` on a fault is claimed, below ``absent`` it is denied, between them the model abstains. They are the
    threshold that is right in 80 % of validation cases and the one with the best F1, in this or the other order.
    """
    logits = logits_of(core, samples)
    faults = np.stack([s.faults for s in samples]).astype(np.float64)
    head = HEADS[core.task.head]()
    scale, bias = head.calibrate(faults, logits)
    core.scale[:], core.bias[:] = torch.from_numpy(scale), torch.from_numpy(bias)
    probabilities = head(torch.from_numpy(logits * scale + bias)).numpy()
    thresholds = {}
    for i, key in enumerate(core.task.labels):
        p = probabilities[:, i]
        best, claim = best_threshold(faults[:, i], p), claim_threshold(faults[:, i], p)
        thresholds[key] = {"absent": min(best, claim), "present": max(best, claim)}
    return thresholds


def trainer_for(cfg: Train, logger: MLFlowLogger, callbacks: list[Callback]) -> L.Trainer:
    """Lightning's trainer: early stopping, best and last checkpoint, deterministic, device named."""
    device = choose_device(cfg.device)
    known = PRECISIONS if device.type == "cuda" else PRECISIONS[:2]
    if cfg.precision not in known:
        raise ConfigError(f"train.precision {cfg.precision!r} is none of {', '.join(known)} on {device.type}")
    say(f"training on {device_name(device)}")
    return L.Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=max(1, cfg.devices),
        strategy="ddp" if cfg.devices > 1 else "auto",
        precision=cfg.precision,
        max_epochs=cfg.epochs,
        logger=logger,
        deterministic=device.type == "cpu",
        gradient_clip_val=cfg.gradient_clip,
        log_every_n_steps=1,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[
            *callbacks,
            EarlyStopping("val_loss", patience=cfg.patience),
            LearningRateMonitor("epoch"),
            ModelCheckpoint(
                cfg.models_dir, "best", monitor="val_loss", save_last=True, enable_version_counter=False,
                save_on_train_epoch_end=True,
            ),
            RichProgressBar(leave=False),
        ],
    )  # fmt: skip


def curves(history: list[dict[str, float]]) -> Figure:
    """Loss, and average precision per label on validation people, over epochs."""
    figure, (loss, precision) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for name in sorted({name for row in history for name in row}):
        if name in ("train_loss", "val_loss") or name.startswith("val_ap_"):
            axis = loss if name.endswith("_loss") else precision
            axis.plot([row.get(name, np.nan) for row in history], label=name.removeprefix("val_ap_"))
    loss.set(xlabel="epoch", ylabel="loss: of all three heads in training, of the faults in validation")
    precision.set(xlabel="epoch", ylabel="validation average precision", ylim=(0, 1.02))
    for axis in (loss, precision):
        axis.legend()
    return figure


class History(Callback):
    """Keep each epoch's numbers for the report of the run."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def state_dict(self) -> dict[str, Any]:
        """Called by Lightning when it saves."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Called by Lightning when it resumes."""
        self.rows = state_dict["rows"]

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Called by Lightning after validation and training metrics are in."""
        self.rows.append({name: float(value) for name, value in trainer.callback_metrics.items()})


def work(cfg: Train) -> float | None:
    """Load, split by person, fit, calibrate, save ``model.pt`` and ``training.json``, log it all.

    Returns the best validation loss; nothing in the processes that help another one.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("mlflow.pyfunc").setLevel(logging.ERROR)  # it warns of pickle; ours stays on this machine
    for message in (
        ".*does not have many workers.*",
        ".*exists and is not empty.*",
        ".*isinstance.treespec, LeafSpec.*",
    ):
        warnings.filterwarnings("ignore", message=message)
    L.seed_everything(cfg.seed, verbose=False)
    task = task_of(cfg)
    samples, counts = load_samples(cfg.poses_dir, task)
    parts = split_people(samples, cfg.validation_share, cfg.test_share, cfg.seed)
    for name, part in parts.items():
        say(f"{name}: {len(part)} reps of {len({s.subject for s in part})} people")
    batches = loader(parts["train"], cfg, training=True)
    module = FaultModule(cfg, cfg.epochs * math.ceil(len(batches) / max(1, cfg.devices)))
    parent = search_run(cfg)
    tags = {MLFLOW_PARENT_RUN_ID: parent} if parent else None
    logger = MLFlowLogger(cfg.experiment_name, cfg.run_name, cfg.tracking_uri, tags, log_model=False)
    history = History()
    trainer = trainer_for(cfg, logger, [Chance(batches), history])
    last = cfg.models_dir / "last.ckpt"
    if cfg.resume and not last.exists():
        raise FileNotFoundError(f"{last}: nothing to resume; run without train.resume=true")
    logger.log_hyperparams(parameters(cfg))
    trainer.fit(
        module, batches, loader(parts["validation"], cfg, training=False), ckpt_path=str(last) if cfg.resume else None
    )
    if not trainer.is_global_zero:
        return None

    best = torch.load(trainer.checkpoint_callback.best_model_path, map_location="cpu", weights_only=False)
    module.load_state_dict(best["state_dict"])
    core = module.core.cpu().eval()
    if not any(np.isfinite(s.observable).any() for s in parts["train"]):
        core.network.trust_geometry()
    people = {name: sorted({s.subject for s in part}) for name, part in parts.items()}
    people["test"] = sorted({*people["test"], *(c.subject for c in counts if c.split == "test")})
    thresholds = fit_calibration(core, parts["validation"])
    facts = {
        "version": __version__,
        "revision": git_revision(),
        "data": data_hash(cfg.poses_dir),
        "labels": list(task.labels),
        "thresholds": thresholds,
        "epochs": trainer.current_epoch,
        "people": people,
    }
    save_model(cfg.models_dir / "model.pt", core, shape(cfg), facts)
    scores = [row["val_loss"] for row in history.rows]
    shipped = history.rows[int(np.argmin(scores))] if scores else {}  # the epoch that model.pt holds
    report = {
        "best_val_loss": float(trainer.checkpoint_callback.best_model_score),
        **shipped,
        "epochs": trainer.current_epoch,
    }
    (cfg.models_dir / "training.json").write_text(json.dumps(report, indent=2) + "\n")
    log_run(logger, curves(history.rows), facts, collate([item(parts["validation"][0])]), cfg)
    if parent:
        logger.experiment.log_metric(parent, "best_val_loss", report["best_val_loss"])
    best_loss: float = report["best_val_loss"]
    print(f"{cfg.models_dir / 'model.pt'}: validation loss {best_loss:.4f} after {report['epochs']} epochs")
    return best_loss


@rank_zero_only
def search_run(cfg: Train) -> str | None:
    """Id of the run that holds all trials of a search, made by the first of them; None where nothing is searched."""
    if not cfg.search:
        return None
    client = mlflow.MlflowClient(cfg.tracking_uri)
    known = client.get_experiment_by_name(cfg.experiment_name)
    experiment = known.experiment_id if known else client.create_experiment(cfg.experiment_name)
    if found := client.search_runs([experiment], f"tags.search = '{cfg.search}'", max_results=1):
        return str(found[0].info.run_id)
    run = client.create_run(experiment, run_name=cfg.search, tags={"search": cfg.search})
    client.set_terminated(run.info.run_id)
    return str(run.info.run_id)


def parameters(cfg: Train) -> dict[str, Any]:
    """Every setting of every section by ``section.key``."""
    own = {key: value for key, value in asdict(cfg).items() if key != "sections"}
    sections = {"train": own, **cfg.sections}
    return {f"{name}.{key}": value for name, section in sections.items() for key, value in section.items()}


INPUTS = ("keypoints", "fps_hz", "frames", "rise_ratio")


def outputs_of(core: Core, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """What a core makes of arrays by name, by name."""
    with torch.no_grad():
        out = core(*(torch.from_numpy(np.asarray(inputs[name])) for name in INPUTS))
    return {name: value.numpy() for name, value in out._asdict().items()}


class Judge(PythonModel):
    """The core as MLflow loads and serves it: arrays by name in (``INPUTS``), arrays by name out."""

    _skip_type_hint_validation = True  # MLflow reads hints as a schema, where a signature is given already

    def load_context(self, context: Any) -> None:
        """Called by MLflow."""
        self.core, _ = load_model(Path(context.artifacts["model"]))

    @no_type_check
    def predict(self, context: Any, model_input: Any, params: Any = None) -> dict[str, NDArray[Any]]:
        """Called by MLflow; see ``Core`` for shapes."""
        return outputs_of(self.core, model_input)


def log_run(logger: MLFlowLogger, figure: Figure, facts: dict[str, Any], example: Batch, cfg: Train) -> None:
    """Figures, files, tags and the model itself, with signature and example, into the MLflow run and the registry."""
    model, versions = cfg.models_dir / "model.pt", data_versions(cfg.poses_dir)
    inputs = {
        name: np.nan_to_num(getattr(example, name).numpy()) for name in INPUTS
    }  # no NaN in JSON; score 0 = missing
    mlflow.set_tracking_uri(logger._tracking_uri)
    with mlflow.start_run(run_id=logger.run_id):
        mlflow.set_tags({"revision": facts["revision"], "data": facts["data"], "version": facts["version"]})
        mlflow.set_tags({f"dvc {path}": md5 for path, md5 in versions.items()})
        mlflow.log_figure(figure, "curves.png")
        mlflow.log_dict(facts, "facts.json")
        mlflow.log_artifact(str(model))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mlflow.pyfunc.log_model(
                name="core",
                python_model=Judge(),
                artifacts={"model": str(model)},
                code_paths=[str(CONF.parent / "src")],
                input_example=inputs,
                signature=infer_signature(inputs, outputs_of(load_model(model)[0], inputs)),
                registered_model_name=None if cfg.search else cfg.experiment_name,
                pip_requirements=["hydra-core", "lightning", "matplotlib", "mlflow", "numpy", "torch"],
            )
    plt.close(figure)


def main() -> None:
    """``python -m src.train [key=value ...]``."""
    run_stage(Train, work)


if __name__ == "__main__":
    main()
