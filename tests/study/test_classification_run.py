"""Whole runs of classification by its config: what each policy has moved, and their evaluation."""

import json

import jax
import numpy as np
import pandas as pd
import pytest
from flax.traverse_util import flatten_dict

from configs import classification
from mskjax import tasks
from mskjax.convert import load_variables
from mskjax.data import batches
from mskjax.data.dataset import read_dataset, stack, write_dataset
from mskjax.study.classification_evaluation import evaluate
from mskjax.training import train


@pytest.fixture(scope="module")
def bright(tmp_path_factory):
    """A dataset folder whose sarcopenic patients have a brighter middle: 16 train, 6 validate, 6 test."""
    rng, label = np.random.default_rng(0), np.tile([0, 1], 14)
    images = rng.normal(-100, 20, (28, 32, 32))
    images[:, 8:24, 8:24] += 120 + 100 * label[:, None, None]
    case_id = [f"case{i}" for i in range(28)]
    slices = stack(list(images.astype(np.int16)), [np.zeros((32, 32), np.uint8)] * 28, np.full((28, 2), 10.0), case_id)
    split = ["train"] * 16 + ["validation"] * 6 + ["test"] * 6
    cases = pd.DataFrame({"case_id": case_id, "patient_id": case_id, "sarcopenia": label, "split": split})
    folder = tmp_path_factory.mktemp("bright")
    write_dataset(folder, slices, cases.assign(slice_index=0, source_index=0), {})
    return folder


def small(folder, policy, **changes):
    config = classification.get_config(f"network=keras_resnet50,policy={policy},smoke")
    config.update({"dataset": str(folder), "image_size": 32, "devices": 1, **changes})
    config.task.resize = 32
    return config


# The last ten of Keras's layers where the last stage has one block, whose shortcut is among them.
TOP = {f"backbone/conv5_block1_{part}" for part in ("2_conv", "2_bn", "0_conv", "0_bn", "3_conv", "3_bn")}


def test_training_moves_what_the_policy_names_and_nothing_else(bright, tmp_path):
    config = small(bright, "unfreezetop10", epochs=1, learning_rate=0.01)
    train(config, tmp_path)
    batch = {"image_hu": jax.ShapeDtypeStruct((1, 32, 32), "int16")}
    params, model_state = tasks.build(config.task.to_dict()).init(jax.random.key(0), batch)
    before = flatten_dict({"params": params, **model_state}, sep="/")
    after = flatten_dict(load_variables(tmp_path / "best" / "variables.safetensors")[0], sep="/")
    moved = {path for path in before if (before[path] != after[path]).any()}
    named = {path for path in before if path.partition("/")[2].rpartition("/")[0] in TOP | {"fc"}}
    assert moved == named
    assert {path.partition("/")[0] for path in moved} == {"params", "batch_stats"}


def test_a_run_learns_and_is_evaluated(bright, tmp_path, monkeypatch):
    """All its slices are cut to study B's window before they are resampled."""
    fit, seen = batches.fit, []
    monkeypatch.setattr(batches, "fit", lambda *arguments: seen.append(arguments[2:]) or fit(*arguments))
    train(small(bright, "unfreezeall", epochs=6, learning_rate=3e-3), tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["loss"] < 0.3 < rows[0]["loss"]
    assert 0 <= rows[-1]["validation_accuracy"] <= 1
    found = json.loads((evaluate(tmp_path) / "summary.json").read_text())
    assert found["metrics"]["auc"]["value"] == 1
    assert found["threshold"]["cases"] == 6
    assert seen == [((-175.0, 250.0),)] * 3, "to train, of the test cases and of the validation cases"


def test_balanced_class_weights_are_those_of_who_trains(bright, tmp_path):
    """Of 16 training cases five are sarcopenic: 16 / 22 and 16 / 10. By the same word the run is found again."""
    dataset = read_dataset(bright)
    label = dataset.cases["sarcopenia"].where((dataset.cases.index < 10) | (dataset.cases.index > 15), 0)
    write_dataset(tmp_path / "dataset", dataset.slices, dataset.cases.assign(sarcopenia=label), {})
    config = small(tmp_path / "dataset", "freezeall", epochs=1)
    config.task.class_weights = ("balanced",)
    train(config, tmp_path / "run")
    own = json.loads((tmp_path / "run" / "config.json").read_text())
    assert own["task"]["class_weights"] == pytest.approx([16 / 22, 16 / 10])
    (tmp_path / "run" / "metrics.jsonl").unlink()
    train(config, tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


@pytest.mark.parametrize("class_weights", [(1.0, 1.0), ("balanced",)])
def test_labels_that_lack_are_refused_before_training(bright, tmp_path, class_weights):
    dataset = read_dataset(bright)
    cases = dataset.cases.assign(sarcopenia=dataset.cases["sarcopenia"].where(dataset.cases.index != 3))
    write_dataset(tmp_path / "dataset", dataset.slices, cases, {})
    config = small(tmp_path / "dataset", "freezeall")
    config.task.class_weights = class_weights
    with pytest.raises(ValueError, match="1 of 22 cases have no label, such as case3"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
