import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_files import body_hu, write_series
from pydicom.uid import JPEGLSLossless, RLELossless

from mskjax.data import read_image


def values(image):
    return sitk.GetArrayFromImage(image)


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
        file.add_new(name, "SS" if value < 0 else "US", value)
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


def test_a_longer_run_in_an_rle_stream_is_refused(tmp_path):
    [path] = write_series(tmp_path, np.zeros((1, 12, 10)), transfer_syntax=RLELossless)
    content = path.read_bytes()
    # A row of the high byte of 1024, ten times 4, has the header 257 - 10; 246 makes it eleven times.
    assert b"\xf7\x04" in content
    path.write_bytes(content.replace(b"\xf7\x04", b"\xf6\x04", 1))
    with pytest.raises(OSError, match=r"slice000\.dcm has pixels \(RLE Lossless\) that are cut short or cannot be"):
        read_image(path)


def test_pixels_that_no_library_decodes_are_refused_by_name(tmp_path):
    [path] = write_series(tmp_path, body_hu(1), transfer_syntax=JPEGLSLossless)
    path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.4.80", b"1.2.840.10008.1.2.4.99"))
    with pytest.raises(OSError, match=r"slice000\.dcm has pixels \(.*4\.99\) that are cut short or cannot be decoded"):
        read_image(path)


def test_dicom_that_is_not_in_hu_is_refused(tmp_path):
    write_series(tmp_path, body_hu(2) + 1100)
    with pytest.raises(ValueError, match="which cannot be HU"):
        read_image(tmp_path)


def test_padding_does_not_hide_values_that_are_not_in_hu(tmp_path):
    stored = body_hu(2) + 1024
    stored[:, :, 0] = -2000
    write_series(tmp_path, stored, signed=True, intercepts=0, PixelPaddingValue=-2000)
    with pytest.raises(ValueError, match=r"holds values from 24 to \d+, which cannot be HU .*padding does not count"):
        read_image(tmp_path)
