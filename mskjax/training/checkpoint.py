"""Checkpoints of a training state; the only module that knows orbax.

A checkpoint is complete or absent: orbax writes it under another name and renames it. The last two are kept, and those
that a run is asked to keep for good. They hold whole arrays whatever devices held which part, and each process reads
and writes for itself, so that a run goes on with any number of devices and processes.
"""

import errno
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import absl.logging
import jax
import numpy as np
import orbax.checkpoint as ocp

from mskjax.training.state import TrainState

KEPT = 2


def _is_told(record: logging.LogRecord) -> bool:
    """Whether a message is for the user: orbax logs some twenty lines a checkpoint, and warns of its own options."""
    return record.levelno >= logging.ERROR or "orbax" not in Path(record.pathname).parts


absl.logging.get_absl_logger().addFilter(_is_told)


class Checkpoints:
    """The checkpoints in a folder, to be used in a `with` block; one is due `interval_s` seconds after the last.

    One is due at every multiple of `kept_steps` steps too, unless that is 0, and is never removed. The folder, which
    may be missing and in which another process may write, is left as it is until the first `save`, and for good unless
    it `writes`.
    """

    def __init__(self, folder: str | Path, interval_s: float = 600.0, kept_steps: int = 0, writes: bool = True):
        self._folder, self._writes = Path(folder).absolute(), writes
        self._interval_s, self._kept_steps = interval_s, kept_steps
        self._last_s, self._last_step = time.monotonic(), 0
        self._reader = _open(self._folder, read_only=True) if self._folder.is_dir() else None
        self._writer: ocp.CheckpointManager | None = None

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *error: object) -> None:
        for manager in (self._reader, self._writer):
            if manager is not None:
                manager.close()

    @property
    def latest_step(self) -> int | None:
        """The step of the newest checkpoint, None if there is none."""
        manager = self._reader if self._writer is None else self._writer
        return None if manager is None else manager.latest_step()

    def overdue(self) -> bool:
        """Whether the interval since the last checkpoint, or since the start, is over."""
        return time.monotonic() - self._last_s >= self._interval_s

    def keeps(self, step: int) -> bool:
        """Whether `step` is to be kept, and is not yet."""
        kept = self._kept_steps and step % self._kept_steps == 0
        return bool(kept) and step not in (self.latest_step, self._last_step)

    def save(self, state: TrainState) -> None:
        """Saves the state under its step, unless that step is saved already; `OSError` where the disk is full."""
        self._last_step = int(state.step)
        if self._writes and self.latest_step != self._last_step:
            if self._writer is None:
                # Not before: orbax tidies a folder in a thread, which only a save waits for.
                self._folder.mkdir(parents=True, exist_ok=True)
                self._writer = _open(self._folder, False, self._kept_steps)
            with _full_disks_told(self._folder):
                self._writer.save(self._last_step, args=ocp.args.StandardSave(_plain(state)), force=True)
        self._last_s = time.monotonic()

    def restore(self, like: TrainState) -> TrainState:
        """The newest state, of the shapes and types of `like`, which may be abstract, in the host's memory.

        Raises `FileNotFoundError` where there is no checkpoint and `ValueError` where it does not fit `like`.
        """
        if self._reader is None or self.latest_step is None:
            raise FileNotFoundError(f"{self._folder} holds no checkpoint to go on from")
        plain = _plain(like)
        # Checked first: orbax finds an unlike shape in the midst of reading, and leaves the other reads hanging.
        saved, wanted = _shapes(self._reader.item_metadata(self.latest_step)), _shapes(plain)
        unlike = sorted(name for name in saved.keys() | wanted.keys() if saved.get(name) != wanted.get(name))
        for name in unlike[:1]:
            raise ValueError(
                f"{self._folder / str(self.latest_step)} is of another network or optimiser: {len(unlike)} arrays "
                f"differ, as {name} {saved.get(name, 'absent')}, here {wanted.get(name, 'absent')}"
            )
        # Read as numpy's, and not onto devices, which may be others than those that have saved.
        empty = jax.tree.map(lambda leaf: np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape), plain)
        restored: Any = self._reader.restore(self.latest_step, args=ocp.args.StandardRestore(empty))
        return restored.replace(key=jax.random.wrap_key_data(restored.key))


def _open(folder: Path, read_only: bool, kept_steps: int = 0) -> ocp.CheckpointManager:
    # Saving waits until the files are complete: what is reported as saved survives a kill.
    own = jax.process_index()
    options = ocp.CheckpointManagerOptions(
        max_to_keep=KEPT,
        create=False,  # which orbax leaves to us where processes write each for itself
        multiprocessing_options=ocp.options.MultiprocessingOptions(primary_host=own, active_processes={own}),
        keep_period=kept_steps or None,
        enable_async_checkpointing=False,
        cleanup_tmp_directories=not read_only,
        read_only=read_only,
    )
    return ocp.CheckpointManager(folder, options=options, item_handlers=ocp.StandardCheckpointHandler())


@contextmanager
def _full_disks_told(folder: Path) -> Iterator[None]:
    """Has a full disk told of as by other writers, and once: orbax's threads print their errors and hand them on."""
    told = threading.excepthook

    def tell(error: threading.ExceptHookArgs) -> None:
        if not type(error.thread).__module__.startswith("orbax."):
            told(error)

    threading.excepthook = tell
    try:
        yield
    except ValueError as error:
        if os.strerror(errno.ENOSPC) not in str(error):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error
    finally:
        threading.excepthook = told


def _plain(state: TrainState) -> Any:
    """The state with its typed key, which no file format knows, as numbers."""
    if isinstance(state.key, jax.ShapeDtypeStruct):
        data = jax.eval_shape(jax.random.key_data, state.key)
        return state.replace(key=data)
    return state.replace(key=np.asarray(jax.random.key_data(state.key)))


def _shapes(state: Any) -> dict[str, tuple[int, ...]]:
    """The shape of every array of a state, or of orbax's description of one, by its path."""
    leaves = jax.tree_util.tree_leaves_with_path(getattr(state, "tree", state))
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf.shape for path, leaf in leaves}
