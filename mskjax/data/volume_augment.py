"""Random flips, rotations, scalings and shifts of crops of volumes and their labels, on the device, in one resampling.

Arrays are [b, i, j, k] along the axes of a scan reoriented to RAS, spacings in that order. Positions are millimetres
from the crop's centre, so that a rotation is rigid in the patient whatever the spacing. A voxel that comes from outside
the crop is air, and what it is labelled is not known. Study B names no augmentation of volumes: all that is here is
this project's choice.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Bool, Float, Int16, UInt8

from mskjax.data.augment import require, symmetric
from mskjax.data.dataset import AIR_HU
from mskjax.data.volume_grid import UNKNOWN
from mskjax.types import Key


@dataclass(frozen=True)
class VolumeAugmentation:
    """How crops are augmented; `flip`, `rotation`, `scaling`, `shift`: the probabilities of each.

    A flip mirrors left and right (axis i). A rotation is by an angle within +-`rotation_degrees` about the body's long
    axis (k) and by angles within +-`tilt_degrees` about the two others. Magnifications are within 1 +- `scale`, shifts
    within +-`shift_mm` along each axis. All are uniform. `ValueError` says which value is out of range.
    """

    flip: float = 0.5
    rotation: float = 0.5
    rotation_degrees: float = 15.0
    tilt_degrees: float = 5.0
    scaling: float = 0.0
    scale: float = 0.1
    shift: float = 0.5
    shift_mm: float = 10.0

    def __post_init__(self):
        for name in ("flip", "rotation", "scaling", "shift"):
            require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "a probability from 0 to 1")
        require(0 <= self.rotation_degrees <= 180, "rotation_degrees", self.rotation_degrees, "0 to 180 degrees")
        require(0 <= self.tilt_degrees <= 90, "tilt_degrees", self.tilt_degrees, "0 to 90 degrees")
        require(0 <= self.scale < 1, "scale", self.scale, "0 or more and below 1")
        require(0 <= self.shift_mm < math.inf, "shift_mm", self.shift_mm, "0 mm or more")


class Motion(NamedTuple):
    """What to do to one crop; a pytree, so that it maps over a batch.

    It is mirrored along i, moved by `shift_mm`, then turned about i, j and k in that order, by `radians` that turn j
    towards k, k towards i and i towards j, and enlarged by `scale`.
    """

    flip: Bool[Array, ""]
    radians: Float[Array, "3"]
    scale: Float[Array, ""]
    shift_mm: Float[Array, "3"]


def augment_volumes(
    key: Key,
    image_hu: Int16[Array, "b i j k"],
    label: UInt8[Array, "b i j k"],
    spacing_mm: Float[Array, "b 3"],
    augmentation: VolumeAugmentation,
) -> tuple[Float[Array, "b i j k"], UInt8[Array, "b i j k"]]:
    """The augmented crops, float32 HU, and their labels; outside lie -1024 HU and `UNKNOWN`.

    The image is interpolated linearly and the label is the nearest voxel's. What happens to a crop depends only on the
    key and on its position in the batch, not on the size of the batch or on the number of devices. Where nothing is
    drawn for a crop its values are exactly those given.
    """
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(len(image_hu)))
    motions = jax.vmap(partial(draw, augmentation=augmentation))(keys)
    return jax.vmap(move)(image_hu, label, spacing_mm, motions)


def draw(key: Key, augmentation: VolumeAugmentation) -> Motion:
    """A random motion of one crop."""
    which, angles, scale, place = jax.random.split(key, 4)
    odds = jnp.array([augmentation.flip, augmentation.rotation, augmentation.scaling, augmentation.shift], jnp.float32)
    flip, rotates, scales, shifts = jax.random.bernoulli(which, odds)
    tilt, turn = math.radians(augmentation.tilt_degrees), math.radians(augmentation.rotation_degrees)
    return Motion(
        flip=flip,
        radians=rotates * jnp.array([tilt, tilt, turn], jnp.float32) * symmetric(angles, 3),
        scale=1 + scales * augmentation.scale * symmetric(scale),
        shift_mm=shifts * augmentation.shift_mm * symmetric(place, 3),
    )


def move(
    image_hu: Int16[Array, "i j k"], label: UInt8[Array, "i j k"], spacing_mm: Float[Array, "3"], motion: Motion
) -> tuple[Float[Array, "i j k"], UInt8[Array, "i j k"]]:
    """The moved crop, float32 HU, and its label on the grid they came on."""
    coordinates = _source_coordinates(image_hu.shape, spacing_mm, motion)
    image = map_coordinates(image_hu.astype(jnp.float32), coordinates, order=1, mode="constant", cval=float(AIR_HU))
    nearest = map_coordinates(label.astype(jnp.float32), coordinates, order=0, mode="constant", cval=float(UNKNOWN))
    return image, nearest.astype(jnp.uint8)


def _source_coordinates(
    shape: tuple[int, ...], spacing_mm: Float[Array, "3"], motion: Motion
) -> list[Float[Array, "i j k"]]:
    """The voxel of the source, along each axis, that each voxel of the result comes from."""
    index = [jnp.arange(size, dtype=jnp.float32) for size in shape]
    around = jnp.meshgrid(
        *[(each - (size - 1) / 2) * mm for each, size, mm in zip(index, shape, spacing_mm, strict=True)],
        indexing="ij",
        sparse=True,
    )
    back = _rotation(motion.radians).T / motion.scale
    coordinates = []
    for axis, voxel in enumerate(jnp.meshgrid(*index, indexing="ij", sparse=True)):
        # Only differences from standing still are added to the voxel's index: a motion that does nothing is exact.
        row = [back[axis, other] - (axis == other) for other in range(3)]
        moved_mm = row[0] * around[0] + row[1] * around[1] + row[2] * around[2] - motion.shift_mm[axis]
        coordinates.append(voxel + moved_mm / spacing_mm[axis])
    coordinates[0] = jnp.where(motion.flip, shape[0] - 1 - coordinates[0], coordinates[0])
    return coordinates


def _rotation(radians: Float[Array, "3"]) -> Float[Array, "3 3"]:
    """The matrix that turns about i, then j, then k, each right-handed."""
    # Written out: a product of matrices would be taken in the device's own precision, 8 bits on TPU.
    (ci, cj, ck), (si, sj, sk) = jnp.cos(radians), jnp.sin(radians)
    return jnp.array(
        [
            [ck * cj, ck * sj * si - sk * ci, ck * sj * ci + sk * si],
            [sk * cj, sk * sj * si + ck * ci, sk * sj * ci - ck * si],
            [-sj, cj * si, cj * ci],
        ]
    )
