"""Whether a study's weights are there is known before anything is trained."""

import jax
import numpy as np
import pytest
from small_study import config

from configs.sarcopenia_classification import get_config
from mskjax import models
from mskjax.convert import load_shapes, save_variables
from mskjax.study import sarcopenia
from mskjax.study.settings import plain
from mskjax.study.starts import missing


def weights(path, model="resnet101", **options):
    abstract = models.abstract(models.build(model, stage_sizes=(1, 1, 1, 1), **{"width": 4, **options}))
    save_variables(path, jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), abstract))
    return str(path)


def study(folder, file="", words="refuse", inits=("random", "classification", "jigsaw")):
    chosen = config(folder / "dataset", inits=inits, missing_weights=words)
    chosen.starts.classification.init_from = file
    return plain(chosen)


def test_what_is_there_is_not_missing(tmp_path):
    """Pretexts of the study are not looked for, nor is what no initialisation asks for."""
    assert missing(study(tmp_path, weights(tmp_path / "w.safetensors"))) == {}
    assert missing(study(tmp_path, "nowhere", inits=("random", "jigsaw"))) == {}
    weights(tmp_path / "run" / "best" / "variables.safetensors")
    assert missing(study(tmp_path, str(tmp_path / "run"))) == {}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "weight file .*resnet101.safetensors is missing; make it with: python -m launch.convert"),
        (lambda path: path.write_bytes(b"cut short"), "resnet101.safetensors is cut short or no safetensors"),
        (lambda path: weights(path, width=8), r"another network .* leaves cannot be grafted.* the source has \["),
        (lambda path: path.mkdir(), "holds no weights of a run"),
    ],
)
def test_what_is_missing_is_refused_or_told(make, message, tmp_path):
    file = tmp_path / "resnet101.safetensors"
    make(file)
    with pytest.raises((OSError, ValueError), match=message) as refused:
        missing(study(tmp_path, str(file)))
    assert len(str(refused.value)) < 600
    command = f"python -m launch.convert --model=resnet101 --download --output={file}"
    other = "python -m launch.sweep --config=configs/data_efficiency.py:network=fcn_resnet101 --config.dataset="
    told = missing(study(tmp_path, str(file), "skip"))["classification"]
    # The published weights fit the full-size network only; a file that is there need not be made.
    assert told.startswith(other if file.exists() else f"{command} && {other}")


def test_weights_of_another_variant_are_refused_though_their_shapes_agree(tmp_path):
    """A dry run tells of weights that are missing, and refuses those that training would refuse."""
    made = models.abstract(models.build("densenet121", stage_sizes=(1, 1, 1, 1), width=8))
    file, lines = tmp_path / "densenet121.safetensors", {"model": "densenet121", "variant": "torchvision"}
    save_variables(file, jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), made), lines)
    whole = plain(get_config("smoke"))
    whole["networks"] = ["densenet121"]
    whole["models"]["densenet121"] |= {"init_from": str(file), "fresh": ["fc/.*"]}
    for words in ("refuse", "tell"):
        with pytest.raises(ValueError, match=r"converted from weights of densenet121 \(torchvision\) and the run's"):
            sarcopenia.missing({**whole, "missing_weights": words})
    assert list(sarcopenia.missing({**whole, "missing_weights": "skip"})) == ["densenet121"]
    file.unlink()
    assert list(sarcopenia.missing({**whole, "missing_weights": "tell"})) == ["densenet121"]


def test_shapes_are_told_without_the_weights(tmp_path):
    path = weights(tmp_path / "w.safetensors")
    shapes = jax.tree.map(lambda leaf: leaf.shape, load_shapes(path))
    expected = models.abstract(models.build("resnet101", stage_sizes=(1, 1, 1, 1), width=4))
    assert shapes == jax.tree.map(lambda leaf: leaf.shape, expected)


def test_a_network_of_the_published_size_needs_but_the_weights(tmp_path):
    whole = study(tmp_path, str(tmp_path / "resnet101.safetensors"), "skip")
    whole["task"]["model"] |= {"stage_sizes": (3, 4, 23, 3), "width": 64}
    command = f"python -m launch.convert --model=resnet101 --download --output={tmp_path}/resnet101.safetensors"
    assert missing(whole) == {"classification": command}
    (tmp_path / "resnet101.safetensors").write_bytes(b"cut short")
    assert missing(whole) == {"classification": command}
