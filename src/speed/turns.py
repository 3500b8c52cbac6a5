"""The official runtime and ours in turns on the same decoded frames."""

import argparse
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import torch

from src.speed.poses import load_pose
from src.speed.timing import BATCH, MAX_SIDE_PX, RATE_HZ, NotMeasuredError, Row, numbers, summary
from src.video.official import MODES, Official, Run, our_run


def official_rows(args: argparse.Namespace, device: torch.device) -> Iterator[Row]:
    """Official and our pipeline in turns on the same decoded frames, ``--rounds`` times in each mode."""
    if not args.mediapipe_python:
        raise NotMeasuredError("needs --mediapipe-python PATH, an interpreter with mediapipe")
    from src.video import clips
    from src.video.probe import probe

    source = clips.read(args.clip, fps_hz=RATE_HZ, max_side_px=MAX_SIDE_PX, batch=1)
    frames = np.concatenate([picture for picture, _ in islice(source, args.compare_frames)])
    rate_hz, file = clips.output_rate(probe(args.clip), RATE_HZ), args.folder / "frames.npy"
    np.save(file, frames)
    torch.set_num_threads(args.threads)
    pose = load_pose(args, device)
    with Official(args.mediapipe_python, file) as theirs:
        facts = {
            "mediapipe": theirs.version,
            "ours": pose.name,
            "clip": args.clip.name,
            "size_px": frames.shape[2:0:-1],
        }
        for mode in MODES:
            our_run(pose, mode, frames[: 2 * BATCH], rate_hz, BATCH)
            runs = [(theirs.run(mode), our_run(pose, mode, frames, rate_hz, BATCH)) for _ in range(args.rounds)]
            yield from compared(mode, runs, len(frames), facts)


def compared(mode: str, runs: Sequence[tuple[Run, Run]], frames: int, facts: Row) -> Iterator[Row]:
    """A row, per frame, for each side; ratios are official over ours run by run, above 1 where ours is faster."""
    for i, who in enumerate(("official", "ours")):
        cpu_ms = 1e3 * float(np.median([pair[i][1] for pair in runs])) / frames
        times = numbers(summary([pair[i][0] / frames for pair in runs]), 1, "frames")
        more = {"cpu_ms": cpu_ms, "frames": frames, "found": runs[-1][i][2]}
        more |= {"threads": torch.get_num_threads(), "batch": BATCH} if who == "ours" else {}
        yield {"step": f"{who} {mode}", **facts, **times, **more}
    for k, what in enumerate(("wall", "cpu")):
        ratios = [theirs[k] / own[k] for theirs, own in runs]
        middle, low, high = float(np.median(ratios)), min(ratios), max(ratios)
        yield {"step": f"ours faster, {mode}, {what} time", "ratio": middle, "range": [low, high], "unit": "times"}
