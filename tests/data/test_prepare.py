"""Pairs of images and masks become a dataset: the right slices, nobody's name, and no work done twice."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from absl import flags
from dicom_files import PATIENT, body_hu, write_series

from mskjax.data import cases, phantom, phantom_scans, prepare, pseudonyms, splits
from mskjax.data.case_table import read_table
from mskjax.data.dataset import read_dataset
from mskjax.data.pairs import Pair, match
from mskjax.files import sha256

ALL_TRAIN = prepare.Shares(0.0, 0.0)


def write_image(path: Path, array: np.ndarray, spacing_mm=(5.0, 1.5, 1.0)) -> Path:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing_mm[::-1])
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path


def mask_on(*slices: int, depth: int = 4, height: int = 12, width: int = 10) -> np.ndarray:
    """A mask whose area grows with the slice's index."""
    mask = np.zeros((depth, height, width), np.uint8)
    for k in slices:
        mask[k, 3 : 5 + k, 2:6] = 1
    return mask


@pytest.fixture
def cohort(tmp_path):
    """Three pairs of NIfTI of two matrix sizes."""
    for i, height in enumerate((12, 15, 12)):
        write_image(tmp_path / f"ct/case{i}.nii.gz", body_hu(4, height, 10, seed=i))
        write_image(tmp_path / f"muscle/case{i}.nii.gz", mask_on(1, 2, height=height))
    return tmp_path


def pair(folder: Path, i: int = 0, **choice) -> Pair:
    return Pair(folder / f"ct/case{i}.nii.gz", folder / f"muscle/case{i}.nii.gz", **choice)


def test_folders_become_a_dataset(cohort):
    pairs, left = match(str(cohort / "ct"), str(cohort / "muscle"))
    assert not left
    assert prepare.prepare(pairs, cohort / "out", prepare.Shares(0.34, 0.34)) == {}
    dataset = read_dataset(cohort / "out")
    assert list(dataset.cases["slice_index"]) == [1, 2] * 3
    assert dataset.slices.shape.tolist() == [[12, 10], [12, 10], [15, 10], [15, 10], [12, 10], [12, 10]]
    image_hu, mask, spacing_mm = dataset.slices.case(2)
    np.testing.assert_array_equal(image_hu, body_hu(4, 15, 10, seed=1)[1])
    np.testing.assert_array_equal(mask, mask_on(1, height=15)[1])
    assert spacing_mm.tolist() == [1.5, 1.0]
    assert list(dataset.cases["image"][:2]) == [str(cohort / "ct/case0.nii.gz")] * 2
    assert sorted(dataset.manifest["counts"][s] for s in ("train", "validation", "test")) == [2, 2, 2]
    assert dataset.manifest["made_by"]["program"] == "mskjax.prepare"


def test_slices_are_counted_from_the_feet(tmp_path):
    image = sitk.GetImageFromArray(body_hu())
    image.SetDirection((1, 0, 0, 0, 1, 0, 0, 0, -1))
    mask = sitk.GetImageFromArray(mask_on(0, 3))
    mask.CopyInformation(image)
    sitk.WriteImage(image, str(tmp_path / "ct.nii.gz"))
    sitk.WriteImage(mask, str(tmp_path / "mask.nii.gz"))
    prepare.prepare([Pair(tmp_path / "ct.nii.gz", tmp_path / "mask.nii.gz", "3")], tmp_path / "out", ALL_TRAIN)
    dataset = read_dataset(tmp_path / "out")
    assert dataset.cases.loc[0, ["slice_index", "source_index"]].tolist() == [3, 0]
    np.testing.assert_array_equal(dataset.slices.image_hu[0], body_hu()[0])


def test_which_slices_are_taken(cohort):
    spine = np.zeros((4, 12, 10), np.uint8)
    spine[1:3, 8, 5], spine[3, 8, 5] = 29, 28
    levels = write_image(cohort / "spine.nii.gz", spine)
    chosen = {"all": [1, 2], "largest": [2], "1": [1]}
    for slices, expected in chosen.items():
        assert cases.read(pair(cohort, slices=slices), b"key").slice_index == expected
    by_level = pair(cohort, slices="level", level_mask=levels, level_label="29")
    assert cases.read(by_level, b"key").slice_index == [1]


def test_slices_without_mask_or_level_are_refused(cohort):
    with pytest.raises(ValueError, match=r"empty on slice 3 of 4; it marks 2 slices from 1 to 2"):
        cases.read(pair(cohort, slices="3"), b"key")
    with pytest.raises(ValueError, match="neither a number"):
        pair(cohort, slices="-1")
    with pytest.raises(ValueError, match="level mask and a level label"):
        pair(cohort, slices="level", level_label="29")
    write_image(cohort / "muscle/case0.nii.gz", mask_on())
    with pytest.raises(ValueError, match="is empty"):
        cases.read(pair(cohort), b"key")


def test_failures_are_listed_and_the_rest_is_written(cohort):
    write_image(cohort / "muscle/case1.nii.gz", mask_on(1, height=11))
    pairs = [pair(cohort, i) for i in range(3)]
    failed = prepare.prepare([*pairs, Pair(cohort / "shot.png", cohort / "m.png")], cohort / "out", ALL_TRAIN)
    assert list(failed) == [str(cohort / "ct/case1.nii.gz"), str(cohort / "shot.png")]
    assert "no HU" in failed[str(cohort / "shot.png")] or "such file" in failed[str(cohort / "shot.png")]
    dataset = read_dataset(cohort / "out")
    assert dataset.manifest["counts"]["slices"] == 4
    assert dataset.manifest["made_by"]["failed"] == 2


def test_bitmaps_are_no_ct(tmp_path):
    (tmp_path / "slice.png").write_bytes(b"")
    (tmp_path / "outlined.png").write_bytes(b"")
    with pytest.raises(ValueError, match="bitmap and has no HU"):
        cases.read(Pair(tmp_path / "slice.png", tmp_path / "outlined.png"), b"key")


def test_nothing_is_written_where_all_fail(cohort):
    failed = prepare.prepare([Pair(cohort / "no.nii.gz", cohort / "no_mask.nii.gz")], cohort / "out", ALL_TRAIN)
    assert list(failed) == [str(cohort / "no.nii.gz")]
    assert not (cohort / "out/dataset.json").exists()


def test_what_is_done_is_skipped(cohort, monkeypatch):
    pairs = [pair(cohort, i) for i in range(3)]
    prepare.prepare(pairs, cohort / "out", ALL_TRAIN)
    before = {
        path.name: (sha256(path), path.stat().st_mtime_ns) for path in (cohort / "out").iterdir() if path.is_file()
    }
    monkeypatch.setattr(cases, "read", lambda *_: pytest.fail("read again"))
    prepare.prepare(pairs, cohort / "out", ALL_TRAIN)
    after = {
        path.name: (sha256(path), path.stat().st_mtime_ns) for path in (cohort / "out").iterdir() if path.is_file()
    }
    assert before == after


def test_a_stopped_command_goes_on_where_it_was(cohort, monkeypatch):
    pairs, read, seen = [pair(cohort, i) for i in range(3)], cases.read, []

    def stop_at_third(one, key):
        seen.append(one.image.name)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return read(one, key)

    monkeypatch.setattr(cases, "read", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        prepare.prepare(pairs, cohort / "out", ALL_TRAIN)
    assert not (cohort / "out/dataset.json").exists()
    prepare.prepare(pairs, cohort / "out", ALL_TRAIN)
    assert seen == ["case0.nii.gz", "case1.nii.gz", "case2.nii.gz", "case2.nii.gz"]
    assert len(read_dataset(cohort / "out").slices) == 6


def test_a_changed_or_damaged_file_is_read_again(cohort):
    pairs = [pair(cohort, i) for i in range(2)]
    prepare.prepare(pairs, cohort / "out", ALL_TRAIN)
    write_image(cohort / "muscle/case0.nii.gz", mask_on(3))
    prepare.prepare(pairs, cohort / "out", ALL_TRAIN)
    assert list(read_dataset(cohort / "out").cases["slice_index"]) == [3, 1, 2]
    assert len(list((cohort / "out/prepared").iterdir())) == 2
    for kept in (cohort / "out/prepared").iterdir():
        kept.write_bytes(kept.read_bytes()[:-20])
    (cohort / "out/slices.npz").write_bytes(b"damaged")
    prepare.prepare(pairs, cohort / "out", ALL_TRAIN)
    assert len(read_dataset(cohort / "out").slices) == 3


def test_an_image_that_changed_is_not_remembered(cohort):
    first = cases.read(pair(cohort), b"key").image_hu
    write_image(cohort / "ct/case0.nii.gz", body_hu(seed=9))
    np.testing.assert_array_equal(first, body_hu(seed=0)[1:3])
    np.testing.assert_array_equal(cases.read(pair(cohort), b"key").image_hu, body_hu(seed=9)[1:3])


def dicom_pair(folder: Path, patient_id: str = PATIENT["PatientID"], **attributes) -> Pair:
    said = {"PatientID": patient_id, "PatientSex": "F", "PatientAge": "094Y", "PatientSize": 1.62, "PatientWeight": 0}
    write_series(folder / "ct", body_hu(), **(said | attributes))
    mask = sitk.GetImageFromArray(mask_on(2))
    mask.SetSpacing((1.0, 1.0, 5.0))
    mask.SetOrigin((-100.0, -120.0, -300.0))
    sitk.WriteImage(mask, str(folder / "muscle.nrrd"))
    return Pair(folder / "ct", folder / "muscle.nrrd")


def test_headers_tell_no_name_and_no_id(tmp_path, capsys):
    failing = dicom_pair(tmp_path / "other")
    write_image(tmp_path / "other/muscle.nrrd", mask_on(1, height=11))
    failed = prepare.prepare([dicom_pair(tmp_path / "one"), failing], tmp_path / "out", ALL_TRAIN)
    assert len(failed) == 1
    header = pydicom.dcmread(next((tmp_path / "one/ct").iterdir()))
    secrets = [*PATIENT.values(), *(str(header[w].value) for w in ("SeriesInstanceUID", "StudyInstanceUID"))]
    told = "".join(failed.values()) + "".join(capsys.readouterr())
    for path in (p for p in (tmp_path / "out").rglob("*") if p.is_file()):
        content = path.read_bytes().decode("latin-1") + path.name
        if path.suffix == ".npz":
            content += "".join(str(v) for v in np.load(path).values())
        told += content
    assert not [secret for secret in secrets if secret in told or secret.split("^")[0] in told]


def test_headers_tell_what_is_needed(tmp_path):
    prepare.prepare([dicom_pair(tmp_path)], tmp_path / "out", ALL_TRAIN)
    case = read_dataset(tmp_path / "out").cases.iloc[0]
    assert (case["sex"], case["age_years"], case["height_m"]) == ("F", 90, 1.62)
    assert np.isnan(case["weight_kg"])


def test_the_user_knows_better_than_the_header(tmp_path):
    told = {"sex": "M", "age_years": "51", "split": "test"}
    one = dicom_pair(tmp_path)
    said = Pair(one.image, one.mask, case_id="A 1", patient_id="p7", about=told)
    prepare.prepare([said], tmp_path / "out")
    case = read_dataset(tmp_path / "out").cases.iloc[0]
    assert case[["case_id", "patient_id", "sex", "age_years", "split"]].tolist() == ["A 1", "p7", "M", 51.0, "test"]


def test_ids_need_the_key_and_follow_the_patient(tmp_path):
    pairs = [dicom_pair(tmp_path / "a"), dicom_pair(tmp_path / "b"), dicom_pair(tmp_path / "c", "MRN-2")]
    for out in ("one", "other"):
        prepare.prepare(pairs, tmp_path / out, ALL_TRAIN)
    one, other = (read_dataset(tmp_path / out).cases["patient_id"] for out in ("one", "other"))
    assert one[0] == one[1] != one[2]
    assert not set(one) & set(other)
    assert len(set(read_dataset(tmp_path / "one").cases["case_id"])) == 3


def test_the_key_is_the_owners_alone(tmp_path):
    key = pseudonyms.case_key(tmp_path)
    assert len(key) == 32 and pseudonyms.case_key(tmp_path) == key
    assert stat.S_IMODE((tmp_path / "case_key").stat().st_mode) == 0o600
    (tmp_path / "case_key").write_text("cut")
    with pytest.raises(ValueError, match="no key"):
        pseudonyms.case_key(tmp_path)


def test_pseudonyms_are_hmac_sha256():
    """RFC 4231, test case 2."""
    assert pseudonyms.pseudonym(b"Jefe", "what do ya want for nothing?") == "5bdcc146bf60754e"


def test_ages_in_other_units():
    header = pydicom.Dataset()
    header.PatientAge, header.PatientSex = "018M", "O"
    assert pseudonyms.about(header) == {"age_years": "1.5"}


def write_csv(folder: Path, *lines: str) -> Path:
    (folder / "list.csv").write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
    return folder / "list.csv"


def test_a_csv_lists_cases(cohort):
    table = write_csv(
        cohort,
        "case_id;patient_id;image;mask;slice;sex;height_m;split;remark",
        "A;007;ct/case0.nii.gz;muscle/case0.nii.gz;1;female;1.6;test;x",
        "B;007;ct/case0.nii.gz;muscle/case0.nii.gz;2;;;;",
        "C;8;ct/case1.nii.gz;muscle/case1.nii.gz;;M;;;",
    )
    prepare.prepare(read_table(table), cohort / "out", ALL_TRAIN)
    read = read_dataset(cohort / "out").cases
    assert list(read["case_id"]) == ["A", "B", "C_s001", "C_s002"]
    assert list(read["patient_id"]) == ["007", "007", "8", "8"]
    assert list(read["slice_index"]) == [1, 2, 1, 2]
    assert list(read["sex"]) == ["F", "", "M", "M"]
    # B has no split of its own and goes with its patient.
    assert list(read["split"]) == ["test", "test", "train", "train"]


WRONG_TABLES = {
    "lacks the column mask": ("image", "a.nii"),
    "no rows": ("image,mask",),
    "line 2: not as many cells": ("image,mask", "a.nii,b.nii,c"),
    "must both be filled": ("image,mask", "a.nii,"),
    "'A' to several rows": ("case_id,image,mask", "A,a.nii,b.nii", "A,c.nii,d.nii"),
    "leave out slashes": ("case_id,image,mask", "../A,a.nii,b.nii"),
    "sex is 'x'": ("image,mask,sex", "a.nii,b.nii,x"),
    "height_m is '176'": ("image,mask,height_m", "a.nii,b.nii,176"),
    "split is 'held out'": ("image,mask,split", "a.nii,b.nii,held out"),
    "neither a number": ("image,mask,slice", "a.nii,b.nii,L3"),
    "as image and as mask": ("image,mask", "a.nii,a.nii"),
}


@pytest.mark.parametrize("sentence", WRONG_TABLES)
def test_a_csv_that_cannot_be_is_refused(tmp_path, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_table(write_csv(tmp_path, *WRONG_TABLES[sentence]))


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def matched(folder: Path, images: str, masks: str) -> tuple[list[tuple[str, str]], set[str]]:
    pairs, left = match(str(folder / images), str(folder / masks))
    names = [(str(p.image.relative_to(folder)), str(p.mask.relative_to(folder))) for p in pairs]
    return names, {str(Path(path).relative_to(folder)) for path in left}


def test_files_are_matched_by_name(tmp_path):
    touch(tmp_path, "i/a.nii.gz", "i/b.nrrd", "i/c.nii", "i/README.txt", "m/b.nii.gz", "m/a.nii", "m/d.nii")
    names, left = matched(tmp_path, "i", "m")
    assert names == [("i/a.nii.gz", "m/a.nii"), ("i/b.nrrd", "m/b.nii.gz")]
    assert left == {"i/c.nii", "m/d.nii"}


def test_words_for_image_and_mask_do_not_part_them(tmp_path):
    touch(tmp_path, "x/p1_ct.nii.gz", "x/p2_CT.nii.gz", "x/p1_mask.nii.gz", "x/p2-seg.nii.gz")
    names, left = matched(tmp_path, "x/*[tT].nii.gz", "x/p*[kg].nii.gz")
    assert dict(names) == {"x/p1_ct.nii.gz": "x/p1_mask.nii.gz", "x/p2_CT.nii.gz": "x/p2-seg.nii.gz"}
    assert not left


def test_files_are_matched_by_folder(tmp_path):
    touch(tmp_path, "p1/ct.nii.gz", "p1/muscle.nii.gz", "p2/ct.nii.gz", "p2/muscle.nii.gz")
    names, left = matched(tmp_path, "*/ct.nii.gz", "*/muscle.nii.gz")
    assert names == [("p1/ct.nii.gz", "p1/muscle.nii.gz"), ("p2/ct.nii.gz", "p2/muscle.nii.gz")]
    assert not left


def test_ambiguous_and_missing_names_are_refused(tmp_path):
    touch(tmp_path, "i/a.nii.gz", "i/a.nrrd", "m/a.nii.gz", "n/x.nii", "n/y.nii")
    with pytest.raises(ValueError, match=r"a\.nii\.gz, .*a\.nrrd would all be 'a'"):
        matched(tmp_path, "i", "m")
    with pytest.raises(ValueError, match="no image fits a mask by name"):
        matched(tmp_path, "i", "n")
    with pytest.raises(FileNotFoundError, match="names no file"):
        matched(tmp_path, "i", "nowhere/*.nii")


def test_a_folder_of_dicom_is_one_image(tmp_path):
    one = dicom_pair(tmp_path)
    pairs, left = match(str(one.image), str(one.mask))
    assert (pairs, left) == ([one], {})


def test_whole_patients_go_to_one_split():
    patients = [f"p{i % 20}" for i in range(60)]
    drawn = splits.assign(patients, [""] * 60, 0.2, 0.1, seed=4)
    of_patient = {p: {s for q, s in zip(patients, drawn, strict=True) if q == p} for p in patients}
    assert all(len(found) == 1 for found in of_patient.values())
    counts = [sum(found == {name} for found in of_patient.values()) for name in ("train", "validation", "test")]
    assert counts == [14, 4, 2]
    assert drawn == splits.assign(patients, [""] * 60, 0.2, 0.1, seed=4)
    assert drawn != splits.assign(patients, [""] * 60, 0.2, 0.1, seed=5)
    renamed = [f"other {p}" for p in patients]
    assert drawn == splits.assign(renamed, [""] * 60, 0.2, 0.1, seed=4)


def test_few_patients_still_test_and_validate():
    assert sorted(splits.assign(["a", "b", "c"], [""] * 3, 0.1, 0.1, 0)) == ["test", "train", "validation"]
    with pytest.raises(ValueError, match="2 patients leave none to train"):
        splits.assign(["a", "b"], [""] * 2, 0.1, 0.1, 0)
    with pytest.raises(ValueError, match="leave some patients to train"):
        splits.assign(["a", "b"], [""] * 2, 0.6, 0.5, 0)


def test_failed_cases_keep_their_place_in_the_split(cohort):
    pairs, shares = [pair(cohort, i) for i in range(3)], prepare.Shares(0.3, 0.3, seed=1)
    prepare.prepare(pairs, cohort / "whole", shares)
    for i in (0, 1):
        (cohort / f"muscle/case{i}.nii.gz").unlink()
    assert len(prepare.prepare(pairs, cohort / "out", shares)) == 2
    whole, part = (read_dataset(cohort / name).cases for name in ("whole", "out"))
    assert list(whole["split"])[4:] == list(part["split"])


def test_phantoms_become_a_dataset(tmp_path, monkeypatch):
    monkeypatch.setattr(phantom_scans, "_write_volume", lambda *_: None)  # takes seconds
    prepare.prepare_phantoms(5, tmp_path / "out", 64, shares=prepare.Shares(0.2, 0.2))
    dataset = read_dataset(tmp_path / "out")
    drawn = phantom.slices(5, 64)
    np.testing.assert_array_equal(dataset.slices.image_hu, drawn.image_hu)
    np.testing.assert_array_equal(dataset.slices.mask, drawn.mask)
    np.testing.assert_allclose(dataset.slices.spacing_mm, drawn.spacing_mm, rtol=1e-6)
    assert dataset.manifest["counts"] == {"slices": 5, "patients": 5, "train": 3, "validation": 1, "test": 1}
    assert dataset.cases["height_m"].between(1.4, 2.1).all()
    written = (tmp_path / "out/slices.npz").stat().st_mtime_ns
    prepare.prepare_phantoms(5, tmp_path / "out", 64, shares=prepare.Shares(0.2, 0.2))
    assert (tmp_path / "out/slices.npz").stat().st_mtime_ns == written
    prepare.prepare_phantoms(6, tmp_path / "out", 64, shares=prepare.Shares(0.2, 0.2))
    assert len(read_dataset(tmp_path / "out").slices) == 6


@pytest.fixture
def launch_prepare():
    """Runs the launcher's main with flags and returns its exit status."""
    from launch import prepare as launcher

    def start(**values) -> int:
        flags.FLAGS(["prepare", *(f"--{name}={value}" for name, value in values.items())])
        return launcher.main()

    yield start
    flags.FLAGS.unparse_flags()


def test_the_launcher_reports_failures(cohort, launch_prepare, caplog):
    (cohort / "muscle/case2.nii.gz").unlink()
    said = {"images": cohort / "ct", "masks": cohort / "muscle", "output": cohort / "out"}
    assert launch_prepare(**said, validation_fraction=0, test_fraction=0, slices="largest") == 1
    assert "case2.nii.gz: has no mask of the same name" in caplog.text
    assert list(read_dataset(cohort / "out").cases["slice_index"]) == [2, 2]


def test_the_launcher_helps():
    said = subprocess.run([sys.executable, "-m", "launch.prepare", "--help"], capture_output=True, text=True, cwd=ROOT)
    assert said.returncode == 0
    assert "--level_label" in said.stdout and "python -m launch.prepare --images" in said.stdout


ROOT = Path(__file__).resolve().parents[2]


def test_the_launcher_refuses_half_a_request(tmp_path):
    command = [sys.executable, "-m", "launch.prepare", f"--images={tmp_path}", f"--output={tmp_path / 'out'}"]
    said = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ)
    assert said.returncode == 2
    assert "error: give --images and --masks" in said.stderr
    assert not (tmp_path / "out").exists()


def test_real_ct(real_ct, tmp_path):
    """L3 lies on slices 65 to 79, so that 72 is its middle; there the left erector (label 86) has pixels."""
    labels = real_ct / "abdomen_3mm/labels.nii.gz"
    pairs, _ = match(str(real_ct / "abdomen_3mm/ct.nii.gz"), str(labels), "level", "86", str(labels), "29")
    assert prepare.prepare(pairs, tmp_path, ALL_TRAIN) == {}
    dataset = read_dataset(tmp_path)
    assert dataset.cases["slice_index"].tolist() == [72]
    assert dataset.slices.spacing_mm[0] == pytest.approx([3, 3])
    image_hu, mask, _ = dataset.slices.case(0)
    rows, columns = np.nonzero(mask)
    # Behind the middle of the body, and on the patient's left, which is on the right of the picture.
    assert rows.mean() > image_hu.shape[0] / 2 and columns.mean() > image_hu.shape[1] / 2
