import numpy as np
import pandas as pd
import pytest

from mskjax.study.shuffles import PARTS, SERVES, check_fractions, every, gather, shuffle, sizes

BOTH = (12 / 79, 13 / 79)
STUDY_B = (BOTH, BOTH)
BY_CLASS = ((10 / 61, 13 / 61), (6 / 18, 3 / 18))


def table(*rows):
    """Rows of patient, case and label, None where it is not known."""
    frame = pd.DataFrame(rows, columns=["patient_id", "case_id", "sarcopenia"])
    return frame.assign(sarcopenia=frame["sarcopenia"].astype("Int64"))


def cohort(negative, positive):
    return table(*((f"p{i:02d}", f"c{i:02d}", int(i < positive)) for i in range(negative + positive)))


def test_the_numbers_of_study_b():
    """79 patients, 18 of them sarcopenic: 54 (42 and 12), 12 (9 and 3) and 13 (10 and 3)."""
    assert sizes(61, BOTH) == (42, 9, 10)
    assert sizes(18, BOTH) == (12, 3, 3)
    labelled = gather(cohort(61, 18))
    for number in range(10):
        parts = shuffle(labelled, STUDY_B, number, seed=0)
        counts = [(len(parts[part]), sum(labelled.label[who] for who in parts[part])) for part in PARTS]
        assert counts == [(54, 12), (12, 3), (13, 3)]
        assert sorted(who for part in PARTS for who in parts[part]) == sorted(labelled.label)


def test_fractions_of_each_class():
    """The scans of study B: 47 train (9 sarcopenic), 16 validate (6) and 16 test (3), each patient once."""
    labelled = gather(cohort(61, 18))
    fractions = {"validation_fractions": [10 / 61, 6 / 18], "test_fractions": [13 / 61, 3 / 18]}
    drawn = every(labelled, {**fractions, "stratify": "label", "seed": 0, "shuffles": 10})
    assert drawn == [shuffle(labelled, BY_CLASS, number, seed=0) for number in range(10)]
    for parts in drawn:
        counts = [(len(parts[part]), sum(labelled.label[who] for who in parts[part])) for part in PARTS]
        assert counts == [(47, 9), (16, 6), (16, 3)]
        assert sorted(who for part in PARTS for who in parts[part]) == sorted(labelled.label)


def test_one_fraction_for_all_draws_as_before():
    """The first patients of each part of shuffle 3 of the classification, as drawn before fractions could differ."""
    whole = {"validation_fraction": 12 / 79, "test_fraction": 13 / 79, "stratify": "label", "seed": 0, "shuffles": 4}
    parts = every(gather(cohort(61, 18)), whole)[3]
    assert [parts[part][:3] for part in PARTS] == [["p57", "p58", "p50"], ["p49", "p47", "p66"], ["p71", "p29", "p75"]]


def test_shuffles_differ_and_depend_on_nothing_else():
    labelled = gather(cohort(61, 18))
    tests = [frozenset(shuffle(labelled, STUDY_B, number, seed=0)["test"]) for number in range(10)]
    assert len(set(tests)) == 10
    mixed = gather(cohort(61, 18).sample(frac=1, random_state=np.random.default_rng(3)))
    assert [frozenset(shuffle(mixed, STUDY_B, number, 0)["test"]) for number in range(10)] == tests
    assert frozenset(shuffle(labelled, STUDY_B, 0, seed=1)["test"]) != tests[0]


def test_slices_of_a_patient_stay_together_and_unlabelled_cases_stay_out():
    labelled = gather(table(("b", "b1", 1), ("a", "a2", 0), ("a", "a1", 0), ("c", "c1", None), ("b", "b0", 1)))
    assert labelled.cases == {"a": ("a1", "a2"), "b": ("b0", "b1")}
    assert labelled.label == {"a": 0, "b": 1}
    assert labelled.unlabelled == ("c1",)


def test_a_patients_sex_may_stand_in_a_row_without_a_label():
    cases = table(("a", "a1", 0), ("a", "a0", None), ("b", "b1", 1), ("c", "c1", None))
    assert gather(cases.assign(sex=["", "F", "M", "F"])).sex == {"a": "F", "b": "M"}
    assert gather(cases).sex == {"a": "", "b": ""}


def test_nobody_is_left_out_by_sex():
    """Every patient is in one part, those of unknown sex too; a sex that is none is no reason to drop anybody."""
    labelled = gather(cohort(61, 18).assign(sex=["M", "F", ""] * 26 + ["M"]))
    parts = shuffle(labelled, STUDY_B, 0, 0, by_sex=True)
    assert sorted(who for part in PARTS for who in parts[part]) == sorted(labelled.label)
    with pytest.raises(KeyError, match="male"):
        shuffle(gather(cohort(61, 18).assign(sex="male")), STUDY_B, 0, 0, by_sex=True)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((("a", "a1", 0), ("a", "a2", 1)), "patient a has cases with sarcopenia 0 and 1; give all of them one label"),
        ((("", "a1", 0), ("b", "b1", 1)), "1 of 2 labelled cases have no patient_id, such as a1"),
    ],
)
def test_labels_that_cannot_be(rows, message):
    with pytest.raises(ValueError, match=message):
        gather(table(*rows))


ONE = {"validation_fraction": 12 / 79, "test_fraction": 13 / 79}
EACH = {"validation_fractions": [10 / 61, 6 / 18], "test_fractions": [13 / 61, 3 / 18]}
DRAWN = {"stratify": "label", "seed": 0, "shuffles": 1}


@pytest.mark.parametrize(
    ("patients", "fractions", "told"),
    [
        (
            (3, 18),
            EACH,
            "3 not sarcopenic patients make 2 train, 0 validation, 1 test, and each part needs at least one; label "
            "more patients, or set the fractions that validate and test, such as "
            '--config.validation_fractions="(0.3, 0.3)" --config.test_fractions="(0.3, 0.3)"',
        ),
        (
            (61, 3),
            ONE,
            "3 sarcopenic patients make 3 train, 0 validation, 0 test, and each part needs at least one; label more "
            "patients, or set the fractions that validate and test, such as "
            "--config.validation_fraction=0.3 --config.test_fraction=0.3",
        ),
        (
            (61, 2),
            ONE,
            "2 sarcopenic patients make 2 train, 0 validation, 0 test, and each part needs at least one; label at "
            "least 3 patients of each class",
        ),
    ],
)
def test_too_few_of_a_class_and_the_flags_that_help(patients, fractions, told):
    with pytest.raises(ValueError) as refused:
        every(gather(cohort(*patients)), {**fractions, **DRAWN})
    assert str(refused.value) == told


def test_the_fractions_that_are_proposed_serve_from_three_patients_on():
    assert all(min(sizes(count, (SERVES, SERVES))) >= 1 for count in range(3, 500))


@pytest.mark.parametrize(
    ("fractions", "told"),
    [
        (
            {"validation_fractions": (0.3, 0.9), "test_fractions": (0.3, 0.8)},
            "config.validation_fractions and config.test_fractions take 0.9 and 0.8 of the sarcopenic patients, of "
            "whom none are left to train; give fractions whose sum is below 1, such as "
            '--config.validation_fractions="(0.3, 0.3)" --config.test_fractions="(0.3, 0.3)"',
        ),
        (
            {"validation_fraction": 0.5, "test_fraction": 0.5},
            "config.validation_fraction and config.test_fraction take 0.5 and 0.5 of the not sarcopenic patients, of "
            "whom none are left to train; give fractions whose sum is below 1, such as "
            "--config.validation_fraction=0.3 --config.test_fraction=0.3",
        ),
    ],
)
def test_fractions_that_leave_nobody_to_train(fractions, told):
    with pytest.raises(ValueError) as refused:
        check_fractions(fractions)
    assert str(refused.value) == told
    check_fractions(ONE)
    check_fractions(EACH)
