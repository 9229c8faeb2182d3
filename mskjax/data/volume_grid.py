"""A scan's volume at another spacing, for networks that see in three dimensions, and the way back to its own grid.

Everything is in the axial view [d, h, w] of `mskjax.data.orientation`, and only ever resampled along its three axes.
Planes of the new grid lie where they must for a mask that was drawn on one slice alone: one of them falls on that
slice, and it is the only one that carries labels. Of a mask on several slices, planes between two of these carry labels
too. Nothing else is known to be background.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64, Int32, Int64, Shaped, UInt8
from scipy.sparse import csr_array

UNKNOWN = 255  # where a mask says nothing
MARGIN = 1e-6  # of a voxel, by which rounding may move a position


@dataclass(frozen=True)
class VolumeGrid:
    """Where the voxels of a new grid lie on the axes of a volume, counted in the volume's own voxels from its first.

    `shape` is that of the volume, `spacing_mm` that of the new grid (slice, row, column). `drawn` is the plane that
    falls on the slice which the grid was laid through, None without one.
    """

    shape: tuple[int, int, int]
    positions: tuple[Float64[np.ndarray, "_"], Float64[np.ndarray, "_"], Float64[np.ndarray, "_"]]
    spacing_mm: tuple[float, float, float]
    drawn: int | None = None

    @property
    def new_shape(self) -> tuple[int, int, int]:
        """The number of voxels on each axis of the new grid."""
        first, second, third = (len(positions) for positions in self.positions)
        return first, second, third


def lay(
    shape: tuple[int, int, int],
    spacing_mm: Sequence[float] | Float64[np.ndarray, "3"],
    new_spacing_mm: Sequence[float],
    slice_index: int | None = None,
) -> VolumeGrid:
    """The grid of `new_spacing_mm` within a volume of `shape` and `spacing_mm`, both of slice, row and column.

    Its first row and column are the volume's, its planes those that lie whole steps from the slice `slice_index`
    (0 at the feet), or from the first. Raises `ValueError` for a spacing that is not positive and a slice that is not
    there.
    """
    for name, spacing in (("spacing", spacing_mm), ("new spacing", new_spacing_mm)):
        if not (np.isfinite(spacing).all() and (np.asarray(spacing) > 0).all()):
            raise ValueError(
                f"the volume's {name} is {[float(mm) for mm in spacing]} mm; all must be positive and finite"
            )
    if slice_index is not None and not 0 <= slice_index < shape[0]:
        raise ValueError(
            f"slice {slice_index} is not in a volume of {shape[0]} slices, 0 (feet) to {shape[0] - 1} (head)"
        )
    steps = np.asarray(new_spacing_mm, np.float64) / np.asarray(spacing_mm, np.float64)
    through = (slice_index or 0, 0, 0)
    before = [math.floor(place / step + MARGIN) for place, step in zip(through, steps, strict=True)]
    after = [
        math.floor((length - 1 - place) / step + MARGIN)
        for length, place, step in zip(shape, through, steps, strict=True)
    ]
    first, second, third = (
        place + step * np.arange(-least, most + 1)
        for place, step, least, most in zip(through, steps, before, after, strict=True)
    )
    spacing = (float(new_spacing_mm[0]), float(new_spacing_mm[1]), float(new_spacing_mm[2]))
    return VolumeGrid(shape, (first, second, third), spacing, None if slice_index is None else before[0])


def resample(values: Shaped[np.ndarray, "d h w"], grid: VolumeGrid) -> Float32[np.ndarray, "_ _ _"]:
    """A volume on the grid, linearly between its voxels along each axis."""
    _check(values, grid.shape)
    return _along_axes(
        values, [_linear(positions, length) for positions, length in zip(grid.positions, grid.shape, strict=True)]
    )


def resample_labels(
    mask: Shaped[np.ndarray, "d h w"], grid: VolumeGrid
) -> tuple[Int32[np.ndarray, "n"], UInt8[np.ndarray, "n _ _"]]:
    """The planes of the grid that carry labels, ascending, and the mask on each, 0 or 1 as the nearest voxel is.

    A slice on which the mask marks nothing was not drawn. A plane carries labels where both slices that it lies between
    were, and a plane on a slice where that one was; nothing is known of the others.
    """
    _check(mask, grid.shape)
    drawn = np.asarray(mask.any(axis=(1, 2)))
    below, above = (
        np.clip(np.floor(grid.positions[0] + margin), 0, len(drawn) - 1).astype(np.int64)
        for margin in (MARGIN, 1 - MARGIN)
    )
    labelled = np.flatnonzero(drawn[below] & drawn[above])
    nearest = [_nearest(positions, length) for positions, length in zip(grid.positions, grid.shape, strict=True)]
    nearest[0] = nearest[0][labelled]
    return labelled.astype(np.int32), (mask[np.ix_(*nearest)] > 0).astype(np.uint8)


def unlabelled_slices(
    mask: Shaped[np.ndarray, "d h w"], grid: VolumeGrid, planes: Int32[np.ndarray, "n"]
) -> Int64[np.ndarray, "m"]:
    """The drawn slices of a mask that none of the labelled `planes` tells of, ascending.

    A plane tells of the slice that it lies on or of the two that it lies between, and of all that were drawn from there
    on without a gap: of these, planes further apart than slices only take every so many.
    """
    _check(mask, grid.shape)
    drawn = np.asarray(mask.any(axis=(1, 2)))
    gaps = np.cumsum(~drawn)  # alike for drawn slices without a gap between them
    told = gaps[np.floor(grid.positions[0][planes] + MARGIN).astype(np.int64)]
    slices = np.flatnonzero(drawn)
    return slices[~np.isin(gaps[slices], told)]


def restore(
    values: Float[np.ndarray, "_ _ _"], grid: VolumeGrid, slices: range | None = None
) -> Float32[np.ndarray, "d h w"]:
    """Values of the new grid on the volume's own, linearly; beyond its last plane, row or column they stay.

    Of the volume's slices only those in `slices`, all without it.
    """
    _check(values, grid.new_shape)
    wanted = [range(grid.shape[0]) if slices is None else slices, *map(range, grid.shape[1:])]
    places = [_places(positions, voxels) for positions, voxels in zip(grid.positions, wanted, strict=True)]
    ways = [_linear(place, length) for place, length in zip(places, grid.new_shape, strict=True)]
    return _along_axes(values, ways)


def planes(grid: VolumeGrid, slices: range) -> range:
    """The planes of the new grid from which `restore` makes consecutive slices of the volume."""
    places = np.clip(_places(grid.positions[0], slices), 0, grid.new_shape[0] - 1)
    return range(math.floor(places[0]), math.ceil(places[-1]) + 1)


def _places(positions: Float64[np.ndarray, "_"], voxels: range) -> Float64[np.ndarray, "_"]:
    """Where a volume's voxels lie between those of the new grid, on one axis; one that falls on one, just there."""
    step = positions[1] - positions[0] if len(positions) > 1 else 1.0
    places = (np.array(voxels) - positions[0]) / step
    whole = np.round(places)
    return np.where(np.abs(places - whole) < MARGIN, whole, places)


def _check(values: np.ndarray, shape: tuple[int, ...]) -> None:
    if values.shape != shape:
        raise ValueError(f"a volume of {values.shape} voxels is not on a grid of {shape}")


def _linear(positions: Float64[np.ndarray, "n"], length: int) -> csr_array:
    """The weights [n, length] of voxels at positions between them; the edge's own beyond the edge."""
    inside = np.clip(positions, 0, length - 1)
    low = np.minimum(np.floor(inside).astype(np.int64), max(length - 2, 0))
    share = inside - low
    rows = np.arange(len(positions))
    columns = np.concatenate([low, np.minimum(low + 1, length - 1)])
    weights = np.concatenate([1 - share, share])
    return csr_array((weights, (np.concatenate([rows, rows]), columns)), (len(positions), length))


def _nearest(positions: Float64[np.ndarray, "n"], length: int) -> np.ndarray:
    return np.clip(np.floor(positions + 0.5 - MARGIN), 0, length - 1).astype(np.int64)


def _along_axes(values: np.ndarray, ways: Sequence[csr_array]) -> Float32[np.ndarray, "_ _ _"]:
    values = values.astype(np.float32)
    for axis, way in enumerate(ways):
        moved = np.moveaxis(values, axis, 0)
        product = np.asarray(way.astype(np.float32) @ moved.reshape(len(moved), -1))
        values = np.moveaxis(product.reshape(-1, *moved.shape[1:]), 0, axis)
    return np.ascontiguousarray(values)
