"""RadImageNet's `.pt` files with fabricated weights, under the names that its networks had in torch."""

import json
import re
from pathlib import Path

import numpy as np
from keras_layouts import FABRICATE, GOLDEN

from benchmarks.torch_zip import write_torch_zip

NAMES = json.loads((GOLDEN / "names_radimagenet.json").read_text())


SMALL = {"stage_sizes": (1, 1, 1, 1), "width": 4}


def tensors(network: str) -> dict[str, np.ndarray]:
    """The state_dict of a published file; the weights are those of torchvision's names."""
    return {published: _tensor(name, tuple(shape)) for published, name, shape in NAMES[network]}


def small_resnet50() -> dict[str, np.ndarray]:
    """The state_dict of a ResNet of a sixteenth of the width and one block a stage, which `SMALL` builds."""
    kept = [(key, name, shape) for key, name, shape in NAMES["resnet50"] if not re.match(r"layer\d\.[1-9]", name)]
    return {key: _tensor(name, tuple(n // 16 if n >= 64 else n for n in shape)) for key, name, shape in kept}


def write_radimagenet(path: Path, network: str) -> None:
    write_torch_zip(path, tensors(network))


def _tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    return FABRICATE["array"](name, shape)
