"""InceptionV3 as Keras or torchvision builds it, without auxiliary head and dropout.

The two differ in BatchNorm (Keras has no scale) and in the average pools, which count the padding in torchvision alone;
weights of one in the other are silently wrong. Submodules carry torchvision's names, `backbone/Mixed_6b/branch7x7_2`.
Fresh kernels are Keras's in both. torchvision's own ImageNet weights expect images in [-1, 1] too (`transform_input`).
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float
from numpy import ndarray

from mskjax.models.inception import PUBLISHED_WIDTH, Branch, Fork, Form, Mixed, Unit, run_branch, unit_names
from mskjax.models.layers import Linear, parameter_dtype

Images = Float[Array | ndarray, "b h w 3"]

STEM: Branch = (
    Unit("Conv2d_1a_3x3", 32, 3, stride=2, padding="valid"),
    Unit("Conv2d_2a_3x3", 32, 3, padding="valid"),
    Unit("Conv2d_2b_3x3", 64, 3),
    "max",
    Unit("Conv2d_3b_1x1", 80),
    Unit("Conv2d_4a_3x3", 192, 3, padding="valid"),
    "max",
)


def _mixed_5(pooled: int) -> tuple[Branch, ...]:
    return (
        (Unit("branch1x1", 64),),
        (Unit("branch5x5_1", 48), Unit("branch5x5_2", 64, 5)),
        (Unit("branch3x3dbl_1", 64), Unit("branch3x3dbl_2", 96, 3), Unit("branch3x3dbl_3", 96, 3)),
        ("average", Unit("branch_pool", pooled)),
    )


def _mixed_6(inner: int) -> tuple[Branch, ...]:
    row, column = (1, 7), (7, 1)
    return (
        (Unit("branch1x1", 192),),
        (Unit("branch7x7_1", inner), Unit("branch7x7_2", inner, row), Unit("branch7x7_3", 192, column)),
        (
            Unit("branch7x7dbl_1", inner),
            Unit("branch7x7dbl_2", inner, column),
            Unit("branch7x7dbl_3", inner, row),
            Unit("branch7x7dbl_4", inner, column),
            Unit("branch7x7dbl_5", 192, row),
        ),
        ("average", Unit("branch_pool", 192)),
    )


MIXED_6A: tuple[Branch, ...] = (
    (Unit("branch3x3", 384, 3, stride=2, padding="valid"),),
    (
        Unit("branch3x3dbl_1", 64),
        Unit("branch3x3dbl_2", 96, 3),
        Unit("branch3x3dbl_3", 96, 3, stride=2, padding="valid"),
    ),
    ("max",),
)
MIXED_7A: tuple[Branch, ...] = (
    (Unit("branch3x3_1", 192), Unit("branch3x3_2", 320, 3, stride=2, padding="valid")),
    (
        Unit("branch7x7x3_1", 192),
        Unit("branch7x7x3_2", 192, (1, 7)),
        Unit("branch7x7x3_3", 192, (7, 1)),
        Unit("branch7x7x3_4", 192, 3, stride=2, padding="valid"),
    ),
    ("max",),
)
MIXED_7: tuple[Branch, ...] = (
    (Unit("branch1x1", 320),),
    (
        Unit("branch3x3_1", 384),
        # Keras's "mixed9_0" in the first of these blocks, "mixed9_1" in the second.
        Fork("mixed9", (Unit("branch3x3_2a", 384, (1, 3)), Unit("branch3x3_2b", 384, (3, 1)))),
    ),
    (
        Unit("branch3x3dbl_1", 448),
        Unit("branch3x3dbl_2", 384, 3),
        Fork("concatenate", (Unit("branch3x3dbl_3a", 384, (1, 3)), Unit("branch3x3dbl_3b", 384, (3, 1)))),
    ),
    ("average", Unit("branch_pool", 192)),
)
# In this order they are Keras's "mixed0" to "mixed10".
BLOCKS = {
    "Mixed_5b": _mixed_5(pooled=32),
    "Mixed_5c": _mixed_5(pooled=64),
    "Mixed_5d": _mixed_5(pooled=64),
    "Mixed_6a": MIXED_6A,
    "Mixed_6b": _mixed_6(inner=128),
    "Mixed_6c": _mixed_6(inner=160),
    "Mixed_6d": _mixed_6(inner=160),
    "Mixed_6e": _mixed_6(inner=192),
    "Mixed_7a": MIXED_7A,
    "Mixed_7b": MIXED_7,
    "Mixed_7c": MIXED_7,
}
# Keras's last ten layers before the pooling, each with the path of its parameters, "" where it has none.
TOP_LAYERS = (
    ("activation_87", ""),
    ("activation_88", ""),
    ("activation_91", ""),
    ("activation_92", ""),
    ("batch_normalization_93", "backbone/Mixed_7c/branch_pool/bn"),
    ("activation_85", ""),
    ("mixed9_1", ""),
    ("concatenate_1", ""),
    ("activation_93", ""),
    ("mixed10", ""),
)


def unit_paths() -> tuple[str, ...]:
    """The paths below `backbone` of the 94 units; the first is Keras's "conv2d_0" and "batch_normalization_0"."""
    in_blocks = (f"{block}/{name}" for block, branches in BLOCKS.items() for name in unit_names(branches))
    return (*unit_names((STEM,)), *in_blocks)


class Backbone(nn.Module):
    """The trunk: a stem of five convolutions and eleven blocks."""

    form: Form

    @nn.compact
    def __call__(self, image: Images, *, train: bool) -> dict[str, Float[Array, "b _ _ _"]]:
        """Outputs "mixed0" to "mixed10", of type `dtype`."""
        outputs = {}
        image = run_branch(STEM, self.form, jnp.asarray(image, self.form.dtype), train=train)
        for index, (name, branches) in enumerate(BLOCKS.items()):
            image = outputs[f"mixed{index}"] = Mixed(branches, self.form, name=name)(image, train=train)
        return outputs


class InceptionV3(nn.Module):
    """A classifier; `width` is the channels of the first convolution and scales all others.

    `num_classes` None leaves the head `fc` out. `variant` is "keras" or "torchvision". Images must be at least 75x75.
    """

    num_classes: int | None = None
    width: int = PUBLISHED_WIDTH
    variant: str = "keras"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: Images, *, train: bool = False) -> dict[str, Float[Array, "b ..."]]:
        """The trunk's outputs, "features" [b, c], the mean of "mixed10", and "logits" [b, k], both float32."""
        outputs = Backbone(Form(self.width, self.variant, self.dtype), name="backbone")(image, train=train)
        outputs["features"] = outputs["mixed10"].astype(parameter_dtype(self.dtype)).mean((1, 2))
        if self.num_classes is not None:
            outputs["logits"] = Linear(self.num_classes, name="fc")(outputs["features"])
        return outputs
