"""The training loop. It knows no task and no file format; it calls what it is given in one fixed order.

It trains a job in each lane and gives a lane that is done the next job. Lanes go through their epochs side by side: one
whose epoch has fewer updates rests until all are validated. The devices are never waited for inside an epoch, except
that the host runs no more than two updates ahead of them, so that a signal is served within a few updates and a loss
that is not finite is noticed at once.
"""

import math
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from mskjax.training import sharding
from mskjax.training.agreement import Agreement
from mskjax.training.job import Job
from mskjax.training.signals import Caught
from mskjax.training.state import TrainState
from mskjax.training.step import Arrays, Steps

RUN_AHEAD = 2


class Interrupted(Exception):
    """A signal ended the work after every run was saved; `status` is the shell's 128 + the signal's number."""

    def __init__(self, signum: int, steps: Sequence[int] = (), again: str = "the same command goes on from there"):
        saved = f" and saved at step {', '.join(map(str, steps))}" if steps else ""
        super().__init__(f"stopped by {signal.Signals(signum).name}{saved}; {again}")
        self.status = 128 + signum


@dataclass
class _Lane:
    """What a lane trains: its job, the updates made, those left before validation, and whether the run is over."""

    number: int
    job: Job | None = None
    step: int = 0
    left: int = 0
    over: bool = False

    def take_up(self, job: Job, state: TrainState) -> None:
        """Begins with a job at the state that it starts from."""
        per_epoch, self.step, chosen = job.examples.steps_per_epoch, int(state.step), state.selection
        self.job, self.left = job, per_epoch - self.step % per_epoch
        if self.left == per_epoch and int(chosen.running_steps):
            self.left = 0  # it was saved between its epoch's last update and the validation
        self.over = self.left == per_epoch and self._is_over(
            job, int(chosen.training_flat), int(chosen.validation_flat)
        )

    def end_epoch(self, job: Job, measures: dict[str, Any]) -> dict[str, Any]:
        """Counts an epoch whose `measures` are those of all lanes; the row that is told of it."""
        own = {name: values[self.number].item() for name, values in measures.items()}
        self.left = job.examples.steps_per_epoch
        epoch = self.step // self.left
        self.over = self._is_over(job, own["epochs_flat_training"], own["epochs_flat_validation"])
        return {
            "step": self.step,
            "epoch": epoch,
            "learning_rate": job.schedule.rate(epoch - 1),
            **own,
        }

    def drop(self) -> None:
        """Is done with its job."""
        self.job, self.left, self.over = None, 0, False

    def _is_over(self, job: Job, training_flat: int, validation_flat: int) -> bool:
        return job.schedule.is_over(self.step // job.examples.steps_per_epoch, training_flat, validation_flat)


def fit(steps: Steps, arrays: Arrays, jobs: Iterable[Job], mesh: Mesh, caught: Caught) -> None:
    """Trains every job from its start to its end; a resumed one takes the very same steps, in whatever lane.

    Raises `Interrupted` on a signal and whatever a job raises; the jobs under way are closed then.
    """
    waiting, lanes = iter(jobs), [_Lane(number) for number in range(mesh.shape["lane"])]
    agreement = Agreement(mesh, 1 + len(lanes), RUN_AHEAD)
    pending: deque[tuple[list[tuple[_Lane, Job]], jax.Array]] = deque()
    with ExitStack() as on_exit:
        on_exit.callback(_close, lanes)
        states = _fill(None, lanes, waiting, mesh, steps.split_from)
        while states is not None and (busy := [lane for lane in lanes if lane.job]):
            # 1. One update, queued, in every lane that is within its epoch.
            if active := [(lane, lane.job) for lane in busy if lane.job and lane.left]:
                states, losses = _update(steps, states, arrays, lanes, mesh)
                pending.append((active, losses))
            # 2. The losses of updates that are done; a run whose loss is not finite leaves its lane.
            while len(pending) > (RUN_AHEAD if any(lane.left for lane in lanes) else 0):
                _report(states, *pending.popleft())
            at_end = not any(lane.left for lane in lanes)
            # 3. When all are at the end of their epochs: validation, selection, counters.
            if at_end:
                states = _end_epoch(steps, states, arrays, lanes, mesh)
            # 4. Checkpoints where they are due, and of all when a signal has come.
            # Asked once: a signal that comes during the save is served after the next update.
            signum, *due = agreement.on(_wishes(lanes, caught)).tolist()
            saved = _save(states, lanes, mesh, due, stop=signum > 0)
            if signum:
                raise Interrupted(signum, saved)
            if saved:
                agreement.forget()
            # 5. Lanes whose schedule is over end their runs and get the next.
            if at_end or not any(lane.job for lane in lanes):
                states = _fill(states, lanes, waiting, mesh, steps.split_from)


def _fill(
    states: TrainState | None, lanes: list[_Lane], waiting: Iterator[Job], mesh: Mesh, split_from: int
) -> TrainState | None:
    """The states after runs that are over were ended and others begun in their lanes."""
    for lane in lanes:
        if lane.job and lane.over:
            job = lane.job
            job.finish(sharding.take(states, lane.number, mesh))
            lane.drop()
        while not lane.job and (job := next(waiting, None)):
            lane.job = job  # from now on, as one that cannot start is to be closed too
            state = job.start()
            lane.take_up(job, state)
            if lane.over:
                job.finish(state)
                lane.drop()
            elif states is None:
                # A lane that stays empty computes for nothing.
                states = sharding.stack([state] * len(lanes), mesh, split_from)
            else:
                states = sharding.put(states, lane.number, state, mesh)
    return states


def _update(
    steps: Steps, states: TrainState, arrays: Arrays, lanes: list[_Lane], mesh: Mesh
) -> tuple[TrainState, jax.Array]:
    active, rates = np.zeros(len(lanes), bool), np.zeros(len(lanes), jax.dtypes.canonicalize_dtype(float))
    batches = {}
    for lane in lanes:
        if lane.job and lane.left:
            active[lane.number] = True
            rates[lane.number] = lane.job.schedule.rate(lane.step // lane.job.examples.steps_per_epoch)
            batches[lane.number] = lane.job.examples.batch(lane.job.schedule.seed, lane.step)
            lane.step, lane.left = lane.step + 1, lane.left - 1
    examples = sharding.own_part(_stacked(batches, len(lanes)), mesh)
    rates, active = sharding.own_part((rates, active), mesh, sharding.LANES)
    states, metrics = steps.train(states, arrays, examples, rates, active)
    return states, metrics["loss"]


def _stacked(trees: dict[int, Any], lanes: int) -> Any:
    """The trees of some lanes as one with an axis of all; the others have that of the first, and no use of it."""
    first = next(iter(trees.values()))
    return jax.tree.map(lambda *leaves: np.stack(leaves), *(trees.get(number, first) for number in range(lanes)))


def _report(states: TrainState, active: list[tuple[_Lane, Job]], losses: jax.Array) -> None:
    values = np.asarray(losses)
    for lane, job in active:
        if lane.job is not job:
            continue  # the run was broken, and its lane may have another by now
        if math.isfinite(values[lane.number]):
            job.step(float(values[lane.number]))
        else:
            _fail_if_broken(states, lane, job)


def _end_epoch(steps: Steps, states: TrainState, arrays: Arrays, lanes: list[_Lane], mesh: Mesh) -> TrainState:
    if not any(lane.job for lane in lanes):
        return states
    count = next(lane.job for lane in lanes if lane.job).examples.validation_batches  # as many in all lanes
    sums = tuple(_validate(steps, states, arrays, lanes, mesh, number) for number in range(count))
    states, metrics = steps.end_epoch(states, sums)
    measures = jax.device_get(metrics)
    for lane in lanes:
        if lane.job and not _fail_if_broken(states, lane, lane.job):
            lane.job.epoch(lane.end_epoch(lane.job, measures))
    return states


def _validate(
    steps: Steps, states: TrainState, arrays: Arrays, lanes: list[_Lane], mesh: Mesh, number: int
) -> dict[str, jax.Array]:
    batches = {lane.number: lane.job.examples.validation_batch(number) for lane in lanes if lane.job}
    examples, weights = sharding.own_part(_stacked(batches, len(lanes)), mesh)
    return steps.evaluate(states.params, states.model_state, arrays, examples, weights)


def _wishes(lanes: list[_Lane], caught: Caught) -> np.ndarray:
    """The signal that has come, 0 for none, and of each lane whether its checkpoint is overdue."""
    return np.array([caught.signum or 0, *(bool(lane.job and lane.job.overdue()) for lane in lanes)], np.int32)


def _save(states: TrainState, lanes: list[_Lane], mesh: Mesh, due: Sequence[int], stop: bool) -> list[int]:
    """Saves the runs that are due or, to stop, all; the steps that were saved."""
    saved = []
    for lane in lanes:
        job = lane.job
        if job and (stop or due[lane.number] or job.keeps(lane.step)) and not _fail_if_broken(states, lane, job):
            state = sharding.take(states, lane.number, mesh)
            saved.append(lane.step)
            if stop:
                lane.drop()
                job.stop(state)
            else:
                job.save(state)
    return saved


def _fail_if_broken(states: TrainState, lane: _Lane, job: Job) -> bool:
    """Whether a loss or gradient of the lane's run was not finite; it is then ended, and its weights are not saved."""
    step = int(np.asarray(states.selection.nonfinite_step)[lane.number])
    if step:
        lane.drop()
        job.fail(
            ValueError(
                f"the loss or its gradient is not finite at step {step}; "
                "lower config.learning_rate in a new workdir, or look for a broken image"
            )
        )
    return step > 0


def _close(lanes: list[_Lane]) -> None:
    for lane in lanes:
        if lane.job:
            lane.job.close()
