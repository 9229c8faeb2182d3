"""A run as each process of a team takes part in it; that of the first, `RunFolder`, also writes and tells of it."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import optax

from mskjax.training import alike
from mskjax.training.examples import Examples
from mskjax.training.job import Schedule
from mskjax.training.start import open_checkpoints, resolved, starting_state
from mskjax.training.state import TrainState
from mskjax.training.team import ALONE, Team


class Member:
    """The run that `config` describes in the folder `workdir`, which all processes can read; for a `with` block.

    `base` is where relative weight files are looked for, and `team` are all that take part.
    """

    def __init__(
        self,
        workdir: str | Path,
        config: Mapping[str, Any],
        examples: Examples,
        task: Any,
        optimizer: optax.GradientTransformation,
        base: str | Path = ".",
        team: Team = ALONE,
    ):
        self.workdir, self.config, self.examples = Path(workdir), dict(config), examples
        self.schedule = Schedule.of(config)
        self.task, self._optimizer, self._base, self._open = task, optimizer, Path(base), ExitStack()
        self._checkpoints: Any = None
        self._team = team

    def __enter__(self) -> "Member":
        self._open.callback(self.examples.close)
        checkpoints = open_checkpoints(self.workdir, self.config, self.examples.steps_per_epoch, writes=False)
        self._checkpoints = self._open.enter_context(checkpoints)
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def start(self) -> TrainState:
        """The state to go on from; `ValueError` where another process of the team would go on from another."""
        config = resolved(self.config, self._base)
        state = starting_state(config, self.task, self._optimizer, self._checkpoints)
        alike.check_start(self._team, self.workdir, state)
        return state

    def step(self, loss: float) -> None:
        """Nothing: the first process tells of it."""

    def epoch(self, row: dict[str, Any]) -> None:
        """Nothing: the first process writes it."""

    def overdue(self) -> bool:
        """Never: the first process's clock is heeded."""
        return False

    def keeps(self, step: int) -> bool:
        """Whether the checkpoint of this step is to be saved, whatever the time; all processes find the same."""
        return self._checkpoints.keeps(step)

    def save(self, state: TrainState) -> None:
        """Saves a checkpoint, or takes note that the first process does."""
        self._checkpoints.save(state)

    def stop(self, state: TrainState) -> None:
        """Ends its part."""
        self.close()

    def finish(self, state: TrainState) -> None:
        """Ends its part."""
        self.close()

    def fail(self, error: ValueError) -> None:
        """Lets go of the folder and raises the error."""
        self.close()
        raise error

    def close(self) -> None:
        """Lets go of the folder."""
        self._open.close()
