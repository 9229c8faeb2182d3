import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mskjax.models.convolution import FEW, convolve_volume

SHAPE = (2, FEW + 1, 4, 5, 3)


def random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def by_definition(volume, kernel):
    """Each voxel's sum over its 27 neighbours, zeros beyond the edge, in float64."""
    volume, kernel = np.asarray(volume, np.float64), np.asarray(kernel, np.float64)
    padded = np.pad(volume, ((0, 0), (1, 1), (1, 1), (1, 1), (0, 0)))
    d, h, w = volume.shape[1:4]
    return sum(padded[:, i : i + d, j : j + h, k : k + w] @ kernel[i, j, k] for i, j, k in np.ndindex(3, 3, 3))


def gradients_by_definition(volume, kernel, cotangent):
    """Of the sum of products of the result with `cotangent`, in float64."""
    volume, cotangent = np.asarray(volume, np.float64), np.asarray(cotangent, np.float64)
    turned = np.flip(np.asarray(kernel, np.float64), (0, 1, 2)).swapaxes(-1, -2)
    padded = np.pad(volume, ((0, 0), (1, 1), (1, 1), (1, 1), (0, 0)))
    d, h, w = volume.shape[1:4]
    of_kernel = np.zeros(kernel.shape)
    for i, j, k in np.ndindex(3, 3, 3):
        of_kernel[i, j, k] = np.einsum("bdhwc,bdhwf->cf", padded[:, i : i + d, j : j + h, k : k + w], cotangent)
    return by_definition(cotangent, turned), of_kernel


@pytest.mark.parametrize("depth", [FEW - 1, FEW, FEW + 5])
def test_the_convolution_and_its_gradients_against_their_definition(depth):
    volume, kernel = random(2, depth, 4, 5, 3), random(3, 3, 3, 3, 4, seed=1)
    cotangent = random(2, depth, 4, 5, 4, seed=2)
    found, back = jax.vjp(jax.jit(convolve_volume), volume, kernel)
    np.testing.assert_allclose(found, by_definition(volume, kernel), rtol=1e-4, atol=1e-4)
    for of, expected in zip(back(cotangent), gradients_by_definition(volume, kernel, cotangent), strict=True):
        np.testing.assert_allclose(of, expected, rtol=1e-4, atol=1e-3)


def lowered(platform):
    def loss(volume, kernel):
        return convolve_volume(volume, kernel).sum()

    shapes = (jax.ShapeDtypeStruct(SHAPE, jnp.float32), jax.ShapeDtypeStruct((3, 3, 3, 3, 4), jnp.float32))
    traced = jax.jit(jax.value_and_grad(loss, (0, 1))).trace(*shapes)
    return traced.lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_elsewhere_it_is_one_convolution_of_the_volume_with_its_own_gradients(platform):
    text = lowered(platform)
    assert "stablehlo.while" not in text
    assert text.count("stablehlo.convolution") == 3


def test_on_the_cpu_no_volume_is_convolved_at_once():
    text = lowered("cpu")
    assert "stablehlo.while" in text
    convolutions = [line for line in text.splitlines() if "stablehlo.convolution" in line]
    assert convolutions and not any(re.search(r"-> tensor<(?:\d+x){5}f32>", line) for line in convolutions)


def test_types_are_kept():
    volume, kernel = (random(*shape).astype(jnp.bfloat16) for shape in (SHAPE, (3, 3, 3, 3, 4)))
    assert convolve_volume(volume, kernel).dtype == jnp.bfloat16


def test_the_sums_of_many_planes_in_bfloat16_are_as_exact_as_a_rounded_result():
    depth = 64
    shapes = ((1, depth, 4, 4, 3), (3, 3, 3, 3, 4), (1, depth, 4, 4, 4))
    volume, kernel, cotangent = (random(*shape, seed=n).astype(jnp.bfloat16) for n, shape in enumerate(shapes))
    _, back = jax.vjp(jax.jit(convolve_volume), volume, kernel)
    found = np.asarray(back(cotangent)[1], np.float64)
    _, expected = gradients_by_definition(volume, kernel, cotangent)
    np.testing.assert_allclose(found, expected, rtol=2**-8, atol=1e-4)
