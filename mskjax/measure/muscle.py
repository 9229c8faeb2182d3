"""Skeletal muscle area (SMA), density (SMD) and height-normalised index (SMI) of study A.

A volume is measured slice by slice, as the field reports muscle at a vertebral level: a slice [h, w] gives a number, a
volume [d, h, w] an array [d].
"""

import numpy as np
from jaxtyping import Bool, Float

from mskjax.bounds import PLAUSIBLE_HEIGHT_M
from mskjax.measure.checks import Number, Spacing, Values, as_mask, as_spacing_mm, same_shape

MM2_PER_CM2 = 100


def muscle_area_cm2(mask: Values, spacing_mm: Spacing) -> float | Float[np.ndarray, "d"]:
    """Area of the mask in cm2: its pixels times the area of a pixel; one number for a slice, [d] for a volume.

    An empty mask has area 0. Raises `ValueError` for a mask that holds more than 0 and 1, or a spacing that is no
    positive number of mm for each axis.
    """
    muscle = as_mask(mask)
    row_mm, column_mm = as_spacing_mm(spacing_mm, muscle.ndim)[-2:]
    area = np.count_nonzero(muscle, axis=(-2, -1)) * row_mm * column_mm / MM2_PER_CM2
    return area if muscle.ndim == 3 else float(area)


def muscle_density_hu(
    image_hu: Values, mask: Values, hu_window: tuple[Number, Number] | None = None
) -> float | Float[np.ndarray, "d"]:
    """Mean HU inside the mask; one number for a slice, [d] for a volume.

    With `hu_window` the mean is over the mask's pixels within it, both ends included. NaN where no pixel is left.
    Raises `ValueError` where shapes differ, the mask holds more than 0 and 1, or the window runs downwards.
    """
    same_shape(image_hu, mask, "the image", "the mask")
    muscle = as_mask(mask) if hu_window is None else within_window(image_hu, mask, hu_window)
    pixels = np.count_nonzero(muscle, axis=(-2, -1))
    total = np.sum(image_hu, axis=(-2, -1), where=muscle, dtype=np.float64)
    density = np.divide(total, pixels, out=np.full_like(total, np.nan), where=pixels > 0)
    return density if muscle.ndim == 3 else float(density)


def within_window(image_hu: Values, mask: Values, hu_window: tuple[Number, Number]) -> Bool[np.ndarray, "..."]:
    """The part of the mask whose HU lie in (lowest, highest), both included; (-29, 150) is usual for muscle.

    Raises `ValueError` where shapes differ, the mask holds more than 0 and 1, or the window runs downwards.
    """
    same_shape(image_hu, mask, "the image", "the mask")
    low, high = hu_window
    if not low < high:
        raise ValueError(f"the HU window runs from {low:g} to {high:g}; give the lower end first, as in -29:150")
    return as_mask(mask) & (image_hu >= low) & (image_hu <= high)


def muscle_index_cm2_m2(area_cm2: Number | Float[np.ndarray, "d"], height_m: Number) -> float | Float[np.ndarray, "d"]:
    """Skeletal muscle index, area over height squared, in cm2/m2; `ValueError` for a height that is not in metres."""
    low, high = PLAUSIBLE_HEIGHT_M
    if not low <= height_m <= high:
        raise ValueError(f"a height of {height_m:g} m is not a person's; give it in metres, as in 1.72")
    return area_cm2 / height_m**2
