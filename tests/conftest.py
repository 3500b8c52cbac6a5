"""A hip thrust in closed form, on purpose without ``src.motion.kinematics``; small models and tables on top of it."""

import csv
import json
import os
import shutil

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch; as src does
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from functools import cache
from io import StringIO
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
from filelock import FileLock

from src.config import Export, load
from src.export import PACKAGES, save_core, work
from src.motion.camera import sample_camera
from src.motion.faults import FAULT_KEYS
from src.motion.keypoints import HIP_THRUST, OUTLINE, SPINE, Track
from src.motion.kinematics import sample_performance
from src.motion.labels import COLUMNS, OPTIONAL
from src.motion.model import Core, fingerprint, save_model
from src.motion.person import sample_person
from src.video.render import render_clip, sample_look

hypothesis.settings.register_profile("lockout", deadline=None, derandomize=True)  # the same cases on every machine
hypothesis.settings.load_profile("lockout")

ROOT = Path(__file__).resolve().parents[1]
TORCH_NEEDS = {
    "typing_extensions",
    "sympy",
    "mpmath",
    "networkx",
    "jinja2",
    "markupsafe",
    "fsspec",
    "filelock",
    "setuptools",
}
TORCH_ALONE = """
import sys, warnings
warnings.simplefilter("ignore")
import numpy, torch
class Wall:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in ALLOWED and top not in sys.stdlib_module_names:
            raise ModuleNotFoundError(f"blocked: {name}", name=name)
sys.meta_path.insert(0, Wall())
"""


def torch_alone(code, *arguments, cwd=ROOT, also=("src",)):
    """Run code in a fresh interpreter that can import the standard library, numpy, torch and ``also``, nothing else."""
    wall = TORCH_ALONE.replace("ALLOWED", repr({"numpy", "torch", *TORCH_NEEDS, *also}))
    return python("-c", wall + code, *arguments, cwd=cwd)


def python(*arguments, cwd=ROOT):
    """A finished ``python`` process with its exit status, stdout and stderr."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240)


TRUNK_M, THIGH_M, SHANK_M = 0.52, 0.42, 0.42
LEAD_S, RISE_S, HOLD_S, PAUSE_S = 0.8, 1.0, 0.5, 0.5
REP_S = 2 * RISE_S + HOLD_S + PAUSE_S


def lift(seconds, reps):
    """How far up the hips are, 0 at the bottom and 1 at lockout, at these times."""
    t = np.asarray(seconds) - LEAD_S
    inside = np.where((t >= 0) & (t < reps * REP_S), t % REP_S, 0.0)
    fall = RISE_S + HOLD_S
    up = np.interp(inside, [0.0, RISE_S, fall, fall + RISE_S, REP_S], [0.0, 1.0, 1.0, 0.0, 0.0])
    return 0.5 - 0.5 * np.cos(np.pi * up)


def at(degrees):
    """Unit vector(s) at an angle above the horizontal."""
    return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=-1)


def knee_between(hip, ankle):
    """The upper meeting point of a circle round the hip and one round the ankle."""
    way = ankle - hip
    distance = np.linalg.norm(way, axis=-1, keepdims=True)
    along = (distance**2 + THIGH_M**2 - SHANK_M**2) / (2 * distance)
    across = np.sqrt(THIGH_M**2 - along**2)
    return hip + along * way / distance + across * np.stack([-way[:, 1], way[:, 0]], axis=-1) / distance


def thrust(
    reps=3, fps_hz=30.0, top_deg=180.0, facing=1, noise_px=0.0, occlusion=0.0,
    shin_deg=0.0, drop_deg=35.0, width_m=0.08, seed=0, people=1, bench=True,
):  # fmt: skip
    """Side-view Track, 1280 x 720 px.

    top_deg: signed trunk-thigh angle at lockout, 180 straight, more = hips above the line. shin_deg: shin at lockout,
    + = feet far. facing: 1 = feet at the right, -1 = at the left. drop_deg: how far the trunk turns down between tops.
    occlusion: share of points missing, each frame and point on its own. width_m: left-right distance in the picture.
    bench: shoulders as high as the knees; else on the floor.
    """
    seconds = np.arange(0.0, 2 * LEAD_S + reps * REP_S, 1.0 / fps_hz)
    tilt = 0.0 if bench else 15.0
    pitch_top = (top_deg - 180.0) / 2 + tilt
    shoulder = np.zeros((len(seconds), 2))
    lockout_hip = TRUNK_M * at(pitch_top)
    ankle = lockout_hip + THIGH_M * at(pitch_top - (top_deg - 180.0)) + SHANK_M * at(-90.0 + shin_deg)
    hip = TRUNK_M * at(pitch_top - drop_deg * (1.0 - lift(seconds, reps)))
    ankle = np.broadcast_to(ankle, hip.shape)
    knee = knee_between(hip, ankle)
    along = (hip - shoulder) / TRUNK_M
    front = np.stack([-along[:, 1], along[:, 0]], axis=-1)
    middle = {
        "shoulder": shoulder, "hip": hip, "knee": knee, "ankle": ankle, 
        "heel": ankle + (-0.06, -0.06), "toe": ankle + (0.16, -0.06),
        "elbow": shoulder + 0.25 * along + 0.1 * front, "wrist": hip + 0.1 * front, "ear": shoulder - 0.2 * along,
        "eye": shoulder - 0.22 * along + 0.08 * front, "nose": shoulder - 0.2 * along + 0.1 * front,
    }  # fmt: skip
    middle[SPINE] = shoulder + 0.6 * TRUNK_M * along
    for point in OUTLINE:
        side, _, share = point.partition("_")
        middle[point] = shoulder + int(share) / 100 * TRUNK_M * along + (0.11 if side == "front" else -0.09) * front
    aside = {"left": 0.5 * width_m, "right": -0.5 * width_m}
    points = []
    for name in HIP_THRUST.points:
        side, _, part = name.partition("_")
        points.append(middle[part] + (aside[side], 0.0) if side in aside else middle[name])
    metres = np.stack(points, axis=1)  # (T, K, 2)
    px = np.stack([640 + facing * 420 * (metres[..., 0] - 0.5), 380 - 420 * metres[..., 1]], axis=-1)
    rng = np.random.default_rng(seed)
    px += rng.normal(0.0, 1.0, px.shape) * noise_px
    keypoints = np.concatenate([px, np.full((*px.shape[:2], 1), 0.95)], axis=-1).astype(np.float32)
    keypoints[rng.random(px.shape[:2]) < occlusion] = (np.nan, np.nan, 0.0)
    return Track(keypoints, fps_hz, (1280, 720), "closed form", people)


def tops(reps=3):
    """True times of the middles of the holds."""
    return LEAD_S + RISE_S + HOLD_S / 2 + REP_S * np.arange(reps)


def write_labels(folder, rows):
    """A labels.csv with these rows; what a row leaves out is empty."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, (*COLUMNS, *OPTIONAL), restval="")
        writer.writeheader()
        writer.writerows(rows)


def write_people(folder, people, clips=2, reps=2, prefix="p", split=""):
    """Tracks and labels of ``people`` made-up people: odd clips have far feet, every third person stops short."""
    rows = []
    for person in range(people):
        for clip in range(clips):
            short, far = person % 3 == 0, clip % 2 == 1
            name = f"{prefix}{person}_{clip}"
            track = thrust(
                reps, 20.0, 150.0 if short else 179.0, facing=1 if person % 2 else -1, noise_px=1.0,
                shin_deg=20.0 if far else 0.0, seed=97 * person + clip,
            )  # fmt: skip
            track.save(folder / f"{name}.npz")
            faults = dict(zip(FAULT_KEYS, ("", "0", str(int(far)), str(int(short))), strict=True))
            rows.append(
                {"clip": f"{name}.mp4", "subject": f"{prefix}{person}", "view": "side", "split": split, **faults}
            )
    write_labels(folder, rows)


@cache
def random_core(seed=0):
    """A small core with random weights, in evaluation mode; it has learnt of no plates, so only geometry hides a fault."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        core = Core(channels=8, blocks=3)
        for parameter in core.network.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        torch.nn.init.zeros_(core.network.seen.weight)
        torch.nn.init.constant_(core.network.seen.bias, 6.0)
    return core.eval().requires_grad_(False)


FACTS = {
    "version": "0",
    "revision": "none",
    "data": "none",
    "labels": list(FAULT_KEYS),
    "thresholds": {key: {"absent": 0.4, "present": 0.6} for key in FAULT_KEYS},
}


@pytest.fixture(scope="session")
def core_path(tmp_path_factory):
    """An exported core with random weights."""
    path = tmp_path_factory.mktemp("core") / "core.pt"
    save_core(random_core(), FACTS, path, 1e-4)
    return path


def write_report(path, model, never=(), **more):
    """What ``evaluate`` leaves for the stages behind it, on this model."""
    report = {"model": fingerprint(model), "summary": {}, "proof": {"never_judged": list(never)}, "folders": {}}
    path.write_text(json.dumps(report | more))
    return path


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """``once(name, make)``: a folder that ``make(folder)`` filled, once for all processes that share this run."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def filled(name, make):
        folder, made = base / name, base / f"{name}.made"
        with FileLock(base / f"{name}.lock"):
            if not made.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                made.touch()
        return folder

    return filled


def export_packages(folder):
    """Every package of one random core, as the export stage makes them, and in ``said.txt`` what it printed."""
    said = StringIO()
    save_model(folder / "model.pt", random_core(), {"channels": 8, "blocks": 3}, FACTS)
    write_report(folder / "evaluate.json", folder / "model.pt", summary={"simulated": 0.75})
    with redirect_stdout(said):
        report, core = folder / "evaluate.json", folder / "new" / "core.pt"
        work(replace(load(Export), models_dir=folder, report=report, core=core, aoti=True))
    (folder / "said.txt").write_text(said.getvalue())


@pytest.fixture(scope="session")
def packages(once):
    """The same core as the export stage makes it, compiled too: paths by suffix, and under ``said`` what it printed."""
    folder = once("packages", export_packages)
    made = {suffix: (folder / "new" / "core.pt").with_suffix(suffix) for suffix in PACKAGES}
    return made | {"said": (folder / "said.txt").read_text()}


def film_lifter(path, fps_hz, size_px):
    """Render one person from the side, the same for any frame rate and picture size."""
    rng = np.random.default_rng(11)
    perf = sample_performance(sample_person(rng), 2, fps_hz, rng)
    camera = sample_camera(perf.joints[:, :21], fps_hz, size_px, "side", rng)
    render_clip(perf, camera, sample_look(rng), path)
    return path


@pytest.fixture(scope="session")
def lifter(once):
    """A rendered clip that the shipped core and the real detector judge."""
    return once("lifter", lambda folder: film_lifter(folder / "lifter.mp4", 10.0, (256, 144))) / "lifter.mp4"
