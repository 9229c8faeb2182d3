"""The one way weights go from one network into another: by name, strictly, with the fresh parts named."""

import re
from collections.abc import Collection, Sequence
from functools import cache
from typing import Any

import numpy as np
from absl import logging
from flax.traverse_util import flatten_dict, unflatten_dict

from mskjax.types import Variables

Path = tuple[str, ...]
Leaves = dict[Path, Any]
COLLECTIONS = ("params", "batch_stats")  # of a network


def graft(target: Variables, source: Variables, fresh: Sequence[str] = ()) -> Variables:
    """`target` with every leaf replaced by a copy of `source`'s of the same path, but for those that stay fresh.

    `fresh` are regexes; a leaf stays as `target` has it when one matches its whole path without the collection, as
    "classifier/.*" matches "classifier/bn/scale" and "classifier/bn/mean". Both trees are of variables, {"params",
    "batch_stats"}. Copies are numpy's and take `target`'s types. Raises one `ValueError` that lists every other leaf
    that `source` lacks or has in another shape. What was copied, what is fresh and what of `source` is unused is
    logged, but for what a task kept beside its network, such as a teacher.
    """
    wanted, given = check(target, source, fresh)
    copied = [path for path in wanted if not _matches(fresh, path)]
    say(_summary(wanted, given, copied))
    for pattern in fresh:
        if not any(_matches((pattern,), path) for path in wanted):
            logging.warning("graft: %r names no leaf of the network, so it keeps none fresh", pattern)
    return unflatten_dict(wanted | {path: np.array(given[path], wanted[path].dtype) for path in copied})


def check(target: Variables, source: Variables, fresh: Sequence[str] = ()) -> tuple[Leaves, Leaves]:
    """The leaves of both trees by path, if `graft` can take them; shapes will do for arrays. Raises what it raises."""
    wanted: Leaves = flatten_dict(target)
    given: Leaves = flatten_dict(source)
    lines = [
        f"{mark} {_show(path, leaf)}: {why}"
        for mark, path, leaf, why in (
            ("~" if path in given else "-", path, leaf, _why_not(path, leaf, given)) for path, leaf in wanted.items()
        )
        if why and not _matches(fresh, path)
    ]
    if lines:
        unlike = sorted(line for line in lines if line.startswith("~"))
        if 2 * len(unlike) > len(wanted.keys() & given.keys()):
            raise ValueError(
                f"{len(lines)} leaves cannot be grafted, as the source is a network of another size; choose one of "
                f"this size, or give this network the other's options:\n{unlike[0]}"
            )
        advice = "name what is to stay as initialised in fresh, as in fresh=('classifier/.*',)"
        raise ValueError("\n".join([f"{len(lines)} leaves cannot be grafted; {advice}:", *sorted(lines)]))
    return wanted, given


def _why_not(path: Path, leaf: Any, given: Leaves) -> str:
    """Why a leaf cannot be copied; empty if it can."""
    if path not in given:
        return "the source lacks it"
    shape = list(given[path].shape)
    return "" if shape == list(leaf.shape) else f"the source has {shape}"


def _summary(wanted: Leaves, given: Leaves, copied: Collection[Path]) -> str:
    """What was copied, what is fresh and why, and what of the source is unused."""
    fresh: dict[str, list[Path]] = {}
    for path in wanted.keys() - set(copied):
        unlike = path in given and given[path].shape != wanted[path].shape
        why = "as asked" if path in given else "the source lacks it"
        fresh.setdefault("the source has it in another shape" if unlike else why, []).append(path)
    unused = {path for path in given if path[0] in COLLECTIONS} - set(copied)
    parts = [f"graft: {len(copied)} leaves copied{_modules(copied, 1)}"]
    parts += [f"{len(paths)} fresh{_modules(paths)}: {why}" for why, paths in sorted(fresh.items())]
    return "; ".join([*parts, f"{len(unused)} of the source unused{_modules(unused)}"])


@cache
def say(sentence: str) -> None:
    """Logs a sentence the first time that it is said: a study grafts the same weights many times."""
    logging.info("%s", sentence)


def _matches(patterns: Sequence[str], path: Path) -> bool:
    return any(re.fullmatch(pattern, _name(path)) for pattern in patterns)


def _modules(paths: Collection[Path], depth: int | None = None) -> str:
    """The modules that leaves belong to, down to `depth` names, as in " (classifier/bn, classifier/conv)"."""
    modules = sorted({"/".join(path[1:-1][:depth]) for path in paths})
    return f" ({', '.join(modules[:8])}{', ...' if len(modules) > 8 else ''})" if modules else ""


def _name(path: Path) -> str:
    return "/".join(path[1:])


def _show(path: Path, leaf: Any) -> str:
    return f"{'/'.join(path)} {list(leaf.shape)}"
