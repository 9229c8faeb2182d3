"""The three compiled functions of training: a step, the evaluation of a batch, and the end of an epoch.

All that differs between the runs of a study is an argument: the state, the indices of the examples and the learning
rate. One compilation therefore serves runs of any number of examples on the same arrays.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax
from jax.sharding import Mesh, NamedSharding

from mskjax.training import optim, sharding
from mskjax.training.state import TrainState

Arrays = dict[str, Array]


@dataclass(frozen=True)
class Steps:
    """Compiled on their first call; a state that is passed in is consumed.

    `train(state, arrays, indices [b], learning_rate) -> (state, metrics)`: one update; "loss" is the batch's mean loss.
    `evaluate(params, model_state, arrays, indices [b], weights [b]) -> sums`: each measure times its weight, summed,
    and the sum of the weights; weight 0 leaves an example out.
    `end_epoch(state, sums of all batches) -> (state, metrics)`: selection, counters and the epoch's mean losses.
    """

    train: Callable[..., tuple[TrainState, dict[str, Array]]]
    evaluate: Callable[..., dict[str, Array]]
    end_epoch: Callable[..., tuple[TrainState, dict[str, Array]]]


def compile_steps(task: Any, optimizer: optax.GradientTransformation, mesh: Mesh) -> Steps:
    """The steps of a task, whose batches are split over the mesh."""
    whole, batch = sharding.replicated(mesh), sharding.batched(mesh)
    return Steps(
        train=jax.jit(
            _train_step(task, optimizer, batch),
            in_shardings=(whole, whole, batch, whole),
            out_shardings=whole,
            donate_argnums=0,
        ),
        evaluate=jax.jit(
            _evaluate_step(task, batch), in_shardings=(whole, whole, whole, batch, batch), out_shardings=whole
        ),
        end_epoch=jax.jit(_end_epoch, in_shardings=whole, out_shardings=whole, donate_argnums=0),
    )


def _train_step(task: Any, optimizer: optax.GradientTransformation, batch: NamedSharding) -> Callable:
    def train_step(state: TrainState, arrays: Arrays, indices: Array, learning_rate: Array):
        # Keys depend on the step alone, so that a resumed run and any number of devices draw the same.
        key = jax.random.fold_in(state.key, state.step)
        trained, frozen = optim.split(state.params, task.freeze)

        def loss_of(trained: optim.Leaves):
            params = optim.merge(trained, frozen)
            return task.loss(params, state.model_state, _gather(arrays, indices, batch), key)

        (loss, (model_state, metrics)), gradient = jax.value_and_grad(loss_of, has_aux=True)(trained)
        direction, opt_state = optimizer.update(gradient, state.opt_state, trained)
        trained = jax.tree.map(lambda leaf, move: leaf - learning_rate * move, trained, direction)
        params, step = optim.merge(trained, frozen), state.step + 1
        finite = jnp.isfinite(loss) & jnp.isfinite(optax.tree.norm(gradient))
        state = state.replace(
            step=step,
            params=params,
            model_state=task.post_update(params, model_state, step),
            opt_state=opt_state,
            selection=state.selection.after_step(loss, finite, step),
        )
        return state, {"loss": loss, **metrics}

    return train_step


def _evaluate_step(task: Any, batch: NamedSharding) -> Callable:
    def evaluate_step(params: Any, model_state: Any, arrays: Arrays, indices: Array, weights: Array):
        values = task.evaluate(params, model_state, _gather(arrays, indices, batch))
        sums = {name: jnp.where(weights > 0, weights * value, 0).sum() for name, value in values.items()}
        return {**sums, "weight": weights.sum()}

    return evaluate_step


def _end_epoch(state: TrainState, sums: tuple[dict[str, Array], ...]):
    total = jax.tree.map(lambda *parts: sum(parts), *sums)
    weight = total.pop("weight")
    means = {f"validation_{name}": value / weight for name, value in total.items()}
    before = state.selection
    selection = before.after_epoch(state.params, state.model_state, means["validation_loss"], state.step)
    metrics = {
        "loss": before.running_loss / before.running_steps,
        **means,
        "best_step": selection.best_step,
        "best_validation_loss": selection.best_loss,
        "epochs_flat_training": selection.training_flat,
        "epochs_flat_validation": selection.validation_flat,
    }
    return state.replace(selection=selection), metrics


def _gather(arrays: Arrays, indices: Array, batch: NamedSharding) -> Arrays:
    taken = {name: jnp.take(array, indices, axis=0, mode="clip") for name, array in arrays.items()}
    return lax.with_sharding_constraint(taken, batch)
