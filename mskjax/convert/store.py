"""Variables in one safetensors file, each leaf under its path, as in `params/backbone/conv1/kernel`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from mskjax.files import atomic_path
from mskjax.types import Variables


def save_variables(path: str | Path, variables: Variables, metadata: Mapping[str, str] | None = None) -> None:
    """Writes variables, a tree of arrays, and text that says what they are, whole or not at all."""
    leaves = flatten_dict(variables, sep="/")
    # safetensors writes the bytes as they lie in memory, so that an array must lie there in order.
    arrays = {name: np.asarray(leaf, order="C") for name, leaf in leaves.items()}
    with atomic_path(path) as written:
        save_tensors(written, arrays, dict(metadata or {}))


def save_tensors(path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Writes tensors and text to a new file, which may be read by whom the user's other new files may be read by."""
    path.touch()
    mode = path.stat().st_mode
    save_file(dict(tensors), path, dict(metadata))
    path.chmod(mode)  # safetensors has its files be the user's alone


def load_variables(path: str | Path) -> tuple[Variables, dict[str, str]]:
    """The variables, as numpy arrays, and the metadata of a file that `save_variables` wrote.

    Raises `ValueError` for a file that is cut short, is no safetensors, or holds tensors under other names.
    """
    tensors, metadata = read_safetensors(path)
    if not holds_variables(tensors):
        raise ValueError(f"{path} holds no variables of mskjax; convert it with launch.convert first")
    return unflatten_dict(tensors, sep="/"), metadata


def read_safetensors(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """All tensors of a safetensors file by name, and its metadata."""
    with _opened(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


def load_shapes(path: str | Path) -> Variables:
    """The shapes of the variables in a file, whose `shape` alone is told; nothing else is read."""
    with _opened(path) as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    return unflatten_dict({name: jax.ShapeDtypeStruct(shape, np.float32) for name, shape in shapes.items()}, sep="/")


def read_metadata(path: str | Path) -> dict[str, str]:
    """The metadata alone, of a safetensors file of any size."""
    with _opened(path) as file:
        return file.metadata() or {}


@contextmanager
def _opened(path: str | Path) -> Iterator[Any]:
    if Path(path).is_dir():
        raise ValueError(f"{path} is a folder; name the safetensors file in it")
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except SafetensorError as error:
        raise ValueError(f"{path} is cut short or no safetensors file ({error}); copy or convert it again") from error


def holds_variables(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether the names are leaves of Flax variables: parameters, and what else a network or a task keeps."""
    return any(name.startswith("params/") for name in tensors)
