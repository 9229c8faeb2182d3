"""Training of FCN-ResNet101 on an accelerator against compiled PyTorch in one run; one JSON line for each batch size.

    python -m benchmarks.gpu_training [--peers=PYTHON] [--batch_sizes=4,16] [--size=512] [--rounds=5] [--steps=20]

The step of `launch.train` as that runs it: bfloat16, slices that lie on the device, augmentation, Adam, losses read two
steps later, sums in a fixed order unless XLA_FLAGS says otherwise. PYTHON has torch and torchvision, which take turns
with it in a process of their own: `torch.compile`, channels last, autocast to bfloat16, fused Adam, once with the same
kinds of augmentation and once bare. `share_of_peak` is of the rate of a large product of bfloat16 matrices and counts
convolutions alone, the backward pass as twice the forward one. `study_*_h` predicts study A's 560 cells, validation
after every epoch included; pretexts, checkpoints and test slices are not. Figures to reach: a ratio of 1.2, a share of
0.4, 12 hours at 200 epochs. Without an accelerator nothing is measured; --smoke tries the program anywhere.
"""

import argparse
import math
import os
import statistics
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import jax

from benchmarks.common import report
from benchmarks.training_step import TrainingStep, peak_flops
from launch.devices import make_deterministic
from mskjax.study.memory import compiled_bytes

STAGES = (3, 4, 23, 3)
SMOKE = {"batch_sizes": "2", "size": 32, "rounds": 1, "steps": 2, "mode": "eager"}
# Study A's cells: of each subset 5 initialisations, 4 folds, 2 draws and 2 seeds.
SUBSETS, CELLS_OF_A_SUBSET = (5, 10, 25, 50, 75, 100, 125), 80


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default="", help="a Python with torch and torchvision; none: no ratio")
    parser.add_argument("--batch_sizes", default="4,16")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="of a round")
    parser.add_argument("--mode", default="default", help="of torch.compile, or eager")
    parser.add_argument("--smoke", action="store_true", help="a small network and a tiny size, on any device")
    given = parser.parse_args()
    # Before JAX looks for devices. PyTorch needs some of the device's memory too.
    make_deterministic()
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if given.smoke:
        vars(given).update(SMOKE)
    elif jax.default_backend() == "cpu":
        report("gpu_training", skipped="no accelerator")
        return
    peak = peak_flops(256 if given.smoke else 8192)
    for batch_size in map(int, given.batch_sizes.split(",")):
        report("gpu_training", batch_size=batch_size, size=given.size, **figures(given, batch_size, peak))


def figures(given: argparse.Namespace, batch_size: int, peak: float) -> dict[str, Any]:
    stages, dtype = ((1, 1, 1, 1), "float32") if given.smoke else (STAGES, "bfloat16")
    with ExitStack() as peers:
        ours = TrainingStep(batch_size, given.size, stages, dtype)
        calls: dict[str, Callable[[], float]] = {"ours": lambda: ours.step_s(given.steps)}
        if given.peers:
            peer = peers.enter_context(started(given.peers, batch_size, given.size, given.steps, given.mode, *stages))
            calls |= {kind: lambda kind=kind: ask(peer, kind) for kind in ("augmented", "bare")}
        rounds = [{name: call() for name, call in calls.items()} for _ in range(1 + given.rounds)]
    step_s = {name: statistics.median(one[name] for one in rounds[1:]) for name in calls}
    epoch_end_s = statistics.median([ours.epoch_end_s() for _ in range(1 + given.rounds)][1:])
    achieved = ours.flops / step_s["ours"]
    hours = {epochs: study_h(batch_size, epochs, step_s["ours"], epoch_end_s) for epochs in (200, 500)}
    found = {
        "steps_per_s": round(1 / step_s["ours"], 2),
        "step_tflops": round(achieved / 1e12, 3),
        "peak_tflops": round(peak / 1e12, 1),
        "share_of_peak": round(achieved / peak, 3),
        "xla_gb": round(compiled_bytes(ours.compiled) / 1e9, 2),
        "compilation_s": round(ours.compilation_s, 1),
        "epoch_end_s": round(epoch_end_s, 4),
        **{f"study_{epochs}_epochs_h": round(value, 2) for epochs, value in hours.items()},
    }
    for name, kind in {"torch": "augmented", "torch_bare": "bare"}.items():
        if given.peers:
            found[f"{name}_steps_per_s"] = round(1 / step_s[kind], 2)
            found["ratio" if name == "torch" else "ratio_to_bare"] = round(step_s[kind] / step_s["ours"], 3)
    return found


def study_h(batch_size: int, epochs: int, step_s: float, epoch_end_s: float) -> float:
    """The hours of study A's cells on one device if none stops early."""
    epoch_s = sum(math.ceil(n / batch_size) * step_s + epoch_end_s for n in SUBSETS)
    return CELLS_OF_A_SUBSET * epochs * epoch_s / 3600


def started(python: str, *arguments: object) -> subprocess.Popen[str]:
    """The other network in a process of its own, which ends when its input does."""
    program = Path(__file__).with_name("gpu_training_reference.py")
    return subprocess.Popen(
        [python, str(program), *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def ask(peer: subprocess.Popen[str], kind: str) -> float:
    """The other's seconds of a step."""
    stdin, stdout = cast(Any, peer.stdin), cast(Any, peer.stdout)
    print(kind, file=stdin, flush=True)
    answer = stdout.readline()
    if not answer:
        raise RuntimeError(f"the other network's process ended with {peer.wait()} before it was {kind}")
    return float(answer)


if __name__ == "__main__":
    main()
