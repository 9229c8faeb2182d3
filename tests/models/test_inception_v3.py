"""InceptionV3's counts, grids and arithmetic; conversions are tested to have Keras's and torchvision's features."""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from mskjax import models
from mskjax.models.inception import ConvNorm, Fork, Form, Mixed, Unit, run_branch
from mskjax.models.inception_v3 import TOP_LAYERS, unit_paths

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "keras"
LAYERS = json.loads((GOLDEN / "layouts_keras3.json").read_text())["inception_v3"]["layers"]
KEY = jax.random.key(0)
IMAGE = jax.random.normal(KEY, (2, 75, 91, 3))


@functools.cache
def abstract(variant="keras"):
    return models.abstract(models.build("inception_v3", variant=variant))


def sizes(variables):
    return {name: sum(leaf.size for leaf in jax.tree.leaves(tree)) for name, tree in variables.items()}


def shapes(rows, columns, **options):
    module = models.build("inception_v3", **options)
    image = jax.ShapeDtypeStruct((1, rows, columns, 3), jnp.float32)
    return jax.eval_shape(lambda key, image: module.init_with_output(key, image)[0], KEY, image)


@pytest.mark.parametrize(("variant", "parameters"), [("keras", 21_768_352), ("torchvision", 21_785_568)])
def test_it_has_the_published_parameters(variant, parameters):
    """Keras counts the statistics too, and has no scales; torchvision's count is that without auxiliary head and fc."""
    counts = sizes(abstract(variant))
    assert counts["params"] == parameters
    if variant == "keras":
        assert sum(counts.values()) == 21_802_784


def test_units_are_all_there_is_below_the_backbone():
    leaves = flatten_dict(abstract()["params"]["backbone"], sep="/")
    assert set(leaves) == {f"{path}/{leaf}" for path in unit_paths() for leaf in ("conv/kernel", "bn/bias")}
    assert len(set(unit_paths())) == 94


def test_the_top_layers_are_kerass_last_ten():
    assert [name for name, _ in TOP_LAYERS] == [name for name, _, _ in LAYERS[-10:]]
    (path,) = (path for _, path in TOP_LAYERS if path)
    leaf = flatten_dict(abstract()["params"], sep="/")[f"{path}/bias"]
    assert [list(leaf.shape)] == [held["beta"] for _, _, held in LAYERS[-10:] if held]


def test_blocks_have_the_published_grids():
    """At 299x299; table 1 of Szegedy et al. 2016 with the padding of the published code."""
    outputs = shapes(299, 299)
    grids = [(35, 256), (35, 288), (35, 288), *[(17, 768)] * 5, (8, 1280), (8, 2048), (8, 2048)]
    assert [outputs[f"mixed{n}"].shape for n in range(11)] == [(1, size, size, c) for size, c in grids]
    assert outputs["features"].shape == (1, 2048) and "logits" not in outputs


def test_75_pixels_are_the_fewest():
    assert shapes(75, 75, width=2)["mixed10"].shape == (1, 1, 1, 128)
    with pytest.raises(ValueError, match=r"shrunk to 2x6 pixels before a window of 3x3; use a larger image"):
        shapes(74, 130, width=2)


def test_bfloat16_leaves_features_and_logits_in_float32():
    outputs = shapes(75, 75, width=2, num_classes=3, dtype="bfloat16", variant="torchvision")
    types = {name: output.dtype.name for name, output in outputs.items()}
    expected = {f"mixed{n}": "bfloat16" for n in range(11)} | {"features": "float32", "logits": "float32"}
    assert types == expected


@functools.cache
def trained():
    """A small network's fresh variables, its outputs in training and its next statistics, all on the host."""
    module = models.build("inception_v3", width=4, num_classes=3)
    variables = models.init(module, KEY, IMAGE)
    step = functools.partial(module.apply, train=True, mutable=["batch_stats"])
    outputs, state = jax.jit(step)(variables, IMAGE)
    return jax.device_get((variables, outputs, state["batch_stats"]))


def test_features_are_means_and_logits_their_product():
    variables, outputs, _ = trained()
    np.testing.assert_allclose(outputs["features"], outputs["mixed10"].mean((1, 2)), rtol=1e-5)
    fc = variables["params"]["fc"]
    np.testing.assert_allclose(outputs["logits"], outputs["features"] @ fc["kernel"] + fc["bias"], rtol=1e-4, atol=1e-5)


def test_training_takes_in_every_statistic():
    variables, _, statistics = trained()
    moved = jax.tree.map(lambda old, new: not np.array_equal(old, new), variables["batch_stats"], statistics)
    assert jax.tree.leaves(moved) == [True] * (2 * 94)


@pytest.mark.parametrize(("variant", "momentum", "scale"), [("keras", 0.99, 1), ("torchvision", 0.9, 3)])
def test_units_normalise_as_their_source_does(variant, momentum, scale):
    unit = ConvNorm(Unit("unit", 32), Form(width=1, variant=variant))
    image = jnp.array([1.0, 2.0, 3.0, 6.0]).reshape(4, 1, 1, 1)  # mean 3, unbiased variance 14/3
    params = {"conv": {"kernel": jnp.ones((1, 1, 1, 1))}, "bn": {"bias": jnp.full(1, 0.6)}}
    if variant == "torchvision":
        params["bn"]["scale"] = jnp.full(1, 3.0)
    variables = {"params": params, "batch_stats": {"bn": {"mean": jnp.full(1, 2.0), "var": jnp.full(1, 4.0)}}}
    expected = np.maximum(0.6 + scale * (np.asarray(image) - 2) / np.sqrt(4 + 1e-3), 0)
    np.testing.assert_allclose(unit.apply(variables, image, train=False), expected, rtol=1e-6)
    _, state = unit.apply(variables, image, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(state["batch_stats"]["bn"]["mean"], momentum * 2 + (1 - momentum) * 3, rtol=1e-6)
    np.testing.assert_allclose(state["batch_stats"]["bn"]["var"], momentum * 4 + (1 - momentum) * 14 / 3, rtol=1e-6)


@pytest.mark.parametrize(("variant", "corner"), [("keras", 1), ("torchvision", 4 / 9)])
def test_average_pools_count_the_padding_in_torchvision_alone(variant, corner):
    pooled = run_branch(("average",), Form(variant=variant), jnp.ones((1, 5, 5, 1)), train=False)
    np.testing.assert_allclose([pooled[0, 0, 0, 0], pooled[0, 2, 2, 0]], [corner, 1], rtol=1e-6)


def test_branches_are_joined_in_their_order():
    generator = np.random.default_rng(0)
    image = generator.uniform(size=(1, 3, 3, 3)).astype(np.float32)
    kernels = {name: generator.standard_normal((1, 1, 3, n), np.float32) for name, n in (("two", 2), ("one", 1))}
    variables = {
        "params": {name: {"conv": {"kernel": k}, "bn": {"bias": np.zeros(k.shape[-1])}} for name, k in kernels.items()},
        "batch_stats": {name: {"bn": {"mean": np.zeros(n), "var": np.ones(n)}} for name, n in (("two", 2), ("one", 1))},
    }
    mixed = Mixed((("max", Fork("joined", (Unit("two", 64), Unit("one", 32)))), ("max",)), Form(width=1))
    outputs = mixed.apply(variables, jnp.asarray(image), train=False)
    greatest = image.max((1, 2), keepdims=True)
    units = np.concatenate([greatest @ kernel[0, 0] for kernel in kernels.values()], -1) / np.sqrt(1 + 1e-3)
    np.testing.assert_allclose(outputs, np.concatenate([np.maximum(units, 0), greatest], -1), rtol=1e-5)
