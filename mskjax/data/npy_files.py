"""Arrays as .npy files: written whole or not at all, told from one that was cut short, and mapped from the disk."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from mskjax.files import atomic_path, sha256


def save(path: Path, array: np.ndarray) -> str:
    """Writes an array in C order and returns the file's digest; `OSError` leaves nothing behind."""
    array = np.ascontiguousarray(array)
    with atomic_path(path) as written:
        with written.open("wb") as file:
            # Not np.save, whose error does not tell that the disk is full.
            file.write(_header(array.dtype, array.shape))
            file.write(array.data)
        return sha256(written)


def check_size(path: Path, dtype: np.dtype, shape: Sequence[int]) -> None:
    """Raises `OSError` where there is no file, and `ValueError` where it has not the size of such an array."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; run launch.prepare again")
    expected = len(_header(dtype, shape)) + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if (size := path.stat().st_size) != expected:
        raise ValueError(
            f"{path} has {size} bytes, not {expected}: it is cut short or altered; run launch.prepare again"
        )


def open_mapped(path: Path, dtype: np.dtype, shape: Sequence[int]) -> np.ndarray:
    """The array, mapped and not to be written to; raises as `check_size`, and for an array of another kind."""
    check_size(path, dtype, shape)
    head = _header(dtype, shape)
    with path.open("rb") as file:
        # Compared, not read: NumPy parses a header as Python, which threads must not do at once before Python 3.11.8
        # (https://github.com/python/cpython/issues/106905), and threads read scans.
        if file.read(len(head)) == head:
            return np.memmap(path, dtype, "r", len(head), tuple(shape))
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise ValueError(f"{path} is no array ({error}); run launch.prepare again") from error
    if array.dtype != dtype or array.shape != tuple(shape):
        raise ValueError(
            f"{path} holds {array.dtype} {array.shape}, not {dtype} {tuple(shape)}; run launch.prepare again"
        )
    return array


def _header(dtype: np.dtype, shape: Sequence[int]) -> bytes:
    said = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": tuple(shape)}
    npy.write_array_header_1_0(head := io.BytesIO(), said)
    return head.getvalue()
