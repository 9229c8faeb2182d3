"""Which parameters and statistics a policy leaves as they are, told from the traced training step of each network."""

import functools
import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from flax.traverse_util import flatten_dict

from configs.classification import SMALL
from mskjax import models
from mskjax.models import policies

# The last ten of Keras's model.layers, without head and pooling, that hold weights; by counting them in Keras 3.
TOP = {
    "densenet121": {"conv5_block16_0_bn", "conv5_block16_1_conv", "conv5_block16_1_bn", "conv5_block16_2_conv", "bn"},
    "keras_resnet50": {f"conv5_block3_{number}_{kind}" for number in (1, 2, 3) for kind in ("conv", "bn")},
    "resnet50": {f"layer4_2/{kind}{number}" for number in (1, 2, 3) for kind in ("conv", "bn")},
    "inception_v3": {"Mixed_7c/branch_pool/bn"},
    "inception_resnet_v2": {
        *("block8_10/branch0_0/bn", "block8_10/branch1_2/bn", "block8_10/conv", "conv_7b/conv", "conv_7b/bn"),
    },
}
NAMES = sorted(TOP)
GOLDEN = Path(__file__).parents[1] / "golden" / "keras"
# Of each release all layers of each base model, in the order of its `layers`.
LAYOUTS = {generation: json.loads((GOLDEN / f"layouts_keras{generation}.json").read_text()) for generation in (2, 3)}


@functools.cache
def traced(name, policy, small=False):
    """The paths of all parameters, of those that learn, of all BatchNorm layers and of those whose statistics move.

    A statistic stays if the traced step hands the very value back that it was given.
    """
    module = models.build(name, num_classes=2, **(SMALL[name] if small else {}))
    patterns = policies.frozen(module, policy)
    variables = jax.eval_shape(lambda: module.init(jax.random.key(0), jnp.zeros((2, 75, 75, 3))))

    def step(variables):
        with models.freeze_batch_norm(patterns):
            return module.apply(variables, jnp.zeros((2, 75, 75, 3)), train=True, mutable=["batch_stats"])[1]

    jaxpr, shapes = jax.make_jaxpr(step, return_shape=True)(variables)
    order = flatten_dict(jax.tree.unflatten(jax.tree.structure(shapes), jaxpr.jaxpr.outvars), sep="/")
    moved = {path.removeprefix("batch_stats/") for path, leaf in order.items() if leaf not in jaxpr.jaxpr.invars}
    parameters = set(flatten_dict(variables["params"], sep="/"))
    learning = {path for path in parameters if not any(re.fullmatch(pattern, path) for pattern in patterns)}
    layers = {path.rpartition("/")[0] for path in flatten_dict(variables["batch_stats"], sep="/")}
    assert moved == {f"{layer}/{part}" for layer in layers for part in ("mean", "var")} & moved
    return parameters, learning, layers, {path.rpartition("/")[0] for path in moved}


def below(paths, layers):
    return {path for path in paths if any(path.startswith(f"{layer}/") for layer in layers)}


@pytest.mark.parametrize("name", NAMES)
def test_freezeall_lets_the_head_alone_learn(name):
    _, learning, _, moving = traced(name, "freezeall", small=True)
    assert learning == {"fc/kernel", "fc/bias"}
    assert moving == set()


@pytest.mark.parametrize("name", NAMES)
def test_unfreezeall_lets_all_learn(name):
    parameters, learning, norms, moving = traced(name, "unfreezeall", small=True)
    assert learning == parameters
    assert moving == norms


@pytest.mark.parametrize("name", NAMES)
def test_unfreezetop10_lets_keras_last_ten_layers_learn(name):
    parameters, learning, norms, moving = traced(name, "unfreezetop10")
    top = {f"backbone/{path}" for path in TOP[name]}
    assert all(below(parameters, {layer}) for layer in top), "each holds parameters"
    assert learning == below(parameters, {*top, "fc"})
    assert moving == top & norms


@pytest.mark.parametrize("name", ["densenet121", "keras_resnet50", "resnet50"])
def test_of_a_smaller_network_the_last_ten_are_its_own(name):
    parameters, learning, norms, moving = traced(name, "unfreezetop10", small=True)
    assert {"fc/kernel", "fc/bias"} < learning < parameters
    assert set() < moving < norms


@pytest.mark.parametrize("name", ["fcn_resnet101", "jigsaw_resnet101"])
def test_networks_that_share_a_trunk_share_its_last_layers(name):
    module = models.build(name)
    paths = [path for _, path in policies.top_layers(module) if path]
    assert paths == [f"backbone/layer4_2/{kind}{number}" for number in (1, 2, 3) for kind in ("conv", "bn")]


@pytest.mark.parametrize("generation", LAYOUTS)
@pytest.mark.parametrize("name", LAYOUTS[3])
def test_the_ten_layers_stand_in_the_order_of_both_releases_of_keras(name, generation):
    layout = LAYOUTS[generation][name]

    def from_0(layer):  # Keras's automatic numbers go on from the model before
        numbered = re.fullmatch(r"(activation|batch_normalization)_(\d+)", layer)
        return f"{numbered[1]}_{int(numbered[2]) - layout['first']}" if numbered else layer

    expected = [(from_0(layer), bool(weights)) for layer, _, weights in layout["layers"][-10:]]
    assert [(layer, bool(path)) for layer, path in policies.top_layers(models.build(name))] == expected


@pytest.mark.parametrize("name", NAMES)
def test_ten_layers_are_told(name):
    module = models.build(name)
    assert len(policies.top_layers(module)) == 10
    told = policies.describe(module)
    assert (told.count(",") + 1, told.count("*")) == (10, len(TOP[name]))


def test_regexes_are_a_policy():
    module = models.build("resnet50", num_classes=2)
    assert policies.frozen(module, ["backbone/bn1/.*", "fc/bias"]) == ("backbone/bn1/.*", "fc/bias")


@pytest.mark.parametrize(("pattern", "stays"), [("backbone/.*/bn/bias", True), ("backbone/.*/bn/mean", False)])
def test_statistics_of_a_batch_norm_without_scale_stay_with_its_bias(pattern, stays):
    _, _, norms, moving = traced("inception_v3", (pattern,), small=True)
    assert (moving == set()) == stays
    assert (moving == norms) != stays


def test_unknown_words_and_networks_are_refused():
    module = models.build("resnet50", num_classes=2)
    with pytest.raises(ValueError, match=r"policy 'freezesome' is unknown; choose one of .* or regexes such as"):
        policies.frozen(module, "freezesome")
    assert policies.frozen(module, "backbone/conv1/.*,backbone/bn1/.*") == ("backbone/conv1/.*", "backbone/bn1/.*")
    with pytest.raises(ValueError, match="the last ten layers of Linear are not known"):
        policies.frozen(models.layers.Linear(2), "unfreezetop10")
