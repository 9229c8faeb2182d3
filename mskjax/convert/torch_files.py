"""Reading torch's weight files, `.pth` or `.pt`, without torch and without running anything they name.

Two forms: the zip archive of torch 1.6 and later (`data.pkl` beside one stored member a storage), and the older one, a
row of pickles with the storages behind them. Tensors become numpy arrays that share storages as they did in torch.
"""

import io
import mmap
import struct
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from mskjax.convert.pickles import Refused, unpickle

ZIP_MAGIC = b"PK\x03\x04"
_PICKLE_MAGIC = b"\x80"  # of every pickle since protocol 2, the oldest that torch writes
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_MAX_AXES = 64  # numpy's own
_DAMAGE = (
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
)


def read_torch(path: str | Path) -> Any:
    """What a torch file holds: tensors as numpy arrays within dicts, lists, tuples, numbers and text.

    Raises `ValueError` with the file's name for a file that is cut short, damaged or no torch file, that names anything
    but tensors and plain containers, or whose declared sizes, strides or offsets leave its own storages.
    """
    path = Path(path)
    with path.open("rb") as file:
        start = file.read(len(ZIP_MAGIC))
    try:
        return _read_zip(path) if start == ZIP_MAGIC else _read_legacy(path)
    except Refused as error:
        raise ValueError(f"{path} {error}") from error
    except _DAMAGE as error:
        if start and start != ZIP_MAGIC and not start.startswith(_PICKLE_MAGIC):
            raise ValueError(
                f"{path} is no weight file: it begins neither as torch's nor as Keras's nor as safetensors; "
                "give the published one"
            ) from error
        raise ValueError(
            f"{path} is cut short, damaged or no weight file ({error}); copy or download it again"
        ) from error


def _read_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        root = _root(names)
        _check_members(archive, path.stat().st_size)
        if f"{root}/byteorder" in names and archive.read(f"{root}/byteorder") != b"little":
            raise Refused("holds big-endian numbers; save it again on a little-endian machine")
        members: dict[str, bytes] = {}

        def storage(identity: Any) -> np.ndarray:
            dtype, key, count = _storage(identity, length=5)
            if (member := f"{root}/data/{key}") not in names:
                raise Refused(f"lacks the storage {key[:100]} that a tensor refers to")
            if key not in members:
                members[key] = archive.read(member)
            if len(members[key]) != count * dtype.itemsize:
                raise Refused(f"declares {count} x {dtype} for storage {key}, which has {len(members[key])} bytes")
            return np.ndarray(count, dtype, members[key])

        return unpickle(io.BytesIO(archive.read(f"{root}/data.pkl")), _ALLOWED, storage)


def _check_members(archive: zipfile.ZipFile, size: int) -> None:
    """Refuses what could unpack to more than the file: compression, and members that overlap."""
    if packed := [m.filename for m in archive.infolist() if m.compress_type != zipfile.ZIP_STORED]:
        raise Refused(f"is a compressed archive ({packed[0][:100]}), which torch never writes; unpack it first")
    if (declared := sum(m.file_size for m in archive.infolist())) > size:
        raise Refused(f"declares {declared} bytes of members in a file of {size} bytes")


def _root(names: set[str]) -> str:
    """The folder within the archive that everything lies in."""
    roots = [name.removesuffix("/data.pkl") for name in names if name.endswith("/data.pkl")]
    if "model.weights.h5" in names:
        raise Refused("is a .keras archive; unzip it and give the model.weights.h5 in it")
    if len(roots) != 1:
        raise Refused(f"is an archive with {len(roots)} data.pkl where a torch file has one")
    if f"{roots[0]}/constants.pkl" in names:
        raise Refused("is a TorchScript program; load it in torch and save its state_dict")
    return roots[0]


def _read_legacy(path: Path) -> Any:
    # Reading from a map is bounded by the file, whatever length an instruction declares.
    with path.open("rb") as file:
        stream = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if unpickle(stream, _ALLOWED, _no_storage) != _LEGACY_MAGIC:
        raise Refused("is a pickle that torch did not write")
    if unpickle(stream, _ALLOWED, _no_storage) != _LEGACY_PROTOCOL:
        raise Refused(f"is not of torch's file protocol {_LEGACY_PROTOCOL}, the only one known")
    if unpickle(stream, _ALLOWED, _no_storage)["little_endian"] is not True:
        raise Refused("holds big-endian numbers; save it again on a little-endian machine")
    storages = _LegacyStorages(len(stream))
    value = unpickle(stream, _ALLOWED, storages.get)
    storages.fill(unpickle(stream, _ALLOWED, _no_storage), stream)
    return value


class _LegacyStorages:
    """The storages of the older form: made where the pickle refers to them, filled from behind it."""

    def __init__(self, file_bytes: int):
        self.file_bytes = self.free_bytes = file_bytes
        self.arrays: dict[str, np.ndarray] = {}

    def get(self, identity: Any) -> np.ndarray:
        dtype, key, count = _storage(identity, length=6)
        if key not in self.arrays:
            self.free_bytes -= count * dtype.itemsize
            if self.free_bytes < 0:
                raise Refused(f"declares more storage than a file of {self.file_bytes} bytes can hold")
            self.arrays[key] = np.empty(count, dtype)
        array = self.arrays[key]
        if (array.dtype, array.size) != (dtype, count):
            raise Refused(f"declares storage {key[:100]} twice, and differently")
        return array

    def fill(self, keys: Any, stream: mmap.mmap) -> None:
        """Reads the storages, each behind its number of elements, in the order of `keys`."""
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise Refused("does not list its storages")
        if sorted(keys) != sorted(self.arrays):
            raise Refused("lists other storages than its tensors refer to")
        for key in keys:
            array = self.arrays[key]
            (count,) = struct.unpack("<q", stream.read(8))
            if count != array.size:
                raise Refused(f"declares {array.size} elements for storage {key[:100]}, which has {count}")
            array[...] = np.ndarray(array.size, array.dtype, stream.read(array.nbytes))


def _no_storage(identity: Any) -> np.ndarray:
    raise Refused("refers to a storage outside its tensors")


def _storage(identity: Any, length: int) -> tuple[np.dtype, str, int]:
    """dtype, key and number of elements out of a persistent id ("storage", kind, key, device, count[, view])."""
    if not isinstance(identity, tuple) or len(identity) != length or identity[0] != "storage":
        raise Refused("has a persistent id that is no storage's")
    _, dtype, key, device, count, *view = identity
    if not (isinstance(dtype, np.dtype) and isinstance(key, str) and isinstance(device, str) and _is_size(count)):
        raise Refused("has a storage whose type, key, device or size is none")
    if view not in ([], [None]):
        raise Refused("has a storage that is a view of another, which torch 0.4 and later do not write; save it again")
    return dtype, key, count


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *rest: Any) -> np.ndarray:
    """A strided view of a storage; `rest` is requires_grad, hooks, and metadata that would change the values."""
    if not isinstance(storage, np.ndarray) or not _is_size(offset) or not _are_sizes(shape) or not _are_sizes(stride):
        raise Refused("has a tensor whose storage, offset, shape or stride is none")
    if len(rest) > 2 and rest[2]:
        raise Refused("has a tensor that is lazily negated or conjugated; save it resolved")
    last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
    if 0 in shape:
        return np.empty(shape, storage.dtype)
    if last >= storage.size:
        raise Refused(f"has a tensor that ends at element {last} of a storage of {storage.size}")
    size = storage.itemsize
    strides = tuple(step * size for step in stride)
    # As bytes, because numpy's buffers know no bfloat16.
    return np.ndarray(shape, storage.dtype, storage.view(np.uint8), offset * size, strides)


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


def _ordered_dict(pairs: Any = ()) -> dict[Any, Any]:
    """Python 2 pickled an OrderedDict as a list of pairs, Python 3 pickles an empty one and fills it."""
    if not all(isinstance(key, str | int) for key, _ in pairs):
        raise Refused("has a dictionary key that is neither text nor a whole number")
    return dict(pairs)


def _size(values: Any) -> tuple[int, ...]:
    if not _are_sizes(values):
        raise Refused("has a torch.Size of something else than whole numbers")
    return values


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _are_sizes(values: Any) -> bool:
    return isinstance(values, tuple) and len(values) <= _MAX_AXES and all(map(_is_size, values))


_ALLOWED = {
    "collections OrderedDict": _ordered_dict,
    "torch Size": _size,
    "torch._utils _rebuild_tensor_v2": _tensor,
    "torch._utils _rebuild_parameter": _parameter,
    "torch DoubleStorage": np.dtype(np.float64),
    "torch FloatStorage": np.dtype(np.float32),
    "torch HalfStorage": np.dtype(np.float16),
    "torch BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "torch LongStorage": np.dtype(np.int64),
    "torch IntStorage": np.dtype(np.int32),
    "torch ShortStorage": np.dtype(np.int16),
    "torch CharStorage": np.dtype(np.int8),
    "torch ByteStorage": np.dtype(np.uint8),
    "torch BoolStorage": np.dtype(np.bool_),
}
