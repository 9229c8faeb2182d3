"""The plan of study B's classification, and a small one that is trained."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from compilations import compilations

from configs.sarcopenia_classification import get_config
from mskjax import tasks
from mskjax.convert import load_variables
from mskjax.data import batches
from mskjax.data.dataset import stack, write_dataset
from mskjax.study import dry_run, estimates, sarcopenia, status, sweep
from mskjax.study.account import account
from mskjax.study.probability_judge import read_probabilities
from mskjax.study.sarcopenia import plan, run_config

POLICIES = ("unfreezeall", "unfreezetop10", "freezeall")


def cohort(patients=79, positive=18):
    """One case a patient, the first ones sarcopenic; most are of no split that matters."""
    labels = pd.array([int(i < positive) for i in range(patients)], "Int64")
    names = [f"p{i:02d}" for i in range(patients)]
    return pd.DataFrame({"case_id": [f"{name}_0" for name in names], "patient_id": names, "sarcopenia": labels})


def study(text=None, **fields):
    config = get_config(text)
    config.update(fields)
    return config


@pytest.fixture(scope="module")
def cells():
    return plan(cohort(), study("init=random"))


def test_all_cells_of_study_b(cells):
    """4 networks x 3 policies x 10 shuffles, each of 54, 12 and 13 patients who are never shared."""
    assert len({cell.name for cell in cells}) == len(cells) == 4 * 3 * 10
    for cell in cells:
        parts = [set(cell.train_cases), set(cell.validation_cases), set(cell.test_cases)]
        assert [len(part) for part in parts] == [54, 12, 13]
        assert len(set.union(*parts)) == 79


def test_all_networks_and_policies_see_the_same_shuffles(cells):
    of_shuffle = {(cell.shuffle, cell.train_cases, cell.validation_cases, cell.test_cases) for cell in cells}
    assert len(of_shuffle) == 10


def test_cells_of_one_compiled_step_follow_each_other(cells):
    assert [cell.pace for cell in cells[::10]] == list(dict.fromkeys(cell.pace for cell in cells))


def test_a_cells_run_is_that_of_its_network_and_policy(cells):
    config = study("init=random", learning_rate=1e-4)
    runs = {cell.name: run_config(config, cell) for cell in cells}
    assert len({run["seed"] for run in runs.values()}) == 120
    run = runs["inception_resnet_v2_unfreezetop10_shuffle3"]
    assert (run["task"]["model"]["name"], run["task"]["policy"]) == ("inception_resnet_v2", "unfreezetop10")
    assert (run["learning_rate"], run["batch_size"], run["epochs"], run["patience"]) == (1e-4, 8, 200, 20)
    assert run["stop_on"] == "validation"
    assert tasks.build(run["task"]).freeze != ()
    assert run["cell"]["shuffle"] == 3


def test_balanced_class_weights_are_of_the_cells_training_cases():
    """42 and 12 patients train; where each of the sarcopenic has two slices, 42 and 24 cases do."""
    one, two = cohort(), pd.concat([cohort(), cohort(18).assign(case_id=lambda own: own["case_id"] + "b")])
    config = study("init=random", networks=("densenet121",))
    config.task.class_weights = ("balanced",)
    for cases, expected in ((one, (54 / 84, 54 / 24)), (two, (66 / 84, 66 / 48))):
        runs = [run_config(config, cell) for cell in plan(cases, config)]
        assert all(run["task"]["class_weights"] == pytest.approx(expected) for run in runs)
        assert "train_counts" not in runs[0]["cell"]


def test_cells_of_their_own_class_weights_are_all_told_of_in_the_account():
    """Every other patient has a second slice, so that counts, weights and compiled steps differ by shuffle."""
    cases = pd.concat([cohort(), cohort().iloc[::2].assign(case_id=lambda own: own["case_id"] + "b")])
    config = study("init=random", networks=("densenet121",), policies=("freezeall", "unfreezeall"))
    config.task.class_weights = ("balanced",)
    cells = plan(cases, config)
    found = estimates.networks(config, cells)
    counts = {cell.train_counts for cell in cells}
    assert 1 < len(counts) < 10, "some shuffles are alike"
    assert len(found) == 2 * len(counts)
    assert sorted(cell.name for _, own in found.values() for cell in own) == sorted(cell.name for cell in cells)
    for run, own in found.values():
        assert {json.dumps(run_config(config, cell)["task"]) for cell in own} == {json.dumps(run["task"])}
    assert next(iter(found)).startswith("densenet121_freezeall_shuffle0")


def test_shuffles_by_label_and_sex():
    """Of 18 sarcopenic 12 men: 2 men and a woman validate and test; 40 of the 61 others: 6 and 3, and 7 and 3."""
    men = [*range(12), *range(18, 58)]
    cases = cohort().assign(sex=["M" if i in men else "F" for i in range(79)])
    for cell in plan(cases, study("init=random", stratify="label_and_sex", networks=("densenet121",))):
        parts = cell.train_cases, cell.validation_cases, cell.test_cases
        counts = [[(int(name[1:3]) < 18, int(name[1:3]) in men) for name in part] for part in parts]
        assert [len(part) for part in parts] == [54, 12, 13]
        kinds = ((True, True), (True, False), (False, True), (False, False))
        assert [[part.count(kind) for kind in kinds] for part in counts] == [[8, 4, 28, 14], [2, 1, 6, 3], [2, 1, 6, 4]]


def test_study_b_starts_from_radimagenet():
    (own,) = {
        (run["init_from"], tuple(run["fresh"]))
        for run in (run_config(study(), cell) for cell in plan(cohort(), study()) if cell.network == "inception_v3")
    }
    assert own == ("third_party_weights/radimagenet/inception_v3.safetensors", ("fc/.*",))
    with pytest.raises(FileNotFoundError, match=r"launch.convert --model=inception_v3 "):
        sarcopenia.missing(study().to_dict())
    assert set(sarcopenia.missing(study(missing_weights="skip").to_dict())) == set(study().networks)
    assert sarcopenia.missing(study("init=random").to_dict()) == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shuffles": 0}, "config.shuffles is 0; it must be a whole number from 1 on"),
        ({"test_fraction": 1.0}, "config.test_fraction is 1.0; it must be above 0 and below 1"),
        ({"validation_fraction": 0.6, "test_fraction": 0.6}, "none are left to train; give fractions whose sum is bel"),
        ({"networks": ("densenet121", "densenet121")}, "must name at least one network, and each once"),
        ({"networks": ("vgg16",)}, "network 'vgg16' is unknown; config.models has inception_v3"),
        (
            {"policies": ("freezesome",)},
            "policy 'freezesome' is unknown; those of a study are freezeall, unfreezetop10",
        ),
        (
            {"networks": ("densenet121,inception_v3",)},
            r"write several as --config.networks=\"\('densenet121', 'inception_v3'\)\"$",
        ),
        ({"learning_rate": 0.0}, "config.learning_rate is 0.0; it must be above 0"),
        ({"stratify": "sex"}, "config.stratify is 'sex'; it must be label or label_and_sex"),
        ({"stop_on": "test"}, "config.stop_on is 'test'; it must be both or validation"),
    ],
)
def test_configs_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        plan(cohort(), study("init=random", **changes))


@pytest.fixture(scope="module")
def bright(tmp_path_factory):
    """12 patients, six of them bright, and one without a label."""
    folder, rng = tmp_path_factory.mktemp("bright"), np.random.default_rng(0)
    levels = [100 * (i < 6) for i in range(13)]
    images = [(level + rng.normal(0, 5, (24, 24))).astype(np.int16) for level in levels]
    names = [f"p{i}" for i in range(13)]
    slices = stack(images, [np.zeros((24, 24), np.uint8)] * 13, [(1.0, 1.0)] * 13, names)
    cases = pd.DataFrame({"case_id": names, "patient_id": names, "split": ["test"] * 6 + ["train"] * 7})
    cases = cases.assign(slice_index=0, source_index=0)
    cases["sarcopenia"] = pd.array([1] * 6 + [0] * 6 + [pd.NA], "Int64")
    write_dataset(folder / "dataset", slices, cases, {})
    return folder / "dataset"


def small(dataset, **fields):
    fields = {"networks": ("keras_resnet50",), "policies": ("unfreezeall", "freezeall"), **fields}
    whole = {"validation_fraction": 0.3, "test_fraction": 0.3, "devices": 1, "batch_size": 4}
    return study("smoke", dataset=str(dataset), **whole, **fields)


def test_a_small_study(bright, tmp_path, monkeypatch):
    """One compilation of the step, the evaluation and the prediction for each network and policy; CT is cut first."""
    config, fit, seen = small(bright), batches.fit, []
    monkeypatch.setattr(batches, "fit", lambda *arguments: seen.append(arguments[2:]) or fit(*arguments))
    with compilations() as count:
        assert sweep.sweep(config, tmp_path) == {}
    assert [count(name) for name in ("train_step", "evaluate_step", "predict")] == [2, 2, 2]
    assert set(seen) == {((-175.0, 250.0),)}
    cells = plan(sweep.read_dataset(bright).cases, config)
    assert sorted(path.name for path in (tmp_path / "cells").iterdir()) == sorted(cell.name for cell in cells)
    for cell in cells:
        scores = read_probabilities(tmp_path / "cells" / cell.name)
        assert tuple(scores["case_id"]) == cell.validation_cases + cell.test_cases
        assert scores["split"].tolist() == ["validation"] * 4 + ["test"] * 4
        assert scores["label"].tolist() == [int(int(name[1:]) < 6) for name in scores["case_id"]]
    assert json.loads((tmp_path / "config.json").read_text())["study"] == "sarcopenia_classification"
    trunks = [load_variables(path)[0] for path in tmp_path.glob("cells/*freezeall_shuffle0/best/*")]
    assert len(trunks) == 2


def test_a_dry_run_says_which_of_the_last_ten_layers_learn_and_status_does_not(bright, tmp_path, caplog):
    caplog.set_level("INFO")
    tasks._say.cache_clear()
    config = small(bright, policies=("unfreezetop10",))
    status.of_study(config, tmp_path)
    assert "these layers learn" not in caplog.text
    list(dry_run.dry_run(config, tmp_path, measured=False))
    assert caplog.text.count("keras_resnet50, unfreezetop10: beside the head, these layers learn") == 1


def test_the_account_has_a_line_for_each_network_and_policy(bright):
    config = small(bright)
    dataset = sweep.read_dataset(bright)
    told = "\n\n".join(account(config, plan(dataset.cases, config), dataset))
    assert told.startswith("4 cells: 1 network x 2 policies x 2 shuffles\n")
    assert "folders: cells/keras_resnet50_{freezeall,unfreezeall}_{shuffle0,shuffle1}\n" in told
    assert "\nkeras_resnet50 unfreezeall " in told.partition("Memory")[2]
    assert "best weights of 4 cells" in told
    assert "masks of" not in told


def test_datasets_that_do_not_serve(bright, tmp_path):
    grey = study("smoke,values=grey", dataset=str(bright))
    with pytest.raises(
        ValueError, match=r"holds hu values and config\.task\.values is 'grey'; set --config\.task\.values=hu"
    ):
        sweep.sweep(grey, tmp_path / "study")
    whole = sweep.read_dataset(bright)
    write_dataset(tmp_path / "bare", whole.slices, whole.cases.assign(sarcopenia=pd.NA), {})
    with pytest.raises(ValueError, match=r"none of the 13 cases of .* has a label; give a column sarcopenia"):
        sweep.sweep(study("smoke", dataset=str(tmp_path / "bare")), tmp_path / "study")
    twin = whole.cases["case_id"].where(whole.cases["case_id"] != "p7", "p2")
    rows = [list(whole.slices.case_id).index(name) for name in twin]
    slices = dataclasses.replace(whole.slices.select(rows), case_id=whole.slices.case_id)
    write_dataset(tmp_path / "twins", slices, whole.cases, {})
    with pytest.raises(ValueError, match="cases p2 and p7 are one slice under two patient ids, so that it could train"):
        sweep.sweep(study("smoke", dataset=str(tmp_path / "twins")), tmp_path / "study")
    assert not (tmp_path / "study").exists()
