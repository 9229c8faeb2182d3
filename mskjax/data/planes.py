"""One plane of CT as its DICOM header tells it: where it lies, how large its pixels are, how it stores HU.

A classic file is one plane, an enhanced multi-frame file one for each frame, whose values stand in functional groups
(DICOM PS3.3, C.7.6.16). What the header must say to be measured is refused here when it is missing.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom
from jaxtyping import Float64

GROUP_OF = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "RescaleType": "PixelValueTransformationSequence",
}
# The names under which ITK keeps these DICOM elements with an image.
ITK_KEYS = {"FrameOfReferenceUID": "0020|0052", "SeriesInstanceUID": "0020|000e"}
# Headers hold cosines rounded to as few as four decimals.
ORTHONORMAL_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class Plane:
    """A CT slice.

    Attributes:
        header: the header of its file, without pixels, with `filename`.
        frame: its index among the file's frames, 0 in a classic file.
        position_mm: the centre of its first pixel in the patient (LPS).
        cosines: unit vectors along a row and down a column.
        spacing_mm: the distance between rows, and between columns.
        slope: HU per stored unit.
        intercept: HU of the stored value 0.
    """

    header: pydicom.Dataset
    frame: int
    position_mm: Float64[np.ndarray, "3"]
    cosines: Float64[np.ndarray, "2 3"]
    spacing_mm: Float64[np.ndarray, "2"]
    slope: float
    intercept: float

    @property
    def name(self) -> str:
        """What an error calls it: the file, and the frame where there are several."""
        frames = int(self.header.get("NumberOfFrames") or 1)
        return f"{self.header.filename}" + (f" frame {self.frame + 1}" if frames > 1 else "")

    @property
    def matrix(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.header.Rows), int(self.header.Columns)

    @property
    def thickness_mm(self) -> float:
        """SliceThickness, which only a slice without neighbours needs; 1 where it is unknown."""
        thickness = lookup(self.header, "SliceThickness", self.frame)
        return float(thickness) if isinstance(thickness, (int, float)) and thickness > 0 else 1.0

    @property
    def normal(self) -> Float64[np.ndarray, "3"]:
        """The unit normal of the plane, on the side of the head."""
        normal = np.cross(*self.cosines)
        return normal if normal[2] > 0 else -normal


def planes_of(header: pydicom.Dataset) -> list[Plane]:
    """Every plane in a CT file, in stored order.

    Raises `ValueError` where the header lacks position, orientation or pixel spacing, or does not promise HU.
    """
    frames = int(header.get("NumberOfFrames") or 1)
    described = len(header.get("PerFrameFunctionalGroupsSequence") or [])
    if frames > 1 and described != frames:
        raise ValueError(
            f"{header.filename} has {frames} frames and describes {described} of them; export it as single slices"
        )
    return [_plane(header, frame) for frame in range(frames)]


def lookup(header: pydicom.Dataset, keyword: str, frame: int = 0) -> Any:
    """The value of an element for one frame: its own, the shared one, or the file's; None where there is none."""
    for groups, index in (("PerFrameFunctionalGroupsSequence", frame), ("SharedFunctionalGroupsSequence", 0)):
        items = header.get(groups)
        group = items[index].get(GROUP_OF[keyword]) if items else None
        if group and group[0].get(keyword) is not None:
            return group[0].get(keyword)
    return header.get(keyword)


def _plane(header: pydicom.Dataset, frame: int) -> Plane:
    _check_stores_hu(header, frame)
    spacing_mm = _numbers(header, frame, "PixelSpacing", 2)
    if (spacing_mm <= 0).any():
        raise ValueError(
            f"{header.filename} has pixels of {_text(spacing_mm)} mm; export the series again with its pixel spacing"
        )
    slope, intercept = (_numbers(header, frame, keyword, 1)[0] for keyword in ("RescaleSlope", "RescaleIntercept"))
    if slope == 0:
        raise ValueError(f"{header.filename} has RescaleSlope 0, so its values are not HU; export the series again")
    return Plane(
        header=header,
        frame=frame,
        position_mm=_numbers(header, frame, "ImagePositionPatient", 3),
        cosines=_cosines(header, frame),
        spacing_mm=spacing_mm,
        slope=float(slope),
        intercept=float(intercept),
    )


def _check_stores_hu(header: pydicom.Dataset, frame: int) -> None:
    stored = str(lookup(header, "RescaleType", frame) or "HU")
    if stored.upper() != "HU":
        raise ValueError(f"{header.filename} stores {stored}, not HU (RescaleType); choose the series that stores HU")
    if header.get("ModalityLUTSequence"):
        raise ValueError(f"{header.filename} stores HU through a lookup table; export it with slope and intercept")


def _cosines(header: pydicom.Dataset, frame: int) -> Float64[np.ndarray, "2 3"]:
    """Unit vectors along a row and down a column, freed of the header's rounding."""
    given = _numbers(header, frame, "ImageOrientationPatient", 6).reshape(2, 3)
    if not np.allclose(given @ given.T, np.eye(2), atol=ORTHONORMAL_TOLERANCE):
        raise ValueError(
            f"{header.filename} has ImageOrientationPatient {_text(given.ravel())}, whose two directions are not "
            "perpendicular and of length 1; export the series again with its geometry"
        )
    row = given[0] / np.linalg.norm(given[0])
    column = given[1] - (given[1] @ row) * row
    return np.stack([row, column / np.linalg.norm(column)])


def _numbers(header: pydicom.Dataset, frame: int, keyword: str, count: int) -> Float64[np.ndarray, "n"]:
    """The `count` finite numbers of an element."""
    value = lookup(header, keyword, frame)
    if value is None or value == "":
        raise ValueError(f"{header.filename} has no {keyword}, without which nothing can be measured; export it again")
    try:
        numbers = np.atleast_1d(np.array(value, np.float64))
    except (TypeError, ValueError):
        numbers = np.array([np.nan])
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise ValueError(f"{header.filename} has {keyword} {value}, not {count} finite numbers; export it again")
    return numbers


def _text(numbers: Float64[np.ndarray, "n"]) -> str:
    return " ".join(f"{number:g}" for number in numbers)
