"""The voxel grid of an image as one matrix, and masks put onto exactly that grid: turned, never resampled.

Indices are (i, j, k) in the file's own order, positions LPS in mm. A gantry-tilted image counts with the true positions
of its slices, so its grid is sheared, and what is bound by position falls on the right slice and pixel.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from jaxtyping import Bool, Float, Float64, Shaped

from mskjax.data.orientation import set_slice_positions, slice_positions_mm, tilt_degrees

# Two grids are one where no voxel of theirs lies further apart than this, in voxels: the rounding of decimal headers
# passes, a displacement that a measurement could show does not.
TOLERANCE_VOXELS = 0.1


def index_to_lps(image: sitk.Image) -> Float64[np.ndarray, "4 4"]:
    """The matrix from homogeneous (i, j, k, 1) to the LPS position in mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    positions_mm = slice_positions_mm(image)
    matrix[:3, 3] = positions_mm[0]
    if len(positions_mm) > 1:
        matrix[:3, 2] = (positions_mm[-1] - positions_mm[0]) / (len(positions_mm) - 1)
    return matrix


def indices(image: sitk.Image, positions_mm: Float[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
    """The continuous (i, j, k) of LPS positions; whole numbers are voxel centres, outside is not cut."""
    homogeneous = np.column_stack([positions_mm, np.ones(len(positions_mm))])
    return np.linalg.solve(index_to_lps(image), homogeneous.T).T[:, :3]


@dataclass(frozen=True)
class Lattice:
    """The pixels of a picture in space: LPS position of the first, steps to the next column and the next row, in mm."""

    origin_mm: Float64[np.ndarray, "3"]
    column_mm: Float64[np.ndarray, "3"]
    row_mm: Float64[np.ndarray, "3"]


def place(
    mask: Bool[np.ndarray, "d h w"], pixels: Bool[np.ndarray, "h2 w2"], lattice: Lattice, like: sitk.Image
) -> None:
    """Sets in `mask` [k, j, i] on `like`'s grid the voxels that the true `pixels` of a picture are.

    The picture may be cut smaller, or turned and flipped by right angles. Raises `ValueError` where its pixel centres
    are not voxel centres within a tenth of a voxel, or a true pixel lies outside.
    """
    extent = np.array([[0, 0], [pixels.shape[1] - 1, 0], [0, pixels.shape[0] - 1]])
    steps = np.stack([lattice.column_mm, lattice.row_mm])
    matrix = index_to_lps(like)
    exact = np.linalg.solve(matrix[:3, :3], steps.T).T
    whole = np.rint(exact).astype(int)
    corners = indices(like, lattice.origin_mm + extent @ steps)
    first = np.rint(corners[0]).astype(int)
    apart = np.abs(corners - (first + extent @ whole)).max()
    if (np.abs(whole).sum(axis=1) != 1).any() or apart > TOLERANCE_VOXELS:
        raise ValueError(f"its first pixel is index {np.round(corners[0], 2).tolist()} and its pixels are no voxels")
    found = first + np.argwhere(pixels)[:, ::-1] @ whole
    if (found < 0).any() or (found >= like.GetSize()).any():
        raise ValueError(f"it reaches outside, to index {found.min(0).tolist()} to {found.max(0).tolist()}")
    mask[tuple(found.T[::-1])] = True


def on_grid(mask: Bool[np.ndarray, "d h w"], like: sitk.Image) -> sitk.Image:
    """The mask [k, j, i] as uint8 0 and 1 with the spacing, origin, direction and slice positions of `like`."""
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.CopyInformation(like)
    if tilt_degrees(like):
        set_slice_positions(image, slice_positions_mm(like))
    return image


def reoriented(stored: sitk.Image, like: sitk.Image, path: str | Path) -> Shaped[np.ndarray, "d h w"]:
    """The values [k, j, i] of a label map in the order of `like`'s voxels: permutation and flips only.

    Raises `ValueError` where the sizes differ or any two voxels are more than a tenth of a voxel apart. Against a
    tilted `like`, which no common format describes, slices bind by index, and the planes must agree at one end of the
    stack.
    """
    cosines = np.array(like.GetDirection()).reshape(3, 3).T @ np.array(stored.GetDirection()).reshape(3, 3)
    order = list(max(itertools.permutations(range(3)), key=lambda p: np.abs(cosines[range(3), p]).sum()))
    flips = tuple(axis for axis in range(3) if cosines[axis, order[axis]] < 0)
    if [stored.GetSize()[axis] for axis in order] != list(like.GetSize()) or not _agree(stored, like, order, flips):
        raise ValueError(
            f"the grid of {path} ({_described(stored)}) is not the image's ({_described(like)}); draw or export the "
            "mask on this image, or resample it there with nearest neighbours first"
        )
    values = sitk.GetArrayFromImage(stored).transpose(2, 1, 0).transpose(order)
    return np.flip(values, flips).transpose(2, 1, 0)


def _agree(stored: sitk.Image, like: sitk.Image, order: list[int], flips: tuple[int, ...]) -> bool:
    """Whether the corners coincide, and with them every voxel."""
    last = np.array(like.GetSize()) - 1
    corners = np.array(list(itertools.product(*((0, n) for n in last))), float)
    own = np.empty_like(corners)
    own[:, order] = np.where(np.isin(range(3), flips), last - corners, corners)
    positions_mm = own @ index_to_lps(stored)[:3, :3].T + index_to_lps(stored)[:3, 3]
    apart = np.abs(indices(like, positions_mm) - corners).max(axis=1) <= TOLERANCE_VOXELS
    if tilt_degrees(like):
        return bool(apart[corners[:, 2] == 0].all() or apart[corners[:, 2] == last[2]].all())
    return bool(apart.all())


def _described(image: sitk.Image) -> str:
    return (
        f"size {_text(image.GetSize())}, spacing {_text(image.GetSpacing())} mm, origin {_text(image.GetOrigin())} mm, "
        f"directions {_text(image.GetDirection())}"
    )


def _text(numbers: Iterable[int | float]) -> str:
    return " ".join(f"{number:.7g}" for number in numbers)
