"""Which slices of an image become cases: those that carry the mask, or the one that the user asks for."""

import numpy as np
import SimpleITK as sitk
from jaxtyping import UInt8

from mskjax.data.masks import read_mask
from mskjax.data.orientation import to_axial
from mskjax.data.pairs import Pair


def choose(pair: Pair, image: sitk.Image, mask: UInt8[np.ndarray, "d h w"]) -> list[int]:
    """The slices that `pair.slices` takes of its image, 0-based from the feet; `mask` is all 0 where there is none.

    Raises `ValueError` where the mask is empty, or on the slice asked for, where that slice or level is not there, or
    where several slices and no mask leave it open.
    """
    if pair.mask is None:
        return [_unmasked(pair, image, len(mask))]
    pixels = mask.sum(axis=(1, 2))
    carrying = [int(k) for k in np.flatnonzero(pixels)]
    if not carrying:
        raise ValueError(f"the mask {pair.mask} is empty; outline the muscle, or choose another label")
    if pair.slices == "all":
        return carrying
    if pair.slices == "largest":
        return [int(np.argmax(pixels))]
    k = _asked(pair, image, len(mask))
    if k not in carrying:
        several = f"{len(carrying)} slices from {carrying[0]} to {carrying[-1]}"
        raise ValueError(
            f"the mask {pair.mask} is empty on slice {k}; of {len(pixels)} slices, 0-based from the feet, it marks "
            f"{several if len(carrying) > 1 else f'slice {carrying[0]} alone'}; choose a slice that it marks, "
            f"or outline the muscle on slice {k}"
        )
    return [k]


def _unmasked(pair: Pair, image: sitk.Image, depth: int) -> int:
    """The slice to take of an image without a mask."""
    if pair.slices not in ("all", "largest"):
        return _asked(pair, image, depth)
    if depth > 1:
        raise ValueError(
            f"{pair.image} has {depth} slices and no mask to choose one by; give the number of the slice, or a level"
        )
    return 0


def _asked(pair: Pair, image: sitk.Image, depth: int) -> int:
    """The slice that the user chose by its number or by a level."""
    k = _middle(pair, image) if pair.slices == "level" else int(pair.slices)
    if k >= depth:
        raise ValueError(
            f"slice {k} is out of range: {pair.image} has {depth}, numbered from 0 at the feet to {depth - 1}; "
            "correct the number"
        )
    return k


def _middle(pair: Pair, image: sitk.Image) -> int:
    """The middle one of the slices that carry the level's label, the lower of two."""
    assert pair.level_mask is not None
    level, _ = to_axial(read_mask(pair.level_mask, image, pair.level_label))
    carrying = np.flatnonzero(level.any(axis=(1, 2)))
    if not len(carrying):
        raise ValueError(f"{pair.level_mask} marks no slice with {pair.level_label}; choose the slice by its number")
    return int(carrying[(len(carrying) - 1) // 2])
