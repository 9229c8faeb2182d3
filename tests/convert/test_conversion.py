"""`launch.convert` from a file to a file: what is written, what is skipped, what is refused, and its flags."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_weights import OPTIONS, small

from benchmarks.torch_zip import write_torch_zip
from mskjax.convert import load_variables, load_weights, save_variables
from mskjax.convert.conversion import convert

ROOT = Path(__file__).parents[2]


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "coco.pth"
    write_torch_zip(path, small("fcn_resnet101"))
    return path


@pytest.fixture
def folder(tmp_path, source):
    """A manifest that knows the source by its hash, under another name."""
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    fields = {"file": "published.pth", "model": "fcn_resnet101", "options": {}, "rules": "torchvision", "url": None}
    fields |= {"sha256": None, "sha256_prefix": digest[:8], "licence": "BSD", "preprocessing": {"mean": [0.5]}}
    path = tmp_path / "third_party"
    path.mkdir()
    (path / "manifest.json").write_text(json.dumps({"published": fields | {"how_to_obtain": "ask"}}))
    return path


def test_what_is_written(tmp_path, source, folder):
    output = tmp_path / "out" / "w.safetensors"
    said = convert("fcn_resnet101", output, source, folder=folder, aux_head=True, **OPTIONS)
    variables, metadata = load_variables(output)
    assert metadata["source"] == "coco.pth"
    assert metadata["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert metadata["model"] == "fcn_resnet101"
    assert json.loads(metadata["options"]) == {"aux_head": True, "stage_sizes": [1, 1, 1, 1], "width": 4}
    assert metadata["licence"] == "BSD"
    assert json.loads(metadata["preprocessing"]) == {"mean": [0.5]}
    tensors = small("fcn_resnet101")
    learned = [array for name, array in tensors.items() if name.endswith(("weight", "bias"))]
    statistics = [name for name in tensors if name.endswith(("running_mean", "running_var"))]
    assert f"{sum(array.size for array in learned):,} parameters in {len(learned)} leaves" in said
    assert f"{len(statistics)} leaves of running statistics" in said
    np.testing.assert_array_equal(variables["params"]["classifier"]["logits"]["bias"], tensors["classifier.4.bias"])
    load_weights(output, "fcn_resnet101", aux_head=True, **OPTIONS)


def test_what_is_done_is_skipped(tmp_path, source, folder):
    output = tmp_path / "w.safetensors"
    convert("fcn_resnet101", output, source, folder=folder, **OPTIONS)
    written = output.stat().st_mtime_ns
    assert "already" in convert("fcn_resnet101", output, source, folder=folder, **OPTIONS)
    assert output.stat().st_mtime_ns == written
    assert "already" not in convert("fcn_resnet101", output, source, folder=folder, aux_head=True, **OPTIONS)
    tensors = small("fcn_resnet101")
    tensors["classifier.4.bias"] = tensors["classifier.4.bias"] + 1
    write_torch_zip(source, tensors)
    assert "already" not in convert("fcn_resnet101", output, source, folder=folder, aux_head=True, **OPTIONS)
    bias = load_variables(output)[0]["params"]["classifier"]["logits"]["bias"]
    np.testing.assert_array_equal(bias, tensors["classifier.4.bias"])


def test_nothing_foreign_is_overwritten(tmp_path, source, folder):
    other = tmp_path / "notes.txt"
    other.write_text("mine")
    with pytest.raises(ValueError, match=r"notes\.txt"):
        convert("fcn_resnet101", other, source, folder=folder, **OPTIONS)
    assert other.read_text() == "mine"
    trained = tmp_path / "trained.safetensors"
    save_variables(trained, {"params": {"w": np.zeros(2)}}, {"run": "mine"})
    with pytest.raises(ValueError, match=r"trained\.safetensors exists and was not made by launch\.convert"):
        convert("fcn_resnet101", trained, source, folder=folder, **OPTIONS)
    with pytest.raises(ValueError, match=r"coco\.pth is the source itself"):
        convert("fcn_resnet101", source, source, folder=folder, **OPTIONS)


def test_a_refused_source_leaves_no_output(tmp_path, source, folder):
    source.write_bytes(source.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"coco\.pth is cut short"):
        convert("fcn_resnet101", tmp_path / "w.safetensors", source, folder=folder, **OPTIONS)
    assert not (tmp_path / "w.safetensors").exists()


def test_the_entry_of_the_manifest(tmp_path, source, folder):
    output = tmp_path / "w.safetensors"
    with pytest.raises(ValueError, match="published has no known url; ask"):
        convert("fcn_resnet101", output, folder=folder, **OPTIONS)
    source.rename(folder / "published.pth")
    convert("fcn_resnet101", output, entry="published", folder=folder, **OPTIONS)
    assert load_variables(output)[1]["source"] == "published.pth"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "give either --weights=FILE or --download"),
        (["--download", "--weights=a.pth"], "give either --weights=FILE or --download"),
        (["--weights=absent.pth"], "error: there is no file absent.pth; name the published one, or"),
        (["--weights=README.md"], "error: README.md is no weight file: it begins neither as torch"),
        (["--model=smit_encoder", "--download"], "smit_pretrained has no known url; follow the README"),
    ],
)
def test_flags(tmp_path, flags, words):
    command = [sys.executable, "-m", "launch.convert", "--model=resnet50", f"--output={tmp_path / 'w'}", *flags]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert words in ended.stderr
