"""Results for men and for women, of scores whose every figure is known by hand."""

import numpy as np
import pandas as pd
import pytest

from mskjax.study.sarcopenia_sexes import by_sex

PAIR = ("densenet121", "freezeall")
# Shuffle, patient, sex, label, probability; the threshold is 0.5.
TESTS = [
    (0, "m1", "M", 1, 0.9),
    (0, "m2", "M", 0, 0.2),
    (0, "m3", "M", 0, 0.6),
    (0, "f1", "F", 0, 0.1),
    (0, "f2", "F", 0, 0.8),
    (1, "m1", "M", 1, 0.3),
    (1, "m2", "M", 0, 0.4),
    (1, "f1", "F", 0, 0.3),
    (1, "x", "", 1, 0.7),
]


def cases(tests=TESTS):
    rows = [(*PAIR, *row[:2], row[2], "test", *row[3:], int(row[4] >= 0.5)) for row in tests]
    rows += [(*PAIR, 0, "m4", "M", "validation", 1, 0.0, 0)]
    names = ["network", "policy", "shuffle", "patient_id", "sex", "split", "label", "probability", "decision"]
    return pd.DataFrame(rows, columns=pd.Index(names))


def table(tests=TESTS):
    order = pd.DataFrame([PAIR], columns=pd.Index(["network", "policy"]))
    return by_sex(cases(tests), order, samples=100).set_index("sex")


def test_men_women_and_those_of_whom_it_is_not_known():
    """Men: AUC 1 and 0 in the two tests; one of two sarcopenic cases is called so, two of three others are not."""
    found = table()
    assert list(found.index) == ["M", "F", "unknown"]
    men = found.loc["M"]
    assert (men["patients"], men["sarcopenic_patients"], men["cases"]) == (3, 1, 5)
    assert (men["auc_mean"], men["auc_shuffles"], men["shuffles"]) == (0.5, 2, 2)
    assert men["auc_sd"] == pytest.approx(np.sqrt(0.5))
    assert (men["tp"], men["fn"], men["tn"], men["fp"]) == (1, 1, 2, 1)
    assert (men["recall"], men["specificity"]) == (pytest.approx(1 / 2), pytest.approx(2 / 3))
    assert men["undefined"].startswith("interval: each class needs cases of at least two patients")


def test_what_is_not_defined_says_why():
    women, unknown = table().loc["F"], table().loc["unknown"]
    assert women[["auc_mean", "auc_sd", "auc_low", "recall"]].isna().all() and women["auc_shuffles"] == 0
    assert women["specificity"] == pytest.approx(2 / 3)
    assert "auc of 2 shuffles: no case of one class; interval: " in women["undefined"]
    assert women["undefined"].endswith("recall: no case is positive")
    assert unknown["shuffles"] == 1 and unknown["recall"] == 1 and np.isnan(unknown["specificity"])


def test_one_test_of_both_classes_has_no_deviation():
    found = table([row for row in TESTS if row[:2] != (1, "m1")]).loc["M"]
    assert (found["auc_mean"], found["auc_shuffles"], found["shuffles"]) == (1, 1, 2)
    assert np.isnan(found["auc_sd"]) and "sd: there is one value only" in found["undefined"]


def test_the_interval_is_of_patients_of_both_classes():
    """Two men of each class who are always ranked rightly: no sample has another AUC."""
    rows = [(0, f"m{i}", "M", i % 2, 0.2 + 0.6 * (i % 2)) for i in range(4)]
    found = table(rows).loc["M"]
    assert (found["auc_low"], found["auc_high"], found["undefined"]) == (1, 1, "sd: there is one value only")
