"""Study B's classification on phantoms whose label follows from their muscle area alone; one JSON line.

    python -m benchmarks.phantom_sarcopenia --work=FOLDER

160 phantoms, the three tenths with the smallest muscle of both sexes together being called sarcopenic; a small
DenseNet from fresh weights, three policies, ten stratified shuffles. With all layers learning the AUC is to lie far
above chance: its interval above 0.5 by a wide margin. With all but the head frozen features stay random, and in so
few epochs the head learns little but the base rate, which orders cases by the size of their features and not by what
that means. Everything may be stopped and started again.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.common import report
from benchmarks.studies import launch, sweep_flags
from mskjax.data.dataset import read_dataset
from mskjax.measure import muscle_area_cm2

PATIENTS, SHARE = 160, 0.3
STUDY = {"networks": ("densenet121",), "shuffles": 10}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the datasets and the study")
    work = parser.parse_args().work
    dataset, study = work / "dataset", work / "study"
    launch("prepare", f"--phantom={PATIENTS}", "--phantom_size=96", f"--output={work / 'phantoms'}")
    launch("prepare", f"--cases={label(work / 'phantoms', work / 'cases.csv')}", f"--output={dataset}")
    start = time.perf_counter()
    launch("sweep", *sweep_flags(study, "small", {"dataset": dataset, **STUDY}, "sarcopenia_classification"))
    minutes = (time.perf_counter() - start) / 60
    launch("evaluate", f"--workdir={study}")
    table = pd.read_csv(study / "evaluation" / "table_1.csv")
    report(
        "phantom_sarcopenia",
        patients=PATIENTS,
        auc={
            str(row["policy"]): [round(row[name], 2) for name in ("auc_mean", "auc_sd", "auc_low", "auc_high")]
            for row in table.to_dict("records")
        },
        cells=len(list((study / "cells").glob("*/DONE"))),
        sweep_minutes=round(minutes, 1),
    )


def label(phantoms: Path, path: Path) -> Path:
    """Writes a table of the phantoms of a dataset folder with labels by their muscle area."""
    slices = read_dataset(phantoms).slices
    area_cm2 = np.array([muscle_area_cm2(*slices.case(i)[1:]) for i in range(len(slices))])
    cases = pd.read_csv(phantoms / "phantoms" / "cases.csv", dtype={"case_id": str})
    order = {str(case_id): area for case_id, area in zip(slices.case_id, area_cm2, strict=True)}
    own = pd.Series([order[str(case_id)] for case_id in cases["case_id"]])
    files = {name: [str(phantoms / "phantoms" / file) for file in cases[name]] for name in ("image", "mask")}
    cases.assign(**files, sarcopenia=(own < own.quantile(SHARE)).astype(int)).to_csv(path, index=False)
    return path


if __name__ == "__main__":
    main()
