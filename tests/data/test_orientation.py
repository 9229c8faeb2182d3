import itertools

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from mskjax.data.orientation import (
    from_axial,
    require_untilted,
    set_slice_positions,
    slice_positions_mm,
    source_index,
    tilt_degrees,
    to_axial,
)
from mskjax.data.ras import axial_to_ras, ras_to_axial

# The scan as a radiologist sees it, [slice, row, column] = (S, P, L), and its spacing; every voxel differs.
AXIAL = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
SPACING_MM = np.array([5.0, 0.7, 0.9])
ORIENTATIONS = list(itertools.product(itertools.permutations(range(3)), itertools.product([False, True], repeat=3)))
# Patient axes L, P, S of the view's array axes.
PATIENT_AXIS = (2, 1, 0)


def stored(order, flipped, turn=None):
    """The scan as a file would hold it: array axis n is the view's axis order[n], reversed where flipped[n]."""
    values = AXIAL.transpose(order)
    values = values[tuple(slice(None, None, -1) if flip else slice(None) for flip in flipped)]
    image = sitk.GetImageFromArray(np.ascontiguousarray(values))
    direction = np.zeros((3, 3))
    origin = np.zeros(3)
    for n, (axis, flip) in enumerate(zip(order, flipped, strict=True)):
        patient = PATIENT_AXIS[axis]
        direction[patient, 2 - n] = -1 if flip else 1
        origin[patient] = (AXIAL.shape[axis] - 1) * SPACING_MM[axis] if flip else 0
    turn = np.eye(3) if turn is None else turn
    image.SetSpacing([float(SPACING_MM[axis]) for axis in order[::-1]])
    image.SetDirection((turn @ direction).ravel().tolist())
    image.SetOrigin((turn @ origin).tolist())
    return image


def same_grid(one, other):
    return all(
        getattr(one, get)() == getattr(other, get)() for get in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection")
    )


@pytest.mark.parametrize("degrees", [0, 12])
@pytest.mark.parametrize(("order", "flipped"), ORIENTATIONS)
def test_all_48_orientations_show_the_same_scan_and_go_back(order, flipped, degrees):
    turn = Rotation.from_euler("xyz", [degrees, -degrees, degrees / 2], degrees=True).as_matrix()
    image = stored(order, flipped, turn)
    array, spacing_mm = to_axial(image)
    np.testing.assert_array_equal(array, AXIAL)
    np.testing.assert_array_equal(spacing_mm, SPACING_MM)
    back = from_axial(array, image)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(image))
    assert same_grid(back, image)


@pytest.mark.parametrize(("order", "flipped"), ORIENTATIONS)
def test_the_view_is_where_itk_says_it_is(order, flipped):
    image = stored(order, flipped)
    for index in np.ndindex(*AXIAL.shape):
        position = [index[2] * SPACING_MM[2], index[1] * SPACING_MM[1], index[0] * SPACING_MM[0]]
        assert image[image.TransformPhysicalPointToIndex(position)] == AXIAL[index]


@pytest.mark.parametrize(("order", "flipped"), ORIENTATIONS)
def test_source_index_finds_the_slice_in_the_file(order, flipped):
    image = stored(order, flipped)
    for k in range(len(AXIAL)):
        found = np.take(sitk.GetArrayFromImage(image), source_index(image, k), axis=order.index(0))
        assert sorted(found.ravel()) == sorted(AXIAL[k].ravel())
    for k in (-1, len(AXIAL)):
        with pytest.raises(ValueError, match=rf"slice {k} is not in the image; its slices are 0 \(feet\) to 1"):
            source_index(image, k)


def test_agrees_with_itk_dicom_orient():
    rng = np.random.default_rng(0)
    for turn in Rotation.random(200, random_state=rng).as_matrix():
        if np.abs(turn).max(axis=1).min() < 0.8:  # far from any axis the two may choose differently
            continue
        image = stored((0, 1, 2), (False, False, False), turn)
        array, spacing_mm = to_axial(image)
        expected = sitk.DICOMOrient(image, "LPS")
        np.testing.assert_array_equal(array, sitk.GetArrayFromImage(expected))
        assert tuple(spacing_mm[::-1]) == expected.GetSpacing()


@pytest.mark.parametrize(("order", "flipped"), ORIENTATIONS)
def test_ras_is_what_itk_reorients_to(order, flipped):
    """With i, j, k as nibabel counts them, which is ITK's own order and the reverse of numpy's."""
    array, _ = to_axial(image := stored(order, flipped))
    expected = sitk.GetArrayFromImage(sitk.DICOMOrient(image, "RAS")).transpose(2, 1, 0)
    np.testing.assert_array_equal(axial_to_ras(array), expected)
    np.testing.assert_array_equal(ras_to_axial(axial_to_ras(array)), array)


def test_a_mask_of_booleans_becomes_uint8_and_other_types_stay():
    image = stored((0, 1, 2), (False, False, True))
    assert from_axial(AXIAL > 3, image).GetPixelID() == sitk.sitkUInt8
    assert from_axial(AXIAL.astype(np.float32), image).GetPixelID() == sitk.sitkFloat32


def test_a_wrong_shape_is_refused():
    image = stored((2, 0, 1), (False, False, False))
    with pytest.raises(ValueError, match=r"shape \(4, 2, 3\) does not fit .* axial view is \(2, 3, 4\)"):
        from_axial(AXIAL.transpose(2, 0, 1), image)


@pytest.mark.parametrize("degrees", [-44, 44])
def test_up_to_45_degrees_the_nearest_axis_is_taken(degrees):
    turn = Rotation.from_euler("x", degrees, degrees=True).as_matrix()
    np.testing.assert_array_equal(to_axial(stored((0, 1, 2), (False,) * 3, turn))[0], AXIAL)


def test_an_image_between_all_axes_is_refused():
    # The body's long axis lies along the cube's diagonal: 54.7 degrees from each image axis.
    diagonal = Rotation.align_vectors([[0, 0, 1]], [[1, 1, 1]])[0].as_matrix()
    with pytest.raises(ValueError, match=r"not axial: its slices are 55 degrees off .* at most 45"):
        to_axial(stored((0, 1, 2), (False,) * 3, diagonal))


def test_two_dimensions_have_no_axial_view():
    with pytest.raises(ValueError, match="this one has 2 dimensions"):
        to_axial(sitk.Image(4, 4, sitk.sitkInt16))


def test_positions_of_a_straight_stack_are_those_of_its_grid():
    turn = Rotation.from_euler("x", 20, degrees=True).as_matrix()
    image = stored((0, 1, 2), (True, False, True), turn)
    expected = [image.TransformIndexToPhysicalPoint((0, 0, k)) for k in range(image.GetDepth())]
    np.testing.assert_allclose(slice_positions_mm(image), expected, atol=1e-12)
    assert tilt_degrees(image) == 0
    require_untilted(image, "3-D training")


def test_a_tilted_image_keeps_its_positions_and_refuses_3d_work():
    image = stored((0, 1, 2), (False,) * 3)
    # 5 mm along the normal and 5 tan(15 degrees) sideways.
    positions_mm = np.array([[0.0, 0.0, 0.0], [0.0, 5 * np.tan(np.radians(15)), 5.0]])
    set_slice_positions(image, positions_mm)
    for one in (image, from_axial(to_axial(image)[0] > 3, image)):
        np.testing.assert_array_equal(slice_positions_mm(one), positions_mm)
        assert tilt_degrees(one) == pytest.approx(15)
        with pytest.raises(ValueError, match=r"^3-D training needs a straight stack.*tilted by 15\.0 degrees"):
            require_untilted(one, "3-D training")
