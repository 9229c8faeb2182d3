import numpy as np
import pytest
import SimpleITK as sitk

from mskjax.data.volume_grid import UNKNOWN, lay, resample, resample_drawn, resample_mask, restore

SHAPE = (9, 5, 7)


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("thickness_mm", [1.0, 5.0, 1.25, 3.0, 2.0])
@pytest.mark.parametrize("slice_index", [0, 4, 8])
def test_one_plane_alone_falls_on_the_drawn_slice_and_carries_labels(thickness_mm, slice_index):
    grid = lay(SHAPE, (thickness_mm, 1.5, 1.5), (2.0, 1.5, 1.5), slice_index)
    np.testing.assert_array_equal(np.flatnonzero(np.isclose(grid.positions[0], slice_index)), [grid.drawn])
    labels = resample_drawn(np.ones(SHAPE[1:], np.uint8), grid)
    assert labels.shape == grid.new_shape
    np.testing.assert_array_equal(np.flatnonzero((labels != UNKNOWN).any((1, 2))), [grid.drawn])
    assert (labels[grid.drawn] == 1).all()


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


def test_a_mask_of_the_volume_keeps_its_nearest_voxels():
    mask = np.zeros(SHAPE, np.int16)
    mask[4:, :, 3:] = 7
    found = resample_mask(mask, lay(SHAPE, (5.0, 1.0, 1.0), (2.0, 1.0, 2.0)))
    # Planes lie every 0.4 slices, the first with more than half of a slice beyond 3 at 3.6; columns at 0, 2, 4, 6.
    np.testing.assert_array_equal(found[:, 0, 3], [0] * 9 + [1] * 12)
    np.testing.assert_array_equal(found[20, 0], [0, 0, 1, 1])
    assert found.dtype == np.uint8


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
    with pytest.raises(ValueError, match="laid through no slice"):
        resample_drawn(np.ones(SHAPE[1:]), grid)
    with pytest.raises(ValueError, match="is not of a slice of"):
        resample_drawn(np.ones((2, 2)), lay(SHAPE, (1.0, 1.0, 1.0), (2.0, 2.0, 2.0), 1))
