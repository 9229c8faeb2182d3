"""RadImageNet's PyTorch files, whose names are places in a Sequential, put back under torchvision's names.

They hold all children of torchvision's network but the last in an attribute `backbone`, so that a tensor is called
`backbone.<index of the child>...`; children without weights count as well. InceptionV3 has no auxiliary head.
"""

import re
from collections.abc import Mapping
from typing import TypeVar

_STEM = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3")
_BLOCKS = ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")
CHILDREN = {
    "resnet50": {0: "conv1", 1: "bn1", **{3 + stage: f"layer{stage}" for stage in range(1, 5)}},
    "densenet121": {0: "features"},
    "inception_v3": {
        **dict(zip((0, 1, 2, 4, 5), _STEM, strict=True)),
        **{index: f"Mixed_{block}" for index, block in enumerate(_BLOCKS, start=7)},
    },
}
_PLACE = re.compile(r"backbone\.(\d+)\.(.+)")
_AUXILIARY = re.compile(r"backbone\.15\.(conv0|conv1|fc)\.")
Tensor = TypeVar("Tensor")


def torchvision_names(tensors: Mapping[str, Tensor], model: str) -> dict[str, Tensor]:
    """The tensors under the names that torchvision's `model` has for them.

    Other names, and places where the network has no weights, stay as they are. Raises `ValueError` where two tensors
    would have one name, and for an InceptionV3 with an auxiliary head, which moves all that follows by a place.
    """
    if model == "inception_v3" and any(_AUXILIARY.match(name) for name in tensors):
        raise ValueError(
            "it has the auxiliary head at backbone.15, as with aux_logits=True, which shifts what follows by one; "
            "build it with aux_logits=False and save it again"
        )
    renamed = {_renamed(name, CHILDREN.get(model, {})): tensor for name, tensor in tensors.items()}
    if len(renamed) < len(tensors):
        raise ValueError("it holds tensors under RadImageNet's and under torchvision's names; save one of the networks")
    return renamed


def _renamed(name: str, children: Mapping[int, str]) -> str:
    match = _PLACE.fullmatch(name)
    return f"{children[int(match[1])]}.{match[2]}" if match and int(match[1]) in children else name
