"""Training runs as MLflow keeps them: parameters, curves, files, the registered model. The home of MLflow."""

import logging
import os
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any, no_type_check

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

import matplotlib
import mlflow
import numpy as np
import torch
from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.utilities import rank_zero_only
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from mlflow.models import infer_signature
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from numpy.typing import NDArray

from src.config import CONF, Train, data_versions
from src.learn.fit import Fitted
from src.motion.dataset import Batch
from src.motion.model import INPUTS, Core, load_model

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it warns of type hints of its own
    from mlflow.pyfunc import PythonModel

matplotlib.use("Agg")


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


QUIET = ("mlflow.pyfunc", "mlflow.store.db.utils", "lightning.pytorch.loggers.mlflow")
"""They warn of pickle, though ours stays on this machine, and tell how a first run makes its database and experiment."""


def open_run(cfg: Train) -> MLFlowLogger:
    """A new run with every setting of every section, below its search's run where there is a search."""
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
    parent = search_run(cfg)
    tags = {MLFLOW_PARENT_RUN_ID: parent} if parent else None
    logger = MLFlowLogger(cfg.experiment_name, cfg.run_name, cfg.tracking_uri, tags, log_model=False)
    logger.log_hyperparams(parameters(cfg))
    return logger


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


def close_run(logger: MLFlowLogger, cfg: Train, fitted: Fitted, facts: dict[str, Any], example: Batch) -> None:
    """Curves, files, tags and the model itself, with signature and example, into the MLflow run and the registry."""
    figure, parent = curves(fitted.epochs), search_run(cfg)
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
    if parent:
        logger.experiment.log_metric(parent, "best_val_loss", fitted.best_loss)
