"""A convolution of images in the form that each backend computes fastest.

XLA's CPU backend convolves images about as fast as it multiplies matrices, and both near the processor's peak. A kernel
of three rows with many weights goes faster all the same by Winograd's minimal filtering, which takes two products of
matrices where the definition takes three; and so do its gradients, one of which XLA's own convolution would compute at
a third of that speed. The form is chosen as the program is lowered; on GPU and TPU it is the convolution.
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
    convolve = _convolve if kernel.shape[2] * kernel.shape[3] < MANY else _convolve_with_many
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


# Many layers of a network are alike, and under `jit` their forms are traced once for all of them.
@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
@functools.partial(jax.jit, static_argnums=2)
def _convolve_with_many(image: Image, kernel: Kernel, window: Window) -> Convolved:
    form = functools.partial(_convolve, window=window)
    if not _is_minimal(image, kernel, window):
        return form(image, kernel)
    return lax.platform_dependent(image, kernel, cpu=functools.partial(_filter_minimally, window=window), default=form)


def _forward(image: Image, kernel: Kernel, window: Window) -> tuple[Convolved, tuple[Image, Kernel]]:
    return _convolve_with_many(image, kernel, window), (image, kernel)


@functools.partial(jax.jit, static_argnums=0)
def _backward(window: Window, saved: tuple[Image, Kernel], gradient: Convolved) -> tuple[Image, Kernel]:
    minimal = functools.partial(_gradients, form=_filter_minimally)
    forms = {"cpu": minimal if _is_minimal(*saved, window) else _gradients_by_products, "default": _gradients}
    bound = {platform: functools.partial(form, window=window) for platform, form in forms.items()}
    return lax.platform_dependent(*saved, gradient, **bound)


_convolve_with_many.defvjp(_forward, _backward)


def _gradients(
    image: Image, kernel: Kernel, gradient: Convolved, window: Window, form: Callable[..., Convolved] = _convolve
) -> tuple[Image, Kernel]:
    _, transpose = jax.vjp(functools.partial(form, window=window), image, kernel)
    return transpose(gradient)


def _is_minimal(image: Image, kernel: Kernel, window: Window) -> bool:
    return kernel.shape[0] == 3 and window.stride == 1 and image.dtype.itemsize >= 4


def _filter_minimally(image: Image, kernel: Kernel, window: Window) -> Convolved:
    """A convolution with three rows at stride 1 by F(2, 3) of S. Winograd (Lavin and Gray, CVPR 2016), along rows.

    Two output rows that lie `dilation` apart take four input rows: of their sums and differences each is convolved with
    one of four sums of the kernel's rows, where the two would each take all three. In floating point the results are
    as good as the definition's, but not the same.
    """
    dilation, reach = window.dilation, window.padding[0]
    height = image.shape[1] + 2 * reach - 2 * dilation
    pairs = -(-height // (2 * dilation))
    below = 2 * dilation * (pairs + 1) - image.shape[1] - reach
    padded = jnp.pad(image, [(0, 0), (reach, below), (0, 0), (0, 0)])
    halves = padded.reshape(image.shape[0], pairs + 1, 2, dilation, *image.shape[2:])
    first, second = halves[:, :-1, 0], halves[:, :-1, 1]
    third, fourth = halves[:, 1:, 0], halves[:, 1:, 1]
    top, middle, bottom = kernel
    ends, middle = (top + bottom) / 2, middle / 2
    convolve = functools.partial(_convolve_columns, dilation=dilation, reach=window.padding[1])
    of_first = convolve(first - third, top)
    of_sum = convolve(second + third, ends + middle)
    of_difference = convolve(third - second, ends - middle)
    of_fourth = convolve(second - fourth, bottom)
    rows = jnp.stack([of_first + of_sum + of_difference, of_sum - of_difference - of_fourth], 2)
    return rows.reshape(image.shape[0], -1, *rows.shape[-2:])[:, :height]


def _convolve_columns(
    rows: Float[Array, "b *h w c"], kernel: Float[Array, "kw c f"], dilation: int, reach: int
) -> Float[Array, "b *h x f"]:
    """Each row's convolution: the sum of its products with the kernel's pixels, each moved to where that pixel lies."""
    width = rows.shape[-2] + 2 * reach - dilation * (len(kernel) - 1)
    pixels = rows.reshape(-1, rows.shape[-1])
    around = [(0, 0)] * (rows.ndim - 2) + [(reach, reach), (0, 0)]
    products = (jnp.pad((pixels @ one).reshape(*rows.shape[:-1], -1), around) for one in kernel)
    moved = (
        lax.slice_in_dim(product, start * dilation, start * dilation + width, axis=-2)
        for start, product in enumerate(products)
    )
    return functools.reduce(jnp.add, moved)


def _gradients_by_products(image: Image, kernel: Kernel, gradient: Convolved, window: Window) -> tuple[Image, Kernel]:
    """The kernel's is for each of its pixels the product of those of the image that it has met, and the gradient."""
    of_image = jax.linear_transpose(lambda image: _convolve(image, kernel, window), image)
    padded = jnp.pad(image, [(0, 0), *((reach, reach) for reach in window.padding), (0, 0)])
    rows = gradient.reshape(-1, gradient.shape[-1])
    starts = itertools.product(*([window.dilation * n for n in range(length)] for length in kernel.shape[:2]))
    met = (_cut(padded, start, gradient.shape, window.stride).reshape(-1, image.shape[-1]) for start in starts)
    return of_image(gradient)[0], jnp.stack([pixels.T @ rows for pixels in met]).reshape(kernel.shape)


def _cut(padded: Array, start: tuple[int, ...], shape: tuple[int, ...], stride: int) -> Array:
    """Every `stride`-th row and column from `start` on, as many as `shape` has."""
    rows, columns = (
        slice(first, first + (count - 1) * stride + 1, stride) for first, count in zip(start, shape[1:3], strict=True)
    )
    return padded[:, rows, columns]
