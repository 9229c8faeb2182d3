"""Weight files of every kind give the same variables; what does not fit is refused with the option that would."""

import logging
import pickle
from pathlib import Path

import jax
import numpy as np
import pytest
import torch_pickles as made
from safetensors.numpy import save_file
from same_leaves import assert_equal
from small_weights import OPTIONS, small

from benchmarks.torch_zip import write_torch_zip
from mskjax.convert import load_variables, load_weights, save_variables
from mskjax.convert.load import read_source

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Small files as torchvision publishes them."""
    folder = tmp_path_factory.mktemp("weights")
    for model in ("fcn_resnet101", "resnet101"):
        write_torch_zip(folder / f"{model}.pth", small(model))
    without = {name: value for name, value in small("resnet101").items() if not name.endswith("num_batches_tracked")}
    write_torch_zip(folder / "old.pth", without)
    write_torch_zip(folder / "no_aux.pth", {n: v for n, v in small("fcn_resnet101").items() if "aux" not in n})
    write_torch_zip(folder / "no_head.pth", {n: v for n, v in small("resnet101").items() if not n.startswith("fc")})
    save_file(small("fcn_resnet101"), folder / "torchvision.safetensors")
    save_variables(
        folder / "own.safetensors",
        load_weights(folder / "fcn_resnet101.pth", "fcn_resnet101", aux_head=True, **OPTIONS),
        {},
    )
    return folder


def test_a_segmenter(files):
    variables = load_weights(files / "fcn_resnet101.pth", "fcn_resnet101", aux_head=True, **OPTIONS)
    tensors = small("fcn_resnet101")
    logits = variables["params"]["classifier"]["logits"]
    np.testing.assert_array_equal(logits["kernel"][0, 0], tensors["classifier.4.weight"][:, :, 0, 0].T)
    np.testing.assert_array_equal(logits["bias"], tensors["classifier.4.bias"])
    assert logits["kernel"].shape == (1, 1, 32, 21)
    assert isinstance(logits["kernel"], jax.Array)


def test_every_kind_gives_the_same(files):
    expected = load_variables(files / "own.safetensors")[0]
    for name in ("fcn_resnet101.pth", "torchvision.safetensors", "own.safetensors"):
        assert_equal(load_weights(files / name, "fcn_resnet101", aux_head=True, **OPTIONS), expected)


@pytest.mark.parametrize("name", ["fcn_resnet101.pth", "torchvision.safetensors", "own.safetensors"])
def test_the_auxiliary_head_is_left_out_and_said_so(files, name, caplog):
    with caplog.at_level(logging.INFO, "absl"):
        variables = load_weights(files / name, "fcn_resnet101", **OPTIONS)
    assert sorted(variables["params"]) == ["backbone", "classifier"]
    assert sorted(variables["batch_stats"]) == ["backbone", "classifier"]
    assert "aux_classifier is left out" in caplog.text


@pytest.mark.parametrize("name", ["fcn_resnet101.pth", "resnet101.pth", "own.safetensors"])
def test_the_trunk_alone(files, name, caplog):
    with caplog.at_level(logging.INFO, "absl"):
        variables = load_weights(files / name, "resnet101", num_classes=None, **OPTIONS)
    assert list(variables["params"]) == ["backbone"]
    assert ("fc" if name == "resnet101.pth" else "classifier") + " is left out" in caplog.text


def test_old_files_lack_num_batches_tracked(files):
    old, new = (load_weights(files / name, "resnet101", **OPTIONS) for name in ("old.pth", "resnet101.pth"))
    assert_equal(old, new)


@pytest.mark.parametrize(
    ("name", "model", "options", "words"),
    [
        ("fcn_resnet101.pth", "fcn_resnet101", {"num_classes": 1}, "num_classes=21 fits"),
        ("own.safetensors", "fcn_resnet101", {"num_classes": 1}, "num_classes=21 fits"),
        ("resnet101.pth", "resnet101", {"num_classes": 21}, "num_classes=1000 fits"),
        ("no_aux.pth", "fcn_resnet101", {"aux_head": True}, "aux_head=False fits"),
        ("no_head.pth", "resnet101", {}, "num_classes=None fits"),
        ("resnet101.pth", "fcn_resnet101", {}, "it is a classifier: load it as .* and graft its trunk"),
        ("fcn_resnet101.pth", "resnet101", {}, "it is a segmenter: load it as"),
        ("resnet101.pth", "resnet101", {"stage_sizes": (1, 2, 1, 1)}, r"fits stage_sizes=\(1, 1, 1, 1\) and width=4"),
        ("resnet101.pth", "resnet101", {"width": 8}, r"fits stage_sizes=\(1, 1, 1, 1\) and width=4"),
    ],
)
def test_an_option_that_does_not_fit(files, name, model, options, words):
    with pytest.raises(ValueError, match=f"{name} does not fit {model} as asked: .*{words}"):
        load_weights(files / name, model, **(OPTIONS | options))


def test_one_missing_and_one_foreign_tensor(tmp_path):
    tensors = small("resnet101")
    tensors["layer1.0.bn2.offset"] = tensors.pop("layer1.0.bn2.bias")
    write_torch_zip(tmp_path / "odd.pth", tensors)
    with pytest.raises(ValueError) as error:
        load_weights(tmp_path / "odd.pth", "resnet101", **OPTIONS)
    assert "odd.pth does not fit resnet101: 2 mismatches" in str(error.value)
    assert "+ layer1.0.bn2.offset [4]: matches 0 rules" in str(error.value)
    assert "- params/backbone/layer1_0/bn2/bias [4]: nothing" in str(error.value)


def test_both_spellings_of_the_trunk_do_not_mix(tmp_path):
    tensors = small("resnet101")
    tensors["backbone.conv1.weight"] = tensors["conv1.weight"]
    write_torch_zip(tmp_path / "mixed.pth", tensors)
    with pytest.raises(ValueError, match=r"is filled by conv1\.weight already"):
        load_weights(tmp_path / "mixed.pth", "resnet101", **OPTIONS)


def test_unknown_models_and_options_are_named(files):
    with pytest.raises(ValueError, match="resnet102"):
        load_weights(files / "resnet101.pth", "resnet102")
    with pytest.raises(ValueError, match="aux_head"):
        load_weights(files / "resnet101.pth", "resnet101", aux_head=True)


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_wrappings_are_taken_off_and_said_so(form, caplog):
    with caplog.at_level(logging.INFO, "absl"):
        tensors = read_source(GOLDEN / f"torch_checkpoint_{form}.bin").tensors
    assert list(tensors)[:2] == ["0.weight", "0.bias"]
    assert "its entry 'state_dict'; left out: epoch, optimizer" in caplog.text
    assert "the prefix 'module.'" in caplog.text


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([1, 2], "holds a list"),
        ({}, "empty state_dict"),
        ({"state_dict": {}}, "empty state_dict"),
        ({"state_dict": {"a": 1}}, "'a' is a int"),
        ({"epoch": 3}, "'epoch' is a int"),
        ({3: 4}, "3 is a int"),
        ({"state_dict": {}, "model": {}}, "both state_dict and model"),
    ],
)
def test_other_contents_are_refused(tmp_path, value, words):
    path = made.write_zip(tmp_path / "other.pth", pickle.dumps(value, 2))
    with pytest.raises(ValueError, match=f"other.pth .*{words}"):
        load_weights(path, "resnet101")


def test_absent_files_are_os_errors(tmp_path):
    with pytest.raises(OSError, match=r"absent\.pth"):
        load_weights(tmp_path / "absent.pth", "resnet101")
