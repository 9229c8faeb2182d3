"""Weights go back under the names that they were read from."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
import test_smit_rules as smit_files
from safetensors.numpy import save_file
from same_leaves import assert_equal
from small_weights import OPTIONS, small

from mskjax import models
from mskjax.convert import load_weights
from mskjax.convert.families import RULES, torch_tensors
from mskjax.convert.inverse import source_tensors
from mskjax.convert.rules import Rule, apply_rules, conv_kernel

GOLDEN = Path(__file__).parents[1] / "golden"
RADIMAGENET = json.loads((GOLDEN / "keras" / "names_radimagenet.json").read_text())
COUNT = "num_batches_tracked"


@pytest.mark.parametrize(
    ("model", "options"),
    [("resnet101", {}), ("resnet50", {}), ("fcn_resnet101", {"num_classes": 21, "aux_head": True})],
)
def test_torchvision_s_tensors_come_back_bit_for_bit(tmp_path, model, options):
    published, options = small(model), {**OPTIONS, **options}
    save_file(published, tmp_path / "a.safetensors")
    written = torch_tensors(load_weights(tmp_path / "a.safetensors", model, **options), model, options)
    assert written.keys() == published.keys()
    for name in published:
        assert written[name].dtype == published[name].dtype
        if not name.endswith(COUNT):
            np.testing.assert_array_equal(written[name], published[name])


@pytest.mark.parametrize(("network", "options"), [("segmenter", {}), ("student", smit_files.PRETRAINER)])
def test_smit_s_tensors_come_back_bit_for_bit(tmp_path, network, options):
    published = smit_files.tensors(network)
    model, options = (
        {"segmenter": "smit_segmenter", "student": "smit_pretrainer"}[network],
        {**smit_files.SMALL, **options},
    )
    options = {**options, "num_classes": published["out.conv.conv.bias"].size} if network == "segmenter" else options
    save_file(published, tmp_path / "a.safetensors")
    written = torch_tensors(load_weights(tmp_path / "a.safetensors", model, **options), model, options)
    assert written.keys() == published.keys()
    for name in published:
        assert written[name].shape == published[name].shape
        if not name.endswith((COUNT, "relative_position_index")):
            np.testing.assert_array_equal(written[name], published[name])


def test_the_places_in_a_window_are_numbered_as_in_the_table_of_their_differences():
    written = torch_tensors(_fresh("smit_encoder", width=4), "smit_encoder", {"width": 4})
    places = written["layers.0.blocks.0.attn.relative_position_index"]
    assert (places.shape, places.dtype) == ((64, 64), np.int64)
    # Differences run from -3 to 3 along three axes: 343, of which 0, 0, 0 is the one in the middle.
    assert (np.diag(places) == 171).all()
    assert (places[0, 63], places[63, 0], places[1, 0], places[4, 0], places[16, 0]) == (0, 342, 172, 178, 220)


def test_a_student_with_one_head_writes_one_head():
    options = {**smit_files.PRETRAINER, "shared_head": True}
    names = torch_tensors(_fresh("smit_pretrainer", **options), "smit_pretrainer", options)
    assert {name.partition(".")[0] for name in names} == {"transformer", "norm", "head", "decoder1"}


@pytest.mark.parametrize(
    ("model", "size"), [("densenet121", {"stage_sizes": (1, 1, 1, 1), "width": 4}), ("inception_v3", {"width": 2})]
)
def test_all_names_are_torchvision_s_and_are_read_again(model, size):
    options = {"variant": "torchvision", "num_classes": 2, **size}
    variables = _fresh(model, **options)
    written = torch_tensors(variables, model, options)
    trunk = {name for name in written if not name.startswith(("fc.", "classifier."))}
    published = {name for _, name, _ in RADIMAGENET[model]}
    assert trunk <= published and len(written) == len(trunk) + 2
    if model == "inception_v3":  # which has all its layers at any width
        assert trunk == published
    read_again = apply_rules(written, RULES["torchvision"][model](["fc"]), variables)
    assert_equal(read_again, variables)


@pytest.mark.parametrize(
    ("model", "options", "sentence"),
    [
        ("keras_resnet50", {}, "keras_resnet50 is of Keras's form"),
        ("densenet121", {"variant": "keras"}, "densenet121 is of Keras's form"),
        ("jigsaw_resnet101", {}, "jigsaw_resnet101 is of mskjax's own form"),
    ],
)
def test_networks_that_torch_does_not_have(model, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        torch_tensors({}, model, options)


def test_a_leaf_without_a_name_or_with_two_is_refused():
    leaves = {"params": {"stem": {"kernel": np.zeros((3, 3, 1, 4), np.float32)}}}
    rule = Rule(r"(?:features\.)?(\w+)\.weight", r"params/\1/kernel", conv_kernel)
    assert source_tensors(leaves, [rule]).keys() == {"stem.weight"}
    assert source_tensors(leaves, [rule], ["features."]).keys() == {"features.stem.weight"}
    with pytest.raises(ValueError, match="params/stem/kernel has 0 names instead of one"):
        source_tensors(leaves, [Rule(r"conv\.weight", "params/conv/kernel")])
    with pytest.raises(ValueError, match=r"has 2 names instead of one: stem\.weight, stem\.w"):
        source_tensors(leaves, [rule, Rule(r"(\w+)\.w", r"params/\1/kernel", conv_kernel)])


def test_a_pattern_that_cannot_be_written_is_refused():
    with pytest.raises(ValueError, match=r"cannot be told from its pattern, at '\.\*'"):
        source_tensors({"params": {"a": np.zeros(1)}}, [Rule(r"a.*", "params/a")])


def _fresh(model, **options):
    rng = np.random.default_rng(0)
    draw = lambda leaf: np.asarray(rng.normal(size=leaf.shape), np.float32)  # noqa: E731
    return jax.tree.map(draw, models.abstract(models.build(model, **options)))
