"""What is learned: each task is a frozen dataclass of a network, its loss and its evaluation; `build` makes one.

Every task has `init(key, batch)`, `loss(params, model_state, batch, key)`, `post_update(params, model_state, step)`,
`evaluate(params, model_state, batch)` and the regexes `freeze`.
"""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import jax.numpy as jnp

from mskjax import models
from mskjax.data.augment import Augmentation
from mskjax.models.jigsaw import JigsawResNet
from mskjax.tasks.jigsaw import Jigsaw
from mskjax.tasks.reconstruction import Reconstruction
from mskjax.tasks.segmentation import Segmentation

TASKS = {"segmentation": Segmentation, "reconstruction": Reconstruction, "jigsaw": Jigsaw}
DTYPES = ("float32", "bfloat16", "float64")


def build(config: Mapping[str, Any]) -> Any:
    """The task that `config` describes: its "name", "model", "augmentation", "freeze" and the task's own fields.

    Raises `ValueError` for a name, a field or a value that it does not know.
    """
    fields = dict(config)
    name = fields.pop("name")
    if name not in TASKS:
        raise ValueError(f"task {name!r} is unknown; choose one of {', '.join(TASKS)}")
    known = {field.name for field in dataclasses.fields(TASKS[name])} - {"module"} | {"model"}
    _check_fields(f"task {name}", fields, known)
    _check_fields("augmentation", fields["augmentation"], {field.name for field in dataclasses.fields(Augmentation)})
    augmentation = Augmentation(**fields.pop("augmentation"))
    freeze = tuple(fields.pop("freeze"))
    model = fields.pop("model")
    module: Any = build_module(model)
    if (name == "jigsaw") != isinstance(module, JigsawResNet):
        raise ValueError(f"task {name} does not take the network {model['name']}; jigsaw_resnet101 belongs to jigsaw")
    return TASKS[name](module=module, augmentation=augmentation, freeze=freeze, **fields)


def build_module(config: Mapping[str, Any]) -> Any:
    """The network of a config, whose type is a word and whose lists, once through JSON, are tuples again."""
    options: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in config.items()}
    dtype = options.pop("dtype", "float32")
    if dtype not in DTYPES:
        raise ValueError(f"dtype {dtype!r} is not supported; choose one of {', '.join(DTYPES)}")
    return models.build(**options, dtype=jnp.dtype(dtype))


def _check_fields(what: str, given: Mapping[str, Any], known: Collection[str]) -> None:
    if unknown := sorted(set(given) - set(known)):
        raise ValueError(f"{what} has no field {', '.join(unknown)}; its fields are {', '.join(sorted(known))}")
