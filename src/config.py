"""Settings: Hydra composes ``conf/config.yaml``, one dataclass per section checks it, a mistake becomes one line."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import hydra
import torch
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

CONF = Path(__file__).resolve().parents[1] / "conf"


class ConfigError(ValueError):
    """A setting that cannot be used; the message names the key and the value."""


@dataclass
class Simulate:
    """Settings of ``src.simulate``; units and meaning stand beside each key in ``conf/config.yaml``."""

    clips_dir: Path
    train_subjects: int
    validation_subjects: int
    test_subjects: int
    proof_subjects: int
    clips_per_subject: int
    reps: list[int]
    train_reps: list[int]
    heights_px: list[int]
    train_heights_px: list[int]
    rates_hz: list[float]
    train_rates_hz: list[float]
    crfs: list[int]
    workers: int
    seed: int


@dataclass
class Detect:
    """Settings of ``src.detect``."""

    clips_dir: Path
    poses_dir: Path
    detector: str
    weights: Path
    device: str
    engine: str
    precision: str
    fps_hz: float
    max_side_px: int
    batch: int


@dataclass
class Trace:
    """Settings of ``src.trace``; ``detect`` is that whole section."""

    clips_dir: Path
    features_dir: Path
    weights: Path
    report: Path
    strength: float
    detect: Detect


@dataclass
class Imitate:
    """Settings of ``src.imitate``."""

    clips_dir: Path
    poses_dir: Path
    tracks_dir: Path
    noise: Path
    report: Path
    subjects: int
    tracks_per_subject: int
    reps_min: int
    reps_max: int
    rates_hz: list[float]
    workers: int
    seed: int


@dataclass
class Skeleton:
    """A skeleton that the project knows by name, or a new one with its points."""

    name: str
    points: list[str]
    bones: list[list[str]]
    dimensions: int


@dataclass
class Train:
    """Settings of ``src.train``."""

    poses_dir: Path
    models_dir: Path
    skeleton: Skeleton
    labels: list[str]
    head: str
    features: str
    reps: str
    validation_share: float
    test_share: float
    frames: int
    channels: int
    blocks: int
    dropout: float
    feature_dropout: float
    epochs: int
    patience: int
    batch: int
    learning_rate: float
    weight_decay: float
    gradient_clip: float
    ema_decay: float
    detected_repeats: int
    device: str
    devices: int
    workers: int
    precision: str
    tracking_uri: str
    experiment_name: str
    run_name: str
    search: str
    resume: bool
    seed: int
    sections: dict[str, Any]


@dataclass
class Evaluate:
    """Settings of ``src.evaluate``."""

    poses_dir: Path
    models_dir: Path
    reports_dir: Path
    readme: str
    bootstrap: int
    kernels: int
    detected_repeats: int
    proof: str
    least_right: float
    seed: int


@dataclass
class Stress:
    """Settings of ``src.stress``; ``detect`` is that whole section."""

    models_dir: Path
    reports_dir: Path
    report: Path
    folder: str
    clips: int
    bootstrap: int
    tolerance: float
    seed: int
    detect: Detect


@dataclass
class Export:
    """Settings of ``src.export``."""

    models_dir: Path
    report: Path
    core: Path
    aoti: bool
    tolerance: float
    tolerance_half: float


SECTIONS: dict[str, type] = {
    "simulate": Simulate,
    "detect": Detect,
    "trace": Trace,
    "imitate": Imitate,
    "train": Train,
    "evaluate": Evaluate,
    "stress": Stress,
    "export": Export,
}
T = TypeVar("T")


def one_line(error: Exception) -> str:
    """The first line of a message with its key, without the library's advice for programmers."""
    if isinstance(error, OverrideParseException):
        return f"{error.override}: {error.message.splitlines()[0]} (quote values that hold = or brackets)"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    key = next((line.removeprefix("full_key:").strip() for line in lines if line.startswith("full_key:")), "")
    text = " ".join(lines[:1]) or type(error).__name__
    return f"{key}: {text}" if key and key not in text else text


def section(cfg: DictConfig, kind: type[T]) -> T:
    """One checked section of a composed configuration; ``ConfigError`` names a missing, unknown or mistyped key."""
    name = kind.__name__.lower()
    try:
        plain = OmegaConf.to_container(cfg[name], resolve=True)  # a section may name another: ${detect}
        node = OmegaConf.merge(OmegaConf.structured(kind), plain)
        checked: Any = OmegaConf.to_object(node)
    except (OmegaConfBaseException, KeyError) as error:
        raise ConfigError(f"conf section {name}: {one_line(error)}") from error
    for key, value in vars(checked).items():
        if isinstance(value, int | float) and value < 0:
            raise ConfigError(f"conf section {name}: {key} is {value}; it must not be negative")
        if isinstance(value, list) and (not value or any(isinstance(v, int | float) and v <= 0 for v in value)):
            raise ConfigError(f"conf section {name}: {key} is {value}; it must not be empty nor hold zero or less")
    return checked  # type: ignore[no-any-return]


def load(kind: type[T], *overrides: str) -> T:
    """One section as a stage would see it with these command-line overrides, for tests and notebooks."""
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            return section(hydra.compose("config", list(overrides)), kind)
    except HydraException as error:
        raise ConfigError(one_line(error)) from error


def run_stage(kind: type[T], work: Callable[[T], float | None]) -> None:
    """``main`` of every stage: compose, check, work; any expected failure is one line on stderr and exit status 2 or 1.

    Of what ``work`` returns, a whole number is the exit status, any other number is what a search of settings makes small.
    """
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")

    @hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
    def main(cfg: DictConfig) -> float:
        found = guarded(lambda: work(section(cfg, kind)) or 0)
        return sys.exit(found) if isinstance(found, int) else found

    sys.exit(guarded(main))


def guarded(call: Callable[[], T]) -> T | int:
    """What ``call`` returns, or, when it fails in an expected way, one line on stderr and 2 (settings) or 1 (the work).

    ``LOCKOUT_DEBUG=1`` shows the traceback instead. Ctrl-C is a line, too, and 130.
    """
    try:
        return call()
    except (HydraException, ConfigError) as error:
        return fail(error, 2)
    except (OSError, ValueError, RuntimeError) as error:
        if os.environ.get("LOCKOUT_DEBUG"):
            raise
        return fail(error, 1)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def fail(error: Exception, status: int) -> int:
    """Say what went wrong in one line on stderr and hand the exit status back."""
    print(f"error: {one_line(error)}", file=sys.stderr)
    return status


def choose_device(name: str) -> torch.device:
    """The device behind auto, cpu or cuda; asking for CUDA where there is none is an error, never a silent CPU."""
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device {name!r} is none of auto, cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device cuda: PyTorch sees no CUDA GPU here; use device=cpu or auto")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def device_name(device: torch.device) -> str:
    """What a person calls the device: the GPU's product name, or the CPU's thread count."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"cpu ({torch.get_num_threads()} threads)"


def data_versions(folder: Path, root: Path = CONF.parent) -> dict[str, str]:
    """DVC's hash of every output of ``dvc.lock`` inside a folder, by its path; nothing where DVC knows nothing."""
    lock = root / "dvc.lock"
    stages: Any = OmegaConf.to_container(OmegaConf.load(lock))["stages"] if lock.exists() else {}  # type: ignore[call-overload,index]
    outs = {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", [])}
    return {path: md5 for path, md5 in outs.items() if (root / path).is_relative_to(folder.resolve())}


def git_revision() -> str:
    """Short revision of the code, with ``+`` when ``src`` or ``conf`` has changes; ``unknown`` outside a checkout."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=CONF.parent, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", "src", "conf")  # what the stages write meanwhile is no code
        return git("rev-parse", "--short=10", "HEAD") + "+" * bool(changed)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
