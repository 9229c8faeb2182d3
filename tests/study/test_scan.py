"""Measuring a scan: which slices, in which mask, with bone or without."""

import hashlib
import json

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_files import write_series
from scans import AREA, PIXEL_CM2, muscle, read_rows, scan_hu, write_nifti

from mskjax.files import sha256
from mskjax.study.scan import measure_scan, parse_labels, parse_slices, parse_window
from mskjax.study.scan_folder import table
from mskjax.training.origin import learned_from_phantoms


def test_a_given_mask_is_measured_as_it_is(nifti, mask, tmp_path):
    measure_scan(nifti, tmp_path / "out", mask=mask, height_m=2.0)
    assert (tmp_path / "out" / "measurements.csv").read_text().startswith("slice_index,sma_cm2,smd_hu,smi_cm2_m2\n0,")
    rows = read_rows(tmp_path / "out")
    assert [int(row["slice_index"]) for row in rows] == list(range(6))
    assert [float(row["sma_cm2"]) for row in rows] == pytest.approx([0, 0, AREA, AREA, AREA, 0])
    assert float(rows[2]["smd_hu"]) == pytest.approx((100 * 40 - 20 * 80) / 120)
    assert float(rows[3]["smd_hu"]) == pytest.approx((99 * 40 + 500 - 20 * 80) / 120)
    assert rows[0]["smd_hu"] == "", "no muscle, no density"
    assert float(rows[2]["smi_cm2_m2"]) == pytest.approx(AREA / 4)


def test_the_written_mask_is_what_was_measured(nifti, mask, tmp_path):
    result = measure_scan(nifti, tmp_path / "out", mask=mask, slices="2:4", remove_bone=True, hu_window="-29:150")
    written = sitk.ReadImage(str(tmp_path / "out" / "mask.nii.gz"))
    image = sitk.ReadImage(str(nifti))
    assert written.GetSize() == image.GetSize()
    np.testing.assert_allclose(written.GetSpacing(), image.GetSpacing())
    np.testing.assert_allclose(written.GetOrigin(), image.GetOrigin())
    # Bone takes its own pixel, one row up or down and two columns left or right; the window takes the fat.
    counts = sitk.GetArrayFromImage(written).sum((1, 2))
    assert counts.tolist() == [0, 0, 100, 100 - 6, 0, 0]
    assert [row["sma_cm2"] for row in result.rows] == pytest.approx(counts[2:4] * PIXEL_CM2)
    again = measure_scan(nifti, tmp_path / "again", mask=tmp_path / "out" / "mask.nii.gz", slices="2:4")
    assert [row["sma_cm2"] for row in again.rows] == [row["sma_cm2"] for row in result.rows]


def test_both_areas_are_told(nifti, mask, tmp_path):
    result = measure_scan(nifti, tmp_path / "out", mask=mask, slices="3")
    assert result.rows[0]["sma_with_bone_cm2"] == result.rows[0]["sma_cm2"] == pytest.approx(AREA)
    assert result.rows[0]["sma_without_bone_cm2"] == pytest.approx(AREA - 6 * PIXEL_CM2)
    text = table(result)
    assert f"{AREA:.2f}" in text
    assert f"{AREA - 6 * PIXEL_CM2:.2f}" in text
    assert "left in SMA and SMD" in text
    assert "slices hold no muscle" not in text


def test_a_run_predicts_only_the_chosen_slices_and_loses_bone(nifti, tmp_path):
    asked = []

    def predictor(image_hu, spacing_mm):
        assert image_hu.shape == (1, 40, 30)
        assert spacing_mm.tolist() == [2.0, 1.0]
        asked.append(int((image_hu > 175).sum()))
        return np.where(muscle()[2] > 0, 0.51, 0.5).astype(np.float32)[None]

    result = measure_scan(nifti, tmp_path / "out", run="run", slices="3:5", predictor=predictor)
    assert asked == [1, 0]
    assert [row["sma_cm2"] for row in result.rows] == pytest.approx([AREA - 6 * PIXEL_CM2, AREA])
    (tmp_path / "run" / "best").mkdir(parents=True)
    (tmp_path / "run" / "best" / "variables.safetensors").write_bytes(b"weights")
    run = tmp_path / "run"
    kept = measure_scan(nifti, tmp_path / "out", run=run, slices="3", remove_bone=False, predictor=predictor)
    assert kept.rows[0]["sma_cm2"] == pytest.approx(AREA)
    described = json.loads((tmp_path / "out" / "measurements.json").read_text())
    assert described["mask"] == "predicted"
    assert described["run"]["weights_sha256"] == hashlib.sha256(b"weights").hexdigest()


@pytest.mark.parametrize("flips", [(), (0,), (1,), (2,), (0, 1), (0, 1, 2)])
def test_slices_count_from_the_feet_however_they_are_stored(tmp_path, flips):
    values, drawn = scan_hu(), muscle()
    drawn[2, 10:16] = 0
    ct = write_nifti(tmp_path / "ct.nii.gz", values, flips)
    measure_scan(ct, tmp_path / "out", mask=write_nifti(tmp_path / "m.nii.gz", drawn, flips), slices="2")
    rows = read_rows(tmp_path / "out")
    assert (rows[0]["slice_index"], float(rows[0]["sma_cm2"])) == ("2", pytest.approx(AREA / 2))
    described = json.loads((tmp_path / "out" / "measurements.json").read_text())
    assert described["slices"][0]["source_index"] == (3 if 0 in flips else 2)
    written = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "mask.nii.gz")))
    expected = np.zeros_like(drawn)
    expected[2] = drawn[2]
    np.testing.assert_array_equal(written, np.flip(expected, flips))


def test_one_dicom_slice(series, tmp_path):
    fourth = sorted(series.iterdir(), key=lambda p: pydicom.dcmread(p).ImagePositionPatient[2])[3]
    single = tmp_path / "one.dcm"
    single.write_bytes(fourth.read_bytes())

    def predictor(image_hu, spacing_mm):
        return muscle()[3][None].astype(np.float32)

    result = measure_scan(single, tmp_path / "out", run="run", predictor=predictor)
    assert result.bone_removal == "2-D"
    assert result.rows[0]["sma_cm2"] == pytest.approx(AREA - 6 * PIXEL_CM2)
    assert (tmp_path / "out" / "mask.dcm").is_file()
    assert json.loads((tmp_path / "out" / "measurements.json").read_text())["volume_cm3"] is None


def test_bone_is_looked_for_across_slices_only_in_a_straight_stack(tmp_path):
    close = (1.0, 2.0, 1.0)
    results = {}
    for tilt in (0.0, 10.0):
        folder = tmp_path / f"tilt{tilt:g}"
        write_series(folder, scan_hu(), close, tilt_degrees=tilt)
        predictor = lambda image_hu, spacing_mm: muscle()[3][None].astype(np.float32)  # noqa: E731
        results[tilt] = measure_scan(folder, tmp_path / "out", run="run", slices="1:4", predictor=predictor)
    straight, tilted = results[0.0], results[10.0]
    assert (straight.bone_removal, tilted.bone_removal) == ("3-D", "2-D")
    lost = [round((row["sma_with_bone_cm2"] - row["sma_cm2"]) / PIXEL_CM2) for row in straight.rows]
    # Slices 1 and 2 are 2 and 1 mm from the bone in slice 3: its own column, then 1 mm to each side of it.
    assert lost == [1, 3, 6]
    assert [round((row["sma_with_bone_cm2"] - row["sma_cm2"]) / PIXEL_CM2) for row in tilted.rows] == [0, 0, 6]
    assert "2-D" in table(tilted)
    assert json.loads((tmp_path / "out" / "measurements.json").read_text())["tilt_degrees"] == pytest.approx(10)


def test_slices():
    assert parse_slices(None, 5) == range(5)
    assert parse_slices("0", 5) == range(1)
    assert parse_slices("2:5", 5) == range(2, 5), "from the first up to but not the last"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("5", r"0 \(feet\) to 4 \(head\)"),
        ("-1", "not in the scan"),
        ("3:6", "not in the scan"),
        ("3:3", "are none"),
        ("L3", "neither a number nor a range"),
        ("1:2:3", "neither a number nor a range"),
    ],
)
def test_refused_slices(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        parse_slices(text, 5)


def test_windows():
    assert parse_window("-29:150") == (-29, 150)
    for text in ("-29", "a:b", "1:2:3"):
        with pytest.raises(ValueError, match="-29:150"):
            parse_window(text)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "either a run"),
        ({"run": "r", "mask": "m"}, "either a run"),
        ({"mask": "m", "height_m": 172.0}, "in metres"),
        ({"mask": "m", "hu_window": "150:-29"}, "lower end first"),
        ({"mask": "drawn.nii.gz", "slices": "9"}, "not in the scan"),
    ],
)
def test_refusals_leave_nothing_behind(nifti, mask, tmp_path, monkeypatch, options, sentence):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=sentence):
        measure_scan(nifti, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_label_with_a_run_is_refused(nifti, tmp_path):
    with pytest.raises(ValueError, match=r"label 86 picks a part of a given mask.*leave one of them out"):
        measure_scan(nifti, tmp_path / "out", run="run", label=86, predictor=lambda *_: muscle()[:1] * 1.0)
    assert not (tmp_path / "out").exists()


def test_labels_of_flags():
    assert parse_labels(None) is None
    assert parse_labels(["86, 87", "psoas"]) == ["86", "87", "psoas"]
    assert parse_labels(['"psoas, left",3']) == ["psoas, left", "3"]
    assert parse_labels([""]) == []


@pytest.mark.parametrize("phantoms", [True, False])
def test_a_network_that_knows_only_phantoms_is_told_of(nifti, tmp_path, caplog, phantoms):
    dataset, run = tmp_path / "dataset", tmp_path / "run"
    dataset.mkdir()
    run.mkdir()
    images = [f"{dataset}/phantoms/images/phantom_0000.nii.gz", "phantoms/images/phantom_0001.nii.gz" * phantoms]
    (dataset / "cases.csv").write_text("\n".join(["case_id,image", *(f"a,{image}" for image in images)]))
    made_from = {"path": str(dataset), "sha256": {"cases.csv": sha256(dataset / "cases.csv")}}
    (run / "provenance.json").write_text(json.dumps({"dataset": made_from}))
    (run / "config.json").write_text(json.dumps({"init_from": ""}))
    measure_scan(nifti, tmp_path / "out", run=run, predictor=lambda *_: muscle()[:1] * 1.0)
    assert caplog.text.count("learned from phantoms only") == phantoms
    described = json.loads((tmp_path / "out" / "measurements.json").read_text())["run"]
    assert (described["folder"], described["dataset"], described["init"]) == ("run", made_from, "random")
    assert described["learned_from_phantoms_only"] is phantoms
    (dataset / "cases.csv").write_text("case_id,image\n")
    assert learned_from_phantoms(run) is None, "no longer the cases that it learned from"


def test_a_run_that_does_not_say_is_not_judged_by_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "cases.csv").write_text("image\nphantoms/images/phantom_0000.nii.gz\n")
    monkeypatch.chdir(tmp_path)
    assert learned_from_phantoms(tmp_path / "run") is None
