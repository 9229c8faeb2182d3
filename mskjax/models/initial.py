"""Initialisers of PyTorch, drawn by numpy on the host.

XLA takes some twenty seconds to compile the random numbers of a ResNet101; numpy draws them in one, the same on every
backend and for any number of devices. Each initialiser has Flax's signature `(key, shape, dtype) -> Array`, the kernel
layouts are Flax's, (h, w, in, out) and (in, out), and a call also works under `jit` and `eval_shape`.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.nn.initializers import Initializer

from mskjax.types import Key


def kaiming_normal_fan_out(key: Key, shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    """A kernel of standard deviation sqrt(2 / fan_out), fan_out being out times h times w; torchvision's ResNet."""
    fan_out = math.prod(shape) / shape[-2]
    std = math.sqrt(2 / fan_out)
    return _draw(lambda rng, dtype: std * rng.standard_normal(shape, dtype), key, shape, dtype)


def uniform_fan_in(key: Key, shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    """A kernel within +-1 / sqrt(fan_in), what PyTorch gives Conv and Linear by default."""
    return uniform(1 / math.sqrt(math.prod(shape[:-1])))(key, shape, dtype)


def uniform(bound: float) -> Initializer:
    """The initialiser of values within +-`bound`; PyTorch gives a bias the bound of its kernel."""

    def initialiser(key: Key, shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
        return _draw(lambda rng, dtype: bound * (2 * rng.random(shape, dtype) - 1), key, shape, dtype)

    return initialiser


def _draw(sample: Callable[[np.random.Generator, Any], np.ndarray], key: Key, shape: Any, dtype: Any) -> Array:
    """What `sample` makes with a generator seeded by `key`."""

    def on_host(seed: Any) -> np.ndarray:
        return sample(np.random.default_rng(np.asarray(seed).ravel()), dtype).astype(dtype)

    return jax.pure_callback(
        on_host, jax.ShapeDtypeStruct(shape, dtype), jax.random.key_data(key), vmap_method="sequential"
    )
