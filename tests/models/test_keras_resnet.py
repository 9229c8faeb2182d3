"""Keras's ResNet: counts, names, strides and biases; that its features are Keras's is tested on conversions."""

import functools
import json
import math
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from mskjax import models
from mskjax.models.keras_resnet import TOP_LAYERS, top_layers
from mskjax.models.layers import Conv

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
LAYERS = json.loads((GOLDEN / "keras" / "layouts_keras3.json").read_text())["keras_resnet50"]["layers"]
SMALL = {"stage_sizes": (1, 2, 1, 1), "width": 4}
IMAGE = jax.random.normal(jax.random.key(1), (2, 64, 96, 3))


@functools.cache
def trained():
    """A small network, its fresh variables, its outputs in training and its next statistics."""
    module = models.build("keras_resnet50", num_classes=3, **SMALL)
    variables = models.init(module, jax.random.key(0), IMAGE)
    train = functools.partial(module.apply, train=True, mutable=["batch_stats"])
    outputs, state = jax.jit(train)(variables, IMAGE)
    return module, variables, outputs, state["batch_stats"]


def test_it_has_kerass_parameters():
    variables = models.abstract(models.build("keras_resnet50"))
    trainable, statistics = (sum(x.size for x in jax.tree.leaves(variables[k])) for k in ("params", "batch_stats"))
    assert trainable == 23_534_592
    assert trainable + statistics == 23_587_712


def test_layers_have_kerass_names_and_shapes():
    variables = models.abstract(models.build("keras_resnet50"))
    shapes = {"/".join(path): leaf.shape for path, leaf in flatten_dict(variables).items()}
    places = {weight: f"params/{{}}/{weight}" for weight in ("kernel", "bias")}
    places |= {"gamma": "params/{}/scale", "beta": "params/{}/bias"}
    places |= {"moving_mean": "batch_stats/{}/mean", "moving_variance": "batch_stats/{}/var"}
    weights = [(name, weight, shape) for name, _, held in LAYERS for weight, shape in held.items()]
    assert shapes == {places[weight].format(f"backbone/{name}"): tuple(shape) for name, weight, shape in weights}


def test_the_top_layers_are_kerass_last_ten():
    assert [name for name, _ in TOP_LAYERS] == [name for name, _, _ in LAYERS[-10:]]
    assert [path for _, path in TOP_LAYERS] == [f"backbone/{name}" if held else "" for name, _, held in LAYERS[-10:]]


def test_the_top_layers_of_a_stage_of_one_block_have_its_shortcut():
    """As Keras 3 lists the layers of such a stage."""
    block = "1_relu 2_conv 2_bn 2_relu 0_conv 3_conv 0_bn 3_bn add out"
    assert [name for name, _ in top_layers((1, 1, 1, 1))] == [f"conv5_block1_{part}" for part in block.split()]
    assert [bool(path) for _, path in top_layers((1, 1, 1, 1))] == [False, True, True, False, *[True] * 4, False, False]


def test_outputs_are_named_and_shaped():
    _, _, outputs, _ = trained()
    assert {name: values.shape for name, values in outputs.items()} == {
        "pool1_pool": (2, 16, 24, 4),
        "conv2_block1_out": (2, 16, 24, 16),
        "conv3_block2_out": (2, 8, 12, 32),
        "conv4_block1_out": (2, 4, 6, 64),
        "conv5_block1_out": (2, 2, 3, 128),
        "features": (2, 128),
        "logits": (2, 3),
    }
    np.testing.assert_allclose(outputs["features"], outputs["conv5_block1_out"].mean((1, 2)), rtol=1e-5)


def test_the_stride_is_on_the_first_convolution():
    module = models.build("keras_resnet50", **SMALL)
    apply = functools.partial(module.apply, capture_intermediates=lambda m, _: isinstance(m, Conv))
    apply = functools.partial(apply, mutable=["intermediates"])
    _, state = jax.eval_shape(apply, models.abstract(module), IMAGE)
    convolved = state["intermediates"]["backbone"]
    for name in ("0", "1", "2", "3"):
        assert convolved[f"conv3_block1_{name}_conv"]["__call__"][0].shape[1:3] == (8, 12)
        assert convolved[f"conv2_block1_{name}_conv"]["__call__"][0].shape[1:3] == (16, 24)
    assert not [name for name in convolved if re.match(r"conv\d_block2_0_", name)]


def test_epsilon_and_bias_are_kerass():
    """An image of zeros leaves the stem its bias alone, which without variance is divided by the root of epsilon."""
    module, variables, *_ = trained()
    params, statistics = ({**variables[name]["backbone"]} for name in ("params", "batch_stats"))
    bias = jnp.array([1.0, 2.0, -3.0, 0.5])
    params["conv1_conv"] = params["conv1_conv"] | {"bias": bias}
    statistics["conv1_bn"] = {"mean": jnp.zeros(4), "var": jnp.zeros(4)}
    variables = {"params": variables["params"] | {"backbone": params}, "batch_stats": {"backbone": statistics}}
    stem = jax.jit(module.apply)(variables, 0 * IMAGE)["pool1_pool"]
    expected = np.maximum(bias, 0) / math.sqrt(1.001e-5)
    np.testing.assert_allclose(stem, np.broadcast_to(expected, stem.shape), rtol=1e-6)


def test_the_running_variance_has_kerass_momentum():
    """A kernel of zeros gives no variance, and 0.99 remains of the 1 that it began with."""
    module, variables, *_ = trained()
    params = {**variables["params"]["backbone"]}
    params["conv1_conv"] = jax.tree.map(jnp.zeros_like, params["conv1_conv"])
    variables = variables | {"params": variables["params"] | {"backbone": params}}
    train = functools.partial(module.apply, train=True, mutable=["batch_stats"])
    _, state = jax.jit(train)(variables, IMAGE)
    np.testing.assert_allclose(state["batch_stats"]["backbone"]["conv1_bn"]["var"], 0.99, rtol=1e-6)


def test_it_trains_in_bfloat16():
    module = models.build("keras_resnet50", num_classes=3, dtype="bfloat16", **SMALL)
    variables = models.init(module, jax.random.key(0), IMAGE)

    def loss(params):
        outputs, state = module.apply(variables | {"params": params}, IMAGE, train=True, mutable=["batch_stats"])
        return jnp.square(outputs["logits"]).sum(), (outputs, state["batch_stats"])

    learn = jax.jit(jax.grad(loss, has_aux=True))
    gradients, (outputs, statistics) = learn(variables["params"])
    assert outputs["conv5_block1_out"].dtype == jnp.bfloat16
    assert outputs["logits"].dtype == outputs["features"].dtype == jnp.float32
    assert all(leaf.dtype == jnp.float32 and np.isfinite(leaf).all() for leaf in jax.tree.leaves(statistics))
    for path, leaf in flatten_dict(gradients, sep="/").items():
        assert leaf.dtype == jnp.float32 and np.isfinite(leaf).all(), path
        assert np.any(leaf) or path.endswith("conv/bias"), path  # which BatchNorm takes out again


@pytest.mark.parametrize(
    ("name", "variant", "sentence"),
    [
        (
            "keras_resnet50",
            "torchvision",
            "variant='torchvision' but follows keras alone; torchvision's ResNet is resnet50",
        ),
        ("resnet50", "keras", "variant='keras' but follows torchvision alone; keras's ResNet is keras_resnet50"),
        ("resnet101", "keras", "keras's ResNet is keras_resnet50"),
        ("inception_resnet_v2", "torchvision", "variant='torchvision' but follows keras alone"),
        ("fcn_resnet101", "torchvision", "fcn_resnet101 has no option variant"),
        ("densenet121", "pytorch", "variant='pytorch'; it must be 'keras' or 'torchvision'"),
    ],
)
def test_a_form_that_a_network_has_not_is_refused(name, variant, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        models.build(name, variant=variant)


@pytest.mark.parametrize(("name", "variant"), [("keras_resnet50", "keras"), ("resnet50", "torchvision")])
def test_a_networks_only_form_may_be_named(name, variant):
    assert models.build(name, variant=variant, **SMALL) == models.build(name, **SMALL)
