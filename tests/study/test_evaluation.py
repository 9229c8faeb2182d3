import base64
import html.parser
import json
import math
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mskjax.data.dataset import stack, write_dataset
from mskjax.study.evaluation import evaluate
from mskjax.study.evaluation_folder import answer

COLUMNS = (
    "case_id,patient_id,slice_index,split,dice,rms_dta_cm,rms_dta_symmetric_cm,sma_cm2,smd_hu,"
    "reference_sma_cm2,reference_smd_hu,bone_removal"
)
# Case id, patient, split, shape, spacing in mm, columns of the reference and of the prediction; rows are 10 to 20.
CASES = [
    ("train", "anna", "train", (40, 50), (1.0, 1.0), (10, 30), (10, 30)),
    ("same", "berta", "test", (40, 50), (1.0, 1.0), (10, 30), (10, 30)),
    ("<b>moved</b> & co/1", "carl", "test", (48, 36), (2.0, 0.5), (10, 30), (15, 35)),
    ("missed", "dora", "test", (40, 50), (1.0, 1.0), (10, 30), (0, 0)),
    ("anna again", "anna", "test", (40, 50), (1.0, 1.0), (10, 30), (10, 28)),
]


def mask(shape, columns):
    values = np.zeros(shape, np.uint8)
    values[10:20, slice(*columns)] = 1
    return values


def image(number, shape):
    values = np.full(shape, 30, np.int16)
    values[0, 0] = number  # by which the stub tells the slices apart
    return values


class Stub:
    """A predictor that knows the answers, and counts how often it is asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, image_hu, spacing_mm):
        assert image_hu.dtype == np.int16
        case = CASES[image_hu[0, 0, 0]]
        assert image_hu.shape == (1, *case[3])
        assert spacing_mm.tolist() == list(case[4])
        self.asked.append(case[0])
        return 0.5 + 0.4 * mask(case[3], case[6])[None].astype(np.float32)


@pytest.fixture
def workdir(tmp_path):
    slices = stack(
        [image(i, case[3]) for i, case in enumerate(CASES)],
        [mask(case[3], case[5]) for case in CASES],
        [case[4] for case in CASES],
        [case[0] for case in CASES],
    )
    table = pd.DataFrame([dict(zip(("case_id", "patient_id", "split"), case, strict=False)) for case in CASES])
    table = table.assign(slice_index=range(len(CASES)), source_index=0, image="", mask="", sex="")
    write_dataset(tmp_path / "dataset", slices, table, {})
    run = tmp_path / "run"
    (run / "best").mkdir(parents=True)
    (run / "best" / "variables.safetensors").write_bytes(b"weights")
    (run / "config.json").write_text(json.dumps({"dataset": str(tmp_path / "dataset")}))
    (run / "provenance.json").write_text(json.dumps({"starts": [{"devices": ["<cpu>"], "step": 0}]}))
    Image.new("RGB", (30, 20)).save(run / "loss_curves.png")
    return run


class Page(html.parser.HTMLParser):
    """Every tag, every address and all text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href", "srcset", "data", "action")]

    def handle_data(self, data):
        self.words.append(data.strip())


def test_the_table_of_cases(workdir):
    folder = evaluate(workdir, predictor=Stub())
    text = (folder / "cases.csv").read_text()
    assert text.splitlines()[0] == COLUMNS
    cases = pd.read_csv(folder / "cases.csv").set_index("case_id")
    assert cases.index.tolist() == [case[0] for case in CASES if case[2] == "test"], "the dataset's own order"
    assert cases.loc["same", "dice":"rms_dta_symmetric_cm"].tolist() == [1, 0, 0]
    assert cases["slice_index"].tolist() == [1, 2, 3, 4]
    moved = cases.loc["<b>moved</b> & co/1"]
    assert moved["dice"] == pytest.approx(2 * 150 / 400)
    assert moved["sma_cm2"] == moved["reference_sma_cm2"] == pytest.approx(200 * 2 * 0.5 / 100)
    # 5 columns of 0.5 mm: boundary pixels beyond the reference lie 0.5 to 2.5 mm from its edge, the new left side
    # lies 1 row of 2 mm or 2.5 mm at most inside; all distances by hand from the two rectangles.
    out = [0.5 * n for n in range(1, 6)] * 2 + [2.5] * 8
    inside = [2.0 * min(r, 9 - r) for r in range(1, 9)]
    left = [min(distance, 2.5) for distance in inside]
    squares = sum(d * d for d in [*out, *left]) / (2 * 20 + 2 * 8)
    assert moved["rms_dta_cm"] == pytest.approx(math.sqrt(squares) / 10)
    missed = cases.loc["missed"]
    assert (missed["dice"], missed["rms_dta_cm"], missed["sma_cm2"]) == (0, np.inf, 0)
    assert np.isnan(missed["smd_hu"])
    assert set(cases["bone_removal"]) == {"2-D"}


def test_the_summary_counts_what_is_missing(workdir):
    folder = evaluate(workdir, predictor=Stub())
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["cases"], summary["patients"]) == (4, 4)
    dice = summary["metrics"]["dice"]
    assert dice["mean"] == pytest.approx((1 + 0.75 + 0 + 360 / 380) / 4)
    distance = summary["metrics"]["rms_dta_cm"]
    assert (distance["non_finite"], distance["unit"]) == (1, "cm")
    assert summary["metrics"]["smd_difference_hu"]["non_finite"] == 1
    table = pd.read_csv(folder / "summary.csv").set_index("metric")
    assert table.loc["dice", "mean"] == pytest.approx(dice["mean"])
    assert table.loc["sma_difference_percent", "mean"] == pytest.approx((0 + 0 - 100 - 10) / 4)
    assert "1 not finite" in answer(folder)
    # Of 0, 0, -100 and -10 %: a mean that one missed case decides stands beside its median.
    assert re.search(r"sma_difference_percent +mean -27.500 ± 48.563 \(sd\), median -5.000", answer(folder))


def test_the_report_stands_alone(workdir):
    folder = evaluate(workdir, predictor=Stub())
    text = (folder / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not {"script", "link", "iframe", "object", "b"} & set(page.tags), "no scripts, and case ids are escaped"
    assert page.addresses
    assert all(re.match(r"data:image/(png|jpeg);base64,", address) for address in page.addresses)
    assert not re.search(r"url\(|@import|https?:", text)
    for address in page.addresses:
        assert base64.b64decode(address.partition(",")[2], validate=True)[:4] in (b"\x89PNG", b"\xff\xd8\xff\xe0")
    assert len(page.addresses) == 4 + 2, "four overlays, the agreement plots and the loss curves"


def test_the_report_gives_the_answer_first_and_the_worst_case_next(workdir):
    words = " ".join(Page((evaluate(workdir, predictor=Stub()) / "report.html").read_text(encoding="utf-8")).words)
    mean = f"{(1 + 0.75 + 0 + 360 / 380) / 4:.3f}"
    assert words.index(f"mean Dice of {mean}") < words.index("Every case")
    assert "The worst case is missed, with a Dice of 0.000" in words
    assert "1 of 4 not finite" in words
    table = words[words.index("Every case") :]
    order = [table.index(name) for name in ("missed", "<b>moved</b> & co/1", "anna again", "same")]
    assert order == sorted(order)
    assert "∞" in table
    assert "starts.0.devices.0 <cpu>" in words


@pytest.mark.parametrize(
    "sentence",
    [
        "1 of 4 cases show patients who are in another split too",
        "In 1 of 4 cases one of the two masks is empty",
        "The run has not finished",
    ],
)
def test_the_report_warns(workdir, sentence):
    assert sentence in (evaluate(workdir, predictor=Stub()) / "report.html").read_text(encoding="utf-8")


def test_slices_of_one_patient_are_called_dependent(workdir):
    (workdir / "DONE").touch()
    dataset = workdir.parent / "twins"
    two = stack([image(1, (40, 50))] * 2, [mask((40, 50), (10, 30))] * 2, [(1.0, 1.0)] * 2, ["one", "two"])
    cases = pd.DataFrame({"case_id": ["one", "two"], "patient_id": "twin", "split": "test"})
    write_dataset(dataset, two, cases.assign(slice_index=0, source_index=0, image="", mask="", sex=""), {})
    text = (evaluate(workdir, output=workdir / "twins", dataset=dataset, predictor=Stub()) / "report.html").read_text(
        encoding="utf-8"
    )
    assert "The 2 cases come from 1 patient. Slices of one patient are alike" in text
    assert "has not finished" not in text


def write_one(dataset, image_path):
    """A dataset of the one case that `CASES` calls "same"."""
    one = stack([image(1, (40, 50))], [mask((40, 50), (10, 30))], [(1.0, 1.0)], ["same"])
    cases = pd.DataFrame({"case_id": ["same"], "patient_id": "berta", "split": "test", "image": image_path})
    write_dataset(dataset, one, cases.assign(slice_index=0, source_index=0, mask="", sex=""), {})


def test_another_dataset_needs_a_folder_of_its_own(workdir):
    other = workdir.parent / "other"
    write_one(other, "scan.nii.gz")
    with pytest.raises(ValueError, match=r"other is not the dataset that .*run was trained on.*--output"):
        evaluate(workdir, dataset=other, predictor=Stub())
    assert not (workdir / "evaluation").exists()
    folder = evaluate(workdir, output=workdir.parent / "scores", dataset=other, predictor=Stub())
    text = (folder / "report.html").read_text(encoding="utf-8")
    digest = json.loads((other / "dataset.json").read_text())["sha256"]["slices.npz"]
    assert f"Dataset {other} (" in text
    assert f"slices.npz {digest[:12]}" in text
    assert digest in text
    assert "not the dataset that the run was trained on" in text
    assert "phantoms" not in text
    assert str(other) in answer(folder)


def test_plots_stay_readable_and_tables_whole_on_a_narrow_screen(workdir):
    text = (evaluate(workdir, predictor=Stub()) / "report.html").read_text(encoding="utf-8")
    narrow = text[text.index("@media screen and (max-width") : text.index("@media print")]
    assert "figure.plot { overflow-x: auto; }" in narrow
    assert re.search(r"td:first-child.* { white-space: normal; }", narrow)


@pytest.mark.parametrize("recorded", [True, False])
def test_a_moved_copy_of_the_dataset_is_the_runs_own(workdir, recorded):
    own, moved = workdir.parent / "dataset", workdir.parent / "moved"
    shutil.copytree(own, moved)
    if recorded:
        digests = json.loads((own / "dataset.json").read_text())["sha256"]
        (workdir / "provenance.json").write_text(json.dumps({"dataset": {"path": "gone", "sha256": digests}}))
        shutil.rmtree(own)
    folder = evaluate(workdir, dataset=moved, predictor=Stub())
    assert folder == workdir / "evaluation"
    assert "not the dataset" not in (folder / "report.html").read_text(encoding="utf-8")


def test_one_case_has_no_spread_and_phantoms_are_called_so(workdir):
    one = workdir.parent / "one"
    write_one(one, f"{one}/phantoms/images/phantom_0000.nii.gz")
    folder = evaluate(workdir, output=workdir / "one", dataset=one, predictor=Stub())
    lines = answer(folder).splitlines()
    assert lines[1].split() == ["dice", "mean", "1.000,", "median", "1.000"]
    text = " ".join(Page((folder / "report.html").read_text(encoding="utf-8")).words)
    assert "The cases are phantoms" in text
    assert "±" not in text
    assert "its density with a bias of 0.0 HU" in text


def test_overlays_are_named_from_the_worst_case_on(workdir):
    folder = evaluate(workdir, predictor=Stub())
    names = sorted(path.name for path in (folder / "overlays").iterdir())
    assert names == ["001_missed.png", "002__b_moved__b____co_1.png", "003_anna_again.png", "004_same.png"]


def test_of_equal_dice_the_farther_one_is_worse(workdir):
    shape, columns = (40, 50), {1: (22, 32), 2: (35, 45)}
    two = stack([image(i, shape) for i in (1, 2)], [mask(shape, (10, 20))] * 2, [(1.0, 1.0)] * 2, ["near", "far"])
    cases = pd.DataFrame({"case_id": ["near", "far"], "patient_id": ["a", "b"], "split": "test"})
    dataset = workdir.parent / "apart"
    write_dataset(dataset, two, cases.assign(slice_index=0, source_index=0, image="", mask="", sex=""), {})
    predictor = lambda hu, mm: 1.0 * mask(shape, columns[hu[0, 0, 0]])[None]  # noqa: E731
    folder = evaluate(workdir, output=workdir / "apart", dataset=dataset, predictor=predictor)
    assert [path.name for path in sorted((folder / "overlays").iterdir())] == ["001_far.png", "002_near.png"]


def test_what_is_up_to_date_is_not_made_again(workdir):
    stub = Stub()
    folder = evaluate(workdir, predictor=stub)
    assert stub.asked == ["same", "<b>moved</b> & co/1", "missed", "anna again"], "never a training case"
    evaluate(workdir, predictor=stub)
    assert len(stub.asked) == 4
    (folder / "report.html").unlink()
    evaluate(workdir, predictor=stub)
    assert len(stub.asked) == 8
    (folder / "overlays" / "999_stale.png").touch()
    (folder / "mine.txt").touch()
    (workdir / "best" / "variables.safetensors").write_bytes(b"better weights")
    evaluate(workdir, predictor=stub)
    assert len(stub.asked) == 12
    assert not (folder / "overlays" / "999_stale.png").exists()
    assert (folder / "mine.txt").exists()


def test_an_interrupted_evaluation_is_made_again(workdir, monkeypatch):
    weights = workdir / "best" / "variables.safetensors"
    evaluate(workdir, predictor=Stub())
    with monkeypatch.context() as broken, pytest.raises(ZeroDivisionError):
        broken.setattr("mskjax.study.report.render", lambda findings: 1 / 0)
        weights.write_bytes(b"other weights")
        evaluate(workdir, predictor=Stub())
    weights.write_bytes(b"weights")
    stub = Stub()
    evaluate(workdir, predictor=stub)
    assert len(stub.asked) == 4, "its tables were already those of the other weights"


def test_another_split_and_folder(workdir, tmp_path):
    stub = Stub()
    folder = evaluate(workdir, split="train", output=tmp_path / "elsewhere", predictor=stub)
    assert folder == tmp_path / "elsewhere"
    assert stub.asked == ["train"]
    assert not (workdir / "evaluation").exists()
    assert "held-out" not in (folder / "report.html").read_text(encoding="utf-8")


def test_refusals(workdir, tmp_path):
    with pytest.raises(ValueError, match="no validation cases"):
        evaluate(workdir, split="validation", predictor=Stub())
    with pytest.raises(ValueError, match="no numbers"):
        evaluate(workdir, predictor=lambda image_hu, spacing_mm: np.full(image_hu.shape, np.nan, np.float32))
    with pytest.raises(OSError, match="--dataset"):
        evaluate(workdir, dataset=tmp_path / "gone", predictor=Stub())
    with pytest.raises(OSError, match=r"launch\.train"):
        evaluate(tmp_path, predictor=Stub())
    (workdir / "best" / "variables.safetensors").unlink()
    with pytest.raises(OSError, match=r"holds no weights of a run.*go on with it"):
        evaluate(workdir, predictor=Stub())
    assert not (workdir / "evaluation").exists()
