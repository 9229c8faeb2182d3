"""What exported programs carry at their end."""

import hashlib

import pytest

from mskjax.export import seal

CONTENT, ABOUT = b"\x00a program" * 20, {"folder": "run 7", "descent": []}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "program"
    path.write_bytes(CONTENT)
    return path


def fields(content):
    """Number and content of each field of a protobuf message whose fields all have a length."""
    found, place = [], 0

    def number():
        nonlocal place
        value, shift = 0, 0
        while True:
            byte = content[place]
            place, value, shift = place + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while place < len(content):
        tag, length = number(), number()
        assert tag % 8 == 2, "with a length"
        found.append((tag // 8, content[place : place + length]))
        place += length
    return found


@pytest.mark.parametrize("as_metadata", [False, True])
def test_what_is_put_is_read(file, as_metadata):
    seal.put(file, ABOUT, as_metadata)
    assert file.read_bytes().startswith(CONTENT)
    assert seal.read(file) == (CONTENT, ABOUT, hashlib.sha256(file.read_bytes()).hexdigest())


def test_to_onnx_it_is_an_entry_of_the_metadata(file):
    """Field 14 of ModelProto, whose entries have a key, 1, and a value, 2 (onnx.proto)."""
    seal.put(file, ABOUT, as_metadata=True)
    ((number, entry),) = fields(file.read_bytes()[len(CONTENT) :])
    (first, key), (second, value) = fields(entry)
    assert (number, first, key, second) == (14, 1, b"mskjax", 2)
    assert value.startswith(b'{"mskjax_export":') and len(value) > 127


@pytest.mark.parametrize("as_metadata", [False, True])
def test_every_byte_is_held(file, as_metadata):
    """Of the program, of what is told of it, of the digest, and of what ONNX's readers find around them."""
    seal.put(file, ABOUT, as_metadata)
    sealed = file.read_bytes()
    for place in range(len(sealed)):
        file.write_bytes(sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :])
        with pytest.raises(ValueError, match="export it again"):
            seal.read(file)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda sealed: sealed[:-1], "is no program of launch.export, or its end is cut off; export it again"),
        (lambda sealed: sealed[: len(CONTENT)], "is no program of launch.export"),
        (lambda sealed: b"", "is no program of launch.export"),
        (lambda sealed: b"[]", "is no program of launch.export"),
        (lambda sealed: b"\x01" + sealed[1:], "is damaged: its bytes are not those that were verified"),
        (lambda sealed: sealed[1:], "is damaged"),
        (lambda sealed: CONTENT + sealed, "is damaged"),
        (lambda sealed: sealed + b"\n", "is damaged"),
        (lambda sealed: sealed.replace(b"run 7", b"run 8"), "is damaged"),
        (lambda sealed: sealed.replace(b'"bytes":200', b'"bytes":-20'), "is damaged"),
        (lambda sealed: sealed.replace(b'"about"', b'"hello"'), "is no program of launch.export"),
    ],
)
def test_other_bytes_are_refused(file, change, sentence):
    seal.put(file, ABOUT)
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(ValueError, match=sentence):
        seal.read(file)
