"""Phantoms are sarcopenic by their muscle area and sex, and any twenty of them hold both classes and both sexes."""

import csv

import numpy as np
import pytest

from mskjax.data import phantom, phantom_scans


@pytest.fixture(autouse=True)
def no_volume(monkeypatch):
    monkeypatch.setattr(phantom_scans, "_write_volume", lambda *_: None)  # takes seconds


@pytest.mark.parametrize("seed", [0, 7])
def test_any_twenty_phantoms_hold_both_classes_and_sexes(tmp_path, monkeypatch, seed):
    patients = phantom.slices(40, 48, seed)
    monkeypatch.setattr(phantom, "slices", lambda *_: patients)  # drawn once
    with phantom_scans.write_scans(tmp_path, 40, 48, seed).open(newline="") as file:
        rows = list(csv.DictReader(file))
    small = patients.area_cm2 < np.where(patients.sex == "M", 165, 110)
    assert [row["sarcopenia"] for row in rows] == [str(int(sarcopenic)) for sarcopenic in small]
    for first in range(21):
        twenty = rows[first : first + 20]
        assert {row["sarcopenia"] for row in twenty} == {"0", "1"} and {row["sex"] for row in twenty} == {"F", "M"}
    # Neither class is the sex by another name.
    assert len({(row["sex"], row["sarcopenia"]) for row in rows}) == 4
