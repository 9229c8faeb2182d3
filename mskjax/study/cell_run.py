"""The run folder of a cell: a run's, and what the cell says of slices that it has not seen.

cells/<name>/  config.json, provenance.json, metrics.jsonl, what the judge writes, best/, DONE; FAILED where the loss
               was not finite; checkpoints/ until it is done
"""

import shutil
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from absl import logging

from mskjax.files import atomic_path, remove
from mskjax.study.sweep_progress import SweepProgress
from mskjax.training.folder import RunFolder
from mskjax.training.start import BEST
from mskjax.training.state import TrainState
from mskjax.types import Variables

FAILED = "FAILED"


@runtime_checkable
class Judge(Protocol):
    """Who predicts, with a cell's best weights, what the study is judged by."""

    @property
    def edition(self) -> int:
        """The edition of the scores, which is raised when they change."""
        ...

    def judge(self, folder: Path, variables: Variables, config: dict[str, Any]) -> None:
        """Writes predictions and scores into the folder of the cell with this run config.

        Raises `ValueError` for weights that predict no numbers.
        """
        ...


class CellRun(RunFolder):
    """A cell in training, which tells `progress` of its epochs and its end."""

    def __init__(self, *arguments: Any, judge: Judge, keep: str, progress: SweepProgress, **options: Any):
        super().__init__(*arguments, **options)
        self._judge, self._keep, self._progress = judge, keep, progress

    def start(self) -> TrainState:
        """The state to go on from."""
        self._progress.begin()
        state = super().start()
        if step := int(state.step):
            logging.info("%s goes on at step %d", self.workdir.name, step)
        return state

    def epoch(self, row: dict[str, Any]) -> None:
        """Writes a row of metrics.jsonl."""
        super().epoch(row)
        self._progress.epoch(self.workdir.name, row)

    def leave(self, state: TrainState) -> None:
        """Writes predictions and scores and, where they are to be kept, the best weights."""
        variables = {"params": state.selection.best_params, **state.selection.best_model_state}
        self._judge.judge(self.workdir, variables, self.config)
        if self._keep == "weights":
            self.write_best(state)
        else:
            remove(self.workdir / BEST.parent)  # of a former interruption

    def outcome(self, state: TrainState) -> dict[str, Any]:
        """What is told of a cell's end, with the edition of its scores."""
        return {**super().outcome(state), "edition": self._judge.edition}

    def finish(self, state: TrainState) -> None:
        """Ends the cell; one whose weights predict no numbers has failed."""
        try:
            super().finish(state)
        except ValueError as error:
            self.fail(error)
        else:
            self._progress.done(self.workdir.name, self.outcome(state))

    def tidy(self) -> None:
        """Removes the checkpoints, as long as the folder is kept to this process."""
        remove_checkpoints(self.workdir)

    def fail(self, error: ValueError) -> None:
        """Says why in the file FAILED, and lets the other cells go on."""
        with atomic_path(self.workdir / FAILED) as written:
            written.write_text(f"{error}\n", encoding="utf-8")
        self.close()
        self._progress.fail(self.workdir.name, str(error))


def remove_checkpoints(folder: Path) -> None:
    """Removes the checkpoints of a cell that is done, which are of no more use; others may do so at the same time."""
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def read_failure(folder: Path) -> str:
    """Why a cell has failed, which it would again; empty if it has not."""
    file = folder / FAILED
    return " ".join(file.read_text(encoding="utf-8").split()) if file.is_file() else ""
