import functools
import importlib
import json
import re
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from mskjax import models
from mskjax.explain import grad_cam
from mskjax.explain.grad_cam import last_feature_map
from mskjax.models import policies

WEIGHT = np.array([[1.0, -2.0, 0.5], [-1.0, 3.0, -0.25]], np.float32).T
private = importlib.import_module("mskjax.explain.grad_cam")
_in_batches = private._in_batches


class Pooled(nn.Module):
    """A convolution, ReLU, mean over the image and a linear layer, for which Grad-CAM is class activation mapping."""

    @nn.compact
    def __call__(self, image, *, train: bool = False):
        features = nn.Conv(3, (3, 3), strides=2, name="conv")(image)
        activation = nn.relu(features)
        nn.Conv(1, (1, 1), name="unused")(activation)
        logits = nn.Dense(2, name="fc")(activation.mean((1, 2)))
        return {"before": features, "maps": activation, "logits": logits}


class Nested(nn.Module):
    @nn.compact
    def __call__(self, image):
        return {"logits": Pooled(name="backbone")(image)["logits"]}


class Marked(nn.Module):
    """A convolution whose outputs and their ReLU bear one name, before a mean and a linear layer."""

    @nn.compact
    def __call__(self, image):
        image = checkpoint_name(nn.Conv(3, (3, 3), strides=2, name="conv")(image), "place")
        image = checkpoint_name(nn.relu(image), "place")
        return {"logits": nn.Dense(2, name="fc")(image.mean((1, 2)))}


class Twice(nn.Module):
    """One convolution applied two times, and outputs that are no dict."""

    @nn.compact
    def __call__(self, image):
        conv = nn.Conv(3, (3, 3), name="conv")
        return conv(nn.relu(conv(image))).mean((1, 2))


@pytest.fixture(scope="module")
def pooled():
    module, image = Pooled(), np.random.default_rng(0).normal(size=(4, 16, 12, 3)).astype(np.float32)
    variables = module.init(jax.random.key(0), image)
    variables["params"]["fc"]["kernel"] = jnp.asarray(WEIGHT)
    return module, variables, image


def class_activation_map(activation, weight, shape):
    """Zhou et al. 2016, eq. 2, its negative part left out, enlarged bilinearly about pixel centres and scaled."""
    coarse = np.maximum((activation * weight).sum(-1), 0)
    rows, columns = ((np.arange(n) + 0.5) * m / n - 0.5 for n, m in zip(shape, coarse.shape, strict=True))
    by_row = np.stack([np.interp(rows, np.arange(len(line)), line) for line in coarse.T], axis=1)
    enlarged = np.stack([np.interp(columns, np.arange(len(line)), line) for line in by_row])
    return enlarged / enlarged.max()


def test_after_mean_and_linear_layer_it_is_class_activation_mapping(pooled):
    """And "maps" is an output that no submodule makes."""
    module, variables, image = pooled
    activation = np.asarray(module.apply(variables, image)["maps"])
    for target in (0, 1):
        maps = grad_cam(module, variables, image, target, "maps")
        expected = [class_activation_map(one, WEIGHT[:, target], image.shape[1:3]) for one in activation]
        np.testing.assert_allclose(maps, expected, atol=2e-6)


def test_each_image_has_a_target_of_its_own(pooled):
    module, variables, image = pooled
    target = np.array([0, 1, 1, 0])
    alone = [grad_cam(module, variables, one[None], int(k), "maps")[0] for one, k in zip(image, target, strict=True)]
    np.testing.assert_allclose(grad_cam(module, variables, image, target, "maps"), alone, atol=1e-6)


def test_a_submodule_is_named_by_its_path(pooled):
    module, variables, image = pooled
    np.testing.assert_array_equal(
        grad_cam(module, variables, image, 1, "conv"), grad_cam(module, variables, image, 1, "before")
    )
    nested = {"params": {"backbone": variables["params"]}}
    np.testing.assert_array_equal(
        grad_cam(Nested(), nested, image, 1, "backbone/conv"), grad_cam(module, variables, image, 1, "conv")
    )


def test_a_place_between_submodules_is_found_by_the_name_the_network_gives_it(pooled):
    """And by its number, from 0, where several have the name."""
    module, variables, image = pooled
    marked = {"params": {name: variables["params"][name] for name in ("conv", "fc")}}
    for layer, same in (("place", "before"), ("place_0", "conv"), ("place_1", "maps")):
        maps = grad_cam(Marked(), marked, image, 1, layer)
        np.testing.assert_allclose(maps, grad_cam(module, variables, image, 1, same), atol=1e-6)
    with pytest.raises(ValueError, match="layer 'place_2' is unknown; near names are place_1, place_0, place"):
        grad_cam(Marked(), marked, image, 1, "place_2")


def small(name, **options):
    """A small network, its variables, images, what its submodules make of them, and its head's weights of class 1."""
    module = models.build(name, num_classes=2, **options)
    image = np.random.default_rng(0).normal(size=(2, 128, 128, 3)).astype(np.float32)
    variables = models.init(module, jax.random.key(0), image)
    variables["params"]["fc"]["kernel"] = abs(variables["params"]["fc"]["kernel"])  # so that no map is zero
    _, made = jax.jit(functools.partial(module.apply, capture_intermediates=True))(variables, image)
    made = {
        "/".join(entry.key for entry in path[:-2]): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(made)
    }
    return module, variables, image, made, np.asarray(variables["params"]["fc"]["kernel"])[:, 1]


def from_gradient(activation, gradient, image):
    """Equations 1 and 2 of Selvaraju et al. 2017."""
    weight = np.broadcast_to(gradient, activation.shape).mean((1, 2))
    return np.stack(
        [class_activation_map(*pair, image.shape[1:3]) for pair in zip(np.asarray(activation), weight, strict=True)]
    )


@pytest.mark.parametrize("name", ["keras_resnet50", "resnet50"])
def test_before_a_resnets_last_relu_only_what_passes_it_has_a_slope(name):
    module, variables, image, made, weight = small(name, stage_sizes=(1, 1, 1, 1), width=8)
    block = "intermediates/backbone/" + ("conv5_block1_{}_bn" if name == "keras_resnet50" else "layer4_0/{}")
    parts = (3, 0) if name == "keras_resnet50" else ("bn3", "downsample_bn")
    added = sum(made[block.format(part)] for part in parts)
    expected = from_gradient(added, np.where(added > 0, weight, 0), image)
    np.testing.assert_allclose(grad_cam(module, variables, image, 1, "conv5_block1_add"), expected, atol=1e-5)


def test_the_last_concatenation_of_a_densenet_is_behind_its_last_norm():
    module, variables, image, made, weight = small("densenet121", stage_sizes=(1, 1, 1, 1), width=8)
    normed = np.asarray(made["intermediates/backbone/bn"])
    # Of fresh BatchNorm in evaluation: mean 0, variance and scale 1.
    joined = normed * np.sqrt(1 + 1.001e-5)
    expected = from_gradient(joined, np.where(normed > 0, weight, 0), image)
    np.testing.assert_allclose(grad_cam(module, variables, image, 1, "conv5_block1_concat"), expected, atol=1e-5)


def test_a_part_of_inception_v3s_last_block_is_found_by_keras_number():
    module, variables, image, made, weight = small("inception_v3", width=4)
    (joined,) = (leaf for path, leaf in made.items() if path.endswith("Mixed_7c"))
    first, last = 320 * 4 // 32, (320 + 768) * 4 // 32  # the second branch's channels
    expected = from_gradient(joined[..., first:last], weight[first:last], image)
    np.testing.assert_allclose(grad_cam(module, variables, image, 1, "mixed9_1"), expected, atol=1e-5)


KERAS = json.loads((Path(__file__).parents[1] / "golden/keras/layouts_keras3.json").read_text())
NUMBERED = re.compile(
    "(conv2d|batch_normalization|activation|(?:max|average)_pooling2d|concatenate|custom_scale_layer)(?:_([0-9]+))?"
)


def keras_channels(name):
    """Keras's layers, numbers counted from 0, with their channels where their weights tell them."""
    layers = [(layer, weights) for layer, _, weights in KERAS[name]["layers"]]
    lowest = {}
    for found in filter(None, (NUMBERED.fullmatch(layer) for layer, _ in layers)):
        lowest[found[1]] = min(lowest.get(found[1], 1000), int(found[2] or 0))
    for layer, weights in layers:
        if found := NUMBERED.fullmatch(layer):
            number = int(found[2] or 0) - lowest[found[1]]
            layer = f"{found[1]}_{number}" if number else found[1]
        yield layer, [shape[-1] for shape in weights.values()][:1]


@pytest.mark.parametrize("name", [*KERAS, "resnet50"])
def test_every_layer_that_keras_names_is_found(name):
    """But for inputs, padding, and the convolutions of DenseNet's transitions, before which this one pools."""
    module = models.build(name, num_classes=2)
    made, variables, image = {}, models.abstract(module), jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    forward = jax.make_jaxpr(functools.partial(private._forward, module, "", made))(variables, image)
    found = {**private._marks(forward.jaxpr), **{layer: given[0] for layer, given in made.items()}}
    channels = dict(keras_channels("keras_resnet50" if name == "resnet50" else name))
    for layer in channels.keys() & found:
        assert channels[layer] in ([], [found[layer].aval.shape[-1]]), layer
    missing = channels.keys() - found
    assert all(re.fullmatch(r"input_layer.*|zero_padding2d.*|.*_pad|pool[234]_conv", layer) for layer in missing)
    assert {layer for layer, _ in policies.top_layers(module)} <= found.keys()


def test_logits_and_not_probabilities_are_differentiated(pooled):
    module, variables, image = pooled
    sure = jax.tree.map(jnp.copy, variables)
    sure["params"]["fc"]["bias"] = jnp.array([0.0, 200.0])  # the softmax of which has no slope
    np.testing.assert_allclose(
        grad_cam(module, sure, image, 1, "maps"), grad_cam(module, variables, image, 1, "maps"), atol=1e-6
    )


def test_where_nothing_speaks_for_the_class_the_map_is_zero(pooled):
    module, variables, image = pooled
    against = jax.tree.map(jnp.copy, variables)
    against["params"]["fc"]["kernel"] = jnp.asarray(-np.abs(WEIGHT))
    maps = grad_cam(module, against, image, 0, "maps")
    assert not np.asarray(maps).any()


def test_numbers_that_are_not_finite_stay_to_be_seen(pooled):
    module, variables, image = pooled
    broken = np.where(np.arange(4)[:, None, None, None] == 2, np.nan, image)
    finite = np.isfinite(grad_cam(module, variables, broken, 1, "maps")).all((1, 2))
    assert finite.tolist() == [True, True, False, True]


@pytest.mark.parametrize("batch_size", [1, 3, 4, 9])
def test_batches_do_not_change_maps(pooled, batch_size):
    module, variables, image = pooled
    whole = grad_cam(module, variables, image, 1, "maps")
    np.testing.assert_allclose(grad_cam(module, variables, image, 1, "maps", batch_size), whole, atol=1e-6)


def test_79_images_are_one_compiled_call_whatever_weights_and_classes(pooled):
    module, variables, _ = pooled
    images = np.random.default_rng(1).normal(size=(79, 16, 12, 3)).astype(np.float32)
    _in_batches.clear_cache()
    for target in (0, 1, np.arange(79) % 2):
        maps = grad_cam(module, jax.tree.map(lambda leaf: 2 * leaf, variables), images, target, "maps", batch_size=16)
    assert maps.shape == (79, 16, 12)
    assert _in_batches._cache_size() == 1


def test_it_works_under_jit(pooled):
    module, variables, image = pooled
    jitted = jax.jit(lambda variables, image, target: grad_cam(module, variables, image, target, "maps"))
    np.testing.assert_allclose(
        jitted(variables, image, 1), grad_cam(module, variables, image, 1, "maps"), rtol=1e-5, atol=1e-6
    )
    assert np.isnan(jitted(variables, image, 2)).all()


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        ("con", "layer 'con' is unknown; near names are conv"),
        ("nothing like it", "is unknown; near names are "),
        ("fc", r"gives no feature map \[b, h, w, c\]"),
        ("logits", r"gives no feature map \[b, h, w, c\]"),
        ("unused", "the logits do not depend on layer 'unused'"),
    ],
)
def test_layers_that_cannot_be_explained_are_refused(pooled, layer, sentence):
    module, variables, image = pooled
    with pytest.raises(ValueError, match=sentence):
        grad_cam(module, variables, image, 0, layer)


def test_a_layer_that_is_applied_twice_is_refused():
    image = np.zeros((1, 8, 8, 3), np.float32)
    variables = Twice().init(jax.random.key(0), image)
    with pytest.raises(ValueError, match="layer 'conv' is applied 2 times"):
        grad_cam(Twice(), variables, image, 0, "conv")


@pytest.mark.parametrize("target", [2, -1, [0, 1, 0, 5]])
def test_classes_that_are_not_there_are_refused(pooled, target):
    module, variables, image = pooled
    with pytest.raises(ValueError, match=r"target holds .*; the network has classes 0 to 1"):
        grad_cam(module, variables, image, np.array(target), "maps")


@pytest.mark.parametrize("target", [0.5, [0, 1]])
def test_targets_of_another_kind_are_refused(pooled, target):
    module, variables, image = pooled
    with pytest.raises(ValueError, match="give one class as int, or 4, one for each image"):
        grad_cam(module, variables, image, np.array(target), "maps")


def test_images_of_another_shape_are_refused(pooled):
    module, variables, image = pooled
    with pytest.raises(ValueError, match=r"give \[b, h, w, c\]"):
        grad_cam(module, variables, image[0], 0, "maps")
    with pytest.raises(ValueError, match="no images"):
        grad_cam(module, variables, image[:0], 0, "maps")
    with pytest.raises(ValueError, match="batch_size is 0"):
        grad_cam(module, variables, image, 0, "maps", batch_size=0)


def test_a_network_without_head_is_refused():
    module = models.build("resnet50", stage_sizes=(1, 1, 1, 1), width=8, num_classes=None)
    image = np.zeros((1, 32, 32, 3), np.float32)
    with pytest.raises(ValueError, match="ResNet gives no logits"):
        grad_cam(module, models.init(module, jax.random.key(0), image), image, 0, "layer4")


@pytest.mark.parametrize(
    ("name", "options", "last"),
    [
        ("densenet121", {"stage_sizes": (1, 1, 1, 1), "width": 8}, "relu"),
        ("keras_resnet50", {"stage_sizes": (1, 1, 1, 1), "width": 8}, "conv5_block1_out"),
        ("inception_v3", {"width": 4}, "mixed10"),
    ],
)
def test_the_last_feature_map_of_each_network(name, options, last):
    module = models.build(name, num_classes=2, **options)
    image = jax.ShapeDtypeStruct((1, 96, 96, 3), jnp.float32)
    variables = jax.eval_shape(module.init, jax.random.key(0), image)
    assert last_feature_map(module, variables, image) == last
