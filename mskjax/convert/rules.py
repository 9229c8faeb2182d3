"""Rules that turn another framework's tensors into Flax variables, strict both ways.

Each source name matches exactly one rule, each leaf of the network is filled exactly once, and shapes agree; otherwise
one error lists every mismatch as a diff. What is left out on purpose is a rule as well, one without a target.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from mskjax.types import Variables

Transform = Callable[[np.ndarray], np.ndarray]


def keep(array: np.ndarray) -> np.ndarray:
    """The array as it is."""
    return array


def conv_kernel(array: np.ndarray) -> np.ndarray:
    """Flax's (*window, in, out) of torch's (out, in, *window), for any number of spatial axes."""
    return np.moveaxis(array, (0, 1), (-1, -2)) if array.ndim > 1 else array


def dense_kernel(array: np.ndarray) -> np.ndarray:
    """Flax's (in, out) of torch's (out, in)."""
    return array.T


@dataclass(frozen=True)
class Rule:
    """What becomes of the tensors whose whole name matches the regex `source`.

    `target` is a leaf's path with its collection, a template of `re.Match.expand`; None leaves the tensor out, and the
    log names the `part` that it belongs to, or else the last part of its own name.

    `inverse` undoes the transform where weights are written; it may be left out for the transforms of this file. A
    tensor that reading leaves out is made by it of the leaf `made_of`, a template as `target` is, or not at all.
    """

    source: str
    target: str | None
    transform: Transform = keep
    part: str = ""
    inverse: Transform | None = None
    made_of: str | None = None


class Leaf(NamedTuple):
    """A tensor in Flax's layout, and the name it had."""

    source: str
    array: np.ndarray


@dataclass(frozen=True)
class Renamed:
    """Tensors under the paths of Flax's leaves, what was left out and of which part it is, and the lines of a diff."""

    leaves: dict[str, Leaf] = field(default_factory=dict)
    ignored: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def rename(tensors: Mapping[str, np.ndarray], rules: Sequence[Rule]) -> Renamed:
    """The tensors under their new names; shapes are not checked yet and nothing is copied."""
    renamed = Renamed()
    patterns = [(rule, re.compile(rule.source)) for rule in rules]  # of which re's own cache holds too few
    for source, array in tensors.items():
        matches = [(rule, match) for rule, pattern in patterns if (match := pattern.fullmatch(source))]
        if len(matches) != 1:
            renamed.problems.append(f"+ {_show(source, array)}: matches {len(matches)} rules instead of one")
            continue
        rule, match = matches[0]
        if rule.target is None:
            renamed.ignored[source] = rule.part or source.rpartition(".")[2]
        elif (target := match.expand(rule.target)) in renamed.leaves:
            other = renamed.leaves[target].source
            renamed.problems.append(f"+ {_show(source, array)}: {target} is filled by {other} already")
        else:
            renamed.leaves[target] = Leaf(source, rule.transform(array))
    return renamed


def apply_rules(tensors: Mapping[str, np.ndarray], rules: Sequence[Rule], target: Variables) -> Variables:
    """The variables, as numpy arrays in the shapes and types of `target`, filled from `tensors`.

    `target` is a tree of arrays or `jax.ShapeDtypeStruct`. Raises one `ValueError` with a line for every mismatch:
    `+` a tensor without a place, `-` a leaf without a tensor, `~` a shape or type that differs, `!` values that are not
    finite.
    """
    renamed = rename(tensors, rules)
    wanted: dict[str, Any] = flatten_dict(target, sep="/")
    problems = [*renamed.problems, *_differences(renamed.leaves, wanted)]
    if problems:
        raise ValueError("\n".join([f"{len(problems)} mismatches between the file and the network:", *problems]))
    leaves = {name: np.asarray(leaf.array, wanted[name].dtype, order="C") for name, leaf in renamed.leaves.items()}
    return unflatten_dict(leaves, sep="/")


def _differences(leaves: Mapping[str, Leaf], wanted: Mapping[str, Any]) -> Iterable[str]:
    for name, leaf in leaves.items():
        if name not in wanted:
            yield f"+ {_show(leaf.source, leaf.array)}: the network has no {name}"
        elif leaf.array.shape != wanted[name].shape:
            yield f"~ {_show(leaf.source, leaf.array)}: {_show(name, wanted[name])} has another shape"
        elif not jnp.issubdtype(leaf.array.dtype, jnp.floating):
            yield f"~ {leaf.source}: {leaf.array.dtype} where {name} holds {wanted[name].dtype}"
        elif not np.isfinite(leaf.array).all():
            yield f"! {leaf.source}: holds values that are not finite"
    yield from (f"- {_show(name, wanted[name])}: nothing in the file fills it" for name in wanted if name not in leaves)


def _show(name: str, array: Any) -> str:
    return f"{name} {list(array.shape)}"
