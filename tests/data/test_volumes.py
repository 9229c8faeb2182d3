import gzip
import struct

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import body_hu
from scipy.spatial.transform import Rotation

from mskjax.data import read_image, read_mask
from mskjax.data.orientation import to_axial
from mskjax.data.volumes import read_volume


def values(image):
    return sitk.GetArrayFromImage(image)


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


@pytest.mark.parametrize("border", [-1024, -1000, -2000])
def test_a_border_does_not_hide_a_volume_that_is_not_in_hu(tmp_path, border):
    image = body_hu(4) + 1024
    image[:, :, 0] = border
    path = write_volume(tmp_path / "ct.nii.gz", image)
    with pytest.raises(ValueError, match=r"ct\.nii\.gz holds values from 24 to \d+, which cannot be HU"):
        read_image(path)


@pytest.mark.parametrize(("soft", "refused"), [(1, True), (2, False)])
def test_values_almost_without_soft_tissue_are_refused(tmp_path, soft, refused):
    image = np.repeat(np.array([-1000, -500, 900, 40], np.int16), [1, 1000, 999 - soft, soft])
    path = write_volume(tmp_path / "ct.nii.gz", image.reshape(20, 10, -1))
    if refused:
        with pytest.raises(ValueError, match="1 of 1999 lie within 200 of water"):
            read_image(path)
    else:
        assert read_image(path).GetSize() == (10, 10, 20)


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


@pytest.mark.parametrize("name", ["mask.nii.gz", "mask.nrrd"])
def test_a_mask_with_values_that_are_not_finite_is_told_what_to_do(tmp_path, name):
    image_hu = body_hu(2)
    like = read_image(write_volume(tmp_path / "ct.nii", image_hu))
    path = write_volume(tmp_path / name, np.where(image_hu > 0, np.nan, 1))
    with pytest.raises(ValueError, match="values that are not finite; set them to -1024 in CT, to 0 in a mask"):
        read_mask(path, like)


def test_missing_volumes_and_a_series_name_for_a_volume_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"ct\.nii\.gz is no file; give"):
        read_image(tmp_path / "ct.nii.gz")
    with pytest.raises(ValueError, match="holds one image and no DICOM series; leave series='2' out"):
        read_image(write_volume(tmp_path / "ct.nii.gz", body_hu(2)), series="2")


@pytest.mark.parametrize("name", ["ct.nii.gz", "ct_t12_l2.nii.gz"])
def test_real_nifti_is_read(real_ct, name):
    image = read_image(real_ct / "abdomen_3mm" / name)
    assert image.GetSpacing() == (3, 3, 3)
    expected = sitk.GetArrayFromImage(sitk.ReadImage(real_ct / "abdomen_3mm" / name))
    np.testing.assert_array_equal(values(image), np.maximum(expected, -1024))
