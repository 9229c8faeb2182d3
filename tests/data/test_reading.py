import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import AXIAL, PATIENT, body_hu, edit, plane_positions, write_enhanced, write_series
from pydicom.uid import JPEGLSLossless, RLELossless
from scipy.spatial.transform import Rotation

from mskjax.data import read_image
from mskjax.data.orientation import require_untilted, slice_positions_mm, tilt_degrees, to_axial

NATIVE = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"]
COMPRESSED = [RLELossless, JPEGLSLossless]


def values(image):
    return sitk.GetArrayFromImage(image)


@pytest.mark.parametrize("syntax", [*NATIVE, *COMPRESSED])
@pytest.mark.parametrize("signed", [False, True])
def test_a_series_is_read_exactly(tmp_path, syntax, signed):
    image_hu = body_hu(4)
    write_series(tmp_path, image_hu, (5.0, 0.7, 0.9), transfer_syntax=syntax, signed=signed)
    image = read_image(tmp_path)
    np.testing.assert_array_equal(values(image), image_hu)
    assert image.GetPixelID() == sitk.sitkInt16
    assert image.GetSpacing() == (0.9, 0.7, 5.0)
    assert image.GetOrigin() == (-100, -120, -300)
    assert image.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)


@pytest.mark.parametrize("compressor", ["JPEG2000", "JPEG"])
def test_jpeg_is_decoded_even_where_the_class_is_unknown(tmp_path, compressor):
    image_hu = body_hu(2, 40, 50)
    for path, hu, position in zip(write_series(tmp_path, image_hu), image_hu, plane_positions(2), strict=True):
        stored = sitk.Cast(sitk.GetImageFromArray(hu[None] + 1024), sitk.sitkUInt16)
        stored.SetMetaData("0008|0060", "CT")
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetCompressor(compressor)
        writer.UseCompressionOn()
        writer.SetFileName(str(path))
        writer.Execute(stored)
        header = {"ImagePositionPatient": tuple(position), "ImageOrientationPatient": AXIAL, "PixelSpacing": (1, 1)}
        rescale = {"RescaleSlope": 1, "RescaleIntercept": -1024, "RescaleType": "HU"}
        edit(path, SOPClassUID="", SeriesInstanceUID="1.2.3", **header, **rescale)
    np.testing.assert_array_equal(values(read_image(tmp_path)), image_hu)


def test_oblique_slices_keep_their_own_directions(tmp_path):
    turn = Rotation.from_euler("xz", [20, 30], degrees=True).as_matrix()
    write_series(tmp_path, body_hu(3), orientation=turn[:, :2].T.ravel())
    image = read_image(tmp_path)
    np.testing.assert_allclose(np.array(image.GetDirection()).reshape(3, 3), turn, atol=1e-8)
    assert image.GetSpacing()[2] == pytest.approx(5)
    assert tilt_degrees(image) == 0


def test_a_normal_towards_the_feet_gives_the_same_view(tmp_path):
    image_hu = body_hu(3)
    # Rows run from posterior to anterior and slices are written from head to feet.
    write_series(tmp_path, image_hu, orientation=(1, 0, 0, 0, -1, 0))
    image = read_image(tmp_path)
    np.testing.assert_array_equal(values(image), image_hu[::-1])
    assert image.GetDirection() == (1, 0, 0, 0, -1, 0, 0, 0, 1)
    np.testing.assert_array_equal(to_axial(image)[0], image_hu[::-1, ::-1])


def test_one_slice_has_depth_1_and_its_thickness(tmp_path):
    image_hu = body_hu(3)
    paths = write_series(tmp_path, image_hu)
    image = read_image(paths[1])
    np.testing.assert_array_equal(values(image), image_hu[1:2])
    assert image.GetSpacing()[2] == pytest.approx(7.7)
    assert image.GetOrigin() == (-100, -120, -295)
    edit(paths[1], SliceThickness=None)
    assert read_image(paths[1]).GetSpacing()[2] == 1


@pytest.mark.parametrize("syntax", [NATIVE[1], *COMPRESSED])
def test_an_enhanced_file_has_frames_with_their_own_position_and_rescale(tmp_path, syntax):
    image_hu = body_hu(4) // 2 * 2
    order = [2, 0, 3, 1]
    path = write_enhanced(
        tmp_path / "enhanced.dcm",
        image_hu[order],
        (2.5, 0.7, 0.9),
        positions_mm=plane_positions(4, (2.5, 0.7, 0.9))[order],
        slopes=[1, 2, 1, 2],
        intercepts=[-1024, -1024, -1000, -2048],
        transfer_syntax=syntax,
    )
    for image in (read_image(path), read_image(tmp_path)):
        np.testing.assert_array_equal(values(image), image_hu)
        assert image.GetSpacing() == (0.9, 0.7, 2.5)


@pytest.mark.parametrize("tilt", [-12.0, 20.0])
def test_a_tilted_series_keeps_every_position_and_refuses_3d_work(tmp_path, tilt, caplog):
    image_hu = body_hu(4)
    positions_mm = plane_positions(4, tilt_degrees=tilt)
    write_series(tmp_path, image_hu, (5.0, 0.7, 0.9), tilt_degrees=tilt)
    image = read_image(tmp_path)
    assert tilt_degrees(image) == pytest.approx(abs(tilt), abs=1e-4)
    np.testing.assert_allclose(slice_positions_mm(image), positions_mm, atol=1e-6)
    assert image.GetSpacing() == pytest.approx((0.9, 0.7, 5.0))
    np.testing.assert_array_equal(values(image), image_hu)
    assert caplog.text.count(f"is tilted by {abs(tilt):.1f} degrees") == 1
    with pytest.raises(ValueError, match="3-D training needs a straight stack"):
        require_untilted(image, "3-D training")


def test_positions_rounded_to_a_tenth_make_no_tilt(tmp_path, caplog):
    turn = Rotation.from_euler("x", 30, degrees=True).as_matrix()
    orientation = turn[:, :2].T.ravel()
    positions_mm = np.round(plane_positions(40, (1.25, 1, 1), orientation), 1)
    write_series(tmp_path, body_hu(40), orientation=orientation, positions_mm=positions_mm)
    image = read_image(tmp_path)
    assert tilt_degrees(image) == 0
    assert "tilted" not in caplog.text
    assert image.GetSpacing()[2] == pytest.approx(1.25, abs=0.01)


def test_two_thin_slices_with_a_rounded_position_make_no_tilt(tmp_path):
    write_series(tmp_path, body_hu(2), positions_mm=np.array([[0, 0, 0], [0.1, 0, 1.0]]))
    assert tilt_degrees(read_image(tmp_path)) == 0


def test_no_patient_data_in_the_image_or_the_log(tmp_path, caplog):
    write_series(tmp_path, body_hu(3), tilt_degrees=10)
    (tmp_path / "notes").write_text("text")
    with caplog.at_level("DEBUG"):
        image = read_image(tmp_path)
    told = caplog.text + str([image.GetMetaData(key) for key in image.GetMetaDataKeys()])
    assert not any(value in told for value in PATIENT.values())


def test_dicom_and_nifti_of_the_thigh_give_the_same_voxels(real_ct):
    dicom = read_image(real_ct / "thigh_rtstruct" / "series")
    nifti = read_image(real_ct / "thigh_rtstruct" / "CT_image.nii.gz")
    np.testing.assert_array_equal(values(dicom), values(nifti))
    np.testing.assert_allclose(dicom.GetSpacing(), nifti.GetSpacing(), rtol=1e-6)
    np.testing.assert_allclose(dicom.GetOrigin(), nifti.GetOrigin(), atol=1e-3)


def test_jpeg_2000_series_is_spaced_by_positions_and_meets_its_labels(real_ct):
    image = read_image(real_ct / "dicom_j2k" / "series")
    assert image.GetSpacing() == pytest.approx((0.9765625, 0.9765625, 2.0))
    labels, _ = to_axial(sitk.ReadImage(real_ct / "dicom_j2k" / "labels.nii.gz"))
    image_hu, _ = to_axial(image)
    # The erector spinae of the labels are muscle in the image, in the same view: 86 left, 87 right.
    assert 20 < image_hu[np.isin(labels, (86, 87))].mean() < 80


def test_the_padding_of_the_portal_venous_series_is_air(real_ct):
    image = read_image(real_ct / "abdomen_portal_venous")
    assert image.GetSize() == (512, 512, 51)
    assert image.GetSpacing() == pytest.approx((0.804688, 0.804688, 5.0))
    assert values(image)[0, 0, 0] == values(image).min() == -1024
