"""Cubes cut out of volumes at random, to train on: two views of one region, or cubes through an outlined plane.

Volumes are int16 HU along the axes i, j, k of RAS, and may be memory maps: only what is cut out is read. Where a volume
is shorter than a cube it lies in its middle, with air on both sides whose labels are unknown, as windows of prediction
lie. Random numbers come from a generator that is given, so that a cube is a function of what made the generator.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int16, Int32, Shaped, UInt8

from mskjax.data.dataset import AIR_HU
from mskjax.data.volume_grid import UNKNOWN

VIEWS = 2
OUTLINED = 0.5  # of the cubes are centred on a voxel of the muscle, the others beside it (MONAI's pos = neg = 1)


def views(
    volume: Int16[np.ndarray, "i j k"], side: int, rng: np.random.Generator
) -> Int16[np.ndarray, "2 {side} {side} {side}"]:
    """Two cubes that lie anywhere in one larger cube, a third longer (SMIT: 96 in 128), which lies anywhere."""
    region = side * 4 // 3
    first = [_anywhere(length, region, rng) for length in volume.shape]
    starts = [[start + int(rng.integers(region - side + 1)) for start in first] for _ in range(VIEWS)]
    return np.stack([cut(volume, start, side, AIR_HU) for start in starts])


def outlined(
    volume: Int16[np.ndarray, "i j k"],
    planes: Int32[np.ndarray, " n"],
    masks: UInt8[np.ndarray, "n i j"],
    side: int,
    rng: np.random.Generator,
) -> tuple[Int16[np.ndarray, "{side} {side} {side}"], UInt8[np.ndarray, "{side} {side} {side}"]]:
    """A cube that one of the outlined `planes` passes, and its labels: `masks` on these planes, elsewhere unknown.

    At that plane the cube is centred on a voxel inside the outline or, as often, outside, as far as the volume reaches.
    The plane is anywhere in the cube, because windows of prediction see it anywhere.
    """
    chosen = int(rng.integers(len(planes)))
    inside = np.asarray(masks[chosen]) > 0
    places = np.argwhere(inside if rng.random() < OUTLINED else ~inside)
    i, j = places[rng.integers(len(places))] if len(places) else np.array(inside.shape) // 2
    starts = [
        _within(int(place) - side // 2, length, side) for place, length in ((i, len(inside)), (j, inside.shape[1]))
    ]
    starts.append(_within(int(planes[chosen]) - int(rng.integers(side)), volume.shape[2], side))
    label = np.full((side, side, side), UNKNOWN, np.uint8)
    for plane, mask in zip(planes, masks, strict=True):
        if 0 <= (depth := int(plane) - starts[2]) < side:
            label[:, :, depth] = cut(mask, starts[:2], side, UNKNOWN)
    return cut(volume, starts, side, AIR_HU), label


def cut(
    values: Shaped[np.ndarray, "*shape"], start: Sequence[int], side: int, fill: int
) -> Shaped[np.ndarray, "*cube"]:
    """A cube, or a square, from `start` on, which may lie before the first voxel; `fill` where there is nothing."""
    cube = np.full((side,) * values.ndim, fill, values.dtype)
    there = tuple(slice(max(first, 0), first + side) for first in start)
    part = values[there]
    here = tuple(
        slice(max(-first, 0), max(-first, 0) + length) for first, length in zip(start, part.shape, strict=True)
    )
    cube[here] = part
    return cube


def _anywhere(length: int, side: int, rng: np.random.Generator) -> int:
    return int(rng.integers(length - side + 1)) if length > side else -((side - length) // 2)


def _within(start: int, length: int, side: int) -> int:
    """The start nearest to `start` of a cube that does not leave the volume, or holds all of it."""
    return min(max(start, 0), length - side) if length > side else -((side - length) // 2)
