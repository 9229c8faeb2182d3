"""A convolution of images whose kernel's gradient is computed in the form that each backend computes fastest.

XLA's CPU backend convolves images, and turned kernels with gradients, as fast as it multiplies matrices. A gradient of
a kernel with many weights it computes at a third of that speed, after turning both operands around. There it is one
matrix product for each pixel of the kernel, of shifted images with the gradient. The form is chosen as the program is
lowered; on GPU and TPU it is the convolution that JAX makes of it.
"""

import functools
import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

MANY = 256 * 256  # channels times features; below, the convolutions of XLA's CPU backend are faster

Image = Float[Array, "b h w c"]
Kernel = Float[Array, "kh kw c f"]
Convolved = Float[Array, "b y x f"]


class Window(NamedTuple):
    """How a kernel goes over an image: the step, the distance of its pixels, and zeros on each side of each axis."""

    stride: int
    dilation: int
    padding: tuple[int, int]


def convolve_image(image: Image, kernel: Kernel, window: Window) -> Convolved:
    """The image's convolution."""
    convolve = _convolve if kernel.shape[2] * kernel.shape[3] < MANY else _with_products
    return convolve(image, kernel, window)


def _convolve(image: Image, kernel: Kernel, window: Window) -> Convolved:
    return lax.conv_general_dilated(
        image,
        kernel,
        window_strides=(window.stride,) * 2,
        padding=[(reach, reach) for reach in window.padding],
        rhs_dilation=(window.dilation,) * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _with_products(image: Image, kernel: Kernel, window: Window) -> Convolved:
    return _convolve(image, kernel, window)


def _forward(image: Image, kernel: Kernel, window: Window) -> tuple[Convolved, tuple[Image, Kernel]]:
    return _convolve(image, kernel, window), (image, kernel)


def _backward(window: Window, saved: tuple[Image, Kernel], gradient: Convolved) -> tuple[Image, Kernel]:
    image, kernel = saved
    (of_image,) = jax.linear_transpose(lambda image: _convolve(image, kernel, window), image)(gradient)
    forms: dict[str, Callable[[Array, Array], Array]] = {
        "cpu": lambda image, gradient: _by_products(image, gradient, kernel.shape[:2], window),
        "default": lambda image, gradient: _by_convolution(image, gradient, kernel, window),
    }
    return of_image, lax.platform_dependent(image, gradient, **forms)


_with_products.defvjp(_forward, _backward)


def _by_convolution(image: Image, gradient: Convolved, kernel: Kernel, window: Window) -> Kernel:
    (of_kernel,) = jax.linear_transpose(lambda kernel: _convolve(image, kernel, window), kernel)(gradient)
    return of_kernel


def _by_products(image: Image, gradient: Convolved, size: tuple[int, ...], window: Window) -> Kernel:
    """For each pixel of the kernel, the sum of the products of the gradient with the pixels that this one has met.

    Whichever has fewer channels is shifted against the other; the gradient only where it lies on the image's own grid.
    """
    spans = [window.dilation * (length - 1) for length in size]
    shifts = itertools.product(*(range(0, span + 1, window.dilation) for span in spans))
    if window.stride > 1 or image.shape[-1] < gradient.shape[-1]:
        padded = _padded(image, window.padding)
        pairs = [(_cut(padded, shift, gradient.shape, window.stride), gradient) for shift in shifts]
    else:
        padded = _padded(gradient, [span - reach for span, reach in zip(spans, window.padding, strict=True)])
        turned = ([span - start for span, start in zip(spans, shift, strict=True)] for shift in shifts)
        pairs = [(image, _cut(padded, shift, image.shape, 1)) for shift in turned]
    return jnp.stack([_product(*pair) for pair in pairs]).reshape(*size, image.shape[-1], gradient.shape[-1])


def _padded(values: Array, reaches: tuple[int, int] | list[int]) -> Array:
    return jnp.pad(values, [(0, 0), *((reach, reach) for reach in reaches), (0, 0)])


def _cut(padded: Array, start: tuple[int, ...] | list[int], shape: tuple[int, ...], stride: int) -> Array:
    """Every `stride`-th row and column from `start` on, as many as `shape` has."""
    rows, columns = (
        slice(first, first + (count - 1) * stride + 1, stride) for first, count in zip(start, shape[1:3], strict=True)
    )
    return padded[:, rows, columns]


def _product(image: Float[Array, "b y x c"], gradient: Float[Array, "b y x f"]) -> Float[Array, "c f"]:
    pixels, gradients = (values.reshape(-1, values.shape[-1]) for values in (image, gradient))
    return pixels.T @ gradients
