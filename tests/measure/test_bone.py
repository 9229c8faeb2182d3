import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from mskjax.measure import remove_bone


def pairwise(image_hu, mask, spacing):
    """Bone cut out by the definition itself: every pixel against every bone pixel."""
    pixels = np.argwhere(np.ones_like(mask)) * spacing
    bone = np.argwhere(image_hu > 175) * spacing
    if not len(bone):
        return mask
    distance = np.linalg.norm(pixels[:, None] - bone[None], axis=-1).min(1)
    return mask * (distance > 2 + 1e-4).reshape(mask.shape)


@settings(deadline=None)
@given(st.data(), st.lists(st.floats(0.4, 5), min_size=3, max_size=3))
def test_against_every_pair_of_pixels(data, spacing):
    shape = data.draw(hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=7))
    image = data.draw(hnp.arrays(np.int16, shape, elements=st.sampled_from([-50, 40, 175, 176, 900])))
    mask = data.draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 1])))
    spacing = spacing[: len(shape)]
    np.testing.assert_array_equal(remove_bone(image, mask, spacing), pairwise(image, mask, spacing))


@pytest.mark.parametrize(("spacing", "removed"), [(2 / 3, 29), (1.0, 13), (2.0, 5), (2.0001, 5), (2.001, 1)])
def test_pixels_at_exactly_2_mm_go(spacing, removed):
    image, mask = np.zeros((15, 15), np.int16), np.ones((15, 15), bool)
    image[7, 7] = 176
    assert (~remove_bone(image, mask, (spacing, spacing))).sum() == removed


def test_175_hu_is_not_bone_and_176_is():
    mask = np.ones((1, 2), bool)
    assert remove_bone(np.array([[175, 175]]), mask, (9.0, 9.0)).all()
    np.testing.assert_array_equal(remove_bone(np.array([[175, 176]]), mask, (9.0, 9.0)), [[True, False]])


def test_the_margin_is_in_millimetres_on_oblong_pixels():
    image, mask = np.zeros((9, 9), np.int16), np.ones((9, 9), np.uint8)
    image[4, 4] = 1000
    gone = np.argwhere(remove_bone(image, mask, (1.0, 3.0)) == 0)
    np.testing.assert_array_equal(gone, [[2, 4], [3, 4], [4, 4], [5, 4], [6, 4]])


def test_a_volume_looks_through_its_slices_and_a_slice_does_not():
    image, mask = np.zeros((3, 5, 5), np.int16), np.zeros((3, 5, 5), np.uint8)
    image[0, 2, 2], mask[1] = 300, 1
    assert remove_bone(image, mask, (2.0, 1.0, 1.0)).sum() == 24
    assert remove_bone(image, mask, (2.5, 1.0, 1.0)).sum() == 25
    assert remove_bone(image[1], mask[1], (1.0, 1.0)).sum() == 25


def test_agrees_with_a_distance_map_at_true_size():
    rng = np.random.default_rng(0)
    image = ndimage.gaussian_filter(rng.normal(0, 3000, (4, 96, 96)), 2).astype(np.int16)
    mask = ndimage.gaussian_filter(rng.normal(size=(4, 96, 96)), 4) > 0
    spacing = (1.5, 0.7, 0.7)
    near = ndimage.distance_transform_edt(image <= 175, sampling=spacing) <= 2.0001
    assert 0 < (mask & near).sum() < mask.sum()
    np.testing.assert_array_equal(remove_bone(image, mask, spacing), mask & ~near)


def test_the_input_stays_and_the_type_too():
    image, mask = np.full((3, 3), 500, np.int16), np.ones((3, 3), np.uint8)
    cleaned = remove_bone(image, mask, (1.0, 1.0))
    assert mask.all()
    assert cleaned.dtype == np.uint8
    assert not cleaned.any()
    assert remove_bone(image, cleaned, (1.0, 1.0)) is not cleaned


def test_refusals():
    with pytest.raises(ValueError, match="the image has shape"):
        remove_bone(np.zeros((3, 3)), np.zeros((3, 4)), (1.0, 1.0))
    with pytest.raises(ValueError, match="3 axes need 3 numbers"):
        remove_bone(np.zeros((3, 3, 3)), np.zeros((3, 3, 3)), (1.0, 1.0))
