"""What an exported program carries at its end: what is known of the run that it is of, and a digest of the whole file.

Other programs do not mind it: JAX reads a StableHLO file from its beginning and stops before, and to readers of ONNX it
is an entry of the model's metadata, whose fields may come in any order.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

KEY = b"mskjax"
HEAD = b'{"mskjax_export":'
METADATA, NAME, VALUE = b"\x72", b"\x0a", b"\x12"  # fields of ONNX's ModelProto and of an entry, as protobuf tags them
BLANK, END = b"0" * 64, b'"}}'  # what stands for the digest in that of which it is one; what follows it


class Sealed(NamedTuple):
    """A file's content before its seal, what is told `about` its run, and the SHA-256 of the file."""

    content: bytes
    about: dict[str, Any]
    sha256: str


def put(path: Path, about: Mapping[str, Any], as_metadata: bool = False) -> None:
    """Appends a seal to a file that has none; `as_metadata` makes it an entry of an ONNX model's metadata."""
    content = path.read_bytes()
    told = {"about": dict(about), "bytes": len(content), "sha256": BLANK.decode()}
    text = HEAD + json.dumps(told, separators=(",", ":")).encode() + b"}"
    if as_metadata:
        entry = NAME + _sized(KEY) + VALUE + _sized(text)
        text = METADATA + _sized(entry)
    digest = hashlib.sha256(content + text).hexdigest()
    with path.open("ab") as file:
        file.write(text[: -len(BLANK + END)] + digest.encode() + END)


def read(path: Path) -> Sealed:
    """A sealed file; raises `ValueError` where it has no seal, or one of its bytes is another than when it was put."""
    whole = path.read_bytes()
    try:
        told = json.loads(whole[whole.rfind(HEAD) :])["mskjax_export"]
        about, size = dict(told["about"]), int(told["bytes"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no program of launch.export, or its end is cut off; export it again") from error
    last = len(BLANK + END)
    digest = hashlib.sha256(memoryview(whole)[:-last])
    of_all = digest.copy()
    digest.update(BLANK + END)
    of_all.update(whole[-last:])
    if whole[-last:] != digest.hexdigest().encode() + END:
        raise ValueError(f"{path} is damaged: its bytes are not those that were verified; export it again")
    return Sealed(whole[:size], about, of_all.hexdigest())


def _sized(content: bytes) -> bytes:
    """The content after its length, as protobuf has it: seven bits a byte, the lowest first."""
    length, coded = len(content), bytearray()
    while length > 127:
        coded.append(length & 127 | 128)
        length >>= 7
    return bytes([*coded, length]) + content
