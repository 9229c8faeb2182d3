"""Between a file's own grid and the axial view: slices feet to head, rows front to back, columns right to left.

Only permutations and flips, never resampling, so that the way back is exact. An image's third axis is its own slice
axis. A gantry-tilted series is a straight grid that also carries the true position of every slice as metadata: the
planes and their pixel spacing are right as they stand, only the stack is sheared.
"""

import itertools
import json

import numpy as np
import SimpleITK as sitk
from jaxtyping import Float64, Shaped

POSITIONS_KEY = "slice_positions_mm"
MIN_COSINE = np.cos(np.radians(45)) - 1e-6


def to_axial(image: sitk.Image) -> tuple[Shaped[np.ndarray, "d h w"], Float64[np.ndarray, "3"]]:
    """The values [d, h, w] in the axial view (ITK "LPS" directions), and the spacing in mm of slice, row and column.

    Raises `ValueError` where no axis of a 3-D image is within 45 degrees of the body's long axis.
    """
    axes, flips = _view(image)
    array = sitk.GetArrayFromImage(image).transpose(axes)
    spacing_mm = np.array(image.GetSpacing()[::-1], np.float64)[list(axes)]
    return np.ascontiguousarray(np.flip(array, flips)), spacing_mm


def from_axial(array: Shaped[np.ndarray, "d h w"], like: sitk.Image) -> sitk.Image:
    """The image on exactly `like`'s grid whose axial view is `array`; booleans become uint8.

    Slice positions of a tilted series are kept. Raises `ValueError` where the shape is not that of `like`'s axial view.
    """
    axes, flips = _view(like)
    expected = tuple(like.GetSize()[::-1][axis] for axis in axes)
    if array.shape != expected:
        raise ValueError(f"an array of shape {array.shape} does not fit an image whose axial view is {expected}")
    values = array.astype(np.uint8) if array.dtype == np.bool_ else array
    stored = np.flip(values, flips).transpose(np.argsort(axes))
    image = sitk.GetImageFromArray(np.ascontiguousarray(stored))
    image.CopyInformation(like)
    if like.HasMetaDataKey(POSITIONS_KEY):
        image.SetMetaData(POSITIONS_KEY, like.GetMetaData(POSITIONS_KEY))
    return image


def source_index(image: sitk.Image, slice_index: int) -> int:
    """Where the file stores the axial slice `slice_index` (0 at the feet): its index on the file's own axis.

    Raises `ValueError` where the image has no such slice.
    """
    axes, flips = _view(image)
    depth = image.GetSize()[2 - axes[0]]
    if not 0 <= slice_index < depth:
        raise ValueError(f"slice {slice_index} is not in the image; its slices are 0 (feet) to {depth - 1} (head)")
    return depth - 1 - slice_index if 0 in flips else slice_index


def slice_positions_mm(image: sitk.Image) -> Float64[np.ndarray, "d 3"]:
    """The LPS position in mm of the first pixel of every slice, in the file's own order."""
    if image.HasMetaDataKey(POSITIONS_KEY):
        return np.array(json.loads(image.GetMetaData(POSITIONS_KEY)), np.float64)
    step = _directions(image)[:, 2] * image.GetSpacing()[2]
    return np.array(image.GetOrigin()) + np.arange(image.GetDepth())[:, None] * step


def set_slice_positions(image: sitk.Image, positions_mm: Float64[np.ndarray, "d 3"]) -> None:
    """Lets a tilted image carry the true position of every slice, in the file's own order."""
    image.SetMetaData(POSITIONS_KEY, json.dumps(positions_mm.tolist()))


def tilt_degrees(image: sitk.Image) -> float:
    """The angle between the line through the slices' positions and the slices' normal; 0 for a straight stack."""
    if not image.HasMetaDataKey(POSITIONS_KEY):
        return 0.0
    positions_mm = slice_positions_mm(image)
    step = positions_mm[-1] - positions_mm[0]
    along = step @ _directions(image)[:, 2]
    return float(np.degrees(np.arctan2(np.sqrt(max(step @ step - along**2, 0.0)), abs(along))))


def require_untilted(image: sitk.Image, purpose: str) -> None:
    """Raises `ValueError` where the image is gantry-tilted; `purpose` starts the sentence, as in "3-D training"."""
    tilt = tilt_degrees(image)
    if tilt:
        raise ValueError(
            f"{purpose} needs a straight stack, but these slices are tilted by {tilt:.1f} degrees against their line; "
            "work slice by slice, or resample the series to a straight grid first"
        )


def _view(image: sitk.Image) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The order of the array's axes in the axial view, and which of them are then flipped."""
    if image.GetDimension() != 3:
        raise ValueError(f"an axial view needs a 3-D image, and this one has {image.GetDimension()} dimensions")
    # Rows are the view's axes (S, P, L), columns the array's axes (k, j, i).
    cosines = _directions(image)[::-1, ::-1]
    axes = max(itertools.permutations(range(3)), key=lambda order: np.abs(cosines[range(3), order]).sum())
    if abs(cosines[0, axes[0]]) < MIN_COSINE:
        degrees = np.degrees(np.arccos(abs(cosines[0, axes[0]])))
        raise ValueError(
            f"the image is not axial: its slices are {degrees:.0f} degrees off the body's long axis, at most 45 are "
            "read; reformat it to axial slices first"
        )
    return axes, tuple(n for n, axis in enumerate(axes) if cosines[n, axis] < 0)


def _directions(image: sitk.Image) -> Float64[np.ndarray, "3 3"]:
    """The LPS direction of each image axis, one a column."""
    return np.array(image.GetDirection()).reshape(3, 3)
