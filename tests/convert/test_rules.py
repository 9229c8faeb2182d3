"""Rules are strict both ways, and torchvision's fill every leaf of every network from every published name."""

import hypothesis
import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import jax
import ml_dtypes
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from small_weights import OPTIONS, SHAPES, small

from mskjax import models
from mskjax.convert import torchvision
from mskjax.convert.options import HEADS
from mskjax.convert.rules import Rule, apply_rules, conv_kernel, dense_kernel, keep, rename

INVERSE = {
    keep: lambda array: array,
    conv_kernel: lambda array: np.moveaxis(array, (-1, -2), (0, 1)),
    dense_kernel: np.transpose,
}
PAIR = [Rule(r"layer(\d)\.weight", r"params/stage\1/kernel", dense_kernel), Rule(r".*\.steps", None)]
TARGET = {"params": {"stage1": {"kernel": jax.ShapeDtypeStruct((3, 2), np.float32)}}}


@pytest.mark.parametrize("model", SHAPES)
def test_every_published_name_has_its_leaf(model):
    """Shapes without memory: the arrays are one number, broadcast."""
    options = {"aux_head": True} if model.startswith("fcn") else {}
    wanted = flatten_dict(models.abstract(models.build(model, **options)), sep="/")
    tensors = {name: np.broadcast_to(np.float32(0), shape) for name, shape in SHAPES[model].items()}
    renamed = rename(tensors, torchvision.rules(HEADS))
    assert renamed.problems == []
    assert {name: leaf.array.shape for name, leaf in renamed.leaves.items()} == {n: w.shape for n, w in wanted.items()}
    assert list(renamed.ignored) == [name for name in tensors if name.endswith("num_batches_tracked")]
    parameters = sum(w.size for name, w in wanted.items() if name.startswith("params/"))
    assert parameters == {"resnet50": 25_557_032, "resnet101": 44_549_160, "fcn_resnet101": 54_314_346}[model]


@pytest.mark.parametrize("model", SHAPES)
def test_names_and_values_come_back(model):
    tensors = small(model)
    transforms = {name: _transform(name) for name in tensors}
    renamed = rename(tensors, torchvision.rules(HEADS))
    returned = {leaf.source: INVERSE[transforms[leaf.source]](leaf.array) for leaf in renamed.leaves.values()}
    expected = {name: array for name, array in tensors.items() if not name.endswith("num_batches_tracked")}
    assert returned.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(returned[name], array)


def _transform(name):
    (rule,) = (rule for rule in torchvision.rules(HEADS) if rename({name: np.zeros(1)}, [rule]).problems == [])
    return rule.transform


def test_statistics_and_scales_go_to_their_own_leaves():
    tensors = small("fcn_resnet101")
    options = OPTIONS | {"aux_head": True}
    target = models.abstract(models.build("fcn_resnet101", **options))
    variables = apply_rules(tensors, torchvision.rules(HEADS), target)
    params, statistics = variables["params"], variables["batch_stats"]
    for place, source in {
        ("backbone", "bn1"): "backbone.bn1",
        ("backbone", "layer2_0", "bn3"): "backbone.layer2.0.bn3",
        ("backbone", "layer4_0", "downsample_bn"): "backbone.layer4.0.downsample.1",
        ("aux_classifier", "bn"): "aux_classifier.1",
    }.items():
        scales, running = params, statistics
        for part in place:
            scales, running = scales[part], running[part]
        np.testing.assert_array_equal(scales["scale"], tensors[f"{source}.weight"])
        np.testing.assert_array_equal(scales["bias"], tensors[f"{source}.bias"])
        np.testing.assert_array_equal(running["mean"], tensors[f"{source}.running_mean"])
        np.testing.assert_array_equal(running["var"], tensors[f"{source}.running_var"])
    kernel = params["backbone"]["layer3_0"]["conv2"]["kernel"]
    np.testing.assert_array_equal(kernel, np.transpose(tensors["backbone.layer3.0.conv2.weight"], (2, 3, 1, 0)))
    assert kernel.flags.c_contiguous


@hypothesis.settings(deadline=None, max_examples=30)
@hypothesis.given(arrays.arrays(np.float32, arrays.array_shapes(min_dims=3, max_dims=5, max_side=4)))
def test_conv_kernels_of_any_rank(kernel):
    """Element (out, in, *window) is found at (*window, in, out)."""
    converted = conv_kernel(kernel)
    for index in np.ndindex(kernel.shape):
        np.testing.assert_array_equal(converted[(*index[2:], index[1], index[0])], kernel[index])


@hypothesis.settings(deadline=None, max_examples=30)
@hypothesis.given(st.integers(1, 5), st.integers(1, 5))
def test_dense_kernels(inputs, outputs):
    kernel = np.arange(inputs * outputs).reshape(outputs, inputs)
    assert dense_kernel(kernel)[inputs - 1, 0] == kernel[0, inputs - 1]


def test_all_mismatches_come_in_one_error():
    tensors = {
        "layer1.weight": np.zeros((2, 4), np.float32),
        "layer2.weight": np.zeros((2, 3), np.float32),
        "unknown": np.zeros(1, np.float32),
    }
    target = TARGET | {"batch_stats": {"mean": jax.ShapeDtypeStruct((5,), np.float32)}}
    with pytest.raises(ValueError) as error:
        apply_rules(tensors, PAIR, target)
    assert str(error.value).splitlines() == [
        "4 mismatches between the file and the network:",
        "+ unknown [1]: matches 0 rules instead of one",
        "~ layer1.weight [4, 2]: params/stage1/kernel [3, 2] has another shape",
        "+ layer2.weight [3, 2]: the network has no params/stage2/kernel",
        "- batch_stats/mean [5]: nothing in the file fills it",
    ]


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ([*PAIR, Rule("layer1.*", None)], r"\+ layer1.weight \[2, 3\]: matches 2 rules"),
        ([Rule(".*", "params/stage1/kernel", dense_kernel)], r"\+ other.weight \[2, 3\]: .* filled by layer1.weight"),
        ([Rule("ayer1.weight", "params/stage1/kernel"), *PAIR[1:]], r"\+ layer1.weight \[2, 3\]: matches 0"),
    ],
)
def test_one_rule_a_name_and_one_tensor_a_leaf(rules, words):
    weight = np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match=words):
        apply_rules({"layer1.weight": weight, "other.weight": weight}, rules, TARGET)


@pytest.mark.parametrize(
    ("value", "words"),
    [(np.int64(1), "int64 where"), (np.float32(np.nan), "not finite"), (np.float32(np.inf), "not finite")],
)
def test_values_that_are_no_weights(value, words):
    with pytest.raises(ValueError, match=f"layer1.weight: .*{words}"):
        apply_rules({"layer1.weight": np.full((2, 3), value)}, PAIR, TARGET)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, ml_dtypes.bfloat16])
def test_other_precisions_become_the_networks_own(dtype):
    tensors = {"layer1.weight": np.arange(6).reshape(2, 3).astype(dtype), "layer1.steps": np.array(3)}
    kernel = apply_rules(tensors, PAIR, TARGET)["params"]["stage1"]["kernel"]
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel, np.array([[0, 3], [1, 4], [2, 5]]))
