"""Axis letters and aliases that every room shares.

Axes: b batch, d h w for z y x, c channels, k classes, t tokens, n slices, tiles or windows.
Spacing is in millimetres and in array order: (row, column) in 2-D, (slice, row, column) in 3-D.
"""

from typing import Any

import numpy as np
from jax import Array, ShapeDtypeStruct
from jaxtyping import PyTree

Key = Array
Params = PyTree[Array | np.ndarray | ShapeDtypeStruct]  # on a device, on the host, or described alone
Variables = dict[str, Any]
