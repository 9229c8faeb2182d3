"""The results of a classification study from its folder: files, report, what is unfinished, what is refused."""

import hashlib
import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from invented_sarcopenia import explain_as, invent_dataset, invent_study
from PIL import Image
from sarcopenia_cells import NETWORKS, POLICIES, known
from small_study import contents

from mskjax.data.dataset import read_dataset, write_dataset
from mskjax.study import sarcopenia_figures, sarcopenia_notes, sarcopenia_results
from mskjax.study.plates import Plate
from mskjax.study.sarcopenia_results import FIGURES, FILES, evaluate_study
from mskjax.study.study_folder import answer

ROOT = Path(__file__).resolve().parents[2]
CELL = "densenet121_freezeall_shuffle0"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    invent_dataset(folder / "dataset")
    return invent_study(folder / "study", folder / "dataset", known, networks=NETWORKS, policies=POLICIES)


@pytest.fixture(scope="module")
def evaluated(study):
    return evaluate_study(study)


@pytest.fixture
def copy(study, evaluated, tmp_path, monkeypatch):
    """A copy of the study and its results, to be changed; its figures are not drawn again, which takes longest."""
    drawn = [Plate(name, name, name, name, b"png", b"pdf") for name in FIGURES]
    monkeypatch.setattr(sarcopenia_results, "_plates", lambda *_: drawn)
    return shutil.copytree(study, tmp_path / "study")


def words(output):
    """The text of the report as people see it."""
    body = (output / "report.html").read_text(encoding="utf-8").partition("<body>")[2]
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", body)))


def test_every_file_is_there(evaluated, study):
    assert evaluated == study / "evaluation"
    assert {path.name for path in evaluated.iterdir()} == {*FILES, "figure_2.png", "figure_2.pdf", "summary.json"}
    header = (evaluated / "cases.csv").read_text().splitlines()[0]
    assert header == "network,policy,shuffle,case_id,patient_id,sex,split,label,probability,threshold,decision"
    shuffles = pd.read_csv(evaluated / "shuffles.csv")
    assert len(shuffles) == 8
    blind = shuffles.loc[(shuffles["network"] == "densenet121") & (shuffles["policy"] == "freezeall")]
    assert blind["precision"].isna().all() and (blind["undefined"] == "precision, f1: no case is called positive").all()


def test_the_answer_is_the_network_that_validation_prefers(evaluated):
    told = answer(evaluated)
    assert (
        "Of 4 networks and policies validation prefers DenseNet121 with unfreezeall (mean validation AUC 1.00)" in told
    )
    guessing = ": better than guessing, which is 0.5."
    assert f"in the tests of 2 shuffles is 1.00 (sd 0.00, 95 % interval 1.00 to 1.00){guessing}" in told
    assert "it tells 6 of 6 (100 %) sarcopenic and 12 of 12 (100 %) other cases right, all tests pooled" in told
    assert told.endswith(f"report: {evaluated / 'report.html'}")


def test_guessing_is_told_apart_as_far_as_the_interval_does():
    spans = {(0.51, 0.9): "better than", (0.5, 0.9): "not told apart from", (0.2, 0.49): "worse than"}
    for (low, high), words_ in spans.items():
        row = {"auc_low": low, "auc_high": high}
        assert sarcopenia_notes.against_guessing(row) == f": {words_} guessing, which is 0.5"
    assert sarcopenia_notes.against_guessing({"auc_low": np.nan, "auc_high": np.nan}) == ""


def test_results_are_told_by_sex(evaluated):
    """The invented patients are men and women in turn; DenseNet with all learning is always right."""
    text = words(evaluated)
    assert "men (1 of them sarcopenic)" in text or "men (1 to 2 of them sarcopenic)" in text
    assert "stratified by class, and not by sex" in text
    found = pd.read_csv(evaluated / "by_sex.csv").set_index(["network", "policy", "sex"]).sort_index()
    assert len(found) == 2 * len(NETWORKS) * len(POLICIES)
    best = found.loc[("densenet121", "unfreezeall")]
    assert (best[["auc_mean", "recall", "specificity"]] == 1).all(axis=None)
    assert best["cases"].sum() == 18
    assert "DenseNet121 unfreezeall men" in text and "DenseNet121 unfreezeall women" in text


def test_the_report_answers_first_and_then_warns(evaluated):
    text = words(evaluated)
    order = ["validation prefers DenseNet121", "Of 30 labelled patients, 10 of them sarcopenic", "Table 1: AUC"]
    order += [
        "Figure 1",
        "Table 2: what",
        "Figure 3a",
        "ROC curves",
        "Calibration. Each",
        "Figure 2",
        "Figure 3b and c",
    ]
    order += ["How to read", "Every shuffle", "Where it comes from"]
    places = [text.index(word) for word in order]
    assert places == sorted(places)
    assert (
        "In 2 of 8 tests there is no precision or F1, as no case is called positive (DenseNet121 freezeall 2)." in text
    )
    assert "In 3 of 8 cells validation cases chose no threshold, and 0.5 was taken: no threshold is better" in text
    assert "Shuffles are drawn from the same patients" in text
    assert "Validation cases of one shuffle are test cases of another" in text
    assert "Each test has 9 cases, 3 of them sarcopenic: one case moves the recall of a shuffle by up to 0.33" in text
    assert "not complete" not in text and "phantoms" not in text
    page = (evaluated / "report.html").read_text(encoding="utf-8")
    assert 'src="http' not in page


def test_tables_are_laid_out_as_the_paper_prints_them(evaluated):
    first, second = ((evaluated / f"table_{n}.tex").read_text().splitlines() for n in (1, 2))
    assert first[first.index(r"\toprule") + 1].startswith("Network & Average AUC & Std. Dev. of AUC &")
    assert r"DenseNet121\_unfreezeall & 1.00 & 0.00 & 1.00 to 1.00 & 2 \\" in first
    assert second[second.index(r"\toprule") + 1] == (
        r"Pre-trained Network & Fine-tuning & Accuracy & Precision & Recall & Specificity & F1-Score \\"
    )
    assert r"DenseNet121 & freezeall & 0.67 & -- & 0.00 & 1.00 & -- \\" in second
    assert r"ResNet50 & unfreezeall & 0.00 & 0.00 & 0.00 & 0.00 & 0.00 \\" in second  # shuffle 0, as validation chose
    assert r"ResNet50 & unfreezeall & 0.50 & 0.33 & 0.50 & 0.50 & 0.40 \\" in second  # pooled
    assert any("--: undefined, as no case is called positive." in line for line in second)


def test_what_is_up_to_date_is_not_made_again(copy, monkeypatch):
    before = contents(copy)
    monkeypatch.setattr(sarcopenia_results, "_tables", None)  # which would be called
    evaluate_study(copy)
    assert contents(copy) == before


def test_an_unfinished_study_is_evaluated_as_far_as_it_is(copy):
    cells = copy / "cells"
    (cells / CELL / "DONE").unlink()
    (cells / CELL / "FAILED").write_text("the loss is not finite at step 3")
    shutil.rmtree(cells / "densenet121_unfreezeall_shuffle1")
    text = words(evaluate_study(copy))
    assert "The study is not complete: 6 of 8 cells are trained" in text
    assert f"1 model failed and left out, the first of them {CELL}: the loss is not finite at step 3" in text
    assert "prefers DenseNet121 with unfreezeall" in text
    assert "in the tests of 1 shuffle is 1.00 (95 % interval" in text


def test_a_network_without_weights_is_missing_and_said_to_be(copy):
    told = json.loads((copy / "config.json").read_text())
    told["networks"] = [*told["networks"], "inception_v3"]
    told["models"]["inception_v3"]["init_from"] = "nowhere/inception_v3.safetensors"
    (copy / "config.json").write_text(json.dumps(told))
    text = words(evaluate_study(copy))
    assert "InceptionV3 is missing from this study. What adds it: python -m launch.convert" in text
    assert "8 of 8 cells trained" in text


def test_explanations_are_shown_or_the_command_that_makes_them(copy):
    best = copy / "cells" / "densenet121_unfreezeall_shuffle0"
    assert "The study has kept no weights" in words(evaluate_study(copy))
    (best / "best").mkdir()
    (best / "best" / "variables.safetensors").write_bytes(b"weights")
    (copy / "evaluation" / "summary.json").unlink()
    assert f"python -m launch.explain --run={best}" in words(evaluate_study(copy))
    (best / "explanations").mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(best / "explanations" / "001_s3_0.png")
    record = {"weights_sha256": hashlib.sha256(b"weights").hexdigest(), "pictures": ["001_s3_0.png"]}
    dataset = json.loads((copy / "config.json").read_text())["dataset"]
    for cases, shown in (({"cases.csv": "of others"}, False), (read_dataset(dataset).manifest["sha256"], True)):
        record["dataset_sha256"] = cases
        (best / "explanations" / "explanations.json").write_text(json.dumps(record))
        text = words(evaluate_study(copy))  # although the scores are the same
        assert (f"{best.name}: 001_s3_0" in text) == shown
    assert "Explanations of other cells" not in text
    other = copy / "cells" / "densenet121_unfreezeall_shuffle1"
    for name in ("best", "explanations"):
        shutil.move(best / name, other / name)
    (best / "best").mkdir()
    text = words(evaluate_study(copy))
    places = [text.index(part) for part in ("Nothing explains", "Explanations of other cells", f"{other.name}: 001")]
    assert places == sorted(places)


def test_figures_3b_and_3c_are_drawn_of_the_cell_that_is_shown(study, evaluated, tmp_path, monkeypatch):
    """The other figures are not drawn again."""
    for kind, name in zip(("auc", "confusion", "roc", "calibration"), FIGURES, strict=True):
        plate = Plate(name, name, name, name, b"png", b"pdf")
        monkeypatch.setattr(sarcopenia_figures, f"{kind}_figure", lambda *_, plate=plate: plate)
    workdir = shutil.copytree(study, tmp_path / "study")
    shown, other = (workdir / "cells" / f"densenet121_unfreezeall_shuffle{number}" for number in (0, 1))
    explain_as(other, b"others")
    assert not list(evaluate_study(workdir).glob("figure_3[bc].*"))
    folder = explain_as(shown, b"weights")
    output = evaluate_study(workdir)
    drawn = sorted(path.name for path in output.glob("figure_3[bc].*"))
    assert drawn == [f"figure_3{letter}.{suffix}" for letter in "bc" for suffix in ("pdf", "png")]
    text = words(output)
    assert "Figure 3b: Grad-CAM. DenseNet121 with unfreezeall, shuffle 0, whose tests figure 3a shows above" in text
    assert "below what speaks for the decision. The map is 1 where layer relu speaks most" in text
    assert "launch.explain" not in text
    # Of one method alone there is its figure, and what makes the other.
    explain_as(shown, b"weights", ["lime"])
    assert sorted(path.name for path in evaluate_study(workdir).glob("figure_3[bc].*")) == [*drawn[2:]]
    lacking = "There are no maps but those of Figure 3c: LIME. What makes figures 3b and c: python -m launch.explain"
    assert f"{lacking} --run={shown}" in words(output)
    # Of other weights they are not shown.
    (folder.parent / "best" / "variables.safetensors").write_bytes(b"trained again")
    assert not list(evaluate_study(workdir).glob("figure_3[bc].*"))
    assert f"What makes figures 3b and c: python -m launch.explain --run={shown}" in words(output)


def test_slices_without_masks_have_no_figure_2_and_phantoms_are_told_of(study, tmp_path):
    whole = read_dataset(study.parent / "dataset")
    images = [f"phantoms/images/phantom_{i:04d}.nii.gz" for i in range(len(whole.cases))]
    bare = type(whole.slices)(**{**vars(whole.slices), "mask": np.zeros_like(whole.slices.mask)})
    write_dataset(tmp_path / "dataset", bare, whole.cases.assign(image=images, mask="", sex=""), {})
    workdir = invent_study(
        tmp_path / "study", tmp_path / "dataset", known, networks=["densenet121"], policies=["unfreezeall"], shuffles=1
    )
    output = evaluate_study(workdir, tmp_path / "results")
    assert output == tmp_path / "results" and not list(output.glob("figure_2*"))
    text = words(output)
    assert "Figure 2 shows slices with their masks, and no labelled case has a mask." in text
    assert "The study has DenseNet121 with unfreezeall alone" in text
    assert "The cases are phantoms, drawn by a program" in text
    assert "There is one shuffle only" in text
    assert "The sex of no tested case is known; a column sex" in text


def test_another_dataset_or_config_is_refused(copy, tmp_path):
    with pytest.raises(ValueError, match=r"is not the dataset of study .*; name that one with --dataset"):
        evaluate_study(copy, dataset=invent_dataset(tmp_path / "other", negative=21))
    run = copy / "cells" / CELL / "config.json"
    run.write_text(json.dumps(json.loads(run.read_text()) | {"learning_rate": 0.1}))
    with pytest.raises(ValueError, match=rf"{CELL} is of another config .learning_rate 0.1, now"):
        evaluate_study(copy)


def test_a_study_of_which_nothing_is_done_has_no_results(copy):
    shutil.rmtree(copy / "cells")
    shutil.rmtree(copy / "evaluation")
    with pytest.raises(ValueError, match=r"no cell of .* is done; train them with launch.sweep"):
        evaluate_study(copy)
    assert not (copy / "evaluation").exists()


def test_the_launcher_knows_the_kind_of_study(study, evaluated):
    script = f"""
from absl import flags
from absl.testing import flagsaver
from launch import evaluate
flags.FLAGS(["evaluate", "--workdir={study}"])
evaluate.main()
for wrong in ({{"observers": "readers.csv"}}, {{"split": "train"}}):
    with flagsaver.flagsaver(**wrong):
        try:
            evaluate.main()
        except ValueError as error:
            print("refused:", error)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "DenseNet121 unfreezeall" in done.stdout
    assert "refused: readers of --observers are compared in studies of configs/data_efficiency.py" in done.stdout
    assert "refused: a study is evaluated on its test cases; leave out --split" in done.stdout
