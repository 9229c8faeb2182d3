"""The FCN segmenter of torchvision on a dilated ResNet: output stride 8, logits enlarged to the image's size."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from mskjax.models.activation import relu
from mskjax.models.initial import uniform_fan_in
from mskjax.models.layers import BatchNorm, Conv, parameter_dtype, resize_bilinear
from mskjax.models.resnet import Backbone, Images


class FCNHead(nn.Module):
    """A 3x3 convolution to a quarter of the channels, BatchNorm, ReLU, dropout and a 1x1 convolution to logits."""

    num_classes: int
    dropout: float
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b h w {self.num_classes}"]:
        """Logits in float32 on the input's own grid."""
        conv = Conv(image.shape[-1] // 4, size=3, kernel_init=uniform_fan_in, dtype=self.dtype, name="conv")
        image = relu(BatchNorm(dtype=self.dtype, name="bn")(conv(image), train=train))
        image = nn.Dropout(self.dropout, deterministic=not train)(image)
        dtype = parameter_dtype(self.dtype)
        return Conv(self.num_classes, use_bias=True, kernel_init=uniform_fan_in, dtype=dtype, name="logits")(image)


class FCN(nn.Module):
    """A segmenter of torchvision's family; `num_classes` None leaves the heads out.

    `aux_head` adds a second head, on stage 3, to be trained beside the first. Training needs the random stream
    "dropout".
    """

    stage_sizes: tuple[int, ...]
    num_classes: int | None = 21
    aux_head: bool = False
    width: int = 64
    dropout: float = 0.1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: Images, *, train: bool = False) -> dict[str, Float[Array, "b ..."]]:
        """The trunk's outputs, "logits" [b, h, w, k] and, with the auxiliary head, "aux_logits", both float32."""
        backbone = Backbone(self.stage_sizes, self.width, dilate=(False, True, True), dtype=self.dtype, name="backbone")
        outputs = backbone(image, train=train)
        if self.num_classes is None:
            return outputs
        height, width = image.shape[1:3]
        classifier = FCNHead(self.num_classes, self.dropout, self.dtype, name="classifier")
        outputs["logits"] = resize_bilinear(classifier(outputs["layer4"], train=train), height, width)
        if self.aux_head:
            classifier = FCNHead(self.num_classes, self.dropout, self.dtype, name="aux_classifier")
            outputs["aux_logits"] = resize_bilinear(classifier(outputs["layer3"], train=train), height, width)
        return outputs
