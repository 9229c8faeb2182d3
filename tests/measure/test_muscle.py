import numpy as np
import pytest

from mskjax.measure import muscle_area_cm2, muscle_density_hu, muscle_index_cm2_m2, within_window


def disc(radius_px=100, size=256):
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.hypot(y, x) <= radius_px


def test_area_of_a_rectangle_on_oblong_pixels():
    mask = np.zeros((20, 30), np.uint8)
    mask[2:12, 5:25] = 1
    assert muscle_area_cm2(mask, (0.5, 2.0)) == pytest.approx(10 * 0.5 * 20 * 2.0 / 100)


def test_area_of_a_disc():
    assert muscle_area_cm2(disc(), (0.8, 0.8)) == pytest.approx(np.pi * 8**2, rel=2e-3)


def test_a_volume_gives_one_area_a_slice_whatever_the_slice_spacing():
    volume = np.zeros((3, 4, 4), bool)
    volume[1, :2], volume[2] = True, True
    np.testing.assert_allclose(muscle_area_cm2(volume, (5.0, 2.0, 3.0)), [0, 8 * 0.06, 16 * 0.06])


def test_density_is_the_mean_inside():
    image = np.arange(12, dtype=np.int16).reshape(3, 4) * 10 - 40
    mask = np.zeros((3, 4), np.uint8)
    mask[0, :2], mask[2, 3] = 1, 1
    assert muscle_density_hu(image, mask) == pytest.approx((-40 - 30 + 70) / 3)
    assert muscle_density_hu(image, mask, (-30, 70)) == pytest.approx((-30 + 70) / 2), "both ends belong to the window"


def test_density_does_not_overflow_its_own_type():
    image = np.full((512, 512), 3000, np.int16)
    assert muscle_density_hu(image, np.ones((512, 512), np.uint8)) == 3000


def test_empty_masks():
    empty, image = np.zeros((2, 4, 4), np.uint8), np.zeros((2, 4, 4), np.int16)
    assert muscle_area_cm2(empty[0], (1.0, 1.0)) == 0
    assert np.isnan(muscle_density_hu(image[0], empty[0]))
    assert np.isnan(muscle_density_hu(image[0], np.ones((4, 4)), (50, 60))), "no pixel in the window"
    empty[1, 0, 0] = 1
    np.testing.assert_array_equal(muscle_density_hu(image, empty), [np.nan, 0])


def test_within_window():
    image = np.array([[-30, -29, 0, 150, 151]])
    np.testing.assert_array_equal(within_window(image, np.ones((1, 5)), (-29, 150)), [[0, 1, 1, 1, 0]])
    with pytest.raises(ValueError, match="lower end first"):
        within_window(image, np.ones((1, 5)), (150, -29))


def test_index():
    assert muscle_index_cm2_m2(144.0, 1.6) == pytest.approx(56.25)
    np.testing.assert_allclose(muscle_index_cm2_m2(np.array([144.0, 0.0]), 2.0), [36, 0])


@pytest.mark.parametrize("height", [172.0, 0.0, -1.7, np.nan])
def test_a_height_that_is_not_in_metres(height):
    with pytest.raises(ValueError, match="give it in metres"):
        muscle_index_cm2_m2(144.0, height)


def test_refusals():
    mask = np.ones((4, 4), np.uint8)
    with pytest.raises(ValueError, match="the image has shape"):
        muscle_density_hu(np.zeros((4, 5)), mask)
    with pytest.raises(ValueError, match="holds 7"):
        muscle_area_cm2(mask * 7, (1.0, 1.0))
    with pytest.raises(ValueError, match="positive"):
        muscle_area_cm2(mask, (0.0, 1.0))
