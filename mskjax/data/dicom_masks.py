"""Masks from DICOM Segmentation objects (SEG): every frame is put where its own position and orientation say.

Frames are bound to voxels by geometry alone, so that left and right are never a matter of storage order. A slice without a
frame is empty, frames of several chosen segments join. BINARY and LABELMAP are read; FRACTIONAL only where it holds
nothing but 0 and its maximum, as some writers store binary masks: a probability is no mask until somebody thresholds it.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from absl import logging
from jaxtyping import Bool
from pydicom.pixels import iter_pixels

from mskjax.data.grids import Plane, place
from mskjax.data.labels import Label, choose

# The names under which ITK keeps these DICOM elements with an image.
FRAME_OF_REFERENCE, SERIES = "0020|0052", "0020|000e"


def read_seg(
    header: pydicom.Dataset, like: sitk.Image, label: Label | None, path: str | Path
) -> Bool[np.ndarray, "d h w"]:
    """The chosen segments [k, j, i] of a SEG object on `like`'s grid; a label is a segment's number or its label.

    Raises `ValueError` where a label is missing or ambiguous, the object belongs to another frame of reference, holds
    probabilities, or a frame lies on no slice of `like` or on other pixels; `OSError` where its pixels cannot be decoded.
    """
    require_same_frame(header.get("FrameOfReferenceUID"), like, path)
    names = {int(s.SegmentNumber): str(s.get("SegmentLabel", "")) for s in header.SegmentSequence if s.SegmentNumber}
    chosen = choose(label, names, path)
    labelmap = header.get("SegmentationType") == "LABELMAP"
    groups = header.get("PerFrameFunctionalGroupsSequence", [])
    frames = [n for n in range(len(groups)) if labelmap or _segment(header, n, path) in chosen]
    mask = np.zeros(like.GetSize()[::-1], bool)
    for n, values in zip(frames, _pixels(header, frames, path), strict=True):
        pixels = np.isin(values, chosen) if labelmap else _binary(values, header, path)
        try:
            place(mask, pixels, _plane(header, n, path), like)
        except ValueError as error:
            at = [round(float(x), 2) for x in _group(header, n, "PlanePositionSequence", path).ImagePositionPatient]
            raise ValueError(
                f"frame {n + 1} of {path} at position {at} mm is on no slice of the image, or on other pixels ({error}); "
                "read the very series that was segmented, whole"
            ) from error
    return mask


def require_same_frame(uid: str | None, like: sitk.Image, path: str | Path) -> None:
    """Raises `ValueError` where both the mask's and the image's frame of reference are known and differ."""
    if uid and like.HasMetaDataKey(FRAME_OF_REFERENCE) and like.GetMetaData(FRAME_OF_REFERENCE).strip() != uid:
        raise ValueError(
            f"{path} has positions in frame of reference {uid}, the image in "
            f"{like.GetMetaData(FRAME_OF_REFERENCE).strip()}, so they cannot be compared; read the series it was drawn on"
        )


def warn_of_other_series(uids: list[str], like: sitk.Image, path: str | Path) -> None:
    """Logs where a mask names the series it was drawn on and the image is known to be another one."""
    if uids and like.HasMetaDataKey(SERIES) and like.GetMetaData(SERIES).strip() not in uids:
        logging.warning("%s was drawn on another series of the same frame of reference; bound by position", path)


def _group(header: pydicom.Dataset, n: int, keyword: str, path: str | Path) -> pydicom.Dataset:
    """The functional group of frame `n`, its own or the one shared by all."""
    own = header.PerFrameFunctionalGroupsSequence[n]
    shared = header.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()]
    for groups in (own, shared[0]):
        if groups.get(keyword):
            return groups[keyword][0]
    raise ValueError(
        f"frame {n + 1} of {path} has no {keyword}, so its place is unknown; export the segmentation again"
    )


def _segment(header: pydicom.Dataset, n: int, path: str | Path) -> int:
    return int(_group(header, n, "SegmentIdentificationSequence", path).ReferencedSegmentNumber)


def _plane(header: pydicom.Dataset, n: int, path: str | Path) -> Plane:
    position = _group(header, n, "PlanePositionSequence", path).ImagePositionPatient
    cosines = np.array(_group(header, n, "PlaneOrientationSequence", path).ImageOrientationPatient, float)
    row_mm, column_mm = (float(x) for x in _group(header, n, "PixelMeasuresSequence", path).PixelSpacing)
    return Plane(np.array(position, float), cosines[:3] * column_mm, cosines[3:] * row_mm)


def _pixels(header: pydicom.Dataset, frames: list[int], path: str | Path) -> Iterator[np.ndarray]:
    """The stored values [h, w] of the given frames, decoded one at a time: a SEG of all organs would fill the memory."""
    if not frames:
        return
    try:
        yield from iter_pixels(header, indices=frames, raw=True)
    except (ValueError, AttributeError, RuntimeError, NotImplementedError) as error:
        raise OSError(f"the pixels of {path} cannot be decoded ({error}); copy or export the file again") from error


def _binary(values: np.ndarray, header: pydicom.Dataset, path: str | Path) -> np.ndarray:
    largest = int(header.get("MaximumFractionalValue", 1)) if header.get("SegmentationType") == "FRACTIONAL" else 1
    if not np.isin(values, (0, largest)).all():
        raise ValueError(
            f"{path} is a {header.get('SegmentationType')} segmentation with values between 0 and {largest}; "
            "threshold it and store it as BINARY"
        )
    return values > 0
