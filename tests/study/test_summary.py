from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from mskjax.study.summary import CASE_COLUMNS, score, summarise, with_differences


def cases(**columns):
    count = len(next(iter(columns.values())))
    filled = dict.fromkeys(CASE_COLUMNS, [1.0] * count) | columns
    return pd.DataFrame(filled)


def test_score_takes_bone_from_the_prediction_alone_and_only_for_area_and_density():
    image = np.full((20, 20), 50, np.int16)
    image[5, 5] = 1000
    mask = np.zeros((20, 20), np.uint8)
    mask[:, :10] = 1
    scores = score(image, mask > 0, mask, np.array([1.5, 1.5]))
    # 2 mm on pixels of 1.5 mm: the bone pixel and its 4 neighbours.
    assert scores["dice"] == 1
    assert scores["rms_dta_cm"] == scores["rms_dta_symmetric_cm"] == 0
    assert scores["sma_cm2"] == pytest.approx((200 - 5) * 0.0225)
    assert scores["smd_hu"] == 50
    assert scores["reference_sma_cm2"] == pytest.approx(200 * 0.0225)
    assert scores["reference_smd_hu"] == pytest.approx(50 + 950 / 200)
    assert scores["bone_removal"] == "2-D"


def test_mean_spread_and_median():
    row = summarise(cases(dice=[0.8, 0.9, 1.0, 0.7]))["dice"]
    sd = np.sqrt((0.05**2 + 0.05**2 + 0.15**2 + 0.15**2) / 3)
    assert asdict(row) == pytest.approx(
        {"cases": 4, "non_finite": 0, "mean": 0.85, "sd": sd, "standard_error": sd / 2, "median": 0.85}
    )


def test_what_is_not_finite_is_counted():
    summary = summarise(cases(rms_dta_cm=[0.1, np.inf, 0.3, np.inf, np.inf], smd_hu=[np.nan, 1.0, 1.0, 1.0, 1.0]))
    distance = summary["rms_dta_cm"]
    assert (distance.cases, distance.non_finite) == (5, 3)
    assert distance.mean == pytest.approx(0.2)
    assert distance.median == np.inf, "a missed muscle ranks as the farthest"
    assert distance.standard_error == pytest.approx(0.1)
    assert summary["smd_hu"].non_finite == summary["smd_difference_hu"].non_finite == 1


def test_one_case_has_no_spread_and_none_no_mean():
    one = summarise(cases(dice=[0.5], rms_dta_cm=[np.inf]))
    assert one["dice"].mean == 0.5
    assert np.isnan(one["dice"].sd)
    assert np.isnan(one["rms_dta_cm"].mean)


def test_differences_keep_their_sign():
    full = with_differences(
        cases(
            sma_cm2=[90.0, 110.0],
            reference_sma_cm2=[100.0, 100.0],
            smd_hu=[-12.0, 33.0],
            reference_smd_hu=[-10.0, 30.0],
        )
    )
    assert full["sma_difference_cm2"].tolist() == [-10, 10]
    assert full["sma_difference_percent"].tolist() == [-10, 10]
    assert full["sma_absolute_difference_percent"].tolist() == [10, 10]
    assert full["smd_difference_hu"].tolist() == [-2, 3]
    assert full["smd_difference_percent"].tolist() == [-20, 10], "less dense is negative for a negative density too"


def test_no_reference_area_gives_no_percentage_but_is_counted():
    summary = summarise(cases(sma_cm2=[5.0, 0.0, 1.0], reference_sma_cm2=[0.0, 0.0, 2.0]))
    assert summary["sma_difference_percent"].non_finite == 2
    assert summary["sma_difference_cm2"].non_finite == 0
