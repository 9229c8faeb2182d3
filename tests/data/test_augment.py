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
MESH = jax.make_mesh((8,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))


def batch(count=8):
    return jnp.asarray(IMAGE_HU[:count]), jnp.asarray(MASK[:count]), jnp.asarray(SPACING_MM[:count])


@pytest.fixture(scope="module")
def motions():
    """Motions of 4000 keys with probabilities 0.3, 0.5, 0.6, 0.8, 0.4, 15 degrees, 20 %, 3 and 7 mm, in numpy."""
    augmentation = Augmentation(0.3, 0.5, 15.0, 0.6, 0.2, 0.8, elastic_sd_mm=3.0, shift=0.4, shift_mm=7.0)
    keys = jax.random.split(jax.random.key(1), DRAWS)
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(partial(draw, augmentation=augmentation)))(keys))


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
        "shift": 0,
        "shift_mm": 20,
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
    assert -1024 <= float(image.min()) < float(image.max()) <= 2000


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
    """A slice that is bright exactly where the mask is stays so, but for the rim, where linear weights cut corners."""
    row, column = np.indices((48, 64))
    mask = ((row - 20) ** 2 + (column - 36) ** 2 < 200).astype(np.uint8)[None].repeat(8, 0)
    image_hu = np.where(mask, 1000, -1024).astype(np.int16)
    image, moved = COMPILED(KEY, jnp.asarray(image_hu), jnp.asarray(mask), jnp.full((8, 2), 4.0), Augmentation())
    assert (moved != mask).any(axis=(1, 2)).sum() >= 6
    assert ((image > -12) != moved.astype(bool)).sum(axis=(1, 2)).max() < 0.04 * mask[0].sum()


def test_one_and_eight_devices_give_the_same_bits_and_exchange_no_pixels():
    rows = jax.NamedSharding(MESH, jax.P("batch"))
    arguments = (KEY, *(jax.device_put(array, rows) for array in batch()))
    spread = jax.jit(augment, static_argnums=4, out_shardings=rows).lower(*arguments, Augmentation()).compile()
    for one, eight in zip(COMPILED(KEY, *batch(), Augmentation()), spread(*arguments), strict=True):
        np.testing.assert_array_equal(one, eight)
    assert not any(exchange in spread.as_text() for exchange in ("all-gather", "all-reduce", "all-to-all", "permute"))


def test_each_motion_happens_with_its_own_probability(motions):
    deforms, shifts = (motions.control_mm != 0).all(axis=(1, 2, 3)), (motions.shift_mm != 0).all(axis=1)
    happened = np.stack([motions.flip, motions.angle != 0, motions.scale != 1, deforms, shifts])
    np.testing.assert_allclose(happened.mean(axis=1), [0.3, 0.5, 0.6, 0.8, 0.4], atol=4 * 0.5 / np.sqrt(DRAWS))
    correlations = np.corrcoef(happened)[np.triu_indices(5, 1)]
    np.testing.assert_allclose(correlations, 0, atol=4 / np.sqrt(DRAWS))


def test_angles_and_scales_are_uniform_over_the_asked_ranges(motions):
    both = (motions.angle != 0) & (motions.scale != 1)
    degrees, scale = np.rad2deg(motions.angle[both]), motions.scale[both]
    assert scipy.stats.kstest(degrees, scipy.stats.uniform(-15, 30).cdf).pvalue > 1e-3
    assert scipy.stats.kstest(scale, scipy.stats.uniform(0.8, 0.4).cdf).pvalue > 1e-3
    assert np.corrcoef(degrees, scale)[0, 1] == pytest.approx(0, abs=4 / np.sqrt(both.sum()))


def test_shifts_are_uniform_over_a_square(motions):
    shift_mm = motions.shift_mm[(motions.shift_mm != 0).all(axis=1)]
    for axis in (0, 1):
        assert scipy.stats.kstest(shift_mm[:, axis], scipy.stats.uniform(-7, 14).cdf).pvalue > 1e-3
    assert np.corrcoef(shift_mm.T)[0, 1] == pytest.approx(0, abs=4 / np.sqrt(len(shift_mm)))


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_other_draws_are_those_of_before_there_were_shifts(shift):
    """Frozen by the code of the revision before: a run that was begun then goes on with the same motions."""
    keys = jax.random.split(jax.random.key(11), 6)
    motion = jax.jit(jax.vmap(partial(draw, augmentation=Augmentation(shift=shift))))(keys)
    np.testing.assert_array_equal(motion.flip, [True, False, True, True, True, False])
    angle = [0, 0, -0.2606160342693329, 0.07201320677995682, 0.21939994394779205, 0.19551105797290802]
    np.testing.assert_array_equal(motion.angle, np.float32(angle))
    scale = [0.90530443, 0.91714245, 1.03035940, 0.92903256, 0.95934735, 0.94529212]
    np.testing.assert_array_equal(motion.scale, np.float32(scale))
    control_mm = [-1.6675724, -0.7459090, 7.4136329, 4.7044520, 2.6634810, 6.0852928]
    np.testing.assert_allclose(motion.control_mm[:, 0, 3, 5], control_mm, rtol=1e-5)
    assert (motion.shift_mm != 0).any() == (shift > 0)


def test_images_are_those_of_before_there_were_shifts():
    """As above; what interpolation rounds depends on the processor, so a little is left to it."""
    rng = np.random.default_rng(0)
    image_hu = rng.integers(-1024, 2000, (4, 48, 64)).astype(np.int16)
    mask = (rng.random((4, 48, 64)) < 0.5).astype(np.uint8)
    spacing_mm = rng.uniform(0.6, 1.9, (4, 2)).astype(np.float32)
    image, moved = COMPILED(jax.random.key(11), *map(jnp.asarray, (image_hu, mask, spacing_mm)), Augmentation())
    np.testing.assert_allclose(image[:, 20, 30], [1353.7981, 36.16045, 830.9193, 935.5589], atol=0.2)
    np.testing.assert_array_equal(moved.sum((1, 2)), [1039, 1120, 1335, 1191])


def test_control_points_are_independent_normals_that_cover_any_scanner(motions):
    control_mm = motions.control_mm[(motions.control_mm != 0).all(axis=(1, 2, 3))]
    assert control_mm.shape[1:] == (2, 16, 16)
    assert control_mm.shape[-1] * 64 == 1024
    assert scipy.stats.kstest(control_mm[:, 0, 3, 5], scipy.stats.norm(0, 3).cdf).pvalue > 1e-3
    pairs = np.corrcoef(control_mm[:, :, :2, :2].reshape(len(control_mm), -1).T)
    np.testing.assert_allclose(pairs, np.eye(8), atol=5 / np.sqrt(len(control_mm)))
    coarse = jax.eval_shape(partial(draw, augmentation=Augmentation(elastic_spacing_mm=5000.0)), KEY)
    assert coarse.control_mm.shape == (2, 2, 2)


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
        ("shift", 2.0),
        ("shift_mm", -1.0),
    ],
)
def test_values_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"augmentation {name} is {value}"):
        Augmentation(**{name: value})
