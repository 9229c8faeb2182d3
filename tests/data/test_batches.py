import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mskjax.data.batches import fit, fit_image, fit_mask, indices, unfit
from mskjax.data.dataset import stack

RNG = np.random.default_rng(0)
GRIDS = [
    ((64, 64), (0.8, 0.8), 64),
    ((64, 64), (0.8, 0.8), 128),
    ((128, 128), (0.8, 0.8), 64),
    ((90, 120), (0.9, 0.7), 64),
    ((120, 80), (0.7, 1.4), 200),
    ((33, 47), (1.37, 0.61), 96),
]


def spacing(*mm):
    return np.array(mm, np.float64)


def test_hu_are_cut_before_they_are_resampled():
    """Bone of 1000 HU beside 50 HU, at half the size: (3/4 + 1/4) of 250 and 3/4 of 50 in 7/4, where cut to 250."""
    image_hu = np.tile(np.array([1000, 50, 1000, 50], np.int16), (4, 1))
    slices = stack([image_hu], [np.zeros((4, 4), np.uint8)], [(1.0, 1.0)], ["a"])
    np.testing.assert_array_equal(fit(slices, 2, (-175.0, 250.0))["image_hu"][0, :, 0], 164)
    np.testing.assert_array_equal(fit(slices, 2)["image_hu"][0, :, 0], 593)


def positions_mm(shape, spacing_mm):
    """Row and column of every pixel centre in mm from the slice's centre."""
    return np.meshgrid(
        *[(np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, spacing_mm, strict=True)], indexing="ij"
    )


def square_mm(shape, spacing_mm, size):
    """The same for the square, and the pitch of its pixels."""
    pitch_mm = max(n * s for n, s in zip(shape, spacing_mm, strict=True)) / size
    return *positions_mm((size, size), (pitch_mm, pitch_mm)), pitch_mm


def within(row_mm, column_mm, shape, spacing_mm, margin_mm=0.0):
    half = [n * s / 2 - margin_mm for n, s in zip(shape, spacing_mm, strict=True)]
    return (np.abs(row_mm) <= half[0]) & (np.abs(column_mm) <= half[1])


def test_a_square_slice_of_the_right_size_passes_unchanged():
    image_hu = RNG.integers(-1024, 32000, (48, 48)).astype(np.int16)
    mask = (RNG.random((48, 48)) < 0.5).astype(np.uint8)
    for spacing_mm in (spacing(0.7, 0.7), spacing(0.9765625, 0.9765625), spacing(0.1 + 0.2, 0.1 + 0.2)):
        np.testing.assert_array_equal(fit_image(image_hu, spacing_mm, 48), image_hu)
        np.testing.assert_array_equal(fit_mask(mask, spacing_mm, 48), mask)
        values = RNG.random((48, 48), np.float32)
        np.testing.assert_array_equal(unfit(values, (48, 48), spacing_mm), values)


@pytest.mark.parametrize(("shape", "spacing_mm", "size"), GRIDS)
def test_a_ramp_in_millimetres_stays_that_ramp(shape, spacing_mm, size):
    def ramp(row_mm, column_mm):
        return 8 * row_mm - 5 * column_mm

    row_mm, column_mm, pitch_mm = square_mm(shape, spacing_mm, size)
    image = fit_image(np.rint(ramp(*positions_mm(shape, spacing_mm))).astype(np.int16), spacing(*spacing_mm), size)
    inside = within(row_mm, column_mm, shape, spacing_mm, max(pitch_mm, *spacing_mm))
    assert inside.mean() > 0.3
    shrinks = pitch_mm > min(spacing_mm) * 1.001
    # A triangle that falls between pixels does not balance to the last HU when it averages.
    np.testing.assert_allclose(image[inside], ramp(row_mm, column_mm)[inside], atol=1.0 + shrinks * 0.5)
    back = unfit(ramp(row_mm, column_mm).astype(np.float32), shape, spacing(*spacing_mm))
    own_row_mm, own_column_mm = positions_mm(shape, spacing_mm)
    own = within(own_row_mm, own_column_mm, shape, spacing_mm, 2 * max(pitch_mm, *spacing_mm))
    np.testing.assert_allclose(back[own], ramp(own_row_mm, own_column_mm)[own], atol=1.0)


@pytest.mark.parametrize(("shape", "spacing_mm", "size"), GRIDS)
def test_fitting_agrees_with_jax_scale_and_translate(shape, spacing_mm, size):
    image_hu = RNG.integers(-1024, 2000, shape).astype(np.int16)
    pitch_mm = square_mm(shape, spacing_mm, size)[2]
    scale = np.array(spacing_mm) / pitch_mm
    peer = jax.image.scale_and_translate(
        jnp.asarray(image_hu, jnp.float32) + 1024,
        (size, size),
        (0, 1),
        jnp.asarray(scale, jnp.float32),
        jnp.asarray(size / 2 - scale * np.array(shape) / 2, jnp.float32),
        method="linear",
    )
    np.testing.assert_allclose(fit_image(image_hu, spacing(*spacing_mm), size), np.asarray(peer) - 1024, atol=0.6)


@pytest.mark.parametrize(("shape", "spacing_mm", "size"), GRIDS)
def test_there_and_back_keeps_a_smooth_image(shape, spacing_mm, size):
    row_mm, column_mm = positions_mm(shape, spacing_mm)
    extent_mm = shape[0] * spacing_mm[0]
    smooth = 200 * np.sin(4 * row_mm / extent_mm) * np.cos(3 * column_mm / extent_mm + 1)
    there = fit_image(np.rint(smooth).astype(np.int16), spacing(*spacing_mm), size)
    back = unfit(there.astype(np.float32), shape, spacing(*spacing_mm))
    assert back.shape == shape
    own = within(row_mm, column_mm, shape, spacing_mm, 4 * max(spacing_mm))
    np.testing.assert_allclose(back[own], smooth[own], atol=2.5)


@pytest.mark.parametrize(("shape", "spacing_mm", "size"), GRIDS)
def test_masks_images_and_probabilities_share_one_geometry(shape, spacing_mm, size):
    """Centre of mass and area of an ellipse beside the centre, in mm: a shift by half a pixel would show."""
    row_mm, column_mm = positions_mm(shape, spacing_mm)
    reach_mm = np.array(shape) * spacing_mm / 2
    centre_mm = reach_mm * (0.2, -0.25)
    ellipse = ((row_mm - centre_mm[0]) / (0.6 * reach_mm[0])) ** 2 + (
        (column_mm - centre_mm[1]) / (0.6 * reach_mm[1])
    ) ** 2
    mask = (ellipse < 1).astype(np.uint8)

    def centre(weight, rows_mm, columns_mm):
        return np.array([(weight * rows_mm).sum(), (weight * columns_mm).sum()]) / weight.sum()

    square_row_mm, square_column_mm, pitch_mm = square_mm(shape, spacing_mm, size)
    fitted = fit_mask(mask, spacing(*spacing_mm), size)
    image = fit_image(np.where(mask, 976, -1024).astype(np.int16), spacing(*spacing_mm), size).astype(float) + 1024
    back = unfit(fitted.astype(np.float32), shape, spacing(*spacing_mm))
    expected = centre(mask, row_mm, column_mm)
    coarse_mm = max(pitch_mm, *spacing_mm)
    np.testing.assert_allclose(centre(image, square_row_mm, square_column_mm), expected, atol=0.02 * coarse_mm)
    np.testing.assert_allclose(centre(fitted, square_row_mm, square_column_mm), expected, atol=0.2 * coarse_mm)
    np.testing.assert_allclose(centre(back, row_mm, column_mm), expected, atol=0.2 * coarse_mm)
    area_mm2 = mask.sum() * np.prod(spacing_mm)
    assert fitted.sum() * pitch_mm**2 == pytest.approx(area_mm2, rel=0.03)
    assert back.sum() * np.prod(spacing_mm) == pytest.approx(area_mm2, rel=0.03)


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    spacing_mm=st.tuples(st.floats(0.3, 3), st.floats(0.3, 3)),
    size=st.sampled_from([7, 16, 20, 40]),
)
@settings(max_examples=60, deadline=None)
def test_a_mirrored_slice_fits_to_the_mirrored_square(shape, spacing_mm, size):
    image_hu = RNG.integers(-1024, 2000, shape).astype(np.int16)
    image, mirrored = (fit_image(a, spacing(*spacing_mm), size) for a in (image_hu, image_hu[::-1, ::-1]))
    np.testing.assert_allclose(mirrored, image[::-1, ::-1].astype(float), atol=1)
    values = RNG.random((size, size), np.float32)
    back, turned = (unfit(v, shape, spacing(*spacing_mm)) for v in (values, values[::-1, ::-1]))
    np.testing.assert_allclose(turned, back[::-1, ::-1], atol=1e-5)


def test_of_two_pixels_equally_near_a_mask_takes_the_one_towards_the_centre():
    mask = np.diag([1, 1, 0, 0, 0, 0, 1, 1]).astype(np.uint8)
    assert fit_mask(np.eye(8, dtype=np.uint8), spacing(0.7, 0.7), 4).tolist() == np.eye(4).tolist()
    assert np.diag(fit_mask(mask, spacing(0.7, 0.7), 4)).tolist() == [1, 0, 0, 1]
    assert np.diag(fit_mask(np.diag([1, 0, 0, 1, 1, 0, 0, 1]).astype(np.uint8), spacing(1, 1), 4)).tolist() == [
        0,
        1,
        1,
        0,
    ]


def test_masks_enlarged_twice_are_blocks_and_shrink_back():
    mask = (RNG.random((30, 30)) < 0.5).astype(np.uint8)
    large = fit_mask(mask, spacing(0.7, 0.7), 60)
    np.testing.assert_array_equal(large, np.kron(mask, np.ones((2, 2))))
    np.testing.assert_array_equal(fit_mask(large, spacing(0.35, 0.35), 30), mask)


def test_shrinking_averages_instead_of_skipping():
    """Weights (1, 2, 3, 2, 1) / 9 over five pixels: stripes of one pixel nearly vanish into their mean, 100 HU."""
    stripes = np.tile(np.array([-100, 300], np.int16), (66, 33))
    image = fit_image(stripes, spacing(1, 1), 22)
    assert (image[:, 2:-1:2] == round((5 * 300 - 4 * 100) / 9)).all()
    assert (image[:, 1:-1:2] == round((4 * 300 - 5 * 100) / 9)).all()


def test_around_a_slice_lie_air_and_background_with_no_seam():
    slices = stack([np.full((20, 40), 50, np.int16)], [np.ones((20, 40), np.uint8)], [(1.0, 1.0)], ["a"])
    batch = fit(slices, 80)
    inside = np.zeros((80, 80), bool)
    inside[20:60] = True
    np.testing.assert_array_equal(batch["image_hu"][0], np.where(inside, 50, -1024))
    np.testing.assert_array_equal(batch["mask"][0], inside)


def test_mixed_sizes_are_cut_from_their_padding_and_get_their_own_pitch():
    slices = stack(
        [np.full((64, 64), 10, np.int16), np.full((32, 16), 20, np.int16)],
        [np.ones((64, 64), np.uint8), np.ones((32, 16), np.uint8)],
        [(0.5, 0.5), (2.0, 3.0)],
        ["a", "b"],
    )
    slices.image_hu[1, 32:], slices.mask[1, 32:] = 3000, 1  # what the padding holds must not matter
    batch = fit(slices, 32)
    assert {name: (a.dtype, a.shape) for name, a in batch.items()} == {
        "image_hu": (np.int16, (2, 32, 32)),
        "mask": (np.uint8, (2, 32, 32)),
        "spacing_mm": (np.float32, (2, 2)),
    }
    np.testing.assert_array_equal(batch["spacing_mm"], [[1, 1], [2, 2]])
    assert (batch["image_hu"][0] == 10).all()
    assert set(np.unique(batch["image_hu"][1])) == {-1024, 20}
    assert batch["mask"][1].sum() * 4 == 32 * 16 * 6


def test_no_slices_make_an_empty_batch():
    assert fit(stack([], [], [], []), 16)["image_hu"].shape == (0, 16, 16)


@pytest.mark.parametrize("spacing_mm", [(0.0, 0.7), (-0.7, 0.7), (np.nan, 0.7), (0.7, np.inf)])
def test_impossible_spacings_are_refused(spacing_mm):
    with pytest.raises(ValueError, match="both must be positive and finite"):
        fit_image(np.zeros((4, 4), np.int16), spacing(*spacing_mm), 4)


@given(seed=st.integers(0, 9), count=st.integers(1, 40), batch_size=st.integers(1, 60), passes=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_every_pass_holds_every_slice_once(seed, count, batch_size, passes):
    steps = -(-count * passes // batch_size)
    order = np.concatenate([indices(seed, count, batch_size, step) for step in range(steps)])
    for whole in order[: count * passes].reshape(passes, count):
        assert sorted(whole) == list(range(count))


def test_each_pass_and_seed_has_an_order_of_its_own():
    passes = [tuple(indices(0, 50, 50, step)) for step in range(20)]
    assert len(set(passes)) == 20
    assert tuple(indices(1, 50, 50, 0)) not in passes
    first = np.array([indices(seed, 10, 1, 0)[0] for seed in range(2000)])
    np.testing.assert_allclose(np.bincount(first, minlength=10), 200, atol=5 * np.sqrt(180))


def test_a_batch_depends_on_nothing_that_was_asked_before():
    late = indices(3, 167, 4, 20000)
    assert late.dtype == np.int32
    late[:] = -1  # nor on what a caller does to it
    whole = indices(3, 4, 4, 0)
    whole[:] = -1
    for step in range(5):
        indices(3, 167, 4, step)
    assert (indices(3, 167, 4, 20000) >= 0).all()
    assert (indices(3, 4, 4, 0) >= 0).all()


def test_a_late_step_is_as_quick_as_the_first():
    start = time.perf_counter()
    assert len(indices(0, 204, 4, 10**12)) == 4
    assert time.perf_counter() - start < 1  # all passes up to there would take months


@pytest.mark.parametrize(
    ("seed", "count", "batch_size", "step"), [(0, 0, 4, 0), (0, 5, 0, 0), (0, 5, 4, -1), (-1, 5, 4, 0)]
)
def test_nothing_to_draw_from_is_refused(seed, count, batch_size, step):
    with pytest.raises(ValueError, match=f"no batch of {batch_size} from {count} slices"):
        indices(seed, count, batch_size, step)
