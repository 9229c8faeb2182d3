"""Torch's own files are read as torch wrote them; tests/golden/make_pickles.py says what is in them."""

import pickle
import struct
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch_pickles as made

from mskjax.convert.torch_files import read_torch

GOLDEN = Path(__file__).parents[1] / "golden"
DTYPES = ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool", "bfloat16"]
FORMS = pytest.mark.parametrize("form", ["zip", "legacy"])


@FORMS
@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool", "bfloat16"]
)
def test_every_dtype(form, dtype):
    array = read_torch(GOLDEN / f"torch_contents_{form}.bin")["dtypes"][dtype]
    expected = np.arange(6).reshape(2, 3).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    assert array.dtype == expected.dtype
    np.testing.assert_array_equal(array, expected)


@FORMS
def test_every_layout(form):
    views = read_torch(GOLDEN / f"torch_contents_{form}.bin")["views"]
    grid = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    expected = {
        "whole": grid,
        "transposed": grid.transpose(2, 0, 1),
        "offset": grid[1, 1:],
        "every_other": grid[:, :, ::2],
        "column": grid[:, 1, 3],
        "expanded": np.full((2, 3), 7, np.float32),
        "scalar": np.array(3),
        "empty": np.empty((0, 5), np.float32),
        "parameter": np.array([1.5, -2.5], np.float32),
    }
    assert list(views) == list(expected)
    for name, array in expected.items():
        assert (views[name].shape, views[name].dtype) == (array.shape, array.dtype)
        np.testing.assert_array_equal(views[name], array)
    assert np.shares_memory(views["whole"], views["offset"])
    assert not np.shares_memory(views["whole"], views["parameter"])


@FORMS
def test_plain_containers(form):
    plain = read_torch(GOLDEN / f"torch_contents_{form}.bin")["plain"]
    assert plain == {"list": [1, -2, 2**40], "tuple": (1.5, None, True, "ä"), "size": (2, 3), 7: {}}


@FORMS
def test_a_training_checkpoint(form):
    checkpoint = read_torch(GOLDEN / f"torch_checkpoint_{form}.bin")
    assert checkpoint["epoch"] == 3
    assert checkpoint["optimizer"]["param_groups"][0]["betas"] == (0.9, 0.999)
    assert list(checkpoint["state_dict"])[-1] == "module.1.num_batches_tracked"
    np.testing.assert_array_equal(checkpoint["state_dict"]["module.1.running_var"], np.full(2, 5, np.float32))


def test_python_2_wrote_pairs_and_byte_strings(tmp_path):
    pair = b"](U\x01w" + made.tensor(made.identity(view=b"N")) + b"e"
    pairs = b"](" + pair + b"e"
    pickled = b"\x80\x02ccollections\nOrderedDict\n" + pairs + b"\x85R."
    storage = struct.pack("<q4f", 4, 1, 2, 3, 4)
    value = read_torch(made.write_legacy(tmp_path / "old.pth", pickled, storages=storage))
    assert list(value) == ["w"]
    np.testing.assert_array_equal(value["w"], np.array([1, 2, 3, 4], np.float32))


@pytest.mark.parametrize("protocol", range(5))
def test_every_protocol_of_plain_data(tmp_path, protocol):
    value = {"a": [1, 2.5, None, True, -3], "b": ({}, (), [], "ö", 2**70), 3: (1,)}
    path = made.write_zip(tmp_path / "plain.pth", pickle.dumps(value, protocol))
    assert read_torch(path) == value


def test_the_hand_made_tensor_is_sound(tmp_path):
    """What the refused files below differ from in one thing each."""
    path = made.write_zip(tmp_path / "sound.pth", made.program(made.tensor(made.identity())))
    np.testing.assert_array_equal(read_torch(path)["0"], np.zeros(4, np.float32))


FOREIGN = [b"", b"<html>502</html>", b"PK\x03\x04", bytes(100), b"\x80\x02N.", b"\x89PNG\r\n"]
REFUSED_TENSORS = {
    "offset past the end": (made.tensor(made.identity(), offset=1), "ends at element 4 of a storage of 4"),
    "stride past the end": (made.tensor(made.identity(), stride=(2,)), "ends at element 6"),
    "shape past the end": (made.tensor(made.identity(), shape=(5,)), "ends at element 4"),
    "negative stride": (made.tensor(made.identity(), offset=3, stride=(-1,)), "stride"),
    "negative offset": (made.tensor(made.identity(), offset=-1), "offset"),
    "negative shape": (made.tensor(made.identity(), shape=(-1,)), "shape"),
    "huge shape": (made.tensor(made.identity(), shape=(2**62, 2**62), stride=(0, 0)), "no weight file"),
    "endless axes": (made.tensor(made.identity(), shape=(1,) * 65, stride=(1,) * 65), "shape"),
    "unequal axes": (made.tensor(made.identity(), shape=(2, 2)), "no weight file"),
    "negated": (made.tensor(made.identity(), rest=b"}" + made.text("neg") + b"\x88s"), "negated"),
    "missing storage": (made.tensor(made.identity(key="1")), "lacks the storage 1"),
    "storage elsewhere": (made.tensor(made.identity(key="../data.pkl")), "lacks the storage"),
    "storage of another size": (made.tensor(made.identity(count=5)), "declares 5 x float32 for storage 0"),
    "storage of another type": (made.tensor(made.identity(kind=b"ctorch\nLongStorage\n")), "declares 4 x int64"),
    "storage of huge size": (made.tensor(made.identity(count=2**62)), "declares"),
    "storage of negative size": (made.tensor(made.identity(count=-4)), "size"),
    "id of another kind": (made.tensor(made.identity(tag="module")), "persistent id"),
    "id too long": (made.tensor(made.identity(view=b"N")), "persistent id"),
    "id that is text": (made.tensor(made.text("0") + b"Q"), "persistent id"),
    "text id": (b"P0\n", "PERSID"),
    "device no text": (made.tensor(made.identity(device=b"N")), "device"),
    "no storage": (made.tensor(made.text("0")), "storage"),
    "a call of data": (made.text("f") + b")R", "calls"),
    "a call without a tuple": (b"ctorch\nSize\n]R", "tuple"),
    "size of text": (b"ctorch\nSize\n" + made.row(made.row(made.text("a"))) + b"R", "torch.Size"),
    "state of a tensor": (made.tensor(made.identity()) + b"}b", "sets the state"),
    "append to a tensor": (made.tensor(made.identity()) + b"Na", "list"),
    "item of a list": (b"]" + made.text("k") + b"Ns", "dict"),
    "nested key": (b"}))\x86Ns", "key"),
}


@pytest.mark.parametrize("trouble", REFUSED_TENSORS)
def test_unsound_tensors_are_refused(tmp_path, trouble):
    instructions, words = REFUSED_TENSORS[trouble]
    path = made.write_zip(tmp_path / "unsound.pth", made.program(instructions))
    with pytest.raises(ValueError, match=f"unsound.pth .*{words}"):
        read_torch(path)


def test_unsound_legacy_storages_are_refused(tmp_path):
    sound = made.program(made.tensor(made.identity(view=b"N")))
    cases = {
        "a view of another": {"pickled": made.program(made.tensor(made.identity(view=b"(K\x00K\x00K\x04t")))},
        "more storage than a file": {"pickled": made.program(made.tensor(made.identity(count=10**12, view=b"N")))},
        "declares 4 elements": {"pickled": sound, "storages": struct.pack("<q", 5) + bytes(20)},
        "lists other storages": {"pickled": sound, "keys": ()},
        "does not list": {"pickled": sound, "keys": (0,)},
        "cut short": {"pickled": sound, "storages": struct.pack("<q", 4) + bytes(15)},
        "twice": {"pickled": made.program(*(made.tensor(made.identity(count=n, view=b"N")) for n in (4, 2)))},
    }
    made.write_legacy(tmp_path / "sound.pth", sound)
    assert read_torch(tmp_path / "sound.pth")["0"].shape == (4,)
    for words, parts in cases.items():
        with pytest.raises(ValueError, match=f"unsound.pth .*{words}"):
            read_torch(made.write_legacy(tmp_path / "unsound.pth", **parts))


def test_other_archives_are_refused(tmp_path):
    sound = made.program(made.tensor(made.identity()))
    cases = {
        "compressed": {"members": {"data/0": bytes(10**6)}, "compression": zipfile.ZIP_DEFLATED},
        "big-endian": {"members": {"byteorder": b"big"}},
        "2 data.pkl": {"members": {"more/data.pkl": b""}},
        "TorchScript": {"members": {"constants.pkl": b""}},
    }
    for words, parts in cases.items():
        with pytest.raises(ValueError, match=f"other.pth .*{words}"):
            read_torch(made.write_zip(tmp_path / "other.pth", sound, **parts))
    with pytest.raises(ValueError, match=r"torch_script\.bin is a TorchScript program"):
        read_torch(GOLDEN / "torch_script.bin")


def test_overlapping_members_are_refused(tmp_path):
    """A zip bomb without compression: many entries of the directory point at one long member."""
    path = made.write_zip(tmp_path / "bomb.pth", made.program(), {"data/1": bytes(1000)})
    with zipfile.ZipFile(path, "a") as archive:
        first = archive.getinfo("archive/data/1")
        for index in range(2, 20):
            copy = zipfile.ZipInfo(f"archive/data/{index}")
            copy.file_size = copy.compress_size = 1000
            copy.header_offset, copy.CRC = first.header_offset, first.CRC
            archive.filelist.append(copy)
            archive.NameToInfo[copy.filename] = copy
        archive._didModify = True
    with pytest.raises(ValueError, match=r"bomb.pth declares \d+ bytes of members in a file of"):
        read_torch(path)


def test_a_flipped_bit_is_noticed(tmp_path):
    sound = made.program(made.tensor(made.identity()))
    path = made.write_zip(tmp_path / "flipped.pth", sound, {"data/0": b"\x55" * 16})
    path.write_bytes(path.read_bytes().replace(b"\x55" * 16, b"\x55" * 15 + b"\x54"))
    with pytest.raises(ValueError, match=r"flipped.pth .*CRC"):
        read_torch(path)


def test_big_endian_legacy_files_are_refused(tmp_path):
    header = b"".join(pickle.dumps(v, 2) for v in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": False}))
    (tmp_path / "big.pth").write_bytes(header)
    with pytest.raises(ValueError, match=r"big\.pth holds big-endian"):
        read_torch(tmp_path / "big.pth")


@pytest.mark.parametrize("content", FOREIGN)
def test_what_is_no_weight_file_is_refused(tmp_path, content):
    (tmp_path / "none.pth").write_bytes(content)
    with pytest.raises(ValueError, match=r"none\.pth (is|uses)"):
        read_torch(tmp_path / "none.pth")


def test_an_unreadable_path_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match="absent"):
        read_torch(tmp_path / "absent.pth")
