"""One training at a time in a run folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from absl import logging


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Makes `folder` and keeps it to this process for its block; one that was made here and stays empty is removed.

    The system gives the lock back when the process ends, however it ends. Raises `BlockingIOError` where another holds
    it. A file system without locks is warned of.
    """
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".lock"
    with path.open("a") as file:
        if not _take(file, path):
            raise BlockingIOError(
                f"{folder} is being trained in by another command; wait for it or use another workdir"
            )
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            with suppress(OSError):
                if is_new:
                    folder.rmdir()


def _take(file: IO[str], path: Path) -> bool:
    """Whether the lock is ours now, and its file still there: the last holder may just have removed it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False
    except OSError as error:
        logging.warning("%s cannot be locked (%s); see that nothing else trains in it", path.parent, error.strerror)
        return True
