"""One smooth motion of a slice and its mask: flip, shift, rotation, scaling, elastic deformation, in one resampling.

Positions are millimetres from the slice's centre, ((h - 1) / 2, (w - 1) / 2) in pixels, so that a rotation is rigid in
the patient whatever the pixel spacing. A motion says where each output pixel comes from,
source(p) = flip(M p + u(p) - t) with M the rotation over the scale, u the elastic displacement and t the shift.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Bool, Float, Int16, UInt8

from mskjax.data.dataset import AIR_HU


class Motion(NamedTuple):
    """What to do to one slice; a pytree, so that it maps over a batch.

    A positive `angle` (radians) turns the picture counter-clockwise as displayed with row 0 on top, `scale` above 1
    enlarges it, `flip` mirrors left and right, `control_mm` holds the (row, column) displacements of a square of
    control points that repeats in all directions. The picture is moved by `shift_mm`, down and to the right, once it is
    mirrored and before it is turned.
    """

    flip: Bool[Array, ""]
    angle: Float[Array, ""]
    scale: Float[Array, ""]
    control_mm: Float[Array, "2 n n"]
    shift_mm: Float[Array, "2"]


def warp(
    image_hu: Int16[Array, "h w"],
    mask: UInt8[Array, "h w"],
    spacing_mm: Float[Array, "2"],
    motion: Motion,
    control_spacing_mm: float,
) -> tuple[Float[Array, "h w"], Float[Array, "h w"]]:
    """The moved image and mask on the grid they came on; outside the slice lie air and background.

    The image is interpolated bilinearly and the mask takes its nearest pixel, at the same coordinates.
    """
    # XLA fuses the coordinates into both gathers. On CPU that is faster than one gather of image and mask packed into
    # one word, with or without a padded border.
    rows, columns = image_hu.shape
    coordinates = source_coordinates((rows, columns), spacing_mm, motion, control_spacing_mm)
    image = map_coordinates(image_hu.astype(jnp.float32), coordinates, order=1, mode="constant", cval=float(AIR_HU))
    nearest = map_coordinates(mask.astype(jnp.float32), coordinates, order=0, mode="constant", cval=0.0)
    return image, nearest


def source_coordinates(
    shape: tuple[int, int], spacing_mm: Float[Array, "2"], motion: Motion, control_spacing_mm: float
) -> tuple[Float[Array, "h w"], Float[Array, "h w"]]:
    """Row and column, in pixels of the source, that each output pixel comes from."""
    row, column = (jnp.arange(size, dtype=jnp.float32) for size in shape)
    row_mm = (row - (shape[0] - 1) / 2) * spacing_mm[0]
    column_mm = (column - (shape[1] - 1) / 2) * spacing_mm[1]
    # Only differences from standing still are added to the pixel index: a motion that does nothing is exact.
    cosine, sine = jnp.cos(motion.angle) / motion.scale - 1, jnp.sin(motion.angle) / motion.scale
    elastic_mm = displacement_mm(motion.control_mm, row_mm / control_spacing_mm, column_mm / control_spacing_mm)
    move_row_mm = cosine * row_mm[:, None] + sine * column_mm[None, :] + elastic_mm[0] - motion.shift_mm[0]
    move_column_mm = cosine * column_mm[None, :] - sine * row_mm[:, None] + elastic_mm[1] - motion.shift_mm[1]
    source_row = row[:, None] + move_row_mm / spacing_mm[0]
    source_column = column[None, :] + move_column_mm / spacing_mm[1]
    return source_row, jnp.where(motion.flip, shape[1] - 1 - source_column, source_column)


def displacement_mm(
    control_mm: Float[Array, "2 n n"], row: Float[Array, "h"], column: Float[Array, "w"]
) -> Float[Array, "2 h w"]:
    """The control points' displacements interpolated at rows and columns that are measured in control points.

    The bits do not depend on how the batch is spread over devices: factors of 12 bits have exact products, so that the
    two products that make up each sum may be added in either order, fused or not.
    """
    size = control_mm.shape[-1]
    rows = _twelve_bits(interpolation_weights(row, size))
    columns = _twelve_bits(interpolation_weights(column, size))
    # On TPU the default precision would take 8 bits of each factor.
    product = partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
    along_columns = _twelve_bits(product("hi,kij->khj", rows, _twelve_bits(control_mm)))
    return product("khj,wj->khw", along_columns, columns)


def _twelve_bits(values: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jax.lax.reduce_precision(values, exponent_bits=8, mantissa_bits=11)


def interpolation_weights(position: Float[Array, "p"], size: int) -> Float[Array, "p {size}"]:
    """The weight of each of `size` control points, which repeat, at positions measured in control points.

    The squares of the weights sum to one, so that independent displacements have one standard deviation everywhere and
    not only at the control points; the slope is continuous. It is the power-complementary window of the Vorbis codec.
    """
    distance = (position[:, None] - jnp.arange(size) + size / 2) % size - size / 2
    window = jnp.cos(jnp.pi / 2 * jnp.minimum(jnp.abs(distance), 1.0)) ** 2
    return jnp.sin(jnp.pi / 2 * window)
