import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from mskjax.measure import rms_dta_cm, rms_dta_symmetric_cm
from mskjax.measure.distance import boundary

UNIT = (1.0, 1.0)
masks = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=7))


def box(shape, *extents):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*extent) for extent in extents)] = True
    return mask


A = box((64, 64), (16, 48), (16, 48))
B = box((64, 64), (18, 48), (16, 52))


def test_the_toy_of_two_squares():
    # Figures worked out for these two masks before this code was written, in pixels of 1 mm.
    assert rms_dta_cm(A, B, UNIT) * 10 == pytest.approx(2.028029, abs=1e-6)
    assert rms_dta_cm(B, A, UNIT) * 10 == pytest.approx(2.204399, abs=1e-6)
    assert rms_dta_symmetric_cm(A, B, UNIT) * 10 == pytest.approx(2.119449, abs=1e-6)


@pytest.mark.parametrize(("spacing", "axis", "pixels"), [((0.5, 2.0), 0, 3), ((0.5, 2.0), 1, 3), ((1.0, 1.0), 0, 5)])
def test_a_line_moved_along_one_axis(spacing, axis, pixels):
    line = box((40, 40), (10, 11), (0, 40)) if axis == 0 else box((40, 40), (0, 40), (10, 11))
    expected = pixels * spacing[axis] / 10
    assert rms_dta_cm(np.roll(line, pixels, axis), line, spacing) == pytest.approx(expected)
    assert rms_dta_symmetric_cm(np.roll(line, pixels, axis), line, spacing) == pytest.approx(expected)


def test_concentric_discs_are_as_far_apart_as_their_radii():
    y, x = np.mgrid[:401, :401] - 200
    inner, outer = (np.hypot(y, x) <= 100), (np.hypot(y, x) <= 150)
    # 0.2 mm pixels; the boundary's pixels lie up to one pixel inside the circle.
    assert rms_dta_cm(inner, outer, (0.2, 0.2)) == pytest.approx(1.0, abs=0.02)


def test_the_directed_form_looks_from_the_prediction():
    point, both = box((1, 30), (0, 1), (0, 1)), box((1, 30), (0, 1), (0, 1)) | box((1, 30), (0, 1), (29, 30))
    assert rms_dta_cm(point, both, UNIT) == 0
    assert rms_dta_cm(both, point, UNIT) == pytest.approx(2.9 / np.sqrt(2))
    assert rms_dta_symmetric_cm(point, both, UNIT) == pytest.approx(2.9 / np.sqrt(3))


@pytest.mark.parametrize("measure", [rms_dta_cm, rms_dta_symmetric_cm])
def test_empty_masks(measure):
    empty = np.zeros_like(A)
    assert measure(empty, empty, UNIT) == 0
    assert measure(empty, A, UNIT) == measure(A, empty, UNIT) == np.inf


def test_a_mask_that_touches_the_edge_ends_there():
    full = np.ones((5, 6), bool)
    assert boundary(full).sum() == 2 * 5 + 2 * 6 - 4
    assert boundary(np.ones((3, 3, 3), bool)).sum() == 26


@given(masks)
def test_the_boundary_is_the_mask_without_its_erosion(mask):
    # MONAI's edges: the mask minus its erosion by the face neighbours, nothing beyond the image.
    np.testing.assert_array_equal(boundary(mask), mask & ~ndimage.binary_erosion(mask))


@settings(deadline=None)
@given(st.data(), st.lists(st.floats(0.3, 5), min_size=3, max_size=3))
def test_like_a_distance_map(data, spacing):
    one = data.draw(masks.filter(np.any))
    other = data.draw(hnp.arrays(bool, one.shape).filter(np.any))
    spacing = spacing[: one.ndim]
    to_other = ndimage.distance_transform_edt(~boundary(other), sampling=spacing)[boundary(one)]
    to_one = ndimage.distance_transform_edt(~boundary(one), sampling=spacing)[boundary(other)]
    pooled = np.concatenate([to_other, to_one])
    assert rms_dta_cm(one, other, spacing) == pytest.approx(np.sqrt(np.mean(to_other**2)) / 10)
    assert rms_dta_symmetric_cm(one, other, spacing) == pytest.approx(np.sqrt(np.mean(pooled**2)) / 10)


@pytest.mark.parametrize(
    ("spacing", "sentence"),
    [
        ((1.0,), "2 axes need 2 numbers"),
        ((1.0, 0.0), "positive"),
        ((1.0, -2.0), "positive"),
        ((1.0, np.nan), "positive"),
    ],
)
def test_refused_spacing(spacing, sentence):
    with pytest.raises(ValueError, match=sentence):
        rms_dta_cm(A, B, spacing)


def test_refused_shapes():
    with pytest.raises(ValueError, match="same pixels"):
        rms_dta_symmetric_cm(A, B[:-1], UNIT)
