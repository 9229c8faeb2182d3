import numpy as np
import pytest
import SimpleITK as sitk

from mskjax.data.volume_grid import lay, planes, resample, resample_labels, restore, unlabelled_slices

SHAPE = (9, 5, 7)


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def drawn_on(*slices):
    mask = np.zeros(SHAPE, np.uint8)
    mask[list(slices)] = 1
    return mask


@pytest.mark.parametrize("thickness_mm", [1.0, 5.0, 1.25, 3.0, 2.0])
@pytest.mark.parametrize("slice_index", [0, 4, 8])
def test_one_plane_alone_falls_on_the_drawn_slice_and_carries_labels(thickness_mm, slice_index):
    grid = lay(SHAPE, (thickness_mm, 1.5, 1.5), (2.0, 1.5, 1.5), slice_index)
    np.testing.assert_array_equal(np.flatnonzero(np.isclose(grid.positions[0], slice_index)), [grid.drawn])
    planes, masks = resample_labels(drawn_on(slice_index), grid)
    np.testing.assert_array_equal(planes, [grid.drawn])
    assert masks.shape == (1, *grid.new_shape[1:]) and masks.all()


def test_planes_fill_the_volume_and_do_not_leave_it():
    """9 slices of 5 mm, laid through slice 4, at 2 mm: from 4 - 10 * 0.4 to 4 + 10 * 0.4."""
    grid = lay(SHAPE, (5.0, 1.0, 1.0), (2.0, 2.0, 3.0), 4)
    np.testing.assert_allclose(grid.positions[0], np.arange(21) * 0.4, atol=1e-9)
    np.testing.assert_allclose(grid.positions[1], [0, 2, 4])
    np.testing.assert_allclose(grid.positions[2], [0, 3, 6])
    assert grid.new_shape == (21, 3, 3)
    grid = lay(SHAPE, (5.0, 1.0, 1.0), (7.0, 1.0, 1.0), 4)
    np.testing.assert_allclose(grid.positions[0], np.array([-2, -1, 0, 1, 2]) * 1.4 + 4)


def test_the_drawn_slice_is_the_scans_own():
    """No plane beside it comes into the one that falls on it."""
    volume = random(*SHAPE)
    grid = lay(SHAPE, (5.0, 1.0, 1.0), (2.0, 1.0, 1.0), 3)
    np.testing.assert_allclose(resample(volume, grid)[grid.drawn], volume[3], rtol=1e-6)


def test_agrees_with_itk():
    volume = random(*SHAPE)
    image = sitk.GetImageFromArray(volume)
    image.SetSpacing((0.8, 0.9, 3.0))
    grid = lay(SHAPE, (3.0, 0.9, 0.8), (2.0, 1.5, 1.5), 4)
    origin_mm = [float(of[0]) * mm for of, mm in zip(grid.positions[::-1], (0.8, 0.9, 3.0), strict=True)]
    size = grid.new_shape[::-1]
    expected = sitk.Resample(image, size, sitk.Transform(), sitk.sitkLinear, origin_mm, (1.5, 1.5, 2.0))
    np.testing.assert_allclose(resample(volume, grid), sitk.GetArrayFromImage(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("thickness_mm", "places"),
    [
        # Every 0.4 slices, laid through slice 4: from 2 (4 - 5 * 0.4) to 6, and none beyond.
        (5.0, 4 + 0.4 * np.arange(-5, 6)),
        # Every second slice.
        (1.0, [2, 4, 6]),
        # Every 1.6 slices: 2.4 and 5.6 lie between drawn slices, 0.8 and 7.2 do not.
        (1.25, [2.4, 4, 5.6]),
    ],
)
def test_planes_between_drawn_slices_carry_labels_and_no_others(thickness_mm, places):
    """A mask on slices 2 to 6 of 9, as of some vertebrae."""
    grid = lay(SHAPE, (thickness_mm, 1.0, 1.0), (2.0, 1.0, 1.0), 4)
    planes, masks = resample_labels(drawn_on(*range(2, 7)), grid)
    np.testing.assert_allclose(grid.positions[0][planes], places)
    assert masks.shape == (len(places), *SHAPE[1:]) and masks.all()


def test_nothing_is_known_next_to_a_slice_that_was_left_out():
    """Drawn on 1, 2 and 4: between 2 and 3, 3 and 4 nobody drew; 4 itself was."""
    grid = lay(SHAPE, (5.0, 1.0, 1.0), (2.5, 1.0, 1.0), 4)
    planes, _ = resample_labels(drawn_on(1, 2, 4), grid)
    np.testing.assert_allclose(grid.positions[0][planes], [1, 1.5, 2, 4])


@pytest.mark.parametrize(
    ("drawn", "plane_mm", "through", "expected"),
    [
        ((1, 2, 4), 2.5, 4, []),  # planes on all of them
        ((1, 2, 4, 7), 2.0, 1, [4]),  # beside 4 planes lie on 3.8 and 4.2, but one lies on 7 = 1 + 15 * 0.4
        ((2, 3, 4), 2.0, 3, []),  # on 2.2 to 3.8
        ((0, 2, 3, 4, 5, 6), 15.0, 4, [0]),  # planes on 1, 4 and 7: that on 4 is of 2 to 6
        ((0, 4, 5, 8), 15.0, 4, [0, 8]),
    ],
)
def test_drawn_slices_that_no_plane_tells_of_are_found(drawn, plane_mm, through, expected):
    grid = lay(SHAPE, (5.0, 1.0, 1.0), (plane_mm, 1.0, 1.0), through)
    planes, _ = resample_labels(drawn_on(*drawn), grid)
    np.testing.assert_array_equal(unlabelled_slices(drawn_on(*drawn), grid, planes), expected)


def test_labels_are_those_of_the_nearest_voxel():
    mask = np.zeros(SHAPE, np.int16)
    mask[:, 0, 0], mask[4:, :, 3:] = 7, 7  # drawn everywhere
    planes, found = resample_labels(mask, lay(SHAPE, (5.0, 1.0, 1.0), (2.0, 1.0, 2.0)))
    np.testing.assert_array_equal(planes, np.arange(21))
    # Planes lie every 0.4 slices, the first with more than half of a slice beyond 3 at 3.6; columns at 0, 2, 4, 6.
    np.testing.assert_array_equal(found[:, 1, 3], [0] * 9 + [1] * 12)
    np.testing.assert_array_equal(found[20, 1], [0, 0, 1, 1])
    assert found.dtype == np.uint8 and planes.dtype == np.int32


def test_halving_the_spacing_keeps_the_area():
    """Each pixel becomes four of a quarter of its size, but for the last row and column, which end at their middle."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[4, :4, :6] = np.random.default_rng(0).integers(0, 2, (4, 6))
    _, found = resample_labels(mask, lay(SHAPE, (5.0, 3.0, 3.0), (2.0, 1.5, 1.5), 4))
    assert found.sum() == 4 * mask.sum()


def test_a_mask_that_marks_nothing_labels_nothing():
    planes, masks = resample_labels(drawn_on(), grid := lay(SHAPE, (5.0, 1.0, 1.0), (2.0, 1.0, 1.0), 4))
    assert len(planes) == 0 and masks.shape == (0, *grid.new_shape[1:])


def test_what_is_linear_comes_back_as_it_was():
    ramp = (2 * np.arange(9)[:, None, None] + 3 * np.arange(5)[:, None] - np.arange(7)).astype(np.float32)
    grid = lay(SHAPE, (3.0, 1.0, 1.0), (1.0, 0.5, 2.0), 4)
    np.testing.assert_allclose(restore(resample(ramp, grid), grid), ramp, atol=1e-4)


def test_the_same_spacing_changes_nothing():
    volume = random(*SHAPE)
    grid = lay(SHAPE, (3.0, 0.7, 0.7), (3.0, 0.7, 0.7), 5)
    np.testing.assert_array_equal(resample(volume, grid), volume)
    np.testing.assert_array_equal(restore(volume, grid), volume)
    assert grid.drawn == 5


@pytest.mark.parametrize(
    ("slices", "expected"),
    [
        (range(1), range(1)),  # at 0 mm
        (range(1, 2), range(2, 4)),  # at 5 mm, between the planes at 4 and 6 mm
        (range(2, 3), range(5, 6)),  # at 10 mm
        (range(1, 4), range(2, 9)),
        (range(5, 6), range(12, 13)),  # at 25 mm, beyond the last plane at 24 mm
    ],
)
def test_slices_are_made_of_the_planes_about_them(slices, expected):
    """Slices of 5 mm and planes of 2 mm; without any other plane, slices come back bit for bit."""
    grid = lay((6, 5, 7), (5.0, 1.0, 1.0), (2.0, 1.0, 1.0))
    assert planes(grid, slices) == expected
    values = random(*grid.new_shape)
    whole = restore(values, grid)
    values[: expected.start] = values[expected.stop :] = 0
    np.testing.assert_array_equal(restore(values, grid, slices), whole[slices.start : slices.stop])


@pytest.mark.parametrize("plane_mm", [0.7, 1.5, 2.0, 3.3])
@pytest.mark.parametrize("thickness_mm", [1.0, 1.25, 3.0, 5.0])
def test_a_slice_that_a_plane_falls_on_is_made_of_it_alone(thickness_mm, plane_mm):
    """Whatever is lost in rounding where the grid is laid through slices 1 to 39 of 40."""
    for slice_index in range(1, 40):
        grid = lay((40, 1, 1), (thickness_mm, 1.0, 1.0), (plane_mm, 1.0, 1.0), slice_index)
        assert grid.drawn is not None
        chosen = range(slice_index, slice_index + 1)
        assert planes(grid, chosen) == range(grid.drawn, grid.drawn + 1)
        values = random(*grid.new_shape)
        np.testing.assert_array_equal(restore(values, grid, chosen)[0], values[grid.drawn])


def test_beyond_the_last_plane_values_go_on_as_there():
    grid = lay((4, 1, 1), (1.0, 1.0, 1.0), (2.0, 1.0, 1.0), 0)  # planes at 0 and 2
    found = restore(np.array([1.0, 3.0], np.float32).reshape(2, 1, 1), grid)
    np.testing.assert_allclose(found.ravel(), [1, 2, 3, 3])


def test_a_single_plane_goes_back_everywhere():
    grid = lay((3, 1, 1), (1.0, 1.0, 1.0), (9.0, 1.0, 1.0), 1)
    assert grid.new_shape == (1, 1, 1) and grid.drawn == 0
    np.testing.assert_allclose(restore(np.full((1, 1, 1), 4.0, np.float32), grid).ravel(), [4, 4, 4])


@pytest.mark.parametrize(
    ("spacing_mm", "new_spacing_mm", "slice_index", "message"),
    [
        ((0.0, 1.0, 1.0), (1.0, 1.0, 1.0), None, r"spacing is \[0.0, 1.0, 1.0\] mm; all must be positive"),
        ((1.0, 1.0, 1.0), (1.0, np.nan, 1.0), None, "new spacing is .* all must be positive and finite"),
        ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0), 9, r"slice 9 is not in a volume of 9 slices, 0 \(feet\) to 8 \(head\)"),
    ],
)
def test_what_cannot_be_laid_is_refused(spacing_mm, new_spacing_mm, slice_index, message):
    with pytest.raises(ValueError, match=message):
        lay(SHAPE, spacing_mm, new_spacing_mm, slice_index)


def test_what_is_not_on_the_grid_is_refused():
    grid = lay(SHAPE, (1.0, 1.0, 1.0), (2.0, 2.0, 2.0))
    with pytest.raises(ValueError, match="is not on a grid of"):
        resample(random(3, 3, 3), grid)
    with pytest.raises(ValueError, match=r"a volume of \(9, 5, 6\) voxels is not on a grid of \(9, 5, 7\)"):
        resample_labels(np.ones((9, 5, 6)), grid)
