"""Full-size networks with weights from files of every form give the features of Keras 2.15, Keras 3 and torchvision.

The files are written here as Keras and RadImageNet write them, with the weights of tests/golden/keras; the features
there are the peers' own. Each layout serves one network here; test_keras_files.py shows that all four are read alike.
"""

import jax
import numpy as np
import pytest
from keras_layouts import FABRICATE, GOLDEN, WRITERS
from radimagenet_files import write_radimagenet

from mskjax import models
from mskjax.convert import load_weights

# Compiling at a second size takes most of the time, so that only the network with strides of its own is seen at both;
# the others' strides are seen at an oblong size below.
KERAS = [
    ("densenet121", "keras2_full", ["square"]),
    ("keras_resnet50", "keras2_weights", ["square", "oblong"]),
    ("inception_v3", "keras3_weights", ["square"]),
    ("inception_resnet_v2", "keras3_full", ["square"]),
]
PARAMETERS = {
    "densenet121": 7_037_504,
    "keras_resnet50": 23_587_712,
    "inception_v3": 21_802_784,
    "inception_resnet_v2": 54_336_736,
}


def features(module, variables, size):
    compiled = jax.jit(lambda variables, image: module.apply(variables, image)["features"])
    image = FABRICATE["image"](size)
    with jax.default_matmul_precision("highest"):
        return np.asarray(compiled.lower(variables, image).compile()(variables, image))


def golden(peer, network, size):
    with np.load(GOLDEN / f"features_{peer}.npz") as file:
        return file[f"{network}/{size}"]


def assert_near(found, expected):
    """Within 1e-4 of the greatest feature, the figure to reach; the peers among themselves stay below 1e-5."""
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize(("network", "layout", "sizes"), KERAS)
def test_features_from_keras_files(tmp_path, network, layout, sizes):
    WRITERS[layout](tmp_path / "a.h5", network)
    variables = load_weights(tmp_path / "a.h5", network)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == PARAMETERS[network]
    for size in sizes:
        found = features(models.build(network), variables, size)
        for peer in ("keras2", "keras3") if size == "square" else ("keras3",):
            assert_near(found, golden(peer, network, size))


@pytest.mark.parametrize("network", ["resnet50", "densenet121", "inception_v3"])
def test_features_from_radimagenet_files(tmp_path, network):
    write_radimagenet(tmp_path / "a.pt", network)
    options = {"variant": "torchvision", "num_classes": None}
    variables = load_weights(tmp_path / "a.pt", network, **options)
    found = features(models.build(network, **options), variables, "oblong")
    assert_near(found, golden("torchvision", network, "oblong"))
