"""Weights go from one network into another by name: the fresh parts are named, everything else must fit."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from mskjax import models
from mskjax.convert import graft
from mskjax.convert.graft import check, say

OPTIONS = {"stage_sizes": (1, 1, 1, 1), "width": 4}
HEADS = ("classifier/.*", "aux_classifier/.*")


def filled(model, value, **options):
    abstract = models.abstract(models.build(model, **(OPTIONS | options)))
    return jax.tree.map(lambda leaf: np.full(leaf.shape, value, leaf.dtype), abstract)


@pytest.fixture(autouse=True)
def unsaid():
    """What another test had said is said again."""
    say.cache_clear()


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
    copied = len(jax.tree.leaves(source)) - 2
    assert (
        f"graft: {copied} leaves copied (backbone); 7 fresh (classifier/bn, classifier/conv, classifier/logits): "
        "the source lacks it; 2 of the source unused (fc)"
    ) in caplog.text


def test_the_log_says_of_all_that_is_fresh_why(caplog):
    """A source of other classes, without the auxiliary head; the rest of the head is fresh because that was asked."""
    target = filled("fcn_resnet101", 1, num_classes=1, aux_head=True)
    source = filled("fcn_resnet101", 2)
    with caplog.at_level(logging.INFO, "absl"):
        graft(target, source, fresh=HEADS)
        graft(target, source, fresh=HEADS)
    (line,) = caplog.messages
    # A convolution without a bias and four leaves of batch normalisation; kernel and bias of the last layer.
    reasons = (
        "5 fresh (classifier/bn, classifier/conv): as asked; "
        "2 fresh (classifier/logits): the source has it in another shape; "
        "7 fresh (aux_classifier/bn, aux_classifier/conv, aux_classifier/logits): the source lacks it; "
        "7 of the source unused (classifier/bn, classifier/conv, classifier/logits)"
    )
    assert line == f"graft: {len(jax.tree.leaves(source)) - 7} leaves copied (backbone); {reasons}"


def test_whether_weights_fit_is_known_from_their_shapes():
    target = models.abstract(models.build("fcn_resnet101", num_classes=1, **OPTIONS))
    source = models.abstract(models.build("fcn_resnet101", **OPTIONS))
    wanted, given = check(target, source, fresh=("classifier/logits/.*",))
    assert wanted.keys() == given.keys()
    with pytest.raises(ValueError, match=r"^2 leaves cannot be grafted"):
        check(target, source)


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


def test_of_a_network_of_another_size_one_leaf_is_told():
    target, source = filled("fcn_resnet101", 1, num_classes=1), filled("resnet101", 2, width=8)
    with pytest.raises(ValueError, match=r"cannot be grafted, as the source is a network of another size;") as e:
        graft(target, source, fresh=HEADS[:1])
    assert len(str(e.value).splitlines()) == 2


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


def test_what_a_task_kept_beside_its_network_is_no_part_of_it(caplog):
    kernel = {"backbone": {"kernel": np.ones(2, np.float32)}}
    with caplog.at_level("INFO"):
        grafted = graft({"params": kernel}, {"params": kernel, "teacher": kernel, "step": np.zeros(())})
    assert grafted.keys() == {"params"}
    assert "0 of the source unused" in caplog.text
