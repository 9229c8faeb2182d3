import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from configs import jigsaw
from mskjax import models, tasks
from mskjax.data import phantom
from mskjax.data.augment import Augmentation
from mskjax.models.jigsaw import JigsawResNet
from mskjax.tasks.jigsaw import Jigsaw, cells, cut, select_permutations, standardise

quick = jax.jit
STILL = Augmentation(flip=0.0, rotation=0.0, scaling=0.0, elastic=0.0)
SMOKE = {"stage_sizes": (1, 1, 1, 1), "width": 4}
MIDDLE = jnp.full((1, 9, 2), 10)  # of the 22 places of a tile of 64 in a cell of 85


def small(**fields):
    return Jigsaw(JigsawResNet((1, 1, 1, 1), num_classes=5, width=4, hidden=8), STILL, **fields)


class Solver(JigsawResNet):
    """Knows the answer from the permutations that it is given: logit 100 for their row; `sees` what it is given."""

    @nn.compact
    def __call__(self, tiles, permutations=None, *, train=False):
        bias = self.param("bias", nn.initializers.zeros, ())
        self.sow("intermediates", "tiles", tiles)
        if permutations is None:
            return {"logits": jnp.zeros((len(tiles), 1, self.num_classes)) + bias}
        table = jnp.asarray(select_permutations(self.num_classes))
        return {"logits": 100.0 * (permutations[:, :, None] == table).all(-1) + bias}


class Ignorant(JigsawResNet):
    """Gives every permutation the same logit."""

    @nn.compact
    def __call__(self, tiles, permutations, *, train=False):
        return {"logits": jnp.zeros((*permutations.shape[:2], self.num_classes))}


@pytest.fixture
def batch():
    image_hu = jax.random.randint(jax.random.key(0), (4, 32, 32), -200, 300).astype(jnp.int16)
    return {"image_hu": image_hu, "spacing_mm": jnp.ones((4, 2))}


# Geometry.


def test_cells_of_the_middle_row_by_row():
    image = jnp.arange(11.0)[None, :, None] * 100 + jnp.arange(11.0)
    found = cells(image)
    assert found.shape == (1, 9, 3, 3)  # 11 pixels hold three cells of 3 and leave one on either side
    np.testing.assert_array_equal(found[0, :, 0, 0], [101, 104, 107, 401, 404, 407, 701, 704, 707])
    np.testing.assert_array_equal(found[0, 5], [[407, 408, 409], [507, 508, 509], [607, 608, 609]])


def test_of_256_pixels_the_last_row_and_column_are_cropped():
    image = jnp.arange(256.0)[None, :, None] * 1000 + jnp.arange(256.0)
    found = cells(image)
    assert found.shape == (1, 9, 85, 85)
    assert (found[0, 0, 0, 0], found[0, 8, -1, -1], found[0, 1, 0, 0]) == (0, 254_254, 85)


def test_tiles_lie_at_the_row_and_column_of_their_offset():
    image = jnp.arange(255.0)[None, :, None] * 1000 + jnp.arange(255.0)
    offsets = jnp.array([[[i, 21 - 2 * i] for i in range(9)]])
    tiles = cut(cells(image), offsets, 64)
    for i in range(9):
        row, column = 85 * (i // 3) + i, 85 * (i % 3) + 21 - 2 * i
        assert (tiles[0, i, 0, 0], tiles[0, i, -1, -1]) == (1000 * row + column, 1000 * (row + 63) + column + 63)


def test_tiles_are_of_the_windowed_slice_and_standardised():
    image_hu = np.random.default_rng(0).integers(-1024, 1500, (256, 256)).astype(np.int16)
    tiles = small().tiles(jnp.array(image_hu)[None], MIDDLE)
    assert tiles.shape == (1, 9, 64, 64, 3)
    unit = np.clip((image_hu - -150) / 400, 0, 1)
    for i in range(9):
        row, column = 85 * (i // 3) + 10, 85 * (i % 3) + 10
        tile = unit[row : row + 64, column : column + 64]
        for channel in range(3):
            np.testing.assert_allclose(tiles[0, i, :, :, channel], (tile - tile.mean()) / tile.std(), atol=1e-4)


def test_shrinking_takes_in_every_pixel():
    """On the left every fourth column is bright, on the right all are a quarter as bright: small, they are alike."""
    left = np.where(np.arange(512) % 4 == 0, 250, -150)
    row = np.concatenate([left, np.full(512, -50)]).astype(np.int16)
    tiles = small().tiles(jnp.broadcast_to(jnp.array(row), (1, 1024, 1024)), MIDDLE)
    np.testing.assert_allclose(tiles[0, 4, :, 0], tiles[0, 4, :, -1], atol=1e-3)
    assert not tiles[0, [0, 2]].any()


@pytest.mark.parametrize("size", [31, 300, 513])
def test_slices_of_any_size_give_finite_tiles(size):
    image_hu = jax.random.randint(jax.random.key(size), (1, size, size), -1024, 3000).astype(jnp.int16)
    tiles = quick(small().tiles)(image_hu, MIDDLE)
    assert tiles.shape == (1, 9, 64, 64, 3)
    np.testing.assert_allclose(tiles.mean((2, 3, 4)), 0, atol=1e-5)
    np.testing.assert_allclose(tiles.std((2, 3, 4)), 1, rtol=1e-4)


# Standardising.


def test_a_tile_is_taken_to_mean_0_and_deviation_1():
    np.testing.assert_allclose(standardise(jnp.array([[[[1.0, 3.0], [1.0, 3.0]]]])), [[[[-1, 1], [-1, 1]]]])


@pytest.mark.parametrize("image_hu", [-1024, 17, 3000])
@pytest.mark.parametrize("size", [100, 256, 301])
def test_a_constant_tile_becomes_0_whatever_rounding_leaves(image_hu, size):
    tiles = quick(small().tiles)(jnp.full((1, size, size), image_hu, jnp.int16), MIDDLE)
    assert not tiles.any()


def test_a_single_pixel_of_1_hu_is_no_rounding():
    tiles = jnp.full((1, 1, 64, 64), 0.3).at[0, 0, 5, 5].add(1 / 400)
    np.testing.assert_allclose(standardise(tiles)[0, 0, 5, 5], np.sqrt(4095), rtol=1e-2)


# Puzzles.


def test_every_place_and_every_permutation_is_drawn_alike():
    offsets, labels = quick(small()._draw, static_argnums=1)(jax.random.key(0), 2000)
    counts = np.bincount(np.ravel(offsets))
    assert len(counts) == 22  # 85 - 64 + 1
    assert abs(counts / counts.mean() - 1).max() < 5 / np.sqrt(counts.mean())
    assert abs(np.bincount(labels) - 400).max() < 5 * np.sqrt(400)
    assert len(np.unique(offsets[0], axis=0)) > 1 and not np.array_equal(offsets[0], offsets[1])
    assert abs(np.corrcoef(np.reshape(offsets, (2000, 18)).T)[np.triu_indices(18, 1)]).max() < 0.12


def test_a_puzzle_depends_on_its_place_in_the_batch_and_not_on_the_batch():
    key = jax.random.key(1)
    draw = quick(small()._draw, static_argnums=1)
    jax.tree.map(lambda few, many: np.testing.assert_array_equal(few, many[:3]), draw(key, 3), draw(key, 8))


def test_classes_are_the_rows_of_the_permutations(batch):
    task = Jigsaw(Solver((1, 1, 1, 1), num_classes=50), STILL)
    params, model_state = {"bias": jnp.zeros(())}, {}
    loss, (after, metrics) = quick(task.loss)(params, model_state, batch, jax.random.key(0))
    assert (float(loss), after, metrics) == (0, {}, {})
    values = quick(task.evaluate)(params, model_state, batch)
    for name, expected in {"loss": 0, "accuracy": 1, "chance": 0.02}.items():
        np.testing.assert_allclose(values[name], np.full(4, expected), rtol=1e-6)


def test_who_knows_nothing_is_right_by_chance(batch):
    task = Jigsaw(Ignorant((1, 1, 1, 1), num_classes=20), STILL)
    values = quick(task.evaluate)({}, {}, batch)
    np.testing.assert_allclose(values["loss"], np.log(20), rtol=1e-6)
    np.testing.assert_allclose(values["accuracy"], values["chance"], rtol=1e-6)
    np.testing.assert_allclose(quick(task.loss)({}, {}, batch, jax.random.key(0))[0], np.log(20), rtol=1e-6)


def test_training_augments_and_shifts_tiles_and_evaluation_takes_the_middle(batch):
    """Seen through what the network is given."""
    seen = []

    class Spy(Ignorant):
        @nn.compact
        def __call__(self, tiles, permutations, *, train=False):
            seen.append(tiles)
            return Ignorant.__call__(self, tiles, permutations, train=train)

    mirrored = Augmentation(flip=1.0, rotation=0.0, scaling=0.0, elastic=0.0)
    task, key = Jigsaw(Spy((1, 1, 1, 1), num_classes=5), mirrored, resize=32, tile_size=8), jax.random.key(5)

    @quick
    def given(batch):
        return task.loss({}, {}, batch, key), task.evaluate({}, {}, batch), seen

    in_training, in_evaluation = given(batch)[-1]
    offsets, _ = quick(task._draw, static_argnums=1)(jax.random.split(key, 3)[1], 4)
    tiles, middle = quick(task.tiles), jnp.ones((4, 9, 2), jnp.int32)  # of places 0, 1 and 2
    np.testing.assert_allclose(in_evaluation, tiles(batch["image_hu"], middle), atol=1e-5)
    np.testing.assert_allclose(in_training, tiles(batch["image_hu"][:, :, ::-1], offsets), atol=1e-4)


def test_bfloat16_computes_in_it_and_keeps_the_rest_in_float32(batch):
    module = models.build("jigsaw_resnet101", **SMOKE, hidden=8, dtype="bfloat16")
    task = Jigsaw(module, STILL, resize=64, tile_size=16)
    variables = models.abstract(module)
    params = variables.pop("params")
    step = jax.value_and_grad(task.loss, has_aux=True)
    (loss, (after, _)), gradient = jax.eval_shape(step, params, variables, batch, jax.random.key(0))
    values = jax.eval_shape(task.evaluate, params, variables, batch)
    assert {leaf.dtype for leaf in jax.tree.leaves((loss, after, gradient, values))} == {jnp.dtype("float32")}
    assert {value.shape for value in values.values()} == {(4,)}


def test_two_devices_draw_and_cut_the_tiles_of_one(batch):
    task = small(resize=48, tile_size=12)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
    tiles = quick(lambda image_hu: task.tiles(image_hu, task._draw(jax.random.key(0), 4)[0]))
    one = tiles(batch["image_hu"])
    two = tiles(jax.device_put(batch["image_hu"], NamedSharding(mesh, PartitionSpec("data"))))
    assert len(two.sharding.device_set) == 2
    np.testing.assert_allclose(one, two, atol=1e-5)


# Learning.


def few_permutations():
    """The task as configured, small enough to be learned in seconds: six permutations of slices of 48 pixels."""
    config = jigsaw.task(SMOKE, resize=48)
    return tasks.build({**config, "model": {**config["model"], "num_classes": 6}})


def test_a_tiny_network_solves_puzzles_of_slices_that_it_has_not_seen():
    slices = phantom.slices(12, 48)
    batch = {"image_hu": jnp.array(slices.image_hu), "spacing_mm": jnp.array(slices.spacing_mm, jnp.float32)}
    train, held_out = ({name: array[rows] for name, array in batch.items()} for rows in (slice(8), slice(8, None)))
    task, optimizer = few_permutations(), optax.adam(3e-3)
    params, model_state = task.init(jax.random.key(0), train)
    optimizer_state = optimizer.init(params)

    @quick
    def step(params, model_state, optimizer_state, key):
        (_, (model_state, _)), gradient = jax.value_and_grad(task.loss, has_aux=True)(params, model_state, train, key)
        updates, optimizer_state = optimizer.update(gradient, optimizer_state)
        return optax.apply_updates(params, updates), model_state, optimizer_state

    for number in range(40):
        params, model_state, optimizer_state = step(params, model_state, optimizer_state, jax.random.key(number))
    values = quick(task.evaluate)(params, model_state, held_out)
    np.testing.assert_allclose(values["chance"], 1 / 6, rtol=1e-6)
    assert float(values["accuracy"].mean()) > 0.7


# What is refused.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tile_size": 86}, "tiles of tile_size=86 pixels do not fit into the cells of 85 that a slice of resize=256"),
        ({"tile_size": 0}, "use a tile_size of 1 to 85"),
        ({"resize": 100}, "do not fit into the cells of 33"),
        ({"criterion": "most"}, "criterion 'most' is unknown; choose one of minimum, mean"),
        ({"permutation": 3}, "task jigsaw has no field permutation; its fields are augmentation, criterion, freeze"),
        (
            {"model": {"name": "fcn_resnet101"}},
            "task jigsaw does not take the network fcn_resnet101; jigsaw_resnet101 belongs",
        ),
        ({"name": "reconstruction"}, "task reconstruction has no field criterion, permutation_seed, resize, tile_size"),
        ({"model": {"name": "jigsaw_resnet101", "num_classes": None}}, "set model.num_classes to the number of"),
        ({"model": {"name": "jigsaw_resnet101", "num_classes": 400_000}}, "use 1 to 362880"),
        ({"augmentation": {"flips": 0.5}}, "augmentation has no field flips; its fields are elastic, "),
    ],
)
def test_build_refuses_in_one_sentence(change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        tasks.build({**jigsaw.task(SMOKE), **change})
