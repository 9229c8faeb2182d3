"""Contours of RT Structure Sets fill the pixels whose centres they enclose, on the slices they lie on."""

from itertools import pairwise

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_files import AXIAL, FRAME_UID, body_hu, plane_positions, write_series
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid
from skimage.measure import points_in_poly

from mskjax.data.masks import read_mask
from mskjax.data.reading import read_image
from mskjax.data.rtstruct import fill

SHAPE = (4, 16, 14)
SPACING_MM = (5.0, 0.9, 0.8)


def item(**elements) -> pydicom.Dataset:
    made = pydicom.Dataset()
    for name, value in elements.items():
        setattr(made, name, value)
    return made


def write_rtstruct(path, rois: dict[str, list], frame_uid=FRAME_UID, series_uid="1.2.4"):
    """`rois` maps names to contours, each points [n, 3] in mm or a pair (type, points)."""
    made = item(SOPClassUID=RTStructureSetStorage, SOPInstanceUID=generate_uid(), Modality="RTSTRUCT")
    study = item(RTReferencedSeriesSequence=[item(SeriesInstanceUID=series_uid)])
    made.ReferencedFrameOfReferenceSequence = [item(FrameOfReferenceUID=frame_uid, RTReferencedStudySequence=[study])]
    made.StructureSetROISequence = [
        item(ROINumber=n, ROIName=name, ReferencedFrameOfReferenceUID=frame_uid) for n, name in enumerate(rois, 1)
    ]
    made.ROIContourSequence = []
    for n, contours in enumerate(rois.values(), 1):
        made.ROIContourSequence.append(item(ReferencedROINumber=n, ContourSequence=[]))
        for contour in contours:
            kind, points = contour if isinstance(contour, tuple) else ("CLOSED_PLANAR", contour)
            numbers = [round(float(x), 3) for x in np.ravel(points)]
            made.ROIContourSequence[-1].ContourSequence.append(
                item(ContourGeometricType=kind, NumberOfContourPoints=len(numbers) // 3, ContourData=numbers)
            )
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = RTStructureSetStorage
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.save_as(path, enforce_file_format=True)
    return path


def box(k, rows, columns, positions_mm=None, orientation=AXIAL) -> np.ndarray:
    """The rectangle from the first to the last of `rows` and `columns` (indices, all may be fractions) on slice k."""
    positions_mm = plane_positions(SHAPE[0], SPACING_MM) if positions_mm is None else positions_mm
    corners = [(rows[0], columns[0]), (rows[0], columns[1]), (rows[1], columns[1]), (rows[1], columns[0])]
    steps = np.array(orientation).reshape(2, 3)
    first = positions_mm[0] + k * (positions_mm[1] - positions_mm[0])
    return np.array([first + c * SPACING_MM[2] * steps[0] + r * SPACING_MM[1] * steps[1] for r, c in corners])


def filled(*boxes) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    for k, rows, columns in boxes:
        mask[k, slice(*rows), slice(*columns)] = 1
    return mask


@pytest.fixture
def like(tmp_path):
    write_series(tmp_path / "series", body_hu(*SHAPE), SPACING_MM)
    return read_image(tmp_path / "series")


@pytest.fixture
def read(tmp_path, like):
    def read(*contours, onto=like, label=None):
        path = write_rtstruct(tmp_path / "rtstruct.dcm", {"Muscle": list(contours)})
        return sitk.GetArrayFromImage(read_mask(path, onto, label))

    return read


def test_a_polygon_holds_the_pixels_whose_centres_it_encloses():
    triangle = np.array([[0.5, 0.5], [0.5, 4.5], [4.5, 0.5]])
    expected = np.zeros((6, 6), bool)
    expected[1, 1:4] = expected[2, 1:3] = expected[3, 1] = True  # column < 5 - row, centres on the long edge outside
    np.testing.assert_array_equal(fill(triangle, (6, 6)), expected)


def test_centres_on_an_edge_go_to_the_greater_index():
    square = np.array([[1.0, 1.0], [1.0, 4.0], [4.0, 4.0], [4.0, 1.0]])
    expected = np.zeros((6, 6), bool)
    expected[1:4, 1:4] = True
    for polygon in (square, square[::-1], np.roll(square, 1, axis=0), square + 1e-9, square - 1e-9):
        np.testing.assert_array_equal(fill(polygon, (6, 6)), expected)


def test_what_lies_outside_the_image_is_cut():
    np.testing.assert_array_equal(fill(np.array([[-9.5, -9.5], [-9.5, 9.5], [9.5, 9.5], [9.5, -9.5]]), (4, 3)), True)
    np.testing.assert_array_equal(fill(np.array([[-9.5, -9.5], [-9.5, 0.5], [9.5, 0.5], [9.5, -9.5]]), (4, 3))[:, 0], 1)


vertices = st.lists(st.tuples(*[st.floats(-2, 14).map(lambda x: x + np.pi / 1000)] * 2), min_size=3, max_size=12)


@given(vertices)
@settings(max_examples=60, deadline=None)
def test_any_polygon_is_filled_as_scikit_image_does(points):
    polygon = np.round(np.array(points), 6)
    centres = np.argwhere(np.ones((12, 11)))
    inside = points_in_poly(centres, polygon).reshape(12, 11)
    differing = np.argwhere(fill(polygon, (12, 11)) != inside)
    for centre in differing:  # only centres that lie on an edge may go either way
        apart = [distance_to_segment(centre, a, b) for a, b in pairwise([*polygon, polygon[0]])]
        assert min(apart) < 1e-5


def distance_to_segment(point, a, b) -> float:
    length = (b - a) @ (b - a)
    t = np.clip((point - a) @ (b - a) / length, 0, 1) if length else 0.0
    return float(np.linalg.norm(point - a - t * (b - a)))


def test_several_contours_on_several_slices(read):
    mask = read(box(0, (2, 5), (3, 8)), box(0, (9, 12), (3, 8)), box(3, (2.4, 5.6), (1, 2)))
    np.testing.assert_array_equal(mask, filled((0, (2, 5), (3, 8)), (0, (9, 12), (3, 8)), (3, (3, 6), (1, 2))))


def test_a_contour_within_another_is_a_hole_and_one_within_the_hole_is_not(read):
    mask = read(box(1, (8, 9), (6, 7)), box(1, (2, 14), (2, 13)), box(1, (5, 12), (4, 10)))
    expected = filled((1, (2, 14), (2, 13)))
    expected[1, 5:12, 4:10] = 0
    expected[1, 8, 6] = 1
    np.testing.assert_array_equal(mask, expected)


def test_a_keyhole_contour_is_a_ring(read):
    outer, inner = box(1, (2, 14), (2, 13)), box(1, (5, 12), (4, 10))[::-1]
    # In along the line between two corners, around the hole the other way, and back on the same line.
    keyhole = np.concatenate([outer, outer[:1], inner[3:], inner[:3], inner[3:]])
    expected = filled((1, (2, 14), (2, 13)))
    expected[1, 5:12, 4:10] = 0
    np.testing.assert_array_equal(read(keyhole), expected)


def test_a_contour_stored_twice_counts_once(read):
    once = box(1, (2, 14), (2, 13))
    np.testing.assert_array_equal(read(once, once[::-1]), filled((1, (2, 14), (2, 13))))


def test_contours_that_overlap_in_part_are_refused_unless_they_ask_for_it(read):
    one, other = box(1, (2, 10), (2, 10)), box(1, (5, 13), (5, 13))
    with pytest.raises(ValueError, match=r"ROI Muscle of .* on slice 1 of the image has two contours .* \(25 pixels\)"):
        read(one, other)
    expected = filled((1, (2, 10), (2, 10))) ^ filled((1, (5, 13), (5, 13)))
    np.testing.assert_array_equal(read(("CLOSEDPLANAR_XOR", one), ("CLOSEDPLANAR_XOR", other)), expected)


@pytest.mark.parametrize("kind", ["POINT", "OPEN_PLANAR", "OPEN_NONPLANAR"])
def test_other_contour_types_are_refused_by_name(read, kind):
    with pytest.raises(ValueError, match=f"contour 2 of ROI Muscle of .* is of type {kind}, which encloses nothing"):
        read(box(0, (2, 5), (3, 8)), (kind, box(1, (2, 5), (3, 8))))


def test_contours_beside_the_slices_are_refused(read, like):
    with pytest.raises(ValueError, match=r"lies on no slice of the image \(slice 3\.00 to 3\.00 of 0 to 2\)"):
        read(box(3, (2, 5), (3, 8)), onto=like[:, :, :3])
    with pytest.raises(ValueError, match=r"lies on no slice of the image \(slice 1\.50 to 1\.50"):
        read(box(1.5, (2, 5), (3, 8)))


def test_a_contour_a_little_off_its_slice_is_bound(read):
    np.testing.assert_array_equal(read(box(1.44, (2, 5), (3, 8))), filled((1, (2, 5), (3, 8))))


def test_a_contour_across_slices_is_refused(read):
    slanted = box(1, (2, 12), (3, 12))
    slanted[:2, 2] += 4.0
    with pytest.raises(ValueError, match=r"lies on no slice of the image \(slice 1\.00 to 1\.80"):
        read(slanted)


def test_contours_of_a_finer_series_are_refused(read):
    with pytest.raises(
        ValueError, match=r"different planes \(\+0\.00 and \+0\.30 slices off\) that all fall on slice 1"
    ):
        read(box(1, (2, 5), (3, 8)), box(1.3, (2, 5), (3, 8)))


def test_contours_with_broken_points_are_refused(read):
    with pytest.raises(ValueError, match="has 11 numbers instead of three a point"):
        read(np.ravel(box(1, (2, 5), (3, 8)))[:11])


@pytest.mark.parametrize("orientation", [(-1, 0, 0, 0, 1, 0), (-1, 0, 0, 0, -1, 0), (0.96, 0.28, 0, -0.28, 0.96, 0)])
def test_contours_follow_the_images_own_orientation(tmp_path, orientation):
    write_series(tmp_path / "turned", body_hu(*SHAPE), SPACING_MM, orientation=orientation)
    like = read_image(tmp_path / "turned")
    positions_mm = plane_positions(SHAPE[0], SPACING_MM, orientation)
    contour = box(1, (1.6, 5.4), (2.6, 8.4), positions_mm, orientation)
    path = write_rtstruct(tmp_path / "rtstruct.dcm", {"Muscle": [contour]})
    mask = sitk.GetArrayFromImage(read_mask(path, like))
    upward = np.cross(orientation[:3], orientation[3:])[2] > 0
    np.testing.assert_array_equal(mask, filled((1 if upward else 2, (2, 6), (3, 9))))


def test_contours_of_a_tilted_series_go_to_their_own_slices(tmp_path):
    write_series(tmp_path / "tilted", body_hu(*SHAPE), SPACING_MM, tilt_degrees=20)
    positions_mm = plane_positions(SHAPE[0], SPACING_MM, tilt_degrees=20)
    contours = [box(k, (2, 5), (3, 8), positions_mm) for k in range(4)]
    path = write_rtstruct(tmp_path / "rtstruct.dcm", {"Muscle": contours})
    mask = sitk.GetArrayFromImage(read_mask(path, read_image(tmp_path / "tilted")))
    np.testing.assert_array_equal(mask, filled(*((k, (2, 5), (3, 8)) for k in range(4))))


def test_contours_fit_an_image_stored_with_another_slice_axis(tmp_path, like):
    path = write_rtstruct(tmp_path / "rtstruct.dcm", {"Muscle": [box(1, (2, 5), (3, 8))]})
    sagittal = sitk.PermuteAxes(like, [1, 2, 0])
    mask = sitk.PermuteAxes(read_mask(path, sagittal), [2, 0, 1])
    np.testing.assert_array_equal(sitk.GetArrayFromImage(mask), filled((1, (2, 5), (3, 8))))


def test_regions_are_chosen_by_number_or_name(tmp_path, like):
    rois = {"Psoas": [box(0, (2, 5), (3, 8))], "BODY": [box(1, (0, 16), (0, 14))], "Nothing": []}
    path = write_rtstruct(tmp_path / "rtstruct.dcm", rois)
    for label, expected in {"psoas": filled((0, (2, 5), (3, 8))), 2: filled((1, (0, 16), (0, 14)))}.items():
        np.testing.assert_array_equal(sitk.GetArrayFromImage(read_mask(path, like, label)), expected)
    assert sitk.GetArrayFromImage(read_mask(path, like, ["Psoas", "body"])).sum() == 15 + 16 * 14
    assert not sitk.GetArrayFromImage(read_mask(path, like, "nothing")).any()
    with pytest.raises(ValueError, match=r"holds 3 labels: 1 \(Psoas\), 2 \(BODY\), 3 \(Nothing\)"):
        read_mask(path, like)
    with pytest.raises(ValueError, match=r"no label 'fat'"):
        read_mask(path, like, "fat")


def test_where_it_was_drawn_is_compared_where_it_is_known(tmp_path, like, caplog):
    path = write_rtstruct(tmp_path / "rtstruct.dcm", {"Muscle": [box(0, (2, 5), (3, 8))]})
    assert read_mask(path, like) is not None
    assert "another series of the same frame of reference" in caplog.text
    path = write_rtstruct(tmp_path / "rtstruct.dcm", {"Muscle": [box(0, (2, 5), (3, 8))]}, frame_uid="1.9")
    with pytest.raises(ValueError, match=r"frame of reference 1\.9 and the image in 1\.2\.3"):
        read_mask(path, like)


def test_a_file_cut_short_anywhere_is_refused(tmp_path, like):
    contours = [box(k, (2, 5), (3, 8)) for k in range(4)]
    whole = write_rtstruct(tmp_path / "rtstruct.dcm", {"Muscle": contours}).read_bytes()
    for kept in range(200, len(whole) - 1, 41):
        (tmp_path / "cut.dcm").write_bytes(whole[:kept])
        with pytest.raises(OSError, match=r"cut\.dcm"):
            read_mask(tmp_path / "cut.dcm", like)


def test_a_real_structure_set_equals_the_published_mask_of_its_contours(real_ct):
    like = read_image(real_ct / "thigh_rtstruct" / "series")
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(real_ct / "thigh_rtstruct" / "CT_mask.nii.gz")))
    mask = sitk.GetArrayFromImage(read_mask(real_ct / "thigh_rtstruct" / "rtstruct.dcm", like, "gtv_mass_ct"))
    np.testing.assert_array_equal(mask, expected)
