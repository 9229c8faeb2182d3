"""Masks from DICOM RT Structure Sets (RTSTRUCT): closed planar contours, filled on the slices they lie on.

A pixel belongs to a contour when its centre lies inside. Centres exactly on an edge go with the side of greater row and
column index, so that neighbours never share a pixel and a hole takes out exactly what it outlines. Contours of one
slice combine by even-odd: one inside another is a hole, one inside the hole is area again, and a keyhole (one contour
that runs in to the hole and back on the same line) needs no special case.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from jaxtyping import Bool, Float

from mskjax.data.dicom_masks import require_same_frame, require_whole, warn_of_other_series
from mskjax.data.grids import TOLERANCE_VOXELS, indices
from mskjax.data.labels import Label, choose

CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
MOST_OFF_SLICE = 0.49  # slice spacings; at a half, two slices are equally near
SNAP_PIXELS = 0.002  # points are decimal text, often of 0.001 mm; those drawn on a centre are to stay there
OVERLAP_SHARE = 0.1  # of the smaller contour: touching edges may overlap by rounding


def read_rtstruct(
    header: pydicom.Dataset, like: sitk.Image, label: Label | None, path: str | Path
) -> Bool[np.ndarray, "d h w"]:
    """The chosen regions of interest [k, j, i] on `like`'s grid; a label is an ROI's name or its number.

    Contours are bound to the slice whose own position is within half a slice spacing. Raises `ValueError` where a label
    is missing or ambiguous, the frame of reference is another, a contour is of another type than closed planar, lies
    on no slice, crosses slices, is drawn on another series' spacing, or overlaps a second one in part.
    """
    require_whole(header, ("StructureSetROISequence", "ROIContourSequence"), path)
    regions = {int(r.ROINumber): r for r in header.StructureSetROISequence}
    chosen = choose(label, {n: str(r.get("ROIName", "")) for n, r in regions.items()}, path)
    warn_of_other_series(_series(header), like, path)
    mask = np.zeros(like.GetSize()[::-1], bool)
    for roi in header.ROIContourSequence:
        number = int(roi.ReferencedROINumber)
        if number in chosen:
            require_same_frame(regions[number].get("ReferencedFrameOfReferenceUID"), like, path)
            contours = roi.get("ContourSequence", [])
            mask |= _region(contours, like, f"ROI {regions[number].get('ROIName', number)} of {path}")
    return mask


def fill(polygon: Float[np.ndarray, "n 2"], shape: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """The pixels whose centres lie inside a closed polygon of (row, column) indices, by even-odd.

    Centres on an edge go as the module says. Exact, in a time that grows with the polygon's length in rows rather than
    with pixels times points.
    """
    row, column = np.round(polygon, 6).T
    next_row, next_column = np.roll(row, -1), np.roll(column, -1)
    first = np.clip(np.ceil(np.minimum(row, next_row)), 0, shape[0]).astype(int)
    count = np.clip(np.ceil(np.maximum(row, next_row)), 0, shape[0]).astype(int) - first
    edge = np.repeat(np.arange(len(row)), count)
    rows = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    slope = (next_column - column)[edge] / (next_row - row)[edge]
    crossing = np.round(column[edge] + (rows - row[edge]) * slope, 6)
    crossings = np.zeros((shape[0], shape[1] + 1), int)
    np.add.at(crossings, (rows, np.clip(np.ceil(crossing), 0, shape[1]).astype(int)), 1)
    return np.cumsum(crossings[:, :-1], axis=1) % 2 == 1


@dataclass(frozen=True)
class _Contour:
    """A filled contour: it lies on slice `index` of the image's `axis` (0 i, 1 j, 2 k), `offset` slices beside it."""

    axis: int
    index: int
    offset: float
    area: np.ndarray
    exclusive: bool


def _region(contours: Sequence[pydicom.Dataset], like: sitk.Image, name: str) -> np.ndarray:
    """One ROI [k, j, i]."""
    mask = np.zeros(like.GetSize(), bool)
    located = [_located(contour, like, f"contour {n + 1} of {name}") for n, contour in enumerate(contours)]
    for (axis, index), group in itertools.groupby(sorted(located, key=_slice), key=_slice):
        on_slice = list(group)
        offsets = [contour.offset for contour in on_slice]
        if np.ptp(offsets) > TOLERANCE_VOXELS:
            raise ValueError(
                f"{name} has contours in different planes ({min(offsets):+.2f} and {max(offsets):+.2f} slices off) "
                f"that all fall on slice {index} of the image; read the series they were drawn on"
            )
        np.moveaxis(mask, axis, 0)[index] = _combined(on_slice, f"{name} on slice {index} of the image")
    return mask.transpose(2, 1, 0)


def _slice(contour: _Contour) -> tuple[int, int]:
    return contour.axis, contour.index


def _located(contour: pydicom.Dataset, like: sitk.Image, name: str) -> _Contour:
    kind = contour.get("ContourGeometricType", "none")
    if kind not in CLOSED:
        raise ValueError(f"{name} is of type {kind}, which encloses nothing; only {' and '.join(CLOSED)} are filled")
    numbers = np.array(contour.get("ContourData") or [], float)
    if numbers.size % 3 or not numbers.size:
        raise ValueError(f"{name} has {numbers.size} numbers instead of three a point; export the structures again")
    found = indices(like, numbers.reshape(-1, 3))
    axis = int(np.ptp(found, axis=0).argmin())
    across = found[:, axis]
    index = int(np.rint(across.mean()))
    if not 0 <= index < like.GetSize()[axis] or np.abs(across - index).max() > MOST_OFF_SLICE:
        raise ValueError(
            f"{name} at position {numbers[:3].tolist()} mm lies on no slice of the image (slice {across.min():.2f} to "
            f"{across.max():.2f} of 0 to {like.GetSize()[axis] - 1}); read the very series it was drawn on, whole"
        )
    shape = np.delete(like.GetSize(), axis)
    points = np.delete(found, axis, axis=1)
    on_centre = np.abs(points - np.rint(points)) < SNAP_PIXELS
    area = fill(np.where(on_centre, np.rint(points), points), (int(shape[0]), int(shape[1])))
    return _Contour(axis, index, float(across.mean() - index), area, kind == "CLOSEDPLANAR_XOR")


def _combined(contours: list[_Contour], name: str) -> np.ndarray:
    """The contours of one slice by even-odd; one that is there twice counts once, for twice would be nothing."""
    areas: list[_Contour] = []
    for contour in contours:
        if not any(np.array_equal(contour.area, other.area) for other in areas):
            areas.append(contour)
    for one, other in itertools.combinations(areas, 2):
        smaller = min(one.area.sum(), other.area.sum())
        common = (one.area & other.area).sum()
        if min(common, smaller - common) > OVERLAP_SHARE * smaller and not (one.exclusive and other.exclusive):
            raise ValueError(
                f"{name} has two contours that overlap in part ({common} pixels), neither hole nor island; "
                "join them where they were drawn"
            )
    return np.logical_xor.reduce([contour.area for contour in areas])


def _series(header: pydicom.Dataset) -> list[str]:
    """The SeriesInstanceUIDs of the images that the structures were drawn on."""
    return [
        series.SeriesInstanceUID
        for frame in header.get("ReferencedFrameOfReferenceSequence", [])
        for study in frame.get("RTReferencedStudySequence", [])
        for series in study.get("RTReferencedSeriesSequence", [])
    ]
