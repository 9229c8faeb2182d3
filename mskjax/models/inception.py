"""What the Inception networks share: units of convolution, BatchNorm and ReLU, and branches of such units as tables.

A branch is read from left to right. Each of its steps is a `Unit`, "average" or "max" (3x3 pools at stride 1 and 2), or
a `Fork` of units that see the same image and whose outputs are joined. Reading all tables of a network in order gives
its convolutions, and so on, in the order in which Keras numbers them: the first thing that is found in a trace by the
name "conv2d" (`checkpoint_name`) is Keras's "conv2d", the next "conv2d_1".
"""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Float

from mskjax.models.activation import relu
from mskjax.models.initial import glorot_uniform
from mskjax.models.layers import BatchNorm, Conv, Padding, average_pool, max_pool

EPSILON = 1e-3
PUBLISHED_WIDTH = 32  # the channels of the first convolution, by which `width` scales all others


class Unit(NamedTuple):
    """A convolution's name, its channels at the published width, its kernel, stride and padding."""

    name: str
    features: int
    size: int | tuple[int, int] = 1
    stride: int = 1
    padding: Padding = "same"


class Fork(NamedTuple):
    """Units beside each other, and Keras's name of their joined outputs, without its number."""

    joined: str
    units: tuple[Unit, ...]


Step = Unit | Fork | Literal["average", "max"]
Branch = tuple[Step, ...]


class Form(NamedTuple):
    """How a network is built from its tables; `variant` "keras" or "torchvision" tells its BatchNorm and its pools.

    Keras has no scale, momentum 0.99, and means of the pixels within the image; torchvision has a scale, momentum 0.9,
    and means that count the padding.
    """

    width: int = PUBLISHED_WIDTH
    variant: str = "keras"
    dtype: Any = jnp.float32

    def channels(self, published: int) -> int:
        """The channels at this width, rounded down."""
        return published * self.width // PUBLISHED_WIDTH


class ConvNorm(nn.Module):
    """A unit: a convolution without bias ("conv"), BatchNorm ("bn") and ReLU, with Keras's names of the three."""

    unit: Unit
    form: Form
    layers: tuple[str, str, str] = ("conv2d", "batch_normalization", "activation")

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b _ _ _"]:
        """The unit's output, of the form's `dtype`."""
        features, form = self.form.channels(self.unit.features), self.form
        _, _, size, stride, padding = self.unit
        conv = Conv(features, size, stride, padding=padding, kernel_init=glorot_uniform, dtype=form.dtype, name="conv")
        torchvisions = form.variant == "torchvision"
        momentum = 0.9 if torchvisions else 0.99
        norm = BatchNorm(EPSILON, momentum, use_scale=torchvisions, dtype=form.dtype, name="bn")
        image = checkpoint_name(conv(image), self.layers[0])
        image = checkpoint_name(norm(image, train=train), self.layers[1])
        return checkpoint_name(relu(image), self.layers[2])


class Mixed(nn.Module):
    """A block: branches that see the same image and whose outputs are joined, channel after channel."""

    branches: tuple[Branch, ...]
    form: Form

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b _ _ _"]:
        """The branches' outputs, in their order."""
        return join_branches(self.branches, self.form, image, train=train)


def join_branches(branches: tuple[Branch, ...], form: Form, image: Array, *, train: bool) -> Float[Array, "b _ _ _"]:
    """The joined outputs of branches whose units become submodules of the module that calls this."""
    return jnp.concatenate([run_branch(branch, form, image, train=train) for branch in branches], axis=-1)


def run_branch(branch: Branch, form: Form, image: Array, *, train: bool) -> Float[Array, "b _ _ _"]:
    """The output of a branch whose units become submodules of the module that calls this."""
    for step in branch:
        if step == "average":
            image = checkpoint_name(
                average_pool(image, count_padding=form.variant == "torchvision"), "average_pooling2d"
            )
        elif step == "max":
            image = checkpoint_name(max_pool(image, padding="valid"), "max_pooling2d")
        elif isinstance(step, Unit):
            image = ConvNorm(step, form, name=step.name)(image, train=train)
        else:
            outputs = [ConvNorm(unit, form, name=unit.name)(image, train=train) for unit in step.units]
            image = checkpoint_name(jnp.concatenate(outputs, axis=-1), step.joined)
    return image


def unit_names(branches: tuple[Branch, ...]) -> Iterator[str]:
    """The names of all units, in the order in which Keras and torchvision make them."""
    for step in (step for branch in branches for step in branch if not isinstance(step, str)):
        yield from (unit.name for unit in ((step,) if isinstance(step, Unit) else step.units))
