"""What is learned: each task is a frozen dataclass of a network, its loss and its evaluation; `build` makes one.

Every task has `init(key, batch)`, `loss(params, model_state, batch, key)`, `evaluate(params, model_state, batch)`, the
regexes `freeze` and what `Task` has. `check_dataset` and `check_volumes` say whether a dataset serves a task.
"""

import dataclasses
import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from absl import logging

from mskjax import models
from mskjax.data.augment import Augmentation
from mskjax.data.crops import VIEWS
from mskjax.data.dataset import Dataset, require_hu, require_masks
from mskjax.data.volume_augment import VolumeAugmentation
from mskjax.data.volume_folder import Volumes
from mskjax.models import policies
from mskjax.models.jigsaw import JigsawResNet
from mskjax.models.options import KERAS, VARIANTS
from mskjax.models.smit import SMITEncoder, SMITPretrainer
from mskjax.models.unetr import SMITSegmenter
from mskjax.tasks.classification import BALANCED, Classification, class_weights
from mskjax.tasks.jigsaw import Jigsaw
from mskjax.tasks.reconstruction import Reconstruction
from mskjax.tasks.segmentation import Segmentation
from mskjax.tasks.self_distillation import SelfDistillation
from mskjax.tasks.volume_segmentation import VolumeSegmentation

TASKS = {
    "segmentation": Segmentation,
    "reconstruction": Reconstruction,
    "jigsaw": Jigsaw,
    "classification": Classification,
    "self_distillation": SelfDistillation,
    "volume_segmentation": VolumeSegmentation,
}
# The tasks that take one network alone, which no other task takes.
_OWN = {
    "jigsaw": ("jigsaw_resnet101", JigsawResNet),
    "self_distillation": ("smit_pretrainer", SMITPretrainer),
    "volume_segmentation": ("smit_segmenter", SMITSegmenter),
}
DTYPES = ("float32", "bfloat16", "float64")
_FILLED_IN = ("module", "network", "variant")  # from the fields of "model"


def build(config: Mapping[str, Any]) -> Any:
    """The task that `config` describes: its "name", "model", "augmentation", "freeze" and the task's own fields.

    In the place of "freeze" may stand "policy", as `policies.frozen` takes it. Raises `ValueError` for a name, a field
    or a value that it does not know.
    """
    fields: dict[str, Any] = {
        field: tuple(value) if isinstance(value, list) else value for field, value in config.items()
    }
    name = fields.pop("name")
    if name not in TASKS:
        raise ValueError(f"task {name!r} is unknown; choose one of {', '.join(TASKS)}")
    known = {field.name for field in dataclasses.fields(TASKS[name])} - set(_FILLED_IN) | {"model", "policy"}
    _check_fields(f"task {name}", fields, known)
    if "augmentation" in known:
        fields["augmentation"] = _augmentation(name, fields["augmentation"])
    model = fields.pop("model")
    module: Any = build_module(model)
    freeze = _freeze(fields, module)
    _check_network(name, model["name"], module)
    if name == "classification":
        if any(isinstance(weight, str) for weight in fields.get("class_weights", ())):
            raise ValueError(
                f"class_weights {fields['class_weights']} are no numbers; give one above 0 for each class, "
                f"or {BALANCED}, in the config of a run or a study"
            )
        variant = model.get("variant", VARIANTS.get(model["name"], (KERAS,))[0])
        fields.update(network=model["name"], variant=variant)
    return TASKS[name](module=module, freeze=freeze, **fields)


def examples(task: Any, count: int, side: int) -> dict[str, jax.ShapeDtypeStruct]:
    """The shapes and types of so many examples of a task, whose slices or crops have this side."""
    if isinstance(task, SelfDistillation):
        shapes = {"image_hu": ((VIEWS, side, side, side), "int16")}
    elif isinstance(task, VolumeSegmentation):
        cube = (side, side, side)
        shapes = {"image_hu": (cube, "int16"), "label": (cube, "uint8"), "spacing_mm": ((3,), "float32")}
    else:
        square = (side, side)
        shapes = {"image_hu": (square, "int16"), "mask": (square, "uint8")}
        shapes |= {"spacing_mm": ((2,), "float32"), "label": ((), "int32")}
    return {name: jax.ShapeDtypeStruct((count, *shape), dtype) for name, (shape, dtype) in shapes.items()}


def sees_volumes(config: Mapping[str, Any]) -> bool:
    """Whether the task that `config` describes learns from volumes, and not from slices."""
    return TASKS.get(config["name"]) in (SelfDistillation, VolumeSegmentation)


def is_unlabelled(config: Mapping[str, Any]) -> bool:
    """Whether the task that `config` describes learns from volumes without masks."""
    return TASKS.get(config["name"]) is SelfDistillation


def scheduled(config: Mapping[str, Any], steps_per_epoch: int, epochs: int) -> dict[str, Any]:
    """A task's config with the length of the training, where the task depends on it; others as they are."""
    if not is_unlabelled(config):
        return dict(config)
    return {**config, "steps_per_epoch": steps_per_epoch, "epochs": epochs}


def check_dataset(config: Mapping[str, Any], dataset: Dataset) -> None:
    """Raises `ValueError` where the task that `config` describes cannot be learned from a dataset."""
    task = build(config)
    if isinstance(task, Classification):
        task.check(dataset)
        return
    require_hu(dataset, f"task {config['name']}")
    if isinstance(task, Segmentation):
        require_masks(dataset, f"task {config['name']}")


def check_volumes(config: Mapping[str, Any], volumes: Volumes, rows: Sequence[int]) -> None:
    """Raises `ValueError` where the task that `config` describes cannot be learned from the volumes at `rows`."""
    labelled = volumes.labelled
    bare = [row for row in rows if not labelled[row]]
    if bare and not is_unlabelled(config):
        raise ValueError(
            f"task {config['name']} needs a mask of every scan, and {len(bare)} of {len(rows)} have none, such as case "
            f"{volumes.cases['case_id'].iloc[bare[0]]}; prepare the dataset with their masks, or without these scans"
        )


def limits_hu(task: Any) -> tuple[float, float] | None:
    """The HU to which a task's slices are cut before they are resampled; None where they are left as they are."""
    return task.limits_hu if isinstance(task, Classification) else None


def is_balanced(config: Mapping[str, Any]) -> bool:
    """Whether a task's config has the word "balanced" for class_weights, which a flag turns into a tuple of it."""
    return config.get("class_weights") in (BALANCED, [BALANCED], (BALANCED,))


def balanced(config: Mapping[str, Any], counts: Sequence[int]) -> dict[str, Any]:
    """A task's config with numbers for "balanced", by how many cases of each class train; others as they are."""
    return {**config, "class_weights": list(class_weights(counts))} if is_balanced(config) else dict(config)


def say_policy(config: Mapping[str, Any]) -> None:
    """Logs which layers learn in the task that `config` describes, where its policy is that of the last ten."""
    if config.get("policy") == "unfreezetop10":
        told = f"{config['model']['name']}, unfreezetop10: beside the head, these layers learn (* those with weights)"
        _say(f"{told}: {policies.describe(build_module(config['model']))}")


def build_module(config: Mapping[str, Any]) -> Any:
    """The network of a config, whose type is a word and whose lists, once through JSON, are tuples again."""
    options: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in config.items()}
    dtype = options.pop("dtype", "float32")
    if dtype not in DTYPES:
        raise ValueError(f"dtype {dtype!r} is not supported; choose one of {', '.join(DTYPES)}")
    return models.build(**options, dtype=jnp.dtype(dtype))


def _augmentation(name: str, given: Mapping[str, Any]) -> Augmentation | VolumeAugmentation:
    kind = VolumeAugmentation if name == "volume_segmentation" else Augmentation
    _check_fields("augmentation", given, {field.name for field in dataclasses.fields(kind)})
    return kind(**given)


def _check_network(name: str, network: str, module: nn.Module) -> None:
    """Raises `ValueError` for a network of another task, or that sees volumes where the task has slices."""
    own, kind = _OWN.get(name, ("", nn.Module))
    if own and not isinstance(module, kind):
        raise ValueError(f"task {name} does not take the network {network}; {own} belongs to {name}")
    if not own and isinstance(module, SMITEncoder | SMITPretrainer | SMITSegmenter):
        raise ValueError(f"task {name} does not take the network {network}, which sees volumes and no slices")
    if not own and isinstance(module, JigsawResNet):
        raise ValueError(f"task {name} does not take the network {network}; jigsaw_resnet101 belongs to jigsaw")


def _freeze(fields: dict[str, Any], module: nn.Module) -> tuple[str, ...]:
    """The regexes of what is frozen, from "freeze" or "policy", of which one must be among the fields; takes it out."""
    if ("freeze" in fields) == ("policy" in fields):
        raise ValueError("a task has either freeze, regexes, or policy, a word or regexes; name one of the two")
    if "freeze" in fields:
        return tuple(fields.pop("freeze"))
    return policies.frozen(module, fields.pop("policy"))


@functools.cache  # once, however many cells of a study begin
def _say(sentence: str) -> None:
    logging.info("%s", sentence)


def _check_fields(what: str, given: Mapping[str, Any], known: Collection[str]) -> None:
    if unknown := sorted(set(given) - set(known)):
        raise ValueError(f"{what} has no field {', '.join(unknown)}; its fields are {', '.join(sorted(known))}")
