"""Whole files or none: everything mskjax writes appears under its own name only when it is complete."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a name beside `path` to write a file or a folder to; it becomes `path` when the block ends without error.

    The temporary name keeps the suffixes, which many writers read their format from. After an error nothing is left
    behind and a former `path` stands as it was. A folder replaces a former folder whole; a process killed between
    moving the former one aside and the new one in leaves both in a hidden folder beside `path`.
    """
    path = Path(path)
    _make_folder(path.parent)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        written, former = Path(folder) / path.name, Path(folder) / "former"
        try:
            yield written
            _flush(written)
        except OSError as error:
            if error.errno and error.filename is None:  # as where a disk is full
                error.filename = str(path)
            raise
        if path.is_dir() and written.is_dir():
            path.rename(former)
        try:
            written.replace(path)
        except OSError:
            if former.exists():
                former.rename(path)
            raise


def sentence_of(error: Exception) -> str:
    """An error's message on one line, with a remedy where a disk is full."""
    if isinstance(error, OSError) and error.errno in FULL:
        where = f" at {error.filename}" if error.filename else ""
        return f"the disk is full{where}; make room, or name another folder, and run the same command again"
    return " ".join(str(error).split())


def require_folder(path: str | Path) -> None:
    """Raises `OSError`, with the remedy, unless `path` is a folder that can be written to or can be made."""
    path = Path(path)
    nearest = next(p for p in (path, *path.absolute().parents) if p.exists())
    if not nearest.is_dir():
        raise NotADirectoryError(f"{nearest} is a file, and {path} is to be a folder; name another folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise PermissionError(f"{nearest} cannot be written to; name another folder, or change its permissions")


def _make_folder(path: Path) -> None:
    require_folder(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise type(error)(f"the folder {path} cannot be made ({error.strerror}); name another one") from error


def write_json(path: str | Path, value: Any) -> None:
    """Writes `value` as indented JSON; NaN and infinity are refused, for readers of other languages."""
    text = json.dumps(value, indent=2, allow_nan=False)
    with atomic_path(path) as written:
        written.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """The value in a JSON file; `ValueError` names the file when it is cut short or no JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}); write it again or delete it") from error


def sha256(path: str | Path) -> str:
    """The hexadecimal SHA-256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove(path: str | Path) -> None:
    """Removes a file or a folder with all in it; does nothing where there is none."""
    path = Path(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Forces the bytes of a file, or of all files in a folder, to the disk, so that a rename never outruns them."""
    for part in [path, *path.rglob("*")]:
        if part.is_file():
            with part.open("rb") as file:
                os.fsync(file.fileno())
