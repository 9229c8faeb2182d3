"""Keras's four kinds of weight files, written with h5py as tests/golden/keras says that Keras writes them."""

import json
import re
import runpy
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

GOLDEN = Path(__file__).parents[1] / "golden" / "keras"
FABRICATE = runpy.run_path(str(GOLDEN / "fabricate.py"))
LAYOUTS = {generation: json.loads((GOLDEN / f"layouts_keras{generation}.json").read_text()) for generation in (2, 3)}
NETWORKS = ("densenet121", "keras_resnet50", "inception_v3", "inception_resnet_v2")
Only = Callable[[list], list]
Make = Callable[[str, tuple[int, ...]], np.ndarray]
SMALL = {"stage_sizes": (1, 1, 1, 1), "width": 4}


def weights(network: str, make: Make) -> dict[str, np.ndarray]:
    """All weights of a network by "<layer>/<weight>", layers named as in Keras 3 and numbered from 0."""
    layout = LAYOUTS[3][network]
    return {
        name: make(name, tuple(shape))
        for layer, _, listed in layout["layers"]
        for weight, shape in listed.items()
        for name in [f"{FABRICATE['true_name'](layer, layout['first'])}/{weight}"]
    }


def tiny(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A small array of the same rank that no other weight has."""
    return FABRICATE["array"](name, tuple(min(length, 3) for length in shape))


def small(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A weight of ResNet50 at a sixteenth of the width, which `SMALL` builds of the layers that `few` leaves."""
    return FABRICATE["array"](name, tuple(length // 16 if length >= 64 else length for length in shape))


def few(layers: list) -> list:
    """The layers of one block a stage."""
    return [layer for layer in layers if not re.match(r"conv\d_block([2-9]|\d\d)", layer[0])]


def keras2_full(path: Path, network: str, make: Make = FABRICATE["array"], only: Only = list) -> None:
    with h5py.File(path, "w") as file:
        file.attrs.update({"backend": b"tensorflow", "keras_version": b"2.15.0", "model_config": b"{}"})
        _tree(file.create_group("model_weights"), LAYOUTS[2][network], make, only)


def keras2_weights(path: Path, network: str, make: Make = FABRICATE["array"], only: Only = list) -> None:
    with h5py.File(path, "w") as file:
        _tree(file, LAYOUTS[2][network], make, only)


def keras3_full(path: Path, network: str, make: Make = FABRICATE["array"], only: Only = list) -> None:
    with h5py.File(path, "w") as file:
        file.attrs.update({"backend": "jax", "keras_version": "3.15.1", "model_config": "{}"})
        _tree(file.create_group("model_weights"), LAYOUTS[3][network], make, only)


def keras3_weights(path: Path, network: str, make: Make = FABRICATE["array"], only: Only = list) -> None:
    layout = LAYOUTS[3][network]
    with h5py.File(path, "w") as file:
        file.create_group("vars").attrs["name"] = network
        for layer, group, listed in only(layout["layers"]):
            variables = file.create_group(f"layers/{group}/vars")
            variables.attrs["name"] = layer
            true = FABRICATE["true_name"](layer, layout["first"])
            for index, (weight, shape) in enumerate(listed.items()):
                variables[str(index)] = make(f"{true}/{weight}", tuple(shape))


WRITERS = {f.__name__: f for f in (keras2_full, keras2_weights, keras3_full, keras3_weights)}


def _tree(root: h5py.Group, layout: dict, make: Make, only: Only) -> None:
    layers = only(layout["layers"])
    root.attrs["layer_names"] = [layer for layer, _, _ in layers]
    root.create_group("top_level_model_weights").attrs["weight_names"] = np.zeros(0)
    for layer, _, listed in layers:
        group = root.create_group(layer)
        group.attrs["weight_names"] = [f"{layer}/{weight}" for weight in listed] or np.zeros(0)
        true = FABRICATE["true_name"](layer, layout["first"])
        for weight, shape in listed.items():
            group[f"{layer}/{weight}"] = make(f"{true}/{weight.partition(':')[0]}", tuple(shape))
