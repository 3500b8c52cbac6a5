"""Another skeleton and other labels train, are evaluated and exported by configuration alone."""

import csv
import json

import numpy as np
import pytest
import torch

from src.config import Evaluate, Export, Train, load
from src.evaluate import work as evaluate
from src.export import AOTI, PACKAGES
from src.export import work as export
from src.learn.fit import task_of
from src.motion.dataset import load_samples, samples_of
from src.motion.keypoints import Track, TrackError
from src.motion.labels import Label, LabelError, columns_of
from src.motion.model import METADATA, SUMS, Core, ModelError, load_model
from src.motion.task import HIP_THRUSTS, TaskError, views_of
from src.motion.verdict import Scorer
from src.train import work as train

PEOPLE, REP_S, FPS_HZ = 16, 1.5, 20.0


def overrides(folder, *more):
    """The experiment as it is shipped, in a folder of its own and with a smaller network."""
    stages = {"train": ("poses", "models"), "evaluate": ("poses", "models", "reports"), "export": ("models",)}
    moved = [f"{stage}.{part}_dir={folder / part}" for stage, parts in stages.items() for part in parts]
    files = [f"export.core={folder}/models/core.pt", f"export.report={folder}/reports/evaluate.json"]
    shares = ["train.validation_share=0.25", "train.test_share=0.25", "train.epochs=15", "train.learning_rate=0.01"]
    small = [
        "train.batch=8",
        "train.workers=0",
        "train.channels=16",
        "train.blocks=3",
        "train.device=cpu",
        "evaluate.kernels=84",
    ]
    store = [f"train.tracking_uri=sqlite:///{folder.parent}/custom.db", "evaluate.bootstrap=20"]
    return ["experiment=custom_skeleton", *moved, *files, *shares, *small, *store, *more]


def movement(labels, present, rng, points=19):
    """Keypoints (T, 19, 4) m of one rep: label i moves point 2 i up and down; jitter and gaps besides."""
    t = np.arange(round(REP_S * FPS_HZ)) / (REP_S * FPS_HZ)
    body = np.random.default_rng(0).normal(0.0, 0.4, (points, 3))
    at = np.tile(body, (len(t), 1, 1)) + rng.normal(0.0, 0.02, (len(t), points, 3))
    for label in present:
        at[:, 2 * labels.index(label), 1] += 0.6 * np.sin(np.pi * t)
    keypoints = np.concatenate([at, rng.uniform(0.5, 1.0, (len(t), points, 1))], axis=2)
    keypoints[rng.random(keypoints.shape[:2]) < 0.05] = (np.nan, np.nan, np.nan, 0.0)
    return keypoints


def write_movements(folder, labels, several=False):
    """A clip per person in which each label is shown once, timed rep by rep; with ``several``, another label beside it."""
    folder.mkdir(parents=True)
    rows = []
    for person in range(PEOPLE):
        rng, reps = np.random.default_rng(person), []
        for i, label in enumerate(labels):
            present = {label, labels[(i + 2) % len(labels)]} if several else {label}
            reps.append(movement(labels, present, rng))
            values = {key: int(key in present) for key in labels}
            times = {"start_s": i * REP_S, "end_s": (i + 1) * REP_S}
            rows.append({"clip": f"p{person}.npz", "subject": f"p{person}", **times, **values})
        keypoints = np.concatenate(reps)
        keypoints[..., :3] = keypoints[..., :3] * rng.uniform(0.8, 1.2) + rng.normal(0.0, 3.0, 3)  # a size and a place
        Track(keypoints.astype(np.float32), FPS_HZ, (0, 0), "mocap", skeleton="body_19").save(folder / f"p{person}.npz")
    write_rows(folder, labels, rows)


def write_rows(folder, labels, rows):
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns_of(labels), restval="")
        writer.writeheader()
        writer.writerows(rows)


def run(folder, *more, stages=((Train, train), (Evaluate, evaluate))):
    """Train and evaluate; the report on the one folder, the core and its facts."""
    for kind, work in stages:
        work(load(kind, *overrides(folder, *more)))
    report = json.loads((folder / "reports" / "evaluate.json").read_text())
    return report["folders"]["gym"], *load_model(folder / "models" / "model.pt")


LABELS = tuple(load(Train, "experiment=custom_skeleton").labels)


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """Seven exercises that exclude each other: the folder of a run through all three stages."""
    folder = tmp_path_factory.mktemp("custom")
    write_movements(folder / "poses" / "gym", LABELS)
    run(folder, stages=((Train, train), (Evaluate, evaluate), (Export, export)))
    return folder


def test_nineteen_joints_in_three_dimensions_and_seven_exclusive_labels(single):
    report, core, facts = run(single, stages=())
    assert len(LABELS) == 7 and len(core.task.skeleton) == 19 and core.task.skeleton.dimensions == 3
    assert list(report["faults"]) == facts["labels"] == list(LABELS) and report["clips"] == {}
    assert report["macro_average_precision"] > 0.9 and report["accuracy"] > 0.8
    jump = report["faults"]["jump"]
    assert jump["baselines"].keys() == {"logistic regression", "MiniROCKET"} and jump["decided_share"] is not None
    assert {p.name for p in single.rglob("*.png")} == {"reliability_gym.png", "risk_coverage_gym.png"}
    assert not (single / "reports" / "model_card.md").exists()  # that one speaks of hip thrusts
    out = core(torch.rand(3, 30, 19, 4), torch.full((3,), 20.0), torch.tensor([30, 20, 9]))
    torch.testing.assert_close(out.probabilities.sum(dim=1), torch.ones(3))


def test_its_packages_say_what_they_are(single):
    made = {p.suffix for p in (single / "models").glob("core*")}
    assert made == {*PACKAGES, SUMS} - {AOTI}  # written only if they equal eager
    extra = {METADATA: ""}
    exported = torch.jit.load(str(single / "models" / "core.pt"), _extra_files=extra)
    about = json.loads(extra[METADATA])
    assert about["labels"] == list(LABELS) and len(about["skeleton"]["points"]) == 19 and "x, y, z" in about["input"]
    assert about["head"] == "single_label" and about["skeleton"]["mirrored"][5:7] == [6, 5]
    sample = load_samples(single / "poses", load_model(single / "models" / "model.pt")[0].task)[0][0]
    rows = torch.from_numpy(sample.keypoints)[None]
    p = exported(rows, torch.tensor([sample.fps_hz]), torch.tensor([rows.shape[1]])).probabilities[0]
    assert p.argmax() == int(sample.faults.argmax())
    with pytest.raises(ModelError, match="labelled reps of body_19"):
        Scorer(single / "models" / "core.pt", torch.device("cpu"))


def test_labels_that_come_together(tmp_path):
    write_movements(tmp_path / "poses" / "gym", LABELS, several=True)
    report, core, _ = run(tmp_path, "train.head=multi_label", "evaluate.bootstrap=2")
    assert report["macro_average_precision"] > 0.9 and "accuracy" not in report
    assert all(fault["positives"] == 2 * report["people"] for fault in report["faults"].values())


def test_two_labels_where_one_is_asked_for_are_refused(tmp_path):
    gym, row = tmp_path / "gym", {"clip": "a.npz", "subject": "ann"}
    task = task_of(load(Train, "experiment=custom_skeleton"))
    write_movements(gym, LABELS)
    for values in (dict.fromkeys(LABELS, "0") | {"squat": "1", "jump": "1"}, dict.fromkeys(LABELS, "0")):
        write_rows(gym, LABELS, [row | values])
        with pytest.raises(LabelError, match="head single_label needs one"):
            load_samples(tmp_path, task)
    write_rows(gym, LABELS, [row | {"clip": "p0.npz", "squat": "1"}])  # whole clip, the others unknown
    (sample,), (count,) = load_samples(tmp_path, task)
    assert len(sample.keypoints) == len(LABELS) * REP_S * FPS_HZ and (count.labelled, count.found) == (None, 1)


def test_a_track_of_another_skeleton_is_refused():
    track = Track(np.zeros((40, 19, 4), np.float32), 20.0, (0, 0), "mocap", skeleton="body_19")
    label = Label("a.npz", "ann", None, None, (0.0,) * 4, "side")
    with pytest.raises(TrackError, match="a.npz: a track of skeleton body_19; the task is hip_thrust_v3"):
        samples_of(track, [label], "gym")


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ("train.head=softmax", "softmax"),
        ("train.features=angles", "three dimensions"),
        ("train.reps=found", "reps: labelled"),
        ("train.labels=[squat,squat]", "squat"),
        ("train.labels=[squat,view]", "view"),
        ("train.labels=[squat]", "too few"),
        ("train.skeleton.dimensions=4", "dimensions 4"),
        ("train.skeleton.points=[head,head]", "twice"),
        ("train.skeleton.bones=[[head,tail]]", "tail"),
        ("train.skeleton.points=[]", "no points"),
    ],
)
def test_what_cannot_be_learnt_is_named(change, names):
    with pytest.raises(TaskError, match=names):
        task_of(load(Train, "experiment=custom_skeleton", change))


def test_the_settings_of_this_project_are_its_own_task():
    assert task_of(load(Train)) == HIP_THRUSTS
    few = task_of(load(Train, "train.labels=[feet_too_far,knees_in]"))
    assert views_of("feet_too_far") == ("side", "oblique") and "rear" in views_of("knees_in")
    limits = Core(few, channels=4, blocks=1).limits
    assert limits.widest.tolist() == pytest.approx([1.1, 1e3]) and limits.needs_back.tolist() == [0.0, 0.0]
