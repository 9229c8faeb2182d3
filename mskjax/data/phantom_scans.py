"""Phantom patients and readers as files: prepared, trained on, measured and judged just as real ones are.

FOLDER/images/phantom_0000.nii.gz ...   one L3 slice a patient
FOLDER/masks/phantom_0000.nii.gz ...    its muscle
FOLDER/cases.csv                        both, with sex, age, height, weight and sarcopenia
FOLDER/scan.nii.gz, scan_mask.nii.gz    a whole volume of one further patient, whom no network has seen
FOLDER/readers/reader_00/phantom_0007.nii.gz ...    what simulated readers drew of the test cases
FOLDER/readers.csv                      who drew which, as `mskjax.data.reader_table` reads it

A phantom counts as sarcopenic where its muscle area in that slice is below 165 cm2 (men) or 110 cm2 (women), which are
about a third of either sex. Study B's own 144 and 92 cm2 would leave one phantom in twenty, and most small cohorts with
one class alone.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import SimpleITK as sitk
from absl import logging
from jaxtyping import Float64, Integer

from mskjax.data import phantom
from mskjax.data.writing import write_mask
from mskjax.files import atomic_path, read_json, remove, write_json

# To be raised when the same arguments draw other patients, so that former scans are drawn anew.
_EDITION = 2
_READERS_EDITION = 1
# Ten radiographers in two groups, so that five draw a case (study A, 2.4).
_READERS, _GROUPS = 10, 2
_SARCOPENIC_BELOW_CM2 = {"M": 165.0, "F": 110.0}


def write_scans(folder: str | Path, count: int, size: int = 256, seed: int = 0) -> Path:
    """Writes `count` patients' slices of `size` x `size` pixels and one volume; the path of the table of cases.

    Files that the same arguments and edition of the phantoms once wrote are left as they are.
    """
    folder = Path(folder)
    arguments = {"count": count, "size": size, "seed": seed, "edition": _EDITION}
    if is_drawn(folder, arguments):
        return folder / "cases.csv"
    logging.info("drawing %d phantom patients", count)
    remove(folder)
    patients = phantom.slices(count, size, seed)
    rows = []
    for i in range(count):
        case_id, spacing_mm = f"phantom_{i:04d}", np.array([1.0, *patients.spacing_mm[i]])
        files = {"image": f"images/{case_id}.nii.gz", "mask": f"masks/{case_id}.nii.gz"}
        write_array(folder / files["image"], patients.image_hu[i][None], spacing_mm)
        write_array(folder / files["mask"], patients.mask[i][None], spacing_mm)
        about = {name: getattr(patients, name)[i] for name in ("sex", "age_years", "height_m", "weight_kg")}
        sarcopenia = int(is_sarcopenic(patients.area_cm2[i], str(about["sex"])))
        rows.append({"case_id": case_id, "patient_id": case_id, **files, **about, "sarcopenia": sarcopenia})
    _write_volume(folder, count, seed)
    return write_cases(folder, rows, arguments)


def is_drawn(folder: Path, arguments: dict[str, Any]) -> bool:
    """Whether phantoms of these arguments lie in `folder`, all of them."""
    receipt = folder / "phantoms.json"
    return receipt.is_file() and read_json(receipt) == arguments


def is_sarcopenic(area_cm2: float, sex: str) -> bool:
    """Whether a phantom of this muscle area at L3 counts as sarcopenic."""
    return bool(area_cm2 < _SARCOPENIC_BELOW_CM2[sex])


def write_cases(folder: Path, rows: list[dict[str, Any]], arguments: dict[str, Any]) -> Path:
    """Writes the table of cases and, last, that all phantoms of these arguments are drawn; the path of the table."""
    table = folder / "cases.csv"
    with atomic_path(table) as written:
        pd.DataFrame(rows).to_csv(written, index=False)
    write_json(folder / "phantoms.json", arguments)
    return table


def write_readers(folder: str | Path, case_ids: Sequence[str]) -> Path | None:
    """Writes what the simulated readers draw of `case_ids`, phantoms of `write_scans`; the path of the readers' table.

    The cases take turns with the groups of readers. A mask depends on the phantoms' seed, the reader and the patient
    alone. What is up to date is left as it is; without cases there is no table, and None comes back.
    """
    folder = Path(folder)
    table, receipt = folder / "readers.csv", folder / "readers.json"
    drawn_of = read_json(folder / "phantoms.json")
    arguments = {"phantoms": drawn_of, "edition": _READERS_EDITION, "cases": list(case_ids)}
    if table.is_file() and receipt.is_file() and read_json(receipt) == arguments:
        return table
    for former in (table, receipt, folder / "readers"):
        remove(former)
    if not case_ids:
        return None
    logging.info("drawing the masks of %d simulated readers", _READERS)
    rows = [row for k, case_id in enumerate(case_ids) for row in _draw(folder, case_id, k % _GROUPS, drawn_of)]
    with atomic_path(table) as written:
        pd.DataFrame(rows).to_csv(written, index=False)
    write_json(receipt, arguments)
    return table


def _draw(folder: Path, case_id: str, group: int, drawn_of: dict[str, int]) -> list[dict[str, str]]:
    """Writes one case's masks by the readers of a group; their rows in the table."""
    index, seed = int(case_id.removeprefix("phantom_")), drawn_of["seed"]
    patient = phantom.slices(1, drawn_of["size"], seed, first=index)  # again, as readers see organs that no file tells
    numbers = range(group, _READERS, _GROUPS)
    spacing_mm = np.array([1.0, *patient.spacing_mm[0]])
    rows = []
    for number, mask in zip(numbers, phantom.observers(patient, numbers, seed, first=index)[:, 0], strict=True):
        reader = f"reader_{number:02d}"
        file = f"readers/{reader}/{case_id}.nii.gz"
        write_array(folder / file, mask[None], spacing_mm)
        rows.append({"case": case_id, "reader": reader, "file": file, "image": f"images/{case_id}.nii.gz"})
    return rows


def _write_volume(folder: Path, index: int, seed: int) -> None:
    patient = phantom.volumes(1, seed=seed, first=index)
    write_array(folder / "scan.nii.gz", patient.image_hu[0], patient.spacing_mm[0])
    write_array(folder / "scan_mask.nii.gz", patient.mask[0], patient.spacing_mm[0])


def write_array(path: Path, array: Integer[np.ndarray, "d h w"], spacing_mm: Float64[np.ndarray, "3"]) -> None:
    """Writes an array of `mskjax.data`'s orientation, which is ITK's own with the identity as direction."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([float(size) for size in spacing_mm[::-1]])
    if array.dtype == np.uint8:
        write_mask(path, image)
        return
    with atomic_path(path) as written:
        sitk.WriteImage(image, str(written), useCompression=True)
