import json
import warnings
from dataclasses import fields, replace

import hydra
import mlflow
import numpy as np
import pytest
import torch
from conftest import python, write_people

from src.config import CONF, SECTIONS, ConfigError, Train, load
from src.learn import calibrate
from src.learn import fit as fitting
from src.learn.calibrate import fit_calibration, outputs_of
from src.learn.fit import FaultModule, Order, ema
from src.motion.dataset import load_samples, split_people
from src.motion.faults import FAULT_KEYS
from src.motion.features import Features
from src.motion.heads import MultiLabel
from src.motion.model import CoreOutput, load_model
from src.train import work

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
        workers=0,  # to start one takes longer than these epochs; DDP below has one
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
    assert all(0.0 <= band["absent"] <= 0.5 <= band["present"] <= 1.01 for band in facts["thresholds"].values())
    assert facts["version"] and facts["revision"] and facts["data"] and facts["epochs"] == 2
    assert report(trained)["epochs"] == 2 and np.isfinite(report(trained)["best_val_loss"])
    assert list((trained).glob("*.ckpt")) and core.frames == settings.frames


def test_people_are_split_and_a_given_split_is_kept(settings, trained):
    people = {name: set(names) for name, names in load_model(trained / "model.pt")[1]["people"].items()}
    assert sum(len(names) for names in people.values()) == PEOPLE + 1  # nobody twice
    assert set.union(*people.values()) == {f"p{i}" for i in range(PEOPLE)} | {"t0"}
    assert "t0" in people["test"] and people["train"] and people["validation"]
    assert people["proof"] == set()  # labels.csv keeps nobody for it


def test_calibration_was_fitted_and_stored(settings, trained):
    core, facts = load_model(trained / "model.pt")
    samples, _ = load_samples(settings.poses_dir)
    samples = split_people(samples, 0.25, 0.25, settings.seed)["validation"]
    assert {s.subject for s in samples} == set(facts["people"]["validation"])
    labels, logits = np.stack([s.faults for s in samples]), outputs_of(core, samples)[0]
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


def test_limits_of_claims_are_chosen_where_the_fault_can_be_observed(settings, trained, monkeypatch):
    core, known = load_model(trained / "model.pt")[0], load_samples(settings.poses_dir)[0][0]
    ill, hidden = np.arange(200) % 2 == 1, np.arange(200) >= 120
    logits = np.where(ill, 2.0, -2.0) + np.random.default_rng(0).normal(0.0, 0.5, 200)
    labels = np.where(hidden, ~ill, ill)  # where the fault is hidden the network errs, but decides nothing
    monkeypatch.setattr(MultiLabel, "calibrate", lambda *_: (np.ones(len(FAULT_KEYS)), np.zeros(len(FAULT_KEYS))))

    def bands(rows):
        columns = (np.repeat(column[rows, None], len(FAULT_KEYS), 1) for column in (logits, np.where(hidden, 0.2, 0.9)))
        monkeypatch.setattr(calibrate, "outputs_of", lambda *_: tuple(columns))
        return fit_calibration(
            core, [replace(known, faults=np.full(len(FAULT_KEYS), label, float)) for label in labels[rows]]
        )

    assert bands(slice(None)) == bands(~hidden)
    assert all(band["present"] < 1.0 for band in bands(~hidden).values())


def test_the_moving_average_of_the_weights_is_kept(settings, trained, tmp_path):
    saved = torch.load(trained / "best.ckpt", map_location="cpu", weights_only=False)
    kept, name = load_model(trained / "model.pt")[0].state_dict(), "network.stem.weight"
    assert torch.equal(kept[name], saved["state_dict"][f"core.{name}"])
    assert not torch.equal(kept[name], saved["current_model_state"][f"core.{name}"])
    plain = replace(settings, models_dir=tmp_path, ema_decay=0.0, epochs=1)
    work(plain)
    assert "current_model_state" not in torch.load(tmp_path / "best.ckpt", map_location="cpu", weights_only=False)


def test_the_moving_average_forgets_the_first_weights():
    mean = torch.zeros(1)
    for step in range(100):
        mean = ema(0.995, mean, torch.ones(1), torch.tensor(step))
    assert mean > 0.99


def test_every_epoch_has_its_own_order_and_processes_take_turns(monkeypatch):
    order = Order(7, seed=3)
    first, again = list(order), list(order)
    order.set_epoch(2)
    later = list(order)
    assert first == again and sorted(first) == [*range(7)] and sorted(later) == [*range(14, 21)]
    assert [i - 14 for i in later] != first != list(Order(7, seed=4))
    shares = []
    monkeypatch.setattr(fitting, "processes", lambda: 2)
    for rank in (0, 1):
        monkeypatch.setattr(fitting.dist, "get_rank", lambda rank=rank: rank)
        shares.append(list(order))
    assert len(order) == 3 and [len(share) for share in shares] == [3, 3]
    assert not set(shares[0]) & set(shares[1]) and set(sum(shares, [])) < set(later)


def test_what_the_detector_saw_counts_several_times(settings, monkeypatch):
    def caught(reps, cfg, training):
        raise LookupError(len(reps))

    monkeypatch.setattr(fitting, "loader", caught)
    samples, _ = load_samples(settings.poses_dir)
    detected = sum(s.folder.startswith("detected") for s in samples)
    assert 0 < detected < len(samples)
    with pytest.raises(LookupError, match=str(len(samples) + 2 * detected)):
        fitting.fit(replace(settings, detected_repeats=3), samples, [], None)
    with pytest.raises(ConfigError, match="detected_repeats 0: a rep counts once or more"):
        fitting.fit(replace(settings, detected_repeats=0), samples, [], None)
    with pytest.raises(ConfigError, match="epochs 0: one epoch at least"):
        fitting.fit(replace(settings, epochs=0), samples, [], None)


def test_the_same_seed_gives_the_same_model_and_another_seed_another(settings, trained, tmp_path):
    again = replace(settings, models_dir=tmp_path / "again")
    work(again)
    assert report(again.models_dir) == report(trained)
    state, other = (load_model(folder / "model.pt")[0].state_dict() for folder in (trained, again.models_dir))
    assert all(torch.equal(state[name], other[name]) for name in state)
    changed = replace(settings, models_dir=tmp_path / "changed", seed=4, epochs=1)
    work(changed)
    assert report(changed.models_dir)["best_val_loss"] != report(trained)["best_val_loss"]


@pytest.fixture(scope="module")
def run(settings, trained):
    """What MLflow knows of the first run, and the client that asks."""
    client = mlflow.MlflowClient(settings.tracking_uri)
    experiment = client.get_experiment_by_name(settings.experiment_name)
    return client.search_runs([experiment.experiment_id], order_by=["start_time ASC"])[0], client


def test_mlflow_holds_parameters_metrics_and_figures(settings, run):
    run, client = run
    assert run.info.status == "FINISHED" and run.info.run_name == settings.run_name
    assert run.data.params["train.epochs"] == "2" and run.data.params["train.seed"] == "3"
    assert {name.partition(".")[0] for name in run.data.params} == set(SECTIONS) - {"trace"}  # no part of the road
    assert {"revision", "data", "version"} <= set(run.data.tags)
    for metric in ("train_loss", "val_loss"):
        history = client.get_metric_history(run.info.run_id, metric)
        assert len(history) == 2 and all(np.isfinite(point.value) for point in history), metric
    assert any(name.startswith("val_ap_") for name in run.data.metrics) and "lr-AdamW" in run.data.metrics
    files = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    assert {"curves.png", "model.pt", "facts.json"} <= files


def test_mlflow_registers_the_model_with_signature_and_example(settings, trained, run, monkeypatch):
    _, client = run
    version = client.get_model_version(settings.experiment_name, "1")
    mlflow.set_tracking_uri(settings.tracking_uri)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = mlflow.pyfunc.load_model(f"models:/{version.name}/{version.version}")
    signature, example = model.metadata.signature, model.input_example
    assert [spec.name for spec in signature.inputs] == ["keypoints", "fps_hz", "frames", "rise_ratio"]
    assert {spec.name for spec in signature.outputs} == set(CoreOutput._fields)
    out, core = model.predict(example), load_model(trained / "model.pt")[0]
    expected = core(*(torch.from_numpy(np.asarray(example[spec.name])) for spec in signature.inputs))
    np.testing.assert_allclose(out["probabilities"], expected.probabilities.numpy(), atol=1e-6)


def test_a_resumed_run_ends_like_an_unbroken_one(settings, trained, tmp_path, monkeypatch):
    broken = replace(settings, models_dir=tmp_path / "broken")

    def pull_the_plug(module):
        if module.current_epoch == 1:
            raise OSError("no power")

    with monkeypatch.context() as patch:
        patch.setattr(FaultModule, "on_train_epoch_start", pull_the_plug)
        with pytest.raises(OSError, match="no power"):
            work(broken)
    assert not (broken.models_dir / "model.pt").exists()
    work(replace(broken, resume=True))
    assert report(broken.models_dir) == report(trained)
    state, whole = (load_model(folder / "model.pt")[0].state_dict() for folder in (broken.models_dir, trained))
    assert all(torch.equal(state[name], whole[name]) for name in whole)


def test_mixed_precision_leaves_the_geometry_in_32_bits(settings, trained, tmp_path, monkeypatch):
    kinds, seen = [], Features.forward

    def forward(self, *inputs):
        out = seen(self, *inputs)
        kinds.append(out[0].dtype)
        return out

    monkeypatch.setattr(Features, "forward", forward)
    mixed = replace(settings, models_dir=tmp_path / "mixed", precision="bf16-mixed", epochs=1)
    work(mixed)
    assert set(kinds) == {torch.float32}
    loss = report(mixed.models_dir)["best_val_loss"]
    assert np.isfinite(loss) and loss != report(trained)["best_val_loss"]
    with pytest.raises(ConfigError, match="16-mixed.*cpu"):
        work(replace(mixed, precision="16-mixed"))


def test_two_processes_share_a_run(settings, trained, tmp_path):
    paths = [f"train.{key}={getattr(settings, key)}" for key in ("poses_dir", "tracking_uri")]
    same = [f"train.{key}={getattr(settings, key)}" for key in ("channels", "blocks", "batch", "seed", "epochs")]
    shares = ["train.validation_share=0.25", "train.test_share=0.25", "train.device=cpu", "train.run_name=pair"]
    done = python("-m", "src.train", *paths, *same, *shares, "train.devices=2", f"train.models_dir={tmp_path}")
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("training on cpu") == 1 == done.stdout.count("after 2 epochs")
    core, facts = load_model(tmp_path / "model.pt")
    assert facts["people"] == load_model(trained / "model.pt")[1]["people"]
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=False)
    samples, _ = load_samples(settings.poses_dir)
    people = len(split_people(samples, 0.25, 0.25, settings.seed)["train"])
    assert checkpoint["global_step"] == 2 * -(-people // (2 * settings.batch))  # each process takes half of the batches
    client = mlflow.MlflowClient(settings.tracking_uri)
    experiment = client.get_experiment_by_name(settings.experiment_name)
    (run,) = client.search_runs([experiment.experiment_id], "tags.mlflow.runName = 'pair'")
    assert run.data.metrics["val_loss"] == pytest.approx(report(tmp_path)["val_loss"], abs=0.2)


def test_trials_of_a_search_stand_below_one_run(settings, trained, tmp_path):
    trials = [replace(settings, models_dir=tmp_path, epochs=1, search="design", channels=n) for n in (4, 8)]
    losses = [work(trial) for trial in trials]
    assert losses[1] == report(tmp_path)["best_val_loss"] != losses[0]
    client = mlflow.MlflowClient(settings.tracking_uri)
    experiment = client.get_experiment_by_name(settings.experiment_name).experiment_id
    (parent,) = client.search_runs([experiment], "tags.search = 'design'")
    children = client.search_runs([experiment], f"tags.mlflow.parentRunId = '{parent.info.run_id}'")
    assert {run.data.params["train.channels"] for run in children} == {"4", "8"} and parent.info.status == "FINISHED"
    told = [point.value for point in client.get_metric_history(parent.info.run_id, "best_val_loss")]
    assert sorted(told) == pytest.approx(sorted(losses))
    assert len(client.search_model_versions(f"name = '{settings.experiment_name}'")) < len(
        client.search_runs([experiment])
    )


def test_the_search_tries_settings_that_there_are():
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        asked = hydra.compose("config", ["experiment=search"], return_hydra_config=True).hydra
    names = {field.name for field in fields(Train)}
    assert {key.removeprefix("train.") for key in asked.sweeper.params} <= names
    assert "optuna" in asked.sweeper._target_ and asked.sweeper.n_trials <= 20 and asked.sweep.dir == "data/search"
    assert load(Train, "experiment=search").models_dir.is_relative_to(asked.sweep.dir)


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
