"""How far a sweep is: a bar on a terminal, elsewhere a line when a cell ends, and one now and then in between."""

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from absl import logging
from tqdm import tqdm

from mskjax.study.text import duration

EVERY_S = 300.0  # between lines while no cell ends


class SweepProgress:
    """Shows how many of `cells` cells, of at most `epochs` epochs each, have ended; to be used in a `with` block."""

    def __init__(self, cells: Sequence[Any], epochs: int):
        self.failed: dict[str, str] = {}
        self._cells, self._epochs, self._ended = len(cells), epochs, 0
        self._told_s = time.monotonic()
        self._started_s: float | None = None
        self._bar = tqdm(total=len(cells), unit="cell", dynamic_ncols=True, disable=not sys.stderr.isatty())

    def __enter__(self) -> "SweepProgress":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.close()

    def begin(self) -> None:
        """Called when a cell begins; the time left counts from the first, not from the pretexts before it."""
        self._started_s = self._started_s or time.monotonic()

    def epoch(self, name: str, row: dict[str, Any]) -> None:
        """Shows the epoch of a cell that is being trained."""
        told = f"{name}: epoch {row['epoch']} of at most {self._epochs}, loss {row['loss']:.4f}"
        self._bar.set_postfix_str(told, refresh=False)
        if self._bar.disable and time.monotonic() - self._told_s > EVERY_S:
            self._tell(told)

    def done(self, name: str, outcome: dict[str, Any]) -> None:
        """Counts a cell that has ended well."""
        self._count(f"{name}: {outcome['step']} steps, weights of step {outcome['best_step']}")

    def fail(self, name: str, why: str) -> None:
        """Counts a cell that has failed."""
        self.failed[name] = why
        self._count(f"failed: {name}: {why}")

    def _count(self, told: str) -> None:
        self._ended += 1
        self._bar.update()
        self._tell(told)

    def _tell(self, told: str) -> None:
        self._told_s = time.monotonic()
        with tqdm.external_write_mode():
            logging.info("%s; %d of %d cells have ended%s", told, self._ended, self._cells, self._left())

    def _left(self) -> str:
        """The time left if all cells take as long as those that have ended."""
        if not self._ended or self._ended == self._cells or self._started_s is None:
            return ""
        seconds = (time.monotonic() - self._started_s) * (self._cells - self._ended) / self._ended
        return f", about {duration(seconds)} left"
