"""What BatchNorm normalises by, with a derivative that takes one pass less over the values."""

import math

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

Channels = Float[Array, " c"]


@jax.jit  # which traces it once for all layers of a shape
def moments(values: Float[Array, "b *space c"]) -> tuple[Channels, Channels]:
    """The mean and the biased variance of each channel; `ValueError` where a channel has one value only."""
    if math.prod(values.shape[:-1]) < 2:
        raise ValueError(
            f"a batch of shape {values.shape} has one value a channel, which has no variance to train BatchNorm on; "
            "use a larger batch or image"
        )
    return _moments(values)


@jax.custom_jvp
def _moments(values: Array) -> tuple[Array, Array]:
    axes = tuple(range(values.ndim - 1))
    mean = values.mean(axes)
    return mean, jnp.square(values - mean).mean(axes)


@_moments.defjvp
def _changes(primals: tuple[Array], tangents: tuple[Array]) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """As deviations from the mean add up to 0, the mean's own change does not move the variance.

    Left to itself, JAX sums what would be 0 but for rounding, and XLA's CPU backend writes it down to do so.
    """
    (values,), (change,) = primals, tangents
    mean, variance = _moments(values)
    axes = tuple(range(values.ndim - 1))
    return (mean, variance), (change.mean(axes), 2 * ((values - mean) * change).mean(axes))
