"""A Swin transformer over volumes, as SMIT has it: attention within windows, which every other block shifts by half.

Liu et al. 2021 in three dimensions, in the form of The-Veeraraghavan-Lab/SMIT: a stage whose side no window divides is
padded by zeros after the first normalisation, and these take part in the attention; positions that only the shift has
brought into one window are kept apart by -100 and not by minus infinity; each stage, the last too, ends with a merging
of 2x2x2 positions. Volumes are [b, d, h, w, c].

One thing is not as Liu et al. mean it. After the attention SMIT's code lays the windows back in another order than it
took them from, so that what a position has attended to is added elsewhere. The published weights have learned with
that, for volumes of 96 voxels a side, so that "official" is the order in which they give what they should; "inverse"
puts each position back into its place, for weights that are trained here.
"""

import functools
import itertools
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from mskjax.models.initial import normal_002
from mskjax.models.layers import LayerNorm, Linear, parameter_dtype

APART = -100.0
# The order in which a merging joins the eight positions of a cube, as steps along d, h and w.
CORNERS = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (1, 0, 1), (1, 1, 1))

Volume = Float[Array, "b d h w c"]
Joining = Literal["official", "inverse"]
# The axes of windows [b, windows along d, h, w, positions along d, h, w, c] in the order in which they make a volume.
_ORDERS = {"official": (0, 1, 3, 5, 2, 4, 6, 7), "inverse": (0, 1, 4, 2, 5, 3, 6, 7)}


class WindowAttention(nn.Module):
    """Attention of each window's positions to each other, with a bias for their relative place."""

    heads: int
    window: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, windows: Float[Array, "b n t c"], regions: Int[np.ndarray, "n t"] | None
    ) -> Float[Array, "b n t c"]:
        """Each position's own sum of the values of its window, of those positions that are of its region."""
        channels, dtype = windows.shape[-1], parameter_dtype(self.dtype)
        joined = Linear(3 * channels, use_bias=False, dtype=self.dtype, name="qkv")(windows)
        query, key, value = jnp.moveaxis(joined.reshape(*joined.shape[:-1], 3, self.heads, -1), -3, 0)
        query *= (channels // self.heads) ** -0.5
        scores = jnp.einsum("bnqhc,bnkhc->bnhqk", query, key, preferred_element_type=dtype) + self._bias(dtype)
        if regions is not None:
            apart = regions[:, None, :, None] != regions[:, None, None, :]
            scores = jnp.where(apart, scores + APART, scores)
        weights = jax.nn.softmax(scores).astype(self.dtype)
        attended = jnp.einsum("bnhqk,bnkhc->bnqhc", weights, value).reshape(windows.shape)
        return Linear(channels, dtype=self.dtype, name="proj")(attended)

    def _bias(self, dtype: Any) -> Float[Array, "heads t t"]:
        """The bias of each pair of positions in a window, from a table of their (2 window - 1)^3 differences."""
        shape = ((2 * self.window - 1) ** 3, self.heads)
        table = self.param("relative_position_bias", normal_002, shape, dtype)
        return jnp.moveaxis(table[relative_positions(self.window)], -1, 0)


class Block(nn.Module):
    """Attention within windows and a perceptron for each position, both beside a shortcut that may be all that is left.

    In training each example loses what is not its shortcut with probability `drop_path`.
    """

    heads: int
    window: int
    shift: int
    drop_path: float
    joining: Joining = "official"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, volume: Volume, train: bool) -> Volume:
        """The volume after the block, on its own grid."""
        channels = volume.shape[-1]
        drop = nn.Dropout(self.drop_path, broadcast_dims=(1, 2, 3, 4), deterministic=not train)
        volume = volume + drop(self._attend(LayerNorm(dtype=self.dtype, name="norm1")(volume)))
        hidden = Linear(4 * channels, dtype=self.dtype, name="fc1")(LayerNorm(dtype=self.dtype, name="norm2")(volume))
        return volume + drop(Linear(channels, dtype=self.dtype, name="fc2")(nn.gelu(hidden, approximate=False)))

    def _attend(self, volume: Volume) -> Volume:
        size = volume.shape[1:4]
        padded = jnp.pad(volume, ((0, 0), *((0, -side % self.window) for side in size), (0, 0)))
        sides, axes = padded.shape[1:4], (1, 2, 3)
        regions = None
        if self.shift:
            padded = jnp.roll(padded, (-self.shift,) * 3, axes)
            regions = shifted_regions(sides, self.window, self.shift)
        attention = WindowAttention(self.heads, self.window, self.dtype, name="attention")
        attended = join_windows(attention(split_windows(padded, self.window), regions), sides, self.joining)
        if self.shift:
            attended = jnp.roll(attended, (self.shift,) * 3, axes)
        return attended[:, : size[0], : size[1], : size[2]]


class Merging(nn.Module):
    """Each 2x2x2 positions as one, of twice the channels."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, volume: Volume) -> Float[Array, "b _ _ _ 2*c"]:
        """The volume with half its sides, which must be even."""
        channels = volume.shape[-1]
        joined = jnp.concatenate([volume[:, i::2, j::2, k::2] for i, j, k in CORNERS], -1)
        normed = LayerNorm(dtype=self.dtype, name="norm")(joined)
        return Linear(2 * channels, use_bias=False, dtype=self.dtype, name="reduction")(normed)


def split_windows(volume: Volume, window: int) -> Float[Array, "b n t c"]:
    """The volume's windows, in the order of d, h, w, as their positions are; the sides must be multiples of it."""
    return _cut(volume, window)


def join_windows(windows: Float[Array, "b n t c"], sides: tuple[int, ...], joining: Joining) -> Volume:
    """The volume of these sides that `split_windows` has cut into these windows, or SMIT's own order of them."""
    b, _, t, c = windows.shape
    window = round(t ** (1 / 3))
    cut = windows.reshape(b, *(side // window for side in sides), window, window, window, c)
    return cut.transpose(_ORDERS[joining]).reshape(b, *sides, c)


@functools.cache
def relative_positions(window: int) -> Int[np.ndarray, "t t"]:
    """The row of the table for each pair (query, key) of positions in a window."""
    places = np.array(list(itertools.product(range(window), repeat=3)))
    differences = places[:, None] - places[None] + window - 1
    rows = np.ravel_multi_index(tuple(np.moveaxis(differences, -1, 0)), (2 * window - 1,) * 3)
    return np.asarray(rows, np.int32)


@functools.cache
def shifted_regions(sides: tuple[int, ...], window: int, shift: int) -> Int[np.ndarray, "n t"]:
    """The region of each position of each window after a shift: those of one region were neighbours before it."""
    parts = []
    for side in sides:
        part = np.zeros(side, np.int32)
        part[side - window : side - shift], part[side - shift :] = 1, 2
        parts.append(part)
    regions = np.asarray(np.ravel_multi_index(np.meshgrid(*parts, indexing="ij"), (3, 3, 3)), np.int32)
    return _cut(regions[None, ..., None], window)[0, ..., 0]


def _cut(values: Any, window: int) -> Any:
    b, d, h, w, c = values.shape
    cut = values.reshape(b, d // window, window, h // window, window, w // window, window, c)
    return cut.transpose(0, 1, 3, 5, 2, 4, 6, 7).reshape(b, -1, window**3, c)
