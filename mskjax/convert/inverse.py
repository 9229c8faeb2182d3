"""The rules backwards: Flax variables under the names, and in the layouts, that the rules read.

A name is looked for among what each rule's patterns allow, and taken only if the rule itself leads from it back to the
leaf, so that reading and writing cannot come apart.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from mskjax.convert.rules import Rule, Transform, conv_kernel, dense_kernel, keep

_INVERSES: Mapping[Transform, Transform] = {
    keep: keep,
    dense_kernel: dense_kernel,
    conv_kernel: lambda array: np.moveaxis(array, (-1, -2), (0, 1)) if array.ndim > 1 else array,
}
# What a rule's source is made of: what must not follow, what may, a group, a character that may be missing, and one.
_PIECE = re.compile(
    r"\(\?!(?:[^()]|\([^()]*\))*\)"
    r"|\(\?:(?P<optional>[^()|]*)\)\?"
    r"|\((?P<group>(?:\?P<\w+>|(?!\?))[^()]*)\)"
    r"|\\\W\?"
    r"|\\(?P<escaped>\W)"
    r"|(?P<literal>\w)"
)


def source_tensors(
    variables: Mapping[str, Any], rules: Sequence[Rule], prefixes: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """All variables as arrays under the names that `rules` read, and what the rules make of them beside.

    Where a rule takes a name with or without a part, it is written without, unless the part is one of `prefixes`.
    Raises `ValueError` for a leaf that no rule can write, or that two would.
    """
    tensors: dict[str, np.ndarray] = {}
    for leaf, array in flatten_dict(variables, sep="/").items():
        found = [(rule, name) for rule in rules for name in _names(rule, leaf, prefixes)]
        if sum(rule.target is not None for rule, _ in found) != 1:
            raise ValueError(f"{leaf} has {len(found)} names instead of one: {', '.join(name for _, name in found)}")
        for rule, name in found:
            inverse = rule.inverse or _INVERSES[rule.transform]
            tensors[name] = np.asarray(inverse(np.asarray(array)), order="C")
    return tensors


def _names(rule: Rule, leaf: str, prefixes: Collection[str]) -> Iterator[str]:
    """The name under which a rule would read a leaf, or would leave out what is made of it; none if it is another's."""
    target = rule.target or rule.made_of
    if target is None:
        return
    start, *parts = re.split(r"\\(?:g<(\w+)>|(\d))", target)
    pattern, groups = re.escape(start), []
    for label, number, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        groups.append(label or int(number))
        pattern += "([^/]+?)" + re.escape(text)
    if not (match := re.fullmatch(pattern, leaf)):
        return
    name = _written(rule.source, dict(zip(groups, match.groups(), strict=True)), prefixes)
    back = re.fullmatch(rule.source, name)
    if back and back.expand(target) == leaf:
        yield name


def _written(source: str, groups: Mapping[str | int, str], prefixes: Collection[str]) -> str:
    """A name that a rule's source matches, with these values of its groups."""
    name, count, place = "", 0, 0
    while place < len(source):
        piece = _PIECE.match(source, place)
        if piece is None:
            raise ValueError(f"the names of rule {source!r} cannot be told from its pattern, at {source[place:]!r}")
        place = piece.end()
        if piece["optional"] is not None:
            part = re.sub(r"\\(.)", r"\1", piece["optional"])
            name += part if part in prefixes else ""
        elif piece["group"] is not None:
            count += 1
            label = re.match(r"\?P<(\w+)>", piece["group"])
            name += groups[label[1] if label else count]
        else:
            name += piece["escaped"] or piece["literal"] or ""
    return name
