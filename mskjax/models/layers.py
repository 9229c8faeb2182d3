"""Layers with PyTorch's semantics that flax.linen lacks or does otherwise; images are NHWC, volumes NDHWC.

Parameters, statistics and all normalising arithmetic are float32 (float64 where `dtype` is), whatever `dtype` the rest
is computed in.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.linen.dtypes import promote_dtype
from jax import Array, lax
from jaxtyping import Float

from mskjax.models.convolution import convolve_volume
from mskjax.models.image_convolution import Window, convolve_image
from mskjax.models.initial import Initialiser, bias_of, filled, kaiming_normal_fan_out, uniform_fan_in
from mskjax.models.moments import moments

Padding = Literal["same", "valid"]


def parameter_dtype(dtype: Any) -> Any:
    """The type of the parameters of a network that computes in `dtype`: float32, or float64 for float64."""
    return jnp.promote_types(dtype, jnp.float32)


class Conv(nn.Module):
    """A convolution over all axes between the first and the last, with a kernel of `size`: its side, or one each axis.

    "same" pads all sides by dilation * (size - 1) / 2 as torchvision does, which at stride 1 is Keras's "same" too;
    "valid" does not pad and refuses an image that is smaller than the kernel.

    A kernel of side 1 is applied as a matrix product: XLA's CPU backend takes a quarter of the time for its gradients,
    and on GPU and TPU the two are the same.
    """

    features: int
    size: int | tuple[int, ...] = 1
    stride: int = 1
    dilation: int = 1
    use_bias: bool = False
    padding: Padding = "same"
    kernel_init: Initialiser = kaiming_normal_fan_out
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: Float[Array, "b *space c"]) -> Float[Array, "b *convolved {self.features}"]:
        """The image's convolution; "same" divides each of its sides by the stride, rounded up."""
        size = (self.size,) * (image.ndim - 2) if isinstance(self.size, int) else self.size
        shape = (*size, image.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, parameter_dtype(self.dtype))
        image, kernel = promote_dtype(image, kernel, dtype=self.dtype)
        convolved = self._convolve(image, kernel)
        if not self.use_bias:
            return convolved
        bias = self.param("bias", bias_of(shape), (self.features,), parameter_dtype(self.dtype))
        return convolved + bias.astype(self.dtype)

    def _convolve(self, image: Array, kernel: Array) -> Array:
        size = kernel.shape[:-2]
        if set(size) == {1}:
            return _multiplied(image, kernel, self.stride)
        spans = [self.dilation * (length - 1) for length in size]
        if self.padding == "valid":
            _check_fits(image, spans)
        if size == (3, 3, 3) and (self.stride, self.dilation, self.padding) == (1, 1, "same"):
            return convolve_volume(image, kernel)
        padding = [0 if self.padding == "valid" else span // 2 for span in spans]
        if len(size) == 2:
            return convolve_image(image, kernel, Window(self.stride, self.dilation, (padding[0], padding[1])))
        axes = "DHW"[-len(size) :]
        return lax.conv_general_dilated(
            image,
            kernel,
            window_strides=[self.stride] * len(size),
            padding=[(reach, reach) for reach in padding],
            rhs_dilation=[self.dilation] * len(size),
            dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
        )


@functools.partial(jax.jit, static_argnums=2)
def _multiplied(image: Array, kernel: Array, stride: int) -> Array:
    step = slice(None, None, stride)
    image = image[(slice(None), *(step for _ in image.shape[1:-1]))]
    rows = image.reshape(-1, image.shape[-1]) @ kernel.reshape(kernel.shape[-2:])
    return rows.reshape(*image.shape[:-1], -1)


class Linear(nn.Module):
    """PyTorch's Linear with its initialisers, over the last axis.

    It computes in `dtype`, or where none is named in the features' own and at least in float32, as heads do.
    """

    features: int
    use_bias: bool = True
    kernel_init: Initialiser = uniform_fan_in
    bias_init: Initialiser | None = None
    dtype: Any = None

    @nn.compact
    def __call__(self, features: Float[Array, "*b c"]) -> Float[Array, "*b {self.features}"]:
        """The features' product with the kernel, and the bias."""
        shape, dtype = (features.shape[-1], self.features), self.dtype or parameter_dtype(features.dtype)
        kernel = self.param("kernel", self.kernel_init, shape, parameter_dtype(dtype))
        product = features.astype(dtype) @ kernel.astype(dtype)
        if not self.use_bias:
            return product
        bias_init = self.bias_init or bias_of(shape)
        return product + self.param("bias", bias_init, (self.features,), parameter_dtype(dtype)).astype(dtype)


class LayerNorm(nn.Module):
    """PyTorch's LayerNorm over the last axis: the variance is the biased one, of the deviations from the mean."""

    epsilon: float = 1e-5
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, features: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
        """The features, each position normalised by itself, of type `dtype`."""
        dtype, shape = parameter_dtype(self.dtype), features.shape[-1:]
        scale = self.param("scale", lambda key: filled(1.0, shape, dtype))
        bias = self.param("bias", lambda key: filled(0.0, shape, dtype))
        deviations = features.astype(dtype)
        deviations -= deviations.mean(-1, keepdims=True)
        factor = lax.rsqrt(jnp.square(deviations).mean(-1, keepdims=True) + self.epsilon)
        return (deviations * factor * scale + bias).astype(self.dtype)


class BatchNorm(nn.Module):
    """PyTorch's BatchNorm2d or 3d over a whole batch, also one that is sharded over devices under `jit`.

    As in PyTorch, and unlike flax.linen, the running variance takes in the unbiased variance n / (n - 1) of a batch,
    which itself is normalised by the biased one. `momentum` weighs the old statistics: PyTorch's 0.1 is 0.9 here.
    Without `use_scale` there is no parameter "scale", as with Keras's `scale=False`.
    """

    epsilon: float = 1e-5
    momentum: float = 0.9
    use_scale: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: Float[Array, "b *space c"], *, train: bool) -> Float[Array, "b *space c"]:
        """The image normalised by its own statistics in training, which are then taken in, else by the running ones."""
        dtype, shape = parameter_dtype(self.dtype), image.shape[-1:]
        scale = self.param("scale", lambda key: filled(1.0, shape, dtype)) if self.use_scale else None
        bias = self.param("bias", lambda key: filled(0.0, shape, dtype))
        running_mean = self.variable("batch_stats", "mean", filled, 0.0, shape, dtype)
        running_var = self.variable("batch_stats", "var", filled, 1.0, shape, dtype)
        values = image.astype(dtype)
        mean, var = running_mean.value, running_var.value
        if train:
            mean, var = moments(values)
            if not self.is_initializing():
                count = math.prod(image.shape[:-1])
                running_mean.value = self._blend(running_mean.value, mean)
                running_var.value = self._blend(running_var.value, var * (count / (count - 1)))
        return _normalised(values, mean, var + self.epsilon, scale, bias).astype(self.dtype)

    def _blend(self, running: Any, batch: Array) -> Array:
        return self.momentum * running + (1 - self.momentum) * lax.stop_gradient(batch)


@jax.jit  # traced once for all layers of a shape, here and below, which is much of a large network's time to start
def _normalised(values: Array, mean: Array, var: Array, scale: Array | None, bias: Array) -> Array:
    factor = lax.rsqrt(var)
    if scale is not None:
        factor = scale * factor
    return values * factor + (bias - mean * factor)


def max_pool(image: Float[Array, "b h w c"], *, padding: Padding = "same") -> Float[Array, "b _ _ c"]:
    """The maximum of each 3x3 window at stride 2; "same" pads the image by one pixel that is never the maximum.

    Over rows, then columns, as strided slices: on CPU seven times as fast in training as `nn.max_pool`, whose gradient
    also has no deterministic form on GPU. Pixels that tie share the gradient. "valid" leaves out what no whole window
    reaches, and refuses an image that is smaller than one.
    """
    if padding == "valid":
        _check_fits(image, (2, 2))
    reach = 1 if padding == "same" else 0
    for axis in (1, 2):
        image = _pool_along(axis, image, jnp.maximum, padding=(reach, -jnp.inf), stride=2)
    return image


def average_pool(image: Float[Array, "b h w c"], *, count_padding: bool) -> Float[Array, "b h w c"]:
    """The mean of each 3x3 window at stride 1, on the image's own grid.

    At the edge a window holds zeros with `count_padding`, as in torch's `avg_pool2d`; else its mean is of the pixels
    within the image, as with Keras's padding "same". Keeps the type; the sums are float32, or float64 where it is.
    """
    pooled = image.astype(parameter_dtype(image.dtype))
    for axis in (1, 2):
        ones = np.ones(image.shape[axis])
        counts = 3 * ones if count_padding else np.convolve(ones, np.ones(3), "full")[1:-1]
        shape = [-1 if n == axis else 1 for n in range(4)]
        pooled = _pool_along(axis, pooled, jnp.add, padding=(1, 0.0), stride=1)
        pooled *= jnp.asarray(1 / counts.reshape(shape), pooled.dtype)
    return pooled.astype(image.dtype)


def _pool_along(
    axis: int, image: Array, combine: Callable[[Array, Array], Array], *, padding: tuple[int, float], stride: int
) -> Array:
    """What `combine` makes of each three neighbours; `padding` is the number of pixels on each side and their value."""
    reach, value = padding
    widths = [(0, 0)] * 4
    widths[axis] = (reach, reach)
    padded = jnp.pad(image, widths, constant_values=value)
    last = padded.shape[axis] - 3
    slices = (lax.slice_in_dim(padded, first, last + first + 1, stride, axis) for first in range(3))
    return functools.reduce(combine, slices)


def _check_fits(image: Array, spans: Sequence[int]) -> None:
    sides = image.shape[1:-1]
    if any(side <= span for side, span in zip(sides, spans, strict=True)):
        shrunk, window = ("x".join(map(str, lengths)) for lengths in (sides, (span + 1 for span in spans)))
        raise ValueError(f"an image has shrunk to {shrunk} pixels before a window of {window}; use a larger image")


def resize_bilinear(image: Float[Array, "b h w c"], height: int, width: int) -> Float[Array, "b {height} {width} c"]:
    """The image enlarged as by PyTorch's bilinear interpolation with align_corners=False; keeps the type."""
    rows, columns = (
        jnp.asarray(_bilinear_weights(*sizes), image.dtype)
        for sizes in ((image.shape[1], height), (image.shape[2], width))
    )
    return jnp.einsum("yh,xw,bhwc->byxc", rows, columns, image, precision=lax.Precision.HIGHEST)


@functools.cache
def _bilinear_weights(size: int, new_size: int) -> np.ndarray:
    """The weights [new_size, size] of old pixels in new ones; pixels beyond the edge repeat the edge's."""
    position = np.clip((np.arange(new_size) + 0.5) * size / new_size - 0.5, 0, size - 1)
    return np.clip(1 - np.abs(position[:, None] - np.arange(size)), 0, None)
