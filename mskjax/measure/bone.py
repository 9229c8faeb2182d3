"""Cutting bone out of a mask before area and density are taken (study A).

Bone is every pixel above 175 HU and every pixel whose centre lies within 2 mm of such a pixel's centre: in the slice
for a slice, in all three directions for a volume. Both kinds stand in reports, so say which one was used.
"""

import itertools
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float

from mskjax.measure.checks import Spacing, Values, as_mask, as_spacing_mm, same_shape

BONE_ABOVE_HU = 175
MARGIN_MM = 2.0
# A spacing such as 0.6666667 mm must not push the third pixel over the edge of 2 mm.
TOLERANCE_MM = 1e-4


def remove_bone(image_hu: Values, mask: Values, spacing_mm: Spacing) -> Values:
    """The mask without bone and its margin, in the mask's own type; works in 2-D or 3-D by the rank of the arrays.

    Raises `ValueError` where shapes differ, the mask holds more than 0 and 1, or the spacing is no positive number of
    mm for each axis.
    """
    same_shape(image_hu, mask, "the image", "the mask")
    muscle = as_mask(mask)
    spacing = as_spacing_mm(spacing_mm, muscle.ndim)
    if not muscle.any():
        return np.array(mask)
    reach = np.floor((MARGIN_MM + TOLERANCE_MM) / spacing).astype(int)
    part = _around(muscle, reach)
    kept = np.array(mask)
    kept[part][_near_bone(np.asarray(image_hu)[part] > BONE_ABOVE_HU, spacing, reach)] = 0
    return kept


def _around(muscle: Bool[np.ndarray, "*grid"], reach: np.ndarray) -> tuple[slice, ...]:
    """The box of all pixels that can decide about a pixel of the mask."""
    box = []
    for axis, margin in enumerate(reach):
        others = tuple(a for a in range(muscle.ndim) if a != axis)
        present = np.flatnonzero(muscle.any(axis=others))
        box.append(slice(max(present[0] - margin, 0), present[-1] + margin + 1))
    return tuple(box)


def _near_bone(
    bone: Bool[np.ndarray, "*grid"], spacing: Float[np.ndarray, "rank"], reach: np.ndarray
) -> Bool[np.ndarray, "*grid"]:
    near = np.zeros_like(bone)
    for offset in itertools.product(*(range(-r, r + 1) for r in reach)):
        if np.linalg.norm(offset * spacing) <= MARGIN_MM + TOLERANCE_MM:
            to, source = zip(*_overlap(offset, bone.shape), strict=True)
            near[to] |= bone[source]
    return near


def _overlap(offset: tuple[int, ...], shape: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    """For each axis, where a shifted array lands and where it comes from; nothing wraps around the edges."""
    for shift, size in zip(offset, shape, strict=True):
        length = max(size - abs(shift), 0)
        to, source = max(shift, 0), max(-shift, 0)
        yield slice(to, to + length), slice(source, source + length)
