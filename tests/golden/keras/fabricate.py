"""Weights and images that follow from names, so that tests have those of the golden files without Keras or torch."""

import re
import zlib

import numpy as np

SIZES = {"square": (2, 224, 224, 3), "oblong": (1, 139, 182, 3)}
NUMBERED = re.compile(r"(conv2d|batch_normalization)(?:_(\d+))?")


def array(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The float32 array that belongs to a weight's name, of useful size in Keras's layout as in torch's."""
    z = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape, np.float32)
    if len(shape) > 1:
        inputs = np.prod(shape[:-1] if name.endswith("kernel") else shape[1:])
        return z * np.float32(np.sqrt(2 / inputs))
    if name.endswith(("moving_variance", "running_var")):
        return np.exp(np.float32(0.3) * z)
    return np.float32(0.1) * z + np.float32(name.endswith(("gamma", "weight")))


def image(size: str) -> np.ndarray:
    """Images [b, h, w, 3] of one of `SIZES`, as they enter a network."""
    shape = SIZES[size]
    return np.random.default_rng(zlib.crc32(size.encode())).uniform(-1, 1, shape).astype(np.float32)


def true_name(layer: str, first: int) -> str:
    """A layer's name as `array` takes it; layers that Keras numbered count from 0, in the file from `first`."""
    if match := NUMBERED.fullmatch(layer):
        return f"{match[1]}_{int(match[2] or 0) - first}"
    return layer.replace("/", "_")
