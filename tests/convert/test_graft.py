"""Weights go from one network into another by name: the fresh parts are named, everything else must fit."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from mskjax import models
from mskjax.convert import graft

OPTIONS = {"stage_sizes": (1, 1, 1, 1), "width": 4}
HEADS = ("classifier/.*", "aux_classifier/.*")


def filled(model, value, **options):
    abstract = models.abstract(models.build(model, **(OPTIONS | options)))
    return jax.tree.map(lambda leaf: np.full(leaf.shape, value, leaf.dtype), abstract)


def values(variables):
    """The constant that each leaf is filled with, by its path without the collection."""
    leaves = {path: np.asarray(leaf) for path, leaf in flatten_dict(variables).items()}
    assert all((leaf == leaf.ravel()[0]).all() for leaf in leaves.values())
    return {"/".join(path[1:]): float(leaf.ravel()[0]) for path, leaf in leaves.items()}


def test_a_classifier_under_a_new_segmenter(caplog):
    target, source = filled("fcn_resnet101", 1, num_classes=1), filled("resnet101", 2)
    with caplog.at_level(logging.INFO, "absl"):
        grafted = graft(target, source, fresh=("classifier/.*",))
    assert {v for name, v in values(grafted).items() if name.startswith("backbone/")} == {2}
    assert {v for name, v in values(grafted).items() if name.startswith("classifier/")} == {1}
    assert jax.tree.structure(grafted) == jax.tree.structure(target)
    assert "7 fresh (classifier/bn, classifier/conv, classifier/logits); 2 of the source unused (fc)" in caplog.text


def test_a_segmenter_under_a_new_last_layer():
    target, source = filled("fcn_resnet101", 1, num_classes=1), filled("fcn_resnet101", 2, aux_head=True)
    grafted = values(graft(target, source, fresh=("classifier/logits/.*",)))
    assert {name for name, value in grafted.items() if value == 1} == {
        "classifier/logits/kernel",
        "classifier/logits/bias",
    }


def test_a_leaf_that_does_not_fit_is_never_left_fresh():
    target, source = filled("fcn_resnet101", 1, num_classes=1, aux_head=True), filled("fcn_resnet101", 2)
    with pytest.raises(ValueError) as error:
        graft(target, source)
    lines = str(error.value).splitlines()
    assert lines[0].startswith("9 leaves cannot be grafted; name what is to stay as initialised in fresh")
    assert "~ params/classifier/logits/kernel [1, 1, 32, 1]: the source has [1, 1, 32, 21]" in lines
    assert "- batch_stats/aux_classifier/bn/mean [16]: the source lacks it" in lines
    assert len(lines) == 10


def test_patterns_match_whole_paths_without_the_collection():
    target, source = filled("fcn_resnet101", 1, aux_head=True), filled("fcn_resnet101", 2, aux_head=True)
    fresh = {name for name, value in values(graft(target, source, ("classifier/bn/.*",))).items() if value == 1}
    assert fresh == {f"classifier/bn/{leaf}" for leaf in ("scale", "bias", "mean", "var")}
    assert 1 not in values(graft(target, source, ("classifier", "params/.*", "bn1/.*"))).values()


def test_a_pattern_that_names_nothing_is_said(caplog):
    target, source = filled("resnet101", 1), filled("resnet101", 2)
    graft(target, source, ("fc/.*",))
    assert "names no leaf" not in caplog.text
    graft(target, source, ("clasifier/.*",))
    assert "'clasifier/.*' names no leaf" in caplog.text


def test_copies_outlive_the_source_and_take_the_targets_type():
    target = {"params": {"w": jnp.zeros(3, jnp.float32)}}
    source = {"params": {"w": jnp.ones(3, jnp.bfloat16)}}
    same = {"params": {"w": jnp.ones(3, jnp.float32)}}
    assert graft(target, source)["params"]["w"].dtype == jnp.float32
    grafted = graft(target, same)
    same["params"]["w"].delete()
    np.testing.assert_array_equal(grafted["params"]["w"], np.ones(3))


def test_what_is_fresh_need_not_be_in_the_source():
    target = filled("fcn_resnet101", 1, num_classes=1, aux_head=True)
    trunk = {path: leaf for path, leaf in flatten_dict(filled("fcn_resnet101", 2)).items() if path[1] == "backbone"}
    assert set(values(graft(target, unflatten_dict(trunk), HEADS)).values()) == {1, 2}
