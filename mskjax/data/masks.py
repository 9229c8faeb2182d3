"""Masks of a CT image from whatever they were drawn in, on exactly the image's own grid.

Label maps (NIfTI, NRRD), DICOM SEG, RTSTRUCT and pairs of bitmaps. Nothing is resampled: a mask either is on the
image's voxels, perhaps in another storage order, or it is refused with both grids.
"""

import re
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from absl import logging
from jaxtyping import Bool
from pydicom.uid import RTStructureSetStorage, SegmentationStorage

from mskjax.data.bitmaps import outline_to_mask, read_bitmap
from mskjax.data.dicom_masks import read_seg
from mskjax.data.grids import on_grid, reoriented
from mskjax.data.headers import is_dicom, read_header, sop_class
from mskjax.data.labels import Label, choose
from mskjax.data.orientation import from_axial, to_axial
from mskjax.data.rtstruct import read_rtstruct
from mskjax.data.volumes import is_volume, read_volume

LABEL_MAP_SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"  # newer than pydicom's list


def read_mask(path: str | Path | Sequence[str | Path], like: sitk.Image, label: Label | None = None) -> sitk.Image:
    """The mask, uint8 0 and 1, with exactly the size, spacing, origin and direction of the 3-D image `like`.

    `path` is a file, or a pair (plain bitmap, bitmap with the outline) for an image of one slice, both as a radiologist
    sees the slice. `label` is a number, a name (of a SEG segment, an RTSTRUCT ROI or a segment that 3D Slicer names in
    NRRD), or a list of them, which are joined. An empty mask is allowed and logged. Raises `OSError` where a file
    cannot be read, `ValueError` where the label is missing or not the only one, the grids differ by more than a tenth
    of a voxel, or the values are no labels (fractions, negative numbers, colours).
    """
    if like.GetDimension() != 3:
        raise ValueError(f"a mask is read onto a 3-D image, and this one has {like.GetDimension()} dimensions")
    single = isinstance(path, str | Path)
    mask = _read_file(Path(path), like, label) if single else _read_pair(path, like, label)
    if not mask.any():
        logging.warning("the mask in %s is empty", path)
    return on_grid(mask, like)


def _read_file(path: Path, like: sitk.Image, label: Label | None) -> Bool[np.ndarray, "d h w"]:
    if not path.is_file():
        what = "a folder" if path.is_dir() else "not there"
        raise OSError(f"{path} is {what}; name the mask's own file")
    if is_volume(path):
        return _read_label_map(path, like, label)
    if not is_dicom(path):
        raise ValueError(
            f"{path} is no mask; give NIfTI, NRRD, DICOM SEG or RTSTRUCT, or a pair of bitmaps, the plain slice and "
            "the one with the outline"
        )
    try:
        return _read_dicom(path, like, label)
    except (OSError, EOFError, struct.error) as error:
        # pydicom's own errors about files that end early do not name the file.
        if str(path) in str(error):
            raise
        raise OSError(f"{path} is damaged or cut short; copy it again") from error


def _read_dicom(path: Path, like: sitk.Image, label: Label | None) -> Bool[np.ndarray, "d h w"]:
    header = read_header(path)
    kind = sop_class(header)
    if kind in (SegmentationStorage, LABEL_MAP_SEGMENTATION_STORAGE):
        return read_seg(header, like, label, path)
    if kind == RTStructureSetStorage:
        return read_rtstruct(header, like, label, path)
    raise ValueError(
        f"{path} is a DICOM object of {header.get('Modality', kind)} and no mask; give a SEG or an RTSTRUCT"
    )


def _read_label_map(path: Path, like: sitk.Image, label: Label | None) -> Bool[np.ndarray, "d h w"]:
    values = _whole_numbers(reoriented(read_volume(path), like, path), path)
    names = _segment_names(path)
    present = {int(n): names.get(int(n), "") for n in _present(values) if n} | names
    return np.isin(values, choose(label, present, path))


def _present(values: np.ndarray) -> np.ndarray:
    """The distinct values of a label map, counted rather than sorted where labels are as small as they usually are."""
    if values.max() >= 2**16:
        return np.unique(values)
    return np.flatnonzero(np.bincount(values.ravel().astype(np.intp, copy=False)))


def _whole_numbers(values: np.ndarray, path: Path) -> np.ndarray:
    """The values as integers; refuses what can be no label map."""
    whole = np.issubdtype(values.dtype, np.integer)
    if not whole and (values != np.rint(values)).any():
        raise ValueError(
            f"{path} has fractions, as probabilities do, from {values.min():.4g} to {values.max():.4g}; "
            "threshold it and store whole numbers"
        )
    if values.min() < 0:
        raise ValueError(
            f"{path} has negative values, down to {values.min():.0f}; labels are 0 and above, is this the CT?"
        )
    return values if whole else values.astype(np.int64)


def _segment_names(path: Path) -> dict[int, str]:
    """The names of the labels, where 3D Slicer wrote them into a .seg.nrrd."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    keys = [key for key in reader.GetMetaDataKeys() if re.fullmatch(r"Segment\d+_LabelValue", key)]
    return {
        int(reader.GetMetaData(key)): reader.GetMetaData(name)
        for key in keys
        if reader.HasMetaDataKey(name := key.replace("_LabelValue", "_Name"))
    }


def _read_pair(pair: Sequence[str | Path], like: sitk.Image, label: Label | None) -> Bool[np.ndarray, "d h w"]:
    if len(pair) != 2:
        raise ValueError(f"{len(pair)} files were given; a pair is the plain bitmap and the one with the outline")
    if label not in (None, 1):
        raise ValueError(f"a pair of bitmaps has one outline and no label {label!r}; leave the label out")
    depth, *shape = to_axial(like)[0].shape
    plain, outlined = (read_bitmap(path) for path in pair)
    if depth != 1 or list(plain.shape[:2]) != shape:
        raise ValueError(
            f"{pair[0]} has {plain.shape[0]} x {plain.shape[1]} pixels, the image {depth} slices of {shape[0]} x "
            f"{shape[1]}; a pair of bitmaps belongs to one slice of the same size"
        )
    try:
        mask = outline_to_mask(plain, outlined)
    except ValueError as error:
        raise ValueError(f"{pair[1]}: {error}") from error
    return sitk.GetArrayFromImage(from_axial(mask[None], like)).astype(bool)
