"""What lies at the places that the networks name is what Keras's layers of these names make."""

import functools
import importlib
import re

import jax
import numpy as np
import pytest
from jax.core import eval_jaxpr

from mskjax import models

private = importlib.import_module("mskjax.explain.grad_cam")
NETWORKS = {
    "densenet121": {"stage_sizes": (2, 1, 1, 1), "width": 4},
    "keras_resnet50": {"stage_sizes": (2, 1, 1, 1), "width": 4},
    "resnet50": {"stage_sizes": (2, 1, 1, 1), "width": 4},
    "inception_v3": {"width": 1},
    "inception_resnet_v2": {"width": 1},
}
# A layer's name, and that of the one whose ReLU it is.
RELUS = {
    r"(.*_|)relu": r"\1bn",
    r"(.*)_out": r"\1_add",
    r"activation_(\d+)": r"batch_normalization_\1",
    r"conv_7b_ac": "conv_7b_bn",
    r"(block\d+_\d+)_ac": r"\1",
}
# The place up to which a network is evaluated, as what follows is made of the same parts, and the ReLUs until there.
LAST = {
    "densenet121": ("relu", 15),
    "keras_resnet50": ("conv5_block1_out", 16),
    "resnet50": ("conv5_block1_out", 16),
    "inception_v3": ("activation_25", 26),
    "inception_resnet_v2": ("block35_3_ac", 33),
}


@pytest.fixture(scope="module")
def marked():
    """What a network of random weights makes at the places that it names, once for each network."""

    @functools.cache
    def evaluate(name):
        module = models.build(name, num_classes=2, **NETWORKS[name])
        rng = np.random.default_rng(0)
        variables = jax.tree_util.tree_map_with_path(functools.partial(drawn, rng), models.abstract(module))
        image = rng.normal(size=(1, 75, 75, 3)).astype(np.float32)
        forward = jax.make_jaxpr(functools.partial(private._forward, module, "", {}))(variables, image)
        marks = private._marks(forward.jaxpr)
        count = 1 + next(i for i, equation in enumerate(forward.jaxpr.eqns) if marks[LAST[name][0]] in equation.outvars)
        made = {variable for equation in forward.jaxpr.eqns[:count] for variable in equation.outvars}
        marks = {layer: variable for layer, variable in marks.items() if variable in made}
        jaxpr = forward.jaxpr.replace(eqns=forward.jaxpr.eqns[:count], outvars=list(marks.values()))
        outputs = jax.jit(functools.partial(eval_jaxpr, jaxpr, forward.consts))(*jax.tree.leaves((variables, image)))
        return dict(zip(marks, map(np.asarray, outputs), strict=True))

    return evaluate


def drawn(rng, path, leaf):
    """Random weights with which outputs stay near 1, and which need no compiled `init`."""
    if path[-1].key == "kernel":
        return rng.normal(0, np.sqrt(2 / np.prod(leaf.shape[:-1])), leaf.shape).astype(np.float32)
    middle = 1 if path[-1].key in ("var", "scale") else 0
    return rng.uniform(middle - 0.5, middle + 0.5, leaf.shape).astype(np.float32)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_relu_is_named_behind_and_not_before(marked, name):
    made = marked(name)
    sources = {layer: before for layer in made if (before := source(layer))}
    for layer, before in sources.items():
        np.testing.assert_allclose(made[layer], np.maximum(made[before], 0), atol=1e-6, err_msg=layer)
    assert len(sources) == LAST[name][1]
    # Of few channels some have nothing that a ReLU would cut.
    assert sum((made[before] < 0).any() for before in sources.values()) > 0.8 * len(sources)


def source(layer):
    """The name of the layer whose ReLU this one is, "" where it is none's."""
    found = [match.expand(of) for pattern, of in RELUS.items() if (match := re.fullmatch(pattern, layer))]
    return found[0] if found else ""


def test_what_a_dense_layer_adds_is_behind_what_there_was(marked):
    made = marked("densenet121")
    joined = np.concatenate([made["conv2_block1_concat"], made["conv2_block2_2_conv"]], axis=-1)
    np.testing.assert_array_equal(made["conv2_block2_concat"], joined)


@pytest.mark.parametrize("name", ["keras_resnet50", "resnet50"])
def test_a_resnets_sum_is_of_the_last_norm_and_the_shortcut(marked, name):
    made = marked(name)
    for block, shortcut in (("conv2_block1", "conv2_block1_0_bn"), ("conv2_block2", "conv2_block1_out")):
        added = made[f"{block}_3_bn"] + made[shortcut]
        np.testing.assert_allclose(made[f"{block}_add"], added, atol=1e-6)


def test_keras_scale_layers_are_the_sum_and_not_what_is_added(marked):
    """By 0.17 times the projection; the first block is behind what no name is given to."""
    made = marked("inception_resnet_v2")
    for number, name, before in ((1, "block35_2", "block35_1_ac"), (2, "block35_3", "block35_2_ac")):
        summed = made[before] + 0.17 * made[f"{name}_conv"]
        np.testing.assert_allclose(made[f"custom_scale_layer_{number}"], summed, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(made[name], made[f"custom_scale_layer_{number}"])
