"""Reading Keras's weight files, `.h5` of Keras 2 and 3, with h5py and without Keras: arrays by layers' true names.

Four layouts. A full model of either generation keeps a tree of layers under `model_weights`; the weights alone, as
Keras 2 saves them, are the same tree at the root. Keras 3's `.weights.h5` has `layers/<class>_<n>/vars/<k>`, where n
counts in another order than the layers' names do, so that only an attribute tells which layer a group is. No link is
followed out of its group, and nothing but plain stored arrays is read.
"""

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5l  # pyright: ignore[reportAttributeAccessIssue]  # compiled, without a stub

from mskjax.convert.pickles import Refused

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
NUMBERED = re.compile(r"(conv2d|batch_normalization)(?:_(\d+))?")
_ITEM_BYTES = (2, 4, 8)
_STORED = (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT)
_WEIGHTS = {
    ("conv2d", 1): ("kernel",),
    ("conv2d", 2): ("kernel", "bias"),
    ("dense", 1): ("kernel",),
    ("dense", 2): ("kernel", "bias"),
    # Of three the scale is the absent one, as in both Inceptions: no network of Keras's leaves out the shift.
    ("batch_normalization", 3): ("beta", "moving_mean", "moving_variance"),
    ("batch_normalization", 4): ("gamma", "beta", "moving_mean", "moving_variance"),
}
_DAMAGE = (KeyError, MemoryError, OSError, OverflowError, RuntimeError, TypeError, ValueError)


def is_hdf5(path: str | Path) -> bool:
    """Whether the file begins as HDF5 files do; `OSError` where it cannot be read."""
    with Path(path).open("rb") as file:
        return file.read(len(HDF5_MAGIC)) == HDF5_MAGIC


def read_keras(path: str | Path) -> dict[str, np.ndarray]:
    """The weights of a Keras file as "<layer>/<weight>", as in "conv2_block1_1_bn/gamma", in the file's order.

    Layers have Keras 3's names ("conv1_conv" for Keras 2's "conv1/conv"). Those that Keras numbered, at whatever its
    session's count was, begin at 0 for each class: "conv2d_0", "batch_normalization_0". Weights are kernel, bias,
    gamma, beta, moving_mean and moving_variance, in the shapes that Keras gives them. Raises `ValueError` with the
    file's name for a file that is cut short or no Keras file, that lists other layers or weights than it holds, or
    whose arrays are links, packed, stored elsewhere, larger than the file or no floating point numbers, and `OSError`
    where there is none.
    """
    if not is_hdf5(path):
        raise ValueError(f"{path} is no HDF5 file, as Keras's .h5 are; give the published one")
    try:
        with h5py.File(path, "r") as file:
            found = _once(_numbered(file) if "layers" in set(file) else _tree(file))
            _check(found, Path(path).stat().st_size)
            return {name: _native(dataset[()]) for name, dataset in found.items()}
    except Refused as error:
        raise ValueError(f"{path} {error}") from error
    except _DAMAGE as error:
        raise ValueError(f"{path} is cut short or damaged ({error}); copy or download it again") from error


def _tree(file: h5py.File) -> Iterator[tuple[str, Any]]:
    """(layer/weight, dataset) of a tree of layers, whose attributes list what it holds."""
    root = _at(file, "model_weights") if "model_weights" in set(file) else file
    layers = _texts(root, "layer_names")
    _refuse_unlisted("", set(root), {layer.partition("/")[0] for layer in layers} | {"top_level_model_weights"})
    for layer in layers:
        group = _at(root, layer)
        weights = _texts(group, "weight_names")
        for parent, names in itertools.groupby(sorted(weights), lambda weight: weight.rpartition("/")[0]):
            _refuse_unlisted(f"{layer}/", set(_at(group, parent)), {name.rpartition("/")[2] for name in names})
        for weight in weights:
            yield f"{layer}/{weight.rpartition('/')[2].partition(':')[0]}", _at(group, weight)


def _numbered(file: h5py.File) -> Iterator[tuple[str, Any]]:
    """(layer/weight, dataset) of Keras 3's `.weights.h5`."""
    if "vars" in set(file) and (not isinstance(own := _at(file, "vars"), h5py.Group) or len(own)):
        raise Refused("holds weights of the model itself in 'vars', outside its layers, as no network here has")
    layers = _at(file, "layers")
    for name in layers:
        group = _at(layers, name)
        if set(group) != {"vars"}:
            raise Refused(f"nests other layers in {name!r:.100}; save the weights of the inner model alone")
        variables = _at(group, "vars")
        if not (count := len(variables)):
            continue
        known = (re.sub(r"_\d+$", "", name), count)
        if known not in _WEIGHTS:
            raise Refused(f"holds {name!r:.100} with {count} weights, a layer that no network here has")
        for index, weight in enumerate(_WEIGHTS[known]):
            yield f"{_layer_of(variables)}/{weight}", _at(variables, str(index))


def _layer_of(variables: h5py.Group) -> str:
    name = variables.attrs.get("name")
    if not isinstance(name, str):
        raise Refused(
            f"does not name the layer of {variables.name!r:.100}, as older Keras does not in .weights.h5; "
            "load it there and save the whole model as .h5"
        )
    return name


def _once(weights: Iterator[tuple[str, Any]]) -> dict[str, Any]:
    """The datasets by "layer/weight", each name only once, with Keras 3's names and numbers from 0."""
    found = list(weights)
    if not found:
        raise Refused("holds no weights; save the trained network's")
    layers = {layer: layer.replace("/", "_") for layer in (name.rpartition("/")[0] for name, _ in found)}
    numbers = [(match[1], int(match[2] or 0)) for layer in layers if (match := NUMBERED.fullmatch(layer))]
    first = {kind: min(number for other, number in numbers if other == kind) for kind, _ in numbers}
    for layer in layers:
        if match := NUMBERED.fullmatch(layer):
            layers[layer] = f"{match[1]}_{int(match[2] or 0) - first[match[1]]}"
    names = [f"{layers[layer]}/{weight}" for layer, _, weight in (name.rpartition("/") for name, _ in found)]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise Refused(f"holds {twice[0]!r:.200} twice; of a model within a model, save the inner one alone")
    return dict(zip(names, (dataset for _, dataset in found), strict=True))


def _at(group: h5py.Group, path: str) -> Any:
    """What lies at a path below a group, through hard links alone, which cannot leave the file."""
    found: Any = group
    for part in filter(None, path.split("/")):
        if not isinstance(found, h5py.Group) or not found.id.links.exists(part.encode()):
            raise Refused(f"lacks {path!r:.200} in {group.name!r:.100}, where its own lists have it; save it again")
        if found.id.links.get_info(part.encode()).type != h5l.TYPE_HARD:
            raise Refused(f"has a link in place of {path!r:.200}, which Keras never writes; save it without links")
        found = found[part]
    return found


def _texts(group: Any, attribute: str) -> list[str]:
    """The text of an attribute, which Keras cuts into several, `<attribute>0` and so on, when it is long."""
    if not isinstance(group, h5py.Group):
        raise Refused(f"has an array at {group.name!r:.100}, where a layer belongs; it is no Keras file")
    parts = itertools.takewhile(group.attrs.__contains__, (f"{attribute}{k}" for k in itertools.count()))
    present = [attribute] if attribute in group.attrs else list(parts)
    if not present:
        raise Refused(f"has no attribute {attribute} in {group.name!r:.100}, so Keras did not write it")
    attributes: Any = [group.attrs[name] for name in present]
    values = itertools.chain.from_iterable(np.ravel(value).tolist() for value in attributes)
    texts = [value.decode() if isinstance(value, bytes) else value for value in values]
    if not all(isinstance(text, str) and text for text in texts):
        raise Refused(f"has no names in the attribute {attribute} of {group.name!r:.100}, so Keras did not write it")
    return texts


def _refuse_unlisted(place: str, held: set[str], listed: set[str]) -> None:
    if unlisted := sorted(held - listed):
        names = ", ".join(f"{place}{name}"[:200] for name in unlisted)
        raise Refused(f"holds {names}, which its own lists leave out; save it again")


def _check(found: dict[str, Any], file_bytes: int) -> None:
    """Refuses datasets that are no plain arrays within the file, before anything of them is read."""
    declared = 0
    for name, dataset in found.items():
        if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
            raise Refused(f"has no array at {name!r:.200}; save it again")
        plan = dataset.id.get_create_plist()
        if plan.get_layout() not in _STORED or plan.get_external_count():
            raise Refused(f"keeps {name!r:.200} packed, virtual or elsewhere, as Keras does not; save it again")
        if dataset.dtype.kind != "f" or dataset.dtype.itemsize not in _ITEM_BYTES:
            raise Refused(f"holds {dataset.dtype} in {name!r:.200} where floating point numbers belong")
        size = math.prod(dataset.shape) * dataset.dtype.itemsize
        declared += size
        if dataset.id.get_storage_size() != size or declared > file_bytes:
            raise Refused(f"declares {list(dataset.shape)} for {name!r:.200}, more than it holds; copy it again")


def _native(array: Any) -> np.ndarray:
    """The array in this machine's order of bytes."""
    return np.asarray(array, array.dtype.newbyteorder("="))
