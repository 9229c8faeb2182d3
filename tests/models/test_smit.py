"""SMIT's networks give what its official code gives, in evaluation and in training, at full width and a small size."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from smit_golden import channels_first, filled, golden, masks, volumes

from mskjax import models
from mskjax.models.swin import Block


def run(function, *arguments):
    with jax.default_matmul_precision("highest"):
        return jax.jit(function).lower(*arguments).compile()(*arguments)


def assert_near(found, expected, tolerance=1e-5):
    np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.fixture(scope="module")
def segmenter():
    module = models.build("smit_segmenter", num_classes=2, drop_path=0.0)
    return module, filled(module, "segmenter", ("decoder",))


def test_the_segmenter_in_evaluation(segmenter):
    module, variables = segmenter
    outputs, expected = run(module.apply, variables, volumes(0)), golden("segmenter/")
    assert_near(outputs["bottleneck"].reshape(1, -1, 768), expected["bottleneck"])
    for stage in range(4):
        assert_near(channels_first(outputs[f"stage{stage}"])[:, :, ::2, ::2, ::2], expected[f"stage{stage}"])
    assert_near(channels_first(outputs["logits"])[..., ::2], expected["logits"])


def test_the_segmenter_in_training(segmenter):
    """Its BatchNorm takes the batch's statistics, and takes them in, over depth too."""
    module, variables = segmenter

    def train(variables, volume):
        return module.apply(variables, volume, train=True, mutable=["batch_stats"], rngs={"dropout": jax.random.key(0)})

    outputs, updated = run(train, variables, volumes(0, 1))
    expected = golden("train/")
    assert_near(channels_first(outputs["logits"])[..., ::4], expected["logits"], 1e-4)
    variance = updated["batch_stats"]["decoder"]["decoder2"]["bn1"]["var"]
    np.testing.assert_allclose(variance, expected["decoder2.conv_block.norm1.running_var"], rtol=1e-5)


@pytest.fixture(scope="module")
def pretrainer():
    module = models.build("smit_pretrainer", drop_path=0.0)
    student = filled(module, "student", ("pretext",), "student.")
    outputs = run(module.apply, student, volumes(1, 2), masks(1, 2))
    teacher = filled(module, "student", ("pretext",), "teacher.")
    targets = run(lambda variables, volume: module.apply(variables, volume, teacher=True), teacher, volumes(1, 2))
    return outputs, targets


def test_the_student_sees_what_is_not_masked_and_the_teacher_all(pretrainer):
    expected = golden("pretraining/")
    for outputs, who in zip(pretrainer, ("student", "teacher"), strict=True):
        assert_near(outputs["image_logits"][:, None, ::8], expected[f"{who}_image_logits"])
        assert_near(outputs["patch_logits"][..., ::32], expected[f"{who}_patch_logits"])


def test_the_student_reconstructs_and_the_teacher_does_not(pretrainer):
    outputs, targets = pretrainer
    assert_near(channels_first(outputs["reconstruction"])[..., ::4], golden("pretraining/")["reconstruction"])
    assert "reconstruction" not in targets


def count(module):
    return sum(leaf.size for leaf in jax.tree.leaves(models.abstract(module)["params"]))


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("smit_encoder", {}, 8_763_784),
        ("smit_segmenter", {"num_classes": 14}, 62_898_390),
        ("smit_segmenter", {"num_classes": None}, 8_763_784),
        ("smit_pretrainer", {}, 49_176_248),
        ("smit_pretrainer", {"shared_head": True}, 49_176_248 - 7_614_720 + 8_192),
    ],
)
def test_as_many_parameters_as_the_official_networks(name, options, expected):
    """The lengths of 8192 directions, which are parameters there and always 1, are none here."""
    assert count(models.build(name, **options)) == expected


@pytest.mark.parametrize(
    ("side", "options", "message"),
    [
        ((96, 96, 80), {"joining": "inverse"}, "96x96x80 voxels does not fit SMIT; make each side a multiple of 32"),
        ((64, 64, 32), {}, "64x64x32 voxels is no cube, for which joining='official' is made; use joining='inverse'"),
    ],
)
def test_sides_that_do_not_fit_are_refused(side, options, message):
    with pytest.raises(ValueError, match=message):
        models.build("smit_encoder", **options).init(jax.random.key(0), jnp.zeros((1, *side, 1)))


SMALL = {"width": 8, "stage_sizes": (2, 1, 1, 1)}


def test_sides_may_differ_where_windows_go_back_to_their_places():
    module = models.build("smit_encoder", joining="inverse", **SMALL)
    outputs = jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), jnp.zeros((1, 64, 32, 96, 1)))[0])
    assert outputs["stage0"].shape == (1, 32, 16, 48, 8)
    assert outputs["bottleneck"].shape == (1, 2, 1, 3, 128)


def jaxpr(**options):
    module = models.build("smit_segmenter", num_classes=2, **SMALL, **options)
    variables = models.abstract(module)
    key = jax.random.key(0)
    volume = jax.ShapeDtypeStruct((2, 32, 32, 32, 1), jnp.float32)

    def train(variables, volume):
        return module.apply(variables, volume, train=True, mutable=["batch_stats"], rngs={"dropout": key})[0]["logits"]

    return jax.make_jaxpr(train)(variables, volume)


def test_blocks_are_computed_again_where_it_is_asked():
    assert str(jaxpr(remat=True)).count("remat2[") == sum(SMALL["stage_sizes"])
    assert "remat2[" not in str(jaxpr())


def test_in_bfloat16_products_are_computed_in_it_and_logits_are_float32():
    traced = jaxpr(dtype=jnp.bfloat16)
    assert traced.out_avals[0].dtype == jnp.float32
    products = [line for line in str(traced).splitlines() if "dot_general[" in line or "conv_general" in line]
    coarse = [line for line in products if "bf16[" in line]
    assert len(products) - len(coarse) <= 2 * sum(SMALL["stage_sizes"]) + 1  # scores of attention, and the logits


def test_the_deeper_a_block_the_more_often_it_is_dropped():
    rates = []

    def note(call, args, kwargs, context):
        if isinstance(context.module, Block) and context.method_name == "__call__":
            rates.append(context.module.drop_path)
        return call(*args, **kwargs)

    module = models.build("smit_encoder", width=8, drop_path=0.3)
    with nn.intercept_methods(note):
        jax.eval_shape(lambda: module.init(jax.random.key(0), jnp.zeros((1, 32, 32, 32, 1))))
    np.testing.assert_allclose(rates, np.arange(10) / 30, rtol=1e-6)
