"""Masks from DICOM Segmentation objects (SEG): every frame is put where its own position and orientation say.

Frames are bound to voxels by geometry alone, so that left and right are never a matter of storage order. A slice
without a frame is empty, frames of several chosen segments join. BINARY and LABELMAP are read; FRACTIONAL only where it
holds nothing but 0 and its maximum, as some writers store binary masks: a probability is no mask until somebody
thresholds it.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from absl import logging
from jaxtyping import Bool
from pydicom.dataelem import RawDataElement
from pydicom.pixels.utils import iter_pixels

from mskjax.data.grids import Lattice, place
from mskjax.data.labels import Label, choose
from mskjax.data.planes import ITK_KEYS, lookup

UNDEFINED_LENGTH = 0xFFFFFFFF
NEEDED = (
    *("NumberOfFrames", "Rows", "Columns", "BitsAllocated", "SegmentationType"),
    *("SegmentSequence", "PerFrameFunctionalGroupsSequence"),
)


def read_seg(
    header: pydicom.Dataset, like: sitk.Image, label: Label | None, path: str | Path
) -> Bool[np.ndarray, "d h w"]:
    """The chosen segments [k, j, i] of a SEG object on `like`'s grid; a label is a segment's number or its label.

    Raises `ValueError` where a label is missing or ambiguous, the object belongs to another frame of reference, holds
    probabilities, or a frame lies on no slice of `like` or on other pixels; `OSError` where it cannot be decoded.
    """
    require_same_frame(header.get("FrameOfReferenceUID"), like, path)
    require_whole(header, NEEDED, path)
    described = len(header.PerFrameFunctionalGroupsSequence)
    if described != header.NumberOfFrames:
        raise OSError(f"{path} describes {described} of its {header.NumberOfFrames} frames; export it again")
    names = {int(s.SegmentNumber): str(s.get("SegmentLabel", "")) for s in header.SegmentSequence if s.SegmentNumber}
    chosen = choose(label, names, path)
    labelmap = header.SegmentationType == "LABELMAP"
    frames = [n for n in range(header.NumberOfFrames) if labelmap or _segment(header, n, path) in chosen]
    mask = np.zeros(like.GetSize()[::-1], bool)
    for n, values in zip(frames, _pixels(header, frames, path), strict=True):
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


def require_whole(header: pydicom.Dataset, needed: Iterable[str], path: str | Path) -> None:
    """Raises `OSError` where a file ends before or within one of the `needed` elements.

    pydicom reads such a file as one with fewer frames or contours, which would be a smaller mask.
    """
    for keyword in needed:
        element = header.get_item(keyword) if keyword in header else None
        raw = element if isinstance(element, RawDataElement) else None
        if element is None or (raw is not None and len(raw.value or b"") < raw.length < UNDEFINED_LENGTH):
            raise OSError(f"{path} is cut short or incomplete: its {keyword} is not all there; copy or export it again")


def require_same_frame(uid: str | None, like: sitk.Image, path: str | Path) -> None:
    """Raises `ValueError` where both the mask's and the image's frame of reference are known and differ."""
    key = ITK_KEYS["FrameOfReferenceUID"]
    own = like.GetMetaData(key).strip() if like.HasMetaDataKey(key) else ""
    if uid and own and uid != own:
        raise ValueError(
            f"{path} has its positions in frame of reference {uid} and the image in {own}, so they cannot be compared; "
            "read the series it was drawn on"
        )


def warn_of_other_series(uids: list[str], like: sitk.Image, path: str | Path) -> None:
    """Logs where a mask names the series it was drawn on and the image is known to be another one."""
    key = ITK_KEYS["SeriesInstanceUID"]
    if uids and like.HasMetaDataKey(key) and like.GetMetaData(key).strip() not in uids:
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


def _pixels(header: pydicom.Dataset, frames: list[int], path: str | Path) -> Iterator[np.ndarray]:
    """The stored values [h, w] of the given frames, decoded one at a time: a SEG of all organs can fill the memory."""
    if not frames:
        return
    try:
        packed = header.BitsAllocated == 1 and not header.file_meta.TransferSyntaxUID.is_encapsulated
        yield from _unpacked(path, frames) if packed else iter_pixels(path, indices=frames, raw=True)
    except (ValueError, AttributeError, EOFError, RuntimeError, NotImplementedError) as error:
        raise OSError(f"the pixels of {path} are cut short or cannot be decoded; copy or export it again") from error


def _unpacked(path: str | Path, frames: list[int]) -> Iterator[np.ndarray]:
    """Frames of one bit a pixel, which need not begin at whole bytes; pydicom decodes only those that do."""
    header = pydicom.dcmread(path)
    shape = int(header.Rows), int(header.Columns)
    size = shape[0] * shape[1]
    for n in frames:
        bits = np.frombuffer(header.PixelData[n * size // 8 : -(-(n + 1) * size // 8)], np.uint8)
        first = n * size % 8
        yield np.unpackbits(bits, bitorder="little")[first : first + size].reshape(shape)


def _binary(values: np.ndarray, header: pydicom.Dataset, path: str | Path) -> np.ndarray:
    largest = int(header.get("MaximumFractionalValue", 1)) if header.SegmentationType == "FRACTIONAL" else 1
    if not np.isin(values, (0, largest)).all():
        raise ValueError(
            f"{path} is a {header.SegmentationType} segmentation with values between 0 and {largest}; "
            "threshold it and store it as BINARY"
        )
    return values > 0
