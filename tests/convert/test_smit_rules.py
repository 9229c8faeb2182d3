"""SMIT's weights in all their forms: narrow networks under the official names, which tests/golden/smit lists."""

import json
import logging
import re
import runpy
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file
from same_leaves import assert_equal

from benchmarks.torch_zip import write_torch_zip
from mskjax.convert import graft, load_weights
from mskjax.convert.smit import EXAMPLES, official_names, rules
from mskjax.models import build, init

GOLDEN = Path(__file__).parents[1] / "golden" / "smit"
FABRICATE = runpy.run_path(str(GOLDEN / "fabricate.py"))
NAMES = json.loads((GOLDEN / "names.json").read_text())
SMALL = {"width": 4}
PRETRAINER = {**SMALL, "prototypes": 16, "hidden": 8}
# Widths of the published networks that these do not have: 48 channels are 4 here, 8192 directions 16, 2048 units 8.
NARROW = {48: 4, 96: 8, 192: 16, 384: 32, 768: 64, 144: 12, 288: 24, 576: 48, 1152: 96, 1536: 128, 3072: 256}


def tensors(network):
    """The tensors of a narrow network, whose trunk has 4 channels where the published one has 48."""
    made = {}
    for name, full in NAMES[network].items():
        shape = tuple(_narrowed(name, axis, length) for axis, length in enumerate(full))
        made[name] = FABRICATE["array"](name.replace("last_layer2", "last_layer"), shape)
    return made


def _narrowed(name, axis, length):
    if "relative_position" in name or (name.startswith("decoder1.") and axis == 0 and length == 32**3):
        return length
    if name.startswith("head"):
        return {8192: 16, 2048: 8, 384: 32}.get(length, length)
    return NARROW.get(length, length)


def trunk(network="student"):
    named = {name: array for name, array in tensors(network).items() if name.startswith("transformer.")}
    return {name.removeprefix("transformer."): array for name, array in named.items()}


def prefixed(prefix, values):
    return {prefix + name: array for name, array in values.items()}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files as the official scripts write and read them."""
    folder = tmp_path_factory.mktemp("smit")
    write_torch_zip(folder / "released.pt", prefixed("module.", trunk()))
    write_torch_zip(folder / "pretraining.pt", trunk(), entry="state_dict")
    write_torch_zip(folder / "trainer.pt", tensors("segmenter"))
    write_torch_zip(folder / "backbone.pt", prefixed("backbone.", tensors("segmenter")), entry="state_dict")
    write_torch_zip(folder / "student.pt", tensors("student"))
    save_file(tensors("segmenter"), folder / "segmenter.safetensors")
    save_file(prefixed("module.", trunk()), folder / "released.safetensors")
    return folder


def test_the_encoder_from_the_released_form_and_from_that_of_pretraining(files):
    released = load_weights(files / "released.pt", "smit_encoder", **SMALL)
    for name in ("pretraining.pt", "released.safetensors"):
        assert_equal(load_weights(files / name, "smit_encoder", **SMALL), released)
    tokens = tensors("student")
    block = released["params"]["backbone"]["layer2_3"]
    np.testing.assert_array_equal(
        block["attention"]["qkv"]["kernel"], tokens["transformer.layers.2.blocks.3.attn.qkv.weight"].T
    )
    patch = tokens["transformer.patch_embed.proj.weight"]  # (out, 1, d, h, w)
    np.testing.assert_array_equal(released["params"]["backbone"]["patch"]["kernel"][5], patch[:, 0, 1, 0, 1])


def test_the_segmenter_in_its_three_forms(files):
    expected = load_weights(files / "trainer.pt", "smit_segmenter", **SMALL)
    for name in ("backbone.pt", "segmenter.safetensors"):
        assert_equal(load_weights(files / name, "smit_segmenter", **SMALL), expected)
    up = expected["params"]["decoder"]["decoder3_up"]["kernel"]
    np.testing.assert_array_equal(up[1, 0, 1], tensors("segmenter")["decoder3.transp_conv.conv.weight"][:, :, 1, 0, 1])


def test_a_block_of_old_releases_may_hold_a_convolution_that_it_does_not_use(tmp_path):
    values = tensors("segmenter")
    unused = {
        f"encoder{number}.layer.{part}": np.ones(3, np.float32)
        for number in (2, 3, 4, 10)
        for part in ("conv3.conv.weight", "norm3.weight", "norm3.running_mean")
    }
    write_torch_zip(tmp_path / "old.pt", {**values, **unused})
    write_torch_zip(tmp_path / "new.pt", {name: value for name, value in values.items() if name not in unused})
    assert_equal(*(load_weights(tmp_path / f"{age}.pt", "smit_segmenter", **SMALL) for age in ("old", "new")))
    values["encoder1.layer.conv3.conv.extra"] = np.ones(1, np.float32)
    write_torch_zip(tmp_path / "other.pt", values)
    with pytest.raises(ValueError, match=r"\+ encoder1.layer.conv3.conv.extra \[1\]: matches 0 rules"):
        load_weights(tmp_path / "other.pt", "smit_segmenter", **SMALL)


def test_the_encoder_of_a_segmenter_and_of_a_student(files, caplog):
    with caplog.at_level(logging.INFO, "absl"):
        of_segmenter = load_weights(files / "trainer.pt", "smit_encoder", **SMALL)
    assert_equal(of_segmenter, load_weights(files / "trainer.pt", "smit_segmenter", num_classes=None, **SMALL))
    assert "decoder is left out" in caplog.text
    assert_equal(
        load_weights(files / "student.pt", "smit_encoder", **SMALL),
        load_weights(files / "released.pt", "smit_encoder", **SMALL),
    )


def test_the_student_with_its_heads(files):
    variables = load_weights(files / "student.pt", "smit_pretrainer", **PRETRAINER)
    values = tensors("student")
    pretext = variables["params"]["pretext"]
    np.testing.assert_array_equal(pretext["patch_head"]["prototypes"], values["head_group.last_layer.weight_v"].T)
    np.testing.assert_array_equal(pretext["image_head"]["fc3"]["kernel"], values["head_cls.mlp.4.weight"].T)
    np.testing.assert_array_equal(variables["params"]["backbone"]["mask_token"], values["transformer.mask_token"][0, 0])


def test_what_is_missing_is_listed(files):
    """The released file holds no decoder: loading it as a segmenter says which option fits, and what it lacks."""
    with pytest.raises(
        ValueError, match="fit smit_segmenter as asked: it has no decoder: --model=smit_encoder fits, a"
    ):
        load_weights(files / "released.pt", "smit_segmenter", **SMALL)
    with pytest.raises(ValueError, match=r"- params/pretext/norm/scale \[32\]: nothing in the file fills it"):
        load_weights(files / "released.pt", "smit_pretrainer", **PRETRAINER)


@pytest.mark.parametrize(
    ("network", "missing", "wanted"),
    # Of the 155 tensors of an encoder 10 are indices, which are computed, and one is the mask token.
    [("smit_encoder", 144, 144), ("smit_segmenter", 144, 281)],
)
def test_a_file_whose_trunk_would_load_nothing_is_refused(tmp_path, network, missing, wanted):
    """As the official fine-tuning loads its own pretraining: under a prefix that no tensor has."""
    values = tensors("segmenter")
    decoder = {name: array for name, array in values.items() if not name.startswith("transformer.")}
    write_torch_zip(tmp_path / "a.pt", {**prefixed("student.", trunk()), **decoder}, entry="state_dict")
    with pytest.raises(ValueError, match="its names are not SMIT's") as error:
        load_weights(tmp_path / "a.pt", network, **SMALL)
    told = str(error.value)
    assert f"{missing} of the {wanted} tensors that were looked for are missing, such as patch_embed.proj.wei" in told
    assert f"the file has {155 + len(decoder)}, such as student.mask_token, student.patch_embed.proj.weight" in told
    assert told.endswith("; save those that begin with 'student.' alone, and without it")


def test_a_file_of_other_names_altogether_is_refused(tmp_path):
    save_file({"blocks.0.weight": np.ones((2, 2), np.float32)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"144 of the 144 tensors .* the file has 1, such as blocks\.0\.weight$"):
        load_weights(tmp_path / "a.safetensors", "smit_encoder", **SMALL)
    save_file({}, tmp_path / "empty.safetensors")
    with pytest.raises(ValueError, match="holds an empty state_dict"):
        load_weights(tmp_path / "empty.safetensors", "smit_encoder", **SMALL)


def test_what_is_named_as_looked_for_is_what_the_rules_take():
    for prefix in ("", "transformer."):
        for name in EXAMPLES:
            assert sum(bool(re.fullmatch(rule.source, prefix + name)) for rule in rules(())) == 1
    assert set(EXAMPLES) <= set(trunk())


def test_a_file_of_torchvision_is_told_from_those_of_other_names(tmp_path):
    shapes = json.loads((GOLDEN.parent / "torchvision_shapes.json").read_text())["resnet50"]
    write_torch_zip(tmp_path / "a.pt", {name: np.zeros([1] * len(shape), np.float32) for name, shape in shapes.items()})
    with pytest.raises(ValueError, match="it holds another network in torchvision's form: model='resnet50' fits"):
        load_weights(tmp_path / "a.pt", "smit_segmenter", **SMALL)


@pytest.mark.parametrize("name", ["released.pt", "segmenter.safetensors"])
def test_files_that_were_cut_short_are_refused(files, tmp_path, name):
    whole = (files / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) * 9 // 10])
    with pytest.raises(ValueError, match="is cut short"):
        load_weights(tmp_path / name, "smit_encoder", **SMALL)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("head_cls.last_layer.weight_g", "head_cls.last_layer.weight_g is not 1 throughout"),
        (
            "head_group.last_layer2.weight_v",
            "head_group.last_layer2.weight_v differs from head_group.last_layer.weight",
        ),
    ],
)
def test_heads_that_are_not_as_published_are_refused(name, message):
    values = tensors("student")
    values[name] = 2 * values[name]
    with pytest.raises(ValueError, match=message):
        official_names(values)


def test_the_wrong_network_is_named(files):
    with pytest.raises(ValueError, match="it holds another network in SMIT's form: model='smit_encoder' fits"):
        load_weights(files / "released.pt", "resnet50", width=4)


def test_a_pretrained_encoder_goes_into_a_segmenter(files):
    encoder = load_weights(files / "released.pt", "smit_encoder", **SMALL)
    module = build("smit_segmenter", **SMALL)
    target = init(module, jax.random.key(0), jax.ShapeDtypeStruct((1, 32, 32, 32, 1), np.float32))
    grafted = graft(target, encoder, fresh=["decoder/.*"])
    assert_equal(grafted["params"]["backbone"], encoder["params"]["backbone"])
    assert_equal(grafted["params"]["decoder"], target["params"]["decoder"])


def test_every_official_name_has_its_rule():
    for network, heads in (("segmenter", ("decoder",)), ("student", ("pretext",)), ("student", ()), ("segmenter", ())):
        patterns = [re.compile(rule.source) for rule in rules(heads)]
        for name in official_names(tensors(network)):
            assert sum(bool(pattern.fullmatch(name)) for pattern in patterns) == 1, (network, heads, name)
