"""DenseNet classifiers, as Keras or torchvision builds them: all features of a stage are kept, each layer adds a few.

The two differ in their BatchNorm alone (and in how kernels begin): Keras 3 has epsilon 1.001e-5 and momentum 0.99.
Submodules carry the names of Keras 3's layers, `backbone/conv4_block7_2_conv`, and what they and the operations between
them make can be found in a trace by such names too (`checkpoint_name`). Keras pads by zeros before its max-pool, which
after a ReLU gives the same as torchvision's.
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
from mskjax.models.initial import glorot_uniform, kaiming_normal_fan_in
from mskjax.models.layers import BatchNorm, Conv, Linear, max_pool, parameter_dtype

Images = Float[Array | ndarray, "b h w 3"]

NORMS = {
    "keras": functools.partial(BatchNorm, epsilon=1.001e-5, momentum=0.99),
    "torchvision": functools.partial(BatchNorm, epsilon=1e-5, momentum=0.9),
}
KERNELS = {"keras": glorot_uniform, "torchvision": kaiming_normal_fan_in}


def top_layers(stage_sizes: tuple[int, ...]) -> tuple[tuple[str, str], ...]:
    """Keras's last ten layers before the pooling, each with the path of its parameters, "" where it has none."""
    block = f"conv5_block{stage_sizes[-1]}"
    weighted = {f"{block}_0_bn", f"{block}_1_conv", f"{block}_1_bn", f"{block}_2_conv", "bn"}
    before = f"conv5_block{stage_sizes[-1] - 1}_concat" if stage_sizes[-1] > 1 else "pool4_pool"
    parts = ("0_bn", "0_relu", "1_conv", "1_bn", "1_relu", "2_conv", "concat")
    names = (before, *(f"{block}_{part}" for part in parts), "bn", "relu")
    return tuple((name, f"backbone/{name}" if name in weighted else "") for name in names)


TOP_LAYERS = top_layers((6, 12, 24, 16))


class Backbone(nn.Module):
    """The trunk: a stem, and four stages of dense layers with halving transitions between them."""

    stage_sizes: tuple[int, ...]
    width: int
    variant: str
    dtype: Any

    @nn.compact
    def __call__(self, image: Images, *, train: bool) -> dict[str, Float[Array, "b _ _ _"]]:
        """Outputs by Keras's names, of type `dtype`: "pool1", the end of each stage ("conv2_block6_concat") and "relu".

        "relu", the last, is ReLU of the closing BatchNorm, torchvision's ReLU(norm5).
        """
        image = jnp.asarray(image, self.dtype)
        stem = checkpoint_name(self._conv("conv1_conv", 2 * self.width, image, size=7, stride=2), "conv1_conv")
        outputs = {"pool1": max_pool(self._norm_relu("conv1", stem, train))}
        image = outputs["pool1"]
        for stage, layers in enumerate(self.stage_sizes, start=2):
            if stage > 2:
                image = self._transition(f"pool{stage - 1}", image, train)
            for index in range(1, layers + 1):
                image = self._dense_layer(f"conv{stage}_block{index}", image, train)
            outputs[f"conv{stage}_block{layers}_concat"] = image
        outputs["relu"] = self._norm_relu("", image, train)
        return outputs

    def _dense_layer(self, name: str, image: Array, train: bool) -> Array:
        """The image with `width` more channels: 1x1 to four times as many, then 3x3."""
        added = self._norm_relu(f"{name}_0", image, train)
        added = checkpoint_name(self._conv(f"{name}_1_conv", 4 * self.width, added), f"{name}_1_conv")
        added = self._norm_relu(f"{name}_1", added, train)
        added = checkpoint_name(self._conv(f"{name}_2_conv", self.width, added, size=3), f"{name}_2_conv")
        return checkpoint_name(jnp.concatenate([image, added], axis=-1), f"{name}_concat")

    def _transition(self, name: str, image: Array, train: bool) -> Array:
        """Half of the channels on a grid of half the size.

        The source pools after the convolution, which is the same for a quarter of the work as it is 1x1; so there is no
        "pool2_conv" on the larger grid, and the convolution makes "pool2_pool".
        """
        image = halved(self._norm_relu(name, image, train))
        return checkpoint_name(self._conv(f"{name}_conv", image.shape[-1] // 2, image), f"{name}_pool")

    def _conv(self, name: str, features: int, image: Array, size: int = 1, stride: int = 1) -> Array:
        kernel_init = KERNELS[self.variant]
        return Conv(features, size=size, stride=stride, kernel_init=kernel_init, dtype=self.dtype, name=name)(image)

    def _norm_relu(self, name: str, image: Array, train: bool) -> Array:
        norm, activation = (f"{name}_{kind}".removeprefix("_") for kind in ("bn", "relu"))
        image = checkpoint_name(NORMS[self.variant](dtype=self.dtype, name=norm)(image, train=train), norm)
        return checkpoint_name(relu(image), activation)


def halved(image: Float[Array, "b h w c"]) -> Float[Array, "b h//2 w//2 c"]:
    """The means of 2x2 pixels; an odd last row or column is left out."""
    batch, height, width, channels = image.shape
    image = image[:, : height // 2 * 2, : width // 2 * 2]
    return image.reshape(batch, height // 2, 2, width // 2, 2, channels).mean((2, 4))


class DenseNet(nn.Module):
    """A classifier of the DenseNet family; `width` is its growth, the channels that each layer adds.

    `num_classes` None leaves the head `fc` out. `variant` is "keras" or "torchvision".
    """

    stage_sizes: tuple[int, ...]
    num_classes: int | None = None
    width: int = 32
    variant: str = "keras"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: Images, *, train: bool = False) -> dict[str, Float[Array, "b ..."]]:
        """The trunk's outputs, "features" [b, c], the mean of "relu" over the image, and "logits" [b, k], float32."""
        backbone = Backbone(self.stage_sizes, self.width, self.variant, self.dtype, name="backbone")
        outputs = backbone(image, train=train)
        outputs["features"] = outputs["relu"].astype(parameter_dtype(self.dtype)).mean((1, 2))
        if self.num_classes is not None:
            outputs["logits"] = Linear(self.num_classes, name="fc")(outputs["features"])
        return outputs
