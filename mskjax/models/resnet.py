"""ResNet classifiers with bottleneck blocks and their trunk, as torchvision builds them (its "v1.5").

The trunk is also the FCN's, with strides replaced by dilation. Submodules carry torchvision's names, `layer3.5.conv2`
being `backbone/layer3_5/conv2`, so that weights go from a classifier into a segmenter by name. As torchvision has one
ReLU for a whole block, what the operations of a block make can be found in a trace by the names that Keras's ResNet has
for them, "conv4_block6_2_relu" (`checkpoint_name`), with those of its convolutions and BatchNorms.
"""

import functools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Float
from numpy import ndarray

from mskjax.models.activation import relu
from mskjax.models.layers import BatchNorm, Conv, Linear, max_pool, parameter_dtype

Images = Float[Array | ndarray, "b h w 3"]


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut; the stride is on the 3x3 (torchvision Bottleneck v1.5).

    `block` is the block's name in Keras, "conv4_block6".
    """

    planes: int
    block: str
    stride: int = 1
    dilation: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b _ _ 4*{self.planes}"]:
        """The block's output, after the last ReLU."""
        conv = functools.partial(Conv, dtype=self.dtype)
        norm = functools.partial(BatchNorm, dtype=self.dtype)
        residual = self._named("1_conv", conv(self.planes, name="conv1")(image))
        residual = self._named("1_bn", norm(name="bn1")(residual, train=train))
        residual = self._named("1_relu", relu(residual))
        middle = conv(self.planes, size=3, stride=self.stride, dilation=self.dilation, name="conv2")
        residual = self._named("2_conv", middle(residual))
        residual = self._named("2_bn", norm(name="bn2")(residual, train=train))
        residual = self._named("2_relu", relu(residual))
        residual = self._named("3_conv", conv(4 * self.planes, name="conv3")(residual))
        residual = self._named("3_bn", norm(name="bn3")(residual, train=train))
        if self.stride != 1 or image.shape[-1] != 4 * self.planes:
            shortcut = conv(4 * self.planes, stride=self.stride, name="downsample_conv")
            image = self._named("0_conv", shortcut(image))
            image = self._named("0_bn", norm(name="downsample_bn")(image, train=train))
        return self._named("out", relu(self._named("add", image + residual)))

    def _named(self, layer: str, image: Array) -> Array:
        return checkpoint_name(image, f"{self.block}_{layer}")


class Backbone(nn.Module):
    """The trunk: stem and four stages of bottleneck blocks.

    `dilate` says of each of stages 2 to 4 whether its stride is replaced by dilation of what follows: the 3x3
    convolution of its own first block still has the dilation that was reached before it.
    """

    stage_sizes: tuple[int, ...]
    width: int = 64
    dilate: tuple[bool, bool, bool] = (False, False, False)
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: Images, *, train: bool) -> dict[str, Float[Array, "b _ _ _"]]:
        """Outputs "stem" (after its max-pool, the input of stage 1) and "layer1" to "layer4", of type `dtype`."""
        image = jnp.asarray(image, self.dtype)
        stem = checkpoint_name(Conv(self.width, size=7, stride=2, dtype=self.dtype, name="conv1")(image), "conv1_conv")
        stem = checkpoint_name(BatchNorm(dtype=self.dtype, name="bn1")(stem, train=train), "conv1_bn")
        stem = checkpoint_name(relu(stem), "conv1_relu")
        outputs: dict[str, Array] = {"stem": checkpoint_name(max_pool(stem), "pool1_pool")}
        image, reached = outputs["stem"], 1
        for stage, (blocks, dilate) in enumerate(zip(self.stage_sizes, (False, *self.dilate), strict=True), start=1):
            stride, dilation = (1 if stage == 1 else 2), reached
            if dilate:
                stride, reached = 1, 2 * reached
            for index in range(blocks):
                block = Bottleneck(
                    self.width * 2 ** (stage - 1),
                    f"conv{stage + 1}_block{index + 1}",
                    stride=stride if index == 0 else 1,
                    dilation=dilation if index == 0 else reached,
                    dtype=self.dtype,
                    name=f"layer{stage}_{index}",
                )
                image = block(image, train=train)
            outputs[f"layer{stage}"] = image
        return outputs


class ResNet(nn.Module):
    """A classifier of torchvision's family; `num_classes` None leaves the head `fc` out."""

    stage_sizes: tuple[int, ...]
    num_classes: int | None = 1000
    width: int = 64
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: Images, *, train: bool = False) -> dict[str, Float[Array, "b ..."]]:
        """The trunk's outputs, "features" [b, c], their mean over the image, and "logits" [b, k], both float32."""
        outputs = Backbone(self.stage_sizes, self.width, dtype=self.dtype, name="backbone")(image, train=train)
        outputs["features"] = outputs["layer4"].astype(parameter_dtype(self.dtype)).mean((1, 2))
        if self.num_classes is not None:
            outputs["logits"] = Linear(self.num_classes, name="fc")(outputs["features"])
        return outputs
