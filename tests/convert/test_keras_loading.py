"""Keras's files through `load_weights`: the same variables from every layout, and what does not fit is named."""

import zipfile

import h5py
import jax
import numpy as np
import pytest
from keras_layouts import FABRICATE, SMALL, WRITERS, few, keras2_full, keras2_weights, small, weights

from mskjax.convert import load_variables, load_weights
from mskjax.convert.conversion import convert
from mskjax.convert.families import check

NETWORK = "keras_resnet50"
NARROW = {"width": 4}


def narrow(name, shape):
    """A weight of DenseNet121 with an eighth of the channels, which `NARROW` builds."""
    return FABRICATE["array"](name, tuple(n // 8 if n >= 32 else n for n in shape))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A small ResNet50 of Keras in every layout."""
    folder = tmp_path_factory.mktemp("keras")
    for layout, write in WRITERS.items():
        write(folder / f"{layout}.h5", NETWORK, small, few)
    return folder


def test_every_layout_gives_the_same_variables(files):
    first, *others = (load_weights(files / f"{layout}.h5", NETWORK, **SMALL) for layout in WRITERS)
    for other in others:
        jax.tree.map(np.testing.assert_array_equal, first, other)
    stem = FABRICATE["array"]("conv1_conv/kernel", (7, 7, 3, 4))
    np.testing.assert_array_equal(first["params"]["backbone"]["conv1_conv"]["kernel"], stem)


def test_one_error_lists_what_is_missing_foreign_and_misshapen(tmp_path):
    keras2_weights(tmp_path / "odd.h5", NETWORK, small, few)
    with h5py.File(tmp_path / "odd.h5", "a") as file:
        file["conv1_conv"].attrs["weight_names"] = ["conv1_conv/kernel:0", "conv1_conv/offset:0"]
        file["conv1_conv/conv1_conv"].move("bias:0", "offset:0")
        del file["conv1_bn/conv1_bn/gamma:0"]
        file["conv1_bn/conv1_bn/gamma:0"] = np.zeros(3, np.float32)
    with pytest.raises(ValueError) as error:
        load_weights(tmp_path / "odd.h5", NETWORK, **SMALL)
    text = str(error.value)
    assert "odd.h5 does not fit keras_resnet50: 3 mismatches" in text
    assert "\n- params/backbone/conv1_conv/bias [4]: nothing in the file fills it" in text
    assert "\n+ conv1_conv/offset [4]: matches 0 rules" in text
    assert "\n~ conv1_bn/gamma [3]: params/backbone/conv1_bn/scale [4] has another shape" in text


def test_a_numbered_layer_that_is_missing_does_not_shift_the_others(tmp_path):
    keras2_weights(tmp_path / "odd.h5", "inception_v3")
    with h5py.File(tmp_path / "odd.h5", "a") as file:
        file.attrs["layer_names"] = [name for name in file.attrs["layer_names"] if name != "conv2d_7"]
        del file["conv2d_7"]
    with pytest.raises(ValueError, match=r"1 mismatches.*\n- params/backbone/.*/conv/kernel .*: nothing in the file"):
        load_weights(tmp_path / "odd.h5", "inception_v3")


def test_a_head_that_the_file_lacks(files):
    with pytest.raises(ValueError, match=r"keras2_full\.h5 does not fit .* as asked: it has no head: num_classes=None"):
        load_weights(files / "keras2_full.h5", NETWORK, num_classes=2, **SMALL)


def test_the_form_that_fits_is_named():
    tensors = weights("densenet121", lambda name, shape: np.zeros(0, np.float32))
    with pytest.raises(ValueError, match="it is in Keras's form, which was trained otherwise: variant='keras' fits"):
        check(tensors, "keras", "densenet121", "torchvision", [])


@pytest.mark.parametrize(
    ("network", "model"), [("keras_resnet50", "resnet50"), ("inception_v3", "inception_resnet_v2")]
)
def test_the_network_that_fits_is_named(network, model):
    tensors = weights(network, lambda name, shape: np.zeros(0, np.float32))
    with pytest.raises(ValueError, match=f"it holds another network in Keras's form: model='{network}' fits"):
        check(tensors, "keras", model, "keras", [])


def test_a_converted_file_keeps_to_its_variant(tmp_path):
    """DenseNet's leaves are the same in both forms, so that nothing but the metadata could tell."""
    source = tmp_path / "RadImageNet-DenseNet121-notop.h5"
    keras2_full(source, "densenet121", narrow)
    convert("densenet121", tmp_path / "own.safetensors", source, **NARROW)
    metadata = load_variables(tmp_path / "own.safetensors")[1]
    assert (metadata["variant"], metadata["recognised"]) == ("keras", "by its name alone")
    assert "densenet.preprocess_input" in metadata["preprocessing"]
    load_weights(tmp_path / "own.safetensors", "densenet121", **NARROW)
    with pytest.raises(ValueError, match="it was converted with variant='keras', which fits"):
        load_weights(tmp_path / "own.safetensors", "densenet121", variant="torchvision", **NARROW)


def test_the_head_of_a_full_model(tmp_path):
    """Keras's classifiers call their last layer "predictions"."""
    keras2_weights(tmp_path / "top.h5", NETWORK, small, few)
    kernel = FABRICATE["array"]("predictions/kernel", (128, 5))
    with h5py.File(tmp_path / "top.h5", "a") as file:
        file.attrs["layer_names"] = [*file.attrs["layer_names"], "predictions"]
        file.create_group("predictions").attrs["weight_names"] = ["predictions/kernel:0", "predictions/bias:0"]
        file["predictions/predictions/kernel:0"], file["predictions/predictions/bias:0"] = kernel, np.zeros(5, "f4")
    variables = load_weights(tmp_path / "top.h5", NETWORK, num_classes=5, **SMALL)
    np.testing.assert_array_equal(variables["params"]["fc"]["kernel"], kernel)
    assert "fc" not in load_weights(tmp_path / "top.h5", NETWORK, **SMALL)["params"]
    with pytest.raises(ValueError, match="num_classes=5 fits"):
        load_weights(tmp_path / "top.h5", NETWORK, num_classes=2, **SMALL)


def test_a_keras_archive_is_to_be_unzipped(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("model.weights.h5", b"")
    with pytest.raises(
        ValueError, match=r"model\.keras is a \.keras archive; unzip it and give the model\.weights\.h5"
    ):
        load_weights(tmp_path / "model.keras", NETWORK)
