"""Pickles and torch files made by hand, for tests of what a reader must refuse."""

import pickle
import struct
import zipfile
from pathlib import Path

LEGACY_HEADER = b"".join(
    pickle.dumps(value, protocol=2)
    for value in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}})
)
CPU = b"X\x03\x00\x00\x00cpu"
STORAGE = struct.pack("<q", 4) + bytes(16)
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"


def text(value: str) -> bytes:
    return pickle.BINUNICODE + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    return pickle.dumps(value, protocol=2)[2:-1]


def row(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def identity(*, key="0", count=4, kind=b"ctorch\nFloatStorage\n", view=b"", tag="storage", device=CPU) -> bytes:
    """A storage's persistent id; `view` is a sixth element, which only the older form has."""
    return row(text(tag), kind, text(key), device, number(count), view) + b"Q"


def tensor(storage: bytes, offset=0, shape=(4,), stride=(1,), rest=b"") -> bytes:
    sizes = row(*map(number, shape)), row(*map(number, stride))
    return REBUILD + row(storage, number(offset), *sizes, pickle.NEWFALSE, pickle.EMPTY_DICT, rest) + b"R"


def program(*values: bytes) -> bytes:
    """A pickle of the dictionary {"0": value, ...}."""
    entries = b"".join(text(str(index)) + value for index, value in enumerate(values))
    return b"\x80\x02}(" + entries + b"u."


def write_zip(path: Path, pickled: bytes, members: dict[str, bytes] | None = None, **options) -> Path:
    members = {"data.pkl": pickled, "byteorder": b"little", "data/0": bytes(16), **(members or {})}
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in members.items():
            archive.writestr(f"archive/{name}", content)
    return path


def write_legacy(path: Path, pickled: bytes, keys=("0",), storages=STORAGE) -> Path:
    path.write_bytes(LEGACY_HEADER + pickled + pickle.dumps(list(keys), protocol=2) + storages)
    return path
