"""Which networks come in Keras's, torchvision's or SMIT's form, by which rules, and whether a file is the one asked."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from mskjax import models
from mskjax.convert import densenet, inception_resnet_v2, inception_v3, keras_resnet, smit, torchvision
from mskjax.convert.graft import COLLECTIONS
from mskjax.convert.inverse import source_tensors
from mskjax.convert.options import present_heads
from mskjax.convert.radimagenet import torchvision_names
from mskjax.convert.rules import Renamed, Rule, rename
from mskjax.models.options import KERAS, TORCHVISION, VARIANTS
from mskjax.types import Variables

SMIT = "smit"
Tensors = Mapping[str, np.ndarray]
RulesFor = Callable[..., list[Rule]]
RULES: Mapping[str, Mapping[str, RulesFor]] = {
    KERAS: {
        "densenet121": densenet.keras_rules,
        "inception_v3": inception_v3.keras_rules,
        "inception_resnet_v2": inception_resnet_v2.keras_rules,
        "keras_resnet50": keras_resnet.rules,
    },
    TORCHVISION: {
        "resnet50": torchvision.rules,
        "resnet101": torchvision.rules,
        "fcn_resnet101": torchvision.rules,
        "densenet121": densenet.torchvision_rules,
        "inception_v3": inception_v3.torchvision_rules,
    },
    SMIT: {"smit_encoder": smit.rules, "smit_segmenter": smit.rules, "smit_pretrainer": smit.rules},
}
# What names begin with in the networks that have the others' trunk as a part.
PREFIXES = {
    "fcn_resnet101": ("backbone.",),
    "smit_segmenter": ("transformer.",),
    "smit_pretrainer": ("transformer.",),
}
_OWNERS = {KERAS: "Keras", TORCHVISION: "torchvision", SMIT: "SMIT"}


def variant_of(model: str, options: Mapping[str, Any]) -> str:
    """The form, "keras", "torchvision" or "smit", of the network that `models.build` gives with these options."""
    return options.get("variant", SMIT if model in RULES[SMIT] else VARIANTS.get(model, (TORCHVISION,))[0])


def check(tensors: Tensors, form: str, model: str, variant: str, leaves: Collection[str]) -> None:
    """Raises `ValueError` unless tensors in Keras's or torchvision's form are those of a model with these leaves.

    The phrase names the model or the variant that fits, or what a file of no known names lacks. A file that is nearly
    right passes: its diff tells more.
    """
    if model not in RULES[form] or _likeness(_renamed(tensors, form, model), leaves) < 0.5:
        others = {name: _renamed(tensors, form, name) for name in RULES[form] if name != model}
        likeness = {name: _likeness(found, _published(name, form)) for name, found in others.items() if found.leaves}
        name = max(likeness, key=likeness.__getitem__, default="")
        if likeness.get(name, 0) > 0.5:
            raise ValueError(f"it holds another network in {_OWNERS[form]}'s form: model={name!r} fits")
    if model in RULES[SMIT] and form == TORCHVISION:  # as which files of any other names are read
        raise ValueError(f"its names are not SMIT's: {_missing(tensors, model, leaves)}")
    if model not in RULES[form]:
        raise ValueError(f"it is in {_OWNERS[form]}'s form, in which {model} does not come")
    if variant != form:
        raise ValueError(f"it is in {_OWNERS[form]}'s form, which was trained otherwise: variant={form!r} fits")


def _missing(tensors: Tensors, model: str, leaves: Collection[str]) -> str:
    found = rename(named(tensors, SMIT, model), RULES[SMIT][model](present_heads(leaves)))
    return smit.describe_names(tensors, len(set(leaves) - set(found.leaves)), len(leaves))


def _published(model: str, form: str) -> Collection[str]:
    """The leaves of a network of the published size."""
    options = {"variant": form} if model in VARIANTS else {}
    return flatten_dict(models.abstract(models.build(model, **options)), sep="/")


def named(tensors: Tensors, form: str, model: str) -> dict[str, np.ndarray]:
    """The tensors under the names that the rules of a form know; `ValueError` for some that are not as published."""
    return smit.official_names(tensors) if form == SMIT else torchvision_names(tensors, model)


def _renamed(tensors: Tensors, form: str, model: str) -> Renamed:
    return rename(named(tensors, form, model), RULES[form][model](()))


def _likeness(found: Renamed, leaves: Collection[str]) -> float:
    """What the trunks of a file and of a network have in common: their common leaves as a share of all of both."""
    trunk = {leaf for leaf in leaves if leaf.split("/")[1] == "backbone"}
    return len(trunk & set(found.leaves)) / (len(trunk | set(found.leaves)) + len(found.problems))


def torch_tensors(variables: Variables, model: str, options: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The variables of `models.build(model, **options)` as torch's own network of that kind loads them strictly.

    The names are torchvision's or SMIT's. Raises `ValueError` for a network that neither of them has.
    """
    form = variant_of(model, options)
    if form == KERAS or model not in RULES.get(form, {}):
        whose = "Keras's form" if form == KERAS else "mskjax's own form"
        raise ValueError(f"{model} is of {whose}, and no network of torchvision's or SMIT's takes its weights by name")
    network = {name: variables[name] for name in COLLECTIONS if name in variables}
    heads = present_heads(flatten_dict(network, sep="/"))
    told = {"shared_head": bool(options.get("shared_head"))} if form == SMIT else {}
    return source_tensors(network, RULES[form][model](heads, **told), PREFIXES.get(model, ()))
