"""A study's results: every cell and reader in cases.csv, the tables, figures and report, made once."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from small_study import READERS, config, contents, held_out

from mskjax.data.dataset import read_dataset, write_dataset
from mskjax.study import results
from mskjax.study.case_scores import COLUMNS, read_cases
from mskjax.study.data_efficiency import plan
from mskjax.study.mask_judge import read_masks, score_masks
from mskjax.study.results import evaluate_study
from mskjax.study.study_folder import answer, is_study

TABLES = ("table_1", "table_2", "appendix_c", "appendix_d")
FIGURES = {
    f"{name}.{kind}"
    for name in ("figure_2", "figure_3", "figure_4", "figure_5a", "figure_5b", "figure_a1", "figure_a2", "figure_b1")
    for kind in ("png", "pdf")
}


@pytest.fixture(scope="module")
def evaluated(study, tmp_path_factory):
    """A copy of the study with its results."""
    workdir = shutil.copytree(study, tmp_path_factory.mktemp("evaluated") / "study")
    return workdir, evaluate_study(workdir)


@pytest.fixture
def copy(evaluated, tmp_path, monkeypatch):
    """A copy of the study and its results, to be changed; its figures are not drawn again, which takes longest."""
    monkeypatch.setattr(results.study_plates, "make", lambda *_: [])
    return shutil.copytree(evaluated[0], tmp_path / "study")


def test_cases_are_all_cells_and_all_readers(evaluated, squares):
    workdir, output = evaluated
    assert output == workdir / "evaluation"
    assert (output / "cases.csv").read_text().splitlines()[0] == (
        "init,n,fold,draw,seed,case_id,reader,dice,rms_dta_cm,sma_cm2,smd_hu,reference_sma_cm2,reference_smd_hu"
    )
    cases, dataset = read_cases(output / "cases.csv"), read_dataset(squares)
    tested = [f"p{i}" for i in range(8, 13)]
    cells = plan(dataset.cases, config(squares))
    networks, readers = cases[cases["reader"] == ""], cases[cases["reader"] != ""]
    expected = {(c.init, c.n, c.fold, c.draw, c.seed, case) for c in cells for case in tested}
    assert len(networks) == len(expected) == 12 * 5
    assert set(networks[list(COLUMNS[:6])].itertuples(index=False, name=None)) == expected
    assert sorted(zip(readers["case_id"], readers["reader"], strict=True)) == sorted(
        (case, reader) for case in tested for reader in READERS
    )
    # Of 12 columns, 11 and 10 are the expert's too.
    assert readers.groupby("reader")["dice"].unique().map(list).to_dict() == {
        "Ann": [pytest.approx(11 / 12)],
        "Bob": [pytest.approx(10 / 12)],
    }
    for cell in cells[:3]:
        own = networks[(networks[["init", "n", "fold"]] == [cell.init, cell.n, cell.fold]).all(axis=1)]
        masks = read_masks(workdir / "cells" / cell.name / "predictions.npz")
        made = score_masks(held_out(dataset), list(masks.values()))
        pd.testing.assert_frame_equal(own[list(made.columns)].reset_index(drop=True), made, check_exact=True)


def test_tables_figures_and_one_report(evaluated):
    _, output = evaluated
    there = {path.name for path in output.iterdir()}
    assert there >= {f"{name}.{kind}" for name in TABLES for kind in ("csv", "tex")}
    assert there >= {"agreement.csv", "headline.csv", "observers.csv", "report.html", "summary.json"}
    assert there >= FIGURES
    assert all(len(pd.read_csv(output / f"{name}.csv")) for name in TABLES)
    page = (output / "report.html").read_text(encoding="utf-8")
    assert 'src="http' not in page and 'href="http' not in page.replace('href="https://doi.org', "")
    assert "The study is not complete" not in page
    assert not list(output.glob(".*"))


def test_the_answer_names_every_initialisation_and_the_readers(evaluated):
    told = answer(evaluated[1])
    for init in ("random", "reconstruction", "jigsaw"):
        assert f"\n{init} " in told
    assert "10 masks of 5 cases by 2 readers: DSC 0.875" in told
    assert told.endswith(f"report: {evaluated[1] / 'report.html'}")


def test_what_is_up_to_date_is_not_made_again(copy, monkeypatch):
    before = contents(copy)
    monkeypatch.setattr(results, "_findings", None)  # which would be called
    evaluate_study(copy)
    assert contents(copy) == before


def test_an_unfinished_study_is_evaluated_as_far_as_it_is(copy):
    """A cell that failed, one that is stopped, and one initialisation of which nothing is done."""
    for cell in copy.glob("cells/random_*"):
        shutil.rmtree(cell)
    (copy / "cells" / "jigsaw_n002_fold0_draw0_seed0" / "DONE").rename(
        copy / "cells" / "jigsaw_n002_fold0_draw0_seed0" / "FAILED"
    )
    (copy / "cells" / "jigsaw_n002_fold0_draw0_seed0" / "FAILED").write_text("the loss is not finite at step 3")
    (copy / "cells" / "jigsaw_n004_fold0_draw0_seed0" / "DONE").unlink()
    output = evaluate_study(copy)
    cases = read_cases(output / "cases.csv")
    assert len(cases[cases["reader"] == ""]) == 6 * 5
    page = (output / "report.html").read_text(encoding="utf-8")
    assert "The study is not complete: 6 of 12 models are trained" in page
    assert "1 models failed" in page or "1 model failed" in page
    assert "jigsaw_n002_fold0_draw0_seed0" in page and "the loss is not finite at step 3" in page


def test_networks_are_not_forgotten_where_their_weights_are_no_more(copy, tmp_path):
    """As on another machine than the one that trained them; those never trained are missing, and said to be."""
    told = json.loads((copy / "config.json").read_text())
    told["inits"] = [*told["inits"], "classification", "segmentation"]
    (copy / "config.json").write_text(json.dumps(told))
    for cell in copy.glob("cells/random_n*"):
        own = cell.rename(cell.with_name(cell.name.replace("random", "classification")))
        run = json.loads((own / "config.json").read_text())
        start = told["starts"]["classification"]
        from mskjax.study.data_efficiency import run_config

        planned = {c.name: c for c in plan(read_dataset(told["dataset"]).cases, told)}[own.name]
        assert run["cell"]["train_cases"] == list(planned.train_cases)
        (own / "config.json").write_text(json.dumps(run_config(told, planned)))
        assert not (tmp_path / start["init_from"]).exists()
    output = evaluate_study(copy)
    cases = read_cases(output / "cases.csv")
    assert set(cases["init"]) == {"observers", "classification", "reconstruction", "jigsaw"}
    page = (output / "report.html").read_text(encoding="utf-8")
    assert "launch.convert --model=fcn_resnet101 --download" in page
    assert "launch.convert --model=resnet101 --download" not in page
    assert "12 of 16 models" in page


def test_networks_of_unlike_weights_are_told_of(copy):
    file = copy / "cells" / "jigsaw_n002_fold0_draw0_seed0" / "provenance.json"
    told = json.loads(file.read_text())
    told["weights"]["sha256"] = "0" * 64
    file.write_text(json.dumps(told))
    (copy / "evaluation" / "summary.json").unlink()
    page = (evaluate_study(copy) / "report.html").read_text(encoding="utf-8")
    assert "networks of initialisation jigsaw started from 2 different files of weights" in page
    assert "initialisation reconstruction started" not in page


def test_another_dataset_or_config_is_refused(copy, squares, tmp_path):
    whole = read_dataset(squares)
    write_dataset(tmp_path / "other", whole.slices, whole.cases.assign(sex="F"), {})
    before = contents(copy)
    with pytest.raises(ValueError, match=r"other is not the dataset of study .*; name that one with --dataset"):
        evaluate_study(copy, dataset=tmp_path / "other")
    cell = copy / "cells" / "jigsaw_n002_fold0_draw0_seed0"
    run = json.loads((cell / "config.json").read_text())
    (cell / "config.json").write_text(json.dumps(run | {"learning_rate": 0.1}))
    with pytest.raises(ValueError, match=r"jigsaw_n002_fold0_draw0_seed0 is of another config .learning_rate 0.1, now"):
        evaluate_study(copy)
    (cell / "config.json").write_text(json.dumps(run, indent=2) + "\n")
    told = json.loads((cell / "provenance.json").read_text())
    sha256 = dict.fromkeys(told["dataset"]["sha256"], "0" * 64)
    (cell / "provenance.json").write_text(json.dumps(told | {"dataset": {"sha256": sha256}}))
    with pytest.raises(ValueError, match="jigsaw_n002_fold0_draw0_seed0 is of another dataset"):
        evaluate_study(copy)
    (cell / "provenance.json").write_text(json.dumps(told, indent=2) + "\n")
    assert contents(copy) == before


def test_a_study_of_which_nothing_is_done_has_no_results(copy):
    shutil.rmtree(copy / "cells")
    shutil.rmtree(copy / "evaluation")
    with pytest.raises(ValueError, match=r"no cell of .* is done; train them with launch.sweep"):
        evaluate_study(copy)
    assert not (copy / "evaluation").exists()


def test_a_moved_dataset_and_no_readers(copy, squares, tmp_path):
    moved = shutil.copytree(squares, tmp_path / "moved")
    told = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(told | {"observers": "", "dataset": "/nowhere"}))
    output = evaluate_study(copy, tmp_path / "results", moved)
    assert output == tmp_path / "results"
    cases = read_cases(output / "cases.csv")
    assert (cases["reader"] == "").all()
    assert not (output / "observers.csv").exists() and not (output / "figure_2.png").exists()
    assert "--observers=READERS.csv" in (output / "report.html").read_text(encoding="utf-8")
    assert not np.isnan(cases["dice"]).any()


def test_which_folders_are_studies(study, tmp_path):
    assert is_study(study)
    assert not is_study(study / "pretexts" / "jigsaw")
    assert not is_study(study / "cells" / "jigsaw_n002_fold0_draw0_seed0")
    assert not is_study(tmp_path)
