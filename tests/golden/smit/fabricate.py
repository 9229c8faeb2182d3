"""Weights, volumes and masks that follow from names, for golden files that hold no weights; numpy alone."""

import json
import zlib
from pathlib import Path

import numpy as np

SIDE = 32
NAMES = Path(__file__).with_name("names.json")


def _generator(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))


def array(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The array that belongs to a name, for a weight one of useful size; counts and indices are 0."""
    if name.endswith(("relative_position_index", "num_batches_tracked")):
        return np.zeros(shape, np.int64)
    z = _generator(name).standard_normal(shape, dtype=np.float32)
    if name.endswith("weight_g"):
        return np.ones(shape, np.float32)
    if name.endswith("running_var"):
        return np.exp(np.float32(0.3) * z)
    if name.endswith("relative_position_bias_table"):
        return np.float32(0.3) * z
    if name.endswith("mask_token"):
        return np.float32(0.5) * z
    if len(shape) == 1:
        return 1 + np.float32(0.2) * z if name.endswith("weight") else np.float32(0.1) * z
    return z / np.float32(np.sqrt(np.prod(shape[1:])))


def tensors(network: str, prefix: str = "") -> dict[str, np.ndarray]:
    """All tensors of "segmenter" or "student" under the official names; `prefix` makes others of the same names."""
    shapes = json.loads(NAMES.read_text())[network]
    return {
        name: array(prefix + name.replace("last_layer2", "last_layer"), tuple(shape)) for name, shape in shapes.items()
    }


def volume(number: int) -> np.ndarray:
    """A volume [SIDE, SIDE, SIDE] in [0, 1] without symmetry."""
    first, second, third = np.meshgrid(*[np.linspace(-1, 1, SIDE, dtype=np.float32)] * 3, indexing="ij")
    wave = np.sin(4 * third + number) * np.cos(3 * second - number) * np.sin(5 * first + 2 * number)
    noise = _generator(f"volume{number}").standard_normal((SIDE,) * 3, dtype=np.float32)
    return np.clip(0.5 + 0.3 * wave + 0.1 * noise, 0, 1).astype(np.float32)


def mask(number: int) -> np.ndarray:
    """Five of the eight blocks of a volume, 1 where it is masked."""
    blocks = np.zeros(8, np.uint8)
    blocks[_generator(f"mask{number}").permutation(8)[:5]] = 1
    return blocks.reshape(2, 2, 2)
