"""The pose networks on each engine; noise in fixed regions does as well as pictures."""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import numpy as np
import torch

from src.speed.timing import PICTURE_PX, Case, NotMeasuredError, Row, not_measured
from src.video import lifter
from src.video.blazepose import DETECTOR_PX, LANDMARK_PX, BlazePose
from src.video.engine import PRECISIONS, USUAL, EngineError

POSE_BATCHES = {"cpu": [2**i for i in range(6)], "cuda": [2**i for i in range(9)]}


def load_pose(
    args: argparse.Namespace, device: torch.device, engine: str = "auto", precision: str = "fp32"
) -> BlazePose:
    """Both networks, if their files are there."""
    if not (args.weights / "pose_detection.tflite").is_file():
        raise NotMeasuredError(f"no pose_detection.tflite in {args.weights}: run make setup, or give --weights")
    return BlazePose(args.weights, device.type, precision, engine=engine, batch=USUAL[device.type][1])


def each_pose(args: argparse.Namespace, device: torch.device) -> Iterator[tuple[Row, BlazePose | None]]:
    """Every engine and precision of a device with its networks; None with the reason in the row where one is missing."""
    for (engine, where), known in PRECISIONS.items():
        for precision in known if where == device.type else ():
            facts: Row = {"engine": engine, "precision": precision}
            try:
                pose = load_pose(args, device, engine, precision)
            except EngineError as error:
                yield facts | not_measured(error), None
            else:
                yield facts, pose


def pose_steps(pose: BlazePose, most: int) -> dict[str, Callable[[int], object]]:
    """Calls that take a batch size up to ``most``; all start at frames in host memory but the last, at ready crops.

    "same, detector every 8th" is the work of ``lifter.follow`` for one person; "networks alone" goes without masks.
    """
    rng, (width, height), every = np.random.default_rng(0), PICTURE_PX, lifter.KEY_EVERY
    frames = rng.integers(0, 256, (most, height, width, 3), np.uint8)
    regions = np.tile([width / 2, height / 2, 0.9 * height, 0.3, 1.0], (most, 1))
    sizes_px = (DETECTOR_PX, LANDMARK_PX)
    crops = [torch.from_numpy(rng.integers(0, 256, (most, px, px, 3), np.uint8)).to(pose.device) for px in sizes_px]

    def lift(b: int) -> None:
        pose.detect(frames[:b:every])
        pose.look(frames[:b:every], regions[:b:every])
        pose.look(frames[:b], regions[:b], masks=True)

    @torch.inference_mode()
    def networks(b: int) -> None:
        pose.detector(crops[0][:b])
        pose.landmarks(crops[1][:b])

    return {
        "detector": lambda b: pose.detect(frames[:b]),
        "landmarks": lambda b: pose.look(frames[:b], regions[:b]),
        "landmarks and masks": lambda b: pose.look(frames[:b], regions[:b], masks=True),
        f"same, detector every {every}th": lift,
        "networks alone": networks,
    }


def pose_cases(args: argparse.Namespace, device: torch.device) -> Iterator[Case | Row]:
    """Batch sweep of the pose networks with their crops on each engine, one caller on one thread."""
    batches = args.pose_batches or POSE_BATCHES[device.type]
    torch.set_num_threads(1)
    for facts, pose in each_pose(args, device):
        if pose is None:
            yield facts
            continue
        more = facts | {"size_px": PICTURE_PX, "crop": "opencv" if pose.native else "torch"}
        for (step, call), b in product(pose_steps(pose, max(batches)).items(), batches):
            yield Case(step, partial(partial, call, b), b, "frames", more | {"batch": b}, threads=1)
