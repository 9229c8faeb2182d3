"""Masks from DICOM Segmentation objects (SEG): every frame is put where its own position and orientation say.

Frames are bound to voxels by geometry alone, so that left and right are never a matter of storage order. A slice
without a frame is empty, frames of several chosen segments join. BINARY and LABELMAP are read; FRACTIONAL only where it
holds nothing but 0 and its maximum, as some writers store binary masks: a probability is no mask until somebody
thresholds it.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from absl import logging
from jaxtyping import Bool
from pydicom.pixels.utils import iter_pixels

from mskjax.data.grids import Lattice, place
from mskjax.data.labels import Label, choose
from mskjax.data.planes import lookup

# The names under which ITK keeps these DICOM elements with an image.
FRAME_OF_REFERENCE, SERIES = "0020|0052", "0020|000e"


def read_seg(
    header: pydicom.Dataset, like: sitk.Image, label: Label | None, path: str | Path
) -> Bool[np.ndarray, "d h w"]:
    """The chosen segments [k, j, i] of a SEG object on `like`'s grid; a label is a segment's number or its label.

    Raises `ValueError` where a label is missing or ambiguous, the object belongs to another frame of reference, holds
    probabilities, or a frame lies on no slice of `like` or on other pixels; `OSError` where it cannot be decoded.
    """
    require_same_frame(header.get("FrameOfReferenceUID"), like, path)
    segments = header.get("SegmentSequence", [])
    names = {int(s.SegmentNumber): str(s.get("SegmentLabel", "")) for s in segments if s.SegmentNumber}
    chosen = choose(label, names, path)
    labelmap = header.get("SegmentationType") == "LABELMAP"
    count = len(header.get("PerFrameFunctionalGroupsSequence", []))
    frames = [n for n in range(count) if labelmap or _segment(header, n, path) in chosen]
    mask = np.zeros(like.GetSize()[::-1], bool)
    for n, values in zip(frames, _pixels(frames, path), strict=True):
        pixels = np.isin(values, chosen) if labelmap else _binary(values, header, path)
        lattice = _lattice(header, n, path)
        try:
            place(mask, pixels, lattice, like)
        except ValueError as error:
            at_mm = np.round(lattice.origin_mm, 2).tolist()
            raise ValueError(
                f"frame {n + 1} of {path} at {at_mm} mm is on no slice of the image, or on other pixels ({error}); "
                "read the very series that was segmented, whole"
            ) from error
    return mask


def require_same_frame(uid: str | None, like: sitk.Image, path: str | Path) -> None:
    """Raises `ValueError` where both the mask's and the image's frame of reference are known and differ."""
    own = like.GetMetaData(FRAME_OF_REFERENCE).strip() if like.HasMetaDataKey(FRAME_OF_REFERENCE) else ""
    if uid and own and uid != own:
        raise ValueError(
            f"{path} has its positions in frame of reference {uid} and the image in {own}, so they cannot be compared; "
            "read the series it was drawn on"
        )


def warn_of_other_series(uids: list[str], like: sitk.Image, path: str | Path) -> None:
    """Logs where a mask names the series it was drawn on and the image is known to be another one."""
    if uids and like.HasMetaDataKey(SERIES) and like.GetMetaData(SERIES).strip() not in uids:
        logging.warning("%s was drawn on another series of the same frame of reference; bound by position", path)


def _segment(header: pydicom.Dataset, n: int, path: str | Path) -> int:
    for groups in (header.PerFrameFunctionalGroupsSequence[n], *header.get("SharedFunctionalGroupsSequence", [])):
        if groups.get("SegmentIdentificationSequence"):
            return int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
    raise ValueError(f"frame {n + 1} of {path} names no segment; export the segmentation again")


def _lattice(header: pydicom.Dataset, n: int, path: str | Path) -> Lattice:
    """Where frame `n` lies, its directions freed of the header's rounding."""
    keywords = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    found = {keyword: lookup(header, keyword, n) for keyword in keywords}
    if missing := [keyword for keyword, value in found.items() if not value]:
        raise ValueError(f"frame {n + 1} of {path} has no {' and no '.join(missing)}; export the segmentation again")
    position, cosines, spacing_mm = (np.array(value, float) for value in found.values())
    row, column = cosines.reshape(2, 3)
    row = row / np.linalg.norm(row)
    column = column - (column @ row) * row
    return Lattice(position, row * spacing_mm[1], column / np.linalg.norm(column) * spacing_mm[0])


def _pixels(frames: list[int], path: str | Path) -> Iterator[np.ndarray]:
    """The stored values [h, w] of the given frames, decoded one at a time: a SEG of all organs can fill the memory."""
    if not frames:
        return
    try:
        yield from iter_pixels(path, indices=frames, raw=True)
    except (ValueError, AttributeError, RuntimeError, NotImplementedError) as error:
        raise OSError(f"the pixels of {path} are cut short or cannot be decoded; copy or export it again") from error


def _binary(values: np.ndarray, header: pydicom.Dataset, path: str | Path) -> np.ndarray:
    largest = int(header.get("MaximumFractionalValue", 1)) if header.get("SegmentationType") == "FRACTIONAL" else 1
    if not np.isin(values, (0, largest)).all():
        raise ValueError(
            f"{path} is a {header.get('SegmentationType')} segmentation with values between 0 and {largest}; "
            "threshold it and store it as BINARY"
        )
    return values > 0
