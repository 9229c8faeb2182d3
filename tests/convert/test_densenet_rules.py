"""Every name that Keras and torchvision give to weights of DenseNet121, and Keras to ResNet50, has its own leaf."""

import functools
import json
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from mskjax import models
from mskjax.convert import densenet, keras_resnet
from mskjax.convert.rules import rename

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "keras"
TRUE_NAME = runpy.run_path(str(GOLDEN / "fabricate.py"))["true_name"]
LAYOUTS = {keras: json.loads((GOLDEN / f"layouts_keras{keras}.json").read_text()) for keras in (2, 3)}
RADIMAGENET = json.loads((GOLDEN / "names_radimagenet.json").read_text())["densenet121"]
KERAS_RULES = {"densenet121": densenet.keras_rules, "keras_resnet50": keras_resnet.keras_rules}
HEAD = {"predictions/kernel": (1024, 1000), "predictions/bias": (1000,)}
TORCHVISION = {name: tuple(shape) for _, name, shape in RADIMAGENET}
TORCHVISION_HEAD = {"classifier.weight": (1000, 1024), "classifier.bias": (1000,)}


def stand_ins(shapes):
    """Arrays of these shapes that take no memory."""
    return {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}


@functools.cache
def leaves(model, **options):
    return {
        name: leaf.shape
        for name, leaf in flatten_dict(models.abstract(models.build(model, **options)), sep="/").items()
    }


def shapes_of(renamed):
    assert renamed.problems == []
    return {name: leaf.array.shape for name, leaf in renamed.leaves.items()}


def keras_shapes(keras, model):
    layout = LAYOUTS[keras][model]
    return {
        f"{TRUE_NAME(layer, layout['first'])}/{weight.removesuffix(':0')}": tuple(shape)
        for layer, _, held in layout["layers"]
        for weight, shape in held.items()
    }


@pytest.mark.parametrize("keras", LAYOUTS)
@pytest.mark.parametrize("model", KERAS_RULES)
def test_every_name_of_keras_has_its_leaf(keras, model):
    renamed = rename(stand_ins(keras_shapes(keras, model)), KERAS_RULES[model]([]))
    assert shapes_of(renamed) == leaves(model)
    assert list(renamed.ignored) == []


def test_kerass_head_is_fc_or_left_out():
    tensors = stand_ins(keras_shapes(2, "densenet121") | HEAD)
    assert shapes_of(rename(tensors, densenet.keras_rules(["fc"]))) == leaves("densenet121", num_classes=1000)
    without = rename(tensors, densenet.keras_rules([]))
    assert shapes_of(without) == leaves("densenet121")
    assert list(without.ignored) == list(HEAD)


def test_every_name_of_torchvision_has_its_leaf():
    tensors = stand_ins(TORCHVISION | TORCHVISION_HEAD)
    renamed = rename(tensors, densenet.torchvision_rules(["fc"]))
    assert shapes_of(renamed) == leaves("densenet121", num_classes=1000, variant="torchvision")
    assert list(renamed.ignored) == [name for name in tensors if name.endswith("num_batches_tracked")]


def test_torchvisions_head_may_be_left_out():
    renamed = rename(stand_ins(TORCHVISION | TORCHVISION_HEAD), densenet.torchvision_rules([]))
    assert shapes_of(renamed) == leaves("densenet121", variant="torchvision")
    assert set(renamed.ignored) >= set(TORCHVISION_HEAD)


def test_torchvisions_published_file_writes_norm_1():
    """densenet121-a639ec97.pth is of torch 0.2: "denselayer1.norm.1.weight", and no count of batches."""
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", name): shape
        for name, shape in TORCHVISION.items()
        if not name.endswith("num_batches_tracked")
    }
    assert "features.denseblock2.denselayer11.norm.2.running_var" in old
    assert shapes_of(rename(stand_ins(old), densenet.torchvision_rules([]))) == leaves("densenet121")


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("features.conv0.weight", "params/backbone/conv1_conv/kernel"),
        ("features.norm0.running_mean", "batch_stats/backbone/conv1_bn/mean"),
        ("features.denseblock1.denselayer1.norm1.weight", "params/backbone/conv2_block1_0_bn/scale"),
        ("features.denseblock4.denselayer16.norm2.running_var", "batch_stats/backbone/conv5_block16_1_bn/var"),
        ("features.denseblock3.denselayer7.conv1.weight", "params/backbone/conv4_block7_1_conv/kernel"),
        ("features.denseblock3.denselayer7.conv2.weight", "params/backbone/conv4_block7_2_conv/kernel"),
        ("features.transition3.norm.bias", "params/backbone/pool4_bn/bias"),
        ("features.transition1.conv.weight", "params/backbone/pool2_conv/kernel"),
        ("features.norm5.weight", "params/backbone/bn/scale"),
    ],
)
def test_torchvisions_layers_are_kerass(source, target):
    """The pairs whose weights give the same features in both; many of them have the same shapes as others."""
    renamed = rename(stand_ins({source: TORCHVISION[source]}), densenet.torchvision_rules([]))
    assert list(renamed.leaves) == [target]


def test_kernels_of_torchvision_are_turned():
    kernel = np.arange(32 * 128 * 9, dtype=np.float32).reshape(32, 128, 3, 3)
    head = np.arange(6, dtype=np.float32).reshape(2, 3)
    tensors = {"features.denseblock1.denselayer1.conv2.weight": kernel, "classifier.weight": head}
    found = rename(tensors, densenet.torchvision_rules(["fc"])).leaves
    turned = found["params/backbone/conv2_block1_2_conv/kernel"].array
    assert turned[2, 0, 5, 7] == kernel[7, 5, 2, 0]
    np.testing.assert_array_equal(found["params/fc/kernel"].array, head.T)
