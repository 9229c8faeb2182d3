import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export, lax
from jax.sharding import NamedSharding, PartitionSpec
from lowered import Lowered

from mskjax.models import image_convolution
from mskjax.models.image_convolution import MANY, Window, convolve_image

DILATED = Window(1, 2, (2, 2))
MESH = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))


def random(*shape, seed=0, dtype=np.float64):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)


@pytest.fixture
def by_products(monkeypatch):
    """Small kernels are treated as large ones are."""
    monkeypatch.setattr(image_convolution, "MANY", 1)


def of_jax(image, kernel, window):
    return lax.conv_general_dilated(
        image,
        kernel,
        (window.stride,) * 2,
        [(reach, reach) for reach in window.padding],
        rhs_dilation=(window.dilation,) * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


WINDOWS = [
    ((3, 3), (3, 5), Window(1, 1, (1, 1))),
    ((3, 3), (5, 3), DILATED),
    ((3, 3), (5, 3), Window(2, 1, (1, 1))),
    ((3, 3), (2, 2), Window(3, 2, (2, 2))),
    ((3, 3), (4, 2), Window(1, 4, (0, 0))),
    ((3, 3), (4, 2), Window(1, 3, (3, 3))),
    ((3, 1), (2, 3), Window(1, 1, (1, 0))),
    ((3, 2), (2, 3), Window(1, 1, (2, 1))),
    ((1, 7), (4, 3), Window(1, 1, (0, 3))),
    ((3, 2), (3, 4), Window(2, 1, (0, 0))),
]


@pytest.mark.parametrize(("size", "channels", "window"), WINDOWS)
def test_a_convolution_and_its_derivatives_are_those_of_jax(size, channels, window, by_products):
    with jax.enable_x64(True):
        image, kernel = random(2, 10, 13, channels[0]), random(*size, *channels, seed=1)
        gradient = random(*jax.eval_shape(lambda *values: of_jax(*values, window), image, kernel).shape, seed=2)

        @functools.partial(jax.jit, static_argnums=0)
        def convolved(convolve, image, kernel, gradient):
            result, transpose = jax.vjp(lambda *values: convolve(*values, window), image, kernel)
            return result, *transpose(gradient)

        found, expected = (convolved(convolve, image, kernel, gradient) for convolve in (convolve_image, of_jax))
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def differentiated(image, kernel):
    return jax.value_and_grad(lambda *values: convolve_image(*values, DILATED).sum(), (0, 1))(image, kernel)


def strided(image, kernel):
    window = Window(2, 1, (1, 1))
    return jax.value_and_grad(lambda *values: convolve_image(*values, window).sum(), (0, 1))(image, kernel)


def shapes(channels, dtype=jnp.float32):
    return [jax.ShapeDtypeStruct(shape, dtype) for shape in ((8, 8, 6, channels), (3, 3, channels, 256))]


def operations(platform, *shapes, function=differentiated):
    return Lowered(jax.jit(function).trace(*shapes), platform).done(COUNTED)


COUNTED = ("convolution", "dot_general", "pad", "slice", "concatenate", "subtract")
AS_JAX_DOES = dict.fromkeys(COUNTED, 0) | {"convolution": 3}


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_elsewhere_it_is_a_convolution_with_its_own_gradients_and_nothing_else(platform):
    assert operations(platform, *shapes(MANY // 256)) == AS_JAX_DOES


def test_on_the_cpu_a_large_kernel_takes_twelve_products_of_half_the_rows_for_each_result():
    """Four rows of three pixels each, where the definition has nine products of all rows: two thirds of the work."""
    program = Lowered(jax.jit(differentiated).trace(*shapes(MANY // 256)), "cpu")
    found = program.done(COUNTED)
    assert (found["convolution"], found["dot_general"]) == (0, 3 * 12)
    products = [line for line in program.text.splitlines() if "stablehlo.dot_general" in line]
    assert all(f"<{8 * 4 * 6}x" in line for line in products)  # 8 images of 8 rows and 6 columns


def test_on_the_cpu_the_gradient_of_a_large_kernel_with_a_stride_is_nine_products():
    found = operations("cpu", *shapes(MANY // 256), function=strided)
    assert (found["convolution"], found["dot_general"]) == (2, 9)


def test_half_precision_is_not_spent_on_sums_of_rows():
    assert operations("cpu", *shapes(MANY // 256, jnp.bfloat16))["convolution"] == 2


def test_in_single_precision_a_minimal_filter_errs_as_little_as_a_convolution():
    image, kernel = random(1, 16, 16, 256, dtype=np.float32), random(3, 3, 256, 256, seed=1, dtype=np.float32)
    with jax.enable_x64(True):
        exact = of_jax(image.astype(np.float64), kernel.astype(np.float64), DILATED)
    found, by_definition = (form(image, kernel, DILATED) for form in (convolve_image, of_jax))
    error, usual = (
        np.sqrt(np.mean((np.asarray(values) - np.asarray(exact)) ** 2)) for values in (found, by_definition)
    )
    assert 0 < error < 2 * usual


def test_the_choice_of_a_form_is_gone_from_the_compiled_program(by_products):
    text = jax.jit(differentiated).lower(*shapes(4)).compile().as_text()
    assert " dot(" in text and " conditional(" not in text


def test_on_the_cpu_a_small_kernel_is_left_to_convolutions():
    assert operations("cpu", *shapes(MANY // 256 - 1)) == AS_JAX_DOES


def test_a_batch_on_many_devices_has_the_same_gradients(by_products):
    image, kernel = random(8, 6, 6, 4, dtype=np.float32), random(3, 3, 4, 4, seed=1, dtype=np.float32)
    _, expected = differentiated(image, kernel)
    rows = PartitionSpec("data")
    sharded = jax.device_put(image, NamedSharding(MESH, rows))
    _, by_compiler = jax.jit(differentiated)(sharded, kernel)

    def of_a_device(image, kernel):
        _, (of_image, of_kernel) = differentiated(image, kernel)
        return of_image, lax.psum(of_kernel, "data")

    specs = {"in_specs": (rows, PartitionSpec()), "out_specs": (rows, PartitionSpec())}
    by_hand = jax.jit(jax.shard_map(of_a_device, mesh=MESH, check_vma=False, **specs))(sharded, kernel)
    for found in (by_compiler, by_hand):
        for ours, whole in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, whole, rtol=1e-5, atol=1e-5)


def test_one_exported_program_serves_all_platforms(by_products):
    image, kernel = random(8, 6, 6, 4, dtype=np.float32), random(3, 3, 4, 4, seed=1, dtype=np.float32)
    written = export.export(jax.jit(differentiated), platforms=("cpu", "cuda", "tpu"))(image, kernel).serialize()
    _, found = export.deserialize(written).call(image, kernel)
    _, expected = differentiated(image, kernel)
    for ours, direct in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, direct, rtol=1e-6, atol=1e-6)


def test_a_block_that_is_computed_again_has_the_same_gradients(by_products):
    image, kernel = random(1, 6, 6, 4, dtype=np.float32), random(3, 3, 4, 4, seed=1, dtype=np.float32)
    again = jax.checkpoint(lambda *values: convolve_image(*values, DILATED))
    found = jax.grad(lambda *values: again(*values).sum(), (0, 1))(image, kernel)
    for ours, kept in zip(found, differentiated(image, kernel)[1], strict=True):
        np.testing.assert_allclose(ours, kept, rtol=1e-6, atol=1e-6)


def test_gradients_in_bfloat16_are_sums_in_float32(by_products):
    image, kernel = (random(*shape, seed=3, dtype=jnp.bfloat16) for shape in ((1, 64, 64, 3), (3, 3, 3, 4)))
    gradient = random(1, 64, 64, 4, seed=4, dtype=jnp.bfloat16)
    found = jax.vjp(lambda kernel: convolve_image(image, kernel, DILATED), kernel)[1](gradient)[0]
    assert found.dtype == jnp.bfloat16
    image, kernel, gradient = (values.astype(np.float32) for values in (image, kernel, gradient))
    expected = jax.vjp(lambda kernel: of_jax(image, kernel, DILATED), kernel)[1](gradient)[0]
    np.testing.assert_allclose(found.astype(np.float32), expected, rtol=2**-8, atol=1e-2)
