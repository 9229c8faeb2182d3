"""Random flips, rotations, scalings, elastic deformations and shifts of slices and their masks, on the device.

Study A names the first four and gives only the rotation's range; scale, control points and displacements are this
project's choice. A shift is what study B calls pad and crop: the slice is padded with air and cropped to its own size
at another place. All of them are one resampling, so that the image is interpolated once.
"""

import math
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int16, UInt8

from mskjax.data.warp import Motion, warp
from mskjax.types import Key

# Wider than any scanner's field of view: the control points, whose number must be known before the spacing is, repeat
# beyond it.
FIELD_OF_VIEW_MM = 1024.0
SHIFT_STREAM = 4  # beyond the four keys that a motion's own is split into


@dataclass(frozen=True)
class Augmentation:
    """How slices are augmented; `flip`, `rotation`, `scaling`, `elastic`, `shift`: the probabilities of each.

    Angles are uniform within +-`rotation_degrees`, magnifications within 1 +- `scale`. The elastic deformation
    interpolates control points every `elastic_spacing_mm` whose displacements along rows and columns are normal with
    standard deviation `elastic_sd_mm`. A shift is uniform within +-`shift_mm` along rows and along columns.
    `ValueError` says which value is out of range.
    """

    flip: float = 0.5
    rotation: float = 0.5
    rotation_degrees: float = 20.0
    scaling: float = 0.5
    scale: float = 0.1
    elastic: float = 0.5
    elastic_spacing_mm: float = 64.0
    elastic_sd_mm: float = 5.0
    shift: float = 0.0
    shift_mm: float = 20.0

    def __post_init__(self):
        for name in ("flip", "rotation", "scaling", "elastic", "shift"):
            require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "a probability from 0 to 1")
        require(0 <= self.rotation_degrees <= 180, "rotation_degrees", self.rotation_degrees, "0 to 180 degrees")
        require(0 <= self.scale < 1, "scale", self.scale, "0 or more and below 1")
        require(0 < self.elastic_spacing_mm < math.inf, "elastic_spacing_mm", self.elastic_spacing_mm, "above 0 mm")
        require(0 <= self.elastic_sd_mm < math.inf, "elastic_sd_mm", self.elastic_sd_mm, "0 mm or more")
        require(0 <= self.shift_mm < math.inf, "shift_mm", self.shift_mm, "0 mm or more")


def augment(
    key: Key,
    image_hu: Int16[Array, "b h w"],
    mask: UInt8[Array, "b h w"],
    spacing_mm: Float[Array, "b 2"],
    augmentation: Augmentation,
) -> tuple[Float[Array, "b h w"], Float[Array, "b h w"]]:
    """The augmented images, in HU, and their masks, both float32; outside the slices lie -1024 HU and 0.

    What happens to an image depends only on the key and on its position in the batch, not on the size of the batch or
    on the number of devices. With all probabilities 0 the values are exactly those given.
    """
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(len(image_hu)))
    motions = jax.vmap(partial(draw, augmentation=augmentation))(keys)
    move = partial(warp, control_spacing_mm=augmentation.elastic_spacing_mm)
    return jax.vmap(move)(image_hu, mask, spacing_mm, motions)


def draw(key: Key, augmentation: Augmentation) -> Motion:
    """A random motion of one slice."""
    which, angle, scale, control = jax.random.split(key, 4)
    odds = jnp.array(
        [augmentation.flip, augmentation.rotation, augmentation.scaling, augmentation.elastic], jnp.float32
    )
    flip, rotates, scales, deforms = jax.random.bernoulli(which, odds)
    radians = math.radians(augmentation.rotation_degrees)
    size = max(2, math.ceil(FIELD_OF_VIEW_MM / augmentation.elastic_spacing_mm))
    # The same numbers as in three dimensions at once; XLA compiles them nine times faster.
    normal = jax.random.normal(control, (2 * size * size,), jnp.float32).reshape(2, size, size)
    # From a key of its own, so that runs without shifts draw what they drew before there were any.
    shifts, place = jax.random.split(jax.random.fold_in(key, SHIFT_STREAM))
    return Motion(
        flip=flip,
        angle=rotates * radians * symmetric(angle),
        scale=1 + scales * augmentation.scale * symmetric(scale),
        control_mm=deforms * augmentation.elastic_sd_mm * normal,
        shift_mm=jax.random.bernoulli(shifts, augmentation.shift) * augmentation.shift_mm * symmetric(place, 2),
    )


def symmetric(key: Key, *shape: int) -> Float[Array, "*sizes"]:
    """Uniform random numbers from -1 to 1."""
    return jax.random.uniform(key, shape, jnp.float32, minval=-1.0, maxval=1.0)


def require(holds: bool, name: str, value: float, remedy: str) -> None:
    """Raises `ValueError` for a field of an augmentation unless `holds`; `remedy` says what it must be."""
    if not holds:
        raise ValueError(f"augmentation {name} is {value}; it must be {remedy}")
