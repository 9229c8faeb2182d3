"""SMIT (Jiang et al. 2022): the encoder, and the network that it learns in by masked self-distillation.

Exact against the official code's `Trans-Small` configuration. Volumes are [b, d, h, w, 1] with d, h, w along the axes
i, j, k of a scan reoriented to RAS (`mskjax.data.ras.axial_to_ras`) and values in [0, 1]. Each side must be a
multiple of 32: a patch halves it, and so do four mergings. No parameter depends on the size, but the published weights
have learned with 96, as `mskjax.models.swin` says.
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Num
from numpy import ndarray

from mskjax.models.initial import filled, normal_002, uniform_fan_in
from mskjax.models.layers import LayerNorm, Linear, parameter_dtype
from mskjax.models.swin import Block, Joining, Merging

PATCH = 2
BLOCK = 16  # the side of what is masked, in voxels
STRIDE = 32  # of the bottleneck's positions, in voxels
DISTILLED = "merged2"  # the features that are distilled: those of the third stage after its merging
HEADS, WINDOW = 4, 4

Volumes = Float[Array | ndarray, "b d h w 1"]
Blocks = Num[Array | ndarray, "b i j k"]


class Encoder(nn.Module):
    """Patches of 2x2x2 voxels as tokens, then four stages of Swin blocks, as many as `stage_sizes` says.

    Blocks are dropped in training with a probability that rises from 0 to `drop_path`; with `remat` they are computed
    again for the gradient, which saves their memory. With `masking` there is a token for what is masked.
    """

    stage_sizes: tuple[int, ...]
    width: int
    drop_path: float
    joining: Joining
    remat: bool
    dtype: Any
    masking: bool = False

    @nn.compact
    def __call__(self, volume: Volumes, mask: Blocks | None = None, *, train: bool) -> dict[str, Float[Array, "b ..."]]:
        """The normalised end of each stage, "stage0" to "stage3", and each after its merging, "merged0" to "merged2".

        The last is "bottleneck". `mask` marks the blocks of 16x16x16 voxels whose tokens are replaced. Raises
        `ValueError` for sides that do not fit.
        """
        _check(volume.shape[1:4], self.joining)
        tokens = self._masked(self._embed(jnp.asarray(volume, self.dtype)), mask)
        rates = iter(np.linspace(0, self.drop_path, sum(self.stage_sizes)).tolist())
        block = nn.remat(Block, static_argnums=(2,)) if self.remat else Block
        outputs = {}
        for stage, blocks in enumerate(self.stage_sizes):
            for index in range(blocks):
                shift = WINDOW // 2 if index % 2 else 0
                options = {"joining": self.joining, "dtype": self.dtype, "name": f"layer{stage}_{index}"}
                tokens = block(HEADS, WINDOW, shift, next(rates), **options)(tokens, train)
            outputs[f"stage{stage}"] = LayerNorm(dtype=self.dtype, name=f"norm{stage}")(tokens)
            tokens = Merging(self.dtype, name=f"merging{stage}")(tokens)
            outputs[f"merged{stage}" if stage < len(self.stage_sizes) - 1 else "bottleneck"] = tokens
        return outputs

    def _embed(self, volume: Array) -> Float[Array, "b i j k {self.width}"]:
        b, *sides, _ = volume.shape
        i, j, k = (side // PATCH for side in sides)
        cubes = volume.reshape(b, i, PATCH, j, PATCH, k, PATCH).transpose(0, 1, 3, 5, 2, 4, 6)
        tokens = Linear(self.width, dtype=self.dtype, name="patch")(cubes.reshape(b, i, j, k, PATCH**3))
        return LayerNorm(dtype=self.dtype, name="patch_norm")(tokens)

    def _masked(self, tokens: Array, mask: Blocks | None) -> Array:
        """The tokens, with one that is learned in the place of those in masked blocks."""
        if not self.masking:
            return tokens
        learned = self.param("mask_token", lambda key: filled(0.0, (self.width,), parameter_dtype(self.dtype)))
        if mask is None:
            return tokens
        hidden = enlarged(mask, tokens.shape[1:4]).astype(bool)
        return jnp.where(hidden[..., None], learned.astype(self.dtype), tokens)


class SMITEncoder(nn.Module):
    """The encoder alone, under `backbone`."""

    EXAMPLE: ClassVar = (1, STRIDE, STRIDE, STRIDE, 1)

    stage_sizes: tuple[int, ...] = (2, 2, 4, 2)
    width: int = 48
    drop_path: float = 0.3
    joining: Joining = "official"
    remat: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, volume: Volumes, *, train: bool = False) -> dict[str, Float[Array, "b ..."]]:
        """The outputs of `Encoder`; training needs the random stream "dropout"."""
        return encoder_of(self)(volume, train=train)


class SMITPretrainer(nn.Module):
    """The encoder with what it learns by, `pretext`; `shared_head` has one head for patches and for the image.

    The teacher is the same network without "mask_token" and "reconstruction".
    """

    EXAMPLE: ClassVar = (1, STRIDE, STRIDE, STRIDE, 1)

    stage_sizes: tuple[int, ...] = (2, 2, 4, 2)
    width: int = 48
    prototypes: int = 8192
    hidden: int = 2048
    shared_head: bool = False
    drop_path: float = 0.3
    joining: Joining = "official"
    remat: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, volume: Volumes, mask: Blocks | None = None, *, train: bool = False, teacher: bool = False
    ) -> dict[str, Float[Array, "b ..."]]:
        """The encoder's outputs and those of `Pretext`, float32; training needs the random stream "dropout".

        `mask` marks the blocks of 16x16x16 voxels that the encoder does not see. A `teacher` sees all and reconstructs
        nothing.
        """
        outputs = encoder_of(self, masking=not teacher)(volume, mask, train=train)
        pretext = Pretext(self.prototypes, self.hidden, self.shared_head, name="pretext")
        dtype = parameter_dtype(self.dtype)
        bottleneck = None if teacher else outputs["bottleneck"].astype(dtype)
        return {**outputs, **pretext(outputs[DISTILLED].astype(dtype), bottleneck)}


class Pretext(nn.Module):
    """Two heads, for patches and for the image, and the voxels again."""

    prototypes: int
    hidden: int
    shared_head: bool

    @nn.compact
    def __call__(
        self, features: Float[Array, "b i j k c"], bottleneck: Float[Array, "b l m n f"] | None
    ) -> dict[str, Float[Array, "b ..."]]:
        """The logits "patch_logits" [b, t, k] and "image_logits" [b, k], and "reconstruction" [b, d, h, w, 1]."""
        tokens = LayerNorm(1e-6, dtype=features.dtype, name="norm")(features)
        tokens = tokens.reshape(len(tokens), -1, tokens.shape[-1])
        patch_head = Head(self.prototypes, self.hidden, name="patch_head")
        image_head = patch_head if self.shared_head else Head(self.prototypes, self.hidden, name="image_head")
        outputs = {"patch_logits": patch_head(tokens), "image_logits": image_head(tokens.mean(1))}
        if bottleneck is not None:
            outputs["reconstruction"] = self._reconstruct(bottleneck)
        return outputs

    def _reconstruct(self, bottleneck: Float[Array, "b l m n f"]) -> Float[Array, "b d h w 1"]:
        """The 32x32x32 voxels that each position of the bottleneck stands for."""
        b, *sides, _ = bottleneck.shape
        voxels = Linear(STRIDE**3, name="reconstruction")(bottleneck)
        cubes = voxels.reshape(b, *sides, STRIDE, STRIDE, STRIDE).transpose(0, 1, 4, 2, 5, 3, 6)
        return cubes.reshape(b, *(side * STRIDE for side in sides), 1)


class Head(nn.Module):
    """DINO's projection: a perceptron to numbers of length 1, and their cosines with `prototypes` directions."""

    prototypes: int
    hidden: int
    bottleneck: int = 256

    @nn.compact
    def __call__(self, features: Float[Array, "*b c"]) -> Float[Array, "*b {self.prototypes}"]:
        """The cosines."""
        initial = {"kernel_init": normal_002, "bias_init": _zeros}
        hidden = nn.gelu(Linear(self.hidden, **initial, name="fc1")(features), approximate=False)
        hidden = nn.gelu(Linear(self.hidden, **initial, name="fc2")(hidden), approximate=False)
        projected = _unit(Linear(self.bottleneck, **initial, name="fc3")(hidden), -1)
        shape, dtype = (self.bottleneck, self.prototypes), projected.dtype
        return projected @ _unit(self.param("prototypes", uniform_fan_in, shape, dtype), 0)


def encoder_of(network: Any, masking: bool = False) -> Encoder:
    """The trunk of a network of this family, under `backbone`."""
    options = (network.stage_sizes, network.width, network.drop_path, network.joining, network.remat, network.dtype)
    return Encoder(*options, masking=masking, name="backbone")


def enlarged(blocks: Blocks, sides: tuple[int, ...]) -> Num[Array, "b _ _ _"]:
    """A mask of blocks as one of a finer grid of these sides, multiples of its own."""
    for axis, side in enumerate(sides, start=1):
        blocks = jnp.repeat(blocks, side // blocks.shape[axis], axis)
    return jnp.asarray(blocks)


def _check(sides: tuple[int, ...], joining: Joining) -> None:
    told = "x".join(map(str, sides))
    if any(side % STRIDE for side in sides):
        raise ValueError(f"a volume of {told} voxels does not fit SMIT; make each side a multiple of {STRIDE}")
    if joining == "official" and len(set(sides)) > 1:
        raise ValueError(
            f"a volume of {told} voxels is no cube, for which joining='official' is made; use joining='inverse'"
        )


def _unit(vectors: Any, axis: int) -> Array:
    """The vectors along an axis, of length 1; those shorter than 1e-12 stay short."""
    return vectors * lax.rsqrt(jnp.maximum(jnp.square(vectors).sum(axis, keepdims=True), 1e-24))


def _zeros(key: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    return filled(0.0, shape, dtype)
