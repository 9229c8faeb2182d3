"""Prediction of a volume that is larger than what a network sees, by windows that overlap; one compilation for all.

Windows are placed as MONAI's sliding_window_inference places them, and where they overlap their probabilities are
averaged. The windows of a batch are cut and their results added on the host, while the device computes the next.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from jax import Array
from jaxtyping import Float, Float32, Real

RUN_AHEAD = 2  # batches that the device is given before the first one's result is waited for
Forward = Callable[[Real[np.ndarray, "b s s s"]], Float[Array, "b s s s k"]]


def predict(
    forward: Forward,
    volume: Real[np.ndarray, "i j k"],
    side: int,
    overlap: float = 0.5,
    batch_size: int = 1,
    padding: int | float = 0,
    needed: slice = slice(None),
    progress: Callable[[range], Iterable[int]] = iter,
) -> Float32[np.ndarray, "i j k c"]:
    """The mean of what `forward` says of each voxel in the windows [b, side, side, side] that hold it.

    A volume that is smaller than a window is surrounded by `padding`, which is cut off again; the last batch is filled
    up with its last window. `overlap` is the share of a window's side that it has in common with the next. Only the
    windows that touch the planes `needed` of the last axis are computed; there the result is that of all windows,
    wherever a window's answer does not hang on the others of its batch, and 0 elsewhere. `progress` goes through the
    range of batches and may show how far it is.
    Raises `ValueError` for an overlap outside [0, 1), and where no plane is needed.
    """
    if not 0 <= overlap < 1:
        raise ValueError(f"the overlap of windows is {overlap}; it must be at least 0 and below 1")
    around = [_around(length, side) for length in volume.shape]
    padded = np.pad(volume, around, constant_values=padding)
    planes = _planes(needed, volume.shape[2], around[2][0])
    places = [
        place
        for place in windows(padded.shape, side, overlap)
        if place[2].start < planes.stop and planes.start < place[2].stop
    ]
    starts = progress(range(0, len(places), batch_size))
    total: np.ndarray | None = None
    count = np.zeros((*padded.shape, 1), np.float32)
    for place, values in _predicted(forward, padded, places, starts, batch_size):
        if total is None:
            total = np.zeros((*padded.shape, values.shape[-1]), np.float32)
        total[place] += values
        count[place] += 1
    assert total is not None  # there is a window on every plane
    mean = np.zeros_like(total)
    mean[:, :, planes] = total[:, :, planes] / count[:, :, planes]
    return mean[tuple(slice(before, before + size) for (before, _), size in zip(around, volume.shape, strict=True))]


def windows(shape: Sequence[int], side: int, overlap: float) -> list[tuple[slice, slice, slice]]:
    """Where the windows of a volume lie, none of whose sides is shorter than a window's."""
    step = max(int(side * (1 - overlap)), 1)
    starts = []
    for length in shape:
        number = max(-(-(length - side) // step), 0) + 1
        starts.append([min(step * n, length - side) for n in range(number)])
    first, second, third = starts
    return [
        (slice(i, i + side), slice(j, j + side), slice(k, k + side))
        for i, j, k in itertools.product(first, second, third)
    ]


def _predicted(
    forward: Forward,
    volume: np.ndarray,
    places: Sequence[tuple[slice, ...]],
    starts: Iterable[int],
    batch_size: int,
) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
    """Each place and what is predicted there, float32."""
    waiting: deque[tuple[Sequence[tuple[slice, ...]], Array]] = deque()
    for start in starts:
        chosen = places[start : start + batch_size]
        cut = np.stack([volume[place] for place in (*chosen, *[chosen[-1]] * (batch_size - len(chosen)))])
        waiting.append((chosen, forward(cut)))
        if len(waiting) > RUN_AHEAD:
            yield from _fetched(*waiting.popleft())
    for chosen, values in waiting:
        yield from _fetched(chosen, values)


def _fetched(chosen: Sequence[tuple[slice, ...]], values: Array) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
    yield from zip(chosen, np.asarray(values, np.float32), strict=False)


def _planes(needed: slice, depth: int, before: int) -> slice:
    """The planes `needed` of `depth`, counted with the `before` planes of padding that come first."""
    first, stop, _ = needed.indices(depth)
    if stop <= first:
        raise ValueError(f"planes {needed.start} to {needed.stop} of a volume of {depth} planes are none")
    return slice(first + before, stop + before)


def _around(length: int, side: int) -> tuple[int, int]:
    missing = max(side - length, 0)
    return missing // 2, missing - missing // 2
