from functools import partial

import dm_pix
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st

from mskjax.data.warp import Motion, displacement_mm, interpolation_weights, source_coordinates, warp

CONTROL_MM = 64.0
SHAPE = (96, 128)
RNG = np.random.default_rng(0)
IMAGE_HU = RNG.integers(-1024, 2000, SHAPE).astype(np.int16)
MASK = (RNG.random(SHAPE) < 0.5).astype(np.uint8)


def motion(degrees=0.0, scale=1.0, flip=False, control_mm=None, shift_mm=(0.0, 0.0)):
    control_mm = np.zeros((2, 16, 16)) if control_mm is None else control_mm
    radians = np.deg2rad(degrees)
    values = (jnp.asarray(value, jnp.float32) for value in (radians, scale, control_mm, shift_mm))
    return Motion(jnp.array(flip), *values)


@jax.jit
def _moved(image_hu, mask, spacing_mm, how):
    return warp(image_hu, mask, spacing_mm, how, CONTROL_MM)


def moved(how, image_hu=IMAGE_HU, mask=MASK, spacing_mm=(0.8, 0.8)):
    return [np.asarray(a) for a in _moved(image_hu, mask, jnp.array(spacing_mm, jnp.float32), how)]


@partial(jax.jit, static_argnums=0)
def _coordinates(shape, spacing_mm, how):
    return source_coordinates(shape, spacing_mm, how, CONTROL_MM)


def coordinates(shape, spacing_mm, how):
    return np.asarray(_coordinates(shape, jnp.array(spacing_mm, jnp.float32), how))


def positions_mm(shape, spacing_mm):
    """Row and column of every pixel centre in mm from the slice's centre."""
    return np.meshgrid(
        *[(np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, spacing_mm, strict=True)], indexing="ij"
    )


def pull_matrix(degrees, scale, spacing_mm):
    """From output to source pixels: turn the picture counter-clockwise as displayed, then enlarge it, in mm."""
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    push_mm = scale * np.array([[cosine, -sine], [sine, cosine]])
    return np.diag(1 / np.asarray(spacing_mm)) @ np.linalg.inv(push_mm) @ np.diag(spacing_mm)


@pytest.mark.parametrize("spacing_mm", [(0.8, 0.8), (0.7373, 1.9131)])
def test_standing_still_is_exact(spacing_mm):
    image, mask = moved(motion(), spacing_mm=spacing_mm)
    np.testing.assert_array_equal(image, IMAGE_HU)
    np.testing.assert_array_equal(mask, MASK)
    assert image.dtype == mask.dtype == np.float32


def test_flip_mirrors_left_and_right():
    image, mask = moved(motion(flip=True), spacing_mm=(0.7, 0.9))
    np.testing.assert_array_equal(image, IMAGE_HU[:, ::-1])
    np.testing.assert_array_equal(mask, MASK[:, ::-1])
    np.testing.assert_array_equal(image, dm_pix.flip_left_right(jnp.asarray(IMAGE_HU)[..., None])[..., 0])


@pytest.mark.parametrize("spacing_mm", [(0.8, 0.8), (1.6, 0.8)])
@pytest.mark.parametrize(("degrees", "scale"), [(17, 1.0), (-20, 0.9), (0, 1.0731), (90, 1.0)])
def test_rotation_and_scale_agree_with_scipy(degrees, scale, spacing_mm):
    matrix, centre = pull_matrix(degrees, scale, spacing_mm), (np.array(SHAPE) - 1) / 2
    offset = centre - matrix @ centre
    image, mask = moved(motion(degrees, scale), spacing_mm=spacing_mm)
    expected = scipy.ndimage.affine_transform(
        IMAGE_HU.astype(float), matrix, offset, order=1, mode="grid-constant", cval=-1024
    )
    np.testing.assert_allclose(image, expected, atol=0.2)  # 3000 HU a pixel times 6e-5 pixels of float32
    nearest = scipy.ndimage.affine_transform(MASK, matrix, offset, order=0, mode="grid-constant")
    places = np.einsum("ab,bhw->ahw", matrix, np.indices(SHAPE)) + offset[:, None, None]
    tie = (np.abs(places % 1 - 0.5) < 1e-3).any(axis=0)
    assert tie.mean() < 0.01 or degrees == 90
    np.testing.assert_array_equal(mask[~tie], nearest[~tie])


def test_rotation_and_scale_agree_with_dm_pix():
    image, _ = moved(motion(12, 1.08))
    matrix, centre = pull_matrix(12, 1.08, (1, 1)), (np.array(SHAPE) - 1) / 2
    full, offset = np.eye(3), np.zeros(3)
    full[:2, :2], offset[:2] = matrix, centre - matrix @ centre
    peer = dm_pix.affine_transform(
        jnp.asarray(IMAGE_HU, jnp.float32)[..., None], jnp.asarray(full), offset=jnp.asarray(offset)
    )[..., 0]
    places = np.einsum("ab,bhw->ahw", matrix, np.indices(SHAPE)) + offset[:2, None, None]
    inside = ((places > 0) & (places < np.array(SHAPE)[:, None, None] - 1)).all(axis=0)
    assert inside.mean() > 0.8
    np.testing.assert_allclose(image[inside], peer[inside], atol=0.5)


@pytest.mark.parametrize("flip", [False, True])
def test_a_shift_pads_with_air_and_crops(flip):
    """6 mm down and 2.4 mm to the left are 5 rows and 3 columns of (1.2, 0.8) mm, also of a mirrored picture."""
    image, mask = moved(motion(flip=flip, shift_mm=(6.0, -2.4)), spacing_mm=(1.2, 0.8))
    for whole, source, outside in ((image, IMAGE_HU, -1024), (mask, MASK, 0)):
        picture = source[:, ::-1] if flip else source
        np.testing.assert_allclose(whole[5:, :-3], picture[:-5, 3:], atol=0.05)
        assert (whole[:4] == outside).all()
        assert (whole[:, -2:] == outside).all()


@pytest.mark.parametrize(("flip", "expected_mm"), [(False, (-21.0, 28.0)), (True, (-21.0, -28.0))])
def test_a_known_point_goes_to_the_known_place(flip, expected_mm):
    """A dot (28, 21) mm below and right of the centre: a right angle counter-clockwise puts it above and right.

    The mirror comes first: it puts the dot below and left, and the turn then takes it below and right.
    """
    spacing_mm = (1.4, 0.7)
    row_mm, column_mm = positions_mm((97, 129), spacing_mm)
    dot = (1000 * np.exp(-((row_mm - 28) ** 2 + (column_mm - 21) ** 2) / 30)).astype(np.int16)
    image, _ = moved(motion(90, flip=flip), dot, np.zeros_like(dot, np.uint8), spacing_mm)
    weight = np.maximum(image, 0)
    found_mm = [(weight * mm).sum() / weight.sum() for mm in (row_mm, column_mm)]
    np.testing.assert_allclose(found_mm, np.array(expected_mm) * (-1 if flip else 1), atol=0.05)


def test_what_comes_from_outside_is_air_and_background():
    image, mask = moved(motion(45), np.full((64, 64), 77, np.int16), np.ones((64, 64), np.uint8))
    assert image[0, 0] == image[-1, -1] == image[0, -1] == -1024
    assert mask[0, 0] == mask[-1, -1] == mask[0, -1] == 0
    np.testing.assert_allclose(image[16:48, 16:48], 77, rtol=1e-5)
    assert mask[16:48, 16:48].all()


def test_anisotropic_pixels_rotate_rigidly_in_millimetres():
    spacing_mm = (2.0, 1.0)
    row_mm, column_mm = positions_mm((100, 200), spacing_mm)
    lying = ((np.abs(row_mm) < 11) & (np.abs(column_mm) < 40.5)).astype(np.uint8)
    standing = (np.abs(row_mm) < 40.5) & (np.abs(column_mm) < 11)
    _, mask = moved(motion(90), np.zeros_like(lying, np.int16), lying, spacing_mm)
    wrong_mm2 = (mask != standing).sum() * 2.0
    assert wrong_mm2 <= 0.1 * standing.sum() * 2.0  # the rim's pixels; in pixels a bar of 40 x 22 mm would come out


@given(
    degrees=st.floats(-180, 180),
    scale=st.floats(0.9, 1.1),
    spacing_mm=st.tuples(st.floats(0.6, 1.5), st.floats(0.6, 1.5)),
    flip=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_area_grows_with_the_square_of_the_scale(degrees, scale, spacing_mm, flip):
    row_mm, column_mm = positions_mm(SHAPE, spacing_mm)
    blob = np.rint(3000 * np.exp(-((row_mm - 3) ** 2 / 98 + (column_mm + 2) ** 2 / 72))) - 1024
    ellipse = (((row_mm - 0.4) / 0.7) ** 2 + (column_mm + 0.3) ** 2 < 20**2).astype(np.uint8)
    image, mask = moved(motion(degrees, scale, flip), blob.astype(np.int16), ellipse, spacing_mm)
    assert (image + 1024).sum() == pytest.approx((blob + 1024).sum() * scale**2, rel=0.01)
    rim = 2 * np.pi * 20 / min(spacing_mm)  # in pixels
    assert mask.sum() == pytest.approx(ellipse.sum() * scale**2, abs=0.5 * rim)


@pytest.mark.parametrize("width", [1, 8, 33])
def test_flipping_twice_changes_nothing(width):
    image_hu = IMAGE_HU[:7, :width]
    once, _ = moved(motion(flip=True), image_hu, np.zeros_like(image_hu, np.uint8), (0.9, 0.7))
    twice, _ = moved(motion(flip=True), once.astype(np.int16), np.zeros_like(image_hu, np.uint8), (0.9, 0.7))
    np.testing.assert_array_equal(twice, image_hu)


def test_elastic_warp_agrees_with_scipy_at_the_same_coordinates():
    how = motion(-7, 1.05, True, 5 * RNG.standard_normal((2, 16, 16)))
    places = coordinates(SHAPE, (1.1, 0.9), how)
    image, mask = moved(how, spacing_mm=(1.1, 0.9))
    fill = {"order": 1, "mode": "grid-constant", "cval": -1024}
    np.testing.assert_allclose(image, scipy.ndimage.map_coordinates(IMAGE_HU.astype(float), places, **fill), atol=0.2)
    nearest = scipy.ndimage.map_coordinates(MASK, places, order=0, mode="grid-constant")
    assert (mask != nearest).mean() < 1e-3


def test_control_points_lie_every_spacing_from_the_centre():
    control_mm = np.zeros((2, 16, 16))
    control_mm[0, 1, 15] = 3.0  # one spacing below the centre, one to the left of it
    spacing_mm, shape = (2.0, 1.0), (129, 257)
    source_row, source_column = coordinates(shape, spacing_mm, motion(control_mm=control_mm))
    moved_mm = (source_row - np.arange(129)[:, None]) * spacing_mm[0]
    row_mm, column_mm = positions_mm(shape, spacing_mm)
    assert moved_mm.max() == pytest.approx(3.0, abs=1e-4)
    assert moved_mm[(row_mm == 64) & (column_mm == -64)] == pytest.approx(3.0, abs=1e-4)
    assert not moved_mm[(np.abs(row_mm - 64) >= 64) | (np.abs(column_mm + 64) >= 64)].round(4).any()
    np.testing.assert_allclose(source_column, np.broadcast_to(np.arange(257.0), shape), atol=1e-4)


def test_displacements_have_the_asked_deviation_and_correlation_everywhere():
    """Closed form: weights sin(pi/2 cos^2(pi d/2)) are 1, sqrt(1/2), 0 at d = 0, 1/2, 1."""
    control_mm = 5 * RNG.standard_normal((4000, 2, 16, 16), np.float32)
    row, column = jnp.array([0.0, 0.5, 1.0, -6.3]), jnp.array([0.0, 0.5, 2.75])
    field = np.asarray(jax.jit(jax.vmap(lambda c: displacement_mm(c, row, column)))(control_mm))
    np.testing.assert_allclose(field.std(axis=0), 5.0, atol=5 * 4 / np.sqrt(8000))
    np.testing.assert_allclose(field.mean(axis=0), 0.0, atol=5 * 4 / np.sqrt(4000))

    def correlation(a, b):
        return np.corrcoef(field[:, 0, *a], field[:, 0, *b])[0, 1]

    assert correlation((0, 0), (1, 0)) == pytest.approx(np.sqrt(0.5), abs=0.05)
    assert correlation((0, 0), (1, 1)) == pytest.approx(0.5, abs=0.06)
    assert correlation((0, 0), (2, 0)) == pytest.approx(0.0, abs=0.07)
    assert np.corrcoef(field[:, 0, 1, 1], field[:, 1, 1, 1])[0, 1] == pytest.approx(0.0, abs=0.07)


@pytest.mark.parametrize("size", [2, 16])
def test_squared_weights_sum_to_one_and_repeat(size):
    position = jnp.linspace(-5.5, 5.5, 111)
    weights = interpolation_weights(position, size)
    np.testing.assert_allclose((weights**2).sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(weights, interpolation_weights(position + size, size), atol=1e-4)
    np.testing.assert_allclose(interpolation_weights(jnp.arange(float(size)), size), np.eye(size), atol=1e-6)


def test_the_deformation_does_not_fold():
    def folded(control_mm):
        row, column = coordinates((128, 128), (3.0, 3.0), motion(control_mm=control_mm))
        (row_down, row_right), (column_down, column_right) = np.gradient(row), np.gradient(column)
        return (row_down * column_right <= row_right * column_down).any()

    assert not any(map(folded, 5 * RNG.standard_normal((100, 2, 16, 16))))
