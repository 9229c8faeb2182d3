"""The results of a study of muscle masks from its folder: files, numbers, report, what is unfinished and refused."""

import html
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from invented_sarcopenia import invent_dataset
from invented_segmentation import invent_study, side_of
from segmentation_cells import dice, is_low, known, percent
from small_study import contents

from mskjax.data.dataset import read_dataset, write_dataset
from mskjax.measure import cutoffs
from mskjax.study import area_notes
from mskjax.study import sarcopenia_segmentation_results as results
from mskjax.study.plates import Plate
from mskjax.study.sarcopenia_segmentation import plan
from mskjax.study.sarcopenia_segmentation_results import FIGURES, FILES, evaluate_study
from mskjax.study.study_folder import answer

UNDRAWN = [Plate(name, name, name, name, b"png", b"pdf") for name in FIGURES]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    invent_dataset(folder / "dataset", height_m=1.7)
    return invent_study(folder / "study", folder / "dataset", known)


@pytest.fixture(scope="module")
def evaluated(study):
    return evaluate_study(study)


@pytest.fixture(scope="module")
def tested(study):
    """The test cases of each cell by its name."""
    config = json.loads((study / "config.json").read_text())
    return {cell.name: cell.test_cases for cell in plan(read_dataset(config["dataset"]).cases, config)}


@pytest.fixture
def copy(study, evaluated, tmp_path, monkeypatch):
    """A copy of the study and its results, to be changed; its figures are not drawn again, which takes longest."""
    monkeypatch.setattr(results, "_plates", lambda *_: UNDRAWN)
    return shutil.copytree(study, tmp_path / "study")


def words(output):
    """The text of the report as people see it."""
    body = (output / "report.html").read_text(encoding="utf-8").partition("<body>")[2]
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", body)))


def test_every_file_is_there(evaluated, study):
    assert evaluated == study / "evaluation"
    drawn = {f"figure_{number}.{suffix}" for number in (2, 4, 5) for suffix in ("png", "pdf")}
    assert {path.name for path in evaluated.iterdir()} == {*FILES, *drawn, "summary.json"}
    header = (evaluated / "cases.csv").read_text().splitlines()[0]
    assert header == (
        "init,shuffle,case_id,patient_id,sex,height_m,weight_kg,sarcopenia,part,dice,rms_dta_cm,sma_cm2,smd_hu,"
        "reference_sma_cm2,reference_smd_hu,area_difference_cm2,area_difference_percent"
    )
    assert len(pd.read_csv(evaluated / "cases.csv")) == 4 * (6 + 9)


def test_table_3_is_that_of_the_masks(evaluated, tested):
    """SMIT misses a column in the tests of shuffle 0 and two in those of shuffle 1, which validation prefers."""
    found = pd.read_csv(evaluated / "table_3.csv").set_index(["init", "shuffle"])
    assert list(found.index) == [(init, shuffle) for init in ("smit", "random") for shuffle in ("0", "1", "all")]
    for shuffle in (0, 1):
        row, cases = found.loc[("smit", str(shuffle))], tested[f"smit_shuffle{shuffle}"]
        for name, values in (
            ("dice", dice(cases, 1 + shuffle)),
            ("area_difference_percent", percent(cases, 1 + shuffle)),
        ):
            assert row[f"{name}_mean"] == pytest.approx(values.mean())
            assert row[f"{name}_sd"] == pytest.approx(values.std(ddof=1))
        assert (row["tests"], row["empty"], row["undefined"], row["shown"]) == (9, 0, 0, shuffle)
    row = found.loc[("random", "0")]
    assert (row["dice_mean"], row["area_difference_percent_mean"], row["empty"]) == (0, -100, 9)
    means = [dice(tested[f"smit_shuffle{number}"], 1 + number).mean() for number in (0, 1)]
    row = found.loc[("smit", "all")]
    assert (row["dice_mean"], row["dice_sd"]) == pytest.approx((np.mean(means), np.std(means, ddof=1)))


def test_table_4_is_of_the_shuffle_that_validation_prefers(evaluated, tested):
    found = pd.read_csv(evaluated / "table_4.csv").query("init == 'smit'")
    assert set(found["shuffle"]) == {1} and set(found["case_id"]) == set(tested["smit_shuffle1"])
    for row in found.to_dict("records"):
        assert row["dice"] == pytest.approx(dice([row["case_id"]], 2)[0])
        assert row["error_percent"] == pytest.approx(-percent([row["case_id"]], 2)[0])
        assert (row["reference_below"], row["below"]) == (is_low(row["case_id"]), is_low(row["case_id"], 2))
        assert row["margin"] == pytest.approx(row["sma_cm2"] - {"M": 144, "F": 92}[row["sex"]])


def test_agreement_with_the_references_decisions(evaluated, tested):
    found = pd.read_csv(evaluated / "cutoffs.csv").query("set == 'freeman' and against == 'reference mask'")
    row = found.query("init == 'smit' and scope == 'all shuffles'").iloc[0]
    pairs = [(is_low(case), is_low(case, 1 + n)) for n in (0, 1) for case in tested[f"smit_shuffle{n}"]]
    assert (row["tp"], row["tn"], row["fp"], row["fn"]) == tuple(
        pairs.count(pair) for pair in ((True, True), (False, False), (False, True), (True, False))
    )
    assert row["sensitivity"] == 1 and row["specificity"] < 1
    empty = found.query("init == 'random' and scope == 'all shuffles'").iloc[0]
    assert (empty["no_decision"], empty["undecided"]) == (9, 0)


def test_the_agreement_in_area_is_bland_and_altmans(evaluated, tested):
    found = pd.read_csv(evaluated / "bland_altman.csv").set_index(["metric", "init"])
    narrower = [(case, 1 + n) for n in (0, 1) for case in tested[f"smit_shuffle{n}"]]
    differences = np.array([-side_of(case) * columns for case, columns in narrower], float)
    row = found.loc[("sma_cm2", "smit")]
    assert (row["bias"], row["sd"]) == pytest.approx((differences.mean(), differences.std(ddof=1)))
    assert row["patients"] == len({case for case, _ in narrower})
    assert found.loc[("smd_hu", "random"), "non_finite"] == 9


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ((2, 3, 1, 4), "the prediction calls sarcopenic 2 of 3 tests that are so by the reference, and not so 1 of 4"),
        ((0, 0, 3, 6), "none of 6 tests is sarcopenic by the reference, and the prediction calls 3 of them not sarcop"),
        ((4, 5, 0, 0), "every one of 5 tests is sarcopenic by the reference, and the prediction calls 4 of them so."),
        ((0, 0, 0, 0), "decide about no test by its reference"),
    ],
)
def test_what_is_said_where_all_tests_are_alike(counts, told):
    rules = [rule for rule in cutoffs.read() if rule.key == "freeman"]
    said = area_notes.judged(rules, dict(zip(("tp", "positive", "tn", "negative"), counts, strict=True)))
    assert told in said and "0 of 0" not in said and "freeman (SMA < 144 cm² in men" in said


def test_the_answer_and_the_report(evaluated):
    told = answer(evaluated)
    assert "From SMIT, pretrained, which validation prefers, the predicted muscle has a mean Dice of 0.9" in told
    assert "Mean Dice of the others: Random weights 0." in told
    assert (
        "By the cut-offs of freeman (SMA < 144 cm² in men, < 92 cm² in women) the prediction calls sarcopenic" in told
    )
    assert told.endswith(f"report: {evaluated / 'report.html'}")
    text = words(evaluated)
    order = [
        "which validation prefers",
        "Of 30 labelled patients, 10 of them sarcopenic",
        "Table 3: overlap",
        "Figure 3:",
    ]
    order += ["Table 4: the cases", "SMIT, pretrained, shuffle 1", "Random weights, shuffle", "Figure 4: sarcopenic"]
    order += [
        "Figure 5: patients who are not",
        "Sarcopenia by every set",
        "martin2013",
        "Predicted and reference area.",
    ]
    order += [
        "Agreement in area",
        "Agreement. SMIT",
        "Figure 2",
        "Networks see the scan around the slice, and learn from the masks of all slices of it that were drawn",
        "How to read",
        "Where it",
    ]
    places = [text.index(word) for word in order]
    assert places == sorted(places)
    assert "In 9 of 36 tests no muscle is predicted (Random weights 9): Dice 0, an area difference of" in text
    assert "have a label that is not what freeman says of the reference mask" in text
    assert "Shuffles are drawn from the same patients" in text and "not chosen wholly apart from the tests" in text
    assert "not complete" not in text and "phantoms" not in text and "sex is not known" not in text
    page = (evaluated / "report.html").read_text(encoding="utf-8")
    assert "Sarcopenic by reference" in text and "Sarcopenic by prediction" in text
    assert 'src="http' not in page and 'title="the BMI is not known: 18"' in page


def test_what_is_up_to_date_is_not_made_again(copy, monkeypatch):
    before = contents(copy)
    monkeypatch.setattr(results, "_tables", None)  # which would be called
    evaluate_study(copy)
    assert contents(copy) == before


def test_another_set_of_cut_offs_decides_when_it_is_asked_for(copy):
    told = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**told, "cutoffs": "prado2008"}))
    text = words(evaluate_study(copy))
    assert "By the cut-offs of prado2008 (SMI < 52.4 cm²/m² in men, < 38.5 cm²/m² in women)" in text
    assert set(pd.read_csv(copy / "evaluation" / "table_4.csv")["measure"]) == {"smi"}


def test_an_unfinished_study_is_evaluated_as_far_as_it_is(copy):
    cells = copy / "cells"
    (cells / "smit_shuffle1" / "DONE").unlink()
    (cells / "smit_shuffle1" / "FAILED").write_text("the loss is not finite at step 3")
    for number in (0, 1):
        shutil.rmtree(cells / f"random_shuffle{number}")
    told = json.loads((copy / "config.json").read_text())
    told["starts"]["random"]["init_from"] = "nowhere/smit_encoder.safetensors"
    (copy / "config.json").write_text(json.dumps(told))
    text = words(evaluate_study(copy))
    assert "The study is not complete: 1 of 2 cells are trained" in text
    assert "Random weights is missing from this study. What adds it: python -m launch.convert --model=smit_enc" in text
    assert "1 model failed and left out, the first of them smit_shuffle1: the loss is not finite at step 3" in text
    assert "The predicted muscle has a mean Dice of 0.9" in text and "There is one shuffle only" in text


def test_patients_of_unknown_sex_are_counted_and_phantoms_told_of(study, tmp_path, monkeypatch):
    """Every patient's sex is unknown: nobody is decided about by any set, and all areas are still there."""
    whole = read_dataset(study.parent / "dataset")
    images = [f"phantoms/images/phantom_{i:04d}.nii.gz" for i in range(len(whole.cases))]
    monkeypatch.setattr(results, "_plates", lambda *_: UNDRAWN)
    write_dataset(tmp_path / "dataset", whole.slices, whole.cases.assign(image=images, sex=""), {})
    workdir = invent_study(tmp_path / "study", tmp_path / "dataset", known, inits=("smit",), shuffles=1)
    output = evaluate_study(workdir, tmp_path / "results")
    text = words(output)
    assert "freeman decides about 0 of 9 tests and not about the others (the sex is not known: 9)" in text
    assert "decide about no test by its reference" in text and "The cases are phantoms, drawn by a program" in text
    found = pd.read_csv(output / "cutoffs.csv").query("set == 'freeman'")
    assert (found["undecided"] == 9).all() and found["sensitivity"].isna().all()
    assert pd.read_csv(output / "table_3.csv")["dice_mean"].notna().all()


def test_another_dataset_or_config_is_refused(copy, tmp_path):
    with pytest.raises(ValueError, match=r"is not the dataset of study .*; name that one with --dataset"):
        evaluate_study(copy, dataset=invent_dataset(tmp_path / "other", negative=21))
    run = copy / "cells" / "smit_shuffle0" / "config.json"
    run.write_text(json.dumps(json.loads(run.read_text()) | {"learning_rate": 0.1}))
    with pytest.raises(ValueError, match=r"smit_shuffle0 is of another config .learning_rate 0.1, now"):
        evaluate_study(copy)


def test_a_study_of_which_nothing_is_done_has_no_results(copy):
    shutil.rmtree(copy / "cells")
    shutil.rmtree(copy / "evaluation")
    with pytest.raises(ValueError, match=r"no cell of .* is done; train them with launch.sweep"):
        evaluate_study(copy)
    assert not (copy / "evaluation").exists()
