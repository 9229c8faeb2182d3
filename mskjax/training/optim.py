"""The optimiser, without a learning rate of its own, and which parameters it moves.

The learning rate is an argument of the compiled step, so that one compilation serves every rate. Frozen parameters are
told by regexes on whole paths, as in `backbone/layer1_.*`; they have neither gradients nor moments.
"""

import re
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np
import optax
from flax.traverse_util import flatten_dict, unflatten_dict

from mskjax.types import Params

Leaves = dict[str, Any]  # arrays on a device or on the host, or their shapes and types


def adam(weight_decay: float = 0.0) -> optax.GradientTransformation:
    """Adam's direction (b1 0.9, b2 0.999, eps 1e-8 outside the root, as in PyTorch), to be scaled by the rate.

    With `weight_decay` it is AdamW's, which draws every parameter towards 0 by that share of it, scaled by the rate.
    """
    optimizer = _begun_on_host(optax.scale_by_adam())
    return optax.chain(optimizer, optax.add_decayed_weights(weight_decay)) if weight_decay else optimizer


def _begun_on_host(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """An optimiser that begins with zeros, as numpy's: on one device the moments of all parameters may have no room."""

    def init(params: Any) -> Any:
        return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), jax.eval_shape(optimizer.init, params))

    return optax.GradientTransformation(init, optimizer.update)


def split(params: Params, freeze: Iterable[str]) -> tuple[Leaves, Leaves]:
    """The leaves that are trained and those that are frozen, by path."""
    patterns = [re.compile(pattern) for pattern in freeze]
    leaves: Leaves = flatten_dict(params, sep="/")  # pyright: ignore[reportAssignmentType]
    frozen = {path: leaf for path, leaf in leaves.items() if any(p.fullmatch(path) for p in patterns)}
    return {path: leaf for path, leaf in leaves.items() if path not in frozen}, frozen


def merge(trained: Leaves, frozen: Leaves) -> Params:
    """The parameters whose leaves `split` took apart."""
    return unflatten_dict({**trained, **frozen}, sep="/")


def check_freeze(params: Params, freeze: Iterable[str]) -> None:
    """Raises `ValueError` for a regex that matches no parameter, and where nothing is left to train."""
    freeze = tuple(freeze)
    for pattern in freeze:
        if not split(params, (pattern,))[1]:
            some = ", ".join(sorted(flatten_dict(params, sep="/"))[:3])
            raise ValueError(f"freeze {pattern!r} matches no parameter; it must match a whole path such as {some}")
    if not split(params, freeze)[0]:
        raise ValueError(f"freeze {freeze} leaves no parameter to train; freeze fewer")
