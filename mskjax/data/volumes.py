"""NIfTI and NRRD files as stored, where their data are whole and their geometry is stated."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from mskjax.data.nifti import NOT_FINITE, check_nifti
from mskjax.data.nrrd import check_nrrd

NIFTI = (".nii", ".nii.gz")
NRRD = (".nrrd", ".nhdr")


def is_volume(path: Path) -> bool:
    """Whether the name is that of a NIfTI or NRRD file."""
    return path.name.lower().endswith((*NIFTI, *NRRD))


def read_volume(path: Path) -> sitk.Image:
    """The 3-D image in a NIfTI or NRRD file as stored, without any of the file's metadata but its grid.

    Raises `OSError` where the file is missing, damaged or cut short, and `ValueError` where it does not hold one finite
    value for each voxel of one 3-D grid, or does not state its geometry without doubt.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file; give a DICOM folder or file, NIfTI or NRRD")
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        _check(path, reader)
        image = reader.Execute()
    except RuntimeError as error:
        raise _refusal(path, str(error)) from None
    if not np.isfinite(sitk.GetArrayViewFromImage(image)).all():
        raise ValueError(NOT_FINITE.format(path=path))
    # Descriptions and file names of other programs can name the patient.
    for key in image.GetMetaDataKeys():
        image.EraseMetaData(key)
    return image


def _check(path: Path, reader: sitk.ImageFileReader) -> None:
    if reader.GetDimension() != 3 or reader.GetNumberOfComponents() != 1:
        raise ValueError(
            f"{path} has the shape {' x '.join(map(str, reader.GetSize()))} with {reader.GetNumberOfComponents()} "
            "components, not one value in each voxel of a 3-D image; give one volume"
        )
    if path.name.lower().endswith(NIFTI):
        check_nifti(path, reader)
    else:
        check_nrrd(path, reader)


def _refusal(path: Path, reason: str) -> ValueError | OSError:
    if "orthonormal" in reason:
        return ValueError(f"{path} has a sheared or empty geometry (sform, qform); resample it to a straight grid")
    return OSError(f"{path} is damaged or cut short and cannot be read; write or copy it again")
