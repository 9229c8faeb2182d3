import json
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from mskjax.data.dataset import stack, write_dataset
from mskjax.files import read_json
from mskjax.study import classification_evaluation
from mskjax.study.classification_evaluation import answer, evaluate, is_classification
from mskjax.study.classifier import Classifier

# Case, patient, split, label and probability. On validation data 0.5 parts best: halfway between 0.4 and 0.6.
CASES = [
    ("t0", "p0", "train", 0, 0.1),
    ("t1", "p1", "train", 1, 0.9),
    ("v0", "p2", "validation", 0, 0.4),
    ("v1", "p3", "validation", 1, 0.6),
    ("<b>a</b>", "p4", "test", 1, 0.95),
    ("b", "p5", "test", 1, 0.35),
    ("c", "p6", "test", 0, 0.55),
    ("d", "p7", "test", 0, 0.05),
    ("e", "p7", "test", 0, 0.15),
    ("unknown", "p8", "test", None, 0.7),
]


class Stub(Classifier):
    """A classifier that reads the case's number off the slice and knows the answer."""

    def inputs(self, squares):
        return squares[:, 0, 0]

    def probabilities(self, images):
        positive = np.array([self.variables["probability"][number] for number in images], np.float32)
        return np.stack([1 - positive, positive], axis=1)


def write(folder, cases, **manifest):
    slices = stack(
        [np.full((4, 4), number, np.int16) for number in range(len(cases))],
        [np.zeros((4, 4), np.uint8)] * len(cases),
        np.ones((len(cases), 2)),
        [case[0] for case in cases],
    )
    table = pd.DataFrame([case[:4] for case in cases], columns=["case_id", "patient_id", "split", "sarcopenia"])
    table = table.assign(slice_index=0, source_index=0, image="", mask="", sex="")
    write_dataset(folder, slices, table.astype({"sarcopenia": "Int64"}), manifest)
    return folder


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    run = tmp_path / "run"
    (run / "best").mkdir(parents=True)
    (run / "best" / "variables.safetensors").write_bytes(b"weights")
    dataset = write(tmp_path / "dataset", CASES)
    config = {"dataset": str(dataset), "task": {"name": "classification"}}
    (run / "config.json").write_text(json.dumps(config))
    origin = {"dataset": {"path": str(dataset), "sha256": read_json(dataset / "dataset.json")["sha256"]}}
    (run / "provenance.json").write_text(json.dumps(origin))
    (run / "DONE").touch()
    use(monkeypatch, [case[4] for case in CASES])
    return run


def use(monkeypatch, probability, cell=None):
    config = {"image_size": 4} | ({"cell": cell} if cell else {})
    stub = Stub(SimpleNamespace(values="hu", limits_hu=None), {"probability": probability}, config, "0" * 64)
    monkeypatch.setattr(classification_evaluation, "load_classifier", lambda run: stub)


def test_the_table_of_cases(workdir):
    cases = pd.read_csv(evaluate(workdir) / "cases.csv")
    assert list(cases.columns) == ["case_id", "patient_id", "label", "probability", "decision"]
    assert cases["case_id"].tolist() == ["<b>a</b>", "b", "c", "d", "e", "unknown"], "the dataset's own order"
    assert cases["decision"].tolist() == [1, 0, 1, 0, 0, 1]
    np.testing.assert_allclose(cases["probability"], [0.95, 0.35, 0.55, 0.05, 0.15, 0.7], rtol=1e-6)
    assert math.isnan(cases["label"].iloc[-1])


def test_the_summary(workdir):
    """By hand, of five labelled cases at the threshold of 0.5: tp a, fn b, fp c, tn d and e."""
    found = read_json(evaluate(workdir) / "summary.json")
    assert (found["cases"], found["patients"], found["positive"], found["unlabelled"]) == (5, 4, 2, 1)
    counts = {"true_negative": 2, "false_positive": 1, "false_negative": 1, "true_positive": 1}
    assert found["confusion"] == counts
    values = {name: row["value"] for name, row in found["metrics"].items()}
    assert values["auc"] == pytest.approx(5 / 6)
    assert [values[name] for name in ("accuracy", "precision", "recall", "f1")] == pytest.approx([0.6, 0.5, 0.5, 0.5])
    assert values["specificity"] == pytest.approx(2 / 3)
    assert values["brier"] == pytest.approx((0.05**2 + 0.65**2 + 0.55**2 + 0.05**2 + 0.15**2) / 5, rel=1e-5)
    assert found["metrics"]["auc"]["interval"]["low"] < 5 / 6 <= found["metrics"]["auc"]["interval"]["high"]
    threshold = found["threshold"]
    assert (threshold["value"], threshold["youden"]) == (pytest.approx(0.5), 1)
    assert (threshold["origin"], threshold["cases"]) == ("chosen on 2 validation cases", 2)
    assert found["notes"] == ["1 of 6 cases have no label: they are decided, and enter no figure."]


def test_the_threshold_is_that_of_the_validation_cases(workdir, monkeypatch):
    use(monkeypatch, [0.1, 0.9, 0.9, 0.98, *(case[4] for case in CASES[4:])])
    folder = evaluate(workdir)
    assert read_json(folder / "summary.json")["threshold"]["value"] == pytest.approx(0.94)
    assert pd.read_csv(folder / "cases.csv")["decision"].tolist() == [1, 0, 0, 0, 0, 0]


def test_validation_of_one_class_leaves_one_half(workdir, tmp_path, monkeypatch):
    cases = [(*case[:3], 0, case[4]) if case[0] == "v1" else case for case in CASES]
    write(tmp_path / "dataset", cases)
    (workdir / "provenance.json").unlink()
    found = read_json(evaluate(workdir) / "summary.json")["threshold"]
    assert (found["value"], found["youden"]) == (0.5, None)
    assert found["origin"] == "not chosen, as all cases are negative"


def test_what_is_undefined_is_null_and_says_why(workdir, monkeypatch, tmp_path):
    use(monkeypatch, [0.1, 0.9, 0.4, 0.6, *[0.2] * 6])
    folder = evaluate(workdir)
    metrics = read_json(folder / "summary.json")["metrics"]
    for name in ("precision", "f1"):
        assert metrics[name] == {"value": None, "reason": "no case is called positive"}
    assert metrics["recall"] == {"value": 0, "reason": ""}
    assert "not defined: no case is called positive" in (folder / "report.html").read_text()
    assert "precision                  not defined: no case is called positive" in answer(folder)


def test_another_dataset_takes_the_threshold_of_the_runs_own(workdir, tmp_path):
    other = write(tmp_path / "other", [(*case[:2], "test", *case[3:]) for case in CASES])
    with pytest.raises(ValueError, match="name a folder for it with --output"):
        evaluate(workdir, dataset=other)
    found = read_json(evaluate(workdir, dataset=other, output=tmp_path / "output") / "summary.json")
    assert (found["cases"], found["threshold"]["origin"]) == (9, "chosen on 2 validation cases")
    assert "not the dataset that the run was trained on" in found["notes"][0]
    for name in ("slices.npz", "cases.csv", "dataset.json"):
        (tmp_path / "dataset" / name).unlink()
    found = read_json(evaluate(workdir, dataset=other, output=tmp_path / "again") / "summary.json")["threshold"]
    assert found["value"] == 0.5
    assert "is gone" in found["origin"]


def test_a_cell_of_a_study_is_evaluated_on_its_own_shuffle(workdir, monkeypatch):
    cell = {"test_cases": ["t0", "b"], "validation_cases": ["c", "d", "<b>a</b>"]}
    use(monkeypatch, [case[4] for case in CASES], cell)
    folder = evaluate(workdir)
    assert pd.read_csv(folder / "cases.csv")["case_id"].tolist() == ["t0", "b"]
    assert read_json(folder / "summary.json")["threshold"]["value"] == pytest.approx(0.75)


def test_a_patients_further_slices_are_counted_by_the_part_they_are_of(workdir, monkeypatch, tmp_path):
    """In a cell, d and e are of one patient: e in no part is left out, e in another part is a patient in two."""
    cell = {"test_cases": ["t0", "d"], "validation_cases": ["c", "b"], "train_cases": ["t1"]}
    use(monkeypatch, [case[4] for case in CASES], cell)
    notes = read_json(evaluate(workdir, output=tmp_path / "first") / "summary.json")["notes"]
    assert notes == ["1 further slice of these patients without a label is left out."]
    use(monkeypatch, [case[4] for case in CASES], {**cell, "train_cases": ["t1", "e"]})
    notes = read_json(evaluate(workdir, output=tmp_path / "second") / "summary.json")["notes"]
    assert notes == [
        "1 of 2 cases show patients who are in another split too; these figures say little about new patients."
    ]


@pytest.mark.parametrize(
    ("split", "note"), [("validation", "chosen on these very cases"), ("train", "has learned from these cases")]
)
def test_splits_that_flatter_say_so(workdir, split, note):
    assert note in read_json(evaluate(workdir, split) / "summary.json")["notes"][0]


def test_the_report_is_one_escaped_file_with_its_figure(workdir):
    folder = evaluate(workdir)
    text = (folder / "report.html").read_text()
    assert "&lt;b&gt;a&lt;/b&gt;" in text and "<b>a</b>" not in text
    assert "1 of 2 sarcopenic cases are called so, and 1 of 3 others" in text
    assert 'src="data:image/png;base64,' in text
    assert {path.name for path in folder.iterdir()} == {
        *("cases.csv", "summary.json", "report.html", "figure_captions.txt"),
        *("roc_and_calibration.png", "roc_and_calibration.pdf"),
    }


def test_what_is_up_to_date_stays(workdir, monkeypatch):
    folder = evaluate(workdir)
    monkeypatch.setattr(classification_evaluation, "load_classifier", None)
    assert evaluate(workdir) == folder
    (folder / "cases.csv").unlink()
    with pytest.raises(TypeError):
        evaluate(workdir)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda cases: [case for case in cases if case[2] != "test"], "has no test cases with a label"),
        (lambda cases: [(*case[:3], None, case[4]) if case[2] == "test" else case for case in cases], "with a label"),
    ],
)
def test_a_split_without_labels_is_refused(workdir, tmp_path, change, message):
    write(tmp_path / "dataset", change(CASES))
    (workdir / "provenance.json").unlink()
    with pytest.raises(ValueError, match=message):
        evaluate(workdir)


def test_values_that_the_run_has_not_learned_from_are_refused(workdir, tmp_path):
    write(tmp_path / "dataset", CASES, values="grey")
    (workdir / "provenance.json").unlink()
    with pytest.raises(ValueError, match="holds grey values; the run has learned from hu"):
        evaluate(workdir)


def test_runs_of_classification_are_told_from_others(workdir, tmp_path):
    assert is_classification(workdir)
    (workdir / "config.json").write_text(json.dumps({"task": {"name": "segmentation"}}))
    assert not is_classification(workdir)
    assert not is_classification(tmp_path)
