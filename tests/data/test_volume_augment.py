from dataclasses import asdict
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
from scipy.spatial.transform import Rotation

from mskjax.data.volume_augment import Motion, VolumeAugmentation, augment_volumes, draw, move
from mskjax.data.volume_grid import UNKNOWN

RNG = np.random.default_rng(0)
SHAPE = (16, 14, 12)
IMAGE_HU = RNG.integers(-1024, 2000, (8, *SHAPE)).astype(np.int16)
LABEL = RNG.choice(np.array([0, 1, UNKNOWN], np.uint8), (8, *SHAPE))
SPACING_MM = RNG.uniform(0.8, 2.5, (8, 3)).astype(np.float32)
KEY = jax.random.key(7)
COMPILED = jax.jit(augment_volumes, static_argnums=4)
MOVED = jax.jit(move)
NEVER = VolumeAugmentation(flip=0.0, rotation=0.0, scaling=0.0, shift=0.0)
MUCH = VolumeAugmentation(0.5, 1.0, 15.0, 5.0, 0.5, 0.1, 0.5, 4.0)
DRAWS = 4000
MESH = jax.make_mesh((8,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))


def batch(count=8):
    return jnp.asarray(IMAGE_HU[:count]), jnp.asarray(LABEL[:count]), jnp.asarray(SPACING_MM[:count])


def moved(image_hu, label, spacing_mm, degrees=(0, 0, 0), scale=1.0, shift_mm=(0, 0, 0), flip=False):
    values = (jnp.asarray(value, jnp.float32) for value in (np.deg2rad(degrees), scale, shift_mm))
    found = MOVED(image_hu, label, jnp.asarray(spacing_mm, jnp.float32), Motion(jnp.array(flip), *values))
    return [np.asarray(values) for values in found]


def test_defaults():
    assert asdict(VolumeAugmentation()) == {
        "flip": 0.5,
        "rotation": 0.5,
        "rotation_degrees": 15,
        "tilt_degrees": 5,
        "scaling": 0,
        "scale": 0.1,
        "shift": 0.5,
        "shift_mm": 10,
    }


def test_probabilities_of_zero_leave_every_value_as_it_is():
    image, label = COMPILED(KEY, *batch(), NEVER)
    assert (image.dtype, label.dtype) == (jnp.float32, jnp.uint8)
    np.testing.assert_array_equal(image, IMAGE_HU)
    np.testing.assert_array_equal(label, LABEL)


def test_a_flip_mirrors_left_and_right():
    image, label = moved(IMAGE_HU[0], LABEL[0], SPACING_MM[0], flip=True)
    np.testing.assert_array_equal(image, IMAGE_HU[0, ::-1])
    np.testing.assert_array_equal(label, LABEL[0, ::-1])


@pytest.mark.parametrize("turns", [1, -1, 2])
def test_right_angles_about_the_long_axis_turn_i_towards_j(turns):
    """Axis k may have any spacing; what lay on the axis i then lies on the axis j, as by np.rot90 from i to j."""
    image_hu, label = IMAGE_HU[0, :14], LABEL[0, :14]
    image, turned = moved(image_hu, label, (1.5, 1.5, 4.0), (0, 0, 90 * turns))
    np.testing.assert_allclose(image, np.rot90(image_hu, turns, (0, 1)), atol=0.05)
    np.testing.assert_array_equal(turned, np.rot90(label, turns, (0, 1)))


@pytest.mark.parametrize(("axis", "plane"), [(0, (1, 2)), (1, (2, 0)), (2, (0, 1))])
def test_turns_are_right_handed(axis, plane):
    cube, label = IMAGE_HU[0, :12, :12], LABEL[0, :12, :12]
    image, turned = moved(cube, label, (2.0, 2.0, 2.0), 90 * np.eye(3)[axis])
    np.testing.assert_allclose(image, np.rot90(cube, 1, plane), atol=0.05)
    np.testing.assert_array_equal(turned, np.rot90(label, 1, plane))


@pytest.mark.parametrize("flip", [False, True])
def test_whole_voxels_of_shift_pad_with_air_and_the_unknown(flip):
    """(3, -2, 4) mm are (2, -1, 2) voxels of (1.5, 2, 2) mm."""
    image, label = moved(IMAGE_HU[0], LABEL[0], (1.5, 2.0, 2.0), shift_mm=(3, -2, 4), flip=flip)
    for found, source, outside in ((image, IMAGE_HU[0], -1024), (label, LABEL[0], UNKNOWN)):
        whole = source[::-1] if flip else source
        np.testing.assert_allclose(found[2:, :-1, 2:], whole[:-2, 1:, :-2], atol=0.05)
        assert (found[:2] == outside).all()
        assert (found[:, -1] == outside).all()
        assert (found[:, :, :2] == outside).all()


@pytest.mark.parametrize("flip", [False, True])
def test_one_resampling_agrees_with_scipy_in_millimetres(flip):
    """Mirrored, moved by t, turned about the fixed axes i, j, k in turn, enlarged: the whole is affine."""
    spacing_mm, degrees, shift_mm, scale = np.array([1.5, 1.0, 2.0]), [4.0, -5.0, 13.0], [2.0, -1.0, 1.5], 1.07
    push = scale * Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    pull = np.diag(1 / spacing_mm) @ np.linalg.inv(push) @ np.diag(spacing_mm)
    centre, offset = (np.array(SHAPE) - 1) / 2, -np.array(shift_mm) / spacing_mm
    mirror = np.diag([-1.0 if flip else 1.0, 1.0, 1.0])
    matrix, offset = mirror @ pull, centre - mirror @ pull @ centre + mirror @ offset
    image, label = moved(IMAGE_HU[0], LABEL[0], spacing_mm, degrees, scale, shift_mm, flip)
    given = {"matrix": matrix, "offset": offset, "mode": "grid-constant"}
    expected = scipy.ndimage.affine_transform(IMAGE_HU[0].astype(float), order=1, cval=-1024, **given)
    np.testing.assert_allclose(image, expected, atol=0.2)
    nearest = scipy.ndimage.affine_transform(LABEL[0], order=0, cval=UNKNOWN, **given)
    assert (label != nearest).mean() < 1e-3


def test_what_is_labelled_stays_what_it_is():
    """One labelled plane: a tilt moves it, and all else stays unknown; never is a label mixed from two."""
    label = np.full((4, 32, 32, 32), UNKNOWN, np.uint8)
    label[..., 16] = np.arange(32)[None, :, None] < 16
    spacing_mm = jnp.full((4, 3), 2.0)
    _, found = COMPILED(KEY, jnp.zeros(label.shape, jnp.int16), jnp.asarray(label), spacing_mm, MUCH)
    assert set(np.unique(found)) == {0, 1, UNKNOWN}
    known = (np.asarray(found) != UNKNOWN).sum((1, 2, 3))
    assert (known > 0.6 * 32 * 32).all()
    assert (known < 1.4 * 32 * 32).all()


def test_a_crop_depends_on_the_key_and_its_position_only():
    image, label = COMPILED(KEY, *batch(8), MUCH)
    fewer_image, fewer_label = COMPILED(KEY, *batch(3), MUCH)
    np.testing.assert_array_equal(fewer_image, image[:3])
    np.testing.assert_array_equal(fewer_label, label[:3])
    other, _ = COMPILED(jax.random.key(8), *batch(8), MUCH)
    assert (np.asarray(other) != np.asarray(image)).any(axis=(1, 2, 3)).all()
    copies, _ = COMPILED(KEY, *[jnp.stack([values[0]] * 8) for values in batch()], MUCH)
    assert len(np.unique(np.asarray(copies), axis=0)) == 8


def test_one_and_eight_devices_give_the_same_bits_and_exchange_no_voxels():
    rows = jax.NamedSharding(MESH, jax.P("batch"))
    arguments = (KEY, *(jax.device_put(array, rows) for array in batch()))
    spread = jax.jit(augment_volumes, static_argnums=4, out_shardings=rows).lower(*arguments, MUCH).compile()
    alone = jax.jit(augment_volumes, static_argnums=4)(KEY, *batch(), MUCH)
    for one, eight in zip(alone, spread(*arguments), strict=True):
        np.testing.assert_array_equal(one, eight)
    assert not any(exchange in spread.as_text() for exchange in ("all-gather", "all-reduce", "all-to-all", "permute"))


@pytest.fixture(scope="module")
def motions():
    """Motions of 4000 keys with probabilities 0.3, 0.5, 0.6, 0.4, 12 and 4 degrees, 20 % and 7 mm, in numpy."""
    augmentation = VolumeAugmentation(0.3, 0.5, 12.0, 4.0, 0.6, 0.2, 0.4, 7.0)
    keys = jax.random.split(jax.random.key(1), DRAWS)
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(partial(draw, augmentation=augmentation)))(keys))


def test_each_motion_happens_with_its_own_probability(motions):
    turns, shifts = (motions.radians != 0).all(axis=1), (motions.shift_mm != 0).all(axis=1)
    happened = np.stack([motions.flip, turns, motions.scale != 1, shifts])
    np.testing.assert_allclose(happened.mean(axis=1), [0.3, 0.5, 0.6, 0.4], atol=4 * 0.5 / np.sqrt(DRAWS))
    np.testing.assert_allclose(np.corrcoef(happened)[np.triu_indices(4, 1)], 0, atol=4 / np.sqrt(DRAWS))


def test_draws_are_uniform_over_the_asked_ranges(motions):
    degrees = np.rad2deg(motions.radians[motions.radians[:, 0] != 0])
    shift_mm, scale = motions.shift_mm[motions.shift_mm[:, 0] != 0], motions.scale[motions.scale != 1]
    drawn = [(degrees[:, 0], 4), (degrees[:, 1], 4), (degrees[:, 2], 12), (scale - 1, 0.2)]
    for values, most in [*drawn, *((shift_mm[:, axis], 7) for axis in range(3))]:
        assert scipy.stats.kstest(values, scipy.stats.uniform(-most, 2 * most).cdf).pvalue > 1e-3
    for values in (degrees, shift_mm):
        np.testing.assert_allclose(np.corrcoef(values.T), np.eye(3), atol=4 / np.sqrt(len(values)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("flip", 1.5),
        ("rotation", float("nan")),
        ("rotation_degrees", -20.0),
        ("tilt_degrees", 91.0),
        ("scaling", -0.1),
        ("scale", 1.0),
        ("shift", 2.0),
        ("shift_mm", float("inf")),
    ],
)
def test_values_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"augmentation {name} is {value}"):
        VolumeAugmentation(**{name: value})
