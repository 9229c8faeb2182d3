"""Whole patients train, validate or test."""

import pytest

from mskjax.data import splits


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
