"""Explains a small network on slices of three real scans, for the pictures to be looked at; one JSON line.

    python -m benchmarks.real_explanations --work=FOLDER [--data=../shared/data]

Nobody is sarcopenic here: label 1 is fabricated and means the upper half of the 30 slices (T12 to L2) of the scan of
benchmarks/real_ct.py, which have less muscle, each slice standing for a patient. Of slice k, counted from the feet,
k % 5 == 4 tests and k % 5 == 1 validates; a slice of a scan in JPEG 2000 and two of a portal venous one, which nothing
has learned from and which have no mask, test too. The pictures lie in FOLDER/run/explanations; commit none.
"""

import argparse
import os
from pathlib import Path

import pandas as pd

from benchmarks.common import report
from benchmarks.real_ct import IMAGE, MASK
from benchmarks.studies import launch

OVERRIDES = {"image_size": 224, "task.resize": 224, "task.model.width": 16}
OVERRIDES |= {"learning_rate": 1e-3, "epochs": 60, "patience": 60}
OTHERS = {"j2k_10": ("dicom_j2k", 10, 1), "portal_09": ("abdomen_portal_venous", 9, 0)}
OTHERS |= {"portal_26": ("abdomen_portal_venous", 26, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the dataset and the run")
    default = Path(os.environ.get("MSKJAX_TEST_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=default, help="folder that holds the scans")
    arguments = parser.parse_args()
    dataset, run = arguments.work / "dataset", arguments.work / "run"
    cases = arguments.work / "cases.csv"
    arguments.work.mkdir(parents=True, exist_ok=True)
    table(arguments.data.resolve()).to_csv(cases, index=False)
    launch("prepare", f"--cases={cases}", f"--output={dataset}")
    fields = [f"--config.{name}={value}" for name, value in ({"dataset": dataset} | OVERRIDES).items()]
    config = "--config=configs/classification.py:network=densenet121,variant=torchvision,smoke"
    launch("train", config, *fields, f"--workdir={run}")
    launch("explain", f"--run={run}", "--samples=300")
    explained = pd.read_csv(run / "explanations" / "explanations.csv")
    methods = ((name, explained.loc[explained["method"] == name]) for name in ("grad_cam", "lime"))
    figures = ["share_inside", "share_by_chance", "rank_correlation", "structural_similarity"]
    report(
        "real_explanations",
        test_slices=explained["case_id"].nunique(),
        right=right(explained),
        means={name: {each: round(rows[each].mean(), 2) for each in figures} for name, rows in methods},
    )


def table(data: Path) -> pd.DataFrame:
    """The cases with their fabricated labels, a row a slice."""
    own, rows = data / "abdomen_3mm", []
    for k in range(30):
        split = {4: "test", 1: "validation"}.get(k % 5, "train")
        rows.append((f"k{k:02d}", own / IMAGE, own / MASK, k, int(k >= 15), split))
    for name, (folder, k, label) in OTHERS.items():
        rows.append((name, data / folder / "series", "", k, label, "test"))
    cases = pd.DataFrame(rows, columns=["case_id", "image", "mask", "slice", "sarcopenia", "split"])
    return cases.assign(patient_id=cases["case_id"])


def right(explained: pd.DataFrame) -> dict[str, bool]:
    """Whether each case is decided as it is labelled."""
    cases = explained.drop_duplicates("case_id").to_dict("records")
    return {case["case_id"]: case["label"] == case["decision"] for case in cases}


if __name__ == "__main__":
    main()
