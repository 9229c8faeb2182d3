"""Whole patients train, validate or test."""

import numpy as np
import pandas as pd
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


def test_splits_without_labels_are_those_of_before():
    """The first of the shuffled patients test, the next validate, as datasets made before labels have it."""
    patients = [f"p{i}" for i in range(20)]
    order = np.random.default_rng(7).permutation(20)
    names = ["test"] * 3 + ["validation"] * 5 + ["train"] * 12
    expected = [names[list(order).index(i)] for i in range(20)]
    for labels in ((), [""] * 20, ["1"] * 20):
        assert splits.assign(patients, [""] * 20, 0.25, 0.15, 7, labels) == expected


def test_each_split_has_its_share_of_each_label():
    """Of 79 patients, 18 of them sarcopenic, 16 test (3.6 sarcopenic) and 16 of the other 63 (14) validate (3.6)."""
    patients, labels = [f"p{i}" for i in range(79)], ["1"] * 18 + ["0"] * 61
    for seed in range(5):
        drawn = splits.assign(patients, [""] * 79, 0.2, 0.2, seed, labels)
        found = [(drawn.count(name), drawn[:18].count(name)) for name in ("train", "validation", "test")]
        assert found == [(47, 10), (16, 4), (16, 4)]
    # A slice without a label belongs to its patient's.
    own = ["1", "", "", "1", "1", "", "0", "", "0", "", "0", ""]
    some = splits.assign([*"aabbccddeeff"], [""] * 12, 0.3, 0.3, 0, own)
    assert [(some[:6].count(name), some[6:].count(name)) for name in ("train", "validation", "test")] == [(2, 2)] * 3


def test_apportioning_by_largest_remainders():
    assert splits.apportion(3, [12, 6]) == [2, 1]
    assert splits.apportion(13, [61, 18]) == [10, 3]
    assert splits.apportion(4, [18, 2]) == [4, 0], "0.4 of a patient is none"
    assert splits.apportion(1, [2, 2]) == [1, 0]
    assert splits.apportion(2, [6, 2]) == [1, 1], "of equal remainders the rarer"
    assert splits.apportion(0, [3, 0]) == [0, 0]
    assert splits.apportion(3, [0, 3]) == [0, 3]
    assert splits.apportion(0, []) == []


def test_few_patients_still_test_and_validate():
    assert sorted(splits.assign(["a", "b", "c"], [""] * 3, 0.1, 0.1, 0)) == ["test", "train", "validation"]
    with pytest.raises(
        ValueError, match=r"^2 patients cannot be 1 to test, 1 to validate and at least 1 to train; give every case a"
    ):
        splits.assign(["a", "b"], [""] * 2, 0.1, 0.1, 0)
    with pytest.raises(ValueError, match="leave some patients to train"):
        splits.assign(["a", "b"], [""] * 2, 0.6, 0.5, 0)


def test_one_patient_besides_those_given_cannot_be_split():
    sentence = r"^1 patient without a given split cannot be 1 to test, 1 to .*--validation_fraction or --test_fraction"
    with pytest.raises(ValueError, match=sentence):
        splits.assign(["a", "b"], ["train", ""], 0.2, 0.2, 0)


def test_too_few_are_refused_however_many_of_them_are_one():
    with pytest.raises(ValueError, match=r"^2 patients cannot be 1 to test, 1 to validate and at least 1 to train"):
        splits.refuse_few(2, 0.2, 0.2)
    splits.refuse_few(2, 0.0, 0.2)
    splits.refuse_few(0, 0.2, 0.2)
    with pytest.raises(ValueError, match=r"^4 patients cannot be 2 to test, 2 to validate and at least 1"):
        splits.assign(list("abcd"), [""] * 4, 0.4, 0.4, 0)
    splits.refuse_few(4, 0.4, 0.4)  # as 3 could be 1 each


def cases_table(*rows: tuple[str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["case_id", "patient_id", "split"])


def test_a_slice_in_two_splits_under_two_patients_is_refused():
    image_hu = np.arange(12, dtype=np.int16).reshape(3, 4)
    own, others = splits.digest(image_hu), [splits.digest(image_hu + 1), splits.digest(image_hu.reshape(4, 3))]
    two = cases_table(("A", "p1", "train"), ("B", "p2", "test"))
    with pytest.raises(ValueError, match=r"^cases A \(train\) and B \(test\) are one slice in two splits under two"):
        splits.refuse_twins([own, splits.digest(image_hu.copy())], two)
    with pytest.raises(ValueError, match=r"^cases B \(train\) and C \(test\)"):
        splits.refuse_twins([own] * 3, cases_table(("A", "p1", "train"), ("B", "p2", "train"), ("C", "p1", "test")))
    for other in others:
        splits.refuse_twins([own, other], two)
    with pytest.raises(ValueError, match="are one scan in two splits"):
        splits.refuse_twins([own, own], two, "scan")
    splits.refuse_twins([own, own], cases_table(("A", "p1", "train"), ("B", "p1", "test")))
    splits.refuse_twins([own, own], cases_table(("A", "p1", "test"), ("B", "p2", "test")))


def test_patients_in_several_splits_are_counted(caplog):
    rows = ("A", "p1", "train"), ("B", "p1", "test"), ("C", "p1", "validation"), ("D", "p2", "train")
    splits.warn(cases_table(*rows), ["train"], False, "out")
    assert caplog.messages == ["1 patient is in several splits as given, such as p1"]
    splits.warn(cases_table(*rows, ("E", "p2", "test")), ["train"], False, "out")
    assert caplog.messages[1:] == ["2 patients are in several splits as given, such as p1"]


def test_splits_of_one_class_are_told(caplog):
    table = cases_table(("A", "p1", "train"), ("B", "p2", "train"), ("C", "p3", "validation"), ("D", "p4", "test"))
    every = ["train", "validation", "test"]
    splits.warn(table.assign(sarcopenia=pd.array([0, 1, 0, pd.NA], "Int64")), every, False, "out")
    assert caplog.messages == [
        "labels of split validation are all alike, so that no AUC can be told of it; give cases a split"
    ]
    splits.warn(table.assign(sarcopenia=pd.array([0, 0, 0, pd.NA], "Int64")), every, False, "out")
    splits.warn(table, every, False, "out")
    assert len(caplog.messages) == 1


def test_empty_splits_are_told_with_why(caplog):
    table = cases_table(("A", "p1", "test"))
    splits.warn(table, ["test"], False, "out")
    assert caplog.messages == []
    splits.warn(table, ["test", "train"], True, "out")
    assert caplog.messages == [
        "out has no case of split train (all cases meant for it failed: mend them), "
        "validation (no row of the column split names it: give it some); then run again"
    ]
