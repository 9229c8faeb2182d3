"""A run folder in use: how a run starts, is saved and ends on disk. It is complete exactly when it holds `DONE`.

run/  config.json, provenance.json, metrics.jsonl, tensorboard/, checkpoints/<step>/, best/variables.safetensors, DONE
"""

import json
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import optax

from mskjax import convert
from mskjax.files import read_json, remove, write_json
from mskjax.training import lock, provenance
from mskjax.training.examples import Examples
from mskjax.training.member import Member
from mskjax.training.start import BEST, open_checkpoints, resolved, weight_record
from mskjax.training.state import TrainState
from mskjax.training.team import ALONE, Team
from mskjax.training.writer import Writer

LENGTH = ("epochs", "patience", "stop_on")  # which a finished run may be given anew, to go on


@runtime_checkable
class Observer(AbstractContextManager, Protocol):
    """Who is told of a run's progress, for as long as its block is open."""

    def step(self, loss: float) -> None:
        """Called in the order of the updates."""

    def epoch(self, row: dict[str, Any]) -> None:
        """Called at the end of an epoch with its row of metrics.jsonl."""


class RunFolder(Member):
    """The folder `workdir` of the run that `config` describes, kept to this process in a `with` block.

    `dataset` is its path and digests, for the provenance. `base` is where relative weight files are looked for. A
    folder of another config or dataset raises `ValueError` when it is entered or started, and is left as it is.
    """

    def __init__(
        self,
        workdir: str | Path,
        config: Mapping[str, Any],
        dataset: Mapping[str, Any],
        examples: Examples,
        task: Any,
        optimizer: optax.GradientTransformation,
        base: str | Path = ".",
        team: Team = ALONE,
    ):
        super().__init__(workdir, config, examples, task, optimizer, base, team)
        self._dataset, self._started_s = dataset, time.monotonic()
        self._observers: list[Observer] = []

    def __enter__(self) -> "RunFolder":
        with ExitStack() as opening:
            opening.enter_context(lock.held(self.workdir))
            opening.callback(self.examples.close)
            checkpoints = open_checkpoints(self.workdir, self.config, self.examples.steps_per_epoch)
            self._checkpoints = opening.enter_context(checkpoints)
            if checkpoints.latest_step is not None:
                provenance.check_config(self.workdir, self.config)
                provenance.check_dataset(self.workdir, self._dataset["sha256"])
            self._open = opening.pop_all()
        return self

    def start(self) -> TrainState:
        """The state to go on from; from now on the folder is this run's."""
        state = super().start()
        step = int(state.step)
        weights = None if step else weight_record(resolved(self.config, self._base))
        remove(self.workdir / "DONE")
        for leftover in (self.workdir / BEST).parent.glob(".*"):
            remove(leftover)  # of a process that was killed as it wrote
        provenance.record(self.workdir, self.config, self._dataset, weights, step)
        if self._checkpoints.latest_step is None:
            remove(self.workdir / BEST)  # of a former run, whose checkpoints someone deleted
        self.watch(Writer(self.workdir, step))
        return state

    def watch(self, observer: Observer) -> None:
        """Tells an observer, which is a context manager too, of the run's progress until the folder is let go."""
        self._observers.append(self._open.enter_context(observer))

    def step(self, loss: float) -> None:
        """Tells the observers of an update."""
        for observer in self._observers:
            observer.step(loss)

    def epoch(self, row: dict[str, Any]) -> None:
        """Writes a row of metrics.jsonl and tells the observers."""
        for observer in self._observers:
            observer.epoch(row)

    def overdue(self) -> bool:
        """Whether the time between two checkpoints is over."""
        return self._checkpoints.overdue()

    def stop(self, state: TrainState) -> None:
        """Saves a checkpoint and the best weights so far, and lets go of the folder."""
        self._checkpoints.save(state)
        if int(state.selection.best_step):
            self.write_best(state)
        self.close()

    def finish(self, state: TrainState) -> None:
        """Ends the run: what it leaves behind, then `DONE`; lets go of the folder."""
        self.leave(state)
        seconds = round(time.monotonic() - self._started_s, 1)  # since this process began the run
        write_json(self.workdir / "DONE", {**self.outcome(state), "seconds": seconds})
        self.tidy()
        self.close()

    def leave(self, state: TrainState) -> None:
        """Writes what a finished run leaves behind: the last checkpoint, for more epochs, and the best weights."""
        self._checkpoints.save(state)
        self.write_best(state)

    def tidy(self) -> None:
        """Removes what a finished run needs no more: nothing."""

    def write_best(self, state: TrainState) -> None:
        """Writes the weights of the lowest loss so far."""
        variables = {"params": state.selection.best_params, **state.selection.best_model_state}
        # One entry, because safetensors writes several in a random order and equal runs are to have equal files.
        about = {**self.outcome(state), "network": self.config["task"]["model"]}
        convert.save_variables(self.workdir / BEST, variables, {"run": json.dumps(about)})

    def outcome(self, state: TrainState) -> dict[str, Any]:
        """What is told of a run's end: its steps, and step and loss of the chosen weights."""
        chosen, by = state.selection, "validation" if self.examples.validation_batches else "training"
        return {
            "step": int(state.step),
            "best_step": int(chosen.best_step),
            f"best_{by}_loss": float(chosen.best_loss),
        }


def is_done(workdir: Path, config: Mapping[str, Any]) -> bool:
    """Whether the run is finished and is asked for nothing more; `ValueError` if it is another config's."""
    if not (workdir / "DONE").is_file():
        return False
    provenance.check_config(workdir, config)
    own = read_json(workdir / "config.json")
    # A run of before there was a choice stopped on both losses.
    asked, done = ({"stop_on": "both", **fields} for fields in (config, own))
    if all(done[name] == asked[name] for name in LENGTH):
        return True
    if not any((workdir / "checkpoints").glob("*")):
        changed = ", ".join(f"{name} {done[name]}, now {asked[name]}" for name in LENGTH if done[name] != asked[name])
        raise ValueError(
            f"{workdir} is finished ({changed}) and its checkpoints are gone, so it cannot go on; change it back or "
            "use another workdir"
        )
    return False
