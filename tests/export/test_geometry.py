"""The traced geometry against what launch.measure does on the host."""

import jax
import numpy as np
import pytest

from mskjax import measure
from mskjax.data import batches
from mskjax.export import geometry

# Height, width, side of the square, spacing: enlarged and shrunk, where halves are common, not square, not even.
CASES = [
    (64, 64, 48, (0.7, 0.7)),
    (60, 60, 48, (1.0, 1.0)),
    (40, 30, 33, (0.8, 1.1)),
    (33, 47, 64, (0.6667, 0.6667)),
    (32, 32, 32, (0.9, 0.9)),
]


def float32(spacing):
    return np.array([spacing], np.float32), np.array(spacing, np.float32).astype(np.float64)


@pytest.mark.parametrize(("height", "width", "size", "spacing"), CASES)
def test_slices_are_fitted_as_on_the_host(height, width, size, spacing):
    rng = np.random.default_rng(0)
    image_hu = rng.integers(-1024, 500, (1, height, width)).astype(np.int16)
    square = rng.random((1, size, size), np.float32)
    traced, host = float32(spacing)
    with jax.enable_x64(True):
        fit = jax.jit(geometry.fit_images, static_argnums=2)(image_hu.astype(np.float32), traced, size)
        unfit = jax.jit(geometry.unfit_squares, static_argnums=1)(square, (height, width), traced)
    np.testing.assert_array_equal(fit[0], batches.fit_image(image_hu[0], host, size))
    assert fit.dtype == unfit.dtype == np.float32
    np.testing.assert_allclose(unfit[0], batches.unfit(square[0], (height, width), host), rtol=0, atol=6e-8)


def test_halves_go_to_the_even_number_however_they_are_summed():
    # 5 rows of 4 pixels become 4 of 5: weights are in tenths, so that sums of whole HU often end in one half.
    image_hu = np.random.default_rng(1).integers(-9, 9, (200, 200)).astype(np.int16)
    whole = batches.fit_image(image_hu, np.ones(2), 160)
    turned = batches.fit_image(np.ascontiguousarray(image_hu[::-1, ::-1]), np.ones(2), 160)
    np.testing.assert_array_equal(whole, turned[::-1, ::-1])


@pytest.mark.parametrize("spacing", [(0.25, 0.25), (0.6667, 0.6667), (1.0, 0.5), (2.0, 2.1), (3.0, 0.3)])
def test_bone_reaches_as_far_as_on_the_host(spacing):
    image_hu = np.where(np.random.default_rng(2).random((1, 40, 50)) < 0.01, 176, 175).astype(np.float32)
    image_hu[0, 0, 0] = image_hu[0, -1, -1] = 176
    traced, _ = float32(spacing)
    with jax.enable_x64(True):
        near = np.asarray(jax.jit(geometry.near_bone)(image_hu, traced))
    kept = measure.remove_bone(image_hu[0], np.ones((40, 50), bool), spacing)
    np.testing.assert_array_equal(near[0], ~kept)
    assert near.any() and not near.all()


def test_each_slice_of_a_batch_has_its_own_spacing():
    image_hu = np.zeros((2, 21, 21), np.float32)
    image_hu[:, 10, 10] = 300
    with jax.enable_x64(True):
        near = jax.jit(geometry.near_bone)(image_hu, np.array([[1, 1], [0.5, 2.5]], np.float32))
    assert near[0].sum() == 13  # the pixels within 2 of the middle
    assert near[1].sum() == 9 and near[1, 6:15, 10].all()
