import numpy as np
import pytest

from mskjax.measure.diagnosis import auc, mean_auc_interval

LABEL, PATIENT = [1, 1, 1, 0, 0, 0, 0], list("abcdefg")
MIXED = [0.9, 0.4, 0.3, 0.5, 0.35, 0.2, 0.1]


def test_perfect_rankings_have_an_interval_without_width():
    perfect = ([1, 1, 0, 0], [0.9, 0.8, 0.2, 0.1], ["a", "b", "c", "d"])
    found = mean_auc_interval([perfect, perfect], samples=100)
    assert (found.low, found.high, found.left_out, found.reason) == (1, 1, 0, "")
    assert found.drawn == 200


def test_a_test_that_is_repeated_on_the_same_patients_tells_nothing_new():
    """Drawn apart, ten tests would have a much narrower interval than one."""
    one, ten = (mean_auc_interval([(LABEL, MIXED, PATIENT)] * times, samples=400) for times in (1, 10))
    assert (one.low, one.high) == (pytest.approx(ten.low), pytest.approx(ten.high))
    assert one.high - one.low > 0.2
    assert one.low < auc(LABEL, MIXED) < one.high


def test_the_bounds_are_those_of_all_samples_that_chance_can_draw():
    """Of two patients of each class the AUC is 1 where the low one of the sick is not drawn, at a chance of 1/4."""
    label, score = [1, 1, 0, 0], [0.9, 0.4, 0.5, 0.1]
    found = mean_auc_interval([(label, score, list("abcd"))], samples=2000, level=0.4)
    # AUC by draws of the sick (aa, ab, bb) and of others (cc, cd, dd): 0 for bb with cc, 1 for aa or dd.
    values = {(i, j): (i * 1 + (2 - i) * (1 - j / 2)) / 2 for i in (0, 1, 2) for j in (0, 1, 2)}
    chances = {key: np.prod([(0.25, 0.5, 0.25)[k] for k in key]) for key in values}
    below = sum(chance for key, chance in chances.items() if values[key] < 0.75)
    assert below == pytest.approx(1 / 16 + 1 / 8 + 1 / 8)  # 0.3125, so that the lower bound at 0.3 is 0.5
    assert (found.low, found.high) == (0.5, 1)


def test_tests_without_a_class_are_left_out_of_their_sample_and_counted():
    """Each test has one of two sick patients, so that half of the samples, aa and bb, lack the other's."""
    first = ([1, 0, 0], [0.9, 0.1, 0.2], ["a", "c", "d"])
    second = ([1, 0, 0], [0.8, 0.1, 0.2], ["b", "c", "d"])
    found = mean_auc_interval([first, second], samples=1000)
    assert (found.low, found.high) == (1, 1)
    assert found.left_out == pytest.approx(500, abs=60)


def test_too_few_patients_have_no_interval_but_a_reason():
    found = mean_auc_interval([([1, 0, 0], [0.9, 0.1, 0.2], ["a", "b", "c"])], samples=10)
    assert np.isnan([found.low, found.high]).all()
    assert "at least two patients" in found.reason


def test_a_patient_of_both_classes_is_refused():
    with pytest.raises(ValueError, match="patient a has cases of both classes"):
        mean_auc_interval([([1, 0], [0.9, 0.1], ["a", "b"]), ([0, 1], [0.9, 0.1], ["a", "c"])])
