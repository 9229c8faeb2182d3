"""The scores of muscle masks, and what validation chooses."""

import numpy as np
import pandas as pd
import pytest

from mskjax.study.area_scores import PERCENT, best_init, measure, shown, with_differences


def rows(shuffle, part, dice, area=(100.0,), reference=(100.0,), init="smit"):
    count = len(dice)
    table = {
        "init": init,
        "shuffle": shuffle,
        "part": part,
        "dice": dice,
        "rms_dta_cm": np.inf if area[0] == 0 else 0.1,
    }
    table |= {"sma_cm2": np.resize(area, count), "reference_sma_cm2": np.resize(reference, count)}
    return with_differences(pd.DataFrame(table).assign(smd_hu=30.0, reference_smd_hu=33.0))


def test_signed_differences_and_none_without_a_reference():
    found = rows(0, "test", [1.0] * 4, area=(90.0, 130.0, 5.0, 0.0), reference=(100.0, 100.0, 0.0, 0.0))
    assert found["area_difference_cm2"].tolist() == [-10, 30, 5, 0]
    np.testing.assert_array_equal(found[PERCENT], [-10, 30, np.nan, np.nan])


def test_a_missed_muscle_counts_and_what_is_not_finite_is_counted():
    """Of three tests one is empty: Dice 0 and -100 % enter the means, its infinite distance does not."""
    parts = [
        rows(0, "validation", [0.5, 0.7]),
        rows(0, "test", [0.8, 0.9], (110.0, 120.0)),
        rows(0, "test", [0.0], (0.0,)),
    ]
    parts.append(rows(0, "test", [0.0], (7.0,), (0.0,)))
    (row,) = measure(pd.concat(parts, ignore_index=True)).to_dict("records")
    assert (row["validation_cases"], row["tests"], row["empty"]) == (2, 4, 1)
    assert row["validation_dice_mean"] == pytest.approx(0.6)
    assert row["dice_mean"] == pytest.approx(1.7 / 4)
    assert (row["area_difference_percent_mean"], row["area_error_percent_mean"]) == pytest.approx((-70 / 3, 130 / 3))
    assert row["area_difference_percent_sd"] == pytest.approx(np.std([10, 20, -100], ddof=1))
    assert (row["area_difference_percent_non_finite"], row["rms_dta_cm_non_finite"], row["dice_non_finite"]) == (
        1,
        1,
        0,
    )
    assert row["rms_dta_cm_mean"] == pytest.approx(0.1)
    assert row["smd_difference_hu_mean"] == pytest.approx(-3)


def test_validation_chooses_and_tests_do_not():
    """Shuffle 1 is best in validation and worst in its test; the first of equal ones is taken."""
    cases = [rows(n, "validation", [own]) for n, own in enumerate((0.8, 0.9, 0.9))]
    cases += [rows(n, "test", [own]) for n, own in enumerate((0.99, 0.1, 0.5))]
    cases += [rows(0, "validation", [0.87], init="random"), rows(0, "test", [1.0], init="random")]
    found = measure(pd.concat(cases, ignore_index=True))
    assert shown(found) == {"smit": 1, "random": 0}
    assert best_init(found) == "random", "0.87 against 2.6 / 3"
