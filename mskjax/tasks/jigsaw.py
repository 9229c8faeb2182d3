"""Jigsaw puzzles, the self-supervised task of study A: from nine shuffled tiles of a slice, tell how they lay.

The paper gives the 3x3 grid, the 50 permutations and the cross-entropy. The rest follows Noroozi and Favaro (2016) and
their code: slices of 256 pixels, cells of 85, in each a tile of 64 at a random place, so that neighbours do not meet;
and every tile less its own mean, by its own standard deviation, so that no tile is told by its brightness. ImageNet's
channel means and deviations, which the paper names, cannot outlast that, all three channels being equal, and are left
out. No outline is read.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax
from jaxtyping import Float, Int, Num

from mskjax.data.augment import Augmentation, augment
from mskjax.models.jigsaw import GRID, TILES, JigsawResNet
from mskjax.tasks import network
from mskjax.tasks.intensity import window
from mskjax.tasks.network import Batch, State
from mskjax.tasks.permutations import select_permutations
from mskjax.tasks.task import Task
from mskjax.types import Key, Params

# In the units of a window of 1: float32 rounding leaves 1e-7 in a constant tile, and one pixel of 64x64 that is 1 HU of
# 400 brighter than the others makes 4e-5.
CONSTANT_SD = 1e-5
_cross_entropy = optax.softmax_cross_entropy_with_integer_labels


@dataclass(frozen=True)
class Jigsaw(Task):
    """The task: its network, and square images in a batch {"image_hu" [b,s,s], "spacing_mm" [b,2]}.

    The network has one class for each permutation, which `criterion` and `permutation_seed` choose
    (`select_permutations`). `resize` and `tile_size` are in pixels; the cells of the grid have resize // 3. `freeze`
    holds regexes as of `Segmentation`. Raises `ValueError` for tiles larger than cells.
    """

    module: JigsawResNet
    augmentation: Augmentation
    window_hu: float = 400.0
    level_hu: float = 50.0
    resize: int = 256
    tile_size: int = 64
    criterion: str = "minimum"
    permutation_seed: int = 0
    freeze: tuple[str, ...] = ()

    def __post_init__(self):
        if not 1 <= self.tile_size <= self.resize // GRID:
            raise ValueError(
                f"tiles of tile_size={self.tile_size} pixels do not fit into the cells of {self.resize // GRID} that a "
                f"slice of resize={self.resize} has; use a tile_size of 1 to {self.resize // GRID}, or a larger resize"
            )
        if self.module.num_classes is None:
            raise ValueError("jigsaw takes a network with a head; set model.num_classes to the number of permutations")
        _ = self.permutations  # refuses what cannot be selected, and fills the cache

    @property
    def permutations(self) -> Int[np.ndarray, "k 9"]:
        """The permutations, one a row: the row's number is the class, and place i of the puzzle holds tile row[i]."""
        return select_permutations(self.module.num_classes, TILES, self.criterion, self.permutation_seed)

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Fresh parameters and the network's other variables."""
        shape = (len(batch["image_hu"]), TILES, self.tile_size, self.tile_size, 3)
        return network.initial(self.module, key, shape)

    def loss(self, params: Params, model_state: State, batch: Batch, key: Key) -> tuple[Array, tuple[State, State]]:
        """The batch's mean cross-entropy in nats, and (the next model state, metrics).

        Augmentation, and for each image the places of its tiles and one permutation, are drawn from `key`.
        """
        augment_key, puzzle_key, dropout_key = jax.random.split(key, 3)
        nothing = jnp.zeros(batch["image_hu"].shape, jnp.uint8)
        image_hu, _ = augment(augment_key, batch["image_hu"], nothing, batch["spacing_mm"], self.augmentation)
        offsets, labels = self._draw(puzzle_key, len(image_hu))
        outputs, model_state = network.train(
            self.module,
            params,
            model_state,
            self.tiles(image_hu, offsets),
            jnp.asarray(self.permutations)[labels][:, None],
            key=dropout_key,
            freeze=self.freeze,
        )
        return _cross_entropy(outputs["logits"], labels[:, None]).mean(), (model_state, {})

    def evaluate(self, params: Params, model_state: State, batch: Batch) -> dict[str, Float[Array, " b"]]:
        """Each example's "loss" and "accuracy" over all permutations, and the accuracy of "chance".

        Tiles are taken from the middle of their cells, without augmentation; nothing is random.
        """
        count, permutations = len(batch["image_hu"]), self.permutations
        middle = jnp.full((count, TILES, 2), self._gap // 2)
        every = jnp.broadcast_to(permutations, (count, *permutations.shape))
        tiles = self.tiles(batch["image_hu"], middle)
        logits = network.evaluate(self.module, params, model_state, tiles, every)["logits"]
        labels = jnp.broadcast_to(jnp.arange(len(permutations)), every.shape[:2])
        return {
            "loss": _cross_entropy(logits, labels).mean(1),
            "accuracy": (logits.argmax(-1) == labels).mean(1),
            "chance": jnp.full(count, 1 / len(permutations)),
        }

    def tiles(self, image_hu: Num[Array, "b s s"], offsets: Int[Array, "b 9 2"]) -> Float[Array, "b 9 t t 3"]:
        """The network's input: the standardised tiles, row by row, at `offsets` (row, column) within their cells."""
        image = window(image_hu, self.window_hu, self.level_hu)
        image = jax.image.resize(image, (len(image), self.resize, self.resize), "bilinear", antialias=True)
        tiles = standardise(cut(cells(image), offsets, self.tile_size))
        return jnp.repeat(tiles[..., None], 3, axis=-1)

    @property
    def _gap(self) -> int:
        """By how many pixels a tile can move within its cell."""
        return self.resize // GRID - self.tile_size

    def _draw(self, key: Key, count: int) -> tuple[Int[Array, "{count} 9 2"], Int[Array, "{count}"]]:
        """For each image the offsets of its tiles and its class; they depend on the key and its place in the batch."""

        def draw_one(index: Array) -> tuple[Array, Array]:
            offset_key, label_key = jax.random.split(jax.random.fold_in(key, index))
            offsets = jax.random.randint(offset_key, (TILES, 2), 0, self._gap + 1)
            return offsets, jax.random.randint(label_key, (), 0, len(self.permutations))

        return jax.vmap(draw_one)(jnp.arange(count))


def cells(image: Float[Array, "b s s"]) -> Float[Array, "b 9 h h"]:
    """The cells of the middle of each image in a 3x3 grid, row by row; up to two rows and columns are left over."""
    size = image.shape[1] // GRID
    first = (image.shape[1] - GRID * size) // 2
    middle = image[:, first : first + GRID * size, first : first + GRID * size]
    grid = middle.reshape(-1, GRID, size, GRID, size)
    return grid.swapaxes(2, 3).reshape(-1, TILES, size, size)


def cut(
    cells: Float[Array, "b 9 h h"], offsets: Int[Array, "b 9 2"], tile_size: int
) -> Float[Array, "b 9 {tile_size} {tile_size}"]:
    """A tile of each cell, whose first pixel lies at the cell's offset (row, column)."""

    def cut_one(cell: Array, offset: Array) -> Array:
        return lax.dynamic_slice(cell, offset, (tile_size, tile_size))

    return jax.vmap(jax.vmap(cut_one))(cells, offsets)


def standardise(tiles: Float[Array, "b n h w"]) -> Float[Array, "b n h w"]:
    """Each tile less its mean, by its standard deviation; a tile that is constant but for rounding becomes 0."""
    tiles = tiles - tiles.mean((2, 3), keepdims=True)
    sd = jnp.sqrt(jnp.square(tiles).mean((2, 3), keepdims=True))
    return jnp.where(sd > CONSTANT_SD, tiles / jnp.maximum(sd, CONSTANT_SD), 0)
