"""Pairs of images and masks become a dataset: what can be read is written, and no work is done twice."""

import re

import numpy as np
import pytest
from dicom_files import body_hu
from pair_files import ALL_TRAIN, mask_on, pair, write_image

from mskjax.data import cases, phantom, phantom_scans, prepare
from mskjax.data.case_table import read_table
from mskjax.data.dataset import read_dataset
from mskjax.data.pairs import Pair, match
from mskjax.files import sha256


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


def test_failures_are_listed_and_the_rest_is_written(cohort):
    write_image(cohort / "muscle/case1.nii.gz", mask_on(1, height=11))
    pairs = [pair(cohort, i) for i in range(3)]
    failed = prepare.prepare([*pairs, Pair(cohort / "no.nii.gz", cohort / "m.nii")], cohort / "out", ALL_TRAIN)
    assert list(failed) == [str(cohort / "ct/case1.nii.gz"), str(cohort / "no.nii.gz")]
    assert "does not exist" in failed[str(cohort / "no.nii.gz")]
    dataset = read_dataset(cohort / "out")
    assert dataset.manifest["counts"]["slices"] == 4
    assert dataset.manifest["made_by"]["failed"] == 2


def test_nothing_is_written_where_all_fail(cohort):
    failed = prepare.prepare([Pair(cohort / "no.nii.gz", cohort / "no_mask.nii.gz")], cohort / "out", ALL_TRAIN)
    assert list(failed) == [str(cohort / "no.nii.gz")]
    assert not (cohort / "out").exists()
    (cohort / "out").mkdir()
    (cohort / "out/mine.txt").touch()
    prepare.prepare([pair(cohort, slices="3")], cohort / "out", ALL_TRAIN)
    assert [path.name for path in (cohort / "out").iterdir()] == ["mine.txt"]
    prepare.prepare([pair(cohort)], cohort / "out", ALL_TRAIN)
    key = (cohort / "out/case_key").read_bytes()
    prepare.prepare([pair(cohort, slices="3")], cohort / "out", ALL_TRAIN)
    assert (cohort / "out/case_key").read_bytes() == key


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
    assert set(dataset.cases["sarcopenia"]) == {0, 1} and set(dataset.cases["sex"]) == {"F", "M"}
    written = (tmp_path / "out/slices.npz").stat().st_mtime_ns
    prepare.prepare_phantoms(5, tmp_path / "out", 64, shares=prepare.Shares(0.2, 0.2))
    assert (tmp_path / "out/slices.npz").stat().st_mtime_ns == written
    prepare.prepare_phantoms(6, tmp_path / "out", 64, shares=prepare.Shares(0.2, 0.2))
    assert len(read_dataset(tmp_path / "out").slices) == 6


def test_real_ct(real_ct, tmp_path):
    """L3 lies on slices 65 to 79, so that 72 is its middle; there the left erector (label 86) has pixels."""
    labels = real_ct / "abdomen_3mm/labels.nii.gz"
    pairs, _ = match(str(real_ct / "abdomen_3mm/ct.nii.gz"), str(labels), "level", ("86",), str(labels), "29")
    assert prepare.prepare(pairs, tmp_path, ALL_TRAIN) == {}
    dataset = read_dataset(tmp_path)
    assert dataset.cases["slice_index"].tolist() == [72]
    assert dataset.slices.spacing_mm[0] == pytest.approx([3, 3])
    image_hu, mask, _ = dataset.slices.case(0)
    rows, columns = np.nonzero(mask)
    # Behind the middle of the body, and on the patient's left, which is on the right of the picture.
    assert rows.mean() > image_hu.shape[0] / 2 and columns.mean() > image_hu.shape[1] / 2


def test_each_split_has_its_share_of_the_sarcopenic_phantoms(tmp_path, monkeypatch):
    """Largest remainders: 3 of 10 positives are 0.9 and 1.2 of the 3 that test and the 4 that validate."""
    monkeypatch.setattr(phantom_scans, "_write_volume", lambda *_: None)
    for seed in range(3):
        prepare.prepare_phantoms(20, tmp_path / f"{seed}", 32, seed, prepare.Shares(0.25, 0.25, seed))
        cases = read_dataset(tmp_path / f"{seed}").cases
        positive = int(cases["sarcopenia"].sum())
        found = cases.groupby("split")["sarcopenia"].sum()
        assert 0 < positive < 20 and found.sum() == positive
        for split in ("test", "validation"):
            assert abs(found[split] - positive / 4) < 1, (seed, split)


def test_counts_are_told_in_the_order_of_the_splits(tmp_path, monkeypatch, caplog):
    """And not in that of their numbers."""
    monkeypatch.setattr(phantom_scans, "_write_volume", lambda *_: None)
    caplog.set_level("INFO")
    prepare.prepare_phantoms(20, tmp_path, 32, 0, prepare.Shares(0.3, 0.4))
    assert re.search(r"\((\d+) train, (\d+) validation, (\d+) test\)", caplog.text).groups() == ("6", "6", "8")


def test_phantoms_of_another_edition_are_drawn_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(phantom_scans, "_write_volume", lambda *_: None)
    first = tmp_path / "images/phantom_0000.nii.gz"
    phantom_scans.write_scans(tmp_path, 1, 64)
    first.write_bytes(b"kept")
    phantom_scans.write_scans(tmp_path, 1, 64)
    assert first.read_bytes() == b"kept"
    monkeypatch.setattr(phantom_scans, "_EDITION", 0)
    phantom_scans.write_scans(tmp_path, 1, 64)
    assert first.read_bytes() != b"kept"


def test_a_dataset_is_not_replaced_by_one_from_elsewhere(cohort, monkeypatch):
    first, out = {"images": str(cohort / "ct"), "masks": str(cohort / "muscle")}, cohort / "out"
    prepare.prepare([pair(cohort)], out, ALL_TRAIN, first)
    assert read_dataset(out).manifest["made_by"]["source"] == first
    sentence = (
        r"out holds a dataset made from --images=\S*ct --masks=\S*muscle, and --\S+=.* would replace it; name another"
    )
    with pytest.raises(ValueError, match=sentence):
        prepare.prepare([pair(cohort, 1)], out, ALL_TRAIN, {"cases": str(cohort / "list.csv")})
    with pytest.raises(ValueError, match=sentence):
        prepare.prepare_phantoms(5, out, 64)
    assert len(read_dataset(out).slices) == 2 and not (out / "phantoms").exists()
    monkeypatch.chdir(cohort)
    prepare.prepare([pair(cohort, i) for i in range(2)], out, ALL_TRAIN, {"images": "ct", "masks": "./muscle"})
    assert len(read_dataset(out).slices) == 4
    (cohort / "elsewhere").mkdir()
    monkeypatch.chdir(cohort / "elsewhere")
    with pytest.raises(ValueError, match=sentence):
        prepare.prepare([pair(cohort)], out, ALL_TRAIN, {"images": "ct", "masks": "muscle"})


def test_splits_that_failures_emptied_are_told_last(cohort, caplog):
    for i in range(2):
        (cohort / f"muscle/case{i}.nii.gz").unlink()
    given = [pair(cohort, i, about={"split": split}) for i, split in enumerate(("train", "validation", "test"))]
    with caplog.at_level("INFO"):
        prepare.prepare(given, cohort / "out", ALL_TRAIN)
    assert "no case of split train (all cases meant for it failed: mend them), validation (all" in caplog.messages[-1]
    assert caplog.messages[-2].endswith("out: 2 slices of 1 case (2 test)")
    assert caplog.messages[-2:] != caplog.messages and caplog.messages[0] == "prepared 0 of 3 cases, 1 failed"


def test_a_patient_in_several_splits_is_told_last(cohort, caplog):
    given = [pair(cohort, i, patient_id="p", about={"split": s}) for i, s in enumerate(("train", "validation", "test"))]
    with caplog.at_level("INFO"):
        prepare.prepare(given, cohort / "out", ALL_TRAIN)
    assert caplog.messages[-1] == "1 patient is in several splits as given, such as p"


def test_a_copy_under_another_patient_may_not_test(cohort):
    write_image(cohort / "ct/case2.nii.gz", body_hu(4, 12, 10, seed=0))
    given = [pair(cohort, i, case_id=f"C{i}", about={"split": s}) for i, s in ((0, "train"), (2, "test"))]
    with pytest.raises(ValueError, match=r"cases C0_s001 \(train\) and C2_s001 \(test\) are one slice in two splits"):
        prepare.prepare(given, cohort / "out", ALL_TRAIN)
    assert not (cohort / "out/dataset.json").exists()


def test_progress_counts_what_was_prepared(cohort, caplog):
    with caplog.at_level("INFO"):
        prepare.prepare([pair(cohort)], cohort / "out", ALL_TRAIN)
        assert caplog.messages[0] == "prepared 1 of 1 case"
        caplog.clear()
        prepare.prepare([pair(cohort)], cohort / "out", ALL_TRAIN)
    assert [message.split("out ")[-1] for message in caplog.messages] == ["is up to date: 2 slices"]


def test_fractions_are_checked_before_any_work():
    with pytest.raises(ValueError, match=r"fraction 0\.7 and test fraction 0\.7 must be 0 or more and leave some"):
        prepare.Shares(0.7, 0.7)


def test_rows_that_failed_are_named(cohort):
    (cohort / "list.csv").write_text(
        "image,mask\nct/case0.nii.gz,muscle/case0.nii.gz\nct/no.nii.gz,a.nii\nct/no.nii.gz,b.nii\n"
    )
    failed = prepare.prepare(read_table(cohort / "list.csv"), cohort / "out", ALL_TRAIN)
    assert [name.split("no.nii.gz ")[1] for name in failed] == [f"({cohort}/list.csv, line {i})" for i in (3, 4)]
    assert all(why.startswith("does not exist; correct its path") for why in failed.values()), "the name has the path"
