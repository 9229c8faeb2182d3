import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest

from configs.classification import get_config
from mskjax import convert, models, tasks
from mskjax.data import batches
from mskjax.data.dataset import read_dataset, stack, write_dataset
from mskjax.explain import grad_cam
from mskjax.files import read_json, write_json
from mskjax.study import explanation_folder
from mskjax.study.explanation_pictures import heading
from mskjax.study.explanation_summary import summary, why_undefined
from mskjax.study.explanations import COLUMNS, explain
from mskjax.study.sarcopenia import Cell

SIDE = 40


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Two test cases, the second of another size and without a mask and a label, and one to train on."""
    rng, images, masks = np.random.default_rng(0), [], []
    for rows, columns in ((SIDE, SIDE), (SIDE, 30), (SIDE, SIDE)):
        mask = np.zeros((rows, columns), np.uint8)
        mask[10:20, 5:25] = 1
        images.append((np.where(mask, 50, -100) + rng.normal(0, 20, mask.shape)).astype(np.int16))
        masks.append(mask)
    masks[1][:] = 0
    names = ["p/1", "p_1", "p2"]
    slices = stack(images, masks, [(2.0, 2.0)] * 3, names)
    about = {"case_id": names, "patient_id": names, "sarcopenia": [1, None, 0], "split": ["test", "test", "train"]}
    cases = pd.DataFrame({**about, "image": "ct", "mask": ["m", "", "m"], "slice_index": 0, "source_index": 0})
    folder = tmp_path_factory.mktemp("dataset")
    write_dataset(folder, slices, cases, {})
    return folder


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory):
    """A finished run, of fresh weights."""
    chosen = get_config("network=resnet50,smoke")
    chosen.update({"dataset": str(dataset), "image_size": SIDE})
    chosen.task.resize = 64
    return write_run(tmp_path_factory.mktemp("run"), json.loads(chosen.to_json()))


def write_run(folder: Path, config, probability=None) -> Path:
    """A run of fresh weights, which gives each case the same `probability` of sarcopenia or, without one, any."""
    task = tasks.build(config["task"])
    params, model_state = task.init(jax.random.key(0), {"image_hu": jax.ShapeDtypeStruct((1, SIDE, SIDE), "int16")})
    # So that each class has something that speaks for it.
    params["fc"]["kernel"] = abs(params["fc"]["kernel"])
    if probability:
        params["fc"]["kernel"] *= 1e-4
        params["fc"]["bias"] = np.log(np.array([1 - probability, probability], np.float32))
    convert.save_variables(folder / "best" / "variables.safetensors", {"params": params, **model_state}, {})
    write_json(folder / "config.json", config)
    (folder / "DONE").touch()
    return folder


@pytest.fixture(scope="module")
def explained(run, tmp_path_factory):
    output = tmp_path_factory.mktemp("explained")
    return output, explain(run, output, samples=40)


def test_there_is_a_picture_a_case_and_a_row_a_case_and_method(explained):
    output, table = explained
    assert sorted(path.name for path in output.iterdir()) == [
        "001_p_1.png",
        "002_p_1.png",
        "explanations.csv",
        "explanations.json",
        "maps.npz",
    ]
    written = pd.read_csv(output / "explanations.csv")
    assert tuple(written.columns) == COLUMNS
    assert list(zip(table["case_id"], table["method"], table["layer"], strict=True)) == [
        (case, method, layer) for case in ("p/1", "p_1") for method, layer in (("grad_cam", "layer4"), ("lime", ""))
    ]
    assert written["label"].tolist()[0] == 1
    assert (written["split"] == "test").all()
    assert written["label"].isna().tolist() == [False, False, True, True]
    assert (written["threshold"] == 0.5).all()  # without validation cases
    assert ((written["probability"] >= 0.5) == (written["decision"] == 1)).all()
    assert (written["explained"] == written["decision"]).all()


def test_shares_and_similarities_are_known_where_they_can_be(explained):
    _, table = explained
    assert table["share_by_chance"].tolist()[0] == pytest.approx(200 / SIDE**2)
    assert table["share_inside"].between(0, 1).tolist() == [True, True, False, False]
    assert table[["share_inside", "share_by_chance"]].isna().all(axis=1).tolist() == [False, False, True, True]
    assert (table["rank_correlation"].dropna().abs() < 0.99).all()


def test_the_summary_names_each_method(explained):
    _, table = explained
    lines = summary(table).splitlines()
    assert lines[0] == "cases explained: 2"
    assert re.match(r"  grad_cam: \d+% inside the mask \(chance 12%\); compared with fresh weights: rank", lines[1])
    assert "lime: no share inside a mask; " in summary(table[table["case_id"] == "p_1"])
    zero = table.assign(share_inside=table["share_inside"].where(table["method"] == "lime"))
    assert "no share inside a mask, 1 of 1 maps are zero and left out: nothing at this layer speaks" in summary(zero)


def test_cases_methods_and_layer_can_be_chosen(run, tmp_path):
    table = explain(run, tmp_path, cases=["p2"], methods=["grad_cam"], layer="backbone/layer2_0")
    told = [["p2", "train", "grad_cam", "backbone/layer2_0"]]
    assert table[["case_id", "split", "method", "layer"]].to_numpy().tolist() == told
    assert heading(table.iloc[0].to_dict()).startswith("p2, training case, label: not sarcopenic\n")


def test_a_cell_of_a_study_has_a_split_of_its_own(run, tmp_path):
    config = read_json(run / "config.json")
    cell = write_run(tmp_path / "cell", {**config, "cell": {"test_cases": ["p2"]}})
    assert explain(cell, tmp_path / "output", methods=["grad_cam"])["case_id"].tolist() == ["p2"]
    every = explain(cell, tmp_path / "output", cases=["p2", "p_1"], methods=["grad_cam"], randomised=False)
    assert every["split"].tolist() == ["test", ""]  # p_1 is a test case of the dataset, and of no part in the cell


def test_cases_of_another_dataset_are_of_no_split_and_are_not_shown_as_the_runs_own(run, dataset, tmp_path):
    """Although they bear the same ids."""
    own, cell = read_dataset(dataset), write_run(tmp_path / "run", read_json(run / "config.json"))
    write_dataset(tmp_path / "other", own.slices, own.cases.assign(sex="F"), {})
    other = read_dataset(tmp_path / "other").manifest["sha256"]
    table = explain(cell, dataset=tmp_path / "other", methods=["grad_cam"], randomised=False)
    assert (table["split"] == "").all()
    assert heading(table.iloc[0].to_dict()).startswith("p/1, label: sarcopenic\n")
    assert explanation_folder.current(cell, own.manifest["sha256"]) is None
    assert explanation_folder.current(cell, other)
    record = read_json(cell / "explanations" / "explanations.json")
    del record["dataset_sha256"]  # as records of before
    write_json(cell / "explanations" / "explanations.json", record)
    assert explanation_folder.current(cell, other) is None


def cell_of(folder: Path, run: Path) -> Path:
    """A cell of a study that gives 0.35 to all cases, whose validation cases choose the threshold 0.2."""
    config = {**read_json(run / "config.json"), "cell": {"test_cases": ["p/1"], "validation_cases": ["a", "b"]}}
    write_run(folder, config, probability=0.35)
    # The test's row is sarcopenic at 0.05: with it, another threshold would be the best.
    scores = "case_id,split,label,probability\na,validation,0,0.1\nb,validation,1,0.3\np/1,test,1,0.05\nc,test,0,0.3\n"
    (folder / "scores.csv").write_text(scores)
    return folder


def test_the_class_explained_is_the_one_decided_at_the_threshold_of_validation(run, tmp_path):
    cell = cell_of(tmp_path, run)
    decided, not_sarcopenic, sarcopenic = (
        explain(cell, methods=["grad_cam"], target=target, randomised=False).iloc[0] for target in (None, 0, 1)
    )
    for row in (decided, not_sarcopenic, sarcopenic):
        assert row["probability"] == pytest.approx(0.35, abs=0.01)
        assert row["threshold"] == pytest.approx(0.2, abs=1e-9)
        assert row["decision"] == 1
    assert [row["explained"] for row in (decided, not_sarcopenic, sarcopenic)] == [1, 0, 1]
    assert decided["share_inside"] == sarcopenic["share_inside"] != not_sarcopenic["share_inside"]
    assert heading(decided.to_dict()) == (
        "p/1, test case, label: sarcopenic\nDecision: sarcopenic (probability of sarcopenia 0.350, threshold 0.200)\n"
        "The maps show what speaks for: sarcopenic"
    )


def test_a_run_decides_as_it_is_evaluated(run, dataset, tmp_path):
    own = read_dataset(dataset)
    found = []
    for labels in ([0, 1, None], [1, 0, None]):  # of which one order is that of the probabilities
        cases = own.cases.drop(columns=["sarcopenia", "split"])
        cases = cases.assign(sarcopenia=labels, split=["validation", "validation", "test"])
        write_dataset(tmp_path / "dataset", own.slices, cases, {})
        write_json(tmp_path / "config.json", {**read_json(run / "config.json"), "dataset": str(tmp_path / "dataset")})
        shutil.copytree(run / "best", tmp_path / "best", dirs_exist_ok=True)
        table = explain(tmp_path, methods=["grad_cam"], split="validation", randomised=False)
        found.append(table["threshold"].iloc[0])
        assert (table["decision"] == (table["probability"] >= table["threshold"])).all()
    assert sorted(found) == pytest.approx(sorted([0.5, table["probability"].mean()]))


def test_pictures_lie_in_the_run_and_replace_those_of_former_calls(run, dataset, tmp_path):
    planned = Cell("resnet50", "freezeall", 0, (), ("a", "b"), ("p/1",), (0, 0))
    cell = cell_of(tmp_path / "cells" / planned.name, run)
    folder = cell / "explanations"
    explain(cell, cases=["p_1", "p2"], methods=["grad_cam"], randomised=False)
    (folder / "mine.png").touch()
    table = explain(cell, methods=["grad_cam"], randomised=False)
    names = ["001_p_1.png", "explanations.csv", "explanations.json", "maps.npz", "mine.png"]
    assert sorted(path.name for path in folder.iterdir()) == names
    weights = (cell / "best" / "variables.safetensors").read_bytes()
    cases = read_dataset(dataset).manifest["sha256"]
    made_from = {"weights_sha256": hashlib.sha256(weights).hexdigest(), "dataset_sha256": cases}
    assert read_json(folder / "explanations.json") == {**made_from, "pictures": ["001_p_1.png"]}
    # Without fresh weights nothing is compared.
    assert pd.read_csv(folder / "explanations.csv")[list(COLUMNS[-3:])].isna().all(axis=None)
    assert "fresh" not in summary(table)
    # The report of a study shows them, but for those of other weights.
    shown = explanation_folder.current(cell, cases)
    assert shown and shown.pictures == (folder / "001_p_1.png",)
    assert shown.files == (folder / "001_p_1.png", folder / "explanations.csv", folder / "maps.npz")
    (cell / "best" / "variables.safetensors").write_bytes(weights + b" ")
    assert explanation_folder.current(cell, cases) is None


def test_the_maps_lie_beside_the_pictures(explained):
    """Those of the run's weights; a slice as wide as high fills its square."""
    output, table = explained
    with np.load(output / "maps.npz") as maps:
        assert maps["case_id"].tolist() == ["p/1", "p_1"]
        assert maps["grad_cam"].shape == maps["lime"].shape == (2, 64, 64)
        own = batches.unfit(maps["grad_cam"][0], (SIDE, SIDE), np.array([2.0, 2.0], np.float32))
    share = own[10:20, 5:25].sum() / own.sum()
    assert share == pytest.approx(table["share_inside"].iloc[0], rel=1e-5)


def test_the_layers_of_the_examples_are_in_the_networks_that_they_are_of():
    launcher = Path(__file__).parents[2] / "launch" / "explain.py"
    network, image = models.build("densenet121", num_classes=2), jax.ShapeDtypeStruct((1, 224, 224, 3), "float32")
    variables = jax.eval_shape(network.init, jax.random.key(0), image)
    layers = re.findall(r"--layer=(\S+)", launcher.read_text())
    assert layers
    for layer in layers:
        shown = jax.eval_shape(lambda *inputs, layer=layer: grad_cam(network, *inputs, 1, layer), variables, image)
        assert shown.shape == (1, 224, 224)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"cases": ["p3"]}, "case 'p3' is not in the dataset; near ids are p2"),
        ({"methods": ["saliency"]}, "method 'saliency' is unknown; choose of grad_cam, lime"),
        ({"layer": "layer5"}, "layer 'layer5' is unknown; near names are layer"),
        ({"target": 2}, r"target is 2; give 0 \(not sarcopenic\), 1 \(sarcopenic\) or none"),
        ({"split": "validation"}, "the dataset has no validation cases"),
    ],
)
def test_what_is_not_there_is_refused(run, tmp_path, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        explain(run, tmp_path / "output", **arguments)


def test_a_run_of_another_task_is_refused_in_a_sentence(tmp_path):
    write_json(tmp_path / "config.json", {"task": {"name": "segmentation"}})
    command = [sys.executable, "-m", "launch.explain", f"--run={tmp_path}", f"--output={tmp_path / 'output'}"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert told.stderr.splitlines()[-1].startswith(
        f"error: {tmp_path} is a run of the task segmentation, which decides"
    )
    assert not (tmp_path / "output").exists()


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="is no run"):
        explain(tmp_path, tmp_path / "output")


def test_the_summary_says_of_how_many_maps_a_mean_is_and_why():
    """One of four is compared; the mean of the others' is not theirs."""
    why = why_undefined(np.eye(8, dtype=np.float32), np.zeros((8, 8), np.float32))
    assert (why, why_undefined(*[np.eye(8, dtype=np.float32)] * 2)) == ("fresh map is the same everywhere", "")
    one = {"case_id": "a", "method": "grad_cam", "share_inside": 0.5, "share_by_chance": 0.1}
    ranks, whys = [0.39, np.nan, np.nan, np.nan], ["", why, why, why]
    table = pd.DataFrame([{**one, "rank_correlation": r, "undefined": w} for r, w in zip(ranks, whys, strict=True)])
    told = summary(table.assign(structural_similarity=0.05))
    assert "correlation 0.39 (1 of 4 maps; undefined in 3, whose fresh map is the same everywhere), struct" in told
    assert told.endswith("structural similarity 0.05")


def test_a_study_is_no_run_and_names_its_cells(tmp_path):
    (tmp_path / "config.json").write_text('{"study": "sarcopenia_classification"}')
    (tmp_path / "cells/one/best").mkdir(parents=True)
    (tmp_path / "cells/one/best/variables.safetensors").touch()
    with pytest.raises(ValueError, match=r"is a study; give one of its cells, such as .*/cells/one$"):
        explain(tmp_path)
