"""Times the building of FCN-ResNet101 and the loading of its weights at full size (to stay under 5 s together).

A file as torchvision publishes it, random numbers in it, is written to a temporary folder first. The auxiliary head is
loaded as well, so that all 54,314,346 parameters are used.
"""

import json
import math
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

from benchmarks import common
from benchmarks.torch_zip import write_torch_zip
from mskjax import convert, models
from mskjax.convert.torch_files import read_torch

SHAPES = Path(__file__).parents[1] / "tests" / "golden" / "torchvision_shapes.json"
MODEL, OPTIONS = "fcn_resnet101", {"num_classes": 21, "aux_head": True}


def write_weights(path: Path) -> None:
    """Writes weights of torchvision's names and shapes as they are before training, except that all biases are 0."""
    rng = np.random.default_rng(0)
    shapes = json.loads(SHAPES.read_text())[MODEL]
    write_torch_zip(path, {name: fresh(rng, name, shape) for name, shape in shapes.items()})


def fresh(rng: np.random.Generator, name: str, shape: list[int]) -> np.ndarray:
    if len(shape) == 4:
        fan_out = math.prod(shape) // shape[1]
        return math.sqrt(2 / fan_out) * rng.standard_normal(shape, np.float32)
    return np.full(shape, name.endswith(("weight", "running_var")), np.float32)


def seconds(path: Path) -> dict[str, float | int]:
    start = time.perf_counter()
    models.build(MODEL, **OPTIONS)
    variables = jax.block_until_ready(convert.load_weights(path, MODEL, **OPTIONS))
    first = time.perf_counter() - start
    return {
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(variables["params"])),
        "build_and_load_s": round(first, 3),
        "build_and_load_again_s": round(common.measure(lambda: convert.load_weights(path, MODEL, **OPTIONS), 3), 3),
        "read_file_s": round(common.measure(lambda: read_torch(path), 3), 3),
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.pth"
        write_weights(weights)
        common.report("loading", file_mib=round(weights.stat().st_size / 2**20, 1), **seconds(weights))
