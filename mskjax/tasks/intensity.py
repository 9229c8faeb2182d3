"""From HU to a network's input, as all tasks of study A do it: a window to [0, 1], three copies, ImageNet's moments."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Num

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def window(values_hu: Num[Array, "*shape"], window_hu: float, level_hu: float) -> Float[Array, "*shape"]:
    """HU within `level_hu` +- `window_hu` / 2 as [0, 1]; what lies outside is clipped."""
    return jnp.clip((values_hu - (level_hu - window_hu / 2)) / window_hu, 0, 1)


def imagenet(image: Float[Array, "b h w"]) -> Float[Array, "b h w 3"]:
    """Three copies of images in [0, 1], less ImageNet's mean, by its standard deviation."""
    return (image[..., None] - jnp.array(IMAGENET_MEAN, image.dtype)) / jnp.array(IMAGENET_STD, image.dtype)
