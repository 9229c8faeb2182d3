"""SMIT's segmenter: the encoder with a decoder as in UNETR (Hatamizadeh et al. 2022), with BatchNorm.

Exact against the official `Trans_Unetr` on MONAI's blocks. Those of old releases hold a third convolution in every
block, which is used in none whose channels stay the same; here it is where it is used.
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from mskjax.models.initial import bias_of, uniform_fan_in
from mskjax.models.layers import BatchNorm, Conv, parameter_dtype
from mskjax.models.smit import STRIDE, Volumes, encoder_of
from mskjax.models.swin import Joining

SLOPE = 0.01


class ResidualBlock(nn.Module):
    """Two 3x3x3 convolutions beside a shortcut, which is convolved where the channels change."""

    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, volume: Float[Array, "b d h w c"], *, train: bool) -> Float[Array, "b d h w {self.features}"]:
        """The volume after the block."""

        def conv_norm(number: int, volume: Array, size: int) -> Array:
            conv = Conv(self.features, size, kernel_init=uniform_fan_in, dtype=self.dtype, name=f"conv{number}")
            return BatchNorm(dtype=self.dtype, name=f"bn{number}")(conv(volume), train=train)

        hidden = nn.leaky_relu(conv_norm(1, volume, 3), SLOPE)
        hidden = conv_norm(2, hidden, 3)
        shortcut = volume if volume.shape[-1] == self.features else conv_norm(3, volume, 1)
        return nn.leaky_relu(hidden + shortcut, SLOPE)


class Up(nn.Module):
    """A transposed convolution of side 2 and stride 2: each position becomes eight."""

    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, volume: Float[Array, "b d h w c"]) -> Float[Array, "b 2*d 2*h 2*w {self.features}"]:
        """The volume with its sides doubled."""
        b, d, h, w, c = volume.shape
        initial = bias_of((2, 2, 2, self.features, c))  # PyTorch counts the fan of a transposed kernel from its output
        kernel = self.param("kernel", initial, (2, 2, 2, c, self.features), parameter_dtype(self.dtype))
        cubes = jnp.einsum("bdhwc,ijkcf->bdihjwkf", volume, kernel.astype(self.dtype))
        return cubes.reshape(b, 2 * d, 2 * h, 2 * w, self.features)


class Decoder(nn.Module):
    """UNETR's: the outputs of each stage of the encoder come in again as the sides are doubled; logits at the end."""

    num_classes: int
    width: int
    dtype: Any

    @nn.compact
    def __call__(
        self, volume: Float[Array, "b d h w 1"], encoded: dict[str, Float[Array, "b ..."]], *, train: bool
    ) -> Float[Array, "b d h w {self.num_classes}"]:
        """The logits, float32, from the volume and the outputs of `Encoder`."""

        def block(name: str, features: int, volume: Array) -> Array:
            return ResidualBlock(features, self.dtype, name=name)(volume, train=train)

        skips = [
            block("encoder1", self.width, volume),
            block("encoder2", self.width, encoded["stage0"]),
            block("encoder3", 2 * self.width, encoded["stage1"]),
            block("encoder4", 4 * self.width, encoded["stage2"]),
            encoded["stage3"],
        ]
        decoded = block("encoder10", 16 * self.width, encoded["bottleneck"])
        for number, skip in reversed(list(enumerate(skips, start=1))):
            features = skip.shape[-1]
            larger = Up(features, self.dtype, name=f"decoder{number}_up")(decoded)
            decoded = block(f"decoder{number}", features, jnp.concatenate([larger, skip], -1))
        dtype = parameter_dtype(self.dtype)
        logits = Conv(self.num_classes, use_bias=True, kernel_init=uniform_fan_in, dtype=dtype, name="logits")
        return logits(decoded.astype(dtype))


class SMITSegmenter(nn.Module):
    """The encoder under `backbone` and a `decoder`, which `num_classes` None leaves out."""

    EXAMPLE: ClassVar = (1, STRIDE, STRIDE, STRIDE, 1)

    num_classes: int | None = 2
    stage_sizes: tuple[int, ...] = (2, 2, 4, 2)
    width: int = 48
    drop_path: float = 0.3
    joining: Joining = "official"
    remat: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, volume: Volumes, *, train: bool = False) -> dict[str, Float[Array, "b ..."]]:
        """The encoder's outputs and "logits" [b, d, h, w, k], float32; training needs the random stream "dropout"."""
        volume = jnp.asarray(volume, self.dtype)
        outputs = encoder_of(self)(volume, train=train)
        if self.num_classes is not None:
            decoder = Decoder(self.num_classes, self.width, self.dtype, name="decoder")
            outputs["logits"] = decoder(volume, dict(outputs), train=train)
        return outputs
