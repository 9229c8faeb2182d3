"""LIME: which superpixels of an image raise a probability (Ribeiro et al. 2016), with the lime package's definitions.

Superpixels are hidden at random, and a linear model is fitted to what the network then says: ridge regression with
penalty 1 and a free intercept, in which perturbations near the image count more: exp(-d^2 / 0.25^2)^(1/2), d being the
cosine distance to the image with nothing hidden. On purpose otherwise than in the package: SLIC makes the superpixels,
the perturbed images exist only on the device, batch by batch, and all run through one compiled call.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jaxtyping import Bool, Float, Float32, Float64, Int32, Integer, Num

from mskjax.explain.superpixels import numbered, superpixels
from mskjax.types import Key

KERNEL_WIDTH = 0.25
PENALTY = 1.0


def lime(
    predict: Callable[..., Any],
    image: Num[Array | np.ndarray, "..."],
    samples: int,
    key: Key,
    *,
    target: int | None = None,
    segments: Num[Array | np.ndarray, "..."] | None = None,
    fill: int | float | None = None,
    batch_size: int = 32,
) -> Float32[np.ndarray, "b h w"]:
    """Maps of coefficients: how much the probability falls, by the linear model, when a pixel's superpixel is hidden.

    `image` is one, [h, w] or [h, w, 3], or a batch [b, h, w] or [b, h, w, 3]; `predict` gets images [n, h, w, 3], a
    grey one three times, and returns probabilities [n], or [n, k], of which column `target` is explained, or else the
    one that is highest for the image itself. It is traced by JAX and compiled once for each image size and each
    function; `jax.tree_util.Partial(function, weights)` keeps weights out of what is compiled.

    The first of `samples` perturbations is the image, in the others each superpixel is hidden with probability 1/2,
    drawn from `key` and the image's place in the batch. Hidden pixels take their superpixel's mean, or the value
    `fill`. `segments` [h, w] or [b, h, w] takes the place of `superpixels(image)`. Equal arguments give equal maps.

    Raises `ValueError` for other shapes, for values or probabilities that are not finite and for numbers below 1.
    """
    if samples < 1 or batch_size < 1:
        raise ValueError(f"samples is {samples} and batch_size {batch_size}; both must be at least 1")
    images = _as_batch(np.asarray(image, np.float32))
    given = _as_segments(segments, images)
    function = predict if isinstance(predict, Partial) else Partial(predict)
    maps = np.empty(images.shape[:3], np.float32)
    for i, original in enumerate(images):
        patches = superpixels(original) if given is None else numbered(given[i])
        hidden = _means(original, patches) if fill is None else np.full_like(original, fill)
        shown = draw(jax.random.fold_in(key, i), samples, int(patches.max()) + 1)
        answers = _predict_all(function, original, hidden, patches, shown, min(batch_size, samples))
        maps[i] = coefficients(shown[:, : patches.max() + 1], _probability(answers, target))[patches]
    return maps


def draw(key: Key, samples: int, count: int) -> Bool[np.ndarray, "samples width"]:
    """Which superpixels each perturbation shows: all in the first, each with probability 1/2 in the others.

    `count` is rounded up to a power of two, so that images with nearly as many superpixels share what is compiled.
    """
    width = 1 << (count - 1).bit_length()
    shown = np.array(jax.random.bernoulli(key, 0.5, (samples, width)))
    shown[0] = True
    return shown


def coefficients(
    shown: Bool[np.ndarray, "samples count"], probability: Float[np.ndarray, " samples"]
) -> Float64[np.ndarray, " count"]:
    """The linear model's coefficient for each superpixel, in closed form."""
    features = shown.astype(np.float64)
    # The cosine of a row of zeros and ones with a row of ones alone; its distance to an empty row is 1.
    distance = 1 - np.sqrt(features.mean(axis=1))
    weight = np.sqrt(np.exp(-(distance**2) / KERNEL_WIDTH**2))
    features -= np.average(features, axis=0, weights=weight)
    weighted = features.T * weight
    centred = probability - np.average(probability, weights=weight)
    return np.linalg.solve(weighted @ features + PENALTY * np.eye(len(weighted)), weighted @ centred)


@functools.partial(jax.jit, static_argnums=5)
def _predict_all(
    predict: Partial,
    image: Float[Array, "h w 3"],
    hidden: Float[Array, "h w 3"],
    segments: Int32[Array, "h w"],
    shown: Bool[Array, "samples count"],
    batch_size: int,
) -> Float[Array, "samples *k"]:
    """What the network says of each perturbation; the last batch is filled up with images in which all is hidden."""
    samples = len(shown)
    batches = -(-samples // batch_size)
    size = -(-samples // batches)  # of batches as even as can be, so that little is filled up
    rows = jnp.pad(shown, ((0, batches * size - samples), (0, 0))).reshape(batches, size, -1)

    def answer(shown: Array) -> Array:
        return predict(jnp.where(shown[:, segments, None], image, hidden))

    answers = jax.lax.map(answer, rows)
    if answers.ndim not in (2, 3) or answers.shape[1] != size:
        raise ValueError(f"predict gives {list(answers.shape[1:])} for {size} images; it must give [n] or [n, k]")
    return answers.reshape(-1, *answers.shape[2:])[:samples]


def _probability(answers: Array, target: int | None) -> Float64[np.ndarray, " samples"]:
    """The column to be explained."""
    values = np.asarray(answers, np.float64)
    if not np.isfinite(values).all():
        raise ValueError("predict gives values that are not finite; nothing can be explained by them")
    if values.ndim == 1:
        values, target = values[:, None], target or 0
    target = int(values[0].argmax()) if target is None else target
    if not 0 <= target < values.shape[1]:
        raise ValueError(f"target is {target}; predict gives the classes 0 to {values.shape[1] - 1}")
    return values[:, target]


def _as_batch(image: Float32[np.ndarray, "..."]) -> Float32[np.ndarray, "b h w 3"]:
    """Three axes that end in 3 are one image in colour, other three are grey images."""
    if not (2 <= image.ndim <= 4 and image.size) or (image.ndim == 4 and image.shape[-1] != 3):
        raise ValueError(f"the image has shape {image.shape}; give [h, w] or [h, w, 3], or a batch of either")
    if image.ndim == 2 or (image.ndim == 3 and image.shape[-1] == 3):
        image = image[None]
    return image if image.ndim == 4 else np.repeat(image[..., None], 3, axis=-1)


def _as_segments(segments: Any, images: np.ndarray) -> Integer[np.ndarray, "b h w"] | None:
    if segments is None:
        return None
    array, shape = np.asarray(segments), images.shape[:3]
    if array.shape not in (shape, shape[1:]) or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"segments are {array.dtype}{list(array.shape)}; give whole numbers {list(shape)}")
    return np.broadcast_to(array, shape)


def _means(image: Float32[np.ndarray, "h w 3"], segments: Int32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w 3"]:
    """Each pixel's superpixel's mean."""
    labels = segments.ravel()
    sums = [np.bincount(labels, channel) for channel in image.reshape(-1, 3).T]
    return (np.stack(sums, axis=-1) / np.bincount(labels)[:, None]).astype(np.float32)[segments]
