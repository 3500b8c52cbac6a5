"""Export the trained core as TorchScript, torch.export, ONNX and AOTInductor package, each only if it equals eager."""

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile

import onnxruntime
import torch
from torch import Tensor, nn
from torch._inductor import aoti_compile_and_package, aoti_load_package
from torch._inductor.cpp_builder import get_cpp_compiler
from torch._inductor.exc import InvalidCxxCompiler
from torch.export import Dim, ExportedProgram

from src.config import Export, run_stage
from src.motion.model import INPUTS, METADATA, SUMS, Core, CoreOutput, load_model, read_report, write_sums
from src.motion.parity import golden_inputs, hold_half, hold_parity
from src.motion.verdict import FORMAT

AXES = {2: "x px, y px", 3: "x, y, z"}
NEVER = {"absent": 0.0, "present": 1.01}
"""Thresholds of a fault that is neither claimed nor denied."""


class Plain(nn.Module):
    """The core with four required inputs and a plain tuple out; a rise ratio of NaN is an unknown one."""

    def __init__(self, core: Core) -> None:
        super().__init__()
        self.core = core

    def forward(self, keypoints: Tensor, fps_hz: Tensor, frames: Tensor, rise_ratio: Tensor) -> tuple[Tensor, ...]:
        """See ``Core``."""
        return tuple(self.core(keypoints, fps_hz, frames, rise_ratio))


def required(keypoints: Tensor, fps_hz: Tensor, frames: Tensor, rise_ratio: Tensor | None = None) -> tuple[Tensor, ...]:
    """The four inputs of ``Plain``."""
    return keypoints, fps_hz, frames, torch.full_like(fps_hz, torch.nan) if rise_ratio is None else rise_ratio


@lru_cache(maxsize=1)  # three packages are made of it
def trace(core: Core) -> ExportedProgram:
    """The graph of ``Plain`` for any number of reps and rows, without the builder's file names."""
    reps, rows = Dim("reps", min=1), Dim("rows", min=2)
    shapes = ({0: reps, 1: rows}, {0: reps}, {0: reps}, {0: reps})
    example = required(*golden_inputs((33,), (3,), core.task.skeleton)[0])
    program = torch.export.export(Plain(core), example, dynamic_shapes=shapes)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program


def write_script(core: Core, about: str, path: Path) -> None:
    """TorchScript: C++ and any PyTorch. Its debug records are left out: they name the builder's files."""
    whole = path.with_suffix(".whole")
    torch.jit.save(torch.jit.script(core), str(whole), _extra_files={METADATA: about})
    with ZipFile(whole) as records, ZipFile(path, "w") as kept:
        for record in records.infolist():
            if not record.filename.endswith(".debug_pkl"):
                kept.writestr(record, records.read(record))


def write_program(core: Core, about: str, path: Path) -> None:
    """torch.export: TorchScript's successor."""
    torch.export.save(trace(core), path, extra_files={METADATA: about})


def write_onnx(core: Core, about: str, path: Path) -> None:
    """ONNX: every other runtime; the metadata is a metadata property."""
    names: dict[str, Any] = {"input_names": INPUTS, "output_names": CoreOutput._fields}
    axes: tuple[dict[int, str], ...] = ({0: "reps", 1: "rows"}, {}, {}, {})
    program = torch.onnx.export(trace(core), **names, dynamic_shapes=axes, dynamo=True, verbose=False)
    assert program is not None  # which it is without dynamo alone
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # how PyTorch made it
    program.model.metadata_props[METADATA] = about
    program.save(path)


def write_compiled(core: Core, about: str, path: Path) -> None:
    """AOTInductor: machine code for a CPU like this one; takes a C++ compiler and half a minute."""
    configs = {
        "aot_inductor.metadata": {METADATA: about},
        "aot_inductor.precompile_headers": False,  # they pay from the second compilation on
        "aot_inductor.enable_line_tables": False,  # half of the file
        "aot_inductor.check_lowerbound": False,  # where a reader asks for checks: one rep is allowed
        "aot_inductor.check_upperbound": False,
    }
    aoti_compile_and_package(trace(core), package_path=str(path), inductor_configs=configs)


def compiler() -> str:
    """The C++ compiler that ``write_compiled`` would take, empty where there is none."""
    try:
        return get_cpp_compiler()
    except InvalidCxxCompiler:
        return ""


def read_script(path: Path) -> Callable[..., Any]:
    """The package at ``path`` as something to call like a ``Core``."""
    return torch.jit.load(str(path))  # type: ignore[no-any-return]


def read_program(path: Path) -> Callable[..., Any]:
    """The package at ``path`` as something to call like a ``Core``."""
    module = torch.export.load(path).module()
    return lambda *inputs: module(*required(*inputs))


def read_onnx(path: Path) -> Callable[..., Any]:
    """The package at ``path`` as something to call like a ``Core``."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(*inputs: Tensor) -> list[Tensor]:
        arrays = (x.numpy() for x in required(*inputs))
        return [torch.from_numpy(y) for y in session.run(CoreOutput._fields, dict(zip(INPUTS, arrays, strict=True)))]

    return run


def read_compiled(path: Path) -> Callable[..., Any]:
    """The package at ``path`` as something to call like a ``Core``."""
    compiled = aoti_load_package(str(path))
    return lambda *inputs: compiled(*required(*inputs))


AOTI = ".aoti.pt2"
PACKAGES = {
    ".pt": (write_script, read_script),
    ".pt2": (write_program, read_program),
    ".onnx": (write_onnx, read_onnx),
    AOTI: (write_compiled, read_compiled),
}
"""How a package is written and read, by the ending of its name."""


def metadata(facts: dict[str, Any], core: Core) -> dict[str, Any]:
    """What an app needs to use a core without this repository."""
    task, skeleton = core.task, core.task.skeleton
    return {
        "format": FORMAT,
        "labels": facts["labels"],
        "thresholds": facts["thresholds"],
        "skeleton": {
            "name": skeleton.name,
            "points": skeleton.points,
            "mirrored": skeleton.mirrored,
            "bones": skeleton.bones,
            "dimensions": skeleton.dimensions,
        },
        "head": task.head,
        "reps": task.reps,
        "input": f"keypoints (N, T, K, {skeleton.dimensions + 1}): {AXES[skeleton.dimensions]}, score (NaN or 0 = missing); "
        "fps_hz (N); frames (N) real rows, a rep each; "
        "rise_ratio (N): hip rise over the best of the set, NaN = unknown; only TorchScript takes none at all",
        "output": "probabilities (N, L), evidence (N, T, L), observability (N, L), all in [0, 1]",
        "frames": core.frames,
        "receptive_field_samples": core.receptive_field,
        **{key: facts[key] for key in ("version", "revision", "data", "metrics") if key in facts},
    }


def save_core(core: Core, facts: dict[str, Any], path: Path, tolerance: float, tolerance_half: float = 1e-3) -> str:
    """Write the package that the ending of ``path`` names, read it again, compare; only then does it come to ``path``.

    Returns the largest differences in words. A failure of any kind leaves no file: a stale one would pass for the new.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    write, read = PACKAGES[max((end for end in PACKAGES if path.name.endswith(end)), key=len)]
    with TemporaryDirectory(dir=path.parent) as folder:
        part = Path(folder) / path.name
        write(core, json.dumps(metadata(facts, core)), part)
        words = f"largest difference from eager {hold_parity(core, read(part), tolerance):.1e}"
        if path.suffix == ".pt" and torch.cuda.is_available():
            words += f", {hold_half(core, torch.jit.load(part, 'cuda'), tolerance_half):.1e} in fp16 on CUDA"
        part.replace(path)
    return words


def work(cfg: Export) -> None:
    """``model.pt`` -> ``core.pt``, ``core.pt2``, ``core.onnx``, if wanted ``core.aoti.pt2``; their hashes in ``core.sha256``."""
    core, facts = load_model(cfg.models_dir / "model.pt")
    report = read_report(cfg.report, cfg.models_dir / "model.pt")
    facts["metrics"] = report["summary"]
    if never := report["proof"]["never_judged"]:
        facts["thresholds"] |= dict.fromkeys(never, NEVER)
        print(f"never judged (the model card says why): {', '.join(never)}")
    paths = {end: cfg.core.with_suffix(end) for end in PACKAGES}
    sums = cfg.core.with_suffix(SUMS)
    for path in (sums, *paths.values()):
        path.unlink(missing_ok=True)  # should one fail, none of an older model stays
    compiled = paths.pop(AOTI)
    if cfg.aoti and compiler():
        paths[AOTI] = compiled
    elif cfg.aoti:
        print(f"{compiled}: left out, there is no C++ compiler here (g++, or what CXX names)")
    cfg.core.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".", dir=cfg.core.parent) as part:  # all of them or none
        for path in paths.values():
            words = save_core(core, facts, Path(part) / path.name, cfg.tolerance, cfg.tolerance_half)
            print(f"{path}: {(Path(part) / path.name).stat().st_size / 1e3:.0f} kB, {words}")
        for path in paths.values():
            (Path(part) / path.name).replace(path)
    write_sums(sums, list(paths.values()))


def main() -> None:
    """``python -m src.export [key=value ...]``."""
    run_stage(Export, work)


if __name__ == "__main__":
    main()
