from dataclasses import asdict
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from mskjax.data.augment import Augmentation, augment, draw

RNG = np.random.default_rng(0)
IMAGE_HU = RNG.integers(-1024, 2000, (8, 48, 64)).astype(np.int16)
MASK = (RNG.random((8, 48, 64)) < 0.5).astype(np.uint8)
SPACING_MM = RNG.uniform(0.6, 1.9, (8, 2)).astype(np.float32)
KEY = jax.random.key(7)
COMPILED = jax.jit(augment, static_argnums=4)
NEVER = Augmentation(flip=0.0, rotation=0.0, scaling=0.0, elastic=0.0)
DRAWS = 4000


def batch(count=8):
    return jnp.asarray(IMAGE_HU[:count]), jnp.asarray(MASK[:count]), jnp.asarray(SPACING_MM[:count])


def draws(augmentation=None):
    keys = jax.random.split(jax.random.key(1), DRAWS)
    return jax.jit(jax.vmap(partial(draw, augmentation=augmentation or Augmentation())))(keys)


def test_defaults_are_study_a():
    assert asdict(Augmentation()) == {
        "flip": 0.5,
        "rotation": 0.5,
        "rotation_degrees": 20,
        "scaling": 0.5,
        "scale": 0.1,
        "elastic": 0.5,
        "elastic_spacing_mm": 64,
        "elastic_sd_mm": 5,
    }


def test_probabilities_of_zero_leave_every_value_as_it_is():
    image, mask = COMPILED(KEY, *batch(), NEVER)
    np.testing.assert_array_equal(image, IMAGE_HU)
    np.testing.assert_array_equal(mask, MASK)


@pytest.mark.parametrize("x64", [False, True])
def test_float32_leaves_and_masks_stay_binary(x64):
    with jax.enable_x64(x64):
        image, mask = COMPILED(KEY, *batch(), Augmentation())
    assert image.dtype == mask.dtype == jnp.float32
    assert image.shape == mask.shape == IMAGE_HU.shape
    assert set(np.unique(mask)) == {0.0, 1.0}
    assert float(image.min()) >= -1024 and float(image.max()) <= 2000
    assert (np.asarray(image) != IMAGE_HU).any()


def test_an_image_depends_on_the_key_and_its_position_only():
    image, mask = COMPILED(KEY, *batch(8), Augmentation())
    fewer_image, fewer_mask = COMPILED(KEY, *batch(3), Augmentation())
    np.testing.assert_array_equal(fewer_image, image[:3])
    np.testing.assert_array_equal(fewer_mask, mask[:3])
    other, _ = COMPILED(jax.random.key(8), *batch(8), Augmentation())
    assert (np.asarray(other) != np.asarray(image)).any(axis=(1, 2)).sum() >= 6
    repeated = [jnp.stack([a[0]] * 8) for a in batch()]
    copies, _ = COMPILED(KEY, *repeated, Augmentation())
    assert len(np.unique(np.asarray(copies), axis=0)) >= 6


def test_image_and_mask_move_together():
    """A slice that is bright exactly where the mask is stays so, but for the rim that bilinear weights cut."""
    row, column = np.indices((96, 96))
    mask = ((row - 40) ** 2 + (column - 60) ** 2 < 400).astype(np.uint8)[None].repeat(8, 0)
    image_hu = np.where(mask, 1000, -1024).astype(np.int16)
    image, moved = COMPILED(KEY, jnp.asarray(image_hu), jnp.asarray(mask), jnp.full((8, 2), 2.0), Augmentation())
    assert ((np.asarray(image) > -12) != np.asarray(moved)).sum(axis=(1, 2)).max() < 0.02 * mask[0].sum()


def test_one_and_eight_devices_give_the_same_bits_and_exchange_no_pixels():
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.NamedSharding(mesh, jax.P("batch"))
    spread = jax.jit(partial(augment, augmentation=Augmentation()), out_shardings=rows)
    arguments = (KEY, *(jax.device_put(a, rows) for a in batch()))
    for one, eight in zip(COMPILED(KEY, *batch(), Augmentation()), spread(*arguments), strict=True):
        np.testing.assert_array_equal(one, eight)
    program = spread.lower(*arguments).compile().as_text()
    assert "all-gather" not in program and "all-reduce" not in program and "all-to-all" not in program


def test_each_motion_happens_with_its_own_probability():
    motions = draws(Augmentation(flip=0.3, rotation=0.5, scaling=0.6, elastic=0.8))
    happened = np.stack(
        [motions.flip, motions.angle != 0, motions.scale != 1, (motions.control_mm != 0).all(axis=(1, 2, 3))]
    )
    np.testing.assert_allclose(happened.mean(axis=1), [0.3, 0.5, 0.6, 0.8], atol=4 * 0.5 / np.sqrt(DRAWS))
    correlations = np.corrcoef(happened)[np.triu_indices(4, 1)]
    np.testing.assert_allclose(correlations, 0, atol=4 / np.sqrt(DRAWS))


def test_angles_and_scales_are_uniform_over_the_asked_ranges():
    motions = draws(Augmentation(rotation=1.0, scaling=1.0, scale=0.1))
    degrees = np.rad2deg(motions.angle)
    assert scipy.stats.kstest(degrees, scipy.stats.uniform(-20, 40).cdf).pvalue > 1e-3
    assert scipy.stats.kstest(motions.scale, scipy.stats.uniform(0.9, 0.2).cdf).pvalue > 1e-3
    assert np.abs(degrees).max() <= 20.0001 and np.abs(motions.scale - 1).max() <= 0.10001
    assert np.corrcoef(degrees, motions.scale)[0, 1] == pytest.approx(0, abs=4 / np.sqrt(DRAWS))


def test_control_points_are_independent_normals_that_cover_any_scanner():
    control_mm = np.asarray(draws(Augmentation(elastic=1.0, elastic_sd_mm=3.0)).control_mm)
    assert control_mm.shape[1:] == (2, 16, 16) and 16 * 64 == 1024
    assert scipy.stats.kstest(control_mm[:, 0, 3, 5], scipy.stats.norm(0, 3).cdf).pvalue > 1e-3
    pairs = np.corrcoef(control_mm[:, :, :2, :2].reshape(DRAWS, -1).T)
    np.testing.assert_allclose(pairs, np.eye(8), atol=5 / np.sqrt(DRAWS))
    coarse = Augmentation(elastic_spacing_mm=5000.0)
    assert draw(KEY, coarse).control_mm.shape == (2, 2, 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("flip", 1.5),
        ("elastic", -0.1),
        ("rotation", float("nan")),
        ("rotation_degrees", -20.0),
        ("scale", 1.0),
        ("elastic_spacing_mm", 0.0),
        ("elastic_sd_mm", float("inf")),
    ],
)
def test_values_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"augmentation {name} is {value}"):
        Augmentation(**{name: value})
