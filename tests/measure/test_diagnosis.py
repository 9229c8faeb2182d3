"""Expected values are by hand, from scikit-learn's documentation, or published where a test says so."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mskjax.measure import diagnosis

LABEL, SCORE = [0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]  # scikit-learn's example of roc_auc_score and roc_curve
# Hanley and McNeil 1982, table I: ratings 1 to 5 of 58 normal and 51 abnormal CT images by one reader.
NORMAL, ABNORMAL = [33, 6, 6, 11, 2], [3, 2, 2, 11, 33]
RATING = np.concatenate([np.repeat(np.arange(1, 6), counts) for counts in (NORMAL, ABNORMAL)])
ABNORMALITY = np.repeat([0, 1], [58, 51])
cases = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 8).map(lambda n: n / 8)), min_size=1, max_size=12)


def test_auc_of_documented_and_published_examples():
    assert diagnosis.auc(LABEL, SCORE) == 0.75
    assert diagnosis.auc(ABNORMALITY, RATING) == pytest.approx(0.893, abs=5e-4)
    assert diagnosis.auc([0, 1], [0.3, 0.3]) == 0.5


@pytest.mark.parametrize("label", [[0, 0], [1, 1]])
def test_auc_of_one_class_is_undefined(label):
    assert math.isnan(diagnosis.auc(label, [0.1, 0.9]))
    curve = diagnosis.roc_curve(label, [0.1, 0.9])
    assert np.isnan(curve.true_positive_rate).all() == (label == [0, 0])
    assert np.isnan(curve.false_positive_rate).all() == (label == [1, 1])


def test_the_roc_curve_of_the_documented_example():
    curve = diagnosis.roc_curve(LABEL, SCORE)
    np.testing.assert_array_equal(curve.false_positive_rate, [0, 0, 0.5, 0.5, 1])
    np.testing.assert_array_equal(curve.true_positive_rate, [0, 0.5, 0.5, 1, 1])
    np.testing.assert_array_equal(curve.threshold, [np.inf, 0.8, 0.4, 0.35, 0.1])


def test_tied_scores_share_a_point_of_the_curve():
    """The published table's own sums: called abnormal from rating 5, 4, ... on."""
    curve = diagnosis.roc_curve(ABNORMALITY, RATING)
    np.testing.assert_allclose(curve.false_positive_rate * 58, [0, 2, 13, 19, 25, 58])
    np.testing.assert_allclose(curve.true_positive_rate * 51, [0, 33, 44, 46, 48, 51])


@given(cases)
def test_auc_is_the_area_under_its_curve_and_turns_over_with_the_score(pairs):
    label, score = map(np.array, zip(*pairs, strict=True))
    area, curve = diagnosis.auc(label, score), diagnosis.roc_curve(label, score)
    trapezoids = np.trapezoid(curve.true_positive_rate, curve.false_positive_rate)
    np.testing.assert_allclose(area, trapezoids, atol=1e-12)
    np.testing.assert_allclose(diagnosis.auc(label, -score), 1 - area, atol=1e-12)


def test_counts_and_shares():
    """scikit-learn's example of confusion_matrix(...).ravel(): tn 0, fp 2, fn 1, tp 1."""
    counts = diagnosis.confusion([0, 1, 0, 1], [1, 1, 1, 0])
    assert counts == diagnosis.Confusion(0, 2, 1, 1)
    assert diagnosis.accuracy(counts) == 1 / 4
    assert diagnosis.precision(counts) == 1 / 3
    assert diagnosis.recall(counts) == 1 / 2
    assert diagnosis.specificity(counts) == 0
    assert diagnosis.f1(counts) == pytest.approx(2 / (3 + 2))


@pytest.mark.parametrize(
    ("counts", "undefined"),
    [
        ((9, 0, 4, 0), {"precision": "no case is called positive", "f1": "no case is called positive"}),
        (
            (9, 0, 0, 0),
            {
                "auc": "no case is positive",
                "precision": "no case is called positive",
                "recall": "no case is positive",
                "f1": "no case is positive and no case is called positive",
            },
        ),
        ((0, 0, 2, 3), {"auc": "no case is negative", "specificity": "no case is negative"}),
        ((5, 2, 3, 0), {}),
    ],
)
def test_what_is_undefined_is_nan_and_says_why(counts, undefined):
    counts = diagnosis.Confusion(*counts)
    for name in ("accuracy", "precision", "recall", "specificity", "f1"):
        assert math.isnan(getattr(diagnosis, name)(counts)) == (name in undefined), name
        assert diagnosis.why_undefined(name, counts) == undefined.get(name, "")
    assert diagnosis.why_undefined("auc", counts) == undefined.get("auc", "")


def test_precision_and_recall_of_zero_give_an_f1_of_zero():
    assert diagnosis.f1(diagnosis.Confusion(5, 2, 3, 0)) == 0


@pytest.mark.parametrize(
    ("label", "probability", "value", "youden"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], 0.5, 1),  # halfway between 0.2 and 0.8
        ([0, 1, 0, 1], [0.1, 0.3, 0.4, 0.9], 0.65, 0.5),  # as good as 0.2, and nearer to 0.5
        ([0, 1, 0, 1], [0.125, 0.375, 0.625, 0.875], 0.25, 0.5),  # as near as 0.75, and lower
        ([1, 0, 0, 0], [0.9, 0.9, 0.1, 0.1], 0.5, 2 / 3),
    ],
)
def test_youdens_threshold_and_its_ties(label, probability, value, youden):
    found = diagnosis.youden_threshold(label, probability)
    assert (found.value, found.youden, found.reason) == (pytest.approx(value), pytest.approx(youden), "")


@pytest.mark.parametrize(
    ("label", "probability", "reason"),
    [
        ([0, 0], [0.1, 0.9], "all cases are negative"),
        ([1, 1], [0.1, 0.9], "all cases are positive"),
        ([0, 1], [0.9, 0.1], "no threshold is better than calling all cases alike"),
        ([0, 1], [0.3, 0.3], "no threshold is better than calling all cases alike"),
    ],
)
def test_where_no_threshold_can_be_chosen_it_is_one_half(label, probability, reason):
    found = diagnosis.youden_threshold(label, probability)
    assert (found.value, found.reason) == (0.5, reason)
    assert math.isnan(found.youden) or found.youden == 0


@given(cases)
def test_the_threshold_gains_what_it_says(pairs):
    label, probability = map(np.array, zip(*pairs, strict=True))
    found = diagnosis.youden_threshold(label, probability)
    counts = diagnosis.confusion(label, probability >= found.value)
    if not found.reason:
        gained = diagnosis.recall(counts) + diagnosis.specificity(counts) - 1
        curve = diagnosis.roc_curve(label, probability)
        best = (curve.true_positive_rate - curve.false_positive_rate).max()
        assert found.youden == pytest.approx(gained) == pytest.approx(best)


def test_a_threshold_between_neighbouring_numbers_still_parts_them():
    low, high = 0.3, np.nextafter(0.3, 1)
    found = diagnosis.youden_threshold([0, 1], [low, high])
    assert low < found.value <= high


def test_brier_of_the_documented_example():
    assert diagnosis.brier([0, 1, 1, 0], [0.1, 0.9, 0.8, 0.3]) == pytest.approx(0.0375)


def test_calibration_of_the_documented_example():
    """scikit-learn's calibration_curve with 3 bins: observed 0, 0.5, 1 and predicted 0.2, 0.525, 0.85."""
    label, probability = [0, 0, 0, 0, 1, 1, 1, 1, 1], [0.1, 0.2, 0.3, 0.4, 0.65, 0.7, 0.8, 0.9, 1.0]
    table = diagnosis.calibration(label, probability, bins=3)
    np.testing.assert_allclose([row.observed for row in table], [0, 0.5, 1])
    np.testing.assert_allclose([row.predicted for row in table], [0.2, 0.525, 0.85])
    assert [row.cases for row in table] == [3, 2, 4]
    expected = (3 * 0.2 + 2 * 0.025 + 4 * 0.15) / 9
    assert diagnosis.expected_calibration_error(table) == pytest.approx(expected)


def test_bins_hold_their_lower_edge_and_empty_ones_are_kept():
    table = diagnosis.calibration([0, 1, 1], [0.0, 0.5, 1.0], bins=4)
    assert [(row.low, row.high, row.cases) for row in table] == [
        (0, 0.25, 1),
        (0.25, 0.5, 0),
        (0.5, 0.75, 1),
        (0.75, 1, 1),
    ]
    assert math.isnan(table[1].predicted) and math.isnan(table[1].observed)
    assert diagnosis.expected_calibration_error(table) == pytest.approx(0.5 / 3)


# One positive above both negatives and one below: a sample's AUC is 0, 1/2 or 1 with chances 1/4, 1/2, 1/4.
FOUR = ([1, 1, 0, 0], [0.9, 0.1, 0.5, 0.5])


@pytest.mark.parametrize(("level", "interval"), [(0.95, (0, 1)), (0.4, (0.5, 0.5))])
def test_the_bootstrap_of_four_patients(level, interval):
    found = diagnosis.auc_interval(*FOUR, patient=list("abcd"), level=level)
    assert (found.low, found.high) == interval
    assert (found.samples, found.undefined, found.reason) == (2000, 0, "")


def test_patients_are_drawn_and_not_cases():
    """Ten copies of each case change nothing as cases of the same patients; as patients they narrow the interval."""
    label, score = (np.repeat(values, 10) for values in FOUR)
    same = diagnosis.auc_interval(label, score, patient=np.repeat(list("abcd"), 10))
    assert (same.low, same.high) == (0, 1)
    others = diagnosis.auc_interval(label, score, patient=np.arange(40))
    # A share of 20 draws with chance 1/2: sd 0.112.
    np.testing.assert_allclose([others.low, others.high], [0.5 - 1.96 * 0.112, 0.5 + 1.96 * 0.112], atol=0.04)


def test_samples_that_lack_a_class_are_counted():
    """All four draws fall on one class with chance 2 / 16."""
    found = diagnosis.auc_interval(*FOUR, patient=list("abcd"), stratified=False)
    assert found.undefined == pytest.approx(250, abs=4 * math.sqrt(2000 * 7 / 64))
    assert (found.low, found.high) == (0, 1)


def test_a_patient_of_both_classes_is_of_a_kind_of_its_own():
    found = diagnosis.auc_interval([1, 0, 1, 0], [0.9, 0.1, 0.6, 0.4], patient=list("aabb"))
    assert (found.low, found.high, found.undefined) == (1, 1, 0)


@pytest.mark.parametrize("label", [[0, 0, 0], [0, 0, 1]])
def test_one_patient_of_a_class_gives_no_interval(label):
    found = diagnosis.auc_interval(label, [0.1, 0.2, 0.3], patient=list("abc"))
    assert math.isnan(found.low) and math.isnan(found.high)
    assert "at least two patients" in found.reason


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: diagnosis.auc([0, 2], [0.1, 0.2]), "labels hold 2"),
        (lambda: diagnosis.auc([0, -1], [0.1, 0.2]), "labels hold -1 .* leave out cases whose label is not known"),
        (lambda: diagnosis.auc([], []), r"labels have shape \(0,\)"),
        (lambda: diagnosis.auc([0, 1], [0.1, float("nan")]), "a score is nan"),
        (lambda: diagnosis.auc([0, 1], [0.1]), r"scores have shape \(1,\) and labels \(2,\)"),
        (lambda: diagnosis.brier([0, 1], [0.1, 1.5]), "a probability is 1.5"),
        (lambda: diagnosis.confusion([0, 1], [0.1, 0.9]), "decisions hold 0.1 .* compare probabilities"),
        (lambda: diagnosis.auc_interval([0, 1], [0.1, 0.2], ["a"]), r"patients have shape \(1,\)"),
        (lambda: diagnosis.calibration([0, 1], [0.1, 0.2], 0), "in 0 bins"),
    ],
)
def test_input_that_does_not_fit_is_refused(ask, message):
    with pytest.raises(ValueError, match=message):
        ask()
