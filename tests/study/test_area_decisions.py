"""Sarcopenic or not by the area of masks, under every set of cut-offs."""

import math

import pandas as pd
import pytest

from mskjax.measure.cutoffs import read
from mskjax.study.area_decisions import ALL, LABEL, REFERENCE, SHOWN, agreement, decided_by, decisions


def case(name, area, reference, sex="M", label=0, shuffle=0, height_m=2.0, weight_kg=math.nan):
    row = {"init": "smit", "shuffle": shuffle, "case_id": name, "patient_id": name, "sex": sex, "sarcopenia": label}
    row |= {"height_m": height_m, "weight_kg": weight_kg, "sma_cm2": area, "reference_sma_cm2": reference}
    return {**row, "smd_hu": math.nan if area == 0 else 40.0, "reference_smd_hu": 20.0}


CASES = [
    case("right", 143.9, 100.0, label=1),
    case("missed", 144.0, 143.0, label=1),
    case("fine", 150.0, 160.0),
    case("wrongly", 143.0, 144.0),
    case("empty", 0.0, 80.0, sex="F"),
    case("unknown", 80.0, 80.0, sex="", label=1),
    case("woman", 92.0, 91.0, sex="F", shuffle=1),
    case("blank", 92.0, 0.0, sex="F", shuffle=1),
]


@pytest.fixture(scope="module")
def table():
    return decisions(pd.DataFrame(CASES), read())


def of(table, name, key="freeman", measure="sma"):
    own = table.loc[(table["case_id"] == name) & (table["set"] == key) & (table["measure"] == measure)]
    return own.iloc[0]


def test_every_set_decides_side_by_side(table):
    """Study B's 144 and 92 cm2, and no others than are published."""
    assert len(table) == len(CASES) * len({(rule.key, rule.measure) for rule in read()})
    row = of(table, "missed")
    assert (row["cutoff"], row["value"], row["margin"], row["below"]) == (144, 144, 0, 0)
    assert (row["reference_value"], row["reference_margin"], row["reference_below"]) == (143, -1, 1)
    assert of(table, "missed", "derstine2018")["below"] == 1  # below 144.3
    # 2 m: an index of 36, below prado2008's 52.4 of men; a density of 40 above derstine2018's 38.5, and 20 below.
    row = of(table, "missed", "prado2008", "smi")
    assert (row["value"], row["margin"], row["below"]) == pytest.approx((36, -16.4, 1))
    row = of(table, "missed", "derstine2018", "smd")
    assert (row["below"], row["reference_below"]) == (0, 1)


def test_the_deciding_set_decides_by_area_before_index_before_density(table):
    assert set(decided_by(table, "derstine2018")["measure"]) == {"sma"}
    assert set(decided_by(table, "prado2008")["measure"]) == {"smi"}
    assert len(decided_by(table, "freeman")) == len(CASES)


def test_what_is_not_known_is_not_decided_and_said(table):
    assert of(table, "unknown")["reference_why"] == "the sex is not known"
    assert pd.isna(of(table, "unknown")["below"]) and pd.isna(of(table, "unknown")["cutoff"])
    assert "no muscle" in of(table, "empty")["why"] and of(table, "empty")["reference_below"] == 1
    # Weights are not known, on which the cut-offs of men of martin2013 depend, and those of women do not.
    assert of(table, "fine", "martin2013", "smi")["why"] == "the BMI is not known"
    assert of(table, "woman", "martin2013", "smi")["below"] == 1
    (row,) = (
        of(decisions(pd.DataFrame([case("heavy", 170.0, 170.0, weight_kg=120.0)]), read()), "heavy", *own)
        for own in [("martin2013", "smi")]
    )
    assert (row["cutoff"], row["below"]) == (53, 1)  # 42.5 cm2/m2 at a BMI of 30
    for height in (math.nan, 172.0):
        short = decisions(pd.DataFrame([case("c", 100.0, 100.0, height_m=height)]), read())
        assert of(short, "c", "prado2008", "smi")["why"] == "the height is not known"


def test_agreement_counts_no_decision_as_a_wrong_one(table):
    """Sarcopenic by the reference: right, missed, empty, woman; the sex of one is unknown, one reference is empty."""
    found = agreement(table, {"smit": 1}).set_index(["set", "measure", "against", "scope"])
    row = found.loc[("freeman", "sma", REFERENCE, ALL)]
    assert (row["cases"], row["undecided"], row["positive"], row["negative"]) == (8, 2, 4, 2)
    assert (row["tp"], row["fn"], row["fp"], row["tn"], row["no_decision"]) == (1, 2, 1, 1, 1)
    assert (row["sensitivity"], row["specificity"], row["accuracy"]) == pytest.approx((1 / 4, 1 / 2, 2 / 6))
    assert row["why"].startswith("the sex is not known: 1; ") and row["why"].endswith(": 1")
    row = found.loc[("freeman", "sma", REFERENCE, SHOWN)]
    assert (row["cases"], row["undecided"], row["positive"], row["tp"], row["fn"]) == (2, 1, 1, 0, 1)
    assert math.isnan(row["specificity"])
    # By the labels two are sarcopenic, of whom one is found; of the four others one is called so and one is empty.
    row = found.loc[("freeman", "sma", LABEL, ALL)]
    assert (row["positive"], row["negative"], row["tp"], row["fn"], row["fp"], row["tn"]) == (2, 4, 1, 1, 1, 2)
    assert row["specificity"] == 1 / 2
