import jax.numpy as jnp
import numpy as np
import pytest

from mskjax.tasks import preprocessing

GREY = jnp.array([[[0.0, 100.0, 255.0]]])
# keras.applications' preprocess_input of (100, 100, 100) by its three modes: torch, tf, caffe.
TORCH = [(100 / 255 - mean) / sd for mean, sd in ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))]
TF = [100 / 127.5 - 1] * 3
CAFFE = [100 - 103.939, 100 - 116.779, 100 - 123.68]


@pytest.mark.parametrize(
    ("network", "variant", "expected"),
    [
        ("densenet121", "keras", TORCH),
        ("inception_v3", "keras", TF),
        ("inception_resnet_v2", "keras", TF),
        ("keras_resnet50", "keras", CAFFE),
        ("resnet50", "torchvision", TORCH),
        ("densenet121", "torchvision", TORCH),
        ("inception_v3", "torchvision", TF),
    ],
)
def test_each_networks_own_input(network, variant, expected):
    image = preprocessing.prepare(GREY, network, variant, "own")
    assert image.shape == (1, 1, 3, 3)
    np.testing.assert_allclose(image[0, 0, 1], expected, rtol=1e-5)


def test_torchvisions_inception_has_its_transform_of_the_input_done_already():
    """Its network rescales normalised channels, x * (sd / 0.5) + (mean - 0.5) / 0.5, before its first convolution."""
    normalised = preprocessing.prepare(GREY, "densenet121", "torchvision", "own")
    mean, sd = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    image = preprocessing.prepare(GREY, "inception_v3", "torchvision", "own")
    np.testing.assert_allclose(image, normalised * (sd / 0.5) + (mean - 0.5) / 0.5, atol=1e-5)


@pytest.mark.parametrize(
    ("convention", "expected"),
    [
        ("radimagenet_tensorflow", [100 / 255 - 0.4076, 100 / 255 - 0.4580, 100 / 255 - 0.4850]),
        ("radimagenet_pytorch", [(100 - 127.5) * 2 / 255] * 3),
    ],
)
@pytest.mark.parametrize("network", ["densenet121", "keras_resnet50"])
def test_radimagenets_conventions_are_the_same_for_all_networks(network, convention, expected):
    image = preprocessing.prepare(GREY, network, "keras", convention)
    np.testing.assert_allclose(image[0, 0, 1], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("densenet121", "keras", "guess"), "'guess' is unknown; choose one of own, radimagenet_tensorflow"),
        (("resnet50", "keras", "own"), r"no preprocessing is known of resnet50 \(keras\)"),
        (("fcn_resnet101", "torchvision", "own"), "of densenet121"),
    ],
)
def test_what_is_not_known_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        preprocessing.prepare(GREY, *arguments)
