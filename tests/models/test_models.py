import dataclasses
import functools
import math
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from jax.sharding import NamedSharding, PartitionSpec

from mskjax import models
from mskjax.models.fcn import FCNHead
from mskjax.models.initial import bias_of, drawn_on_host, kaiming_normal_fan_out, uniform_fan_in
from mskjax.models.options import RULES

SMALL = {"stage_sizes": (1, 1, 2, 1), "width": 8}
IMAGE = jax.ShapeDtypeStruct((1, 32, 48, 3), jnp.float32)
KEY = jax.random.key(7)
OF_IMAGES = ["resnet50", "resnet101", "fcn_resnet101"]
QUANTILES = np.linspace(0.01, 0.99, 9)


def count(variables):
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


# Parameters as `sum(p.numel() for p in model.parameters())` counts them in torchvision 0.28.
@pytest.mark.parametrize(
    ("name", "options", "parameters"),
    [
        ("fcn_resnet101", {"aux_head": True}, 54_314_346),
        ("fcn_resnet101", {"num_classes": None}, 42_500_160),
        ("resnet101", {}, 44_549_160),
        ("resnet50", {}, 25_557_032),
    ],
)
def test_networks_have_torchvisions_parameters(name, options, parameters):
    assert count(models.abstract(models.build(name, **options))) == parameters


def test_a_segmenter_has_the_trunk_of_a_classifier():
    segmenter, classifier = (
        flatten_dict(models.abstract(models.build(name))) for name in ("fcn_resnet101", "resnet101")
    )
    for collection in ("params", "batch_stats"):
        trunk = {path: leaf for path, leaf in classifier.items() if path[:2] == (collection, "backbone")}
        assert trunk and trunk.items() <= segmenter.items()
    assert {path[1] for path in segmenter.keys() - classifier.keys()} == {"classifier"}


@pytest.mark.parametrize("name", OF_IMAGES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_outputs_are_named_and_shaped(name, dtype):
    module = models.build(name, num_classes=5, dtype=dtype, **SMALL)
    outputs = jax.eval_shape(module.apply, models.abstract(module), IMAGE)
    grids = {"stem": (8, 12, 8), "layer1": (8, 12, 32), "layer2": (4, 6, 64)}
    if name.startswith("fcn"):
        grids |= {"layer3": (4, 6, 128), "layer4": (4, 6, 256)}
    else:
        grids |= {"layer3": (2, 3, 128), "layer4": (1, 2, 256)}
    assert {stage: outputs[stage].shape[1:] for stage in grids} == grids
    assert {outputs[stage].dtype for stage in grids} == {jnp.dtype(dtype)}
    assert outputs["logits"].dtype == jnp.float32
    assert outputs["logits"].shape == ((1, 32, 48, 5) if name.startswith("fcn") else (1, 5))
    assert ("features" in outputs) == (not name.startswith("fcn"))


@pytest.mark.parametrize("name", OF_IMAGES)
def test_without_classes_there_is_no_head(name):
    module = models.build(name, num_classes=None, **SMALL)
    assert set(models.abstract(module)["params"]) == {"backbone"}
    assert "logits" not in jax.eval_shape(module.apply, models.abstract(module), IMAGE)


def test_training_drops_a_tenth_of_the_heads_features():
    head, features = FCNHead(num_classes=1, dropout=0.1), jnp.ones((2, 16, 16, 32))
    variables = head.init(KEY, features, train=False)
    apply = functools.partial(head.apply, variables, features, train=True, capture_intermediates=is_dropout)
    with models.freeze_batch_norm(["bn"]):
        _, state = apply(rngs={"dropout": KEY}, mutable=["intermediates"])
    (kept,) = (leaf[:, 1:-1, 1:-1] for leaf in jax.tree.leaves(state))  # where no padding is seen, all pixels agree
    active = np.asarray(kept[..., kept.max((0, 1, 2)) > 0])
    assert active.size > 1000
    assert abs((active == 0).mean() - 0.1) < 5 * math.sqrt(0.1 * 0.9 / active.size)


def is_dropout(module, _):
    return isinstance(module, nn.Dropout)


def test_fresh_kernels_have_pytorchs_distributions():
    module = models.build("fcn_resnet101", stage_sizes=(1, 1, 1, 1), width=32, num_classes=7)
    variables = models.init(module, KEY, IMAGE)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), variables) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), models.abstract(module)
    )
    for path, leaf in flatten_dict(variables["params"], sep="/").items():
        values, n = np.asarray(leaf, np.float64), leaf.size
        if path.endswith(("scale", "bn/bias")) or re.search(r"bn\w*/bias", path):
            assert np.all(values == path.endswith("scale")), path
        elif path.startswith("backbone"):
            std = math.sqrt(2 / (leaf.shape[3] * leaf.shape[0] * leaf.shape[1]))
            assert abs(values.std() / std - 1) < 5 / math.sqrt(2 * n), path
            assert abs(values.mean()) < 5 * std / math.sqrt(n), path
        else:
            head = variables["params"]["classifier"][path.split("/")[1]]["kernel"]
            bound = 1 / math.sqrt(math.prod(head.shape[:-1]))
            assert bound * (1 - 10 / n) < np.abs(values).max() <= bound * (1 + 1e-6) or n < 20, path
            assert abs(values.std() / (bound / math.sqrt(3)) - 1) < 3 / math.sqrt(n), path
    assert np.all(jax.tree.leaves(jax.tree.map(lambda leaf: np.ptp(leaf) == 0, variables["batch_stats"])))


def test_fresh_variables_depend_on_the_key_alone():
    module = models.build("resnet101", num_classes=4, **SMALL)
    first = models.init(module, KEY, IMAGE)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharded = jax.device_put(np.zeros((8, 64, 64, 3), np.float32), NamedSharding(mesh, PartitionSpec("data")))
    again, other = models.init(module, KEY, sharded), models.init(module, jax.random.key(8), IMAGE)
    same = jax.tree.map(np.array_equal, first["params"], again["params"])
    assert all(jax.tree.leaves(same))
    assert all(type(leaf) is np.ndarray for leaf in jax.tree.leaves(first))
    assert not np.array_equal(first["params"]["fc"]["kernel"], other["params"]["fc"]["kernel"])
    assert not np.array_equal(
        first["params"]["backbone"]["layer3_0"]["conv3"]["kernel"],
        first["params"]["backbone"]["layer3_1"]["conv3"]["kernel"],
    )


@pytest.mark.parametrize("initialiser", [kaiming_normal_fan_out, uniform_fan_in, bias_of((3, 3, 16, 9))])
def test_flaxs_own_init_draws_from_the_same_distributions(initialiser):
    shape = (3, 3, 16, 512)
    flaxs = np.asarray(initialiser(KEY, shape, jnp.float32))
    with drawn_on_host(KEY):
        ours = initialiser(KEY, shape, jnp.float32)
    assert isinstance(ours, np.ndarray) and ours.dtype == flaxs.dtype
    np.testing.assert_allclose(np.quantile(ours, QUANTILES), np.quantile(flaxs, QUANTILES), atol=0.05 * flaxs.std())


def test_float64_reaches_parameters_statistics_and_logits():
    with jax.enable_x64(True):
        module = models.build("fcn_resnet101", dtype="float64", **SMALL)
        variables = models.init(module, KEY, IMAGE)
        outputs = jax.eval_shape(module.apply, variables, IMAGE)
    assert {leaf.dtype for leaf in jax.tree.leaves((variables, outputs))} == {jnp.dtype("float64")}


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("resnet102", {}, "network 'resnet102' is unknown; choose one of resnet50, resnet101, fcn_resnet101"),
        ("resnet50", {"aux_head": True}, "resnet50 has no option aux_head; its options are stage_sizes, num_classes"),
        ("resnet50", {"parent": None}, "resnet50 has no option parent"),
        ("resnet50", {"num_classes": 0}, "num_classes=0; it must be a positive whole number, or None"),
        ("resnet50", {"num_classes": True}, "num_classes=True; it must be"),
        ("resnet50", {"stage_sizes": (3, 4, 6)}, "four positive whole numbers"),
        ("resnet50", {"width": 0.5}, "width=0.5"),
        ("resnet50", {"dtype": "float16"}, "dtype='float16'; it must be one of float32, bfloat16, float64"),
        ("resnet50", {"dtype": "half"}, "dtype='half'"),
        ("resnet50", {"dtype": "float64"}, "float64 only with jax_enable_x64"),
        ("fcn_resnet101", {"dropout": 1}, "dropout=1; it must be at least 0 and below 1"),
        ("fcn_resnet101", {"aux_head": True, "num_classes": None}, "leaves all heads out; name num_classes"),
    ],
)
def test_unknown_names_and_values_are_refused(name, options, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        models.build(name, **options)


def test_options_may_come_from_a_config_file():
    module = models.build("fcn_resnet101", stage_sizes=[1, 1, 2, 1], width=8, dropout=0)
    assert hash(module) and count(models.abstract(module)) > 0


def test_every_option_has_a_rule():
    networks = {network.func for network in models.NETWORKS.values()}
    fields = {field.name for network in networks for field in dataclasses.fields(network)}
    assert fields - {"parent", "name"} == set(RULES)
