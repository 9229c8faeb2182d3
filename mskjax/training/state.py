"""The state of a training run: pure data, all of it on the devices and in every checkpoint."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array
from jaxtyping import Float, Int

from mskjax.types import Key, Params

# Scalars and trees of arrays; jax also maps a whole state to one of shapes, shardings or None.
Leaf = Any
Tree = Any


class Selection(struct.PyTreeNode):
    """What has been chosen so far: the weights at the lowest validation loss, and what stopping depends on.

    Losses start at infinity and steps at 0. `training_flat` and `validation_flat` count the epochs since the mean loss
    of an epoch was last lower than ever before. `running_loss` sums the losses of the epoch under way.
    `nonfinite_step` is the first step whose loss or gradient was not finite, 0 if there was none.
    """

    best_loss: Leaf
    best_step: Leaf
    best_params: Tree
    best_model_state: Tree
    best_training_loss: Leaf
    training_flat: Leaf
    validation_flat: Leaf
    running_loss: Leaf
    running_steps: Leaf
    nonfinite_step: Leaf

    def after_step(self, loss: Float[Array, ""], finite: Array, step: Int[Array, ""]) -> "Selection":
        """Takes in the loss of `step`, which is counted from 1."""
        return self.replace(
            running_loss=self.running_loss + loss,
            running_steps=self.running_steps + 1,
            nonfinite_step=self._first_nonfinite(finite, step),
        )

    def after_epoch(
        self,
        params: Params,
        model_state: Any,
        validation_loss: Float[Array, ""],
        step: Int[Array, ""],
        keeps_last: bool = False,
    ) -> "Selection":
        """Ends the epoch at `step`: keeps the weights if their validation loss is the lowest; counts flat epochs.

        With `keeps_last` every finite validation loss counts as the lowest, so that the last weights are kept, and no
        run is stopped for want of a lower one.
        """
        training_loss = self.running_loss / self.running_steps
        lowest = jnp.full_like(self.best_loss, jnp.inf) if keeps_last else self.best_loss
        validation_fell, training_fell = validation_loss < lowest, training_loss < self.best_training_loss
        # With NaN nothing has fallen, so that broken weights are never kept.
        best = jax.tree.map(
            lambda new, old: jnp.where(validation_fell, new, old),
            (validation_loss, step, params, model_state),
            (self.best_loss, self.best_step, self.best_params, self.best_model_state),
        )
        return Selection(
            *best,
            best_training_loss=jnp.where(training_fell, training_loss, self.best_training_loss),
            training_flat=jnp.where(training_fell, 0, self.training_flat + 1),
            validation_flat=jnp.where(validation_fell, 0, self.validation_flat + 1),
            running_loss=jnp.zeros_like(self.running_loss),
            running_steps=jnp.zeros_like(self.running_steps),
            nonfinite_step=self._first_nonfinite(jnp.isfinite(validation_loss), step),
        )

    def _first_nonfinite(self, finite: Array, step: Array) -> Array:
        return jnp.where(finite | (self.nonfinite_step > 0), self.nonfinite_step, step)


class TrainState(struct.PyTreeNode):
    """A run after `step` steps. `opt_state` covers only the parameters that are trained; `key` never changes."""

    step: Leaf
    params: Tree
    model_state: Tree
    opt_state: Tree
    key: Leaf
    selection: Selection


def create(params: Params, model_state: Any, opt_state: Any, key: Key) -> TrainState:
    """The state before the first step; weights stand in it twice, and are copied as it is put on devices."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        model_state=model_state,
        opt_state=opt_state,
        key=key,
        selection=Selection(
            best_loss=jnp.array(jnp.inf, float),
            best_step=jnp.zeros((), jnp.int32),
            best_params=params,
            best_model_state=model_state,
            best_training_loss=jnp.array(jnp.inf, float),
            training_flat=jnp.zeros((), jnp.int32),
            validation_flat=jnp.zeros((), jnp.int32),
            running_loss=jnp.zeros((), float),
            running_steps=jnp.zeros((), jnp.int32),
            nonfinite_step=jnp.zeros((), jnp.int32),
        ),
    )
