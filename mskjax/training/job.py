"""What the training loop knows of a run."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from mskjax.training.examples import Examples
from mskjax.training.state import TrainState

STOP_ON = ("both", "validation")


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: at most `epochs`, fewer when losses have been flat for `patience` epochs.

    `stop_on` says which must have been: "both" the training and the validation loss, or "validation" alone (where
    nothing validates, the training loss stands for it). `ValueError` for another word.
    """

    seed: int
    learning_rate: float
    epochs: int
    patience: int
    stop_on: str = "both"

    def __post_init__(self):
        if self.stop_on not in STOP_ON:
            raise ValueError(f"stop_on is {self.stop_on!r}; it must be one of {', '.join(STOP_ON)}")

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

    def due(self) -> bool:
        """Whether the state is to be saved now."""
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
