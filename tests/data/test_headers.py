import re
import struct
import warnings

import pydicom
import pytest
from dicom_files import body_hu, edit, write_series
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, JPEGLSLossless, MRImageStorage

from mskjax.data.dicom import read_series
from mskjax.data.headers import why_no_slice
from mskjax.data.reading import read_image


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"])
def test_files_without_preamble_are_read(tmp_path, syntax):
    image_hu = body_hu(3)
    for path in write_series(tmp_path, image_hu, transfer_syntax=syntax, suffix=""):
        content = path.read_bytes()
        (meta_length,) = struct.unpack("<I", content[140:144])
        path.write_bytes(content[144 + meta_length :])
    assert len(read_series(tmp_path)) == 3
    assert read_image(tmp_path).GetPixel(4, 5, 2) == image_hu[2, 5, 4]


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"Modality": "RTDOSE", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.2"}, "RTDOSE object"),
        ({"Modality": "PT", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.128"}, "PT object"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "Secondary Capture Image Storage object"),
        ({"ImageType": ("ORIGINAL", "PRIMARY", "LOCALIZER", "CT_SOM5 TOP")}, "localizer"),
        ({"ImageType": ("DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 MIP")}, "intensity projection"),
        ({"ImageType": ("DERIVED", "SECONDARY", "DOSE_INFO")}, "dose page"),
        ({"ImageType": ("DERIVED", "SECONDARY", "SCREEN SAVE")}, "screen page"),
        ({"ImageType": ("DERIVED", "SECONDARY"), "ImagePositionPatient": None}, "screen page"),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, "colour picture"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "colour picture"),
    ],
)
def test_what_is_no_ct_slice_is_left_out_and_alone_is_refused(tmp_path, attributes, reason, caplog):
    write_series(tmp_path / "ct", body_hu(3))
    [other] = write_series(tmp_path / "other", body_hu(1), stem="other")
    edit(other, **attributes)
    with caplog.at_level("INFO"):
        assert len(read_series(tmp_path)) == 3
    assert f"1 x {reason} (other000.dcm)" in caplog.text
    with pytest.raises(ValueError, match=rf"other has no CT slice: 1 x {reason} \(other000\.dcm\)"):
        read_series(tmp_path / "other")
    with pytest.raises(ValueError, match=rf"other000\.dcm is no CT slice \({reason}\)"):
        read_series(other)


def test_derived_slices_in_hu_are_read(tmp_path):
    write_series(tmp_path, body_hu(3), ImageType=("DERIVED", "SECONDARY", "PROCESSED"))
    assert len(read_series(tmp_path)) == 3


@pytest.mark.parametrize(
    ("modality", "storage", "reason"),
    [
        ("CT", CTImageStorage, None),
        ("CT", "", None),
        (None, CTImageStorage, None),
        ("", EnhancedCTImageStorage, None),
        ("MR", CTImageStorage, "MR object"),
        ("CT", MRImageStorage, "MR Image Storage object"),
        (None, MRImageStorage, "MR Image Storage object"),
        (None, "", "object of unknown kind"),
    ],
)
def test_only_a_ct_class_stands_for_a_missing_modality(modality, storage, reason):
    header = pydicom.Dataset()
    header.file_meta = FileMetaDataset()
    header.Rows = header.Columns = 4
    header.PhotometricInterpretation = "MONOCHROME2"
    if modality is not None:
        header.Modality = modality
    header.SOPClassUID = storage
    assert why_no_slice(header) == reason


@pytest.mark.filterwarnings("ignore:The value length:UserWarning")
def test_texts_that_are_too_long_are_read_without_a_warning(tmp_path, caplog):
    write_series(tmp_path, body_hu(2), PatientID="9" * 70, StudyInstanceUID="1." * 40 + "1")
    caplog.clear()
    with warnings.catch_warnings(action="error"):
        for header in read_series(tmp_path):
            assert header.PatientID == "9" * 70
            assert len(header.StudyInstanceUID) == 81
    assert not caplog.records


@pytest.mark.parametrize("suffix", ["", ".dcm"])
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", JPEGLSLossless])
def test_a_file_cut_short_anywhere_is_refused_and_never_left_out(tmp_path, syntax, suffix):
    cut = write_series(tmp_path, body_hu(3), transfer_syntax=syntax, suffix=suffix)[2]
    content = cut.read_bytes()
    # At 511 or 513 bytes Modality is "C". A compressed file without its last 8 bytes, a delimiter, has all its pixels.
    for length in [*range(0, 600, 13), 100, 131, 132, 509, 511, 513, *range(600, len(content) - 8, 29)]:
        cut.write_bytes(content[:length])
        with pytest.raises((ValueError, OSError), match=re.escape(cut.name)):
            read_image(tmp_path)


@pytest.mark.parametrize("stem", ["slice", "1.2.840.113619.2.55."])
@pytest.mark.parametrize("left", [b"", bytes(100), bytes(4000), b"\x08\0\5\0"])
def test_what_a_broken_copy_left_of_a_slice_is_refused(tmp_path, stem, left):
    end = write_series(tmp_path, body_hu(3), suffix="", stem=stem)[2]
    end.write_bytes(left)
    with pytest.raises(OSError, match=rf"{re.escape(end.name)} lies among CT slices.* no DICOM \({len(left)} bytes\)"):
        read_image(tmp_path)


@pytest.mark.parametrize("suffix", ["", ".dcm"])
def test_files_of_other_kinds_among_slices_are_left_out(tmp_path, suffix):
    write_series(tmp_path, body_hu(3), suffix=suffix)
    for name in ("Thumbs.db", "cases.json", "cases.csv", "report.pdf", "key.png", ".DS_Store", "run.exe"):
        (tmp_path / name).write_bytes(bytes(50))
    for name in ("README.txt", "LICENSE", "VERSION"):
        (tmp_path / name).write_text("1.0")
    (tmp_path / "viewer").write_bytes(b"\x7fELF" + bytes(500))
    assert len(read_series(tmp_path)) == 3
