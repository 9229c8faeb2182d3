"""Seconds from the start of a training command to the beginning of its first step, and of each launcher's `--help`.

    python -m benchmarks.startup --work=FOLDER [--smoke]

`launch.train` with FCN-ResNet101's weights on slices of 512x512 trains an epoch with an empty folder of compiled
programs. Then it is started three times with what that run has left there, in run folders of its own, and killed as its
log says that the first step begins: the weights are loaded by then, and the step's program is read. `second_s` is the
median of the three; figure to reach: 15 s on a CPU. No programs of other runs are read. With --smoke: a small network
from random weights on small slices. One JSON line.
"""

import argparse
import math
import os
import statistics
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.common import report
from benchmarks.loading import write_weights
from benchmarks.studies import command, launch, sweep_flags

BEGINS = "first step begins"
STARTS = 3  # after the first
IS_LAUNCHER = "from launch.main import run"
LAUNCH = Path(__file__).resolve().parents[1] / "launch"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for weights, dataset, programs and runs (1 GB)"
    )
    parser.add_argument("--batch_size", type=int, default=2)
    parser.add_argument("--smoke", action="store_true", help="a small network on small slices, to try the program")
    given = parser.parse_args()
    size = 64 if given.smoke else 512
    fields = {"dataset": given.work / "dataset", "image_size": size, "batch_size": given.batch_size, "epochs": 1}
    launch("prepare", "--phantom=6", f"--phantom_size={size}", f"--output={fields['dataset']}")
    if not given.smoke:
        fields["init_from"] = converted_weights(given.work)
    text = "network=small" if given.smoke else "init=segmentation"
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(given.work / "programs")}
    commands = [
        command("train", *sweep_flags(given.work / f"run{k}", text, fields, "segmentation")) for k in range(1 + STARTS)
    ]
    seconds = [seconds_until(BEGINS, own, environment, to_end=own is commands[0]) for own in commands]
    helps = {path.stem: help_s(path.stem) for path in sorted(LAUNCH.glob("*.py")) if IS_LAUNCHER in path.read_text()}
    slowest = max(helps, key=lambda name: helps[name])
    report(
        "startup",
        batch_size=given.batch_size,
        image_size=size,
        first_s=round(seconds[0], 1),
        second_s=round(statistics.median(seconds[1:]), 1),
        later_s=[round(one, 1) for one in seconds[1:]],
        slowest_help=f"launch.{slowest}",
        help_s=round(helps[slowest], 2),
    )


def converted_weights(work: Path) -> Path:
    """A file of FCN-ResNet101's weights, random ones, as launch.convert makes it from torchvision's."""
    weights, converted = work / "weights.pth", work / "weights.safetensors"
    write_weights(weights)
    launch("convert", "--model=fcn_resnet101", f"--weights={weights}", f"--output={converted}")
    weights.unlink()
    return converted


def seconds_until(words: str, arguments: list[str], environment: Mapping[str, str], to_end: bool) -> float:
    """The seconds until a command says these words; it is killed then, unless it is to go on to its end.

    `RuntimeError` where it ends before, or in an error.
    """
    start, said, seconds = time.perf_counter(), [], math.inf
    with subprocess.Popen(
        arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            said.append(line)
            if words in line:
                seconds = time.perf_counter() - start
                if not to_end:
                    process.kill()
                    return seconds
    if process.returncode or seconds == math.inf:
        raise RuntimeError(f"the command ended with {process.returncode}; waited for {words!r}: {''.join(said[-5:])}")
    return seconds


def help_s(name: str) -> float:
    """The median seconds of a launcher's --help, of three."""
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run(command(name, "--help"), check=True, capture_output=True)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


if __name__ == "__main__":
    main()
