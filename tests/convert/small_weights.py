"""torchvision's names and shapes at a sixteenth of the width, one block a stage, and a value of its own everywhere."""

import json
import re
from pathlib import Path

import numpy as np

SHAPES = json.loads((Path(__file__).parents[1] / "golden" / "torchvision_shapes.json").read_text())
OPTIONS = {"stage_sizes": (1, 1, 1, 1), "width": 4}


def small(model: str) -> dict[str, np.ndarray]:
    """The tensors of a small `model` that `OPTIONS` build."""
    names = [name for name in SHAPES[model] if not re.search(r"layer\d\.([1-9])", name)]
    tensors = {name: np.empty([_shrink(n) for n in SHAPES[model][name]], np.float32) for name in names}
    start = 1.0
    for name, array in tensors.items():
        array[...] = np.arange(start, start + array.size).reshape(array.shape)
        start += array.size
        if name.endswith("num_batches_tracked"):
            tensors[name] = array.astype(np.int64)
    return tensors


def _shrink(length: int) -> int:
    return length // 16 if length >= 64 and length != 1000 else length
