"""InceptionResNetV2 as Keras builds it: Inception blocks whose scaled output is added to their input.

Blocks carry Keras's names, their units those of branch and place: `backbone/block17_3/branch1_2/conv` is the third of
the second branch. A residual projection is `backbone/block17_3/conv`, which has a bias and neither BatchNorm nor ReLU.
"""

from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Float
from numpy import ndarray

from mskjax.models.activation import relu
from mskjax.models.inception import (
    PUBLISHED_WIDTH,
    Branch,
    ConvNorm,
    Form,
    Mixed,
    Unit,
    join_branches,
    run_branch,
    unit_names,
)
from mskjax.models.initial import glorot_uniform
from mskjax.models.layers import Conv, Linear, parameter_dtype

Images = Float[Array | ndarray, "b h w 3"]

STEM: Branch = (
    Unit("conv2d_1a", 32, 3, stride=2, padding="valid"),
    Unit("conv2d_2a", 32, 3, padding="valid"),
    Unit("conv2d_2b", 64, 3),
    "max",
    Unit("conv2d_3b", 80),
    Unit("conv2d_4a", 192, 3, padding="valid"),
    "max",
)
MIXED_5B: tuple[Branch, ...] = (
    (Unit("branch0_0", 96),),
    (Unit("branch1_0", 48), Unit("branch1_1", 64, 5)),
    (Unit("branch2_0", 64), Unit("branch2_1", 96, 3), Unit("branch2_2", 96, 3)),
    ("average", Unit("branch_pool", 64)),
)
BLOCK35: tuple[Branch, ...] = (
    (Unit("branch0_0", 32),),
    (Unit("branch1_0", 32), Unit("branch1_1", 32, 3)),
    (Unit("branch2_0", 32), Unit("branch2_1", 48, 3), Unit("branch2_2", 64, 3)),
)
MIXED_6A: tuple[Branch, ...] = (
    (Unit("branch0_0", 384, 3, stride=2, padding="valid"),),
    (Unit("branch1_0", 256), Unit("branch1_1", 256, 3), Unit("branch1_2", 384, 3, stride=2, padding="valid")),
    ("max",),
)
BLOCK17: tuple[Branch, ...] = (
    (Unit("branch0_0", 192),),
    (Unit("branch1_0", 128), Unit("branch1_1", 160, (1, 7)), Unit("branch1_2", 192, (7, 1))),
)
MIXED_7A: tuple[Branch, ...] = (
    (Unit("branch0_0", 256), Unit("branch0_1", 384, 3, stride=2, padding="valid")),
    (Unit("branch1_0", 256), Unit("branch1_1", 288, 3, stride=2, padding="valid")),
    (Unit("branch2_0", 256), Unit("branch2_1", 288, 3), Unit("branch2_2", 320, 3, stride=2, padding="valid")),
    ("max",),
)
BLOCK8: tuple[Branch, ...] = (
    (Unit("branch0_0", 192),),
    (Unit("branch1_0", 192), Unit("branch1_1", 224, (1, 3)), Unit("branch1_2", 256, (3, 1))),
)
# Each stage: the block that begins it, then the name, branches, number and scale of the residual blocks.
STAGES = (
    ("mixed_5b", MIXED_5B, "block35", BLOCK35, 10, 0.17),
    ("mixed_6a", MIXED_6A, "block17", BLOCK17, 20, 0.1),
    ("mixed_7a", MIXED_7A, "block8", BLOCK8, 10, 0.2),
)
LAST_BLOCK = "block8_10"  # which adds its output unscaled and has no ReLU
CONV_7B = Unit("conv_7b", 1536)
# Keras's last ten layers before the pooling, each with the path of its parameters, "" where it has none.
TOP_LAYERS = (
    ("batch_normalization_199", "backbone/block8_10/branch0_0/bn"),
    ("batch_normalization_202", "backbone/block8_10/branch1_2/bn"),
    ("activation_199", ""),
    ("activation_202", ""),
    ("block8_10_mixed", ""),
    ("block8_10_conv", "backbone/block8_10/conv"),
    ("custom_scale_layer_39", ""),
    ("conv_7b", "backbone/conv_7b/conv"),
    ("conv_7b_bn", "backbone/conv_7b/bn"),
    ("conv_7b_ac", ""),
)


def unit_paths() -> tuple[str, ...]:
    """The paths below `backbone` of the 203 units that Keras numbers; the first is "conv2d_0"."""
    return (*unit_names((STEM,)), *(f"{block}/{name}" for block, table in _blocks() for name in unit_names(table)))


def _blocks() -> Iterator[tuple[str, tuple[Branch, ...]]]:
    for first, branches, residual, residual_branches, count, _ in STAGES:
        yield first, branches
        yield from ((f"{residual}_{index}", residual_branches) for index in range(1, count + 1))


class Residual(nn.Module):
    """A block that adds to its input the projection of its joined branches, times `scale`."""

    branches: tuple[Branch, ...]
    scale: float
    relu: bool
    form: Form

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b h w c"]:
        """The block's output, after its ReLU where it has one."""
        dtype, joined = self.form.dtype, join_branches(self.branches, self.form, image, train=train)
        joined = checkpoint_name(joined, f"{self.name}_mixed")
        projection = Conv(image.shape[-1], use_bias=True, kernel_init=glorot_uniform, dtype=dtype, name="conv")(joined)
        projection = checkpoint_name(projection, f"{self.name}_conv")
        # Keras 2 calls the sum by the block's name, Keras 3 by a number.
        image = checkpoint_name(image + self.scale * projection, str(self.name))
        image = checkpoint_name(image, "custom_scale_layer")
        return checkpoint_name(relu(image), f"{self.name}_ac") if self.relu else image


class Backbone(nn.Module):
    """The trunk: a stem of five convolutions, three stages of residual blocks and a last convolution."""

    form: Form

    @nn.compact
    def __call__(self, image: Images, *, train: bool) -> dict[str, Float[Array, "b _ _ _"]]:
        """Outputs by Keras's names, of type `dtype`: both ends of each stage and "conv_7b_ac", the last.

        They are "mixed_5b", "block35_10_ac", "mixed_6a", "block17_20_ac", "mixed_7a" and "block8_10", which Keras has
        under a number only.
        """
        outputs = {}
        image = run_branch(STEM, self.form, jnp.asarray(image, self.form.dtype), train=train)
        for first, branches, residual, residual_branches, count, scale in STAGES:
            image = outputs[first] = Mixed(branches, self.form, name=first)(image, train=train)
            name = ""
            for index in range(1, count + 1):
                name = f"{residual}_{index}"
                last = name == LAST_BLOCK
                block = Residual(residual_branches, 1.0 if last else scale, not last, self.form, name=name)
                image = block(image, train=train)
            outputs[name if name == LAST_BLOCK else f"{name}_ac"] = image
        conv_7b = ConvNorm(CONV_7B, self.form, ("conv_7b", "conv_7b_bn", "conv_7b_ac"), name=CONV_7B.name)
        outputs["conv_7b_ac"] = conv_7b(image, train=train)
        return outputs


class InceptionResNetV2(nn.Module):
    """A classifier; `width` is the channels of the first convolution and scales all others.

    `num_classes` None leaves the head `fc` out. Images must be at least 75x75.
    """

    num_classes: int | None = None
    width: int = PUBLISHED_WIDTH
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: Images, *, train: bool = False) -> dict[str, Float[Array, "b ..."]]:
        """The trunk's outputs, "features" [b, c], the mean of "conv_7b_ac", and "logits" [b, k], both float32."""
        outputs = Backbone(Form(self.width, dtype=self.dtype), name="backbone")(image, train=train)
        outputs["features"] = outputs["conv_7b_ac"].astype(parameter_dtype(self.dtype)).mean((1, 2))
        if self.num_classes is not None:
            outputs["logits"] = Linear(self.num_classes, name="fc")(outputs["features"])
        return outputs
