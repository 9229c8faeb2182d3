from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from mskjax import models

OPTIONS = {"stage_sizes": (1, 1, 1, 1), "width": 4, "hidden": 16, "num_classes": 5}
KEY = jax.random.key(3)


@pytest.fixture(scope="module")
def network():
    """The network compiled, its variables, two images' tiles and three permutations of each."""
    module = models.build("jigsaw_resnet101", **OPTIONS)
    tiles = jax.random.normal(KEY, (2, 9, 16, 16, 3))
    permutations = jnp.array([[np.random.default_rng(3 * i + j).permutation(9) for j in range(3)] for i in range(2)])
    apply = jax.jit(partial(module.apply, mutable=["batch_stats"]), static_argnames="train")
    return apply, models.init(module, KEY, tiles), tiles, permutations


def test_parameters_are_those_of_a_trunk_and_two_layers():
    """The trunk as torchvision counts it; 9 x 2048 features to 4096, 4096 to 50, and their biases."""
    params = models.abstract(models.build("jigsaw_resnet101"))["params"]
    counts = {name: sum(leaf.size for leaf in jax.tree.leaves(tree)) for name, tree in params.items()}
    assert counts == {"backbone": 42_500_160, "joined": 9 * 2048 * 4096 + 4096, "logits": 4096 * 50 + 50}


def test_the_trunk_is_the_segmenters():
    jigsaw, segmenter = (
        flatten_dict(models.abstract(models.build(name, stage_sizes=(1, 2, 2, 1), width=8)))
        for name in ("jigsaw_resnet101", "fcn_resnet101")
    )
    trunks = [{path: leaf for path, leaf in tree.items() if path[1] == "backbone"} for tree in (jigsaw, segmenter)]
    assert trunks[0] and trunks[0] == trunks[1]


@pytest.mark.parametrize("train", [False, True])
def test_shuffling_tiles_is_shuffling_their_features(network, train):
    """In training too, where BatchNorm sees all tiles of the batch."""
    apply, variables, tiles, permutations = network
    shuffled = jnp.take_along_axis(tiles, permutations[:, 0, :, None, None, None], axis=1)
    unmoved = jnp.broadcast_to(jnp.arange(9), permutations.shape)
    by_tiles, statistics = apply(variables, shuffled, unmoved, train=train)
    by_features, others = apply(variables, tiles, permutations, train=train)
    np.testing.assert_allclose(by_tiles["logits"][:, 0], by_features["logits"][:, 0], rtol=1e-4, atol=1e-5)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5), statistics, others)
    assert not np.allclose(by_tiles["features"], by_features["features"])


def test_place_i_holds_the_tile_that_the_permutation_names_there(network):
    apply, variables, tiles, permutations = network
    outputs, _ = apply(variables, tiles, permutations, train=False)
    params = jax.tree.map(np.asarray, variables["params"])
    for features, orders, logits in zip(outputs["features"], permutations, outputs["logits"], strict=True):
        joined = np.array([np.concatenate([features[tile] for tile in order]) for order in orders])
        hidden = np.maximum(joined @ params["joined"]["kernel"] + params["joined"]["bias"], 0)
        expected = hidden @ params["logits"]["kernel"] + params["logits"]["bias"]
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_without_permutations_tiles_stay_in_order(network):
    apply, variables, tiles, permutations = network
    in_order, _ = apply(variables, tiles, train=False)
    assert in_order["logits"].shape == (2, 1, 5)
    named, _ = apply(variables, tiles, jnp.broadcast_to(jnp.arange(9), permutations.shape), train=False)
    np.testing.assert_allclose(in_order["logits"][:, 0], named["logits"][:, 0], rtol=1e-5, atol=1e-6)


def test_features_are_means_over_each_tile(network):
    apply, variables, tiles, permutations = network
    outputs, _ = apply(variables, tiles, permutations, train=False)
    np.testing.assert_allclose(outputs["features"].reshape(18, 128), outputs["layer4"].mean((1, 2)), rtol=1e-5)
    others, _ = apply(variables, tiles.at[1].set(0), permutations, train=False)
    np.testing.assert_allclose(outputs["features"][0], others["features"][0], rtol=1e-5)
    assert not np.allclose(outputs["features"][1], others["features"][1])


def test_bfloat16_leaves_features_and_logits_in_float32():
    module = models.build("jigsaw_resnet101", dtype="bfloat16", **OPTIONS)
    variables = models.abstract(module)
    tiles = jax.ShapeDtypeStruct((2, 9, 32, 32, 3), jnp.float32)
    outputs = jax.eval_shape(module.apply, variables, tiles)
    types = {name: output.dtype.name for name, output in outputs.items()}
    assert types == dict.fromkeys(["stem", "layer1", "layer2", "layer3", "layer4"], "bfloat16") | {
        "features": "float32",
        "logits": "float32",
    }
    assert {leaf.dtype.name for leaf in jax.tree.leaves(variables)} == {"float32"}


def test_without_classes_there_is_no_head():
    module = models.build("jigsaw_resnet101", **OPTIONS | {"num_classes": None})
    assert set(models.abstract(module)["params"]) == {"backbone"}


def test_the_head_must_have_units():
    with pytest.raises(ValueError, match="jigsaw_resnet101 has hidden=0; it must be a positive whole number"):
        models.build("jigsaw_resnet101", hidden=0)
