"""Weights under the names that PyTorch loads strictly."""

import json
import stat
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from exported_runs import write_run
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors.numpy import load_file, safe_open

from mskjax import convert, tasks
from mskjax.data.batches import fit_image
from mskjax.export import interfaces
from mskjax.export.descent import descent
from mskjax.export.exporting import export
from mskjax.export.source import read
from mskjax.files import sha256
from mskjax.training.start import BEST

SHAPES = json.loads((Path(__file__).parents[1] / "golden" / "torchvision_shapes.json").read_text())


@pytest.fixture(scope="module")
def file(run, tmp_path_factory):
    file = tmp_path_factory.mktemp("weights") / "muscle.safetensors"
    export(run, file, "safetensors")
    return file


def test_names_are_all_of_torchvision_s_of_a_network_of_this_size(file):
    published = {name for name in SHAPES["fcn_resnet101"] if not name.startswith("aux_classifier")}
    fewer = {name for name in published if "layer" not in name or ".0." in name.partition("layer")[2][:4]}
    tensors = load_file(file)
    assert tensors.keys() == fewer
    assert all(tensors[name].ndim == len(SHAPES["fcn_resnet101"][name]) for name in tensors)
    assert tensors["backbone.bn1.num_batches_tracked"].dtype == np.int64
    with safe_open(file, "numpy") as opened:
        assert opened.metadata()["format"] == "pt"


def test_the_sample_is_what_torch_sees_and_what_the_network_answers(file, run):
    source = read(run)
    task = tasks.build(source.config["task"])
    loaded = convert.load_weights(file, source.model, **source.options)
    with np.load(f"{file}.sample.npz") as sample:
        assert (sample["image"].shape, sample["logits"].shape) == ((1, 3, 32, 32), (1, 1, 32, 32))
        fitted = fit_image(sample["image_hu"][0], sample["spacing_mm"][0].astype(float), 32)
        assert sample["image_hu"].shape == (1, 48, 48), "another size, so that fitting it can be tried"
        image = np.moveaxis(sample["image"], 1, -1)
        np.testing.assert_allclose(image, task.normalise(jax.numpy.asarray(fitted)[None]), atol=1e-6)
        outputs = jax.jit(task.module.apply)(loaded, image)
        np.testing.assert_allclose(np.moveaxis(outputs["logits"], -1, 1), sample["logits"], atol=1e-4)
        assert sample["image"].std() > 0.1


def test_the_card_of_a_small_network_promises_no_network_of_torchvision(file):
    card = Path(f"{file}.md").read_text()
    assert "torchvision builds no network with as many blocks and channels" in card
    assert "load_state_dict" not in card
    assert "Input: (b, 3, h, w) float32" in card


def test_the_card_has_the_program_that_loads_a_full_size_network(tmp_path):
    """Of torchvision's own numbers of blocks and channels; the run's weights are not looked at for the card."""
    source = read(write_run(tmp_path / "run"))
    model = {"name": "fcn_resnet101", "num_classes": 1, "aux_head": True}
    full = replace(source, config={**source.config, "task": {**source.config["task"], "model": model}})
    told = "\n".join(interfaces.lines("muscle.safetensors", full, {"format": "safetensors"}))
    assert "network = fcn_resnet101(weights=None, num_classes=1, weights_backbone=None, aux_loss=True).eval()" in told
    assert 'network.load_state_dict(load_file("muscle.safetensors"), strict=True)' in told


def test_the_card_tells_how_a_mask_is_made_of_logits(file):
    card = Path(f"{file}.md").read_text()
    for told in (
        "sigmoid",
        "above 0.5 is muscle",
        "above 175 HU, or within 2 mm of that, is cut out",
        "-1024 HU around",
    ):
        assert told in card


def test_the_file_is_as_readable_as_others(file):
    assert stat.S_IMODE(Path(file).stat().st_mode) == stat.S_IMODE(Path(f"{file}.md").stat().st_mode)


def test_networks_without_such_names_are_refused(tmp_path):
    model = {"name": "keras_resnet50", "num_classes": 2}
    run = write_run(tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "task": {**config["task"], "model": model}}))
    with pytest.raises(
        ValueError, match=r"keras_resnet50 is of Keras's form, and no network of torchvision's or SMIT's"
    ):
        export(run, tmp_path / "out" / "a.safetensors", "safetensors")
    assert not list((tmp_path / "out").iterdir())


def test_weights_that_answer_no_numbers_are_refused(tmp_path):
    run = write_run(tmp_path / "run")
    variables, metadata = convert.load_variables(run / BEST)
    leaves = flatten_dict(variables, sep="/")
    leaves["params/classifier/logits/kernel"] = np.full_like(leaves["params/classifier/logits/kernel"], 3e38)
    convert.save_variables(run / BEST, unflatten_dict(leaves, sep="/"), metadata)
    with pytest.raises(ValueError, match="no numbers; its weights are damaged, so train it again"):
        export(run, tmp_path / "out" / "a.safetensors", "safetensors")
    assert not list((tmp_path / "out").iterdir())


def test_weights_of_others_are_told_with_their_licence(tmp_path, caplog):
    weights = tmp_path / "radimagenet.safetensors"
    licence = {"source": "ResNet50.pt", "licence": "its makers forbid passing on what derives from it"}
    convert.save_variables(weights, {"params": {"a": np.zeros(1, np.float32)}}, licence)
    run = write_run(tmp_path / "run", weights={"path": str(weights), "sha256": sha256(weights)})
    export(run, tmp_path / "a.safetensors", "safetensors")
    assert "keep the export to yourself" in caplog.text
    card = (tmp_path / "a.safetensors.md").read_text()
    assert "radimagenet.safetensors" in card and "of ResNet50.pt" in card and licence["licence"] in card


def test_what_weights_that_are_gone_would_say_is_unknown(tmp_path):
    lost = {"path": str(tmp_path / "lost"), "sha256": "0" * 64}
    first = write_run(tmp_path / "first", weights=lost)
    unknown = {"file": "lost", "sha256": "0" * 64, "source": "unknown", "licence": "unknown"}
    assert descent(first) == [unknown]
    second = {"path": str(first / BEST), "sha256": sha256(first / BEST)}
    steps = descent(write_run(tmp_path / "second", weights=second))
    assert [step["file"] for step in steps] == ["run first", "lost"]
    assert steps[0]["source"] == "the task segmentation"
