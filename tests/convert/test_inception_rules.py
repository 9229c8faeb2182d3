"""Every name that Keras and torchvision give to weights of the Inception networks has its leaf, and the right one."""

import functools
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from mskjax import models
from mskjax.convert import inception_resnet_v2, inception_v3
from mskjax.convert.rules import apply_rules, rename

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "keras"
TRUE_NAME = runpy.run_path(str(GOLDEN / "fabricate.py"))["true_name"]
KERAS = {"inception_v3": inception_v3.keras_rules, "inception_resnet_v2": inception_resnet_v2.keras_rules}
TORCHVISION = json.loads((GOLDEN / "names_radimagenet.json").read_text())["inception_v3"]
# The first of Keras's numbers for each stretch of InceptionResNetV2, read in Keras's code, and its paths in order.
STEM = [f"conv2d_{name}" for name in ("1a", "2a", "2b", "3b", "4a")]
MIXED_5B = ["branch0_0", "branch1_0", "branch1_1", "branch2_0", "branch2_1", "branch2_2", "branch_pool"]
MIXED_7A = ["branch0_0", "branch0_1", "branch1_0", "branch1_1", "branch2_0", "branch2_1", "branch2_2"]
RESIDUAL = ["branch0_0", "branch1_0", "branch1_1", "branch1_2"]
STRETCHES = {
    0: STEM,
    5: [f"mixed_5b/{name}" for name in MIXED_5B],
    **{12 + 6 * n: [f"block35_{n + 1}/{name}" for name in MIXED_5B[:-1]] for n in range(10)},
    72: [f"mixed_6a/{name}" for name in RESIDUAL],
    **{76 + 4 * n: [f"block17_{n + 1}/{name}" for name in RESIDUAL] for n in range(20)},
    156: [f"mixed_7a/{name}" for name in MIXED_7A],
    **{163 + 4 * n: [f"block8_{n + 1}/{name}" for name in RESIDUAL] for n in range(10)},
}


def broadcast(shapes):
    """Shapes without memory: the arrays are one number, repeated."""
    return {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}


@functools.cache
def keras_tensors(model, generation):
    layout = json.loads((GOLDEN / f"layouts_keras{generation}.json").read_text())[model]
    return broadcast(
        {
            f"{TRUE_NAME(layer, layout['first'])}/{weight.removesuffix(':0')}": shape
            for layer, _, held in layout["layers"]
            for weight, shape in held.items()
        }
    )


@functools.cache
def wanted(model, **options):
    return flatten_dict(models.abstract(models.build(model, **options)), sep="/")


def shapes(leaves):
    return {name: getattr(leaf, "array", leaf).shape for name, leaf in leaves.items()}


@pytest.mark.parametrize("model", KERAS)
@pytest.mark.parametrize("generation", [2, 3])
def test_every_name_of_keras_has_its_leaf(model, generation):
    renamed = rename(keras_tensors(model, generation), KERAS[model]([]))
    assert renamed.problems == [] and list(renamed.ignored) == []
    assert shapes(renamed.leaves) == shapes(wanted(model))


def test_every_name_of_torchvision_has_its_leaf():
    renamed = rename(broadcast({name: shape for _, name, shape in TORCHVISION}), inception_v3.torchvision_rules([]))
    assert renamed.problems == []
    assert len(renamed.ignored) == 94 and all(name.endswith("num_batches_tracked") for name in renamed.ignored)
    assert shapes(renamed.leaves) == shapes(wanted("inception_v3", variant="torchvision"))


def test_kerass_numbers_count_torchvisions_modules():
    """Both libraries make the units in one order: the k-th of torchvision's file is Keras's conv2d_k."""
    rules = inception_v3.torchvision_rules([])
    torchvisions = rename(broadcast({name: shape for _, name, shape in TORCHVISION}), rules).leaves
    kerass = rename(keras_tensors("inception_v3", 3), inception_v3.keras_rules([])).leaves
    kernels = [name for name in torchvisions if name.endswith("conv/kernel")]
    assert [kerass[name].source for name in kernels] == [f"conv2d_{number}/kernel" for number in range(94)]
    variances = [name for name in torchvisions if name.endswith("/var")]
    assert [kerass[name].source for name in variances] == [
        f"batch_normalization_{number}/moving_variance" for number in range(94)
    ]


def test_numbers_of_inception_resnet_v2_are_those_of_kerass_code():
    leaves = rename(keras_tensors("inception_resnet_v2", 3), inception_resnet_v2.keras_rules([])).leaves
    paths = {first + place: path for first, stretch in STRETCHES.items() for place, path in enumerate(stretch)}
    assert sorted(paths) == list(range(203))
    for number, path in paths.items():
        assert leaves[f"params/backbone/{path}/conv/kernel"].source == f"conv2d_{number}/kernel"
        assert leaves[f"params/backbone/{path}/bn/bias"].source == f"batch_normalization_{number}/beta"


def test_named_layers_of_inception_resnet_v2_keep_their_names():
    leaves = rename(keras_tensors("inception_resnet_v2", 2), inception_resnet_v2.keras_rules([])).leaves
    assert {
        leaves[f"params/backbone/{path}"].source: path
        for path in ("block17_3/conv/kernel", "block8_10/conv/bias", "conv_7b/conv/kernel", "conv_7b/bn/bias")
    } == {
        "block17_3_conv/kernel": "block17_3/conv/kernel",
        "block8_10_conv/bias": "block8_10/conv/bias",
        "conv_7b/kernel": "conv_7b/conv/kernel",
        "conv_7b_bn/beta": "conv_7b/bn/bias",
    }
    assert leaves["batch_stats/backbone/conv_7b/bn/mean"].source == "conv_7b_bn/moving_mean"


def test_heads_are_taken_or_left_out():
    keras = broadcast({"predictions/kernel": (2048, 1000), "predictions/bias": (1000,)})
    torchvision = broadcast({"fc.weight": (1000, 2048), "fc.bias": (1000,), "AuxLogits.fc.bias": (1000,)})
    both = ((keras, inception_v3.keras_rules), (torchvision, inception_v3.torchvision_rules))
    for tensors, rules in both:
        taken = rename(tensors, rules(["fc"]))
        assert shapes(taken.leaves) == {"params/fc/kernel": (2048, 1000), "params/fc/bias": (1000,)}
        assert list(rename(tensors, rules([])).ignored) == list(tensors)
    assert rename(torchvision, inception_v3.torchvision_rules(["fc"])).ignored == {"AuxLogits.fc.bias": "AuxLogits"}


@pytest.mark.parametrize("model", KERAS)
def test_a_missing_or_further_layer_is_named(model):
    tensors = dict(keras_tensors(model, 3))
    tensors["conv2d_203/kernel"] = tensors.pop("conv2d_93/kernel")
    target = unflatten_dict(wanted(model), sep="/")
    with pytest.raises(ValueError, match=r"2 mismatches .*\n\+ conv2d_203/kernel .*0 rules .*\n- params/backbone/\w+/"):
        apply_rules(tensors, KERAS[model]([]), target)
