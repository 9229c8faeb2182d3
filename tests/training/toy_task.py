"""A task that compiles at once and whose every number can be worked out by hand: to find the mean of some targets."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from mskjax.tasks.task import Task
from mskjax.training.examples import choose


@dataclass(frozen=True)
class Mean(Task):
    """Parameters "a/mean" and "b/mean", both of them to approach the targets; half the squared error each."""

    freeze: tuple[str, ...] = ()

    def init(self, key, batch):
        return {"a": {"mean": jnp.zeros(())}, "b": {"mean": jnp.zeros(())}}, {"counts": {"steps": jnp.zeros(())}}

    def loss(self, params, model_state, batch, key):
        error = (batch["target"] - params["a"]["mean"]) ** 2 + (batch["target"] - params["b"]["mean"]) ** 2
        return error.mean() / 2, ({"counts": {"steps": model_state["counts"]["steps"] + 1}}, {})

    def evaluate(self, params, model_state, batch):
        return {"loss": (batch["target"] - params["a"]["mean"]) ** 2}


def examples(train, validation, batch_size=2):
    """Targets, and which of them train and validate."""
    targets = jnp.array([*train, *validation], jnp.float32)
    rows = np.arange(len(targets))
    return {"target": targets}, choose(rows[: len(train)], rows[len(train) :], batch_size)
