"""Networks in flax.linen: `build` makes one by name, `init` its fresh variables.

`module.apply(variables, image, train=False)` takes images that are already normalised, float32 [b, h, w, 3], the jigsaw
network their tiles, [b, 9, h, w, 3], and SMIT's networks volumes, [b, d, h, w, 1]. It returns a dict of named outputs,
among them every stage. Parameter trees are nested dicts; networks of one family hold the trunk under `backbone`, so
that its weights go from one into another by name.
"""

import functools
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mskjax.models.densenet import DenseNet
from mskjax.models.fcn import FCN
from mskjax.models.inception_resnet_v2 import InceptionResNetV2
from mskjax.models.inception_v3 import InceptionV3
from mskjax.models.initial import drawn_on_host
from mskjax.models.jigsaw import JigsawResNet
from mskjax.models.keras_resnet import KerasResNet
from mskjax.models.layers import BatchNorm
from mskjax.models.options import checked
from mskjax.models.resnet import ResNet
from mskjax.models.smit import SMITEncoder, SMITPretrainer
from mskjax.models.unetr import SMITSegmenter
from mskjax.types import Key, Variables

NETWORKS = {
    "resnet50": functools.partial(ResNet, stage_sizes=(3, 4, 6, 3)),
    "resnet101": functools.partial(ResNet, stage_sizes=(3, 4, 23, 3)),
    "fcn_resnet101": functools.partial(FCN, stage_sizes=(3, 4, 23, 3)),
    "jigsaw_resnet101": functools.partial(JigsawResNet, stage_sizes=(3, 4, 23, 3)),
    "densenet121": functools.partial(DenseNet, stage_sizes=(6, 12, 24, 16)),
    "keras_resnet50": functools.partial(KerasResNet, stage_sizes=(3, 4, 6, 3)),
    "inception_v3": functools.partial(InceptionV3),
    "inception_resnet_v2": functools.partial(InceptionResNetV2),
    "smit_encoder": functools.partial(SMITEncoder),
    "smit_segmenter": functools.partial(SMITSegmenter),
    "smit_pretrainer": functools.partial(SMITPretrainer),
}


def build(name: str, **options: Any) -> nn.Module:
    """The network `name` of `NETWORKS`, with the options of its source where none says otherwise.

    Options are the fields of its class: `num_classes` (None: no head), `aux_head` (segmenters), `stage_sizes` (four
    numbers of blocks), `width` (channels of the stem, growth of a DenseNet), `dropout` (segmenters' heads), `hidden`
    (units of the heads that pretexts have), `variant` ("keras" or "torchvision", of classifiers: whose form, where both
    have one), of SMIT's networks `drop_path`, `joining`, `remat`, `prototypes` and `shared_head`, and `dtype`, in which
    it computes: float32, bfloat16 or float64. Parameters, statistics and logits are float32, or float64 where `dtype`
    is. Raises `ValueError` for a name, an option or a value that it does not know.
    """
    if name not in NETWORKS:
        raise ValueError(f"network {name!r} is unknown; choose one of {', '.join(NETWORKS)}")
    return NETWORKS[name](**checked(name, NETWORKS[name].func, options))


def init(module: nn.Module, key: Key, image: Any) -> Variables:
    """Fresh variables {"params", "batch_stats"} for images like `image`, an array or a `jax.ShapeDtypeStruct`.

    They are numpy's, as all of them together may outgrow a device, and depend on `key` alone, whatever the backend and
    the number of devices. Random numbers and constants are drawn while the forward pass is traced, which is then
    dropped: nothing is compiled but what else a network may have.
    """
    leaves: list[Any] = []
    structure: Any = None

    def others() -> list[Array]:
        nonlocal leaves, structure
        leaves, structure = jax.tree.flatten(module.init(key, jnp.zeros(image.shape, jnp.float32)))
        return [leaf for leaf in leaves if not isinstance(leaf, np.ndarray)]

    with drawn_on_host(key):
        to_compute = jax.eval_shape(others)
    with drawn_on_host(key):
        computed = iter(jax.device_get(jax.jit(others)()) if to_compute else ())
    return jax.tree.unflatten(structure, [leaf if isinstance(leaf, np.ndarray) else next(computed) for leaf in leaves])


def abstract(module: nn.Module) -> Variables:
    """The variables' shapes and types, as `jax.ShapeDtypeStruct`; nothing is computed."""
    example = getattr(module, "EXAMPLE", (1, 256, 256, 3))
    return jax.eval_shape(lambda: module.init(jax.random.key(0), jnp.zeros(example, jnp.float32)))


@contextmanager
def freeze_batch_norm(patterns: Iterable[str]) -> Iterator[None]:
    """Under it, `apply(..., train=True)` leaves some BatchNorm layers as in evaluation: their statistics stay.

    Frozen are those of which a pattern, a regular expression, matches the whole path ("backbone/layer1_0/bn1") or that
    of the scale ("backbone/layer1_0/bn1/scale"; of the bias where there is no scale), so that the patterns that freeze
    parameters serve here too.
    """
    matches = [re.compile(pattern).fullmatch for pattern in patterns]

    def interceptor(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        if isinstance(context.module, BatchNorm) and context.method_name == "__call__":
            path = "/".join(context.module.path)
            parameter = f"{path}/{'scale' if context.module.use_scale else 'bias'}"
            if any(match(path) or match(parameter) for match in matches):
                kwargs = {**kwargs, "train": False}
        return call(*args, **kwargs)

    with nn.intercept_methods(interceptor):
        yield
