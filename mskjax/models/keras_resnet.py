"""ResNet50 as Keras builds it, whose weights do not fit torchvision's: other strides, and a bias in every convolution.

In the first block of a stage the stride is on the first 1x1 convolution ("v1", where torchvision's "v1.5" has it on the
3x3). BatchNorm has epsilon 1.001e-5 and momentum 0.99. Submodules carry the names of Keras 3's layers,
`backbone/conv3_block1_0_conv`, and what they and the operations between them make can be found in a trace by such
names too (`checkpoint_name`). Keras pads by zeros before its max-pool, which after a ReLU gives the same as
torchvision's.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Float
from numpy import ndarray

from mskjax.models.activation import relu
from mskjax.models.initial import glorot_uniform
from mskjax.models.layers import BatchNorm, Conv, Linear, max_pool, parameter_dtype

Images = Float[Array | ndarray, "b h w 3"]

EPSILON = 1.001e-5
MOMENTUM = 0.99


def top_layers(stage_sizes: tuple[int, ...]) -> tuple[tuple[str, str], ...]:
    """Keras's last ten layers before the pooling, each with the path of its parameters, "" where it has none."""
    block = f"conv5_block{stage_sizes[-1]}"
    parts = ["1_conv", "1_bn", "1_relu", "2_conv", "2_bn", "2_relu", "3_conv", "3_bn", "add", "out"]
    if stage_sizes[-1] == 1:  # the layers of the first block's shortcut stand between the others
        parts = [*parts[2:6], "0_conv", "3_conv", "0_bn", "3_bn", *parts[8:]]
    names = ((f"{block}_{part}", part) for part in parts)
    return tuple((name, f"backbone/{name}" if part.endswith(("conv", "bn")) else "") for name, part in names)


TOP_LAYERS = top_layers((3, 4, 6, 3))


class Backbone(nn.Module):
    """The trunk: a stem and four stages of bottleneck blocks."""

    stage_sizes: tuple[int, ...]
    width: int
    dtype: Any

    @nn.compact
    def __call__(self, image: Images, *, train: bool) -> dict[str, Float[Array, "b _ _ _"]]:
        """Outputs by Keras's names, of type `dtype`: "pool1_pool" and the end of each stage ("conv5_block3_out")."""
        image = jnp.asarray(image, self.dtype)
        image = self._conv_norm_relu("conv1", self.width, image, train, size=7, stride=2)
        outputs = {"pool1_pool": max_pool(image)}
        image = outputs["pool1_pool"]
        for stage, blocks in enumerate(self.stage_sizes, start=2):
            for index in range(1, blocks + 1):
                image = self._block(stage, index, image, train)
            outputs[f"conv{stage}_block{blocks}_out"] = image
        return outputs

    def _block(self, stage: int, index: int, image: Array, train: bool) -> Array:
        """1x1, 3x3 and 1x1 convolutions beside a shortcut, which the first block of a stage convolves."""
        name, planes = f"conv{stage}_block{index}", self.width * 2 ** (stage - 2)
        stride = 2 if index == 1 and stage > 2 else 1
        residual = self._conv_norm_relu(f"{name}_1", planes, image, train, stride=stride)
        residual = self._conv_norm_relu(f"{name}_2", planes, residual, train, size=3)
        residual = self._conv_norm(f"{name}_3", 4 * planes, residual, train)
        if index == 1:
            image = self._conv_norm(f"{name}_0", 4 * planes, image, train, stride=stride)
        image = checkpoint_name(image + residual, f"{name}_add")
        return checkpoint_name(relu(image), f"{name}_out")

    def _conv_norm_relu(self, name: str, features: int, image: Array, train: bool, **window: int) -> Array:
        return checkpoint_name(relu(self._conv_norm(name, features, image, train, **window)), f"{name}_relu")

    def _conv_norm(
        self, name: str, features: int, image: Array, train: bool, *, size: int = 1, stride: int = 1
    ) -> Array:
        conv, norm = f"{name}_conv", f"{name}_bn"
        image = Conv(
            features,
            size=size,
            stride=stride,
            use_bias=True,
            kernel_init=glorot_uniform,
            dtype=self.dtype,
            name=conv,
        )(image)
        image = checkpoint_name(image, conv)
        image = BatchNorm(epsilon=EPSILON, momentum=MOMENTUM, dtype=self.dtype, name=norm)(image, train=train)
        return checkpoint_name(image, norm)


class KerasResNet(nn.Module):
    """A classifier of Keras's family of ResNets (its "v1"); `num_classes` None leaves the head `fc` out."""

    stage_sizes: tuple[int, ...]
    num_classes: int | None = None
    width: int = 64
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: Images, *, train: bool = False) -> dict[str, Float[Array, "b ..."]]:
        """The trunk's outputs, "features" [b, c], the last one's mean over the image, and "logits" [b, k], float32."""
        outputs = Backbone(self.stage_sizes, self.width, self.dtype, name="backbone")(image, train=train)
        last = outputs[f"conv5_block{self.stage_sizes[-1]}_out"]
        outputs["features"] = last.astype(parameter_dtype(self.dtype)).mean((1, 2))
        if self.num_classes is not None:
            outputs["logits"] = Linear(self.num_classes, name="fc")(outputs["features"])
        return outputs
