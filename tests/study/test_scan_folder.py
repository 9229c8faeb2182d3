"""The folder of a measured scan: what it tells, what it keeps to itself, and that it is whole."""

import gzip
import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from scans import AREA, FAT, PIXEL_CM2, muscle, read_rows, scan_hu, write_nifti

from mskjax.study import scan_folder
from mskjax.study.overlays import COLOURS
from mskjax.study.scan import measure_scan
from mskjax.study.scan_folder import table


def test_settings_and_volume_are_described(nifti, mask, tmp_path):
    measure_scan(nifti, tmp_path / "out", mask=mask, hu_window="-29:150")
    described = json.loads((tmp_path / "out" / "measurements.json").read_text())
    assert described["volume_cm3"] == pytest.approx(3 * (AREA - FAT) * 0.5 - PIXEL_CM2 * 0.5)
    assert described["bone"] == {"cut_out": False, "looked_for_in": "3-D", "above_hu": 175, "margin_mm": 2.0}
    assert described["hu_window"] == [-29, 150]
    assert described["slices"][0]["smd_hu"] is None
    assert described["mask"] == "given"


def test_a_dicom_series_gets_a_dicom_mask(series, nifti, mask, tmp_path):
    from_series = measure_scan(series, tmp_path / "out", mask=mask)
    assert from_series.rows[2]["sma_cm2"] == pytest.approx(AREA)
    written = pydicom.dcmread(tmp_path / "out" / "mask.dcm")
    assert written.Modality == "SEG"
    again = measure_scan(series, tmp_path / "again", mask=tmp_path / "out" / "mask.dcm")
    np.testing.assert_array_equal(again.mask, muscle() > 0)
    measure_scan(nifti, tmp_path / "out", mask=mask)
    assert not (tmp_path / "out" / "mask.dcm").exists(), "an earlier scan's mask would be taken for this one's"


def test_nothing_about_the_patient_is_written_outside_the_dicom_object(series, mask, tmp_path):
    measure_scan(series, tmp_path / "out", mask=mask)
    header = pydicom.dcmread(next(series.glob("*")))
    secrets = [
        "Doe",
        "Jane",
        "4711",
        "19500102",
        str(header.SeriesInstanceUID),
        str(header.StudyInstanceUID),
        str(tmp_path),
    ]
    for path in (tmp_path / "out").iterdir():
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        if path.suffix != ".dcm":
            assert not [secret for secret in secrets if secret.encode() in content], path.name
    with Image.open(tmp_path / "out" / "overlay.png") as picture:
        assert picture.info == {}


def test_the_overlay_shows_the_slices_that_hold_muscle(nifti, mask, tmp_path):
    measure_scan(nifti, tmp_path / "out", mask=mask)
    with Image.open(tmp_path / "out" / "overlay.png") as picture:
        pixels = np.asarray(picture)
    thirds = np.array_split(pixels, 3, axis=1)
    outlined = [bool((third == COLOURS[1]).all(-1).sum() > 500) for third in thirds]
    assert outlined == [True, True, True], "three of six slices, in a row without a gap"
    below = [bool((third[-40:] == COLOURS[1]).all(-1).any()) for third in thirds]
    assert below == [True, False, False], "one legend for all"


def test_no_muscle_is_said_and_drawn(nifti, tmp_path):
    empty = write_nifti(tmp_path / "empty.nii.gz", np.zeros_like(muscle()))
    result = measure_scan(nifti, tmp_path / "out", mask=empty)
    assert "6 of 6 slices hold no muscle" in table(result)
    assert [float(row["sma_cm2"]) for row in read_rows(tmp_path / "out")] == [0] * 6
    assert (tmp_path / "out" / "overlay.png").is_file()


def files(folder):
    """Every file in a folder, hidden ones too, with its bytes."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("writer", ["write_seg", "write_mask", "overlay", "write_json"])
def test_a_failure_leaves_the_former_measurement_whole(series, mask, tmp_path, monkeypatch, writer):
    def fail(*_, **__):
        raise OSError("no space left on device")

    measure_scan(series, tmp_path / "out", mask=mask)
    former = files(tmp_path / "out")
    assert set(former) == set(scan_folder.OUTPUTS)
    monkeypatch.setattr(scan_folder, writer, fail)
    for output in ("out", "new"):
        with pytest.raises(OSError, match="no space"):
            measure_scan(series, tmp_path / output, mask=mask, slices="3")
    assert files(tmp_path / "out") == former
    assert not (tmp_path / "new").exists()


def test_figures_never_stand_beside_the_mask_of_another_measurement(series, mask, tmp_path, monkeypatch):
    measure_scan(series, tmp_path / "out", mask=mask)
    (tmp_path / "out" / "mine.txt").touch()
    replace = Path.replace

    def stop_at_mask(path, target):
        if target == tmp_path / "out" / "mask.nii.gz":
            raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", stop_at_mask)
    with pytest.raises(KeyboardInterrupt):
        measure_scan(series, tmp_path / "out", mask=mask, slices="3")
    assert set(files(tmp_path / "out")) == {"mask.nii.gz", "mask.dcm", "overlay.png", "mine.txt"}


@pytest.mark.parametrize("name", ["mask.nii.gz", "mask.dcm"])
def test_a_mask_that_would_be_replaced_is_refused_and_unharmed(series, mask, tmp_path, name):
    measure_scan(series, tmp_path / "out", mask=mask)
    former = files(tmp_path / "out")
    (tmp_path / "link").symlink_to(tmp_path / "out")
    for drawn in (tmp_path / "out" / name, tmp_path / "link" / name):
        with pytest.raises(ValueError, match=f"{name} would be replaced.*another --output"):
            measure_scan(series, tmp_path / "out", mask=drawn, slices="3", remove_bone=True)
    assert files(tmp_path / "out") == former
    assert measure_scan(series, tmp_path / "again", mask=tmp_path / "out" / name).rows[3]["sma_cm2"] == AREA


def test_an_image_that_would_be_replaced_is_refused(mask, tmp_path):
    (tmp_path / "out").mkdir()
    image = write_nifti(tmp_path / "out" / "mask.nii.gz", scan_hu())
    with pytest.raises(ValueError, match="would be replaced"):
        measure_scan(image, tmp_path / "out", mask=mask)


def test_slices_asked_for_are_in_the_table_even_without_muscle(nifti, mask, tmp_path):
    line = table(measure_scan(nifti, tmp_path / "out", mask=mask, slices="1")).splitlines()[1]
    assert line.split() == ["1", "0.00", "-", "-", "0.00", "0.00"]


@pytest.mark.parametrize("name", ["mask.nii.gz", "mask.dcm"])
def test_an_edited_mask_is_not_replaced(series, mask, tmp_path, name):
    measure_scan(series, tmp_path / "out", mask=mask)
    measure_scan(series, tmp_path / "out", mask=mask)
    edited = tmp_path / "out" / name
    edited.write_bytes(edited.read_bytes() + b"edited")
    former = files(tmp_path / "out")
    with pytest.raises(ValueError, match=f"{name} was edited; measure it with --mask=.*or delete it"):
        measure_scan(series, tmp_path / "out", mask=mask, slices="3")
    assert files(tmp_path / "out") == former
    edited.unlink()
    measure_scan(series, tmp_path / "out", mask=mask)
