"""Fitting the network: loss, optimiser, batches, trainer, and what lets a run resume. The home of Lightning."""

import logging
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    LearningRateMonitor,
    ModelCheckpoint,
    RichProgressBar,
    WeightAveraging,
)
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from src.config import ConfigError, Train, choose_device, device_name
from src.motion.augment import augmented
from src.motion.dataset import Batch, RepDataset, Sample, collate, repeated
from src.motion.heads import HEADS, masked_distance, masked_loss
from src.motion.keypoints import SKELETONS, Skeleton
from src.motion.metrics import average_precision
from src.motion.model import Core
from src.motion.task import Task

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
    names = ("frames", "channels", "blocks", "dropout", "feature_dropout")
    return {name: getattr(cfg, name) for name in names}


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
        """Average precision per fault over all validation people, whom every process sees."""
        logits, faults = (torch.cat(part).double().cpu().numpy() for part in zip(*self.seen, strict=True))
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


class RandomStates(Callback):
    """The states that dropout draws from, kept so that a resumed run goes on as an unbroken one would."""

    def state_dict(self) -> dict[str, Any]:
        """Called by Lightning when it saves."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {"cpu": torch.get_rng_state(), "cuda": cuda}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Called by Lightning when it resumes."""
        torch.set_rng_state(state_dict["cpu"])
        if torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state_dict["cuda"])


class Order(Sampler[int]):
    """The order of the items in every epoch, by seed and epoch alone; the processes of DDP take turns.

    An index is ``epoch * items + item``: whatever is drawn by index is drawn anew each epoch, in any process.
    """

    def __init__(self, items: int, seed: int) -> None:
        self.items, self.seed, self.epoch = items, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.items // processes()

    def __iter__(self) -> Iterator[int]:
        order = self.epoch * self.items + np.random.default_rng((self.seed, self.epoch)).permutation(self.items)
        turn = dist.get_rank() if processes() > 1 else 0
        return iter(order[turn :: processes()][: len(self)].tolist())


def processes() -> int:
    """How many share the batches."""
    return dist.get_world_size() if dist.is_initialized() else 1


def loader(samples: list[Sample], cfg: Train, training: bool) -> DataLoader[Any]:
    """Batches of padded reps; shuffled and augmented for training."""
    workers = cfg.workers if training else 0
    context = "spawn" if workers else None  # a fork would copy locks that threads of this process hold
    return DataLoader(
        RepDataset(samples, augmented if training else None, cfg.seed),
        cfg.batch,
        sampler=Order(len(samples), cfg.seed) if training else None,
        collate_fn=collate,
        num_workers=workers,
        multiprocessing_context=context,
        persistent_workers=workers > 0,
        drop_last=len(samples) > cfg.batch and training,
    )


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


def ema(decay: float, mean: Tensor, now: Tensor, steps: Tensor) -> Tensor:
    """An exponential moving average after one more step; its first steps weigh more, else it would remember the first weights."""
    moved: Tensor = mean + (now - mean) * (9 / (10 + steps)).clamp(min=1 - decay)
    return moved


def trainer_for(cfg: Train, logger: Logger, callbacks: list[Callback]) -> L.Trainer:
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
        use_distributed_sampler=False,  # Order does it
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
            *([WeightAveraging(device=device, avg_fn=partial(ema, cfg.ema_decay))] if cfg.ema_decay else []),
            EarlyStopping("val_loss", patience=cfg.patience),
            LearningRateMonitor("epoch"),
            ModelCheckpoint(
                cfg.models_dir, "best", monitor="val_loss", save_last=True, enable_version_counter=False,
                save_on_train_epoch_end=True,
            ),
            RichProgressBar(leave=False),
        ],
    )  # fmt: skip


@dataclass(frozen=True)
class Fitted:
    """A core with the weights of its best epoch, in evaluation mode, every epoch's numbers and the best validation loss."""

    core: Core
    epochs: list[dict[str, float]]
    best_loss: float


def checkpoint(cfg: Train) -> Path | None:
    """The file that a run resumes from; ``FileNotFoundError`` where there is none, None where nothing is to be resumed."""
    last = cfg.models_dir / "last.ckpt"
    if cfg.resume and not last.exists():
        raise FileNotFoundError(f"{last}: nothing to resume; run without train.resume=true")
    return last if cfg.resume else None


def fit(cfg: Train, train: list[Sample], validation: list[Sample], logger: Logger) -> Fitted | None:
    """Train on some reps, choose the epoch by others; None in the processes that help another one."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",
        ".*exists and is not empty.*",
        ".*isinstance.treespec, LeafSpec.*",
    ):
        warnings.filterwarnings("ignore", message=message)
    L.seed_everything(cfg.seed, verbose=False)
    if cfg.epochs < 1:
        raise ConfigError(f"train.epochs {cfg.epochs}: one epoch at least")
    if cfg.detected_repeats < 1:
        raise ConfigError(f"train.detected_repeats {cfg.detected_repeats}: a rep counts once or more often")
    batches, history = loader(repeated(train, cfg.detected_repeats), cfg, training=True), History()
    module = FaultModule(cfg, cfg.epochs * math.ceil(len(batches) / max(1, cfg.devices)))
    trainer = trainer_for(cfg, logger, [RandomStates(), history])
    trainer.fit(module, batches, loader(validation, cfg, training=False), ckpt_path=checkpoint(cfg))
    if not trainer.is_global_zero:
        return None
    best = torch.load(trainer.checkpoint_callback.best_model_path, map_location="cpu", weights_only=False)
    module.load_state_dict(best["state_dict"])
    core = module.core.cpu().eval()
    if not any(np.isfinite(s.observable).any() for s in train):
        core.network.trust_geometry()
    return Fitted(core, history.rows, float(trainer.checkpoint_callback.best_model_score))
