"""Tables of a study whose scores are known by hand, and who is chosen by validation."""

import math

import numpy as np
import pandas as pd
import pytest
from invented_sarcopenia import invent_dataset, invent_study
from sarcopenia_cells import NETWORKS, POLICIES, known

from mskjax.data.dataset import read_dataset
from mskjax.files import read_json
from mskjax.measure.diagnosis import Confusion
from mskjax.study import sarcopenia_scores, sarcopenia_tables
from mskjax.study.sarcopenia import plan
from mskjax.study.sarcopenia_scores import best_pairs, counts_of, decided, gather, measure, pairs, shown_shuffle

BLIND, RIGHT, TORN = ("densenet121", "freezeall"), ("densenet121", "unfreezeall"), ("keras_resnet50", "unfreezeall")
UNDECIDED = ("keras_resnet50", "freezeall")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return invent_study(
        folder / "study", invent_dataset(folder / "dataset"), known, networks=NETWORKS, policies=POLICIES
    )


@pytest.fixture(scope="module")
def scores(study):
    config = read_json(study / "config.json")
    data = read_dataset(config["dataset"])
    return gather(study, plan(data.cases, config), data)


@pytest.fixture(scope="module")
def shuffles(scores):
    return measure(scores, samples=200, bins=5)


@pytest.fixture(scope="module")
def cases(scores, shuffles):
    return decided(scores, shuffles)


@pytest.fixture(scope="module")
def table_1(cases, shuffles):
    return sarcopenia_tables.table_1(cases, shuffles, samples=200)


@pytest.fixture(scope="module")
def table_2(shuffles, table_1):
    return sarcopenia_tables.table_2(shuffles, table_1)


def of(table, pair):
    return dict(pairs(table))[pair]


def row(table, pair):
    return of(table, pair).to_dict("records")[0]


def test_a_perfect_ranking_has_an_auc_of_1_and_no_doubt(shuffles, table_1):
    for cell in of(shuffles, RIGHT).to_dict("records"):
        assert (cell["auc"], cell["auc_low"], cell["auc_high"], cell["threshold"]) == (1, 1, 1, 0.5)
        assert (cell["brier"], cell["calibration_error"]) == (pytest.approx(0.01), pytest.approx(0.1))
        assert (cell["tn"], cell["fp"], cell["fn"], cell["tp"], cell["undefined"]) == (6, 0, 0, 3, "")
        assert (cell["test_cases"], cell["test_sarcopenic"]) == (9, 3)
        assert (cell["validation_cases"], cell["validation_sarcopenic"]) == (6, 2)
    first = row(table_1, RIGHT)
    assert (first["auc_mean"], first["auc_sd"], first["auc_low"], first["auc_high"]) == (1, 0, 1, 1)
    assert (first["shuffles"], first["drawn_tests"], first["undefined"]) == (2, 400, "")


def test_who_calls_nobody_positive_has_no_precision_and_says_so(shuffles, table_2):
    for cell in of(shuffles, BLIND).to_dict("records"):
        assert math.isnan(cell["precision"]) and math.isnan(cell["f1"])
        assert (cell["recall"], cell["specificity"], cell["accuracy"]) == (0, 1, pytest.approx(6 / 9))
        assert cell["undefined"] == "precision, f1: no case is called positive"
    blind = row(table_2, BLIND)
    names = ("precision_mean", "precision_sd", "pooled_precision", "shown_precision", "f1_mean", "pooled_f1")
    assert np.isnan([blind[name] for name in names]).all()
    assert (blind["precision_undefined"], blind["f1_undefined"], blind["recall_undefined"]) == (2, 2, 0)
    told = blind["undefined"].split("; ")
    assert "precision of 2 of 2 shuffles: no case is called positive" in told
    assert "pooled f1: no case is called positive" in told and "shown precision: no case is called positive" in told


def test_means_are_of_the_shuffles_that_have_a_value(shuffles, table_1):
    mixed = pd.concat([of(shuffles, BLIND).iloc[:1], of(shuffles, RIGHT).iloc[1:].assign(policy="freezeall")])
    made = sarcopenia_tables.table_2(mixed, of(table_1, BLIND))
    assert (made["precision_mean"].item(), made["precision_undefined"].item()) == (1, 1)
    assert math.isnan(made["precision_sd"].item())
    # Of 6 sarcopenic cases 3 are called so, and nobody else.
    assert (made["pooled_precision"].item(), made["pooled_recall"].item()) == (1, 0.5)
    assert made["undefined"].item().startswith("precision of 1 of 2 shuffles: no case is called positive")


def test_the_shown_shuffle_is_chosen_by_validation_although_the_test_says_otherwise(shuffles, table_2):
    own = of(shuffles, TORN)
    assert list(own["auc"]) == [0, 1] and list(own["validation_auc"]) == [1, 0.5]
    torn = row(table_2, TORN)
    assert (torn["shown_shuffle"], torn["shown_accuracy"], torn["shown_recall"]) == (0, 0, 0)
    assert (torn["accuracy_mean"], torn["accuracy_sd"]) == (0.5, pytest.approx(math.sqrt(0.5)))
    # 6 and 6 of the others, 3 and 3 of the sarcopenic are told right and wrong.
    pooled = {name: torn[f"pooled_{name}"] for name in ("tn", "fp", "fn", "tp", "precision", "specificity", "f1")}
    assert pooled == {"tn": 6, "fp": 6, "fn": 3, "tp": 3, "precision": 1 / 3, "specificity": 0.5, "f1": 0.4}


def test_of_equal_validation_the_lower_brier_score_is_shown_and_then_the_lower_number():
    rows = pd.DataFrame({"shuffle": [3, 2, 1], "validation_auc": [0.9, 0.9, 0.8], "validation_brier": [0.1, 0.2, 0.0]})
    assert shown_shuffle(rows) == 3
    assert shown_shuffle(rows.assign(validation_brier=0.1)) == 2
    assert shown_shuffle(rows.assign(validation_auc=[math.nan, 0.1, math.nan])) == 2


def test_policies_are_chosen_by_validation_auc_and_then_by_brier(shuffles):
    """Both of DenseNet's policies rank all validation cases rightly; ResNet's have 0.75 and 0.5."""
    assert best_pairs(shuffles) == [RIGHT, TORN]
    assert best_pairs(shuffles.iloc[::-1]) == [RIGHT, TORN]


def test_a_threshold_that_could_not_be_chosen_says_why(shuffles):
    for cell in of(shuffles, UNDECIDED).to_dict("records"):
        assert (cell["threshold"], cell["threshold_reason"]) == (
            0.5,
            "no threshold is better than calling all cases alike",
        )
        assert (cell["auc"], cell["precision"], cell["recall"]) == (0.5, pytest.approx(1 / 3), 1)


def test_table_1_is_ordered_by_the_mean_auc_of_the_tests(table_1):
    order = list(zip(table_1["network"], table_1["policy"], strict=True))
    assert order == [RIGHT, UNDECIDED, TORN, BLIND]  # three have 0.5 and stay in the order of the plan
    assert row(table_1, TORN)["auc_sd"] == pytest.approx(math.sqrt(0.5))


def test_one_shuffle_has_no_sd_and_one_sick_patient_no_interval(cases, shuffles):
    alone = {name: frame.loc[frame["shuffle"] == 0] for name, frame in (("cases", cases), ("shuffles", shuffles))}
    made = sarcopenia_tables.table_1(**alone, samples=100)
    assert np.isnan(made["auc_sd"].to_numpy()).all() and set(made["undefined"]) == {"sd: there is one shuffle only"}
    test = alone["cases"]
    sick = sorted(test.loc[(test["label"] == 1) & (test["split"] == "test"), "case_id"])[1:]
    few = {"cases": test.loc[~test["case_id"].isin(sick)], "shuffles": alone["shuffles"]}
    made = sarcopenia_tables.table_1(**few, samples=100)
    assert np.isnan(made["auc_low"].to_numpy()).all()
    assert made["undefined"].str.contains("interval: each class needs cases of at least two patients").all()


def test_decisions_are_those_from_the_threshold_on(cases):
    of_cell, of_case = (
        ["network", "policy", "shuffle"],
        ["case_id", "patient_id", "sex", "split", "label", "probability"],
    )
    assert list(cases.columns) == [*of_cell, *of_case, "threshold", "decision"]
    assert (cases["decision"] == (cases["probability"] >= cases["threshold"])).all()
    assert set(cases.loc[cases["probability"] == cases["threshold"], "decision"]) == {1}
    assert len(cases) == 8 * (9 + 6)


def test_confusion_has_all_shuffles_and_the_shown_one(shuffles, table_1):
    made = sarcopenia_tables.confusion(shuffles, table_1)
    assert of(made, TORN).to_numpy().tolist() == [
        [*TORN, "all shuffles", "", 6, 6, 3, 3],
        [*TORN, "shown shuffle", 0, 0, 6, 3, 0],
    ]
    assert counts_of(shuffles.iloc[:0]) == Confusion(0, 0, 0, 0)


def test_calibration_has_wilsons_intervals(cases, table_1):
    """Of n cases and none or all sarcopenic the interval ends at z2 / (n + z2) and n / (n + z2)."""
    made = sarcopenia_tables.calibration(cases, table_1, bins=5)
    first, *middle, last = of(made, RIGHT).to_dict("records")
    z2 = 1.959964**2
    assert (first["cases"], first["sarcopenic"], last["cases"], last["sarcopenic"]) == (12, 0, 6, 6)
    assert (first["predicted"], first["observed"]) == (pytest.approx(0.1), 0)
    assert (first["observed_low"], first["observed_high"]) == (pytest.approx(0), pytest.approx(z2 / (12 + z2)))
    assert (last["observed_low"], last["observed_high"]) == (pytest.approx(6 / (6 + z2)), pytest.approx(1))
    assert all(one["cases"] == 0 and math.isnan(one["observed_low"]) for one in middle)


@pytest.mark.parametrize("change", [{"label": 1}, {"split": "test"}, {"case_id": "n0_9"}])
def test_scores_of_other_cases_or_labels_are_refused(study, tmp_path, change, monkeypatch):
    config = read_json(study / "config.json")
    data = read_dataset(config["dataset"])
    read = sarcopenia_scores.read_probabilities
    monkeypatch.setattr(sarcopenia_scores, "read_probabilities", lambda folder: read(folder).assign(**change))
    with pytest.raises(ValueError, match=r"scores.csv is of other cases or labels than its cell's; delete .* train"):
        gather(study, plan(data.cases, config), data)
