"""DenseNet's counts, names and arithmetic; that its features are Keras's and torchvision's is tested on conversions."""

import functools
import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from mskjax import models
from mskjax.models.densenet import TOP_LAYERS, halved, top_layers

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
LAYERS = json.loads((GOLDEN / "keras" / "layouts_keras3.json").read_text())["densenet121"]["layers"]
SMALL = {"stage_sizes": (1, 2, 1, 1), "width": 4}
IMAGE = jax.random.normal(jax.random.key(1), (2, 64, 96, 3))
EPSILON = {"keras": 1.001e-5, "torchvision": 1e-5}
MOMENTUM = {"keras": 0.99, "torchvision": 0.9}


def sizes(variables):
    return {name: sum(leaf.size for leaf in jax.tree.leaves(tree)) for name, tree in variables.items()}


@functools.cache
def trained(variant):
    """A small network, its fresh variables, its outputs in training and its next statistics."""
    module = models.build("densenet121", num_classes=3, variant=variant, **SMALL)
    variables = models.init(module, jax.random.key(0), IMAGE)
    train = functools.partial(module.apply, train=True, mutable=["batch_stats"])
    outputs, state = jax.jit(train)(variables, IMAGE)
    return module, variables, outputs, state["batch_stats"]


def test_it_has_the_published_parameters():
    """Keras counts the statistics too; torchvision's own count is 7,978,856, with a head of 1000 classes."""
    counts = sizes(models.abstract(models.build("densenet121")))
    assert counts["params"] == 6_953_856
    assert sum(counts.values()) == 7_037_504
    assert sizes(models.abstract(models.build("densenet121", num_classes=1000)))["params"] == 7_978_856


def test_layers_have_kerass_names_and_shapes():
    variables = models.abstract(models.build("densenet121"))
    shapes = {"/".join(path): leaf.shape for path, leaf in flatten_dict(variables).items()}
    places = {"gamma": "params/{}/scale", "beta": "params/{}/bias", "kernel": "params/{}/kernel"}
    places |= {"moving_mean": "batch_stats/{}/mean", "moving_variance": "batch_stats/{}/var"}
    weights = [(name, weight, shape) for name, _, held in LAYERS for weight, shape in held.items()]
    assert shapes == {places[weight].format(f"backbone/{name}"): tuple(shape) for name, weight, shape in weights}


def test_the_top_layers_are_kerass_last_ten():
    assert [name for name, _ in TOP_LAYERS] == [name for name, _, _ in LAYERS[-10:]]
    assert [path for _, path in TOP_LAYERS] == [f"backbone/{name}" if held else "" for name, _, held in LAYERS[-10:]]


def test_the_top_layers_of_a_stage_of_one_layer_begin_before_it():
    """As in `DenseNet([1, 1, 1, 1], include_top=False)` of Keras 3."""
    names, paths = zip(*top_layers((1, 1, 1, 1)), strict=True)
    assert names[:3] == ("pool4_pool", "conv5_block1_0_bn", "conv5_block1_0_relu")
    assert names[-2:] == ("bn", "relu") and len(names) == 10
    assert paths[:2] == ("", "backbone/conv5_block1_0_bn")


def test_outputs_are_named_and_shaped():
    _, _, outputs, _ = trained("keras")
    assert {name: values.shape for name, values in outputs.items()} == {
        "pool1": (2, 16, 24, 8),
        "conv2_block1_concat": (2, 16, 24, 12),
        "conv3_block2_concat": (2, 8, 12, 14),
        "conv4_block1_concat": (2, 4, 6, 11),
        "conv5_block1_concat": (2, 2, 3, 9),
        "relu": (2, 2, 3, 9),
        "features": (2, 9),
        "logits": (2, 3),
    }
    np.testing.assert_allclose(outputs["features"], outputs["relu"].mean((1, 2)), rtol=1e-5)


def test_a_layer_keeps_what_was_before_it():
    _, _, outputs, _ = trained("keras")
    np.testing.assert_array_equal(outputs["conv2_block1_concat"][..., :8], outputs["pool1"])


@pytest.mark.parametrize("variant", ["keras", "torchvision"])
def test_a_variant_has_its_epsilon(variant):
    """Without variance BatchNorm divides by the root of epsilon alone."""
    module, variables, *_ = trained(variant)
    statistics = {**variables["batch_stats"]["backbone"]}
    statistics["bn"] = {"mean": jnp.zeros(9), "var": jnp.zeros(9)}
    variables = {"params": variables["params"], "batch_stats": {"backbone": statistics}}
    outputs = jax.jit(module.apply)(variables, IMAGE)
    expected = np.maximum(outputs["conv5_block1_concat"], 0) / math.sqrt(EPSILON[variant])
    np.testing.assert_allclose(outputs["relu"], expected, rtol=1e-5)


@pytest.mark.parametrize("variant", ["keras", "torchvision"])
def test_a_variant_has_its_momentum(variant):
    """The closing BatchNorm's mean begins at zero and takes in a share of its batch's."""
    _, _, outputs, statistics = trained(variant)
    mean = (1 - MOMENTUM[variant]) * outputs["conv5_block1_concat"].mean((0, 1, 2))
    np.testing.assert_allclose(statistics["backbone"]["bn"]["mean"], mean, rtol=1e-4, atol=1e-7)


def test_it_trains_in_bfloat16():
    module = models.build("densenet121", num_classes=3, dtype="bfloat16", **SMALL)
    variables = models.init(module, jax.random.key(0), IMAGE)

    def loss(params):
        outputs, state = module.apply(variables | {"params": params}, IMAGE, train=True, mutable=["batch_stats"])
        return jnp.square(outputs["logits"]).sum(), (outputs, state["batch_stats"])

    learn = jax.jit(jax.grad(loss, has_aux=True))
    gradients, (outputs, statistics) = learn(variables["params"])
    assert outputs["relu"].dtype == jnp.bfloat16
    assert outputs["logits"].dtype == outputs["features"].dtype == jnp.float32
    assert all(leaf.dtype == jnp.float32 and np.isfinite(leaf).all() for leaf in jax.tree.leaves(statistics))
    for path, leaf in flatten_dict(gradients, sep="/").items():
        assert leaf.dtype == jnp.float32 and np.isfinite(leaf).all() and np.any(leaf), path


@pytest.mark.parametrize("variant", ["keras", "torchvision"])
def test_fresh_kernels_have_their_sources_distribution(variant):
    """Keras: uniform by both fans (Glorot); torchvision: normal by the fan in (He)."""
    module = models.build("densenet121", variant=variant, stage_sizes=(1, 1, 1, 1), width=16)
    kernel = np.asarray(
        models.init(module, jax.random.key(2), IMAGE)["params"]["backbone"]["conv5_block1_2_conv"]["kernel"]
    )
    assert kernel.shape == (3, 3, 64, 16)
    variance = {"keras": 2 / (9 * (64 + 16)), "torchvision": 2 / (9 * 64)}[variant]
    assert abs(kernel.var() / variance - 1) < 5 * math.sqrt(2 / kernel.size)
    assert (np.abs(kernel).max() <= math.sqrt(3 * variance)) == (variant == "keras")


def test_halving_leaves_an_odd_edge_out():
    image = jnp.arange(15.0).reshape(1, 3, 5, 1)
    np.testing.assert_array_equal(halved(image)[0, ..., 0], [[3.0, 5.0]])  # means of 0 1 5 6 and of 2 3 7 8
