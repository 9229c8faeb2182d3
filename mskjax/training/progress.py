"""How far a run is: a bar on a terminal, one plain line an epoch elsewhere."""

import sys
import time
from types import TracebackType
from typing import Any

from absl import logging
from tqdm import tqdm

VALIDATION = "validation_"


class Progress:
    """Shows a run of `epochs` epochs of `steps_per_epoch` steps from `step` on, to be used in a `with` block."""

    def __init__(self, epochs: int, steps_per_epoch: int, step: int = 0):
        self._epochs = epochs
        self._started_s, self._timed, self._timed_s = time.monotonic(), 0, 0.0
        self._is_first = True
        self._bar = tqdm(
            total=epochs * steps_per_epoch,
            initial=step,
            unit="step",
            dynamic_ncols=True,
            smoothing=0.05,
            disable=not sys.stderr.isatty(),
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.close()

    def step(self, loss: float) -> None:
        """Moves the bar by a step."""
        self._bar.update()

    def epoch(self, row: dict[str, Any]) -> None:
        """Shows the losses of an epoch and, as the run may stop early, the longest time that is left."""
        told = ", ".join([f"loss {row['loss']:.4f}", *(f"{name} {row[key]:.4f}" for key, name in _validated(row))])
        self._bar.set_postfix_str(f"epoch {row['epoch']}: {told}", refresh=False)
        if self._bar.disable:
            logging.info("epoch %d/%d: %s; %s", row["epoch"], self._epochs, told, self._time(row["epoch"]))

    def _time(self, epoch: int) -> str:
        """How long the epoch took and, but for the first, which compiles as well, how long the others may take.

        They are taken to last as long as those until now, in the mean.
        """
        seconds, self._started_s = time.monotonic() - self._started_s, time.monotonic()
        if self._is_first:
            self._is_first = False
            return f"{seconds:.1f} s with compilation"
        self._timed, self._timed_s = self._timed + 1, self._timed_s + seconds
        left_s = self._timed_s / self._timed * (self._epochs - epoch)
        return f"{seconds:.1f} s, at most {tqdm.format_interval(left_s)} left"


def _validated(row: dict[str, Any]) -> list[tuple[str, str]]:
    """The measures of validation in a row and what they are called: its loss, the best so far, and others."""
    measures = [name for name in row if name.startswith(VALIDATION)]
    named = [(name, "validation" if name == "validation_loss" else name.removeprefix(VALIDATION)) for name in measures]
    best = next(name for name in row if name.startswith("best_") and name.endswith("_loss"))
    return [*named, (best, "best")]
