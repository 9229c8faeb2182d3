"""A study on real slices, and that it is refused unless the user says that slices are to stand for patients; one line.

    python -m benchmarks.real_study --work=FOLDER [--data=../shared/data/abdomen_3mm]

The 30 slices of benchmarks/real_ct.py, 9 of which test, are all of one patient: what is learned is how the path works,
not how many outlines a new patient needs. Three initialisations, three sizes, 2 folds x 2 seeds; a small network that
is trained for a tenth of the usual epochs. There are no readers, so that no table compares networks with any.
Everything may be stopped and started again. Figures to reach: refused without the option, warned of with it; jigsaw
accuracy well above chance; reconstruction loss falling.
"""

import argparse
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.common import report
from benchmarks.real_ct import write_cases
from benchmarks.studies import command, dice_means, launch, sweep_flags
from mskjax.training.writer import METRICS, read_rows

STUDY = {
    "image_size": 122,  # the slices' own
    "folds": 2,
    "draws": 1,
    "inits": ("random", "reconstruction", "jigsaw"),
    "sizes": (3, 6, 10),
    "epochs": 40,
    "pretexts.reconstruction.epochs": 60,
    "pretexts.jigsaw.epochs": 60,
    "pretexts.jigsaw.task.resize": 128,
    "pretexts.jigsaw.task.tile_size": 32,
    "pretexts.jigsaw.learning_rate": 1e-3,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the dataset and the study")
    default = Path(os.environ.get("MSKJAX_TEST_DATA", "../shared/data")) / "abdomen_3mm"
    parser.add_argument("--data", type=Path, default=default, help="folder that holds the scan and its outlines")
    arguments = parser.parse_args()
    dataset, study = arguments.work / "dataset", arguments.work / "study"
    launch("prepare", f"--cases={write_cases(arguments.work / 'cases.csv', arguments.data)}", f"--output={dataset}")
    refused = refusal(sweep_flags(arguments.work / "refused", "network=small", {"dataset": dataset, **STUDY}))
    start = time.perf_counter()
    allowed = {"dataset": dataset, "slices_as_patients": True, **STUDY}
    launch("sweep", *sweep_flags(study, "network=small", allowed))
    minutes = (time.perf_counter() - start) / 60
    launch("evaluate", f"--workdir={study}")
    jigsaw, reconstruction = (read_rows(study / "pretexts" / name / METRICS) for name in ("jigsaw", "reconstruction"))
    report(
        "real_study",
        **refused,
        cells=len(list((study / "cells").glob("*/DONE"))),
        dice_mean=dice_means(study),
        table_1_rows=len(pd.read_csv(study / "evaluation" / "table_1.csv")),
        jigsaw_accuracy=round(jigsaw[-1]["validation_accuracy"], 3),
        jigsaw_chance=round(jigsaw[-1]["validation_chance"], 3),
        reconstruction_loss_first=round(reconstruction[0]["loss"], 3),
        reconstruction_loss_last=round(reconstruction[-1]["loss"], 3),
        sweep_minutes=round(minutes, 1),
    )


def refusal(flags: list[str]) -> dict[str, Any]:
    """How a sweep that cannot run ends: its exit status and its last line."""
    ended = subprocess.run(command("sweep", *flags), capture_output=True, text=True)
    return {"refused_status": ended.returncode, "refused": ended.stderr.strip().splitlines()[-1]}


if __name__ == "__main__":
    main()
