import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from mskjax.models import freeze_batch_norm
from mskjax.models.layers import BatchNorm, Conv, average_pool, max_pool, resize_bilinear

KEY = jax.random.key(0)


def random(*shape, seed=0, dtype=np.float32):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)


@pytest.mark.parametrize(("size", "stride", "dilation"), [(1, 1, 1), (1, 2, 1), (3, 2, 1), (3, 1, 4), (7, 2, 1)])
def test_convolution_pads_both_sides_alike(size, stride, dilation):
    image = random(2, 9, 12, 3)
    conv = Conv(5, size=size, stride=stride, dilation=dilation, use_bias=True)
    variables = conv.init(KEY, image)
    kernel, bias = (np.asarray(variables["params"][name]) for name in ("kernel", "bias"))
    reach = dilation * (size - 1) // 2
    padded = np.pad(image, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    rows, columns = (np.arange(0, n, stride) for n in image.shape[1:3])
    expected = bias + sum(
        padded[:, rows[:, None] + i * dilation, columns + j * dilation] @ kernel[i, j]
        for i in range(size)
        for j in range(size)
    )
    np.testing.assert_allclose(conv.apply(variables, image), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "stride", "padding"), [((1, 7), 1, "same"), ((5, 3), 1, "same"), ((3, 2), 2, "valid")]
)
def test_kernels_may_be_oblong_and_padding_left_out(size, stride, padding):
    image = random(2, 9, 12, 3)
    conv = Conv(5, size=size, stride=stride, padding=padding)
    variables = conv.init(KEY, image)
    kernel = np.asarray(variables["params"]["kernel"])
    assert kernel.shape == (*size, 3, 5)
    reach = [n // 2 if padding == "same" else 0 for n in size]
    padded = np.pad(image, ((0, 0), *((n, n) for n in reach), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, size, (1, 2))[:, ::stride, ::stride]
    expected = np.einsum("byxcij,ijck->byxk", windows, kernel)
    np.testing.assert_allclose(conv.apply(variables, image), expected, rtol=1e-4, atol=1e-5)


def test_pointwise_convolutions_and_their_gradients_are_products_of_matrices():
    conv, image = Conv(5, stride=2), random(2, 8, 6, 3)
    loss = jax.jit(jax.grad(lambda variables, image: conv.apply(variables, image).sum(), (0, 1)))
    lines = loss.lower(conv.init(KEY, image), image).as_text().splitlines()
    shapes = [re.findall(r"tensor<([\dx]+)xf32>", line) for line in lines if "stablehlo.dot_general" in line]
    assert shapes and all(shape.count("x") == 1 for product in shapes for shape in product)


def test_an_image_smaller_than_the_window_is_refused():
    image = random(1, 2, 8, 3)
    with pytest.raises(ValueError, match=r"shrunk to 2x8 pixels before a window of 3x3; use a larger image"):
        Conv(4, size=3, padding="valid").init(KEY, image)
    with pytest.raises(ValueError, match=r"shrunk to 2x8 pixels before a window of 3x3"):
        max_pool(image, padding="valid")


def test_pool_takes_the_greatest_of_nine_negative_ones_too():
    image = random(2, 7, 10, 3) - 5
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    expected = [[padded[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max((1, 2)) for j in range(5)] for i in range(4)]
    np.testing.assert_array_equal(max_pool(image), np.moveaxis(expected, 2, 0))


@pytest.mark.parametrize("shape", [(7, 10), (8, 11), (3, 3)])
def test_pool_without_padding_leaves_out_what_no_whole_window_reaches(shape):
    image = random(2, *shape, 3)
    windows = np.lib.stride_tricks.sliding_window_view(image, (3, 3), (1, 2))
    np.testing.assert_array_equal(max_pool(image, padding="valid"), windows[:, ::2, ::2].max((-1, -2)))


def test_averages_count_the_padding_or_do_not():
    image = jnp.arange(1.0, 7.0).reshape(1, 2, 3, 1)  # rows 1 2 3 and 4 5 6: each window holds both
    sums, pixels = np.array([12, 21, 16]), np.array([4, 6, 4])
    counted, inside = (average_pool(image, count_padding=counts)[0, :, :, 0] for counts in (True, False))
    np.testing.assert_allclose(counted, [sums / 9] * 2, rtol=1e-6)
    np.testing.assert_allclose(inside, [sums / pixels] * 2, rtol=1e-6)


@pytest.mark.parametrize("count_padding", [True, False])
def test_averages_of_many_rows_are_flaxs(count_padding):
    image = random(2, 6, 5, 3)
    expected = nn.avg_pool(image, (3, 3), padding="SAME", count_include_pad=count_padding)
    np.testing.assert_allclose(average_pool(image, count_padding=count_padding), expected, rtol=1e-5, atol=1e-6)


def test_averages_in_bfloat16_are_rounded_once():
    image = random(1, 6, 5, 3, dtype=jnp.bfloat16)
    exact = average_pool(image.astype(jnp.float32), count_padding=False)
    np.testing.assert_array_equal(average_pool(image, count_padding=False), exact.astype(jnp.bfloat16))


def test_pool_passes_the_gradient_to_the_greatest():
    image = jnp.arange(16.0).reshape(1, 4, 4, 1)
    gradient = jax.grad(lambda image: (max_pool(image) * jnp.array([[1, 2], [3, 4]])[..., None]).sum())(image)
    assert gradient[0, :, :, 0].tolist() == [[0, 0, 0, 0], [0, 1, 0, 2], [0, 0, 0, 0], [0, 3, 0, 4]]


def test_resizing_repeats_the_edge_and_keeps_half_pixel_centres():
    # From 2 pixels to 6, pixel k lies at (k + 1/2) / 3 - 1/2 of the old ones.
    rows = resize_bilinear(jnp.array([0.0, 1.0]).reshape(1, 2, 1, 1), 6, 1)
    np.testing.assert_allclose(rows[0, :, 0, 0], [0, 0, 1 / 3, 2 / 3, 1, 1], atol=1e-6)


@pytest.mark.parametrize("size", [(64, 64), (61, 47), (7, 9)])
def test_resizing_is_that_of_jax(size):
    image = random(2, 7, 6, 3)
    expected = jax.image.resize(image, (2, *size, 3), "bilinear", antialias=False)
    np.testing.assert_allclose(resize_bilinear(image, *size), expected, atol=2e-6)


def normalised(module, image, running, **options):
    variables = {"params": {"scale": jnp.array([2.0]), "bias": jnp.array([1.0])}, "batch_stats": running}
    return module.apply(variables, image, mutable=["batch_stats"], **options)


RUNNING = {"mean": jnp.array([10.0]), "var": jnp.array([4.0])}


def test_training_normalises_by_the_biased_variance_and_keeps_the_unbiased():
    image = jnp.array([1.0, 2.0, 3.0, 6.0]).reshape(2, 1, 2, 1)  # mean 3, variance 3.5, unbiased 14/3
    output, state = normalised(BatchNorm(epsilon=0.0), image, RUNNING, train=True)
    np.testing.assert_allclose(output, 1 + 2 * (image - 3) / np.sqrt(3.5), atol=1e-5)
    np.testing.assert_allclose(state["batch_stats"]["mean"], 0.9 * 10 + 0.1 * 3, rtol=1e-6)
    np.testing.assert_allclose(state["batch_stats"]["var"], 0.9 * 4 + 0.1 * 14 / 3, rtol=1e-6)


def test_evaluation_normalises_by_the_running_statistics():
    output, state = normalised(BatchNorm(), jnp.full((1, 1, 1, 1), 13.0), RUNNING, train=False)
    np.testing.assert_allclose(output, 1 + 2 * 3 / np.sqrt(4 + 1e-5), rtol=1e-6)
    assert state["batch_stats"] == RUNNING


def test_without_a_scale_there_is_no_such_parameter():
    image = jnp.array([1.0, 2.0, 3.0, 6.0]).reshape(2, 1, 2, 1)
    norm = BatchNorm(epsilon=0.5, use_scale=False)
    variables = norm.init(KEY, image, train=False)
    assert set(variables["params"]) == {"bias"}
    output = norm.apply({"params": {"bias": jnp.array([1.0])}, "batch_stats": RUNNING}, image, train=False)
    np.testing.assert_allclose(output, 1 + (image - 10) / np.sqrt(4.5), rtol=1e-6)


def test_statistics_are_float32_under_bfloat16():
    image = (1000 + 8 * random(4, 16, 16, 1)).astype(jnp.bfloat16)
    output, state = normalised(BatchNorm(dtype=jnp.bfloat16), image, RUNNING, train=True)
    values = np.asarray(image, np.float64)
    assert output.dtype == jnp.bfloat16 and state["batch_stats"]["mean"].dtype == jnp.float32
    np.testing.assert_allclose(state["batch_stats"]["mean"], 9 + 0.1 * values.mean(), rtol=1e-6)
    np.testing.assert_allclose(state["batch_stats"]["var"], 3.6 + 0.1 * values.var(ddof=1), rtol=1e-4)


def test_one_value_a_channel_is_refused():
    with pytest.raises(ValueError, match=r"one value a channel.*use a larger batch"):
        normalised(BatchNorm(), jnp.zeros((1, 1, 1, 1)), RUNNING, train=True)


def test_a_sharded_batch_is_normalised_whole():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    image = random(8, 2, 2, 1) + jnp.arange(8.0)[:, None, None, None]
    sharded = jax.device_put(image, NamedSharding(mesh, PartitionSpec("data")))
    step = jax.jit(lambda image: normalised(BatchNorm(), image, RUNNING, train=True))
    for one, many in zip(jax.tree.leaves(step(image)), jax.tree.leaves(step(sharded)), strict=True):
        np.testing.assert_allclose(one, many, rtol=1e-5, atol=1e-5)


class Network(nn.Module):
    @nn.compact
    def __call__(self, image):
        return BatchNorm(name="norm")(image, train=True)


@pytest.mark.parametrize(("patterns", "frozen"), [(["norm"], True), (["norm/.*"], True), (["nor"], False), ([], False)])
def test_frozen_layers_keep_their_statistics_in_training(patterns, frozen):
    image = random(2, 3, 3, 1)
    variables = {"params": {"norm": {"scale": jnp.ones(1), "bias": jnp.zeros(1)}}, "batch_stats": {"norm": RUNNING}}
    with freeze_batch_norm(patterns):
        output, state = Network().apply(variables, image, mutable=["batch_stats"])
    assert (state["batch_stats"]["norm"]["mean"].item() == 10) == frozen
    assert np.allclose(output, (image - 10) / np.sqrt(4 + 1e-5)) == frozen
