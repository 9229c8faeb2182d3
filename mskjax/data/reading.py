"""CT images in HU from a DICOM series, one DICOM slice, NIfTI or NRRD, on the file's own grid."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from absl import logging

from mskjax.data.dicom import read_planes
from mskjax.data.hounsfield import hounsfield, refuse_other_units, to_int16_hu
from mskjax.data.orientation import set_slice_positions, tilt_degrees
from mskjax.data.planes import ITK_KEYS, Plane
from mskjax.data.stack import distance_mm, is_tilted
from mskjax.data.volumes import is_volume, read_volume


def read_image(path: str | Path, series: str | None = None) -> sitk.Image:
    """The CT as a 3-D int16 image in HU, with padding and everything below -1024 set to -1024.

    `path` is a DICOM folder (searched to its depth) or file, told by content, or a NIfTI or NRRD file; `series` names
    one of several DICOM series as `mskjax.data.dicom.read_series` says. Fractions of HU are rounded. A DICOM series has
    its slices from feet to head, its spacing from their positions; a single slice has depth 1 and its SliceThickness
    (1 mm where unknown). A gantry-tilted series keeps the position of every slice: see `mskjax.data.orientation`. Of
    the header the image keeps the UIDs of its series and frame of reference, which masks are checked against.

    Files that end early are refused, and gzip is held to its checksum. DICOM pixels and raw NIfTI or NRRD have none:
    bytes that changed inside them are read as other values, unless a decoder stumbles over them, which that of JPEG
    2000 hardly does; keep checksums of what you archive.

    Raises `ValueError` where this is no single CT in HU with a sound geometry, `OSError` where a file cannot be read;
    the sentence names the file, the values and the remedy.
    """
    path = Path(path)
    if is_volume(path):
        return _read_volume(path, series)
    planes = read_planes(path, series)
    image_hu = hounsfield(planes)
    refuse_other_units(image_hu, str(path))
    image = sitk.GetImageFromArray(image_hu)
    _place(image, planes)
    if is_tilted(planes):
        set_slice_positions(image, np.stack([plane.position_mm for plane in planes]))
        logging.warning(
            "%s is tilted by %.1f degrees: slices are measured in their own planes, 3-D work refuses it",
            path,
            tilt_degrees(image),
        )
    return image


def _read_volume(path: Path, series: str | None) -> sitk.Image:
    if series is not None:
        raise ValueError(f"{path} holds one image and no DICOM series; leave series='{series}' out")
    stored = read_volume(path)
    if stored.GetPixelID() in (sitk.sitkUInt8, sitk.sitkInt8):
        raise ValueError(f"{path} stores 8-bit values, which cannot be HU; give the CT itself, not a mask or a picture")
    image_hu = to_int16_hu(sitk.GetArrayViewFromImage(stored), str(path))
    refuse_other_units(image_hu, str(path))
    image = sitk.GetImageFromArray(image_hu)
    image.CopyInformation(stored)
    return image


def _place(image: sitk.Image, planes: list[Plane]) -> None:
    """Gives the image the grid of its planes, whose third axis is their normal."""
    first = planes[0]
    depth_mm = distance_mm(planes) if len(planes) > 1 else first.thickness_mm
    image.SetSpacing([float(first.spacing_mm[1]), float(first.spacing_mm[0]), depth_mm])
    image.SetOrigin(first.position_mm.tolist())
    image.SetDirection(np.column_stack([*first.cosines, first.normal]).ravel().tolist())
    for name, key in ITK_KEYS.items():
        if uid := first.header.get(name):
            image.SetMetaData(key, str(uid))
