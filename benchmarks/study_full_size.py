"""A study of full-size cells on a CPU: FCN-ResNet101, 512x512, batch 4, trained, validated, predicted and scored.

    python -m benchmarks.study_full_size --work=FOLDER

Two cells of two phantoms each, one epoch long, of one update and one validation batch: they prove that the real
configuration runs, and their scores mean nothing. The sweep goes from start to exit, compilation included; a cell's
seconds are its own, from taking up its folder to DONE. Started again, done cells are skipped, and their times kept.
"""

import argparse
import time
from pathlib import Path

from benchmarks.common import report
from benchmarks.studies import launch, sweep_flags
from mskjax.files import read_json
from mskjax.training.writer import METRICS, read_rows

STUDY = {"inits": ("random",), "sizes": (2,), "folds": 2, "draws": 1, "seeds": 1, "epochs": 1, "keep": "predictions"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the dataset and the study (2 GB)")
    work = parser.parse_args().work
    dataset, study = work / "dataset", work / "study"
    launch("prepare", "--phantom=8", "--phantom_size=512", "--test_fraction=0.25", f"--output={dataset}")
    start = time.perf_counter()
    launch("sweep", *sweep_flags(study, "network=fcn_resnet101", {"dataset": dataset, **STUDY}))
    seconds = time.perf_counter() - start
    folders = sorted((study / "cells").iterdir())
    done = [read_json(folder / "DONE") for folder in folders]
    report(
        "study_full_size",
        image_size=read_json(study / "config.json")["image_size"],
        steps=[outcome["step"] for outcome in done],
        loss=[round(read_rows(folder / METRICS)[-1]["loss"], 3) for folder in folders],
        cell_with_compilation_s=max(outcome["seconds"] for outcome in done),
        cell_s=min(outcome["seconds"] for outcome in done),
        sweep_s=round(seconds, 1),
        scored_slices=sum(len((folder / "scores.csv").read_text().splitlines()) - 1 for folder in folders),
    )


if __name__ == "__main__":
    main()
