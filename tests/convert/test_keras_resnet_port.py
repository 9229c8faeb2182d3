"""Keras's ResNet50 in its port to torch: the variables of Keras's own file, under torchvision's names with biases."""

import re

import jax
import numpy as np
import pytest
from keras_layouts import FABRICATE, SMALL, few, keras2_full, small, weights
from safetensors.numpy import save_file

from benchmarks.torch_zip import write_torch_zip
from mskjax.convert import load_variables, load_weights
from mskjax.convert.conversion import convert
from mskjax.convert.families import check
from mskjax.convert.keras_resnet import port_rules
from mskjax.convert.rules import rename

NETWORK = "keras_resnet50"
NAME = "RadImageNet-ResNet50_notop.pth"
TORCH = {"kernel": "weight", "gamma": "weight", "beta": "bias", "moving_mean": "running_mean"}


def port_name(name):
    """What the port calls Keras's "conv3_block1_2_bn/gamma": "layer2.0.bn2.weight"."""
    layer, weight = name.split("/")
    leaf = {**TORCH, "moving_variance": "running_var"}.get(weight, weight)
    if not (match := re.fullmatch(r"conv(\d)_block(\d)_(\d)_(conv|bn)", layer)):
        return f"{layer.replace('conv1_conv', 'conv1').replace('conv1_bn', 'bn1')}.{leaf}"
    stage, block, part, kind = match.groups()
    module = f"{kind}{part}" if part != "0" else f"downsample.{'0' if kind == 'conv' else '1'}"
    return f"layer{int(stage) - 1}.{int(block) - 1}.{module}.{leaf}"


def port(make=small, of_block=r"(?!conv\d_block[2-9])"):
    """The state_dict of the port, its kernels as torch has them, of one block a stage."""
    kept = {name: array for name, array in weights(NETWORK, make).items() if re.match(of_block, name)}
    tensors = {
        port_name(name): np.ascontiguousarray(array.transpose(3, 2, 0, 1) if array.ndim == 4 else array)
        for name, array in kept.items()
    }
    counts = {name.replace("running_var", "num_batches_tracked"): np.zeros((), np.int64) for name in tensors}
    return {**tensors, **{name: count for name, count in counts.items() if name.endswith("tracked")}}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("port")
    write_torch_zip(folder / NAME, port())
    write_torch_zip(folder / "parallel.pth", {f"module.{name}": array for name, array in port().items()})
    save_file(port(), folder / "port.safetensors")
    keras2_full(folder / "keras.h5", NETWORK, small, few)
    return folder


@pytest.mark.parametrize("file", [NAME, "parallel.pth", "port.safetensors"])
def test_it_gives_the_variables_of_keras_file(files, file):
    expected = load_weights(files / "keras.h5", NETWORK, **SMALL)
    jax.tree.map(np.testing.assert_array_equal, load_weights(files / file, NETWORK, **SMALL), expected)


def test_every_tensor_of_the_published_size_has_its_place():
    """53 convolutions of two tensors each and as many BatchNorms of four; 3, 4, 6 and 3 blocks a stage."""
    tensors = port(lambda name, shape: np.zeros(0, np.float32), of_block="")
    renamed = rename(tensors, port_rules(()))
    assert (len(renamed.leaves), len(renamed.ignored), renamed.problems) == (53 * 6, 53, [])
    assert renamed.leaves["params/backbone/conv4_block6_2_conv/bias"].source == "layer3.5.conv2.bias"


def test_who_asks_for_torchvisions_network_is_told_keras():
    tensors = port(lambda name, shape: np.zeros(0, np.float32), of_block="")
    with pytest.raises(ValueError, match="it holds another network in Keras's form: model='keras_resnet50' fits"):
        check(tensors, "keras", "resnet50", "torchvision", [])


def test_the_file_as_published_is_refused_for_torchvisions_network(files):
    with pytest.raises(ValueError, match=rf"{NAME} does not fit resnet50 as asked: it .*in Keras's form"):
        load_weights(files / NAME, "resnet50", num_classes=None, **SMALL)


def test_a_missing_bias_is_named(tmp_path):
    tensors = port()
    del tensors["layer2.0.downsample.0.bias"]
    write_torch_zip(tmp_path / "odd.pth", tensors)
    with pytest.raises(ValueError, match=r"1 mismatches.*\n- params/backbone/conv3_block1_0_conv/bias \["):
        load_weights(tmp_path / "odd.pth", NETWORK, **SMALL)


def test_a_conversion_knows_it_by_its_name(files, tmp_path):
    convert(NETWORK, tmp_path / "own.safetensors", files / NAME, **SMALL)
    variables, metadata = load_variables(tmp_path / "own.safetensors")
    assert (metadata["variant"], metadata["recognised"]) == ("keras", "by its name alone")
    stem = FABRICATE["array"]("conv1_conv/kernel", (7, 7, 3, 4))
    np.testing.assert_array_equal(variables["params"]["backbone"]["conv1_conv"]["kernel"], stem)
