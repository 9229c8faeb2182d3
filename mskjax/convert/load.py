"""Weight files of any kind into the variables of a named network; a file's content tells its kind, not its name."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from flax.traverse_util import flatten_dict

from mskjax import models
from mskjax.convert.families import RULES, SMIT, RulesFor, check, named, variant_of
from mskjax.convert.keras_files import is_hdf5, read_keras
from mskjax.convert.keras_resnet import is_port
from mskjax.convert.options import HEADS, Network, describe, disagreements, present_heads
from mskjax.convert.rules import Rule, apply_rules, rename
from mskjax.convert.smit import is_smit
from mskjax.convert.store import holds_variables, read_safetensors
from mskjax.convert.torch_files import read_torch
from mskjax.models.options import KERAS, TORCHVISION
from mskjax.types import Variables

OWN = "own"
WRAPPERS = ("state_dict", "model")
PARALLEL_PREFIX = "module."


@dataclass(frozen=True)
class Source:
    """A file's tensors by name, the form of the names ("own", "keras", "torchvision" or "smit"), and its metadata."""

    tensors: dict[str, np.ndarray]
    form: str
    metadata: Mapping[str, str] = field(default_factory=dict)


def load_weights(path: str | Path, model: str, **options: Any) -> Variables:
    """The variables of `models.build(model, **options)`, filled strictly from a weight file.

    The file is torch's `.pth` or `.pt` in either form, with the names of torchvision, RadImageNet (of Keras's ResNet50
    its port to torch as well) or SMIT, Keras's `.h5` or `.weights.h5`, or safetensors under torchvision's, SMIT's or
    mskjax's own names; `variant` has to be that of the file. Every tensor must have its place and every leaf its
    tensor. A head that the file has and the network lacks is left out, and the log says so: the auxiliary head of COCO
    files by default, any head with `num_classes=None`. Raises `ValueError` where options and file disagree, naming the
    options that fit, or with a diff of all mismatches, and `OSError` where the file cannot be read.
    """
    module = models.build(model, **options)
    source = read_source(path)
    target = models.abstract(module)
    wanted: dict[str, Any] = flatten_dict(target, sep="/")
    try:
        tensors, rules_for = _named(source, model, variant_of(model, options), wanted)
    except ValueError as error:
        raise ValueError(f"{path} does not fit {model} as asked: {error}") from error
    stored, asked = _stored(tensors, rules_for(HEADS)), describe(wanted)
    if stored and asked and (phrases := disagreements(stored, asked)):
        raise ValueError(f"{path} does not fit {model} as asked: {'; '.join(phrases)}")
    heads = present_heads(wanted)
    rules = rules_for(heads)
    for part, count in Counter(rename(tensors, rules).ignored.values()).items():
        logging.info("%s: %s is left out, %d tensor%s", path, part, count, "s" * (count != 1))
    try:
        variables = apply_rules(tensors, rules, target)
    except ValueError as error:
        raise ValueError(f"{path} does not fit {model}: {error}") from error
    return jax.device_put(variables)


def read_source(path: str | Path) -> Source:
    """What a weight file of any kind holds; a wrapping dictionary and the prefix "module." are taken off and logged."""
    if is_hdf5(path):
        return Source(read_keras(path), KERAS)
    if _is_safetensors(path):
        tensors, metadata = read_safetensors(path)
        if holds_variables(tensors):
            return Source(tensors, OWN, metadata)
        tensors = _unprefixed(path, tensors)
        return Source(tensors, _form(tensors), metadata)
    tensors = _read_state_dict(path)
    return Source(tensors, _form(tensors))


def _form(names: Collection[str]) -> str:
    """Whose network a state_dict is of; Keras's ResNet50 has been ported to torch under torchvision's names."""
    return SMIT if is_smit(names) else KERAS if is_port(names) else TORCHVISION


def _read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    tensors = _unwrap(path, read_torch(path))
    for name, value in tensors.items():
        if not isinstance(name, str) or not isinstance(value, np.ndarray):
            raise ValueError(f"{path} is no state_dict: its entry {name!r:.100} is a {type(value).__name__}, no tensor")
    return _unprefixed(path, tensors)


def _unprefixed(path: str | Path, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors of a state_dict without the prefix of parallel training; `ValueError` for an empty one."""
    if not tensors:
        raise ValueError(f"{path} holds an empty state_dict; save the trained network's")
    if all(name.startswith(PARALLEL_PREFIX) for name in tensors):
        logging.info("%s: the prefix %r of parallel training is taken off every name", path, PARALLEL_PREFIX)
        return {name.removeprefix(PARALLEL_PREFIX): value for name, value in tensors.items()}
    return tensors


def _unwrap(path: str | Path, value: Any) -> dict[Any, Any]:
    """The dictionary of tensors, which a training checkpoint holds as one of its entries."""
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds a {type(value).__name__} where a state_dict belongs; save the state_dict")
    wrappers = [name for name in WRAPPERS if isinstance(value.get(name), dict)]
    if len(wrappers) > 1:
        raise ValueError(f"{path} holds both {' and '.join(wrappers)}; save the one that is meant alone")
    if wrappers:
        others = ", ".join(str(name)[:40] for name in value if name != wrappers[0])
        logging.info("%s: the weights are its entry %r; left out: %s", path, wrappers[0], others or "nothing")
        value = value[wrappers[0]]
    return value


def _is_safetensors(path: str | Path) -> bool:
    """Whether the file begins as safetensors do: the header's length in 8 bytes, then JSON."""
    with Path(path).open("rb") as file:
        start = file.read(9)
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") <= Path(path).stat().st_size


def _named(source: Source, model: str, variant: str, leaves: Collection[str]) -> tuple[dict[str, np.ndarray], RulesFor]:
    """The tensors under the names that rules know, and the rules for them; `ValueError` has a phrase on what fits."""
    if source.form == OWN:
        stored = source.metadata.get("variant", variant)
        if stored != variant:
            raise ValueError(f"it was converted with variant={stored!r}, which fits")
        return source.tensors, _own_rules
    check(source.tensors, source.form, model, variant, leaves)
    return named(source.tensors, source.form, model), RULES[source.form][model]


def _own_rules(heads: Collection[str]) -> list[Rule]:
    """The rules of mskjax's own names, with the heads that are wanted; other heads are left out."""
    kept, others = "|".join(["backbone", *heads]), [head for head in HEADS if head not in heads]
    own = Rule(rf"((?:params|batch_stats)/(?:{kept})/.*)", r"\1")
    return [own, *(Rule(rf"(?:params|batch_stats)/{head}/.*", None, part=head) for head in others)]


def _stored(tensors: Mapping[str, np.ndarray], rules: list[Rule]) -> Network | None:
    return describe({name: leaf.array for name, leaf in rename(tensors, rules).leaves.items()})
