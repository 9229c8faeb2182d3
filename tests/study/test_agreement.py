import math
from dataclasses import astuple

import numpy as np
import pandas as pd
import pytest
from score_rows import network, reader, study

from mskjax.study.agreement import COLUMNS, agreement, bland_altman, icc

# Shrout and Fleiss 1979, table 2: six targets, four judges.
RATINGS = np.array([[9.0, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])
# Bland and Altman 1986: peak expiratory flow rate, first readings of two meters.
WRIGHT = [494.0, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
MINI = [512.0, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]


def test_limits_of_agreement_of_bland_and_altman_1986():
    found = bland_altman(np.array(WRIGHT) - np.array(MINI))
    assert found.bias == pytest.approx(-2.1, abs=0.05)
    assert found.sd == pytest.approx(38.8, abs=0.05)
    assert (found.bias_low, found.bias_high) == pytest.approx((-22.0, 17.8), abs=0.1)
    assert (found.lower_limit, found.upper_limit) == pytest.approx((-2.1 - 1.96 * 38.8, -2.1 + 1.96 * 38.8), abs=0.1)


def test_intervals_of_bland_and_altman_1999():
    # Blood pressure by an observer and a monitor in 85 people: mean difference -16.29 and sd 19.61 mmHg.
    shape = np.linspace(-1, 1, 85)
    found = bland_altman(-16.29 + 19.61 * shape / shape.std(ddof=1))
    assert (found.bias_low, found.bias_high) == pytest.approx((-20.5, -12.1), abs=0.1)
    assert (found.lower_limit, found.upper_limit) == pytest.approx((-54.7, 22.1), abs=0.1)
    # The paper rounds the standard error of a limit to 1.71 sd / sqrt(n).
    assert (found.lower_limit_low, found.lower_limit_high) == pytest.approx((-61.9, -47.5), abs=0.15)
    assert (found.upper_limit_low, found.upper_limit_high) == pytest.approx((14.9, 29.3), abs=0.15)


def test_one_difference_has_a_bias_and_no_limits():
    assert bland_altman(np.array([3.0])).bias == 3
    assert np.isnan(astuple(bland_altman(np.array([3.0])))[1:]).all()
    assert np.isnan(astuple(bland_altman(np.array([])))).all()
    assert math.isnan(bland_altman(np.array([3.0, 4.0]), independent=1).sd), "two predictions of one patient"


def test_correlations_of_shrout_and_fleiss():
    found = icc(RATINGS)
    assert found.icc_2_1 == pytest.approx(0.29, abs=0.005)
    assert found.icc_3_1 == pytest.approx(0.71, abs=0.005)
    # The intervals and p that R's psych documents for this table.
    assert (found.icc_2_1_low, found.icc_2_1_high) == pytest.approx((0.019, 0.76), abs=0.005)
    assert (found.icc_3_1_low, found.icc_3_1_high) == pytest.approx((0.342, 0.95), abs=0.005)
    assert found.f == pytest.approx(11.03, abs=0.01)
    assert found.f_p == pytest.approx(0.00013, abs=1e-5)


def test_interval_of_agreement_without_differences_between_raters():
    """Then all 15 degrees of freedom of the error hold, and the tabled F(5, 15) and F(15, 5) close the formula."""
    found = icc(RATINGS - RATINGS.mean(axis=0))
    subjects, error = 11.2417, 1.0194  # mean squares that Shrout and Fleiss print as 11.24 and 1.02
    high, low, weight = 3.576, 6.428, 4 - 1 - 4 / 6
    assert found.icc_2_1_low == pytest.approx((subjects - high * error) / (subjects + weight * high * error), abs=1e-3)
    assert found.icc_2_1_high == pytest.approx((low * subjects - error) / (low * subjects + weight * error), abs=1e-3)


def test_a_constant_offset_spoils_agreement_but_not_consistency():
    values = np.array([80.0, 100.0, 120.0, 160.0])
    found = icc(np.stack([values + 10, values], axis=1))
    assert found.icc_2_1 == pytest.approx(values.var(ddof=1) / (values.var(ddof=1) + 10**2 / 2))
    assert found.icc_3_1 == pytest.approx(1)
    assert math.isnan(found.icc_2_1_low)
    assert math.isnan(found.f)
    assert found.reason == "no error to give an interval"


def test_equal_ratings_agree_in_full():
    found = icc(np.stack([RATINGS[:, 0] / 3] * 2, axis=1))
    assert (found.icc_2_1, found.icc_3_1) == pytest.approx((1, 1))
    assert found.reason == "no error to give an interval"


@pytest.mark.parametrize(
    ("ratings", "independent", "reason"),
    [
        (np.full((5, 2), 0.1), None, "no differences between cases"),
        (np.tile([100.1, 90.3], (5, 1)), None, "no differences between cases"),
        (RATINGS[:1], None, "fewer than two independent measurements"),
        (RATINGS[:0], None, "fewer than two independent measurements"),
        (RATINGS[:, :1], None, "fewer than two independent measurements"),
        (RATINGS, 1, "fewer than two independent measurements"),
    ],
)
def test_nothing_to_correlate_is_nan_with_a_reason(ratings, independent, reason):
    *numbers, why = astuple(icc(ratings, independent))
    assert np.isnan(numbers).all()
    assert why == reason


def test_fewer_independent_measurements_widen_the_intervals_alone():
    all_alone, clustered = icc(np.tile(RATINGS, (4, 1))), icc(np.tile(RATINGS, (4, 1)), independent=6)
    assert clustered.icc_2_1 == all_alone.icc_2_1
    assert clustered.icc_2_1_low < all_alone.icc_2_1_low
    assert clustered.icc_3_1_high > all_alone.icc_3_1_high
    assert icc(RATINGS, independent=6) == icc(RATINGS)
    differences = np.array(WRIGHT) - np.array(MINI)
    assert bland_altman(differences, independent=17) == bland_altman(differences)
    narrow, wide = bland_altman(np.tile(differences, 4)), bland_altman(np.tile(differences, 4), independent=17)
    assert wide.sd == narrow.sd
    assert wide.bias_high - wide.bias > 1.9 * (narrow.bias_high - narrow.bias)


def test_table_compares_networks_and_readers_with_the_expert():
    cases = study(
        network("jigsaw", 5, sma_cm2=WRIGHT, reference_sma_cm2=MINI, smd_hu=[np.nan, *[31.0] * 16]),
        reader("A", sma_cm2=MINI, reference_sma_cm2=MINI),
    )
    table = agreement(cases).set_index(["metric", "init"])
    assert list(agreement(cases).columns) == list(COLUMNS)
    area = table.loc[("sma_cm2", "jigsaw")]
    assert area["bias"] == pytest.approx(-2.1, abs=0.05)
    assert area["icc_2_1"] == pytest.approx(icc(np.stack([WRIGHT, MINI], axis=1)).icc_2_1)
    assert (area["n"], area["values"], area["non_finite"], area["patients"]) == (5, 17, 0, 17)
    density = table.loc[("smd_hu", "jigsaw")]
    assert (density["values"], density["non_finite"], density["patients"]) == (17, 1, 16)
    assert density["bias"] == 1
    assert table.loc[("sma_cm2", "observers"), "bias"] == 0
    assert pd.isna(table.loc[("sma_cm2", "observers"), "n"])


def test_intervals_take_each_patient_as_one_measurement():
    scores = {"sma_cm2": WRIGHT, "reference_sma_cm2": MINI}
    one = agreement(study(network("random", 5, **scores)))
    # All cases of two patients: as few independent measurements as can have an interval.
    two = agreement(study(network("random", 5, **scores)), {f"c{i}": f"p{i % 2}" for i in range(17)})
    four_networks = agreement(study(*(network("random", 5, seed, **scores) for seed in range(4))))
    alone, paired, repeated = (t["bias_high"].iloc[1] - t["bias"].iloc[1] for t in (one, two, four_networks))
    assert two["patients"].tolist() == [2, 2]
    assert paired > 10 * alone
    assert repeated == pytest.approx(alone, rel=0.03), "four networks that agree tell no more than one"


def test_no_networks_and_no_readers():
    assert len(agreement(study(reader("A", dice=[0.9, 0.8])))) == 2
    assert agreement(study(network("random", 5, dice=[0.9, 0.8])))["init"].tolist() == ["random", "random"]
