"""A cohort of small images with masks."""

import pytest
from dicom_files import body_hu
from pair_files import mask_on, write_image
from volume_files import make


@pytest.fixture
def cohort(tmp_path):
    """Three pairs of NIfTI of two matrix sizes."""
    for i, height in enumerate((12, 15, 12)):
        write_image(tmp_path / f"ct/case{i}.nii.gz", body_hu(4, height, 10, seed=i))
        write_image(tmp_path / f"muscle/case{i}.nii.gz", mask_on(1, 2, height=height))
    return tmp_path


@pytest.fixture
def volume_dataset(cohort):
    """The dataset of the three scans whose masks lie on slices 1 and 2."""
    assert make(cohort) == {}
    return cohort / "out"
