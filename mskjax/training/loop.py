"""The training loop. It knows no task and no file format; it calls what it is given in one fixed order.

The device is never waited for inside an epoch, except that the host runs no more than two steps ahead of it, so that a
signal is served within a few steps and a loss that is not finite is noticed at once.
"""

import math
import signal
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from mskjax.training.checkpoint import Checkpoints
from mskjax.training.examples import Examples
from mskjax.training.signals import Caught
from mskjax.training.state import TrainState
from mskjax.training.step import Steps

RUN_AHEAD = 2


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: at most `epochs`, fewer when both losses have been flat for `patience` epochs."""

    seed: int
    learning_rate: float
    epochs: int
    patience: int


@runtime_checkable
class Observer(Protocol):
    """Who is told of progress."""

    def step(self, loss: float) -> None:
        """Called in the order of the steps, a little later than they are made."""

    def epoch(self, row: dict[str, Any]) -> None:
        """Called at the end of an epoch with its step, epoch and losses."""


class Interrupted(Exception):
    """A signal ended the training after `state` was saved; `status` is the shell's 128 + the signal's number."""

    def __init__(self, signum: int, state: TrainState):
        super().__init__(
            f"stopped by {signal.Signals(signum).name} and saved at step {int(state.step)}; "
            "the same command goes on from there"
        )
        self.status, self.state = 128 + signum, state


def fit(
    steps: Steps,
    state: TrainState,
    examples: Examples,
    schedule: Schedule,
    checkpoints: Checkpoints,
    observers: Sequence[Observer],
    caught: Caught,
) -> TrainState:
    """The state after training from `state` on until `schedule` ends it; a resumed run takes the very same steps.

    Raises `ValueError` naming the step when a loss or gradient is not finite, and `Interrupted` on a signal.
    """
    step, pending, per_epoch = int(state.step), deque(), examples.steps_per_epoch
    rate = np.asarray(schedule.learning_rate, jax.dtypes.canonicalize_dtype(float))
    while step % per_epoch or not finished(state, step // per_epoch, schedule):
        # 1. One update, queued.
        state, metrics = steps.train(state, examples.arrays, examples.batch(schedule.seed, step), rate)
        step += 1
        pending.append(metrics["loss"])
        # 2. The losses of steps that are done.
        while len(pending) > (RUN_AHEAD if step % per_epoch else 0):
            _report(state, float(pending.popleft()), observers)
        # 3. At the end of an epoch: validation, selection, counters. A checkpoint of this step includes them.
        if step % per_epoch == 0:
            state, row = _end_epoch(steps, state, examples)
            for observer in observers:
                observer.epoch(
                    {"step": step, "epoch": step // per_epoch, "learning_rate": schedule.learning_rate, **row}
                )
        # 4. A checkpoint when one is due or a signal has come.
        signum = caught.signum  # asked once: one that comes during the save is served after the next step
        if signum or checkpoints.due():
            raise_if_broken(state)
            checkpoints.save(state)
        if signum:
            raise Interrupted(signum, state)
    checkpoints.save(state)
    return state


def finished(state: TrainState, epoch: int, schedule: Schedule) -> bool:
    """Whether the schedule ends a run that has completed `epoch` epochs."""
    flat = min(int(state.selection.training_flat), int(state.selection.validation_flat))
    return epoch >= schedule.epochs or flat >= schedule.patience


def raise_if_broken(state: TrainState) -> None:
    """Raises `ValueError` if a loss or gradient was not finite, so that such weights are never saved."""
    if step := int(state.selection.nonfinite_step):
        raise ValueError(
            f"the loss or its gradient is not finite at step {step}; "
            "lower config.learning_rate in a new workdir, or look for a broken image"
        )


def _report(state: TrainState, loss: float, observers: Sequence[Observer]) -> None:
    if not math.isfinite(loss):
        raise_if_broken(state)
    for observer in observers:
        observer.step(loss)


def _end_epoch(steps: Steps, state: TrainState, examples: Examples) -> tuple[TrainState, dict[str, Any]]:
    sums = tuple(
        steps.evaluate(state.params, state.model_state, examples.arrays, rows, weights)
        for rows, weights in zip(examples.validation, examples.weights, strict=True)
    )
    state, metrics = steps.end_epoch(state, sums)
    raise_if_broken(state)
    return state, {name: value.item() for name, value in jax.device_get(metrics).items()}
