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
    table, receipt = folder / "cases.csv", folder / "phantoms.json"
    arguments = {"count": count, "size": size, "seed": seed, "edition": _EDITION}
    if receipt.is_file() and read_json(receipt) == arguments:
        return table
    logging.info("drawing %d phantom patients", count)
    remove(folder)
    patients = phantom.slices(count, size, seed)
    ids = [f"phantom_{i:04d}" for i in range(count)]
    for i, case_id in enumerate(ids):
        spacing_mm = np.array([1.0, *patients.spacing_mm[i]])
        _write(folder / "images" / f"{case_id}.nii.gz", patients.image_hu[i][None], spacing_mm)
        _write(folder / "masks" / f"{case_id}.nii.gz", patients.mask[i][None], spacing_mm)
    _write_volume(folder, count, seed)
    about = {name: getattr(patients, name) for name in ("sex", "age_years", "height_m", "weight_kg")}
    cuts_cm2 = np.array([_SARCOPENIC_BELOW_CM2[sex] for sex in patients.sex])
    about["sarcopenia"] = (patients.area_cm2 < cuts_cm2).astype(int)
    files = {column: [f"{column}s/{case_id}.nii.gz" for case_id in ids] for column in ("image", "mask")}
    with atomic_path(table) as written:
        pd.DataFrame({"case_id": ids, "patient_id": ids, **files, **about}).to_csv(written, index=False)
    write_json(receipt, arguments)
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
        _write(folder / file, mask[None], spacing_mm)
        rows.append({"case": case_id, "reader": reader, "file": file, "image": f"images/{case_id}.nii.gz"})
    return rows


def _write_volume(folder: Path, index: int, seed: int) -> None:
    patient = phantom.volumes(1, seed=seed, first=index)
    _write(folder / "scan.nii.gz", patient.image_hu[0], patient.spacing_mm[0])
    _write(folder / "scan_mask.nii.gz", patient.mask[0], patient.spacing_mm[0])


def _write(path: Path, array: Integer[np.ndarray, "d h w"], spacing_mm: Float64[np.ndarray, "3"]) -> None:
    """Writes an array of `mskjax.data`'s orientation, which is ITK's own with the identity as direction."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([float(size) for size in spacing_mm[::-1]])
    if array.dtype == np.uint8:
        write_mask(path, image)
        return
    with atomic_path(path) as written:
        sitk.WriteImage(image, str(written), useCompression=True)
