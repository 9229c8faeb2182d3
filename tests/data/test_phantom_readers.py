"""Simulated readers draw the phantoms' test cases, five a case, and again only where something changed."""

import csv

import numpy as np
import pytest
import SimpleITK as sitk

from mskjax.data import phantom, phantom_scans, prepare
from mskjax.data.phantom_scans import write_readers, write_scans


@pytest.fixture(autouse=True)
def no_volume(monkeypatch):
    monkeypatch.setattr(phantom_scans, "_write_volume", lambda *_: None)  # takes seconds


def rows(table):
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def test_two_groups_of_five_readers_take_turns(tmp_path):
    write_scans(tmp_path, 4, 64, seed=3)
    cases = ["phantom_0001", "phantom_0002", "phantom_0003"]
    listed = rows(write_readers(tmp_path, cases))
    drawn = phantom.observers(phantom.slices(4, 64, seed=3), 10, seed=3)
    of_case = {case: {row["reader"] for row in listed if row["case"] == case} for case in cases}
    assert [len(readers) for readers in of_case.values()] == [5, 5, 5]
    assert of_case[cases[0]] == of_case[cases[2]] and not of_case[cases[0]] & of_case[cases[1]]
    for row in listed:
        mask = sitk.ReadImage(str(tmp_path / row["file"]))
        index, reader = int(row["case"][-4:]), int(row["reader"][-2:])
        np.testing.assert_array_equal(sitk.GetArrayFromImage(mask)[0], drawn[reader, index])
        assert mask.GetSpacing() == sitk.ReadImage(str(tmp_path / row["image"])).GetSpacing()
    assert len(list(tmp_path.rglob("readers/*/*.nii.gz"))) == len(listed) == 15


def test_what_is_up_to_date_is_left(tmp_path, monkeypatch):
    write_scans(tmp_path, 3, 64)
    first = tmp_path / rows(write_readers(tmp_path, ["phantom_0000", "phantom_0001"]))[0]["file"]

    def keeps(cases):
        first.write_bytes(b"kept")
        write_readers(tmp_path, cases)
        return first.is_file() and first.read_bytes() == b"kept"

    assert keeps(["phantom_0000", "phantom_0001"])
    assert not keeps(["phantom_0000", "phantom_0002"])
    assert not (tmp_path / "readers/reader_01/phantom_0001.nii.gz").exists()
    monkeypatch.setattr(phantom_scans, "_READERS_EDITION", 0)
    assert not keeps(["phantom_0000", "phantom_0002"])
    write_scans(tmp_path, 3, 64, seed=1)
    assert not (tmp_path / "readers.csv").exists() and not (tmp_path / "readers").exists()


def test_without_test_cases_there_are_no_readers(tmp_path):
    write_scans(tmp_path, 1, 64)
    assert write_readers(tmp_path, ["phantom_0000"]) == tmp_path / "readers.csv"
    assert write_readers(tmp_path, []) is None
    assert not (tmp_path / "readers.csv").exists() and not (tmp_path / "readers").exists()


def test_prepared_phantoms_bring_readers_of_their_test_cases(tmp_path):
    prepare.prepare_phantoms(5, tmp_path, 64, shares=prepare.Shares(0.2, 0.4))
    with (tmp_path / "cases.csv").open(newline="") as file:
        test = {row["case_id"] for row in csv.DictReader(file) if row["split"] == "test"}
    assert {row["case"] for row in rows(tmp_path / "phantoms/readers.csv")} == test and len(test) == 2
