"""Masks of a CT image from whatever they were drawn in, on exactly the image's own grid.

Label maps (NIfTI, NRRD and what else SimpleITK reads), DICOM SEG, RTSTRUCT and pairs of bitmaps. Nothing is resampled: a
mask either is on the image's voxels, perhaps in another storage order, or it is refused with both grids.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from absl import logging
from jaxtyping import Bool
from pydicom.uid import RTStructureSetStorage, SegmentationStorage

from mskjax.data.bitmaps import outline_to_mask, read_bitmap
from mskjax.data.dicom_masks import read_seg
from mskjax.data.grids import on_grid, reoriented
from mskjax.data.labels import Label, choose
from mskjax.data.orientation import from_axial, to_axial
from mskjax.data.rtstruct import read_rtstruct

LABEL_MAP_SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"  # newer than pydicom's list
BITMAPS = (".png", ".tif", ".tiff", ".bmp", ".jpg", ".jpeg")


def read_mask(path: str | Path | Sequence[str | Path], like: sitk.Image, label: Label | None = None) -> sitk.Image:
    """The mask, uint8 0 and 1, with exactly the size, spacing, origin and direction of the 3-D image `like`.

    `path` is a file, or a pair (plain bitmap, bitmap with the outline) for an image of one slice, both as a radiologist
    sees the slice. `label` is a number, a name (of a SEG segment, an RTSTRUCT ROI or a segment that 3D Slicer names in
    NRRD), or a list of them, which are joined. An empty mask is allowed and logged. Raises `OSError` where a file cannot be
    read, `ValueError` where the label is missing or not the only one, the grids differ by more than a tenth of a
    voxel, or the values are no labels (fractions, negative numbers, colours).
    """
    if like.GetDimension() != 3:
        raise ValueError(f"a mask is read onto a 3-D image, and this one has {like.GetDimension()} dimensions")
    if isinstance(path, str | Path):
        mask = _read_file(Path(path), like, label)
    else:
        mask = _read_pair(path, like, label)
    if not mask.any():
        logging.warning("the mask in %s is empty", path)
    return on_grid(mask, like)


def _read_file(path: Path, like: sitk.Image, label: Label | None) -> Bool[np.ndarray, "d h w"]:
    if not path.is_file():
        what = "a folder" if path.is_dir() else "not there"
        raise OSError(f"{path} is {what}; name the mask's own file")
    if path.suffix.lower() in BITMAPS:
        raise ValueError(f"{path} is a single bitmap; give the plain slice and the one with the outline as a pair")
    if not pydicom.misc.is_dicom(path):
        return _read_label_map(path, like, label)
    try:
        header = pydicom.dcmread(path)
        kind = header.SOPClassUID
    except (EOFError, AttributeError, pydicom.errors.BytesLengthException) as error:
        raise OSError(f"{path} is cut short or no whole DICOM file ({error}); copy it again") from error
    if kind in (SegmentationStorage, LABEL_MAP_SEGMENTATION_STORAGE):
        return read_seg(header, like, label, path)
    if kind == RTStructureSetStorage:
        return read_rtstruct(header, like, label, path)
    raise ValueError(f"{path} is a DICOM {kind.name} and no mask; give a SEG or an RTSTRUCT file")


def _read_label_map(path: Path, like: sitk.Image, label: Label | None) -> Bool[np.ndarray, "d h w"]:
    try:
        stored = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise OSError(f"{path} cannot be read as a mask ({_reason(error)}); copy or export it again") from error
    stored = _three_dimensional(stored, path)
    values = _whole_numbers(reoriented(stored, like, path), path)
    present = {int(n): "" for n in np.unique(values) if n}
    names = _segment_names(stored)
    chosen = choose(label, {n: names.get(n, "") for n in present | names}, path) if present or names else []
    if label is not None and not chosen:
        raise ValueError(f"{path} has no label {label!r}; it is empty")
    return np.isin(values, chosen)


def _three_dimensional(stored: sitk.Image, path: Path) -> sitk.Image:
    """The label map with three axes: one slice more or one empty axis less."""
    if stored.GetNumberOfComponentsPerPixel() > 1:
        raise ValueError(
            f"{path} holds {stored.GetNumberOfComponentsPerPixel()} values a voxel (colours, or segments in layers); "
            "export a label map with one number a voxel"
        )
    if stored.GetDimension() == 2:
        return sitk.JoinSeries(stored)
    if stored.GetDimension() == 4 and stored.GetSize()[3] == 1:
        return stored[..., 0]
    if stored.GetDimension() != 3:
        raise ValueError(f"{path} has the size {stored.GetSize()}; a mask has three dimensions")
    return stored


def _whole_numbers(values: np.ndarray, path: Path) -> np.ndarray:
    """The values as integers; refuses what can be no label map."""
    if not np.isfinite(values).all() or (values != np.rint(values)).any():
        raise ValueError(
            f"{path} has fractions or NaN, as probabilities do, from {values.min():.4g} to {values.max():.4g}; "
            "threshold it and store whole numbers"
        )
    if values.min() < 0:
        raise ValueError(
            f"{path} has negative values, down to {values.min():.0f}; labels are 0 and above, is this the CT?"
        )
    return values.astype(np.int64)


def _segment_names(stored: sitk.Image) -> dict[int, str]:
    """The names of the labels, where 3D Slicer wrote them into a .seg.nrrd."""
    keys = [key for key in stored.GetMetaDataKeys() if re.fullmatch(r"Segment\d+_LabelValue", key)]
    return {
        int(stored.GetMetaData(key)): stored.GetMetaData(name)
        for key in keys
        if stored.HasMetaDataKey(name := key.replace("_LabelValue", "_Name"))
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
            f"{pair[0]} has {plain.shape[0]} x {plain.shape[1]} pixels, the image {depth} slices of {shape[0]} x {shape[1]}; "
            "a pair of bitmaps belongs to one slice of the same size"
        )
    try:
        mask = outline_to_mask(plain, outlined)
    except ValueError as error:
        raise ValueError(f"{pair[1]}: {error}") from error
    return sitk.GetArrayFromImage(from_axial(mask[None], like)).astype(bool)


def _reason(error: RuntimeError) -> str:
    """The last line of an ITK error, where it says what was wrong."""
    return str(error).strip().splitlines()[-1].strip()
