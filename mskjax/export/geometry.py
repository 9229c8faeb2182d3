"""Fitting slices into squares and back, and cutting bone out, as parts of a traced program.

The same as `data.batches.fit_image` and `unfit`, and `measure.remove_bone` in a slice, for batches whose spacing is
known only when the program runs. Steps, positions and sums are float64, as they are there: in float32 a rounded HU
would often be another one. To be traced under `jax.enable_x64`.
"""

import functools
from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float

from mskjax.data.batches import PARTS, TIE
from mskjax.data.dataset import AIR_HU
from mskjax.export.artifact import FINEST_MM
from mskjax.measure.bone import BONE_ABOVE_HU, MARGIN_MM, TOLERANCE_MM

REACH = round(MARGIN_MM / FINEST_MM)  # pixels from which bone can reach, in either direction
# A spacing comes as float32, so that three pixels of 0.6667 mm, which lie within the tolerance, must not leave it.
SLACK_MM = 4e-7

Images = Float[Array, "b h w"]
Squares = Float[Array, "b S S"]
Spacing = Float[Array, "b 2"]


def fit_images(image_hu: Images, spacing_mm: Spacing, size: int) -> Squares:
    """Whole HU on `size` x `size` square pixels, as `data.batches.fit_image` has them, in float32."""
    steps = _steps(image_hu.shape[1:], spacing_mm, size)
    above_air = _resample(image_hu.astype(jnp.float64) - AIR_HU, (size, size), steps)
    return jnp.rint(jnp.rint(above_air * PARTS) / PARTS + AIR_HU).astype(jnp.float32)


def unfit_squares(values: Squares, shape: tuple[int, ...], spacing_mm: Spacing) -> Images:
    """Probabilities on the slices' own grid of `shape` pixels, as `data.batches.unfit` has them."""
    steps = 1 / _steps(shape, spacing_mm, values.shape[-1])
    return _resample(values.astype(jnp.float64), shape, steps).astype(jnp.float32)


def near_bone(image_hu: Images, spacing_mm: Spacing) -> Bool[Array, "b h w"]:
    """Where bone is or is within 2 mm, for pixels of `FINEST_MM` and more.

    A pixel is near where some row within reach has bone no farther along the row than the circle is wide there.
    """
    steps = jnp.arange(REACH + 1, dtype=jnp.float64)
    rows, columns = (steps * spacing_mm[:, axis, None].astype(jnp.float64) for axis in (0, 1))
    distance = jnp.sqrt((rows * rows)[:, :, None] + (columns * columns)[:, None, :])
    # How many columns from the middle the circle reaches to, for each row from the middle; -1 where it has none.
    width = (distance <= MARGIN_MM + TOLERANCE_MM + SLACK_MM).sum(-1).astype(jnp.int32) - 1
    bone = jnp.where(image_hu > BONE_ABOVE_HU, 0, REACH + 1).astype(jnp.int32)
    along = _least(bone, 2, lambda shift, moved: moved + abs(shift))
    beyond = _least(along, 1, lambda shift, moved: moved - width[:, abs(shift), None, None])
    return beyond <= 0


def _least(values: Array, axis: int, seen: Callable[[int, Array], Array]) -> Array:
    """For each pixel the least of what is seen of the pixels within reach along an axis, by their distance."""
    far = jnp.pad(values, [(REACH, REACH) if n == axis else (0, 0) for n in range(3)], constant_values=REACH + 1)
    length = values.shape[axis]
    shifts = range(-REACH, REACH + 1)
    moved = (seen(shift, lax.slice_in_dim(far, REACH + shift, REACH + shift + length, axis=axis)) for shift in shifts)
    return functools.reduce(jnp.minimum, moved)


def _steps(shape: tuple[int, ...], spacing_mm: Spacing, size: int) -> Spacing:
    """How many rows and columns of a slice one pixel of its square spans."""
    spacing = spacing_mm.astype(jnp.float64)
    longest_mm = (spacing * jnp.array(shape, jnp.float64)).max(1, keepdims=True)
    return longest_mm / (size * spacing)


def _resample(values: Array, shape: tuple[int, ...], steps: Spacing) -> Array:
    """`values` at `shape` positions that lie `steps` apart and share its centre; 0 beyond its edges."""
    rows = _weights(shape[0], values.shape[1], steps[:, 0])
    columns = _weights(shape[1], values.shape[2], steps[:, 1])
    of_rows = jnp.einsum("bry,byc->brc", rows, values, precision=lax.Precision.HIGHEST)
    return jnp.einsum("brc,bxc->brx", of_rows, columns, precision=lax.Precision.HIGHEST)


def _weights(count: int, length: int, step: Float[Array, " b"]) -> Float[Array, "b {count} {length}"]:
    """Linear interpolation as matrices: triangles as wide as a step, where that exceeds a pixel."""
    middle = (length - 1) / 2
    position = (jnp.arange(count, dtype=jnp.float64) - (count - 1) / 2) * step[:, None] + middle
    inside = jnp.abs(position - middle) <= length / 2 + TIE
    reach = (
        jnp.abs(position[:, :, None] - jnp.arange(length, dtype=jnp.float64)) / jnp.maximum(step, 1.0)[:, None, None]
    )
    weight = jnp.maximum(0.0, 1 - reach) * inside[:, :, None]
    return weight / jnp.where(inside, weight.sum(2), 1.0)[:, :, None]
