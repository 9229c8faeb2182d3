"""Checkpoints of a training state; the only module that knows orbax.

A checkpoint is complete or absent: orbax writes it under another name and renames it. The last two are kept.
"""

import logging
import time
from pathlib import Path
from typing import Any

import absl.logging
import jax
import orbax.checkpoint as ocp

from mskjax.training.state import TrainState

KEPT = 2


def _is_told(record: logging.LogRecord) -> bool:
    """Whether a message is for the user: orbax logs some twenty lines a checkpoint."""
    return record.levelno >= logging.WARNING or "orbax" not in Path(record.pathname).parts


absl.logging.get_absl_logger().addFilter(_is_told)


class Checkpoints:
    """The checkpoints in a folder, to be used in a `with` block; one is due `interval_s` seconds after the last."""

    def __init__(self, folder: str | Path, interval_s: float = 600.0):
        self._folder = Path(folder).absolute()
        self._interval_s = interval_s
        self._last_s = time.monotonic()
        # Saving waits until the files are complete: what is reported as saved survives a kill.
        options = ocp.CheckpointManagerOptions(
            max_to_keep=KEPT, enable_async_checkpointing=False, cleanup_tmp_directories=True
        )
        self._manager = ocp.CheckpointManager(self._folder, options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *error: object) -> None:
        self._manager.close()

    @property
    def latest_step(self) -> int | None:
        """The step of the newest checkpoint, None if there is none."""
        return self._manager.latest_step()

    def due(self) -> bool:
        """Whether the interval since the last checkpoint, or since the start, is over."""
        return time.monotonic() - self._last_s >= self._interval_s

    def save(self, state: TrainState) -> None:
        """Saves the state under its step, unless that step is saved already."""
        if self.latest_step != int(state.step):
            self._manager.save(int(state.step), args=ocp.args.StandardSave(_plain(state)), force=True)
        self._last_s = time.monotonic()

    def restore(self, like: TrainState) -> TrainState:
        """The newest state, of the shapes, types and shardings of `like`, which may be abstract.

        Raises `FileNotFoundError` where there is no checkpoint and `ValueError` where it does not fit `like`.
        """
        if self.latest_step is None:
            raise FileNotFoundError(f"{self._folder} holds no checkpoint to resume from")
        try:
            plain: Any = self._manager.restore(self.latest_step, args=ocp.args.StandardRestore(_plain(like)))
        except ValueError as error:
            reason = str(error).strip().splitlines()[0][:200]
            raise ValueError(
                f"{self._folder / str(self.latest_step)} does not fit this network and optimiser: {reason}"
            ) from error
        return plain.replace(key=jax.random.wrap_key_data(plain.key))


def _plain(state: TrainState) -> Any:
    """The state with its typed key, which no file format knows, as numbers."""
    if isinstance(state.key, jax.ShapeDtypeStruct):
        data = jax.eval_shape(jax.random.key_data, state.key)
        return state.replace(key=jax.ShapeDtypeStruct(data.shape, data.dtype, sharding=state.key.sharding))
    return state.replace(key=jax.random.key_data(state.key))
