"""The fused augmentation of a 512x512 image and its mask against the same chain of dm-pix calls, both jitted and warm.

The chain flips, rotates, scales and deforms, one call after the other, the image bilinearly and the mask with the
nearest pixel, from the same key. dm-pix smooths noise to deform: once as widely as control points every 64 mm
correlate, and once over a tenth of that, where its convolution is short.
"""

from functools import partial

import dm_pix
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.common import in_turns, report
from mskjax.data.augment import Augmentation, augment

SIZE = 512
SPACING_MM = 0.8
ALWAYS = Augmentation(flip=1.0, rotation=1.0, scaling=1.0, elastic=1.0)
# Smoothed noise correlates by exp(-(r / 2 sigma)^2), control points by the root of 1/2 half-way between them.
SIGMA = 32 / SPACING_MM / (2 * np.log(2) ** 0.5 / 2**0.5)
# Uniform noise from -1 to 1 has standard deviation 3^-0.5, and smoothing divides it by 2 sigma pi^0.5.
ALPHA = ALWAYS.elastic_sd_mm / SPACING_MM * 3**0.5 * 2 * np.pi**0.5


def main() -> None:
    """Prints one JSON line; `times_faster` is the figure that is to reach 20."""
    image_hu, mask, spacing_mm = _batch(4)
    fused = jax.jit(partial(augment, augmentation=ALWAYS))
    keys = iter(jax.random.split(jax.random.key(0), 200))
    wide_chain, narrow_chain = (jax.jit(partial(_chain, sigma=sigma)) for sigma in (SIGMA, SIGMA / 10))
    calls = {
        "one": lambda: fused(next(keys), image_hu[:1], mask[:1], spacing_mm[:1]),
        "four": lambda: fused(next(keys), image_hu, mask, spacing_mm),
        "wide": lambda: wide_chain(next(keys), image_hu[0], mask[0]),
        "narrow": lambda: narrow_chain(next(keys), image_hu[0], mask[0]),
    }
    one, four, wide, narrow = in_turns(calls, rounds=9).values()
    report(
        "augmentation",
        fused_ms=round(one * 1e3, 2),
        fused_batch_of_4_ms=round(four * 1e3, 2),
        dm_pix_ms=round(wide * 1e3, 1),
        times_faster=round(wide / one, 1),
        dm_pix_narrow_ms=round(narrow * 1e3, 1),
        times_faster_than_narrow=round(narrow / one, 1),
    )


def _chain(key, image_hu, mask, sigma):
    image = _moved(key, image_hu.astype(jnp.float32), sigma, order=1, cval=-1024.0)
    return image, _moved(key, mask.astype(jnp.float32), sigma, order=0, cval=0.0)


def _moved(key, image, sigma, **sampling):
    turn, enlarge, deform = jax.random.split(key, 3)
    radians = jax.random.uniform(turn, minval=-1.0, maxval=1.0) * np.deg2rad(ALWAYS.rotation_degrees)
    scale = 1 + jax.random.uniform(enlarge, minval=-1.0, maxval=1.0) * ALWAYS.scale
    centre = (SIZE - 1) / 2 * (1 - 1 / scale)
    sampling["mode"] = "constant"
    image = dm_pix.flip_left_right(image[..., None])
    image = dm_pix.rotate(image, radians, **sampling)
    image = dm_pix.affine_transform(
        image, jnp.diag(jnp.stack([1 / scale, 1 / scale, 1.0])), offset=jnp.stack([centre, centre, 0.0]), **sampling
    )
    return jnp.squeeze(dm_pix.elastic_deformation(deform, image, alpha=ALPHA * sigma, sigma=sigma, **sampling), -1)


def _batch(count):
    random = np.random.default_rng(0)
    image_hu = random.integers(-1024, 1500, (count, SIZE, SIZE), np.int16)
    mask = random.integers(0, 2, (count, SIZE, SIZE), np.uint8)
    return jnp.asarray(image_hu), jnp.asarray(mask), jnp.full((count, 2), SPACING_MM)


if __name__ == "__main__":
    main()
