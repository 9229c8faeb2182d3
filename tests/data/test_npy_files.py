"""Arrays on the disk, as threads open them."""

import ast

import numpy as np
import pytest

from mskjax.data import npy_files

ARRAY = np.arange(24, dtype=np.int16).reshape(2, 3, 4)


def test_an_array_is_mapped_without_its_header_being_parsed(tmp_path, monkeypatch):
    """Several threads at once may not, in Python 3.11.7."""
    npy_files.save(tmp_path / "array.npy", ARRAY)
    monkeypatch.setattr(ast, "parse", None)
    mapped = npy_files.open_mapped(tmp_path / "array.npy", ARRAY.dtype, ARRAY.shape)
    np.testing.assert_array_equal(mapped, ARRAY)
    assert isinstance(mapped, np.memmap)
    assert not mapped.flags.writeable


def test_an_array_of_another_kind_but_as_many_bytes_is_refused(tmp_path):
    npy_files.save(tmp_path / "array.npy", ARRAY.astype(np.uint16))
    with pytest.raises(ValueError, match=r"holds uint16 \(2, 3, 4\), not int16 \(2, 3, 4\); run launch.prepare again"):
        npy_files.open_mapped(tmp_path / "array.npy", ARRAY.dtype, ARRAY.shape)
