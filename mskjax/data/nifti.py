"""What ITK does not say about a NIfTI file: whether its data are whole and finite, and its geometry stated once.

ITK fills a file that is cut short, or whose gzip stream is damaged, with whatever the memory holds; it turns values
that are not finite into 0, which is water; it takes the identity for a file that states no geometry, and mixes qform
and sform where they disagree. Layout: nifti1.h and nifti2.h of the NIfTI Data Format Working Group.
"""

import gzip
import math
import zlib
from io import BufferedIOBase
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

FIELDS = ("size", "datatype", "bits", "pixdim", "start", "units", "qform", "sform", "quaternion", "offset", "rows")
HEADERS = {
    348: (
        ("i4", "i2", "i2", "8f4", "f4", "i1", "i2", "i2", "3f4", "3f4", "(3,4)f4"),
        (0, 70, 72, 76, 108, 123, 252, 254, 256, 268, 280),
    ),
    540: (
        ("i4", "i2", "i2", "8f8", "i8", "i4", "i4", "i4", "3f8", "3f8", "(3,4)f8"),
        (0, 12, 14, 104, 168, 500, 344, 348, 352, 376, 400),
    ),
}
FLOATS = {16: "f4", 64: "f8"}
UNKNOWN, MILLIMETRES = 0, 2
FORM_TOLERANCE_MM = 0.1
# Of a half turn's quaternion the real part is the root of what float32 loses of 1, at most 3.5e-4: half the angle.
FORM_TOLERANCE_RADIANS = 1e-3
CHUNK = 1 << 22
NOT_FINITE = "{path} holds values that are not finite; set them to -1024 in CT, to 0 in a mask, and write it again"


def check_nifti(path: Path, reader: sitk.ImageFileReader) -> None:
    """Refuses a NIfTI file that ITK, having read its information into `reader`, would misread in silence.

    Raises `OSError` where the data are cut short or damaged, `ValueError` where values are not finite, lengths are not
    in mm, or the geometry is missing or stated in two ways that differ.
    """
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path) if zipped else path.open("rb") as file:
            header = _header(path, file.read(max(HEADERS)))
            file.seek(int(header["start"]))
            _check_data(path, file, header, math.prod(reader.GetSize()))
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise OSError(
            f"{path} is damaged or cut short: its gzip stream ends early or is wrong; copy it again"
        ) from None
    _check_geometry(path, header, reader)


def _header(path: Path, start: bytes) -> np.void:
    for size, (formats, offsets) in HEADERS.items():
        layout = np.dtype({"names": FIELDS, "formats": formats, "offsets": offsets, "itemsize": size})
        for ordered in (layout.newbyteorder("<"), layout.newbyteorder(">")):
            if len(start) >= size and np.frombuffer(start, ordered, 1)[0]["size"] == size:
                return np.frombuffer(start, ordered, 1)[0]
    raise OSError(f"{path} is cut short or no NIfTI file, though its name says so; copy it again")


def _check_data(path: Path, file: BufferedIOBase, header: np.void, voxels: int) -> None:
    """Reads all there is, to its end, where gzip keeps its checksum."""
    needed, size = voxels * int(header["bits"]) // 8, 0
    floats = FLOATS.get(int(header["datatype"]))
    order = header.dtype["size"].byteorder
    for chunk in iter(lambda: file.read(CHUNK), b""):
        values = np.frombuffer(chunk[: max(needed - size, 0)], np.uint8)
        if floats and not np.isfinite(values[: values.size // 8 * 8].view(np.dtype(floats).newbyteorder(order))).all():
            raise ValueError(NOT_FINITE.format(path=path))
        size += len(chunk)
    if size < needed:
        raise OSError(f"{path} is cut short: its voxels need {needed} bytes and {size} are there; copy it again")


def _check_geometry(path: Path, header: np.void, reader: sitk.ImageFileReader) -> None:
    units = int(header["units"]) & 7
    if units not in (UNKNOWN, MILLIMETRES):
        raise ValueError(f"{path} does not measure in mm (xyzt_units {units}); write it in mm")
    stated = {form: affine(header) for form, affine in (("sform", _sform), ("qform", _qform)) if header[form] > 0}
    if not stated:
        raise ValueError(
            f"{path} has neither sform nor qform, so left and right are unknown; write it with its geometry"
        )
    corners = np.array(list(np.ndindex(2, 2, 2))) * (np.array(reader.GetSize()) - 1)
    for form, affine in stated.items():
        difference = affine - _as_read(reader)
        apart_mm = np.abs(corners @ difference[:, :3].T + difference[:, 3]).max()
        extent_mm = np.linalg.norm(corners[-1] * reader.GetSpacing())
        if not apart_mm <= FORM_TOLERANCE_MM + FORM_TOLERANCE_RADIANS * extent_mm:
            raise ValueError(
                f"{path} has a {form} that places voxels up to {apart_mm:.1f} mm from where they are read: qform and "
                "sform disagree, or are sheared; keep the right one and set the other's code to 0"
            )


def _sform(header: np.void) -> Float64[np.ndarray, "3 4"]:
    """The sform, from indices to RAS."""
    return header["rows"].astype(np.float64)


def _qform(header: np.void) -> Float64[np.ndarray, "3 4"]:
    """The qform, from indices to RAS: a unit quaternion, its third axis reversed where pixdim[0] is negative."""
    vector = header["quaternion"].astype(np.float64)
    rotation = Rotation.from_quat([*vector, math.sqrt(max(1 - vector @ vector, 0.0))]).as_matrix()
    sizes_mm = header["pixdim"][1:4].astype(np.float64) * [1, 1, -1 if header["pixdim"][0] < 0 else 1]
    return np.column_stack([rotation * sizes_mm, header["offset"].astype(np.float64)])


def _as_read(reader: sitk.ImageFileReader) -> Float64[np.ndarray, "3 4"]:
    """The grid as ITK reads it, from indices to RAS."""
    axes = np.array(reader.GetDirection()).reshape(3, 3) * reader.GetSpacing()
    return np.column_stack([axes, reader.GetOrigin()]) * [[-1.0], [-1.0], [1.0]]
