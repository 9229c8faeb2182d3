"""Axis letters and array aliases that every room shares.

Axes: b batch, d h w for z y x, c channels, k classes, t tokens, n slices, tiles or windows.
Spacing is in millimetres and in array order: (row, column) in 2-D, (slice, row, column) in 3-D.
"""

from typing import Any

from jax import Array
from jaxtyping import Bool, Float, Int16, PyTree, UInt8
from numpy import ndarray

ImageHU = Int16[ndarray, "*grid"]
Mask = UInt8[ndarray, "*grid"] | Bool[ndarray, "*grid"]
SpacingMm = Float[ndarray, "rank"]

Key = Array
Params = PyTree[Array]
Variables = dict[str, Any]
