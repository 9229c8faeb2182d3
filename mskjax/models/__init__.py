"""Networks in flax.linen: `build` makes one by name, `init` its fresh variables."""

import dataclasses
import functools
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mskjax.models.fcn import FCN
from mskjax.models.layers import BatchNorm
from mskjax.models.resnet import ResNet
from mskjax.types import Key, Variables

NETWORKS = {
    "resnet50": functools.partial(ResNet, stage_sizes=(3, 4, 6, 3)),
    "resnet101": functools.partial(ResNet, stage_sizes=(3, 4, 23, 3)),
    "fcn_resnet101": functools.partial(FCN, stage_sizes=(3, 4, 23, 3)),
}


def build(name: str, **options: Any) -> nn.Module:
    """The network of a name; options are the fields of its class."""
    if name not in NETWORKS:
        raise ValueError(f"network {name!r} is unknown; choose one of {', '.join(NETWORKS)}")
    known = [f.name for f in dataclasses.fields(NETWORKS[name].func) if f.name not in ("parent", "name")]
    if unknown := set(options) - set(known):
        raise ValueError(f"{name} has no option {', '.join(sorted(unknown))}; its options are {', '.join(known)}")
    return NETWORKS[name](**options)


def init(module: nn.Module, key: Key, image: Any) -> Variables:
    """Fresh variables, {"params", "batch_stats"}; nothing is compiled. `image`: an array or its ShapeDtypeStruct."""
    return module.lazy_init(key, jax.ShapeDtypeStruct(image.shape, jnp.float32))


def abstract(module: nn.Module) -> Variables:
    """The variables' shapes and types as `jax.ShapeDtypeStruct`."""
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    return jax.eval_shape(module.init, jax.random.key(0), image)


@contextmanager
def freeze_batch_norm(patterns: Iterable[str]) -> Iterator[None]:
    """Under it, BatchNorm whose path matches a pattern uses and keeps its running statistics in training too."""
    matches = [re.compile(pattern).fullmatch for pattern in patterns]

    def interceptor(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        if isinstance(context.module, BatchNorm) and context.method_name == "__call__":
            path = "/".join(context.module.path)
            if any(match(path) or match(f"{path}/scale") for match in matches):
                kwargs = {**kwargs, "train": False}
        return call(*args, **kwargs)

    with nn.intercept_methods(interceptor):
        yield
