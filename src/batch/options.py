"""The command line of ``python -m src.predict``."""

import argparse
from pathlib import Path

CORE = Path("data/models/core.pt")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m src.predict",
        description="Measure the reps of hip-thrust videos and look for four faults; the core says which it decides.",
        epilog="Exit status: 0 every clip was read; 1 results could not be written, or no worker started; 2 wrong usage; "
        "3 some clips could not be read, or their pages not be made, or are left; 130 stopped by Ctrl-C.",
    )
    add = p.add_argument
    add(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="files, folders, 'quoted patterns', CSVs with a column clip or path, - = stdin",
    )
    add("--out", type=Path, default=Path("results"), help="folder of the results (default: results)")
    add("--core", type=Path, default=CORE, help=f"exported core (default: {CORE})")
    add("--device", choices=("auto", "cpu", "cuda"), help="default: as in conf/config.yaml")
    detectors = "blazepose (default; the core was measured with it) or keypointrcnn (no outline, so no lumbar fault)"
    add("--detector", choices=("blazepose", "keypointrcnn"), help=detectors)
    add("--weights", type=Path, help="folder or file of the detector's weights")
    add("--fps", type=float, help="frames per second that the detector sees (default: 30)")
    add("--workers", type=int, default=1, help="clips at once, a process each (default: 1; 0 = none, no time limit)")
    add("--engine", choices=("local", "ray"), default="local", help="where the workers are: here, or on a Ray cluster")
    limit = "give up on a clip after so many seconds without progress (default: 900)"
    add("--time-limit", type=float, default=900.0, help=limit)
    add("--resume", action="store_true", help="skip clips already judged from the same file, core, settings and code")
    add("--strict", action="store_true", help="stop at the first clip that cannot be read")
    add("--save-poses", action="store_true", help="also write poses/<clip>.npz, and .trc and .mot (OpenSim)")
    add("--report", action="store_true", help="also write report/index.html and a page per clip with film and lockouts")
    add("--anonymize", action="store_true", help="as --report, with the lifter's head hidden")
    add("--quiet", action="store_true", help="no progress bar, no table")
    return p
