import numpy as np
import pytest

from mskjax.study.overlays import AGREED, COLOURS, columns_for, draw_slice, montage

BODY = np.full((40, 50), 40, np.int16)


def box(rows, columns, shape=(40, 50)):
    mask = np.zeros(shape, np.uint8)
    mask[slice(*rows), slice(*columns)] = 1
    return mask


def extent(picture, colour):
    """First and last row and column of a colour, above the caption's legend."""
    rows, columns = np.nonzero((np.asarray(picture) == colour).all(-1))
    return rows.min(), rows.max(), columns.min(), columns.max()


def plain(masks, spacing=(1.0, 1.0), image=BODY):
    """The picture without its caption, as the enlarged image has it."""
    picture = draw_slice(image, spacing, masks)
    height = round(image.shape[0] * spacing[0] * picture.width / (image.shape[1] * spacing[1]))
    return picture.crop((0, 0, picture.width, height))


def test_outlines_lie_on_the_edges_of_the_pixels():
    picture = plain({"mask": box((10, 20), (20, 31))})
    assert picture.size == (750, 600), "15 times enlarged"
    assert extent(picture, COLOURS[1]) == (150, 299, 300, 464)
    assert tuple(np.asarray(picture)[152, 400]) == tuple(np.asarray(picture)[225, 400]), "two pixels thick, no fill"


def test_image_and_mask_are_enlarged_alike():
    image = np.where(box((10, 20), (20, 31)), 250, -150).astype(np.int16)
    image[0] = image[-1] = image[:, 0] = image[:, -1] = 40
    grey = np.asarray(plain({"mask": box((0, 1), (0, 1))}, image=image))[..., 0]
    # A bicubic edge passes half grey at the pixel's edge itself.
    assert grey[225, 299] < 128 <= grey[225, 300]
    assert grey[225, 464] >= 128 > grey[225, 465]


def test_millimetres_keep_their_proportion():
    picture = plain({"mask": box((10, 20), (20, 31))}, spacing=(2.0, 1.0))
    assert picture.width / picture.height == 50 / 80
    first, last, left, right = extent(picture, COLOURS[1])
    assert (last - first + 1, right - left + 1) == (10 * 2 * 10, 11 * 10)


def test_reference_prediction_and_both():
    picture = plain({"reference": box((10, 20), (10, 20)), "prediction": box((10, 20), (10, 25))})
    assert extent(picture, COLOURS[0]) == (152, 297, 298, 299), "the right edge, and where it is not shared"
    assert extent(picture, COLOURS[1])[3] == 25 * 15 - 1
    assert tuple(np.asarray(picture)[225, 150]) == AGREED


def test_left_in_the_array_is_left_in_the_picture():
    image = BODY.copy()
    image[:, :10] = -140
    grey = np.asarray(plain({"mask": box((20, 21), (30, 31))}, image=image))[..., 0]
    assert grey[100, 75] < 10 < 100 < grey[100, 600]


def test_air_is_cropped_but_never_a_mask():
    image = np.full((100, 100), -1024, np.int16)
    image[40:60, 40:60] = 40
    small, stray = np.zeros_like(image), np.zeros_like(image)
    small[50, 50] = stray[2, 3] = 1
    around_body = draw_slice(image, (1.0, 1.0), {"mask": small}).crop((0, 0, 756, 756))
    with_stray = draw_slice(image, (1.0, 1.0), {"mask": stray}).crop((0, 0, 748, 748))
    # The body and 8 mm around it are 36 pixels, 21 times enlarged; down to the stray pixel they are 68, 11 times.
    assert extent(around_body, COLOURS[1]) == (18 * 21, 19 * 21 - 1) * 2
    assert extent(with_stray, COLOURS[1]) == (2 * 11, 3 * 11 - 1, 3 * 11, 4 * 11 - 1)


def test_a_slice_without_body_and_mask_is_drawn_whole():
    air, nothing = np.full((30, 30), -1024, np.int16), np.zeros((30, 30), bool)
    assert draw_slice(air, (1.0, 1.0), {"mask": nothing}).width == 750


def test_montage_keeps_every_picture():
    pictures = [draw_slice(BODY, (1.0, 1.0), {"mask": box((1, 2), (1, 2))}, ["slice"], 200) for _ in range(5)]
    sheet = montage(pictures)
    width, height = pictures[0].size
    assert sheet.size == (3 * width + 8, 2 * height + 4)
    np.testing.assert_array_equal(sheet.crop((width + 4, height + 4, 2 * width + 4, 2 * height + 4)), pictures[4])


def test_a_montage_leaves_few_gaps():
    columns = {1: 1, 2: 2, 3: 3, 4: 2, 5: 3, 6: 3, 7: 4, 8: 4, 9: 3, 10: 5, 64: 8}
    assert {count: columns_for(count) for count in columns} == columns


def test_refusals():
    with pytest.raises(ValueError, match="one or two"):
        draw_slice(BODY, (1.0, 1.0), {})
    with pytest.raises(ValueError, match="reference"):
        draw_slice(BODY, (1.0, 1.0), {"reference": np.zeros((4, 4))})
