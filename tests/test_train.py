import json
import sqlite3
from dataclasses import replace
from urllib.parse import urlparse

import mlflow
import numpy as np
import pytest
import torch
from conftest import write_people

from src.config import ConfigError, Train, load
from src.motion.dataset import load_samples, split_people
from src.motion.faults import FAULT_KEYS
from src.motion.model import load_model
from src.train import logits_of, work

PEOPLE = 8


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Two epochs of a small network on eight made-up people and one who may only be tested."""
    folder = tmp_path_factory.mktemp("train")
    write_people(folder / "poses" / "simulated", PEOPLE)
    write_people(folder / "poses" / "detected" / "simulated", 1, prefix="t", split="test")
    return replace(
        load(Train),
        poses_dir=folder / "poses",
        models_dir=folder / "models",
        epochs=2,
        channels=8,
        blocks=2,
        batch=16,
        device="cpu",
        validation_share=0.25,
        test_share=0.25,
        tracking_uri=f"sqlite:///{folder / 'mlflow.db'}",
        seed=3,
    )


@pytest.fixture(scope="module")
def trained(settings):
    """The folder of the trained model. The working directory is another one: nothing may depend on it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(settings.models_dir.parent)
        work(settings)
    return settings.models_dir


def report(models_dir):
    return json.loads((models_dir / "training.json").read_text())


def test_the_model_and_its_facts_are_there(settings, trained):
    core, facts = load_model(trained / "model.pt")
    assert facts["labels"] == list(FAULT_KEYS) and set(facts["thresholds"]) == set(FAULT_KEYS)
    assert all(0.0 <= band["absent"] <= band["present"] <= 1.01 for band in facts["thresholds"].values())
    assert facts["version"] and facts["revision"] and facts["data"] and facts["epochs"] == 2
    assert report(trained)["epochs"] == 2 and np.isfinite(report(trained)["best_val_loss"])
    assert list((trained).glob("*.ckpt")) and core.frames == settings.frames


def test_people_are_split_and_a_given_split_is_kept(settings, trained):
    people = {name: set(names) for name, names in load_model(trained / "model.pt")[1]["people"].items()}
    assert sum(len(names) for names in people.values()) == PEOPLE + 1  # nobody twice
    assert set.union(*people.values()) == {f"p{i}" for i in range(PEOPLE)} | {"t0"}
    assert "t0" in people["test"] and all(people.values())


def test_calibration_was_fitted_and_stored(settings, trained):
    core, facts = load_model(trained / "model.pt")
    samples, _ = load_samples(settings.poses_dir)
    samples = split_people(samples, 0.25, 0.25, settings.seed)["validation"]
    assert {s.subject for s in samples} == set(facts["people"]["validation"])
    labels, logits = np.stack([s.faults for s in samples]), logits_of(core, samples)
    for i, key in enumerate(FAULT_KEYS):
        y, z = labels[:, i], logits[:, i]
        fitted = (float(core.scale[i]), float(core.bias[i]))
        if 0 < np.nansum(y) < np.isfinite(y).sum():
            assert fitted != (1.0, 0.0), key
            bent = fitted[0] * z + fitted[1]
            smooth = np.where(y > 0.5, (y.sum() + 1) / (y.sum() + 2), 1 / ((1 - y).sum() + 2))
            assert np.sum(np.logaddexp(0, bent) - smooth * bent) <= np.sum(np.logaddexp(0, z) - smooth * z) + 1e-4
        else:
            assert fitted == (1.0, 0.0), key


def test_the_same_seed_gives_the_same_model_and_another_seed_another(settings, trained, tmp_path):
    again = replace(settings, models_dir=tmp_path / "again")
    work(again)
    assert report(again.models_dir) == report(trained)
    state, other = (load_model(folder / "model.pt")[0].state_dict() for folder in (trained, again.models_dir))
    assert all(torch.equal(state[name], other[name]) for name in state)
    changed = replace(settings, models_dir=tmp_path / "changed", seed=4, epochs=1)
    work(changed)
    assert report(changed.models_dir)["best_val_loss"] != report(trained)["best_val_loss"]


def test_mlflow_holds_parameters_metrics_figure_and_model(settings, trained):
    database = urlparse(settings.tracking_uri).path
    assert sqlite3.connect(database).execute("select count(*) from runs").fetchone()[0] >= 1
    client = mlflow.MlflowClient(settings.tracking_uri)
    experiment = client.get_experiment_by_name(settings.experiment_name)
    run = client.search_runs([experiment.experiment_id], order_by=["start_time ASC"])[0]
    assert run.info.status == "FINISHED"
    assert run.data.params["train.epochs"] == "2" and run.data.params["train.seed"] == "3"
    assert {"revision", "data", "version"} <= set(run.data.tags)
    for metric in ("train_loss", "val_loss"):
        history = client.get_metric_history(run.info.run_id, metric)
        assert len(history) == 2 and all(np.isfinite(point.value) for point in history), metric
    assert any(name.startswith("val_ap_") for name in run.data.metrics)
    files = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    assert {"loss.png", "model.pt", "facts.json"} <= files
    assert client.search_logged_models([run.info.experiment_id]), "the model itself is logged"


def test_resuming_goes_on_where_the_run_stopped(settings, trained, tmp_path):
    whole, halves = (replace(settings, models_dir=tmp_path / name, epochs=3) for name in ("whole", "halves"))
    work(replace(halves, epochs=1))
    work(replace(halves, resume=True))
    checkpoint = torch.load(halves.models_dir / "last.ckpt", weights_only=False)
    assert checkpoint["epoch"] == 2
    work(whole)
    assert report(halves.models_dir)["epochs"] == report(whole.models_dir)["epochs"] == 3


def test_resuming_a_finished_run_changes_nothing(settings, trained, tmp_path):
    done = replace(settings, models_dir=tmp_path / "done", epochs=1)
    work(done)
    before = report(done.models_dir)
    work(replace(done, resume=True))
    assert report(done.models_dir)["best_val_loss"] == before["best_val_loss"]


def test_nothing_to_resume_is_said(settings, tmp_path):
    with pytest.raises(FileNotFoundError, match="last.ckpt"):
        work(replace(settings, models_dir=tmp_path, resume=True))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_without_cuda_fails_by_name(settings, tmp_path):
    with pytest.raises(ConfigError, match="cuda") as caught:
        work(replace(settings, models_dir=tmp_path, device="cuda"))
    assert "\n" not in str(caught.value) and not list(tmp_path.rglob("*.pt"))
