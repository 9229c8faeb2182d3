"""ReLU as a selection, which computes the same as a maximum and keeps XLA from computing it again and again.

XLA fuses a maximum into each of its uses, and with it what it is the maximum of. In a residual network that is the sum
of all blocks before, which XLA's CPU backend then reads and adds up anew in each block. It does not duplicate what has
two large operands, as a selection does, where one of the uses is a convolution: the result is written once.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


@jax.jit  # which traces it once for all layers of a shape
def relu(values: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The positive part; NaN stays. The derivative at 0 is 0, and is read off the result, so that no value is kept."""
    return _relu(values)


@jax.custom_jvp
def _relu(values: Array) -> Array:
    return jnp.where(values <= 0, 0, values)


@_relu.defjvp
def _derivative(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    result = _relu(*primals)
    return result, jnp.where(result > 0, *tangents, 0)
