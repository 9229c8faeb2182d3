"""No file makes the reader run, import, hang or fail in any way but ValueError or OSError."""

import os
import pickle
import time
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import torch_pickles as made

from mskjax.convert.torch_files import read_torch

GOLDEN = Path(__file__).parents[1] / "golden"


def gadget(module: str, name: str, *arguments: str) -> dict[str, bytes]:
    """The three ways a pickle can name and call something."""
    called = made.row(*map(made.text, arguments))
    return {
        "GLOBAL": f"c{module}\n{name}\n".encode() + called + b"R",
        "STACK_GLOBAL": made.text(module) + made.text(name) + b"\x93" + called + b"R",
        "INST": b"(" + b"".join(map(made.text, arguments)) + f"i{module}\n{name}\n".encode(),
        "OBJ": b"(" + f"c{module}\n{name}\n".encode() + b"".join(map(made.text, arguments)) + b"o",
        "NEWOBJ": f"c{module}\n{name}\n".encode() + called + b"\x81",
    }


NAMED = [
    ("os", "system"),
    ("posix", "system"),
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("builtins", "getattr"),
    ("subprocess", "Popen"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "dtype"),
    ("torch", "load"),
    ("torch.serialization", "load"),
    ("torch.storage", "_load_from_bytes"),
    ("torch._utils", "_rebuild_tensor"),
    ("torch._utils", "_rebuild_tensor_v2.__globals__"),
    ("collections", "defaultdict"),
    ("argparse", "Namespace"),
    ("mskjax.files", "remove"),
]
WAYS = ["GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ"]


def forms(folder: Path, pickled: bytes):
    """One pickle as a bare file, in torch's zip and in the older form."""
    bare = folder / "bare.pth"
    bare.write_bytes(pickled)
    yield bare
    yield made.write_zip(folder / "zip.pth", pickled)
    yield made.write_legacy(folder / "legacy.pth", pickled)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("module", "name"), NAMED)
def test_any_other_global_is_refused_by_name(tmp_path, module, name, way):
    marker = tmp_path / "ran"
    pickled = made.program(gadget(module, name, f"open({str(marker)!r}, 'w')")[way])
    for path in forms(tmp_path, pickled):
        with pytest.raises(ValueError) as error:
            read_torch(path)
        assert f"{module}.{name}" in str(error.value)
        assert path.name in str(error.value)
    assert not marker.exists()


class Touch:
    def __init__(self, path):
        self.command = f"touch {path}"

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickled_command_does_not_run(tmp_path, protocol):
    marker = tmp_path / "ran"
    pickled = pickle.dumps({"weight": Touch(marker)}, protocol)
    for path in forms(tmp_path, pickled):
        with pytest.raises(ValueError, match=r"names posix\.system"):
            read_torch(path)
    assert not marker.exists()
    pickle.loads(pickled)
    assert marker.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickled_array_is_refused(tmp_path, protocol):
    for path in forms(tmp_path, pickle.dumps(np.arange(3), protocol)):
        with pytest.raises(ValueError, match=r"names (numpy|_codecs)\S*\.\w+"):
            read_torch(path)


def test_state_cannot_shadow_a_method(tmp_path):
    """BUILD would set attributes of an OrderedDict; here it is left out."""
    pickled = b"\x80\x02ccollections\nOrderedDict\n)R}" + made.text("items") + b"Nsb."
    value = read_torch(made.write_zip(tmp_path / "state.pth", pickled))
    assert value == {}
    assert list(value.items()) == []


BOMBS = {
    "memo index": b"\x80\x02}r\xff\xff\xff\x7f.",
    "nested key": b"\x80\x02}" + b")q\x00" + b"h\x00h\x00\x86q\x00" * 60 + b"Ns.",
    "nested storage key": made.program(made.identity(kind=b")q\x00" + b"h\x00h\x00\x86q\x00" * 60)),
    "long text": b"\x80\x02\x8d" + (2**62).to_bytes(8, "little") + b".",
    "long number": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "long bytes": b"\x80\x05\x96" + (2**62).to_bytes(8, "little") + b".",
    "many axes": made.program(made.tensor(made.identity(), shape=(2**62,) * 2000, stride=(0,) * 2000)),
    "deep": b"\x80\x02" + b"]" * 10**4 + b"a" * (10**4 - 1) + b".",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_small_files_stay_small(tmp_path, bomb):
    start = time.process_time()
    for path in forms(tmp_path, BOMBS[bomb]):
        try:
            read_torch(path)
        except ValueError as error:
            assert path.name in str(error)
    assert time.process_time() - start < 5


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_a_file_cut_anywhere_is_refused(tmp_path, form):
    whole = (GOLDEN / f"torch_contents_{form}.bin").read_bytes()
    path = tmp_path / "cut.pth"
    for length in [*range(0, len(whole), 23), *range(len(whole) - 30, len(whole))]:
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"cut\.pth"):
            read_torch(path)


@hypothesis.settings(max_examples=150, deadline=None, derandomize=True, database=None)
@hypothesis.given(st.data())
def test_altered_bytes_give_a_value_or_an_error(tmp_path_factory, data):
    """In the pickle itself, past the archive's check sums, and anywhere in the older form."""
    program = made.program(
        made.tensor(made.identity(view=b"N")), made.tensor(made.identity(view=b"N"), shape=(2, 2), stride=(1, 2))
    )
    altered = bytearray(program)
    for _ in range(data.draw(st.integers(1, 3))):
        altered[data.draw(st.integers(0, len(altered) - 1))] = data.draw(st.integers(0, 255))
    for path in forms(tmp_path_factory.getbasetemp(), bytes(altered)):
        try:
            read_torch(path)
        except ValueError as error:
            assert path.name in str(error)
