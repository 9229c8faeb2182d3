"""RadImageNet's `.pt`: its names are torchvision's by place, whatever is wrapped around them; what differs is named."""

import json

import jax
import numpy as np
import pytest
from radimagenet_files import NAMES, SMALL, small_resnet50

from benchmarks.torch_zip import write_torch_zip
from mskjax.convert import load_variables, load_weights
from mskjax.convert.conversion import convert
from mskjax.convert.families import check
from mskjax.convert.radimagenet import torchvision_names

HEADLESS = {"variant": "torchvision", "num_classes": None}


@pytest.mark.parametrize("network", NAMES)
def test_every_name_is_the_one_that_torch_has(network):
    published = {name: index for index, (name, _, _) in enumerate(NAMES[network])}
    expected = {name: index for index, (_, name, _) in enumerate(NAMES[network])}
    assert torchvision_names(published, network) == expected
    assert torchvision_names(expected, network) == expected


def test_an_auxiliary_head_shifts_what_follows_and_is_refused():
    """With aux_logits=True torchvision's child 15 is AuxLogits, of two convolutions and a dense layer."""
    names = dict.fromkeys(["backbone.14.branch1x1.conv.weight", "backbone.15.conv0.conv.weight"])
    with pytest.raises(ValueError, match=r"auxiliary head at backbone\.15.*aux_logits=False"):
        torchvision_names(names, "inception_v3")


def test_one_tensor_under_both_names_is_refused():
    with pytest.raises(ValueError, match="under RadImageNet's and under torchvision's names"):
        torchvision_names({"backbone.1.bias": 0, "bn1.bias": 1}, "resnet50")


def leaves(variables):
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree.leaves_with_path(variables)}


@pytest.mark.parametrize("prefix", ["", "module."])
def test_prefixes_change_nothing(tmp_path, prefix):
    own = dict(torchvision_names(small_resnet50(), "resnet50"))
    write_torch_zip(tmp_path / "own.pth", own)
    write_torch_zip(tmp_path / "ResNet50.pt", {prefix + name: array for name, array in small_resnet50().items()})
    expected = leaves(load_weights(tmp_path / "own.pth", "resnet50", **HEADLESS, **SMALL))
    found = leaves(load_weights(tmp_path / "ResNet50.pt", "resnet50", **HEADLESS, **SMALL))
    assert found.keys() == expected.keys()
    for name, leaf in expected.items():
        np.testing.assert_array_equal(found[name], leaf)
    stem = found["['params']['backbone']['conv1']['kernel']"]
    np.testing.assert_array_equal(stem, small_resnet50()["backbone.0.weight"].transpose(2, 3, 1, 0))


def test_one_error_lists_what_is_missing_foreign_and_misshapen(tmp_path):
    tensors = small_resnet50()
    del tensors["backbone.1.bias"]
    tensors["backbone.8.weight"] = np.zeros(3, np.float32)
    tensors["backbone.7.0.bn3.running_var"] = np.zeros(3, np.float32)
    write_torch_zip(tmp_path / "odd.pt", tensors)
    with pytest.raises(ValueError) as error:
        load_weights(tmp_path / "odd.pt", "resnet50", **HEADLESS, **SMALL)
    text = str(error.value)
    assert "odd.pt does not fit resnet50: 3 mismatches" in text
    assert "\n- params/backbone/bn1/bias [4]: nothing in the file fills it" in text
    assert "\n+ backbone.8.weight [3]: matches 0 rules" in text
    assert "\n~ layer4.0.bn3.running_var [3]: batch_stats/backbone/layer4_0/bn3/var [128] has another shape" in text


def test_a_head_that_the_file_lacks(tmp_path):
    write_torch_zip(tmp_path / "ResNet50.pt", small_resnet50())
    with pytest.raises(ValueError, match="it has no head: num_classes=None fits"):
        load_weights(tmp_path / "ResNet50.pt", "resnet50", num_classes=2, **SMALL)


@pytest.mark.parametrize(
    ("network", "model", "variant", "words"),
    [
        ("resnet50", "keras_resnet50", "keras", "another network in torchvision's form: model='resnet50' fits"),
        ("densenet121", "resnet50", "torchvision", "another network in torchvision's form: model='densenet121' fits"),
        ("densenet121", "densenet121", "keras", "which was trained otherwise: variant='torchvision' fits"),
        (None, "inception_resnet_v2", "keras", "in torchvision's form, in which inception_resnet_v2 does not come"),
    ],
)
def test_the_network_and_the_form_that_fit_are_named(network, model, variant, words):
    names = [name for name, _, _ in NAMES[network]] if network else ["weight"]
    tensors = dict.fromkeys(names, np.zeros(0, np.float32))
    with pytest.raises(ValueError, match=words):
        check(tensors, "torchvision", model, variant, [])


def test_what_the_converted_file_says_of_its_source(tmp_path):
    write_torch_zip(tmp_path / "ResNet50.pt", small_resnet50())
    convert("resnet50", tmp_path / "out.safetensors", tmp_path / "ResNet50.pt", **HEADLESS, **SMALL)
    metadata = load_variables(tmp_path / "out.safetensors")[1]
    assert metadata["recognised"] == "by its name alone"
    assert metadata["variant"] == "torchvision"
    assert "forbids redistributing" in metadata["licence"]
    preprocessing = json.loads(metadata["preprocessing"])
    assert list(preprocessing["conventions"]) == ["own", "radimagenet_tensorflow", "radimagenet_pytorch"]
    assert preprocessing["published_code"] == "radimagenet_pytorch"


def test_a_file_of_another_name_is_not_recognised(tmp_path):
    write_torch_zip(tmp_path / "mine.pt", small_resnet50())
    convert("resnet50", tmp_path / "out.safetensors", tmp_path / "mine.pt", **HEADLESS, **SMALL)
    metadata = load_variables(tmp_path / "out.safetensors")[1]
    assert (metadata["recognised"], metadata["preprocessing"]) == ("no", "unknown")
