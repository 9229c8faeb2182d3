"""What the training loop knows of a run."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from mskjax.training.examples import Examples
from mskjax.training.state import TrainState


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: at most `epochs`, fewer when both losses have been flat for `patience` epochs."""

    seed: int
    learning_rate: float
    epochs: int
    patience: int


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
