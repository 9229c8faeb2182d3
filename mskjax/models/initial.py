"""Initialisers of PyTorch and Keras, and a host generator that spares them XLA.

XLA compiles the random numbers of a ResNet101 for some twenty seconds. Under `drawn_on_host` the same initialisers take
them from numpy in one second, alike on every backend and for any number of devices. Kernel layouts are Flax's,
(h, w, in, out) and (in, out).
"""

import functools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mskjax.types import Key

Shape = tuple[int, ...]
Initialiser = Callable[[Key, Shape, Any], Array | np.ndarray]

NOTHING = object()  # in place of a generator: no numbers are wanted
_generator: ContextVar[Any] = ContextVar("_generator", default=None)
_is_drawn: ContextVar[bool] = ContextVar("_is_drawn", default=True)


@contextmanager
def drawn_on_host(key: Key) -> Iterator[None]:
    """Under it, the initialisers draw in the order of their calls from one numpy generator that `key` seeds."""
    drawn = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel()) if _is_drawn.get() else NOTHING
    token = _generator.set(drawn)
    try:
        yield
    finally:
        _generator.reset(token)


@contextmanager
def undrawn() -> Iterator[None]:
    """Under it, `drawn_on_host` gives zeros at once, for who wants shapes and types alone."""
    token = _is_drawn.set(False)
    try:
        yield
    finally:
        _is_drawn.reset(token)


def filled(value: float, shape: Shape, dtype: Any = jnp.float32) -> Array | np.ndarray:
    """A constant, as the scale and the statistics of BatchNorm begin."""
    return (jnp if _generator.get() is None else np).full(shape, value, dtype)


def kaiming_normal_fan_out(key: Key, shape: Shape, dtype: Any = jnp.float32) -> Array | np.ndarray:
    """A kernel of standard deviation sqrt(2 / fan_out), fan_out being out times h times w; torchvision's ResNet."""
    return _normal(math.sqrt(2 / (math.prod(shape) / shape[-2])), key, shape, dtype)


def kaiming_normal_fan_in(key: Key, shape: Shape, dtype: Any = jnp.float32) -> Array | np.ndarray:
    """A kernel of standard deviation sqrt(2 / fan_in), fan_in being in times h times w; torchvision's DenseNet."""
    return _normal(math.sqrt(2 / math.prod(shape[:-1])), key, shape, dtype)


def glorot_uniform(key: Key, shape: Shape, dtype: Any = jnp.float32) -> Array | np.ndarray:
    """A kernel within +-sqrt(6 / (fan_in + fan_out)), which are times h times w; what Keras gives its layers."""
    fans = math.prod(shape[:-2]) * (shape[-2] + shape[-1])
    return _uniform(math.sqrt(6 / fans), key, shape, dtype)


def normal_002(key: Key, shape: Shape, dtype: Any = jnp.float32) -> Array | np.ndarray:
    """Numbers of standard deviation 0.02, as vision transformers begin; they cut them off at 100 such deviations."""
    return _normal(0.02, key, shape, dtype)


def uniform_fan_in(key: Key, shape: Shape, dtype: Any = jnp.float32) -> Array | np.ndarray:
    """A kernel within +-1 / sqrt(fan_in), fan_in being in times h times w; what PyTorch gives Conv2d and Linear."""
    return bias_of(shape)(key, shape, dtype)


def bias_of(kernel_shape: Shape) -> Initialiser:
    """The initialiser of a bias, within the same bounds as `uniform_fan_in` of its kernel; PyTorch's default."""
    return functools.partial(_uniform, 1 / math.sqrt(math.prod(kernel_shape[:-1])))


def _normal(std: float, key: Key, shape: Shape, dtype: Any) -> Array | np.ndarray:
    generator = _generator.get()
    if generator is None:
        return std * jax.random.normal(key, shape, dtype)
    if generator is NOTHING:
        return _undrawn(shape, dtype)
    return std * generator.standard_normal(shape, dtype)


def _uniform(bound: float, key: Key, shape: Shape, dtype: Any) -> Array | np.ndarray:
    generator = _generator.get()
    if generator is None:
        return jax.random.uniform(key, shape, dtype, -bound, bound)
    if generator is NOTHING:
        return _undrawn(shape, dtype)
    return bound * (2 * generator.random(shape, dtype) - 1)


def _undrawn(shape: Shape, dtype: Any) -> np.ndarray:
    """Zeros that take no room."""
    return np.broadcast_to(np.zeros((), dtype), shape)
