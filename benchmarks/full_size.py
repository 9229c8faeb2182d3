"""FCN-ResNet101 at full size on CPU: converts torchvision-shaped weights, trains two steps and predicts at 512x512.

    python -m benchmarks.full_size --work=FOLDER

Proves that the real network runs through the launchers on a laptop; the weights are random and the scores mean nothing.
Seconds are of the clock, each command from start to exit.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.common import report
from benchmarks.loading import write_weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for weights, dataset and run (2 GB)")
    work = parser.parse_args().work
    work.mkdir(parents=True, exist_ok=True)
    weights, converted, dataset, run = (work / name for name in ("weights.pth", "coco.safetensors", "dataset", "run"))
    write_weights(weights)
    fields = {"dataset": dataset, "init_from": converted, "batch_size": 2, "epochs": 1}
    config = [f"--config.{name}={value}" for name, value in fields.items()]
    report(
        "full_size",
        prepare_s=launch("prepare", "--phantom=6", "--phantom_size=512", f"--output={dataset}"),
        convert_s=launch("convert", "--model=fcn_resnet101", f"--weights={weights}", f"--output={converted}"),
        train_2_steps_s=launch(
            "train", "--config=configs/segmentation.py:init=segmentation", *config, f"--workdir={run}"
        ),
        evaluate_s=launch("evaluate", f"--workdir={run}"),
    )


def launch(name: str, *flags: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", f"launch.{name}", *flags], check=True)
    return round(time.perf_counter() - start, 1)


if __name__ == "__main__":
    main()
