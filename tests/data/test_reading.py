import gzip
import struct

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_files import AXIAL, PATIENT, body_hu, edit, plane_positions, write_enhanced, write_series
from pydicom.uid import JPEGLSLossless, RLELossless
from scipy.spatial.transform import Rotation

from mskjax.data import read_image
from mskjax.data.orientation import require_untilted, slice_positions_mm, tilt_degrees, to_axial
from mskjax.data.volumes import read_volume

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


def test_every_slice_has_its_own_rescale(tmp_path):
    image_hu = body_hu(4) // 4 * 4
    write_series(tmp_path, image_hu, slopes=[1, 2, 4, 0.5], intercepts=[-1024, -1000, -2048, 0], signed=True)
    np.testing.assert_array_equal(values(read_image(tmp_path)), image_hu)


def test_fractions_of_hu_are_rounded(tmp_path):
    write_series(tmp_path, np.full((2, 4, 4), -996.0) + np.arange(4) * 500, slopes=0.3, intercepts=-1024)
    # Stored 93, 1760, 3427, 5093, so that 0.3 x - 1024 is -996.1, -496, 4.1 and 503.9.
    assert values(read_image(tmp_path))[0, 0].tolist() == [-996, -496, 4, 504]


@pytest.mark.parametrize(
    ("attributes", "padded"),
    [
        ({}, []),
        ({"PixelPaddingValue": -2000}, [-2000]),
        ({"PixelPaddingValue": 63536}, [-2000]),
        ({"PixelPaddingValue": 4000}, [4000]),
        ({"PixelPaddingValue": 4000, "PixelPaddingRangeLimit": 4100}, [4000, 4050, 4100]),
        ({"PixelPaddingValue": 4100, "PixelPaddingRangeLimit": 4000}, [4000, 4050, 4100]),
    ],
)
@pytest.mark.filterwarnings("ignore:Value.*exceeds:UserWarning")
def test_padding_and_all_below_minus_1024_become_minus_1024(tmp_path, attributes, padded):
    image_hu = body_hu(2)
    odd = [-3024, -2000, -1025, -1024, -1023, 3999, 4000, 4050, 4100]
    image_hu[:, 5, : len(odd)] = odd
    for path in write_series(tmp_path, image_hu, signed=True, intercepts=0):
        write_padding(path, attributes)
    expected = [-1024 if hu in padded or hu < -1024 else hu for hu in odd]
    assert values(read_image(tmp_path))[1, 5, : len(odd)].tolist() == expected


def write_padding(path, attributes):
    """Sets padding elements of either sign, in the type that holds it, as careless writers do."""
    file = pydicom.dcmread(path)
    for name, value in attributes.items():
        file.add_new(pydicom.datadict.tag_for_keyword(name), "SS" if value < 0 else "US", value)
    file.save_as(path)


def test_a_negative_padding_value_of_unsigned_pixels_is_found(tmp_path):
    image_hu = body_hu(2).astype(np.int32)
    image_hu[:, 0, 0] = 65535 - 1024
    for path in write_series(tmp_path, image_hu):
        write_padding(path, {"PixelPaddingValue": -1})
    assert values(read_image(tmp_path))[:, 0, 0].tolist() == [-1024, -1024]


def test_padding_that_tissue_could_have_is_refused(tmp_path):
    image_hu = body_hu(2)
    write_series(tmp_path, image_hu, PixelPaddingValue=1024 + int(image_hu[0, 5, 5]))
    with pytest.raises(ValueError, match=rf"pads with {image_hu[0, 5, 5]} to {image_hu[0, 5, 5]} HU, which tissue has"):
        read_image(tmp_path)


def test_values_beyond_int16_are_refused_not_clipped(tmp_path):
    image_hu = body_hu(2).astype(np.int32)
    image_hu[1, 5, 5] = 40000
    write_series(tmp_path, image_hu)
    with pytest.raises(ValueError, match=r"slice007\.dcm holds values up to 40000, beyond the 32767 HU"):
        read_image(tmp_path)


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


def test_pixels_that_no_library_decodes_are_refused_by_name(tmp_path):
    [path] = write_series(tmp_path, body_hu(1), transfer_syntax=JPEGLSLossless)
    path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.4.80", b"1.2.840.10008.1.2.4.99"))
    with pytest.raises(OSError, match=r"slice000\.dcm has pixels \(.*4\.99\) that are cut short or cannot be decoded"):
        read_image(path)


def write_volume(path, image_hu, spacing=(0.9, 0.7, 5.0), direction=(-1, 0, 0, 0, -1, 0, 0, 0, 1)):
    image = sitk.GetImageFromArray(image_hu)
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    image.SetOrigin((20, 30, -40))
    sitk.WriteImage(image, path)
    return path


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz", "ct.nrrd", "ct.nhdr", "CT.NII.GZ"])
@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
def test_nifti_and_nrrd_are_read_on_their_own_grid(tmp_path, name, dtype):
    image_hu = body_hu(4)
    path = write_volume(tmp_path / name.lower(), image_hu.astype(dtype)).rename(tmp_path / name)
    image = read_image(path)
    np.testing.assert_array_equal(values(image), image_hu)
    assert image.GetPixelID() == sitk.sitkInt16
    assert image.GetSpacing() == pytest.approx((0.9, 0.7, 5))
    assert image.GetDirection() == (-1, 0, 0, 0, -1, 0, 0, 0, 1)
    np.testing.assert_array_equal(to_axial(image)[0], image_hu[:, ::-1, ::-1])
    assert not read_volume(path).GetMetaDataKeys()
    assert not image.GetMetaDataKeys()


def test_a_volume_of_one_slice_stays_3d(tmp_path):
    for name in ("ct.nii.gz", "ct.nrrd"):
        assert read_image(write_volume(tmp_path / name, body_hu(1))).GetSize() == (10, 12, 1)


def test_float_hu_are_rounded_and_low_ones_are_air(tmp_path):
    image_hu = body_hu(2).astype(np.float32)
    image_hu[0, 5, :5] = [-3024, -1024.4, 49.4, 49.6, -0.4]
    image = read_image(write_volume(tmp_path / "ct.nii.gz", image_hu))
    assert values(image)[0, 5, :5].tolist() == [-1024, -1024, 49, 50, 0]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.linspace(0, 1, 60, dtype=np.float32), "holds values from 0 to 1, which cannot be HU"),
        (np.linspace(-1, 1, 60, dtype=np.float32), "holds values from -1 to 1, which cannot be HU"),
        (np.linspace(0, 255, 60, dtype=np.int16), "holds values from 0 to 255, which cannot be HU"),
        (np.linspace(0, 4095, 60, dtype=np.uint16), "holds values from 0 to 4095, which cannot be HU"),
        (np.full(60, -1000, np.int16), "holds values from -1000 to -1000, which cannot be HU"),
        (np.linspace(-128, 127, 60).astype(np.int8), "stores 8-bit values"),
        (np.linspace(0, 255, 60, dtype=np.uint8), "stores 8-bit values"),
        (np.linspace(-1000, 40000, 60, dtype=np.int32), "holds values up to 40000, beyond the 32767 HU"),
        (np.append(np.linspace(-1000, 1000, 59), np.nan), "holds values that are not finite"),
        (np.append(np.linspace(-1000, 1000, 59), -np.inf), "holds values that are not finite"),
    ],
)
def test_a_volume_that_is_not_in_hu_is_refused(tmp_path, image, message):
    path = write_volume(tmp_path / "ct.nii.gz", image.reshape(3, 4, 5))
    with pytest.raises(ValueError, match=rf"ct\.nii\.gz {message}"):
        read_image(path)


def test_dicom_that_is_not_in_hu_is_refused(tmp_path):
    write_series(tmp_path, body_hu(2) + 1100)
    with pytest.raises(ValueError, match="which cannot be HU"):
        read_image(tmp_path)


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz", "ct.nrrd"])
@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.999])
def test_a_volume_cut_short_is_refused(tmp_path, name, kept):
    path = write_volume(tmp_path / name, body_hu(20, 60, 70))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(OSError, match=rf"{name} is (damaged or )?cut short"):
        read_image(path)


def test_a_damaged_gzip_stream_is_refused(tmp_path):
    path = write_volume(tmp_path / "ct.nii.gz", body_hu(20, 60, 70))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(OSError, match=r"ct\.nii\.gz is damaged"):
        read_image(path)


# Byte offsets of the NIfTI-1 header: nifti1.h of the NIfTI Data Format Working Group.
QFORM_CODE, SFORM_CODE, SROW_X, SROW_Y, XYZT_UNITS, SCL_SLOPE = 252, 254, 280, 296, 123, 112


def write_edited(path, *edits, **volume):
    """A NIfTI file whose header has other bytes at some offsets."""
    plain = write_volume(path.parent / "plain.nii", body_hu(4), **volume)
    content = bytearray(plain.read_bytes())
    plain.unlink()
    for offset, form, *numbers in edits:
        struct.pack_into(f"<{form}", content, offset, *numbers)
    path.write_bytes(gzip.compress(bytes(content)))
    return path


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ([(QFORM_CODE, "hh", 0, 0)], "has neither sform nor qform"),
        ([(QFORM_CODE, "h", 0), (SROW_Y, "ffff", 0, 0.7, 1.2, 0)], "has a sheared or empty geometry"),
        ([(SROW_Y, "ffff", 0, 0.7, 1.2, -30)], "has a sform that places voxels up to 3.6 mm from where they are read"),
        ([(SROW_X, "ffff", -0.9, 0, 0, -20)], "has a .form that places voxels up to 16.2 mm"),
        ([(SROW_X, "ffff", 0.9, 0, 0, -25)], "has a .form that places voxels up to 5.0 mm"),
        ([(XYZT_UNITS, "b", 1)], r"does not measure in mm \(xyzt_units 1\)"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_nifti_of_doubtful_geometry_is_refused(tmp_path, edits, message):
    path = write_edited(tmp_path / "ct.nii.gz", *edits)
    with pytest.raises(ValueError, match=rf"ct\.nii\.gz {message}"):
        read_image(path)


@pytest.mark.parametrize("codes", [(1, 1), (0, 2), (1, 0), (2, 3)])
@pytest.mark.parametrize("turn", [(0, 0, 0), (90, 0, 0), (10, 20, -30), (0, 180, 5)])
@pytest.mark.parametrize("handed", [1, -1])
def test_either_form_states_the_geometry(tmp_path, codes, turn, handed):
    direction = Rotation.from_euler("xyz", turn, degrees=True).as_matrix() * [1, 1, handed]
    path = write_edited(tmp_path / "ct.nii.gz", (QFORM_CODE, "hh", *codes), direction=direction.ravel().tolist())
    image = read_image(path)
    np.testing.assert_allclose(np.array(image.GetDirection()).reshape(3, 3), direction, atol=1e-5)
    np.testing.assert_allclose(image.GetOrigin(), (20, 30, -40), atol=1e-4)


def test_stored_slope_and_intercept_of_nifti_are_applied(tmp_path):
    path = write_edited(tmp_path / "ct.nii.gz", (SCL_SLOPE, "ff", 2, 10))
    np.testing.assert_array_equal(values(read_image(path)), np.maximum(body_hu(4) * 2 + 10, -1024))


def test_volumes_that_are_not_one_3d_image_are_refused(tmp_path):
    image = sitk.GetImageFromArray(body_hu(4))
    sitk.WriteImage(sitk.JoinSeries([image, image]), tmp_path / "4d.nii.gz")
    sitk.WriteImage(image[:, :, 0], tmp_path / "2d.nrrd")
    sitk.WriteImage(sitk.Compose(image, image), tmp_path / "vector.nrrd")
    for name, shape in (
        ("4d.nii.gz", "10 x 12 x 4 x 2"),
        ("2d.nrrd", "10 x 12"),
        ("vector.nrrd", "10 x 12 x 4 with 2"),
    ):
        with pytest.raises(ValueError, match=rf"{name} has the shape {shape}.*give one volume"):
            read_image(tmp_path / name)


def test_nrrd_without_a_space_is_refused(tmp_path):
    path = write_volume(tmp_path / "ct.nrrd", body_hu(2))
    header, content = path.read_bytes().split(b"\n\n", 1)
    lines = [line for line in header.split(b"\n") if not line.startswith(b"space")]
    path.write_bytes(b"\n".join(lines) + b"\n\n" + content)
    with pytest.raises(ValueError, match=r"ct\.nrrd does not say where its axes point"):
        read_image(path)


def test_missing_volumes_and_a_series_name_for_a_volume_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"ct\.nii\.gz is no file; give"):
        read_image(tmp_path / "ct.nii.gz")
    with pytest.raises(ValueError, match="holds one image and no DICOM series; leave series='2' out"):
        read_image(write_volume(tmp_path / "ct.nii.gz", body_hu(2)), series="2")


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


@pytest.mark.parametrize("name", ["ct.nii.gz", "ct_t12_l2.nii.gz"])
def test_real_nifti_is_read(real_ct, name):
    image = read_image(real_ct / "abdomen_3mm" / name)
    assert image.GetSpacing() == (3, 3, 3)
    expected = sitk.GetArrayFromImage(sitk.ReadImage(real_ct / "abdomen_3mm" / name))
    np.testing.assert_array_equal(values(image), np.maximum(expected, -1024))
