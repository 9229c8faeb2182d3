"""Trains a small network on real CT with whole-muscle outlines and scores held-out slices, as one JSON line.

    python -m benchmarks.real_ct --work=FOLDER [--data=../shared/data/abdomen_3mm]

The 30 slices (T12 to L2, 3 mm pixels) are of one scan of TotalSegmentator's reference files and its outlines were made
by a model, so the scores measure agreement on a patient who is known, not skill on new ones. Of slice k, counted from
the feet, (k // 3) % 3 == 2 tests, 9 to 11 validate, the other 18 train; nothing is chosen on the test slices. The run
uses the launchers and may be stopped and started again. Figures to reach: DSC 0.80, aim 0.90, in 15 minutes on 2 cores.
"""

import argparse
import csv
import os
import time
from pathlib import Path

import pandas as pd

from benchmarks.common import report
from benchmarks.studies import launch

IMAGE, MASK = "ct_t12_l2.nii.gz", "skeletal_muscle_t12_l2.nii.gz"
IMAGE_SIZE = 244  # twice the 122 pixels of a side
OVERRIDES = {"image_size": IMAGE_SIZE, "epochs": 150, "patience": 150}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the dataset and the run")
    default = Path(os.environ.get("MSKJAX_TEST_DATA", "../shared/data")) / "abdomen_3mm"
    parser.add_argument("--data", type=Path, default=default, help="folder that holds the scan and its outlines")
    arguments = parser.parse_args()
    dataset, run = arguments.work / "dataset", arguments.work / "run"
    launch("prepare", f"--cases={write_cases(arguments.work / 'cases.csv', arguments.data)}", f"--output={dataset}")
    config = [f"--config.{name}={value}" for name, value in OVERRIDES.items()]
    start = time.perf_counter()
    launch(
        "train",
        "--config=configs/segmentation.py:network=small",
        f"--config.dataset={dataset}",
        *config,
        f"--workdir={run}",
    )
    minutes = (time.perf_counter() - start) / 60
    launch("evaluate", f"--workdir={run}")
    cases = pd.read_csv(run / "evaluation" / "cases.csv")
    error = (cases["sma_cm2"] - cases["reference_sma_cm2"]) / cases["reference_sma_cm2"]
    report(
        "real_ct",
        test_slices=len(cases),
        dice_mean=round(cases["dice"].mean(), 4),
        dice_lowest=round(cases["dice"].min(), 4),
        rms_dta_cm_mean=round(cases["rms_dta_cm"].mean(), 3),
        sma_error_percent_mean=round(100 * error.mean(), 2),
        sma_error_percent_mean_absolute=round(100 * error.abs().mean(), 2),
        train_minutes=round(minutes, 1),
        target_dice=0.80,
    )


def write_cases(path: Path, data: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["case_id", "patient_id", "image", "mask", "slice", "split"])
        for k in range(30):
            split = "test" if (k // 3) % 3 == 2 else "validation" if k in (9, 10, 11) else "train"
            table.writerow([f"k{k:02d}", "scan", (data / IMAGE).resolve(), (data / MASK).resolve(), k, split])
    return path


if __name__ == "__main__":
    main()
