"""NIfTI and NRRD files whose geometry is stated and whose data are whole.

ITK reads a NIfTI file that is cut short, or whose gzip stream is damaged, and fills the rest with whatever the memory
holds; it takes the identity for a file that states no geometry, and mixes qform and sform where they disagree. All of
that is refused here before ITK reads the file.
"""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

NIFTI = (".nii", ".nii.gz")
NRRD = (".nrrd", ".nhdr")
FORM_TOLERANCE_MM = 0.1
CHUNK = 1 << 22


def is_volume(path: Path) -> bool:
    """Whether the name is that of a NIfTI or NRRD file."""
    return path.name.lower().endswith((*NIFTI, *NRRD))


def read_volume(path: Path) -> sitk.Image:
    """The 3-D image in a NIfTI or NRRD file as stored, without any of the file's metadata but its grid.

    Raises `OSError` where the file is missing, damaged or cut short, and `ValueError` where it does not hold one value
    for each voxel of one 3-D grid, or does not state its geometry without doubt.
    """
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _refusal(path, error) from None
    if reader.GetDimension() != 3 or reader.GetNumberOfComponents() != 1:
        raise ValueError(
            f"{path} has the shape {' x '.join(map(str, reader.GetSize()))} with {reader.GetNumberOfComponents()} "
            "components, not one value in each voxel of a 3-D image; give one volume"
        )
    _check_nifti(path, reader) if path.name.lower().endswith(NIFTI) else _check_nrrd(path, reader)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise _refusal(path, error) from None
    # Descriptions and file names of other programs can name the patient.
    for key in image.GetMetaDataKeys():
        image.EraseMetaData(key)
    return image


def _refusal(path: Path, error: RuntimeError) -> ValueError | OSError:
    if not path.is_file():
        return FileNotFoundError(f"{path} is no file; give a DICOM folder or file, NIfTI or NRRD")
    if "orthonormal" in str(error):
        return ValueError(f"{path} has a sheared or empty geometry (sform, qform); resample it to a straight grid")
    return OSError(f"{path} is damaged or cut short and cannot be read; write or copy it again")


def _check_nrrd(path: Path, reader: sitk.ImageFileReader) -> None:
    if not reader.HasMetaDataKey("NRRD_space"):
        raise ValueError(f"{path} does not say where its axes point in the body (NRRD space); write it with geometry")


def _check_nifti(path: Path, reader: sitk.ImageFileReader) -> None:
    _check_whole(path, reader)
    if int(reader.GetMetaData("xyzt_units")) & 7 not in (0, 2):
        raise ValueError(
            f"{path} does not measure in mm (xyzt_units {reader.GetMetaData('xyzt_units')}); write it in mm"
        )
    forms = {"sform": _sform, "qform": _qform}
    stated = {name: form(reader) for name, form in forms.items() if int(reader.GetMetaData(f"{name}_code")) > 0}
    if not stated:
        raise ValueError(
            f"{path} has neither sform nor qform, so left and right are unknown; write it with its geometry"
        )
    corners = np.array([np.array(c) for c in np.ndindex(2, 2, 2)]) * (np.array(reader.GetSize()) - 1)
    read = _grid(reader)
    for name, affine in stated.items():
        apart_mm = np.abs(corners @ (affine - read)[:, :3].T + (affine - read)[:, 3]).max()
        if not apart_mm <= FORM_TOLERANCE_MM:
            raise ValueError(
                f"{path} has a {name} that places voxels up to {apart_mm:.1f} mm from where they are read: qform and "
                "sform disagree, or are sheared; keep the right one and set the other's code to 0"
            )


def _check_whole(path: Path, reader: sitk.ImageFileReader) -> None:
    """Refuses a file with fewer bytes than its voxels need, or with a gzip stream that fails its own checksum."""
    bits = int(reader.GetMetaData("bitpix"))
    needed = int(float(reader.GetMetaData("vox_offset"))) + math.prod(reader.GetSize()) * bits // 8
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        size = _unzipped_size(path) if zipped else path.stat().st_size
    except (OSError, EOFError, zlib.error):
        raise OSError(
            f"{path} is damaged or cut short (its gzip stream ends early or is wrong); copy it again"
        ) from None
    if size < needed:
        raise OSError(f"{path} is cut short: it has {size} bytes and its voxels need {needed}; copy it again")


def _unzipped_size(path: Path) -> int:
    with gzip.open(path) as file:
        return sum(len(chunk) for chunk in iter(lambda: file.read(CHUNK), b""))


def _sform(reader: sitk.ImageFileReader) -> Float64[np.ndarray, "3 4"]:
    """The sform in RAS, as NIfTI has it."""
    return np.array([reader.GetMetaData(f"srow_{axis}").split() for axis in "xyz"], np.float64)


def _qform(reader: sitk.ImageFileReader) -> Float64[np.ndarray, "3 4"]:
    """The qform in RAS: rotation by a unit quaternion, its third axis reversed where pixdim[0] is negative."""
    b, c, d = (float(reader.GetMetaData(f"quatern_{name}")) for name in "bcd")
    turned = Rotation.from_quat([b, c, d, math.sqrt(max(1 - b * b - c * c - d * d, 0))]).as_matrix()
    sign = -1.0 if float(reader.GetMetaData("pixdim[0]")) < 0 else 1.0
    offset = [float(reader.GetMetaData(f"qoffset_{axis}")) for axis in "xyz"]
    return np.column_stack([turned * [1, 1, sign] * reader.GetSpacing(), offset])


def _grid(reader: sitk.ImageFileReader) -> Float64[np.ndarray, "3 4"]:
    """The grid as ITK reads it, in RAS."""
    axes = np.array(reader.GetDirection()).reshape(3, 3) * reader.GetSpacing()
    return np.column_stack([axes, reader.GetOrigin()]) * [[-1], [-1], [1]]
