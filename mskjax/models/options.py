"""What a network's options may be, each refused in a sentence."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

DTYPES = ("float32", "bfloat16", "float64")
KERAS, TORCHVISION = "keras", "torchvision"
VARIANTS = {
    "resnet50": (TORCHVISION,),
    "resnet101": (TORCHVISION,),
    "densenet121": (KERAS, TORCHVISION),
    "inception_v3": (KERAS, TORCHVISION),
    "inception_resnet_v2": (KERAS,),
    "keras_resnet50": (KERAS,),
}
_NAMESAKES = {
    ("resnet50", KERAS): "keras_resnet50",
    ("resnet101", KERAS): "keras_resnet50",
    ("keras_resnet50", TORCHVISION): "resnet50",
}


def checked(name: str, network: type, options: dict[str, Any]) -> dict[str, Any]:
    """The options of `build`, with `stage_sizes` as a tuple and `dtype` as a dtype; `ValueError` names a bad one.

    The variant is left out where a network has one only, and no such field.
    """
    fields = [field.name for field in dataclasses.fields(network) if field.name not in ("parent", "name")]
    known = [*fields, *(["variant"] if name in VARIANTS and "variant" not in fields else [])]
    if unknown := sorted(set(options) - set(known)):
        raise ValueError(f"{name} has no option {', '.join(unknown)}; its options are {', '.join(known)}")
    for option, value in options.items():
        allowed, description = RULES[option]
        if not allowed(value):
            raise ValueError(f"{name} has {option}={value!r}; it must be {description}")
    if options.get("aux_head") and options.get("num_classes", 1) is None:
        raise ValueError(f"{name} has aux_head=True but num_classes=None, which leaves all heads out; name num_classes")
    if "variant" in options:
        _check_variant(name, options["variant"])
    converted = {"stage_sizes": tuple, "dropout": float, "drop_path": float, "dtype": jnp.dtype}
    return {option: converted.get(option, lambda same: same)(options[option]) for option in options if option in fields}


def _check_variant(name: str, variant: str) -> None:
    if variant in VARIANTS[name]:
        return
    instead = f"; {variant}'s ResNet is {_NAMESAKES[name, variant]}" if (name, variant) in _NAMESAKES else ""
    raise ValueError(f"{name} has variant={variant!r} but follows {VARIANTS[name][0]} alone{instead}")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _are_stages(value: Any) -> bool:
    return isinstance(value, Sequence) and len(value) == 4 and all(map(_is_count, value))


def _is_share(value: Any) -> bool:
    return isinstance(value, (int, float)) and 0 <= value < 1


def _is_dtype(value: Any) -> bool:
    try:
        name = jnp.dtype(value).name
    except TypeError:
        return False
    return name in DTYPES and (name != "float64" or jax.config.read("jax_enable_x64"))


RULES = {
    "num_classes": (lambda value: value is None or _is_count(value), "a positive whole number, or None for no head"),
    "aux_head": (lambda value: isinstance(value, bool), "True or False"),
    "stage_sizes": (_are_stages, "four positive whole numbers"),
    "width": (_is_count, "a positive whole number"),
    "hidden": (_is_count, "a positive whole number"),
    "dropout": (_is_share, "at least 0 and below 1"),
    "prototypes": (_is_count, "a positive whole number"),
    "shared_head": (lambda value: isinstance(value, bool), "True or False"),
    "drop_path": (_is_share, "at least 0 and below 1"),
    "joining": (lambda value: value in ("official", "inverse"), "'official' or 'inverse'"),
    "remat": (lambda value: isinstance(value, bool), "True or False"),
    "variant": (lambda value: value in (KERAS, TORCHVISION), f"{KERAS!r} or {TORCHVISION!r}"),
    "dtype": (_is_dtype, f"one of {', '.join(DTYPES)}, float64 only with jax_enable_x64"),
}
