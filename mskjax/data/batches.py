"""From slices of any size to the square batches of a network and back, and which slices each step takes.

A slice is centred in a square of square pixels whose pitch is the slice's longer side over the square's: nothing is cut
off, nothing is distorted, and a square slice of the right size passes unchanged.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int16, Int32, UInt8
from scipy.sparse import csr_array

from mskjax.data.dataset import AIR_HU, Slices

# Positions that are halfway between two pixels in exact arithmetic must not depend on rounding errors.
TIE = 1e-6
PARTS = 2.0**20  # of an interpolated HU that are told apart


def fit(slices: Slices, size: int, limits_hu: tuple[float, float] | None = None) -> dict[str, np.ndarray]:
    """All slices on `size` x `size` square pixels: image_hu int16, mask uint8, both [n, S, S], and spacing_mm [n, 2].

    HU are cut to `limits_hu` first, where there are any, and interpolated bilinearly, averaged where the slice shrinks;
    masks take the nearest pixel. Around the slice lie -1024 HU and 0.
    """
    cases = [slices.case(i) for i in range(len(slices))]
    images = [fit_image(_cut(image_hu, limits_hu), spacing_mm, size) for image_hu, _, spacing_mm in cases]
    masks = [fit_mask(mask, spacing_mm, size) for _, mask, spacing_mm in cases]
    pitch_mm = [_longest_mm(mask.shape, spacing_mm) / size for _, mask, spacing_mm in cases]
    return {
        "image_hu": np.array(images, np.int16).reshape(-1, size, size),
        "mask": np.array(masks, np.uint8).reshape(-1, size, size),
        "spacing_mm": np.repeat(np.array(pitch_mm, np.float32)[:, None], 2, axis=1),
    }


def fit_image(
    image_hu: Int16[np.ndarray, "h w"], spacing_mm: Float[np.ndarray, "2"], size: int
) -> Int16[np.ndarray, "{size} {size}"]:
    """One slice as `fit` puts it on `size` x `size` square pixels."""
    steps = _steps(image_hu.shape, spacing_mm, size)
    # Relative to air, so that what lies outside counts for nothing.
    above_air = _resample(image_hu.astype(np.float64) - AIR_HU, (size, size), steps)
    # To binary digits first: halves go to the even HU also where sums are taken in another order, as once exported.
    return np.rint(np.rint(above_air * PARTS) / PARTS + AIR_HU).astype(np.int16, order="C")


def fit_mask(
    mask: UInt8[np.ndarray, "h w"], spacing_mm: Float[np.ndarray, "2"], size: int
) -> UInt8[np.ndarray, "{size} {size}"]:
    """One mask as `fit` puts it on `size` x `size` square pixels."""
    row_step, column_step = _steps(mask.shape, spacing_mm, size)
    row, row_inside = _nearest(size, mask.shape[0], row_step)
    column, column_inside = _nearest(size, mask.shape[1], column_step)
    return mask[np.ix_(row, column)] * np.outer(row_inside, column_inside)


def unfit(
    values: Float32[np.ndarray, "S S"],
    shape: tuple[int, ...] | Int[np.ndarray, "2"],
    spacing_mm: Float[np.ndarray, "2"],
) -> Float32[np.ndarray, "h w"]:
    """Probabilities on a slice's own grid of `shape` pixels, from the square that `fit` put the slice on.

    Bilinear, averaged where the square was finer than the slice.
    """
    rows, columns = map(int, shape)
    row_step, column_step = _steps((rows, columns), spacing_mm, len(values))
    resampled = _resample(values.astype(np.float64), (rows, columns), (1 / row_step, 1 / column_step))
    return resampled.astype(np.float32, order="C")


def indices(seed: int, count: int, batch_size: int, step: int) -> Int32[np.ndarray, "{batch_size}"]:
    """Which of `count` slices make up the batch of `step`, a pure function of its arguments.

    The batches of steps 0, 1, 2, ... follow one endless order in which each pass of `count` holds every slice once, in
    an order of its own. A batch may run over the end of a pass. `ValueError` if there is nothing to draw from.
    """
    if count < 1 or batch_size < 1 or step < 0 or seed < 0:
        raise ValueError(
            f"no batch of {batch_size} from {count} slices at step {step} with seed {seed}; "
            "counts start at 1, steps and seeds at 0"
        )
    first = step * batch_size
    passes = range(first // count, (first + batch_size - 1) // count + 1)
    order = np.concatenate([_order(seed, count, number) for number in passes])
    start = first % count
    return order[start : start + batch_size]


@lru_cache(maxsize=16)
def _order(seed: int, count: int, number: int) -> Int32[np.ndarray, "{count}"]:
    order = np.random.default_rng((seed, number)).permutation(count).astype(np.int32)
    order.flags.writeable = False
    return order


def _cut(image_hu: np.ndarray, limits_hu: tuple[float, float] | None) -> np.ndarray:
    return image_hu if limits_hu is None else np.rint(np.clip(image_hu, *limits_hu)).astype(np.int16)


def _longest_mm(shape: tuple[int, ...], spacing_mm: Float[np.ndarray, "2"]) -> float:
    if not (np.isfinite(spacing_mm).all() and (spacing_mm > 0).all()):
        raise ValueError(f"pixel spacing {spacing_mm.tolist()} mm; both must be positive and finite")
    return float(max(np.asarray(shape) * spacing_mm))


def _steps(shape: tuple[int, ...], spacing_mm: Float[np.ndarray, "2"], size: int) -> tuple[float, float]:
    """How many of the slice's rows and columns one pixel of the square spans; exactly 1 where they agree."""
    row_step, column_step = _longest_mm(shape, spacing_mm) / (size * spacing_mm)
    return float(row_step), float(column_step)


def _resample(
    values: Float[np.ndarray, "h w"], shape: tuple[int, int], steps: tuple[float, float]
) -> Float[np.ndarray, "rows columns"]:
    """`values` at `shape` positions that lie `steps` apart and share its centre; 0 beyond its edges."""
    rows = _weights(shape[0], values.shape[0], steps[0])
    columns = _weights(shape[1], values.shape[1], steps[1])
    return (columns @ (rows @ values).T).T


def _positions(count: int, length: int, step: float) -> tuple[Float[np.ndarray, "count"], Bool[np.ndarray, "count"]]:
    """Where `count` positions `step` apart lie on a centred line of `length` pixels, and which lie on it at all."""
    position = (np.arange(count) - (count - 1) / 2) * step + (length - 1) / 2
    return position, np.abs(position - (length - 1) / 2) <= length / 2 + TIE


@lru_cache(maxsize=16)
def _weights(count: int, length: int, step: float) -> csr_array:
    """Linear interpolation as a matrix [count, length]: triangles as wide as a step, where that exceeds a pixel."""
    position, inside = _positions(count, length, step)
    weight = np.maximum(0, 1 - np.abs(position[:, None] - np.arange(length)) / max(step, 1)) * inside[:, None]
    return csr_array(weight / np.where(inside, weight.sum(axis=1), 1)[:, None])


def _nearest(count: int, length: int, step: float) -> tuple[Int32[np.ndarray, "count"], Bool[np.ndarray, "count"]]:
    """The pixel nearest to each position, of two equally near the one closer to the centre, so that mirrors agree."""
    position, inside = _positions(count, length, step)
    towards_centre = TIE * np.sign(position - (length - 1) / 2)
    return np.clip(np.floor(position + 0.5 - towards_centre), 0, length - 1).astype(np.int32), inside
