"""Masks written as images and as DICOM SEG read back the same, lie where their sources lie, and leak nothing."""

import copy

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_files import PATIENT, body_hu, plane_positions, write_enhanced, write_series
from pydicom.config import disable_value_validation
from pydicom.uid import generate_uid

from mskjax.data.dicom import read_series
from mskjax.data.masks import read_mask
from mskjax.data.reading import read_image
from mskjax.data.writing import write_mask, write_seg

SHAPE = (4, 11, 7)
SPACING_MM = (5.0, 0.9, 0.8)
MUSCLE = (np.random.default_rng(3).random(SHAPE) < 0.4).astype(np.uint8)
MUSCLE[1] = 0
OBLIQUE = tuple(np.array([[0.9, 0.3, 0.1], [-0.25, 0.95, 0.2]]).ravel())


def orthonormal(orientation) -> tuple:
    row, column = np.array(orientation, float).reshape(2, 3)
    row = row / np.linalg.norm(row)
    column = column - (column @ row) * row
    return (*row, *(column / np.linalg.norm(column)))


ORIENTATIONS = {
    "head first supine": (1, 0, 0, 0, 1, 0),
    "columns flipped": (-1, 0, 0, 0, 1, 0),
    "rows flipped": (1, 0, 0, 0, -1, 0),
    "prone": (-1, 0, 0, 0, -1, 0),
    "oblique": orthonormal(OBLIQUE),
}


def values(mask: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(mask)


def check_geometry(path, headers, mask):
    """By pydicom alone: each frame has the position, orientation, spacing and mask of the source slice it refers to."""
    seg = pydicom.dcmread(path)
    shared = seg.SharedFunctionalGroupsSequence[0]
    by_uid = {str(header.SOPInstanceUID): k for k, header in enumerate(headers)}
    bits = np.unpackbits(np.frombuffer(seg.PixelData, np.uint8), bitorder="little")
    size = mask[0].size
    found = []
    for n, frame in enumerate(seg.PerFrameFunctionalGroupsSequence):
        source = frame.DerivationImageSequence[0].SourceImageSequence[0]
        k = by_uid[str(source.ReferencedSOPInstanceUID)]
        found.append(k)
        assert list(frame.PlanePositionSequence[0].ImagePositionPatient) == list(headers[k].ImagePositionPatient)
        np.testing.assert_array_equal(bits[n * size : (n + 1) * size].reshape(mask[0].shape), mask[k])
    orientation = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    assert list(orientation) == list(headers[0].ImageOrientationPatient)
    assert list(shared.PixelMeasuresSequence[0].PixelSpacing) == list(headers[0].PixelSpacing)
    return sorted(found)


@pytest.mark.parametrize("tilt_degrees", [0, 17])
@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=ORIENTATIONS)
def test_a_seg_lies_where_its_sources_lie_and_reads_back(tmp_path, orientation, tilt_degrees):
    write_series(tmp_path / "series", body_hu(*SHAPE), SPACING_MM, orientation=orientation, tilt_degrees=tilt_degrees)
    headers = read_series(tmp_path / "series")
    write_seg(tmp_path / "mask.dcm", MUSCLE, headers)
    assert check_geometry(tmp_path / "mask.dcm", headers, MUSCLE) == [0, 2, 3]
    np.testing.assert_array_equal(values(read_mask(tmp_path / "mask.dcm", read_image(tmp_path / "series"))), MUSCLE)


def test_the_order_of_the_sources_does_not_matter(tmp_path):
    write_series(tmp_path / "series", body_hu(*SHAPE), SPACING_MM)
    headers = read_series(tmp_path / "series")
    write_seg(tmp_path / "mask.dcm", MUSCLE, headers[::-1])
    check_geometry(tmp_path / "mask.dcm", headers, MUSCLE)


def test_one_slice(tmp_path):
    path = write_series(tmp_path / "series", body_hu(*SHAPE), SPACING_MM)[2]
    headers = read_series(path)
    write_seg(tmp_path / "mask.dcm", MUSCLE[:1], headers)
    assert check_geometry(tmp_path / "mask.dcm", headers, MUSCLE[:1]) == [0]
    np.testing.assert_array_equal(values(read_mask(tmp_path / "mask.dcm", read_image(path))), MUSCLE[:1])


def test_an_empty_mask_keeps_all_its_frames(tmp_path):
    write_series(tmp_path / "series", body_hu(*SHAPE), SPACING_MM)
    headers = read_series(tmp_path / "series")
    write_seg(tmp_path / "mask.dcm", np.zeros_like(MUSCLE), headers)
    assert check_geometry(tmp_path / "mask.dcm", headers, np.zeros_like(MUSCLE)) == [0, 1, 2, 3]
    assert not values(read_mask(tmp_path / "mask.dcm", read_image(tmp_path / "series"))).any()


def test_an_enhanced_file_is_the_source_of_its_frames(tmp_path):
    order = [2, 0, 3, 1]  # frames need not be stored along the body
    positions_mm = plane_positions(4, SPACING_MM)[order]
    uids = {"StudyInstanceUID": generate_uid(), "FrameOfReferenceUID": generate_uid()}
    path = write_enhanced(tmp_path / "ct.dcm", body_hu(*SHAPE)[order], SPACING_MM, positions_mm=positions_mm, **uids)
    write_seg(tmp_path / "mask.dcm", MUSCLE, read_series(path))
    np.testing.assert_array_equal(values(read_mask(tmp_path / "mask.dcm", read_image(path))), MUSCLE)
    frames = pydicom.dcmread(tmp_path / "mask.dcm").PerFrameFunctionalGroupsSequence
    for frame in frames:
        number = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        np.testing.assert_allclose(position, positions_mm[number - 1], atol=1e-6)


@pytest.mark.parametrize(("algorithm", "kind"), [(None, "MANUAL"), ("FCN-ResNet101", "AUTOMATIC")])
def test_the_segment_says_what_it_is_and_who_drew_it(tmp_path, algorithm, kind):
    write_series(tmp_path / "series", body_hu(*SHAPE), SPACING_MM)
    write_seg(tmp_path / "mask.dcm", MUSCLE, read_series(tmp_path / "series"), algorithm)
    seg = pydicom.dcmread(tmp_path / "mask.dcm")
    segment = seg.SegmentSequence[0]
    assert (seg.SegmentationType, seg.Modality) == ("BINARY", "SEG")
    code = segment.SegmentedPropertyTypeCodeSequence[0]
    # SNOMED CT, in DICOM PS3.16.
    assert (code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning) == ("127954009", "SCT", "Skeletal muscle")
    assert segment.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "85756007"
    assert segment.SegmentAlgorithmType == kind
    assert segment.get("SegmentAlgorithmName") == algorithm


def test_the_seg_belongs_to_the_study_and_the_sources_stay_as_they_are(tmp_path):
    write_series(tmp_path / "series", body_hu(*SHAPE), SPACING_MM, StudyDescription="Ärger", PatientSex="F")
    headers = read_series(tmp_path / "series")
    before = copy.deepcopy(headers)
    write_seg(tmp_path / "mask.dcm", MUSCLE, headers)
    seg = pydicom.dcmread(tmp_path / "mask.dcm")
    assert {name: str(seg[name].value) for name in PATIENT} == PATIENT
    assert (seg.PatientSex, seg.StudyDescription) == ("F", "Ärger")
    for name in ("StudyInstanceUID", "FrameOfReferenceUID", "StudyDate"):
        assert seg[name].value == headers[0][name].value
    assert seg.SeriesInstanceUID != headers[0].SeriesInstanceUID
    assert headers == before


def test_odd_patient_data_is_kept_and_never_quoted(tmp_path, caplog, capfd):
    odd = {"PatientName": "no caret Иванов", "PatientBirthDate": "1931-2-3", "PatientSex": "W"}
    with disable_value_validation():
        write_series(tmp_path / "series", body_hu(*SHAPE), SPACING_MM, SpecificCharacterSet="ISO_IR 144", **odd)
        headers = read_series(tmp_path / "series")
    write_seg(tmp_path / "mask.dcm", MUSCLE, headers)
    said = caplog.text + "".join(capfd.readouterr())
    with disable_value_validation():
        seg = pydicom.dcmread(tmp_path / "mask.dcm")
        assert {name: str(seg[name].value) for name in odd} == odd
    assert not [value for value in odd.values() if len(value) > 1 and value in said]


def test_what_anonymisers_leave_out_is_replaced_or_left_empty(tmp_path, caplog):
    gone = dict.fromkeys(
        ("PatientName", "PatientID", "StudyInstanceUID", "FrameOfReferenceUID", "SOPClassUID", "SliceThickness")
    )
    write_series(tmp_path / "series", body_hu(*SHAPE), SPACING_MM, **gone, SeriesInstanceUID="")
    headers = read_series(tmp_path / "series")
    write_seg(tmp_path / "mask.dcm", MUSCLE, headers)
    assert "has no StudyInstanceUID, SeriesInstanceUID, FrameOfReferenceUID" in caplog.text
    seg = pydicom.dcmread(tmp_path / "mask.dcm")
    assert seg.StudyInstanceUID
    assert seg.PatientID in (None, "")
    assert float(seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness) == 5.0
    np.testing.assert_array_equal(values(read_mask(tmp_path / "mask.dcm", read_image(tmp_path / "series"))), MUSCLE)


def test_masks_that_do_not_fit_or_are_no_masks_leave_nothing_behind(tmp_path):
    write_series(tmp_path / "series", body_hu(*SHAPE), SPACING_MM)
    headers = read_series(tmp_path / "series")
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=r"shape \(3, 11, 7\) does not fit 4 source slices of 11 x 7"):
        write_seg(out / "mask.dcm", MUSCLE[:3], headers)
    with pytest.raises(ValueError, match=r"holds 0 and 1, and this one \[0, 2\]"):
        write_seg(out / "mask.dcm", MUSCLE * 2, headers)
    with pytest.raises(ValueError, match=r"this one \[0\.0, 0\.5\]"):
        write_mask(out / "mask.nii.gz", sitk.GetImageFromArray(MUSCLE * 0.5))
    with pytest.raises(ValueError, match=r"mask\.png names no format for a mask; end it with one of \.nii\.gz"):
        write_mask(out / "mask.png", sitk.GetImageFromArray(MUSCLE))
    assert not out.exists() or not list(out.iterdir())


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd"])
@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=ORIENTATIONS)
def test_a_mask_image_keeps_its_grid_and_nothing_else(tmp_path, suffix, orientation):
    write_series(tmp_path / "series", body_hu(*SHAPE), SPACING_MM, orientation=orientation)
    like = read_image(tmp_path / "series")
    mask = sitk.GetImageFromArray(MUSCLE)
    mask.CopyInformation(like)
    mask.SetMetaData("descrip", PATIENT["PatientName"])
    path = tmp_path / f"mask{suffix}"
    write_mask(path, mask)
    stored = sitk.ReadImage(str(path))
    assert stored.GetPixelID() == sitk.sitkUInt8
    np.testing.assert_array_equal(values(stored), MUSCLE)
    np.testing.assert_allclose(stored.GetOrigin(), like.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(stored.GetSpacing(), like.GetSpacing(), rtol=1e-6)
    np.testing.assert_allclose(stored.GetDirection(), like.GetDirection(), atol=1e-6)
    assert PATIENT["PatientName"] not in str([stored.GetMetaData(key) for key in stored.GetMetaDataKeys()])
    np.testing.assert_array_equal(values(read_mask(path, like)), MUSCLE)


@pytest.mark.parametrize("name", ["thigh_rtstruct", "liver_seg"])
def test_masks_of_real_series_come_back(tmp_path, real_ct, name):
    like = read_image(real_ct / name / "series")
    mask = like > 20
    headers = read_series(real_ct / name / "series")
    write_seg(tmp_path / "mask.dcm", values(mask), headers)
    write_mask(tmp_path / "mask.nii.gz", mask)
    for written in ("mask.dcm", "mask.nii.gz"):
        np.testing.assert_array_equal(values(read_mask(tmp_path / written, like)), values(mask))
