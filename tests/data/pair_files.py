"""Small images with masks, as NIfTI and as DICOM, to be prepared."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from dicom_files import PATIENT, body_hu, write_series

from mskjax.data import prepare
from mskjax.data.pairs import Pair

ALL_TRAIN = prepare.Shares(0.0, 0.0)


def write_image(path: Path, array: np.ndarray, spacing_mm=(5.0, 1.5, 1.0)) -> Path:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing_mm[::-1])
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path


def mask_on(*slices: int, depth: int = 4, height: int = 12, width: int = 10) -> np.ndarray:
    """A mask whose area grows with the slice's index."""
    mask = np.zeros((depth, height, width), np.uint8)
    for k in slices:
        mask[k, 3 : 5 + k, 2:6] = 1
    return mask


def pair(folder: Path, i: int = 0, **choice) -> Pair:
    return Pair(folder / f"ct/case{i}.nii.gz", folder / f"muscle/case{i}.nii.gz", **choice)


def dicom_pair(folder: Path, patient_id: str = PATIENT["PatientID"], **attributes) -> Pair:
    said = {"PatientID": patient_id, "PatientSex": "F", "PatientAge": "094Y", "PatientSize": 1.62, "PatientWeight": 0}
    write_series(folder / "ct", body_hu(), **(said | attributes))
    mask = sitk.GetImageFromArray(mask_on(2))
    mask.SetSpacing((1.0, 1.0, 5.0))
    mask.SetOrigin((-100.0, -120.0, -300.0))
    sitk.WriteImage(mask, str(folder / "muscle.nrrd"))
    return Pair(folder / "ct", folder / "muscle.nrrd")
