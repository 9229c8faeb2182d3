import numpy as np
import pandas as pd
import pytest
from score_rows import network, reader, study

from mskjax.study import tables
from mskjax.study.resampling import bootstrap_differences
from mskjax.study.statistics import holm

SPREAD = np.array([-0.02, -0.01, 0.0, 0.01, 0.02, -0.015, 0.015, 0.005])
READERS = [reader(name, dice=0.9 + SPREAD, rms_dta_cm=0.3 + SPREAD) for name in "AB"]


def point(table, metric, init, n):
    (row,) = table[(table["metric"] == metric) & (table["init"] == init) & (table["n"] == n)].to_dict("records")
    return row


@pytest.fixture(scope="module")
def cases():
    return study(
        *READERS,
        network("jigsaw", 25, dice=0.98 + SPREAD, rms_dta_cm=0.1 + SPREAD),
        network("jigsaw", 5, dice=0.7 + SPREAD, rms_dta_cm=[np.inf, np.inf, *(0.8 + SPREAD[2:])]),
        network("random", 5, dice=0.9 + SPREAD[::-1], rms_dta_cm=0.3 + SPREAD),
        network("random", 5, seed=1, dice=0.9 + SPREAD, rms_dta_cm=0.3 + SPREAD[::-1]),
    )


@pytest.fixture(scope="module")
def table_1(cases):
    return tables.table_1(cases)


def test_table_1_has_the_columns_that_others_rely_on(table_1):
    assert list(table_1.columns[:14]) == [
        *("metric", "init", "n", "values", "non_finite", "mean", "control_mean", "difference", "hedges_g"),
        *("difference_low", "difference_high", "p", "p_holm", "outcome"),
    ]


def test_more_overlap_and_less_distance_are_better_in_the_papers_order(table_1):
    assert table_1[["metric", "init", "n", "outcome"]].to_numpy().tolist() == [
        ["dice", "random", 5, ""],
        ["dice", "jigsaw", 5, "worse"],
        ["dice", "jigsaw", 25, "better"],
        ["rms_dta_cm", "random", 5, ""],
        ["rms_dta_cm", "jigsaw", 5, "worse"],
        ["rms_dta_cm", "jigsaw", 25, "better"],
    ]


def test_means_counts_and_differences_are_of_all_predictions(table_1):
    row = point(table_1, "dice", "random", 5)
    assert (row["values"], row["non_finite"], row["control_values"], row["control_non_finite"]) == (16, 0, 16, 0)
    assert row["mean"] == pytest.approx(0.9 + SPREAD.mean())
    better = point(table_1, "dice", "jigsaw", 25)
    assert better["difference"] == pytest.approx(0.08)
    # Every reader lies on the network's value less 0.08 in every patient, so that chance cannot move the difference.
    assert (better["difference_low"], better["difference_high"]) == pytest.approx((0.08, 0.08))
    assert better["hedges_g"] == pytest.approx(0.08 / SPREAD.std(), rel=0.1)


def test_missed_muscles_are_counted_and_leave_the_mean(table_1):
    row = point(table_1, "rms_dta_cm", "jigsaw", 5)
    assert (row["values"], row["non_finite"]) == (8, 2)
    assert row["mean"] == pytest.approx(0.8 + SPREAD[2:].mean())


def test_holm_corrects_the_single_p_over_the_groups_of_one_metric():
    parts = [network("random", n, dice=0.9 + SPREAD + more) for n, more in ((5, 0.005), (10, 0.012), (25, 0.02))]
    own = tables.table_1(study(*READERS, *parts)).iloc[:3]
    assert (own["p"] > 1.01 * own["p_single"]).all()
    first, second, third = own["p_single"]
    assert own["p_holm"].tolist() == pytest.approx([first, 2 * second, 3 * third]), "the third is the smallest"


def test_intervals_hold_95_percent_of_the_bootstrap():
    people = np.array([f"c{i}" for i in range(8)])
    groups, control = [(0.98 + SPREAD, people)], (0.9 + SPREAD[::-1], people)
    altered = study(network("jigsaw", 25, dice=groups[0][0]), reader("A", dice=control[0]))
    row = point(tables.table_1(altered, samples=500, seed=7), "dice", "jigsaw", 25)
    low, high = np.quantile(bootstrap_differences(groups, control, 500, 7), [0.025, 0.975])
    assert (row["difference_low"], row["difference_high"]) == pytest.approx((low, high))


def test_outcomes_follow_alpha(cases):
    assert set(tables.table_1(cases, alpha=1e-200)["outcome"]) == {""}


def test_same_seed_same_table(cases, table_1):
    pd.testing.assert_frame_equal(tables.table_1(cases), table_1)
    assert tables.table_1(cases, seed=1)["difference_low"].tolist() != table_1["difference_low"].tolist()


def test_intervals_draw_patients_with_all_their_cases(cases, table_1):
    """Of two patients either one alone, or both, are drawn; the first lacks the distances of its missed muscles."""
    row = point(tables.table_1(cases, {f"c{i}": str(i // 4) for i in range(8)}), "rms_dta_cm", "jigsaw", 5)
    first = (0.8 + SPREAD[2:4].mean()) - (0.3 + SPREAD[:4].mean())
    assert (row["difference_low"], row["difference_high"]) == pytest.approx((0.5, first))
    assert row["p"] == point(table_1, "rms_dta_cm", "jigsaw", 5)["p"], "Dunnett knows no patients"


def test_without_readers_there_is_no_p_and_no_outcome():
    table = tables.table_1(study(network("random", 5, dice=0.9 + SPREAD)))
    assert len(table) == 2
    assert table["p"].isna().all()
    assert table["p_holm"].isna().all()
    assert table[["difference", "difference_low"]].isna().all().all()
    assert set(table["outcome"]) == {""}
    assert set(table["reason"]) == {"the control has fewer than two finite values"}


def test_all_muscles_missed_is_no_number_and_no_crash():
    table = tables.table_1(study(*READERS, network("random", 5, dice=np.zeros(8), rms_dta_cm=np.full(8, np.inf))))
    lost = point(table, "rms_dta_cm", "random", 5)
    assert np.isnan([lost["mean"], lost["p"], lost["hedges_g"], lost["difference_low"]]).all()
    assert (lost["non_finite"], lost["reason"]) == (8, "fewer than two finite values")
    assert point(table, "dice", "random", 5)["outcome"] == "worse"


def test_table_2_compares_with_the_expert_and_calls_any_difference_worse():
    expert = {"reference_sma_cm2": 100 + 100 * SPREAD, "reference_smd_hu": [np.nan, *(30 + 100 * SPREAD[1:])]}
    less, more = 60 + 100 * SPREAD, 140 + 100 * SPREAD
    cases = study(
        reader("A", **expert),
        reader("B", **expert),
        network("random", 5, sma_cm2=less, smd_hu=[np.nan, np.nan, *(30 + SPREAD[2:])], **expert),
        network("random", 10, sma_cm2=more, **expert),
        network("random", 25, sma_cm2=100 - 100 * SPREAD, **expert),
    )
    table = tables.table_2(cases)
    assert table["metric"].tolist() == ["smd_hu"] * 3 + ["sma_cm2"] * 3
    assert table["outcome"].tolist() == ["", "", "", "worse", "worse", ""]
    area = point(table, "sma_cm2", "random", 5)
    assert (area["control_values"], area["difference"]) == (8, pytest.approx(-40)), "each case has one expert"
    density = point(table, "smd_hu", "random", 5)
    assert (density["non_finite"], density["control_non_finite"]) == (2, 1)


def test_appendix_c_ranks_the_distances_of_each_pair_at_each_n(cases):
    table = tables.appendix_c(cases)
    assert table[["n", "init", "other_init"]].to_numpy().tolist() == [[5, "random", "jigsaw"]], "25 has no partner"
    row = table.iloc[0]
    assert (row["values"], row["other_values"], row["non_finite"], row["other_non_finite"]) == (16, 8, 0, 2)
    assert row["u"] == 0, "every random network is nearer than every jigsaw network"
    assert row["rank_biserial"] == -1
    assert row["p"] == row["p_holm"] < 0.001


def test_appendix_d_ranks_against_the_largest_n_of_the_same_initialisation():
    cases = study(
        *(network("random", n, rms_dta_cm=distance + SPREAD) for n, distance in ((50, 0.3), (5, 0.9), (10, 0.3))),
        network("jigsaw", 10, rms_dta_cm=0.1 + SPREAD),
        network("jigsaw", 5, rms_dta_cm=0.1 + SPREAD),
    )
    table = tables.appendix_d(cases)
    assert table[["init", "n", "other_n"]].to_numpy().tolist() == [
        ["random", 5, 50],
        ["random", 10, 50],
        ["jigsaw", 5, 10],
    ]
    assert tables.appendix_c(cases)["n"].tolist() == [5, 10], "both n that two initialisations share"
    assert table["rank_biserial"].tolist() == [1, 0, 0]
    assert table["u"].tolist() == [64, 32, 32]
    assert table["p_holm"].to_numpy() == pytest.approx(holm(table["p"].to_numpy()))


def test_missing_pieces_leave_empty_tables_with_their_columns(cases):
    one = study(network("random", 5, dice=[0.9, 0.8]))
    nobody = study(READERS[0])
    for table, columns in (
        (tables.appendix_c(one), tables.C_COLUMNS),
        (tables.appendix_d(one), tables.D_COLUMNS),
        (tables.table_1(nobody), tables.DUNNETT_COLUMNS),
        (tables.table_2(nobody), tables.DUNNETT_COLUMNS),
    ):
        assert len(table) == 0
        assert list(table.columns) == list(columns)


def test_an_unknown_patient_is_named(cases):
    with pytest.raises(ValueError, match="no patient is known of case 'c7'"):
        tables.table_1(cases, {f"c{i}": "p" for i in range(7)})
