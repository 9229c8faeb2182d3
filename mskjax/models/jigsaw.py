"""The jigsaw network of study A: nine shared-weight ResNets whose pooled features are joined in a shuffled order.

Sharing weights means folding the tiles into the batch. As the trunk sees every tile by itself, and its BatchNorm all of
them at once, shuffling the tiles' features is shuffling the tiles, at the cost of one trunk for any number of
permutations. The trunk is the classifier's, with strides, under the same names as the FCN's: the dilation that replaces
strides there has no parameters. The head's sizes are not in the paper (the number of classes apart).
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int
from numpy import ndarray

from mskjax.models.layers import Linear, parameter_dtype
from mskjax.models.resnet import Backbone

GRID = 3
TILES = GRID * GRID


class JigsawResNet(nn.Module):
    """A trunk for each tile, and a head of `hidden` and `num_classes` units on all; `num_classes` None leaves it out.

    The head's first layer is the larger part: 9 x 2048 x 4096 of the 118 million parameters at the sizes of study A.
    """

    EXAMPLE: ClassVar = (1, TILES, 64, 64, 3)

    stage_sizes: tuple[int, ...]
    num_classes: int | None = 50
    width: int = 64
    hidden: int = 4096
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        tiles: Float[Array | ndarray, "b 9 h w 3"],
        permutations: Int[Array | ndarray, "b p 9"] | None = None,
        *,
        train: bool = False,
    ) -> dict[str, Float[Array, "_ ..."]]:
        """The trunk's outputs for all tiles [b * 9, h, w, c], "features" [b, 9, c] and "logits" [b, p, k], float32.

        Features are in the order of `tiles`; the logits are of each image shuffled by each of its permutations, of
        which one holds at place i the number of the tile that goes there. Without any they are of the tiles as given.
        """
        count = len(tiles)
        folded = jnp.reshape(tiles, (count * TILES, *tiles.shape[2:]))
        outputs = Backbone(self.stage_sizes, self.width, dtype=self.dtype, name="backbone")(folded, train=train)
        pooled = outputs["layer4"].astype(parameter_dtype(self.dtype)).mean((1, 2))
        outputs["features"] = pooled.reshape(count, TILES, -1)
        if self.num_classes is None:
            return outputs
        if permutations is None:
            permutations = jnp.broadcast_to(jnp.arange(TILES), (count, 1, TILES))
        joined = _shuffle(outputs["features"], permutations).reshape(-1, TILES * pooled.shape[-1])
        hidden = nn.relu(Linear(self.hidden, name="joined")(joined))
        logits = Linear(self.num_classes, name="logits")(hidden)
        outputs["logits"] = logits.reshape(count, -1, self.num_classes)
        return outputs


def _shuffle(features: Float[Array, "b n c"], permutations: Int[Array | ndarray, "b p n"]) -> Float[Array, "b p n c"]:
    """The features of each image in the order of each of its permutations.

    An exact product with zeros and ones, because the gradient of a gather is a scatter, which GPUs add up in any order.
    """
    order = nn.one_hot(permutations, features.shape[1], dtype=features.dtype)
    return jnp.einsum("bpin,bnc->bpic", order, features, precision=lax.Precision.HIGHEST)
