"""InceptionResNetV2's counts, grids and arithmetic; that its features are Keras's is tested on conversions."""

import functools
import json
import re
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from mskjax import models
from mskjax.models.inception import Form, Unit
from mskjax.models.inception_resnet_v2 import TOP_LAYERS, Backbone, Residual, unit_paths

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "keras"
LAYOUT = json.loads((GOLDEN / "layouts_keras3.json").read_text())["inception_resnet_v2"]
KEY = jax.random.key(0)


@functools.cache
def abstract():
    return models.abstract(models.build("inception_resnet_v2"))


def shapes(pixels, **options):
    module = models.build("inception_resnet_v2", **options)
    image = jax.ShapeDtypeStruct((1, pixels, pixels, 3), jnp.float32)
    return jax.eval_shape(lambda image: module.init_with_output(KEY, image)[0], image)


def test_it_has_kerass_parameters():
    """Keras counts the statistics as well."""
    counts = {name: sum(leaf.size for leaf in jax.tree.leaves(tree)) for name, tree in abstract().items()}
    assert counts == {"params": 54_276_192, "batch_stats": 54_336_736 - 54_276_192}


def test_units_and_projections_are_all_there_is_below_the_backbone():
    leaves = {path.rpartition("/")[0] for path in flatten_dict(abstract()["params"]["backbone"], sep="/")}
    units, projections = (
        {*unit_paths(), "conv_7b"},
        {path for path in leaves if re.fullmatch(r"block\d+_\d+/conv", path)},
    )
    assert leaves == {f"{path}/{part}" for path in units for part in ("conv", "bn")} | projections
    assert len(units) == 204 and len(projections) == 40


def test_the_top_layers_are_kerass_last_ten():
    """Of layers that Keras numbered, the file's session had made some before."""

    def based(name):
        numbered = re.fullmatch(r"(batch_normalization|activation)_(\d+)", name)
        return f"{numbered[1]}_{int(numbered[2]) - LAYOUT['first']}" if numbered else name

    layers = LAYOUT["layers"][-10:]
    assert [name for name, _ in TOP_LAYERS] == [based(name) for name, _, _ in layers]
    assert [bool(path) for _, path in TOP_LAYERS] == [bool(held) for _, _, held in layers]
    leaves = flatten_dict(abstract()["params"], sep="/")
    for (_, path), (_, _, held) in zip(TOP_LAYERS, layers, strict=True):
        for weight in held.keys() & {"kernel", "bias", "beta"}:
            assert list(leaves[f"{path}/{weight.replace('beta', 'bias')}"].shape) == held[weight]


def test_stages_have_the_published_grids():
    """At 299x299; the comments of Keras's code."""
    grids = {"mixed_5b": (35, 320), "block35_10_ac": (35, 320), "mixed_6a": (17, 1088), "block17_20_ac": (17, 1088)}
    grids |= {"mixed_7a": (8, 2080), "block8_10": (8, 2080), "conv_7b_ac": (8, 1536)}
    outputs = shapes(299)
    assert outputs.pop("features").shape == (1, 1536)
    assert {name: output.shape for name, output in outputs.items()} == {n: (1, s, s, c) for n, (s, c) in grids.items()}


def test_bfloat16_leaves_features_and_logits_in_float32():
    outputs = shapes(75, width=1, num_classes=3, dtype="bfloat16")
    assert {name for name, output in outputs.items() if output.dtype == jnp.float32} == {"features", "logits"}
    assert {output.dtype.name for output in outputs.values()} == {"bfloat16", "float32"}


@pytest.mark.parametrize("relu", [True, False])
def test_residual_blocks_add_their_scaled_projection(relu):
    block = Residual(((Unit("one", 32),), (Unit("two", 64),)), scale=0.25, relu=relu, form=Form(width=1))
    generator = np.random.default_rng(0)
    image = generator.standard_normal((2, 3, 4, 5), np.float32)
    sizes = {"one": (5, 1), "two": (5, 2), "up": (3, 5)}
    kernels = {name: generator.standard_normal((1, 1, *size), np.float32) for name, size in sizes.items()}
    params = {
        name: {"conv": {"kernel": kernels[name]}, "bn": {"bias": np.zeros(sizes[name][1])}} for name in ("one", "two")
    }
    params["conv"] = {"kernel": kernels["up"], "bias": np.arange(5)}
    statistics = {name: {"bn": {"mean": np.ones(n), "var": np.full(n, 3.0)}} for name, n in (("one", 1), ("two", 2))}
    joined = np.concatenate([image @ kernels[name][0, 0] for name in ("one", "two")], -1)
    joined = np.maximum((joined - 1) / np.sqrt(3 + 1e-3), 0)
    expected = image + 0.25 * (joined @ kernels["up"][0, 0] + np.arange(5))
    outputs = block.apply({"params": params, "batch_stats": statistics}, jnp.asarray(image), train=False)
    np.testing.assert_allclose(outputs, np.maximum(expected, 0) if relu else expected, rtol=1e-5, atol=1e-6)


def test_each_stage_has_its_scale_and_the_last_block_neither_scale_nor_relu():
    """Keras's constants: 0.17, 0.1, 0.2, and 1 for the last."""
    blocks = {}

    def seen(call, args, kwargs, context):
        if isinstance(context.module, Residual):
            blocks[context.module.name] = (context.module.scale, context.module.relu)
        return call(*args, **kwargs)

    with nn.intercept_methods(seen):
        jax.eval_shape(lambda: Backbone(Form(width=1)).init(KEY, jnp.zeros((1, 75, 75, 3)), train=False))
    expected = {f"block35_{n}": (0.17, True) for n in range(1, 11)} | {
        f"block17_{n}": (0.1, True) for n in range(1, 21)
    }
    assert blocks == expected | {f"block8_{n}": (0.2, True) for n in range(1, 10)} | {"block8_10": (1.0, False)}
