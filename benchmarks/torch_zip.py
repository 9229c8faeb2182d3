"""Writes arrays as torch's zip form of a state_dict, without torch: the test material of the loading benchmark."""

import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

STORAGES = {"float32": "FloatStorage", "int64": "LongStorage"}


def write_torch_zip(path: str | Path, tensors: Mapping[str, np.ndarray], entry: str = "") -> None:
    """Writes what `torch.save` writes for an OrderedDict of contiguous tensors, each with a storage of its own.

    With `entry`, the OrderedDict is that entry of a dictionary, as in a training checkpoint.
    """
    instructions = [_tensor(name, str(index), array) for index, (name, array) in enumerate(tensors.items())]
    ordered_dict = pickle.GLOBAL + b"collections\nOrderedDict\n" + pickle.EMPTY_TUPLE + pickle.REDUCE
    state_dict = [ordered_dict, pickle.MARK, *instructions, pickle.SETITEMS]
    if entry:
        state_dict = [pickle.EMPTY_DICT, _text(entry), *state_dict, pickle.SETITEM]
    program = [pickle.PROTO, b"\x02", *state_dict, pickle.STOP]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"".join(program))
        archive.writestr("archive/byteorder", "little")
        for index, array in enumerate(tensors.values()):
            archive.writestr(f"archive/data/{index}", np.asarray(array, order="C").tobytes())
        archive.writestr("archive/version", "3\n")


def _tensor(name: str, key: str, array: np.ndarray) -> bytes:
    """The instructions that push a name and its tensor."""
    storage = pickle.GLOBAL + f"torch\n{STORAGES[array.dtype.name]}\n".encode()
    identity = _tuple(_text("storage"), storage, _text(key), _text("cpu"), _number(array.size)) + pickle.BINPERSID
    shape = _tuple(*map(_number, array.shape))
    stride = _tuple(*(_number(step // array.itemsize) for step in array.strides))
    hooks = pickle.GLOBAL + b"collections\nOrderedDict\n" + pickle.EMPTY_TUPLE + pickle.REDUCE
    rebuild = pickle.GLOBAL + b"torch._utils\n_rebuild_tensor_v2\n"
    return _text(name) + rebuild + _tuple(identity, _number(0), shape, stride, pickle.NEWFALSE, hooks) + pickle.REDUCE


def _tuple(*items: bytes) -> bytes:
    return b"".join([pickle.MARK, *items, pickle.TUPLE])


def _text(text: str) -> bytes:
    return pickle.BINUNICODE + struct.pack("<I", len(text.encode())) + text.encode()


def _number(value: int) -> bytes:
    return pickle.BININT + struct.pack("<i", value)
