"""`metrics.jsonl`, one row an epoch, and the same numbers for TensorBoard where `tensorboard` is installed.

A row depends on the data, the config and the seed alone, not on the clock: runs that agree have the same file, however
often they were stopped.
"""

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from mskjax.files import atomic_path, remove

METRICS = "metrics.jsonl"
NOT_PLOTTED = ("step", "epoch")


def read_rows(path: str | Path) -> list[dict[str, Any]]:
    """The rows of a metrics file, none where there is no file; a last line that was cut short is left out."""
    path, rows = Path(path), []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


class Writer:
    """Appends rows to the metrics of a run folder, to be used in a `with` block.

    Rows beyond `step`, which a killed run wrote after the checkpoint it resumes from, are dropped first.
    """

    def __init__(self, workdir: str | Path, step: int = 0):
        workdir = Path(workdir)
        rows = [row for row in read_rows(workdir / METRICS) if row["step"] <= step]
        with atomic_path(workdir / METRICS) as written:
            written.write_text("".join(map(_line, rows)), encoding="utf-8")
        self._file = (workdir / METRICS).open("a", encoding="utf-8")
        self._board = _board(workdir / "tensorboard")
        for row in rows:
            self._plot(row)

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()
        if self._board:
            self._board.close()

    def step(self, loss: float) -> None:
        """Nothing: a row is an epoch."""

    def epoch(self, row: dict[str, Any]) -> None:
        """Writes a row to the disk."""
        self._file.write(_line(row))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._plot(row)

    def _plot(self, row: dict[str, Any]) -> None:
        if self._board:
            for name in row.keys() - set(NOT_PLOTTED):
                self._board.add_scalar(name, row[name], row["step"])
            self._board.flush()


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, allow_nan=False) + "\n"


def _board(folder: Path) -> Any:
    """TensorBoard's own writer on an emptied folder, which needs no TensorFlow; None where it is not installed."""
    try:
        from tensorboard.summary import Writer as Board  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    remove(folder)
    return Board(str(folder))
