"""Study B's second half at a reduced width on phantom volumes: pretraining, fine-tuning, areas and decisions.

    python -m benchmarks.phantom_smit --work=FOLDER [--shuffles=1]

48 phantoms, outlined on one slice at L3 alone. A quarter of the width is pretrained on those that the dataset calls
training cases, and begins the networks of the shuffles, beside networks from fresh weights. Pretraining sees scans,
though never outlines, of which some test in a shuffle. Figure to reach: Dice 0.90 on held-out patients. Everything may
be stopped and started again. One JSON line.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.common import report
from benchmarks.studies import launch, sweep_flags
from mskjax.training.writer import METRICS, read_rows

PATIENTS, SPACING = 48, "(4.,4.,6.)"
PRETRAINING = {"spacing_mm": SPACING, "epochs": 150}
STUDY = {"spacing_mm": SPACING, "inits": ("smit", "random"), "epochs": 25}
PARTS = ("patch", "image", "reconstruction", "target_information", "feature_spread", "teacher_lag")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the dataset, the run and the study")
    parser.add_argument("--shuffles", type=int, default=1, help="how many of the ten shuffles")
    arguments = parser.parse_args()
    dataset, pretraining, study = (arguments.work / name for name in ("dataset", "pretraining", "study"))
    flags = (f"--phantom={PATIENTS}", "--phantom_size=96", "--spacing_mm=4,4,6")
    launch("prepare", *flags, f"--output={dataset}")
    start = time.perf_counter()
    fields = {"dataset": dataset, **PRETRAINING}
    launch("train", *sweep_flags(pretraining, "small", fields, "smit_pretraining"))
    half = time.perf_counter()
    own = {"dataset": dataset, **STUDY, "starts.smit.init_from": pretraining, "shuffles": arguments.shuffles}
    launch("sweep", *sweep_flags(study, "small", own, "sarcopenia_segmentation"))
    end = time.perf_counter()
    launch("evaluate", f"--workdir={study}")
    rows = read_rows(pretraining / METRICS)
    report(
        "phantom_smit",
        pretraining={name: [round(rows[place][f"validation_{name}"], 4) for place in (0, -1)] for name in PARTS},
        study=found(study / "evaluation"),
        pretraining_minutes=round((half - start) / 60, 1),
        sweep_minutes=round((end - half) / 60, 1),
        target_dice=0.90,
    )


def found(evaluation: Path) -> dict[str, dict[str, Any]]:
    """Of each initialisation the means over all tests, and how many of its decisions are the reference masks'."""
    cases, agreement = (pd.read_csv(evaluation / f"{name}.csv") for name in ("cases", "cutoffs"))
    kept = {"against": "reference mask", "scope": "all shuffles", "measure": "sma"}
    for name, value in kept.items():
        agreement = agreement.loc[agreement[name] == value]
    tests = cases.loc[cases["part"] == "test"]
    told: dict[str, dict[str, Any]] = {}
    for init, own in tests.groupby("init"):
        percent = 100 * (own["sma_cm2"] - own["reference_sma_cm2"]) / own["reference_sma_cm2"]
        told[str(init)] = {
            "tests": len(own),
            "dice_mean": round(own["dice"].mean(), 3),
            "dice_lowest": round(own["dice"].min(), 3),
            "area_error_percent_mean": round(percent.mean(), 2),
            "area_error_percent_sd": round(percent.std(), 2),
            "decisions_right_by_area": {
                str(row["set"]): f"{row['tp'] + row['tn']} of {row['positive'] + row['negative']}"
                for row in agreement.loc[agreement["init"] == init].to_dict("records")
            },
        }
    return told


if __name__ == "__main__":
    main()
