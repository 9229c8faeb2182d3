"""A job that is watched, and a signal that comes when it is wanted."""

import jax

from mskjax.training import optim
from mskjax.training.checkpoint import Checkpoints
from mskjax.training.signals import Caught
from mskjax.training.state import create


class Recorder:
    """A job that keeps what it is told, and its states on the disk."""

    def __init__(self, task, optimizer, examples, schedule, folder, interval_s=1e9, kept_steps=0):
        self.examples, self.schedule, self.task = examples, schedule, task
        self.optimizer, self.folder = optimizer, folder
        self.saving = {"interval_s": interval_s, "kept_steps": kept_steps}
        self.losses, self.rows, self.ended = [], [], []

    def start(self):
        self.checkpoints = Checkpoints(self.folder, **self.saving)
        params, model_state = self.task.init(jax.random.key(0), None)
        trained, _ = optim.split(params, self.task.freeze)
        state = create(params, model_state, self.optimizer.init(trained), jax.random.key(0))
        return state if self.checkpoints.latest_step is None else self.checkpoints.restore(state)

    def step(self, loss):
        self.losses.append(loss)

    def epoch(self, row):
        self.rows.append(row)

    def overdue(self):
        return self.checkpoints.overdue()

    def keeps(self, step):
        return self.checkpoints.keeps(step)

    def save(self, state):
        self.checkpoints.save(state)

    def finish(self, state):
        self.checkpoints.save(state)
        self.state = state
        self.close("finished")

    def stop(self, state):
        self.checkpoints.save(state)
        self.close("stopped")

    def fail(self, error):
        self.error = error
        self.close("failed")
        raise error

    def close(self, how="closed"):
        self.ended.append(how)
        self.checkpoints.__exit__()


class Signal(Caught):
    """A signal that comes when it has been asked for so many times."""

    def __init__(self, steps):
        self._steps = steps

    @property
    def signum(self):
        self._steps -= 1  # asked once a step
        return 15 if self._steps == 0 else None
