"""RMS distance-to-agreement between the boundaries of two masks, in centimetres.

Equation 4 of study A, read literally, is 0 for a distance without a sign; what is measured here are the two forms in
common use, directed and pooled. A boundary pixel is a pixel of the mask with a neighbour outside it, over an edge in a
slice (4 neighbours) and over a face in a volume (6 neighbours, so that the end caps count); beyond the image is
outside. Distances run between pixel centres.
"""

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial import KDTree

from mskjax.measure.checks import Spacing, Values, as_masks, as_spacing_mm

MM_PER_CM = 10


def rms_dta_cm(prediction: Values, reference: Values, spacing_mm: Spacing) -> float:
    """Root mean square over predicted boundary points of the distance to the nearest reference boundary point, in cm.

    Directed: swapping the masks changes it. 0 where both masks are empty, infinite where one is. Raises `ValueError`
    where shapes differ, a mask holds more than 0 and 1, or the spacing is no positive number of mm for each axis.
    """
    predicted, expected = _boundaries_mm(prediction, reference, spacing_mm)
    return _root_mean_square_cm(_nearest_mm(predicted, expected))


def rms_dta_symmetric_cm(prediction: Values, reference: Values, spacing_mm: Spacing) -> float:
    """Root mean square of the boundary distances of both directions, pooled, in cm.

    Each direction weighs as many times as it has boundary points (RMSD of the SLIVER07 and CHAOS challenges). Empty
    masks and errors as in `rms_dta_cm`.
    """
    predicted, expected = _boundaries_mm(prediction, reference, spacing_mm)
    both = np.concatenate([_nearest_mm(predicted, expected), _nearest_mm(expected, predicted)])
    return _root_mean_square_cm(both)


def boundary(mask: Bool[np.ndarray, "*grid"]) -> Bool[np.ndarray, "*grid"]:
    """The pixels of `mask` that have a neighbour over an edge (2-D) or a face (3-D) outside it or beyond the image."""
    padded = np.pad(mask, 1)
    core = (slice(1, -1),) * mask.ndim
    interior = mask.copy()
    for axis in range(mask.ndim):
        for step in (-1, 1):
            interior &= np.roll(padded, step, axis)[core]
    return mask & ~interior


def _boundaries_mm(
    prediction: Values, reference: Values, spacing_mm: Spacing
) -> tuple[Float[np.ndarray, "p rank"], Float[np.ndarray, "r rank"]]:
    predicted, expected = as_masks(prediction, reference)
    spacing = as_spacing_mm(spacing_mm, predicted.ndim)
    return np.argwhere(boundary(predicted)) * spacing, np.argwhere(boundary(expected)) * spacing


def _nearest_mm(points: Float[np.ndarray, "p rank"], others: Float[np.ndarray, "r rank"]) -> Float[np.ndarray, "n"]:
    """The distance of each point to the nearest other; one distance, 0 or infinite, where either has no points."""
    if not (len(points) and len(others)):
        return np.array([0.0 if len(points) == len(others) else np.inf])
    # A tree over the few boundary points is exact and some five times faster than a distance map of the whole slice.
    return KDTree(others).query(points)[0]


def _root_mean_square_cm(distances_mm: Float[np.ndarray, "n"]) -> float:
    return float(np.sqrt(np.mean(distances_mm**2))) / MM_PER_CM
