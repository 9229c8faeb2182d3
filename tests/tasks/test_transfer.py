"""What the pretext tasks hand on to the segmenter, by their configs and `graft`."""

import logging

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from configs import data_efficiency, jigsaw, reconstruction, segmentation
from mskjax import models, tasks
from mskjax.convert import graft

NETWORK = {"stage_sizes": (1, 2, 1, 1), "width": 4}


def filled(config, value):
    """The variables of a task's network, every leaf filled with a value."""
    return jax.tree.map(
        lambda leaf: np.full(leaf.shape, value, leaf.dtype), models.abstract(tasks.build(config.task(NETWORK)).module)
    )


@pytest.mark.parametrize(
    ("pretext", "fresh", "unused"),
    [
        (jigsaw, {"bn", "conv", "logits"}, "joined, logits"),
        (reconstruction, {"logits"}, "classifier/logits"),
    ],
)
def test_everything_that_both_networks_have_is_copied(pretext, fresh, unused, caplog):
    patterns = data_efficiency.STARTS[pretext.__name__.rpartition(".")[2]][1]
    with caplog.at_level(logging.INFO, "absl"):
        grafted = flatten_dict(graft(filled(segmentation, 1), filled(pretext, 2), patterns))
    trunk = [leaf for path, leaf in grafted.items() if path[1] == "backbone"]
    assert len(trunk) == 5 * (1 + 5 * 3 + 4)  # 20 convolutions and BatchNorms: kernel, scale, bias, mean, var
    assert all((leaf == 2).all() for leaf in trunk)
    heads = {path[2]: np.unique(leaf) for path, leaf in grafted.items() if path[1] == "classifier"}
    assert heads == {name: [1 if name in fresh else 2] for name in ("bn", "conv", "logits")}
    assert f"of the source unused ({unused})" in caplog.text
