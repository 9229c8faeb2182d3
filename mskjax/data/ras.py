"""Between an axial view, slices feet to head, and the axes of RAS, by which volumes of a dataset lie in their files.

Arrays alone, so that training, which reads no image, needs no reader of images.
"""

import numpy as np
from jaxtyping import Shaped


def axial_to_ras(values: Shaped[np.ndarray, "d h w"]) -> Shaped[np.ndarray, "w h d"]:
    """An axial view along the axes i, j, k of a scan reoriented to RAS, as nibabel and MONAI mean it: a view, no copy.

    i runs from the patient's left to the right, j from posterior to anterior, k from the feet to the head.
    """
    return np.flip(values.transpose(2, 1, 0), (0, 1))


def ras_to_axial(values: Shaped[np.ndarray, "i j k"]) -> Shaped[np.ndarray, "k j i"]:
    """The axial view whose `axial_to_ras` is `values`: a view, no copy."""
    return np.flip(values, (0, 1)).transpose(2, 1, 0)
