import math

import numpy as np
import pytest

from mskjax.study.statistics import dunnett, hedges_g, holm, mann_whitney, non_finite

# The example of scipy's documentation of dunnett: blood counts under no drug, drug A and drug B (Dunnett 1955).
CONTROL = np.array([7.40, 8.50, 7.20, 8.24, 9.84, 8.32])
DRUG_A = np.array([9.76, 8.80, 7.68, 9.36])
DRUG_B = np.array([12.80, 9.68, 12.16, 9.20, 10.55])
LOW, HIGH = np.array([1.0, 2.0, 3.0]), np.array([2.0, 3.0, 4.0])


def test_dunnett_of_scipys_documentation():
    first, second = dunnett([DRUG_A, DRUG_B], CONTROL)
    assert first.p == pytest.approx(0.62004941, abs=1e-4)
    assert second.p == pytest.approx(0.0059035, abs=1e-4)
    assert first.reason == second.reason == ""


def test_dunnett_of_one_group_is_students_t():
    (found,) = dunnett([HIGH], LOW)
    assert found.statistic == pytest.approx(1 / math.sqrt(2 / 3))
    # Student's distribution with 4 degrees of freedom, in closed form.
    s = found.statistic / math.sqrt(4 + found.statistic**2)
    assert found.p_single == pytest.approx(1 - s * (1 + (1 - s**2) / 2))
    assert found.p == pytest.approx(found.p_single, abs=1e-6)
    assert found.effect == pytest.approx(math.sqrt(2 / math.pi))


def test_dunnett_leaves_out_what_is_not_finite():
    clean = dunnett([DRUG_A, DRUG_B], CONTROL)
    assert dunnett([np.append(DRUG_A, np.inf), np.append(np.nan, DRUG_B)], np.append(CONTROL, -np.inf)) == clean


def test_dunnett_is_the_same_for_the_same_seed_and_nearly_for_another():
    once, again, other = (dunnett([DRUG_A, DRUG_B], CONTROL, seed)[1].p for seed in (3, 3, 4))
    assert once == again
    assert once != other
    assert once == pytest.approx(other, abs=1e-4)


def test_p_of_many_groups_is_never_below_that_of_one_and_never_0():
    far = np.array([50.0, 51.0, 52.0, 53.0])
    found = dunnett([far, far - 0.5, DRUG_A], CONTROL)
    assert all(0 < one.p_single <= one.p <= 1 for one in found)


def test_a_group_too_small_is_not_tested_and_does_not_count():
    found = dunnett([np.array([9.0]), DRUG_A, np.array([np.inf, np.nan]), DRUG_B, np.array([])], CONTROL)
    assert [one.reason for one in found] == [*("fewer than two finite values", "") * 2, "fewer than two finite values"]
    assert [math.isnan(one.p) for one in found] == [True, False, True, False, True]
    assert [found[1], found[3]] == dunnett([DRUG_A, DRUG_B], CONTROL)


@pytest.mark.parametrize(
    ("groups", "control", "reason"),
    [
        ([DRUG_A], np.array([7.4, np.nan]), "the control has fewer than two finite values"),
        ([DRUG_A], np.array([]), "the control has fewer than two finite values"),
        ([np.array([1.0])], CONTROL, "fewer than two finite values"),
        ([np.array([0.1, 0.1, 0.1])], np.array([0.3, 0.3]), "no variance in any group"),
    ],
)
def test_nothing_to_test_has_no_p_but_a_reason(groups, control, reason):
    (found,) = dunnett(groups, control)
    assert found.reason == reason
    assert math.isnan(found.p)
    assert math.isnan(found.p_single)


def test_no_groups_give_no_comparisons():
    assert dunnett([], CONTROL) == []


def test_one_group_without_variance_is_tested_with_the_variance_of_the_others():
    (found,) = dunnett([np.array([9.0, 9.0, 9.0])], CONTROL)
    assert 0 < found.p < 1


def test_mann_whitney_of_scipys_documentation():
    males, females = np.array([19.0, 22, 16, 29, 24]), np.array([20.0, 11, 17, 12])
    found = mann_whitney(males, females)
    assert found.statistic == 17
    assert found.p == pytest.approx(1 / 9)
    # Of 20 pairs the man is older in 17.
    assert found.effect == pytest.approx((17 - 3) / 20)
    assert mann_whitney(females, males).effect == pytest.approx(-0.7)


def test_infinite_distances_rank_as_the_largest_and_nan_is_left_out():
    first, second = np.array([0.1, 0.2, np.inf, np.inf, np.nan]), np.array([0.15, 0.3, 0.4, np.inf])
    large = [np.nan_to_num(values[~np.isnan(values)], posinf=99.0) for values in (first, second)]
    assert mann_whitney(first, second) == mann_whitney(*large)
    everything_missed = mann_whitney(np.full(5, np.inf), np.arange(5.0))
    assert everything_missed.effect == 1
    assert everything_missed.p < 0.05


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ([1.0], [1.0, 2.0, 3.0], "fewer than two values"),
        ([1.0, 2.0], [np.nan, np.nan, 3.0], "fewer than two values"),
        ([], [], "fewer than two values"),
        ([2.0, 2.0, 2.0], [2.0, 2.0], "all values are equal"),
        ([np.inf] * 10, [np.inf] * 12, "all values are equal"),
    ],
)
def test_nothing_to_rank_has_no_p_but_a_reason(first, second, reason):
    found = mann_whitney(np.array(first), np.array(second))
    assert found.reason == reason
    assert math.isnan(found.p)


def test_holms_correction_of_a_textbook_case():
    corrected = holm(np.array([0.01, 0.04, np.nan, 0.03, 0.005]))
    assert corrected == pytest.approx([0.03, 0.06, np.nan, 0.06, 0.02], nan_ok=True)
    assert np.isnan(holm(np.array([np.nan]))).all()
    assert len(holm(np.array([]))) == 0


def test_hedges_g_in_closed_form():
    # One standard deviation apart, with 4 degrees of freedom: gamma(2) / (sqrt(2) gamma(3/2)) = sqrt(2 / pi).
    assert hedges_g(LOW, HIGH) == pytest.approx(-math.sqrt(2 / math.pi))
    assert hedges_g(np.append(LOW, np.inf), np.append(HIGH, np.nan)) == hedges_g(LOW, HIGH)


def test_no_effect_size_without_variance_or_values():
    assert math.isnan(hedges_g(np.array([1.0, 1.0]), np.array([2.0, 2.0])))
    assert math.isnan(hedges_g(np.array([1.0]), HIGH))


def test_infinite_and_undefined_values_are_counted():
    assert non_finite(np.array([1.0, np.inf, -np.inf, np.nan, 0.0])) == 3
