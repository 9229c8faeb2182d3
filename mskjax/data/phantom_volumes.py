"""Phantom patients as whole scans, each with its muscle outlined on one slice at L3, as readers do.

FOLDER/images/phantom_0000.nii.gz ...        62 slices of 5 mm, from S1 to T11
FOLDER/masks/phantom_0000.nii.gz ...         the muscle on the slice at the middle of L3; nothing on all others
FOLDER/whole_masks/phantom_0000.nii.gz ...   the muscle on all slices, for checks alone
FOLDER/cases.csv                             images and masks, with sex, age, height, weight and sarcopenia

A phantom counts as sarcopenic by its area on that slice, as in `mskjax.data.phantom_scans`.
"""

from pathlib import Path
from typing import Any

import numpy as np
from absl import logging
from tqdm import tqdm

from mskjax.data import phantom
from mskjax.data.anatomy.patient import VERTEBRA_LABELS
from mskjax.data.phantom_scans import is_drawn, is_sarcopenic, write_array, write_cases
from mskjax.files import remove

# To be raised when the same arguments draw other patients, so that former scans are drawn anew.
_EDITION = 1
_SLICES, _SLICE_MM, _FIELD_MM = 62, 5.0, 409.6


def write_volumes(folder: str | Path, count: int, size: int = 256, seed: int = 0) -> Path:
    """Writes `count` patients' volumes of `size` x `size` pixels a slice; the path of the table of cases.

    Files that the same arguments and edition once wrote are left as they are.
    """
    folder = Path(folder)
    arguments = {"volumes": count, "size": size, "seed": seed, "edition": _EDITION}
    if is_drawn(folder, arguments):
        return folder / "cases.csv"
    logging.info("drawing %d phantom patients", count)
    remove(folder)
    rows = [_draw(folder, i, size, seed) for i in tqdm(range(count), desc="draw", unit="patient", disable=None)]
    return write_cases(folder, rows, arguments)


def l3_slice(patient: phantom.Phantom) -> int:
    """The slice in the middle of L3 of one phantom volume, 0 at the feet."""
    carrying = np.flatnonzero((patient.labels[0] == VERTEBRA_LABELS["L3"]).any(axis=(1, 2)))
    return int(carrying[(len(carrying) - 1) // 2])


def _draw(folder: Path, index: int, size: int, seed: int) -> dict[str, Any]:
    """Writes one patient's volume and masks; the patient's row in the table."""
    spacing_mm = np.array([_SLICE_MM, _FIELD_MM / size, _FIELD_MM / size])
    patient = phantom.volumes(1, (_SLICES, size, size), spacing_mm.tolist(), seed, first=index)
    case_id, level = f"phantom_{index:04d}", l3_slice(patient)
    outlined = np.zeros_like(patient.mask[0])
    outlined[level] = patient.mask[0, level]
    arrays = {"images": patient.image_hu[0], "masks": outlined, "whole_masks": patient.mask[0]}
    for name, array in arrays.items():
        write_array(folder / name / f"{case_id}.nii.gz", array, spacing_mm)
    about = {name: getattr(patient, name)[0] for name in ("sex", "age_years", "height_m", "weight_kg")}
    sarcopenia = is_sarcopenic(patient.area_cm2[0, level], str(about["sex"]))
    files = {"image": f"images/{case_id}.nii.gz", "mask": f"masks/{case_id}.nii.gz"}
    return {"case_id": case_id, "patient_id": case_id, **files, **about, "sarcopenia": int(sarcopenia)}
