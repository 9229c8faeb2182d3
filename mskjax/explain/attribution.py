"""What a map is worth: how much of it lies in a mask, and whether it depends on what the network has learned.

The second is the randomisation test of Adebayo et al. 2018 ("Sanity checks for saliency maps"): layers get fresh
weights, from the logits down to some depth or all of them, and a map that stays the same explained the image's edges
and not the network.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.linen.module import InterceptorContext
from jax import Array
from jaxtyping import Bool, Float, Num
from scipy.stats import rankdata
from skimage import metrics

from mskjax import models
from mskjax.models.layers import BatchNorm
from mskjax.types import Key, Variables

_SSIM_WINDOW_PX = 7  # scikit-image's own; a smaller map has none


def share_inside(attribution: Float[np.ndarray, "h w"], mask: Bool[np.ndarray, "h w"]) -> float:
    """The share, 0 to 1, of what speaks for the class that lies inside the mask; NaN where nothing speaks for it.

    Negative values, which LIME has, speak against the class and do not count. Chance would give a map the mask's area
    over the image's.
    """
    support = np.maximum(attribution.astype(np.float64), 0)
    whole = support.sum()
    return float(support[mask].sum() / whole) if whole > 0 else float("nan")


def rank_correlation(one: Float[np.ndarray, "h w"], other: Float[np.ndarray, "h w"]) -> float:
    """Spearman's correlation of two maps' pixels, -1 to 1; NaN where a map has one value everywhere or no numbers."""
    if not (_varies(one) and _varies(other)):
        return float("nan")
    return float(np.corrcoef(rankdata(one), rankdata(other))[0, 1])


def structural_similarity(one: Float[np.ndarray, "h w"], other: Float[np.ndarray, "h w"]) -> float:
    """The mean structural similarity (Wang et al. 2004) of two maps, each divided by its largest absolute value.

    1 for maps that differ by a positive factor. NaN where both are zero everywhere, one holds no numbers, or they are
    less than 7 pixels high or wide.
    """
    finite = np.isfinite(one).all() and np.isfinite(other).all()
    if not finite or not (one.any() or other.any()) or min(one.shape) < _SSIM_WINDOW_PX:
        return float("nan")
    scaled = [values / (np.abs(values).max() or 1) for values in (one.astype(np.float64), other.astype(np.float64))]
    if min(map(np.min, scaled)) < 0:
        # Two means of unlike sign would undo a correlation below zero.
        scaled = [(values + 1) / 2 for values in scaled]
    similarity: Any = metrics.structural_similarity(*scaled, win_size=_SSIM_WINDOW_PX, data_range=1.0)
    return float(similarity)


def randomised(
    module: nn.Module,
    variables: Variables,
    image: Num[Array | np.ndarray, "b h w c"],
    key: Key,
    layers: int | None = None,
) -> Variables:
    """The variables with fresh ones, drawn from `key` as for training, in the last `layers` layers, or in all.

    A layer is a submodule with variables of its own; the last is the one that is applied last, so that growing `layers`
    goes top-down. BatchNorm among them takes its statistics from `image`, the images to be explained: with those of
    other weights, or of none, values would fade or grow from layer to layer until the network says the same of
    everything. Raises `ValueError` for fewer than one layer or more than there are.
    """
    order = _layers(module, variables, image)
    count = len(order) if layers is None else layers
    if not 1 <= count <= len(order):
        raise ValueError(f"{layers} layers are to be randomised; the network has {len(order)}, give 1 to {len(order)}")
    chosen, fresh = set(order[len(order) - count :]), models.init(module, key, image)
    mixed = jax.tree_util.tree_map_with_path(
        lambda path, old, new: jnp.asarray(new) if _owner(path) in chosen else old, dict(variables), fresh
    )
    return {**mixed, **_statistics(module, frozenset(chosen), mixed, image)} if "batch_stats" in mixed else mixed


def _layers(module: nn.Module, variables: Variables, image: Any) -> list[str]:
    """The paths of the submodules that own variables, in the order in which they are last applied."""
    order: dict[str, None] = {}

    def record(call: Any, args: Any, kwargs: Any, context: InterceptorContext) -> Any:
        if context.method_name == "__call__":
            path = "/".join(context.module.path)
            order.pop(path, None)
            order[path] = None
        return call(*args, **kwargs)

    with nn.intercept_methods(record):
        jax.eval_shape(module.apply, variables, image)
    owners = {_owner(path) for path, _ in jax.tree_util.tree_leaves_with_path(variables)}
    return [path for path in order if path in owners]


def _owner(path: tuple[Any, ...]) -> str:
    """The path of the submodule that a leaf of variables belongs to: all but its collection and its own name."""
    return "/".join(str(entry.key) for entry in path[1:-1])


@functools.partial(jax.jit, static_argnums=(0, 1))
def _statistics(module: nn.Module, layers: frozenset[str], variables: Variables, image: Any) -> Variables:
    """{"batch_stats"} in which BatchNorm in `layers` has the mean and variance of what `image` gives it."""

    def measure(call: Any, args: Any, kwargs: Any, context: InterceptorContext) -> Any:
        layer = context.module
        if isinstance(layer, BatchNorm) and context.method_name == "__call__" and "/".join(layer.path) in layers:
            for name, moment in (("mean", jnp.mean), ("var", jnp.var)):
                dtype = layer.get_variable("batch_stats", name).dtype
                layer.put_variable("batch_stats", name, moment(args[0].astype(dtype), (0, 1, 2)))
        return call(*args, **kwargs)

    with nn.intercept_methods(measure):
        _, statistics = module.apply(variables, image, mutable=["batch_stats"])
    return dict(statistics)


def _varies(values: np.ndarray) -> bool:
    return bool(np.isfinite(values).all() and np.ptp(values) > 0)
