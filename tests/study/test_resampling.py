import numpy as np
import pandas as pd
import pytest
from score_rows import network

from mskjax.study.resampling import bootstrap_differences, interval, sample_of

PEOPLE = np.array([f"p{i}" for i in range(20)])
VALUES = np.linspace(0.0, 1.9, 20) ** 2
NOTHING = (np.full(20, 7.0), PEOPLE)


def test_constant_groups_differ_by_their_constants_in_every_sample():
    found = bootstrap_differences([(np.full(20, 9.0), PEOPLE), (np.full(20, 6.0), PEOPLE)], NOTHING, 50, 0)
    assert found.shape == (50, 2)
    assert found == pytest.approx(np.tile([2.0, -1.0], (50, 1)))


def test_spread_is_the_standard_error_of_a_mean_over_patients():
    found = bootstrap_differences([(VALUES, PEOPLE)], NOTHING, 20000, 1)
    assert found.mean() == pytest.approx(VALUES.mean() - 7, abs=0.02)
    assert found.std() == pytest.approx(VALUES.std() / np.sqrt(20), rel=0.02)


def test_more_predictions_of_the_same_patients_do_not_narrow_anything():
    once = bootstrap_differences([(VALUES, PEOPLE)], NOTHING, 100, 2)
    often = bootstrap_differences([(np.tile(VALUES, 16), np.tile(PEOPLE, 16))], NOTHING, 100, 2)
    assert often == pytest.approx(once)


def test_networks_and_readers_of_a_patient_are_drawn_together():
    found = bootstrap_differences([(VALUES + 0.25, PEOPLE)], (np.tile(VALUES, 5), np.tile(PEOPLE, 5)), 100, 3)
    assert found == pytest.approx(np.full((100, 1), 0.25))


def test_order_of_the_rows_does_not_matter():
    shuffled = np.random.default_rng(0).permutation(20)
    ordered = bootstrap_differences([(VALUES, PEOPLE)], NOTHING, 10, 4)
    assert bootstrap_differences([(VALUES[shuffled], PEOPLE[shuffled])], NOTHING, 10, 4) == pytest.approx(ordered)


def test_what_is_not_finite_is_left_out():
    values, people = np.append(VALUES, [np.inf, np.nan]), np.append(PEOPLE, ["p0", "p1"])
    expected = bootstrap_differences([(VALUES, PEOPLE)], NOTHING, 10, 5)
    assert bootstrap_differences([(values, people)], NOTHING, 10, 5) == pytest.approx(expected)


@pytest.mark.parametrize("values", [[1.0, 2.0, np.inf], [], [np.nan, np.nan, np.nan]])
def test_one_patient_shows_no_chance(values):
    people = np.array(["p0", "p0", "p1"])[: len(values)]
    assert np.isnan(bootstrap_differences([(np.array(values), people)], NOTHING, 10, 0)).all()
    assert np.isnan(bootstrap_differences([NOTHING], (np.array(values), people), 10, 0)).all()


def test_a_sample_without_a_value_of_a_group_is_unknown_and_the_others_are_not():
    # Both of 2 among 20 patients are missed with chance (18/20)^20, about 0.12.
    found = bootstrap_differences([(np.array([8.0, 8.0]), PEOPLE[:2])], NOTHING, 4000, 6)
    assert np.isnan(found).mean() == pytest.approx(0.9**20, abs=0.02)
    assert found[~np.isnan(found)] == pytest.approx(1.0)
    assert interval(found[:, 0], 0.95) == pytest.approx((1.0, 1.0))


def test_interval_holds_the_middle():
    assert interval(np.append(np.arange(1001.0), np.nan), 0.9) == pytest.approx((50, 950))
    assert np.isnan(interval(np.array([np.nan, np.nan]), 0.9)).all()


def test_cases_stand_for_patients_unless_said():
    cases = network("random", 5, dice=[0.8, 0.9])
    assert sample_of(cases, "dice", None)[1].tolist() == ["c0", "c1"]
    values, people = sample_of(cases, "dice", {"c0": "ann", "c1": "ann", "unscored": "bob"})
    assert values.tolist() == [0.8, 0.9]
    assert people.tolist() == ["ann", "ann"]
    with pytest.raises(ValueError, match="no patient is known of case 'c1'"):
        sample_of(cases, "dice", {"c0": "ann"})
    with pytest.raises(ValueError, match="no patient is known of case 'c0'"):
        sample_of(cases, "dice", pd.Series({"c0": np.nan, "c1": "ann"}))
