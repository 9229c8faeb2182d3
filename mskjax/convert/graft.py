"""The one way weights go from one network into another: by name, strictly, with the fresh parts named."""

import re
from collections.abc import Collection, Sequence
from typing import Any

import jax.numpy as jnp
from absl import logging
from flax.traverse_util import flatten_dict, unflatten_dict

from mskjax.types import Variables

Path = tuple[str, ...]


def graft(target: Variables, source: Variables, fresh: Sequence[str] = ()) -> Variables:
    """`target` with every leaf replaced by a copy of `source`'s of the same path, but for those that stay fresh.

    `fresh` are regexes; a leaf stays as `target` has it when one matches its whole path without the collection, as
    "classifier/.*" matches "classifier/bn/scale" and "classifier/bn/mean". Both trees are of variables, {"params",
    "batch_stats"}. Copies take `target`'s types. Raises one `ValueError` that lists every other leaf that `source`
    lacks or has in another shape. What was copied, what is fresh and what of `source` is unused is logged.
    """
    wanted: dict[Path, Any] = flatten_dict(target)
    given: dict[Path, Any] = flatten_dict(source)
    kept = {path for path in wanted if any(re.fullmatch(pattern, _name(path)) for pattern in fresh)}
    copied = [path for path in wanted if path not in kept]
    _check({path: wanted[path] for path in copied}, given)
    _log(copied, kept, [path for path in given if path not in copied])
    for pattern in fresh:
        if not any(re.fullmatch(pattern, _name(path)) for path in wanted):
            logging.warning("graft: %r names no leaf of the network, so it keeps none fresh", pattern)
    # Copies, because a training step gives its own arrays away and the source may serve another network.
    return unflatten_dict(wanted | {path: jnp.array(given[path], wanted[path].dtype) for path in copied})


def _check(wanted: dict[Path, Any], given: dict[Path, Any]) -> None:
    missing = [path for path in wanted if path not in given]
    unlike = [path for path in wanted if path in given and wanted[path].shape != given[path].shape]
    if lines := [
        *(f"- {_show(path, wanted[path])}: the source lacks it" for path in missing),
        *(f"~ {_show(path, wanted[path])}: the source has {list(given[path].shape)}" for path in unlike),
    ]:
        advice = "name what is to stay as initialised in fresh, as in fresh=('classifier/.*',)"
        raise ValueError("\n".join([f"{len(lines)} leaves cannot be grafted; {advice}:", *lines]))


def _log(copied: Collection[Path], fresh: Collection[Path], unused: Collection[Path]) -> None:
    logging.info(
        "graft: %d leaves copied; %d fresh%s; %d of the source unused%s",
        *(len(copied), len(fresh), _modules(fresh), len(unused), _modules(unused)),
    )


def _modules(paths: Collection[Path]) -> str:
    """The modules that leaves belong to, as in " (classifier/bn, classifier/conv)"."""
    modules = sorted({"/".join(path[1:-1]) for path in paths})
    return f" ({', '.join(modules[:8])}{', ...' if len(modules) > 8 else ''})" if modules else ""


def _name(path: Path) -> str:
    return "/".join(path[1:])


def _show(path: Path, leaf: Any) -> str:
    return f"{'/'.join(path)} {list(leaf.shape)}"
