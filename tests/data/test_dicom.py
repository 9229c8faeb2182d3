import shutil

import numpy as np
import pydicom
import pytest
from dicom_files import AXIAL, PATIENT, body_hu, edit, plane_positions, write_enhanced, write_series
from pydicom.uid import generate_uid
from scipy.spatial.transform import Rotation

from mskjax.data.dicom import read_planes, read_series


def turned(axis, degrees):
    return Rotation.from_euler(axis, degrees, degrees=True).apply(np.array(AXIAL).reshape(2, 3)).ravel()


def heights(headers):
    return [header.ImagePositionPatient[2] for header in headers]


def test_headers_come_from_feet_to_head_without_pixels(tmp_path):
    paths = write_series(tmp_path, body_hu(5))
    headers = read_series(tmp_path)
    assert heights(headers) == [-300, -295, -290, -285, -280]
    assert [header.filename for header in headers] == [str(path) for path in paths]
    assert not any("PixelData" in header for header in headers)


def test_a_normal_towards_the_feet_still_gives_feet_first(tmp_path):
    orientation = (1, 0, 0, 0, -1, 0)
    write_series(tmp_path, body_hu(3), orientation=orientation)
    assert heights(read_series(tmp_path)) == [-310, -305, -300]


def test_files_are_told_by_content_in_nested_folders(tmp_path):
    paths = write_series(tmp_path / "a" / "b", body_hu(4), suffix="")
    (tmp_path / "c").mkdir()
    paths[1].rename(tmp_path / "c" / "slice.txt")
    (tmp_path / "notes.md").write_text("notes " * 100)
    (tmp_path / "._slice.dcm").write_bytes(b"\0\5\x16\7")
    assert heights(read_series(tmp_path)) == [-300, -295, -290, -285]


def test_empty_missing_and_foreign_paths_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty has no CT slice: it is empty; give the folder"):
        read_series(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match=r"nowhere does not exist; give"):
        read_series(tmp_path / "nowhere")
    (tmp_path / "empty" / "scan.nii.gz").touch()
    with pytest.raises(ValueError, match=r"1 x not DICOM \(scan\.nii\.gz\); give the file itself, as in scan\.nii\.gz"):
        read_series(tmp_path / "empty")


def two_series(folder):
    write_series(folder / "1", body_hu(3), SeriesInstanceUID="1.2.3.11", SeriesNumber=5, SeriesDescription="Thin lung")
    write_series(folder / "2", body_hu(4), SeriesInstanceUID="1.2.3.22", SeriesNumber=6, SeriesDescription="Thick body")


def test_several_series_are_listed_without_patient_data(tmp_path):
    two_series(tmp_path)
    with pytest.raises(ValueError) as error:
        read_series(tmp_path)
    expected = (
        "holds 2 CT series: 1.2.3.11 (number 5, 'Thin lung', 3 files); 1.2.3.22 (number 6, 'Thick body', 4 files); "
        "name one in a CSV's column series or as --series=UID, or give its own folder"
    )
    assert expected in str(error.value)
    assert not any(value in str(error.value) for value in PATIENT.values())


def test_what_is_left_out_is_said_once_for_one_scan(tmp_path, caplog):
    write_series(tmp_path, body_hu(3))
    (tmp_path / "notes.md").write_text("notes")
    with caplog.at_level("INFO"):
        read_planes(tmp_path)
        read_series(tmp_path)
        assert caplog.text.count("1 x not DICOM (notes.md)") == 1
        (tmp_path / "more.md").write_text("notes")
        read_series(tmp_path)
    assert "2 x not DICOM (more.md, notes.md)" in caplog.text


@pytest.mark.parametrize("name", ["1.2.3.22", "1.2.3.2", "6", "thick body", "Thick"])
def test_a_series_is_named_by_uid_prefix_number_or_description(tmp_path, name):
    two_series(tmp_path)
    assert len(read_series(tmp_path, name)) == 4


def test_an_unknown_or_ambiguous_name_is_refused(tmp_path):
    two_series(tmp_path)
    with pytest.raises(ValueError, match=r"holds no 'liver': 1\.2\.3\.11 .*; 1\.2\.3\.22 "):
        read_series(tmp_path, "liver")
    with pytest.raises(ValueError, match=r"holds 2 CT series that '1\.2\.3' may mean: "):
        read_series(tmp_path, "1.2.3")
    with pytest.raises(ValueError, match="holds no 'liver'"):
        read_series(tmp_path / "1", "liver")


def test_several_geometries_in_one_series_are_listed_and_one_can_be_named(tmp_path):
    uid = generate_uid()
    write_series(tmp_path, body_hu(3), SeriesInstanceUID=uid)
    write_series(tmp_path, body_hu(2), SeriesInstanceUID=uid, stem="coronal", orientation=(1, 0, 0, 0, 0, -1))
    with pytest.raises(
        ValueError,
        match=r"has 2 geometries \(mixed orientations.*#1: 2 slices.* 0 0 -1, .*#2: 3 slices.*as --series=#1",
    ):
        read_series(tmp_path)
    assert len(read_series(tmp_path, "#2")) == len(read_series(tmp_path, f"{uid}#2")) == 3
    with pytest.raises(ValueError, match="none of them is '#3'"):
        read_series(tmp_path, "#3")
    with pytest.raises(ValueError, match=r"coronal000\.dcm is not axial: its plane is 90 degrees off"):
        read_series(tmp_path, "#1")


@pytest.mark.parametrize("change", [{"spacing_mm": (5.0, 1.1, 1.1)}, {"array_hu": body_hu(1, 8, 8)}])
def test_mixed_pixel_spacing_and_matrix_are_refused(tmp_path, change):
    uid = generate_uid()
    positions_mm = plane_positions(4)
    write_series(tmp_path, body_hu(3), SeriesInstanceUID=uid, positions_mm=positions_mm[:3])
    other = {"array_hu": body_hu(1), "positions_mm": positions_mm[3:], **change}
    write_series(tmp_path, stem="other", SeriesInstanceUID=uid, **other)
    with pytest.raises(ValueError, match="2 geometries"):
        read_series(tmp_path)


@pytest.mark.parametrize("frame", ["1.2.4", None])
def test_slices_of_two_frames_of_reference_are_not_stacked(tmp_path, frame):
    write_series(tmp_path, body_hu(4), FrameOfReferenceUID=["1.2.3", "1.2.3", frame or "", frame or ""])
    listed = rf"#1: 2 slices .* reference 1\.2\.3 .*#2: 2 slices .* reference {frame or 'unknown'} "
    with pytest.raises(ValueError, match=rf"has 2 geometries \(.* or frames of reference\) in one series: {listed}"):
        read_series(tmp_path)
    assert heights(read_series(tmp_path, "#2")) == [-290, -285]


def test_a_missing_slice_is_refused_by_its_neighbours(tmp_path):
    paths = write_series(tmp_path, body_hu(6))
    paths[3].unlink()
    with pytest.raises(
        ValueError, match=rf"{paths[2].name} and {paths[4].name} are 10\.000 mm apart .* 5\.000 mm \(1 missing; 0\.2 mm"
    ):
        read_series(tmp_path)


@pytest.mark.parametrize(("shift_mm", "refused"), [(0.19, False), (0.21, True)])
def test_uneven_spacing_is_refused_beyond_the_tolerance(tmp_path, shift_mm, refused):
    positions_mm = plane_positions(5)
    positions_mm[4, 2] += shift_mm
    write_series(tmp_path, body_hu(5), positions_mm=positions_mm)
    if refused:
        with pytest.raises(
            ValueError, match=r"are 5\.210 mm apart .* \(uneven spacing; 0\.2 mm more or less are tolerated\)"
        ):
            read_series(tmp_path)
    else:
        assert len(read_series(tmp_path)) == 5


def test_duplicate_positions_are_refused(tmp_path):
    paths = write_series(tmp_path, body_hu(3))
    shutil.copy(paths[1], tmp_path / "again.dcm")
    with pytest.raises(ValueError, match=r"again\.dcm and .*duplicate positions \(-100, -120, -295 mm\), as 1 of 4"):
        read_series(tmp_path)


def test_a_slice_shifted_sideways_is_refused(tmp_path):
    positions_mm = plane_positions(5)
    positions_mm[3, 0] += 20
    paths = write_series(tmp_path, body_hu(5), positions_mm=positions_mm)
    with pytest.raises(ValueError, match=rf"{paths[3].name}.* shifted sideways by 20\.000 mm"):
        read_series(tmp_path)


@pytest.mark.parametrize(("degrees", "refused"), [(44, False), (46, True)])
def test_planes_up_to_45_degrees_off_axial_are_read(tmp_path, degrees, refused):
    orientation = turned("x", degrees)
    write_series(tmp_path, body_hu(3), orientation=orientation)
    if refused:
        with pytest.raises(ValueError, match=r"slice000\.dcm is not axial: its plane is 46 degrees off, at most 45"):
            read_series(tmp_path)
    else:
        assert len(read_series(tmp_path)) == 3


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"ImagePositionPatient": None}, r"slice000\.dcm has no ImagePositionPatient"),
        ({"ImageOrientationPatient": None}, r"has no ImageOrientationPatient"),
        ({"PixelSpacing": None}, r"has no PixelSpacing"),
        ({"PixelSpacing": ""}, r"has no PixelSpacing"),
        ({"PixelSpacing": (0, 1)}, r"has pixels of 0 1 mm"),
        ({"ImageOrientationPatient": (1, 0, 0, 0.1, 1, 0)}, r"1 0 0 0\.1 1 0, whose two directions are not perp"),
        ({"ImageOrientationPatient": (1, 0, 0, 0, 1.01, 0)}, r"not perpendicular and of length 1"),
        ({"ImageOrientationPatient": (1, 0, 0)}, r"not 6 finite numbers"),
        ({"RescaleSlope": None}, r"has no RescaleSlope"),
        ({"RescaleIntercept": None}, r"has no RescaleIntercept"),
        ({"RescaleSlope": 0}, r"has RescaleSlope 0"),
        ({"RescaleType": "US"}, r"stores US, not HU"),
        ({"RescaleType": "MGML"}, r"stores MGML, not HU"),
    ],
)
def test_a_header_that_cannot_be_measured_is_refused(tmp_path, attributes, message):
    write_series(tmp_path, body_hu(3), **attributes)
    with pytest.raises(ValueError, match=message):
        read_series(tmp_path)


def test_a_lookup_table_for_hu_is_refused(tmp_path):
    table = pydicom.Dataset()
    table.LUTExplanation = "HU"
    write_series(tmp_path, body_hu(3), ModalityLUTSequence=pydicom.Sequence([table]))
    with pytest.raises(ValueError, match="through a lookup table"):
        read_series(tmp_path)


def test_directions_rounded_to_four_decimals_are_read_as_unit_vectors(tmp_path):
    write_series(tmp_path, body_hu(3), orientation=np.round(turned("x", 17), 4))
    cosines = read_planes(tmp_path)[0].cosines
    np.testing.assert_allclose(cosines @ cosines.T, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(cosines.ravel(), turned("x", 17), atol=1e-4)


def test_an_enhanced_file_is_one_header_whose_frames_are_put_in_order(tmp_path):
    path = write_enhanced(tmp_path / "enhanced", body_hu(4), positions_mm=plane_positions(4)[[2, 0, 3, 1]])
    [header] = read_series(tmp_path)
    assert header.filename == str(path)
    assert [plane.frame for plane in read_planes(path)] == [1, 3, 0, 2]
    edit(path, PerFrameFunctionalGroupsSequence=pydicom.Sequence(header.PerFrameFunctionalGroupsSequence[:3]))
    with pytest.raises(ValueError, match="has 4 frames and describes 3 of them"):
        read_series(path)


def test_missing_frames_are_named(tmp_path):
    write_enhanced(tmp_path / "enhanced", body_hu(3), positions_mm=plane_positions(4)[[0, 1, 3]])
    with pytest.raises(ValueError, match=r"enhanced frame 2 and enhanced frame 3 are 10\.000 mm apart"):
        read_series(tmp_path)


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("missing_slice", r"IM-0001-0009-0001\.dcm and IM-0001-0010-0001\.dcm are 10\.000 mm apart .* \(1 missing"),
        ("duplicate_positions", r"001\.dcm and 002\.dcm have duplicate positions"),
        ("mixed_orientation", r"no CT slice: 4 x MR object \(IM-0001-0001-0001 2\.dcm"),
    ],
)
def test_broken_real_series_are_refused(real_ct, folder, message):
    with pytest.raises(ValueError, match=message):
        read_series(real_ct / "broken" / folder)


@pytest.mark.parametrize(("folder", "count"), [("abdomen_portal_venous", 51), ("thigh_rtstruct", 53), ("liver_seg", 3)])
def test_real_folders_give_one_series_among_other_objects(real_ct, folder, count):
    positions_mm = heights(read_series(real_ct / folder))
    assert len(positions_mm) == count
    assert positions_mm == sorted(positions_mm)
