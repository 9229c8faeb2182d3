"""SMIT's names, as rules: of the encoder alone, of the segmenter on MONAI's blocks, and of the pretraining student.

The encoder's names begin with "transformer." within the other two, and with nothing where the trainer has saved it
alone. Old releases of MONAI have a third convolution in every block, which some never use: its weights are left out.
"""

import re
from collections.abc import Collection, Mapping

import numpy as np

from mskjax.convert.rules import Rule, conv_kernel, dense_kernel
from mskjax.convert.torchvision import batch_norm
from mskjax.models.smit import PATCH
from mskjax.models.swin import relative_positions

WRAPPED = "backbone."  # what the official fine-tuning takes off
_TRUNK = r"(?:transformer\.)?"
_BLOCK = rf"{_TRUNK}layers\.(\d)\.blocks\.(\d)"
_UNUSED = r"encoder(?:2|3|4|10)\.layer\.(?:conv3|norm3)\..*"
_PATCH, _IMAGE, _SHARED = "head_group", "head_cls", "head"
EXAMPLES = ("patch_embed.proj.weight", "layers.0.blocks.0.attn.qkv.weight", "norm0.weight")


def is_smit(names: Collection[str]) -> bool:
    """Whether tensors of these names hold an encoder of SMIT's."""
    return any(re.fullmatch(rf"(?:{re.escape(WRAPPED)})?{_TRUNK}patch_embed\.proj\.weight", name) for name in names)


def describe_names(names: Collection[str], missing: int, wanted: int) -> str:
    """A phrase for a file without SMIT's names: what was looked for, how much is missing, and what is there instead."""
    shown = ", ".join(list(names)[: len(EXAMPLES)])
    begun = next((found[1] for name in names if (found := re.fullmatch(rf"(.+?){_TRUNK}{EXAMPLES[0]}", name))), None)
    remedy = f"; save those that begin with {begun!r} alone, and without it" if begun else ""
    return (
        f"{missing} of the {wanted} tensors that were looked for are missing, such as {', '.join(EXAMPLES)} (all may "
        f"begin with module., {WRAPPED} or transformer.); the file has {len(names)}, such as {shown}{remedy}"
    )


def official_names(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors without the prefix "backbone." that some files have, and without the two that say nothing new.

    These are the lengths of the heads' directions, which stay 1 in training, and the second name of the directions.
    Raises `ValueError` where one of them does say something else: then the heads are not those that are known here.
    """
    named = {name.removeprefix(WRAPPED): array for name, array in tensors.items()}
    for name, array in named.items():
        if name.endswith(".last_layer.weight_g") and not (array == 1).all():
            raise ValueError(f"{name} is not 1 throughout, as the published pretraining keeps it")
        first = name.replace(".last_layer2.", ".last_layer.")
        if first != name and not np.array_equal(named.get(first, np.nan), array):
            raise ValueError(f"{name} differs from {first}; the published network has one tensor under both names")
    return {name: array for name, array in named.items() if not re.search(r"\.last_layer(\.weight_g|2\..*)$", name)}


def rules(heads: Collection[str], shared_head: bool | None = None) -> list[Rule]:
    """The rules of the encoder and of what stands on it, "decoder" or "pretext", left out where `heads` lacks it.

    A student has one head for patches and image, or two; where it is not said, both kinds of names are known.
    """
    decoder = _decoder() if "decoder" in heads else [_left_out(r"(?:encoder\d+|decoder[2-5]|out)\..*", "decoder")]
    return [*_encoder("pretext" in heads), *decoder, *_pretext("pretext" in heads, "decoder" in heads, shared_head)]


def _encoder(masking: bool) -> list[Rule]:
    bias = r"params/backbone/layer\1_\2/attention/relative_position_bias"
    return [
        Rule(rf"{_TRUNK}mask_token", "params/backbone/mask_token" if masking else None, np.ravel, inverse=_token),
        Rule(rf"{_TRUNK}patch_embed\.proj\.weight", "params/backbone/patch/kernel", patch_kernel, inverse=_patches),
        Rule(rf"{_TRUNK}patch_embed\.proj\.bias", "params/backbone/patch/bias"),
        *_layer_norm(rf"{_TRUNK}patch_embed\.norm", "backbone/patch_norm"),
        *_layer_norm(rf"{_BLOCK}\.norm(\d)", r"backbone/layer\1_\2/norm\3"),
        Rule(rf"{_BLOCK}\.attn\.relative_position_index", None, inverse=_places, made_of=bias),
        Rule(rf"{_BLOCK}\.attn\.relative_position_bias_table", bias),
        *_linear(rf"{_BLOCK}\.attn\.(qkv|proj)", r"backbone/layer\1_\2/attention/\3"),
        *_linear(rf"{_BLOCK}\.mlp\.(fc\d)", r"backbone/layer\1_\2/\3"),
        *_linear(rf"{_TRUNK}layers\.(\d)\.downsample\.reduction", r"backbone/merging\1/reduction"),
        *_layer_norm(rf"{_TRUNK}layers\.(\d)\.downsample\.norm", r"backbone/merging\1/norm"),
        *_layer_norm(rf"{_TRUNK}norm(\d)", r"backbone/norm\1"),
    ]


def _decoder() -> list[Rule]:
    encoders, decoders = rf"(?!{_UNUSED})(encoder\d+)\.layer", r"(decoder\d)\.conv_block"
    blocks = [
        rule
        for source in (encoders, decoders)
        for rule in (
            Rule(rf"{source}\.conv(\d)\.conv\.weight", r"params/decoder/\1/conv\2/kernel", conv_kernel),
            *batch_norm(rf"{source}\.norm(\d)", r"decoder/\1/bn\2"),
        )
    ]
    return [
        *blocks,
        _left_out(_UNUSED, "a convolution without use"),
        Rule(
            r"(decoder\d)\.transp_conv\.conv\.weight",
            r"params/decoder/\1_up/kernel",
            transposed_kernel,
            inverse=lambda array: np.moveaxis(array, (-2, -1), (0, 1)),
        ),
        Rule(r"out\.conv\.conv\.weight", "params/decoder/logits/kernel", conv_kernel),
        Rule(r"out\.conv\.conv\.bias", "params/decoder/logits/bias"),
    ]


def _pretext(wanted: bool, decoder: bool, shared_head: bool | None) -> list[Rule]:
    """The student's own rules; its reconstruction is "decoder1" too, but by one kernel and not by a block."""
    if not wanted:
        own = r"(?:norm|head|head_cls|head_group)\..*|decoder1\.(?:weight|bias)"
        return [
            _left_out(own, "pretext"),
            *([] if decoder else [_left_out(r"decoder1\.(?:transp_conv|conv_block)\..*", "decoder")]),
        ]
    own, one = [(_PATCH, "patch_head"), (_IMAGE, "image_head")], [(_SHARED, "patch_head")]
    heads = {None: [*own, *one], False: own, True: one}[shared_head]
    return [
        *_layer_norm("norm", "pretext/norm"),
        Rule(r"decoder1\.weight", "params/pretext/reconstruction/kernel", patch_kernel, inverse=_pointwise),
        Rule(r"decoder1\.bias", "params/pretext/reconstruction/bias"),
        *(rule for source, target in heads for rule in _head(source, f"pretext/{target}")),
    ]


def _head(source: str, target: str) -> list[Rule]:
    layers = [_linear(rf"{source}\.mlp\.{2 * number}", f"{target}/fc{number + 1}") for number in range(3)]
    directions = f"params/{target}/prototypes"
    return [
        *(rule for layer in layers for rule in layer),
        Rule(rf"{source}\.last_layer\.weight_v", directions, dense_kernel),
        # Which `official_names` takes off before.
        Rule(rf"{source}\.last_layer\.weight_g", None, inverse=_lengths, made_of=directions),
        Rule(rf"{source}\.last_layer2\.weight_g", None, inverse=_lengths, made_of=directions),
        Rule(rf"{source}\.last_layer2\.weight_v", None, inverse=dense_kernel, made_of=directions),
    ]


def _left_out(source: str, part: str) -> Rule:
    return Rule(source, None, part=part)


def _linear(source: str, target: str) -> list[Rule]:
    return [
        Rule(rf"{source}\.weight", f"params/{target}/kernel", dense_kernel),
        Rule(rf"{source}\.bias", f"params/{target}/bias"),
    ]


def _layer_norm(source: str, target: str) -> list[Rule]:
    return [Rule(rf"{source}\.weight", f"params/{target}/scale"), Rule(rf"{source}\.bias", f"params/{target}/bias")]


def patch_kernel(array: np.ndarray) -> np.ndarray:
    """The (in, out) of a torch convolution (out, in, *window) whose windows do not overlap; in is c, d, h, w."""
    return array.reshape(len(array), -1).T


def transposed_kernel(array: np.ndarray) -> np.ndarray:
    """The (d, h, w, in, out) of torch's transposed convolution (in, out, d, h, w)."""
    return np.moveaxis(array, (0, 1), (-2, -1))


def _token(array: np.ndarray) -> np.ndarray:
    return array.reshape(1, 1, -1)


def _patches(array: np.ndarray) -> np.ndarray:
    return array.T.reshape(array.shape[1], -1, *(PATCH,) * 3)


def _pointwise(array: np.ndarray) -> np.ndarray:
    return array.T.reshape(*array.shape[::-1], 1, 1, 1)


def _lengths(directions: np.ndarray) -> np.ndarray:
    return np.ones((directions.shape[1], 1), directions.dtype)


def _places(bias: np.ndarray) -> np.ndarray:
    """The index table of a window, whose side the rows of its biases tell."""
    return relative_positions((round(len(bias) ** (1 / 3)) + 1) // 2).astype(np.int64)
