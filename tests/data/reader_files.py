"""A small dataset whose test cases are slices of stored volumes, and tables of what readers drew of them."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from dicom_files import body_hu
from pair_files import ALL_TRAIN, mask_on

from mskjax.data import prepare
from mskjax.data.dataset import Dataset, read_dataset
from mskjax.data.pairs import Pair

SPACING_MM = (5.0, 1.5, 1.0)  # slice, row, column
SPLITS = {"anna": "test", "berta": "test", "carl": "train"}
HEIGHTS = {"anna": 12, "berta": 15, "carl": 12}


def stored(array: np.ndarray, orientation: str = "LPS") -> sitk.Image:
    """An array in the axial view as an image off the origin, its axes stored as `orientation` says."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING_MM[::-1])
    image.SetOrigin((-31.0, 17.0, 250.0))
    return sitk.DICOMOrient(image, orientation)


def write(path: Path, array: np.ndarray, orientation: str = "LPS") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(stored(array, orientation), str(path))
    return path


def patient_hu(name: str) -> np.ndarray:
    return body_hu(4, HEIGHTS[name], 10, seed=ord(name[0]))


def prepared(folder: Path, orientation: str = "LPS") -> Dataset:
    """Anna and berta test with slices 1 and 2 each (cases anna_s001, ...), carl trains; berta's slices are larger."""
    pairs = []
    for name, split in SPLITS.items():
        image = write(folder / f"ct/{name}.nii.gz", patient_hu(name), orientation)
        mask = write(folder / f"expert/{name}.nii.gz", mask_on(1, 2, height=HEIGHTS[name]))
        pairs.append(Pair(image, mask, case_id=name, patient_id=name, about={"split": split}))
    assert prepare.prepare(pairs, folder / "dataset", ALL_TRAIN) == {}
    return read_dataset(folder / "dataset")


def write_table(folder: Path, *lines: str, header: str = "case,reader,file") -> Path:
    (folder / "readers.csv").write_text("\n".join((header, *lines)) + "\n", encoding="utf-8")
    return folder / "readers.csv"
