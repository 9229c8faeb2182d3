"""SMIT on real CT, through the launchers as a user runs them: each part prints one JSON line.

    python -m benchmarks.real_smit --work=FOLDER [--part=NAME] [--data=../shared/data] [--phantoms=RUN]

full_size     Student and teacher at their published sizes take a step of pretraining on two views of 96^3 voxels of a
              scan at 2 mm, and the segmenter, begun from them, a step of fine-tuning on an outlined crop of 96^3.
pretraining   A network of a quarter of the width goes on from RUN, the pretraining of benchmarks.phantom_smit, or
              begins with fresh weights, on two scans, a third validates: what the losses and the signs of a
              collapse were first, lowest and last.
resuming      The same from fresh weights for fewer steps, once straight and once stopped by SIGTERM and started again:
              whether both runs left the same metrics and weights, byte for byte.
outlined      The T12 to L2 scan of 3 mm with its outlines of all muscle, cut across into three: the lower part trains a
              small segmenter, begun from `pretraining` if that was run, the middle one validates, and the slices of the
              upper one are measured by launch.measure and compared with the outlines.

The outlines were made by a model and all parts are of one patient, so that agreement is told, not skill on new
patients; at full size a step or two prove that it runs, no more. Seconds are of the clock, each command from start to
exit. FOLDER takes 4 GB.
"""

import argparse
import csv
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from benchmarks.common import report
from benchmarks.studies import command, launch
from mskjax.measure import dice
from mskjax.training.writer import METRICS, read_rows

SCANS = {
    "abdomen_3mm": "abdomen_3mm/ct.nii.gz",
    "j2k": "dicom_j2k/series",
    "thigh": "thigh_rtstruct/CT_image.nii.gz",
    "portal_venous": "abdomen_portal_venous/series",  # the one that validates
}
PARTS = {"train": (0, 14), "validation": (14, 20), "test": (20, 30)}  # slices of the outlined scan, from the feet
SIGNS = ("patch", "image", "reconstruction", "target_entropy", "target_information", "feature_spread", "teacher_lag")
CHOICES = ("full_size", "pretraining", "resuming", "outlined")
ONE = {"batch_size": 1, "epochs": 1, "warmup_epochs": 0, "decay": "constant"}  # or the rate of the first epoch is 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for datasets and runs")
    default = Path(os.environ.get("MSKJAX_TEST_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=default, help="folder of the real CT")
    parser.add_argument("--phantoms", type=Path, help="a pretraining on phantoms, to go on from")
    parser.add_argument("--part", choices=CHOICES, help="one part alone")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    work, data = arguments.work, arguments.data.resolve()
    adapted = partial(pretraining, phantoms=arguments.phantoms)
    parts = dict(zip(CHOICES, (full_size, adapted, resuming, outlined), strict=True))
    for name, part in parts.items():
        if arguments.part in (None, name):
            report(f"real_smit_{name}", **part(work, data))


def full_size(work: Path, data: Path) -> dict[str, Any]:
    """A step of both trainings."""
    scans, outlines = prepare_scans(work, data, (2.0, 2.0, 2.0)), prepare_parts(work, data, (1.5, 1.5, 2.0))
    first, second = work / "full_pretraining", work / "full_fine_tuning"
    pretraining_s = train("smit_pretraining", first, scans, ONE)
    fine_tuning_s = train("smit_segmentation", second, outlines, {**ONE, "init_from": first, "crops_per_scan": 1})
    rows = {run.name: read_rows(run / METRICS)[-1] for run in (first, second)}
    return {
        "pretraining_steps": rows[first.name]["step"],
        "pretraining_loss": round(rows[first.name]["loss"], 4),
        "pretraining_s": pretraining_s,
        "fine_tuning_steps": rows[second.name]["step"],
        "fine_tuning_loss": round(rows[second.name]["loss"], 4),
        "fine_tuning_s": fine_tuning_s,
    }


def pretraining(work: Path, data: Path, phantoms: Path | None) -> dict[str, Any]:
    """A run that adapts what was learned from `phantoms`, more slowly than that was learned, or begins afresh."""
    # Not the thin scan, crops of which are mostly air: in batches of two it throws the centres of the targets about.
    thick = {name: path for name, path in SCANS.items() if name != "j2k"}
    scans = prepare_scans(work, data, (4.0, 4.0, 6.0), thick)
    fields = {"spacing_mm": "(4.,4.,6.)", "crops_per_scan": 24, "epochs": 60}
    if phantoms:
        fields |= {"init_from": phantoms, "learning_rate": 5e-4}
    seconds = train("smit_pretraining:small", work / "pretraining", scans, fields)
    rows = read_rows(work / "pretraining" / METRICS)
    columns = {sign: [round(row[f"validation_{sign}"], 4) for row in rows] for sign in SIGNS}
    told = {sign: [values[0], min(values), values[-1]] for sign, values in columns.items()}
    return {"updates": rows[-1]["step"], "first_lowest_last": told, "seconds": seconds}


def resuming(work: Path, data: Path) -> dict[str, Any]:
    """A straight run, and one that is stopped and goes on."""
    scans, fields = prepare_scans(work, data, (3.0, 3.0, 3.0)), {"spacing_mm": "(3.,3.,3.)", "epochs": 15}
    straight, stopped = work / "straight", work / "stopped"
    train("smit_pretraining:small", straight, scans, fields)
    stop_after_epochs(flags("smit_pretraining:small", stopped, scans, fields), stopped, 5)
    train("smit_pretraining:small", stopped, scans, fields)
    same = all(
        (straight / name).read_bytes() == (stopped / name).read_bytes()
        for name in (METRICS, "best/variables.safetensors")
    )
    return {"updates": read_rows(straight / METRICS)[-1]["step"], "equal_when_stopped": same}


def outlined(work: Path, data: Path) -> dict[str, Any]:
    """Fine-tuning on a part of a scan, and measuring another."""
    outlines, run = prepare_parts(work, data, (3.0, 3.0, 3.0)), work / "fine_tuning"
    fields = {"spacing_mm": "(3.,3.,3.)", "crops_per_scan": 16}
    if (work / "pretraining" / "DONE").exists():
        fields |= {"init_from": work / "pretraining"}
    seconds = train("smit_segmentation:small", run, outlines, fields)
    launch("evaluate", f"--workdir={run}")
    image, drawn = work / "parts" / "test.nii.gz", work / "parts" / "test_mask.nii.gz"
    launch("measure", f"--image={image}", f"--run={run}", f"--output={work / 'measured'}", "--noremove_bone")
    found, reference = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(path))) > 0 for path in (work / "measured" / "mask.nii.gz", drawn)
    )
    areas = np.stack([mask.sum((1, 2)) for mask in (found, reference)])
    errors = 100 * (areas[0] - areas[1]) / areas[1]
    return {
        "started_from_pretraining": "init_from" in fields,
        "test_slices": len(found),
        "dice_of_slices_mean": round(float(np.mean([*map(dice, found, reference)])), 4),
        "dice_of_volume": round(float(dice(found, reference)), 4),
        "area_error_percent_mean": round(float(errors.mean()), 2),
        "area_error_percent_mean_absolute": round(float(np.abs(errors).mean()), 2),
        "train_s": seconds,
    }


def prepare_scans(
    work: Path, data: Path, spacing_mm: tuple[float, ...], scans: Mapping[str, str] | None = None
) -> Path:
    """A dataset of scans without outlines, of all unless some are named."""
    rows = [
        {"case_id": name, "image": str(data / path), "split": "validation" if name == "portal_venous" else "train"}
        for name, path in (scans or SCANS).items()
    ]
    dataset, spacing = work / f"scans_{spacing_mm[0]:g}mm", ",".join(map(str, spacing_mm))
    table = write_table(work / f"{dataset.name}.csv", rows)
    launch("prepare", f"--cases={table}", f"--spacing_mm={spacing}", f"--output={dataset}")
    return dataset


def prepare_parts(work: Path, data: Path, spacing_mm: tuple[float, ...]) -> Path:
    """A dataset of the outlined scan in three parts, each called a patient."""
    folder = work / "parts"
    folder.mkdir(exist_ok=True)
    rows = []
    for split, (first, stop) in PARTS.items():
        files = {"image": "ct_t12_l2.nii.gz", "mask": "skeletal_muscle_t12_l2.nii.gz"}
        row = {"case_id": split, "patient_id": split, "split": split}
        for column, file in files.items():
            row[column] = str(folder / f"{split}{'_mask' * (column == 'mask')}.nii.gz")
            sitk.WriteImage(sitk.ReadImage(str(data / "abdomen_3mm" / file))[:, :, first:stop], row[column])
        rows.append(row)
    dataset, spacing = work / f"parts_{spacing_mm[0]:g}mm", ",".join(map(str, spacing_mm))
    table = write_table(work / f"{dataset.name}.csv", rows)
    launch("prepare", f"--cases={table}", f"--spacing_mm={spacing}", f"--output={dataset}")
    return dataset


def write_table(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def flags(config: str, run: Path, dataset: Path, fields: Mapping[str, Any]) -> list[str]:
    name, _, text = config.partition(":")
    overrides = [f"--config.{field}={value}" for field, value in {"dataset": dataset, **fields}.items()]
    return [
        f"--config=configs/{name}.py:{text}" if text else f"--config=configs/{name}.py",
        *overrides,
        f"--workdir={run}",
    ]


def train(config: str, run: Path, dataset: Path, fields: Mapping[str, Any]) -> float:
    start = time.perf_counter()
    random = {} if "init_from" in fields else {"init_from": ""}
    launch("train", *flags(config, run, dataset, {**random, **fields}))
    return round(time.perf_counter() - start, 1)


def stop_after_epochs(own: list[str], run: Path, epochs: int) -> None:
    """Starts a training and stops it by SIGTERM once it has told of so many epochs."""
    with subprocess.Popen(command("train", *own)) as process:
        while process.poll() is None and len(read_rows(run / METRICS)) < epochs:
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)


if __name__ == "__main__":
    main()
