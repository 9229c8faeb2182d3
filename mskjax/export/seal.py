"""What an exported program carries at its end: a digest of all before it, and what is known of the run that it is of.

Other programs do not mind it: JAX reads a StableHLO file from its beginning and stops before, and to readers of ONNX it
is an entry of the model's metadata, whose fields may come in any order.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

KEY = b"mskjax"
HEAD = b'{"mskjax_export":'
METADATA, NAME, VALUE = b"\x72", b"\x0a", b"\x12"  # fields of ONNX's ModelProto and of an entry, as protobuf tags them
LONGEST = 32  # bytes of what an entry of metadata begins with


def put(path: Path, about: Mapping[str, Any], as_metadata: bool = False) -> None:
    """Appends a seal to a file that has none; `as_metadata` makes it an entry of an ONNX model's metadata."""
    content = path.read_bytes()
    sealed = {"about": dict(about), "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    text = HEAD + json.dumps(sealed).encode() + b"}"
    if as_metadata:
        entry = NAME + _sized(KEY) + VALUE + _sized(text)
        text = METADATA + _sized(entry)
    with path.open("ab") as file:
        file.write(text)


def read(path: Path) -> tuple[bytes, dict[str, Any]]:
    """What was sealed, and what is told of it; raises `ValueError` where there is no seal or the bytes are others."""
    content = path.read_bytes()
    content, text = content[: (start := content.rfind(HEAD))], content[start:]
    try:
        sealed = json.loads(text)["mskjax_export"]
        about, size, digest = sealed["about"], int(sealed["bytes"]), sealed["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no program of launch.export, or is cut short; export it again") from error
    if not 0 <= start - size <= LONGEST or hashlib.sha256(content[:size]).hexdigest() != digest:
        raise ValueError(f"{path} is damaged: its bytes are not those that were verified; export it again")
    return content[:size], about


def _sized(content: bytes) -> bytes:
    """The content after its length, as protobuf has it: seven bits a byte, the lowest first."""
    length, coded = len(content), bytearray()
    while length > 127:
        coded.append(length & 127 | 128)
        length >>= 7
    return bytes([*coded, length]) + content
