"""What the training loop knows of a run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol, runtime_checkable

from mskjax.training.examples import Examples
from mskjax.training.state import TrainState

STOP_ON = ("both", "validation")
DECAY = ("constant", "cosine")


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: at most `epochs`, fewer when losses have been flat for `patience` epochs.

    `stop_on` says which must have been: "both" the training and the validation loss, or "validation" alone (where
    nothing validates, the training loss stands for it). The rate rises over `warmup_epochs`, of which the first has 0,
    and then stays ("constant") or falls to 0 at `epochs` ("cosine"). `ValueError` for another word.
    """

    seed: int
    learning_rate: float
    epochs: int
    patience: int
    stop_on: str = "both"
    warmup_epochs: int = 0
    decay: str = "constant"

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Schedule":
        """The schedule of a run's config, which may lack what has a default."""
        names = (field.name for field in fields(cls))
        return cls(**{name: config[name] for name in names if name in config})

    def __post_init__(self):
        if self.stop_on not in STOP_ON:
            raise ValueError(f"stop_on is {self.stop_on!r}; it must be one of {', '.join(STOP_ON)}")
        if self.decay not in DECAY:
            raise ValueError(f"decay is {self.decay!r}; it must be one of {', '.join(DECAY)}")

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0; as LinearWarmupCosineAnnealingLR has it."""
        if epoch < self.warmup_epochs:
            return self.learning_rate * epoch / max(self.warmup_epochs - 1, 1)
        if self.decay == "constant":
            return self.learning_rate
        share = (epoch - self.warmup_epochs) / max(self.epochs - self.warmup_epochs, 1)
        return self.learning_rate * (1 + math.cos(math.pi * min(share, 1))) / 2

    def is_over(self, epoch: int, training_flat: int, validation_flat: int) -> bool:
        """Whether a run ends after `epoch` epochs, the last of which were without a new low of either loss."""
        flat = validation_flat if self.stop_on == "validation" else min(training_flat, validation_flat)
        return epoch >= self.epochs or flat >= self.patience


@runtime_checkable
class Job(Protocol):
    """A run to be trained, and who is told of it. Of the last four, one is the last that is called."""

    examples: Examples
    schedule: Schedule

    def start(self) -> TrainState:
        """The state to go on from."""
        ...

    def step(self, loss: float) -> None:
        """Called in the order of the updates, a little later than they are made."""

    def epoch(self, row: dict[str, Any]) -> None:
        """Called at the end of an epoch with its step, epoch and losses."""

    def overdue(self) -> bool:
        """Whether so much time has gone by that the state is to be saved; of several processes the first is heeded."""
        ...

    def keeps(self, step: int) -> bool:
        """Whether the state after `step` steps is to be saved whatever the time; the same in all processes."""
        ...

    def save(self, state: TrainState) -> None:
        """Saves a state."""

    def finish(self, state: TrainState) -> None:
        """Ends the run as its schedule wants."""

    def stop(self, state: TrainState) -> None:
        """Saves the state of a run that a signal ends."""

    def fail(self, error: ValueError) -> None:
        """Ends a run that is broken; may raise the error."""

    def close(self) -> None:
        """Gives up a run that an error elsewhere ends."""
