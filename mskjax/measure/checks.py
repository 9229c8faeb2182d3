"""What every measure asks of its input: masks of 0 and 1, one grid, spacing in millimetres. Each answer is an array."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Real, Shaped

# Shapes are compared here and not by jaxtyping, so that a user without its checks gets the same sentence.
Values = Shaped[np.ndarray, "..."]
Number = int | float
Spacing = Real[np.ndarray, "rank"] | Sequence[Number]


def as_mask(mask: Values, name: str = "the mask") -> Bool[np.ndarray, "..."]:
    """`mask` as booleans; `ValueError` unless it is 2-D or 3-D and holds nothing but 0 and 1."""
    array = np.asarray(mask)
    if array.ndim not in (2, 3):
        raise ValueError(f"{name} has shape {array.shape}; give one slice [h, w] or one volume [d, h, w]")
    if array.dtype == bool:
        return array
    other = (array != 0) & (array != 1)
    if other.any():
        value = array[other][0]
        raise ValueError(f"{name} holds {value} where only 0 and 1 may stand; pick one label or threshold it first")
    return array != 0


def as_masks(prediction: Values, reference: Values) -> tuple[Bool[np.ndarray, "..."], Bool[np.ndarray, "..."]]:
    """Both masks as booleans; `ValueError` where their shapes differ."""
    same_shape(prediction, reference, "the prediction", "the reference")
    return as_mask(prediction, "the prediction"), as_mask(reference, "the reference")


def same_shape(one: Values, other: Values, name: str, other_name: str) -> None:
    """Returns nothing; `ValueError` with both shapes where they differ."""
    if np.shape(one) != np.shape(other):
        raise ValueError(
            f"{name} has shape {np.shape(one)} and {other_name} {np.shape(other)}; both must lie on the same pixels"
        )


def as_spacing_mm(spacing_mm: Spacing, rank: int) -> Float[np.ndarray, "rank"]:
    """The spacing as float64, one positive length for each of `rank` axes, in array order; else `ValueError`."""
    spacing = np.asarray(spacing_mm, dtype=np.float64)
    if spacing.shape != (rank,):
        order = {2: "(row, column)", 3: "(slice, row, column)"}.get(rank, "one for each axis")
        raise ValueError(f"spacing_mm is {spacing.tolist()}; {rank} axes need {rank} numbers, {order}")
    if not (np.isfinite(spacing).all() and (spacing > 0).all()):
        raise ValueError(f"spacing_mm is {spacing.tolist()}; every spacing must be a positive number of millimetres")
    return spacing
