"""What converted weights say of themselves, held against the network of the run that is to start from them."""

import json

import jax
import numpy as np
import pytest

from configs import classification, sarcopenia_classification
from mskjax import models, tasks
from mskjax.convert import save_variables
from mskjax.convert.manifest import read_manifest
from mskjax.study import sarcopenia
from mskjax.training import optim
from mskjax.training.checkpoint import Checkpoints
from mskjax.training.start import check_origin, starting_state

TORCHVISION = {"model": "densenet121", "variant": "torchvision"}


def written(folder, task, **metadata):
    """A file of weights that fit a task's network in every shape."""
    shapes = models.abstract(tasks.build_module(task["model"]))
    variables = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes)
    save_variables(folder / "weights.safetensors", variables, metadata)
    return str(folder / "weights.safetensors")


def published(entry):
    return {"preprocessing": json.dumps(read_manifest()[entry].preprocessing)}


def start(folder, metadata, **changes):
    """The state that a small run of classification would start from."""
    task = {**classification.task("densenet121", "keras", "unfreezeall", smoke=True), **changes}
    path = written(folder, task, **metadata)
    config = {"seed": 0, "image_size": 32, "task": task, "resume": "", "init_from": path, "fresh": ("fc/.*",)}
    with Checkpoints(folder / "checkpoints") as checkpoints:
        return starting_state(config, tasks.build(task), optim.adam(), checkpoints)


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        (TORCHVISION, r"of densenet121 \(torchvision\) and the run's network is densenet121 \(keras\); name in init_"),
        ({"model": "keras_resnet50", "variant": "keras"}, r"of keras_resnet50 \(keras\) and the run's network is dens"),
    ],
)
def test_a_run_refuses_weights_of_another_network_or_variant(tmp_path, metadata, words):
    with pytest.raises(ValueError, match=rf"weights\.safetensors was converted from weights {words}"):
        start(tmp_path, metadata)


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"run": "{}"},
        {"model": "densenet121", "variant": "keras", "preprocessing": "unknown"},
        {"model": "fcn_resnet101"},
    ],
)
def test_weights_that_say_the_same_or_nothing_are_taken(tmp_path, metadata, caplog):
    caplog.set_level("INFO")
    state = start(tmp_path, metadata)
    assert all((leaf == 1).all() for leaf in jax.tree.leaves(state.params["backbone"]))
    assert "prepares images" not in caplog.text


def test_weights_of_a_run_that_has_not_finished_are_taken_and_told(tmp_path, caplog):
    """The folder of the run is named, not its file."""
    task = classification.task("densenet121", "keras", "unfreezeall", smoke=True)
    (tmp_path / "run" / "best").mkdir(parents=True)
    weights = tmp_path / "run" / "best" / "variables.safetensors"
    written(tmp_path, task)
    (tmp_path / "weights.safetensors").rename(weights)
    config = {"seed": 0, "image_size": 32, "task": task, "resume": "", "fresh": ("fc/.*",)}
    for finished in (False, True):
        if finished:
            (tmp_path / "run" / "DONE").touch()
        caplog.clear()
        with Checkpoints(tmp_path / "checkpoints") as checkpoints:
            asked = {**config, "init_from": str(tmp_path / "run")}
            state = starting_state(asked, tasks.build(task), optim.adam(), checkpoints)
        assert all((leaf == 1).all() for leaf in jax.tree.leaves(state.params["backbone"]))
        assert ("has not finished; its weights of so far are taken" in caplog.text) is not finished


@pytest.mark.parametrize("changes", [{}, {"preprocessing": "radimagenet_pytorch"}])
def test_another_preprocessing_than_the_published_is_told_once(tmp_path, caplog, changes):
    caplog.set_level("INFO")
    for _ in range(2):
        start(tmp_path, published("radimagenet_keras_densenet121"), **changes)
    (told,) = [record.message for record in caplog.records if "prepares images" in record.message]
    chosen = changes.get("preprocessing", "own")
    assert f"by 'radimagenet_tensorflow', and config.task.preprocessing is '{chosen}'" in told


@pytest.mark.parametrize(
    ("network", "variant", "entry", "chosen"),
    [
        ("densenet121", "keras", "radimagenet_keras_densenet121", "radimagenet_tensorflow"),
        ("inception_v3", "torchvision", "radimagenet_torch_inceptionv3", "own"),
        ("densenet121", "keras", "smit_pretrained", "own"),
    ],
)
def test_nothing_is_told_of_the_same_preprocessing_by_any_name(tmp_path, caplog, network, variant, entry, chosen):
    caplog.set_level("INFO")
    task = {**classification.task(network, variant, "unfreezeall"), "preprocessing": chosen}
    check_origin(tmp_path / "weights.safetensors", published(entry), task)
    assert "prepares images" not in caplog.text


@pytest.mark.parametrize(("metadata", "refused"), [(TORCHVISION, True), ({"variant": "keras"}, False)])
def test_a_study_refuses_the_same_before_it_starts(tmp_path, metadata, refused):
    study = sarcopenia_classification.get_config("smoke,init=random").to_dict()
    own = study["models"]["densenet121"]
    own.update(init_from=written(tmp_path, own["task"], **metadata), fresh=("fc/.*",))
    study["networks"] = ("densenet121",)
    if not refused:
        assert sarcopenia.missing(study) == {}
        return
    with pytest.raises(ValueError, match=r"of densenet121 \(torchvision\) and the run's network is densenet121 \(kera"):
        sarcopenia.missing(study)


def test_a_start_says_which_of_the_last_ten_layers_learn(tmp_path, caplog):
    caplog.set_level("INFO")
    tasks._say.cache_clear()
    start(tmp_path, {}, policy="unfreezetop10")
    assert "densenet121, unfreezetop10: beside the head, these layers learn" in caplog.text
