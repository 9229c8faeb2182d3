"""Cases that are listed in a CSV."""

import contextlib
from pathlib import Path

import pydicom
import pytest
from pair_files import ALL_TRAIN

from mskjax.data import prepare
from mskjax.data.case_table import read_table
from mskjax.data.dataset import read_dataset
from mskjax.data.pseudonyms import about
from mskjax.measure import muscle_index_cm2_m2


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
    "lacks the column image": ("mask", "a.nii"),
    "no rows below its header; give it a header with image, and a row for each": ("image,mask",),
    r"list\.csv is empty; give it a header": ("",),
    "line 2: not as many cells": ("image,mask", "a.nii,b.nii,c"),
    "line 2: image must be filled": ("image,mask", ",a.nii"),
    "is a mask_plain without a mask": ("image,mask,mask_plain", "a.png,,b.png"),
    "sarcopenia is 'yes', not one of 0, 1 or empty": ("image,mask,sarcopenia", "a.nii,b.nii,yes"),
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


def test_a_table_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(
        OSError, match=r"^\S+no\.csv cannot be read \(No such file or directory\); name a CSV of cases$"
    ):
        read_table(tmp_path / "no.csv")
    (tmp_path / "table.csv").write_bytes(b"image,mask\n\xff,b\n")
    with pytest.raises(ValueError, match=r"table\.csv is no CSV in UTF-8; save the table as CSV in UTF-8$"):
        read_table(tmp_path / "table.csv")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_cell_names_several_labels(tmp_path, separator):
    cells = "image,mask,label", "a.nii,b.nii,", "a.nii,b.nii,1", "a.nii,b.nii,psoas left | psoas right"
    table = write_csv(tmp_path, *(line.replace(",", separator) for line in cells))
    assert [row.label for row in read_table(table)] == [None, ("1",), ("psoas left", "psoas right")]
    assert read_table(table, label=("8", "9"))[0].label == ("8", "9")
    assert read_table(table, label=("8", "9"))[1].label == ("1",)


@pytest.mark.parametrize(("height_m", "plausible"), [("0.39", False), ("0.4", True), ("2.6", True), ("2.61", False)])
def test_a_table_a_header_and_the_muscle_index_take_the_same_heights(tmp_path, height_m, plausible):
    table = write_csv(tmp_path, "image,mask,height_m", f"a.nii,b.nii,{height_m}")
    header = pydicom.Dataset()
    header.PatientSize = height_m
    assert ("height_m" in about(header)) == plausible
    if plausible:
        assert read_table(table)[0].about["height_m"] == height_m
    else:
        with pytest.raises(ValueError, match=f"height_m is '{height_m}', not a number from 0.4 to 2.6"):
            read_table(table)
    with contextlib.nullcontext() if plausible else pytest.raises(ValueError, match="not a person's"):
        assert muscle_index_cm2_m2(1.0, float(height_m)) == pytest.approx(float(height_m) ** -2)
