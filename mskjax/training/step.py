"""The three compiled functions of training: a step, the evaluation of a batch, and the end of an epoch.

All that differs between the runs of a study is an argument: the state, the batch and the learning rate. A batch is the
rows of its examples in `arrays`, which all runs share, or the examples themselves. One compilation therefore serves
runs of any number of examples, and all lanes: each lane computes its own run and waits for no other (`shard_map`),
while the devices of one lane share its batch.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mskjax.training import optim
from mskjax.training.sharding import BATCHES, LANES, WHOLE
from mskjax.training.state import TrainState

Arrays = dict[str, Array]


@dataclass(frozen=True)
class Steps:
    """Compiled on their first call; states that are passed in are consumed. All but `arrays` has an axis of lanes, l.

    `train(states, arrays, batch [l, b, ...], learning_rate [l], active [l]) -> (states, metrics)`: one update in each
    active lane, the others keep their state; "loss" is the batch's mean loss.
    `evaluate(params, model_state, arrays, batch [l, b, ...], weights [l, b]) -> sums`: each measure times its weight,
    summed, and the sum of the weights; weight 0 leaves an example out.
    `end_epoch(states, sums of all batches) -> (states, metrics)`: selection, counters and the epoch's mean losses.
    """

    train: Callable[..., tuple[TrainState, dict[str, Array]]]
    evaluate: Callable[..., dict[str, Array]]
    end_epoch: Callable[..., tuple[TrainState, dict[str, Array]]]


def compile_steps(task: Any, optimizer: optax.GradientTransformation, mesh: Mesh) -> Steps:
    """The steps of a task on the lanes of a mesh."""
    batch = NamedSharding(mesh, PartitionSpec("batch"))
    end_epoch = _end_epoch(task.keeps_last)
    return Steps(
        train=_on_lanes(_train_step(task, optimizer, batch), mesh, LANES, WHOLE, BATCHES, LANES, LANES, consumes=0),
        evaluate=_on_lanes(_evaluate_step(task, batch), mesh, LANES, LANES, WHOLE, BATCHES, BATCHES),
        end_epoch=_on_lanes(end_epoch, mesh, LANES, LANES, consumes=0),
    )


def _on_lanes(function: Callable, mesh: Mesh, *specs: PartitionSpec, consumes: int | tuple[()] = ()) -> Callable:
    """`function` of one lane, compiled for all; its arguments lie as `specs` say and its results on the lanes."""

    @functools.wraps(function)
    def of_a_lane(*arguments: Any) -> Any:
        own = (
            argument if spec == WHOLE else jax.tree.map(lambda leaf: leaf[0], argument)
            for argument, spec in zip(arguments, specs, strict=True)
        )
        return jax.tree.map(lambda leaf: leaf[None], function(*own))

    mapped = jax.shard_map(
        of_a_lane,
        mesh=mesh,
        in_specs=tuple(WHOLE if spec == WHOLE else LANES for spec in specs),
        out_specs=LANES,
        axis_names={"lane"},  # the batch within a lane is left to the compiler
        check_vma=False,
    )
    places = tuple(NamedSharding(mesh, spec) for spec in specs)
    return jax.jit(mapped, in_shardings=places, out_shardings=NamedSharding(mesh, LANES), donate_argnums=consumes)


def _train_step(task: Any, optimizer: optax.GradientTransformation, batch: NamedSharding) -> Callable:
    def train_step(state: TrainState, arrays: Arrays, examples: Any, learning_rate: Array, active: Array):
        # Keys depend on the step alone, so that a resumed run and any number of devices draw the same.
        key = jax.random.fold_in(state.key, state.step)
        trained, frozen = optim.split(state.params, task.freeze)

        def loss_of(trained: optim.Leaves):
            params = optim.merge(trained, frozen)
            return task.loss(params, state.model_state, _gather(arrays, examples, batch), key)

        (loss, (model_state, metrics)), gradient = jax.value_and_grad(loss_of, has_aux=True)(trained)
        direction, opt_state = optimizer.update(gradient, state.opt_state, trained)
        trained = jax.tree.map(lambda leaf, move: leaf - learning_rate * move, trained, direction)
        params, step = optim.merge(trained, frozen), state.step + 1
        finite = jnp.isfinite(loss) & jnp.isfinite(optax.tree.norm(gradient))
        updated = {
            "step": step,
            "params": params,
            "model_state": task.post_update(params, model_state, step),
            "opt_state": opt_state,
            "selection": state.selection.after_step(loss, finite, step),
        }
        # Chosen leaf by leaf, which costs nothing: the choice is a part of each leaf's own update.
        former = {name: getattr(state, name) for name in updated}
        kept = jax.tree.map(lambda new, old: jnp.where(active, new, old), updated, former)
        return state.replace(**kept), {"loss": loss, **metrics}

    return train_step


def _evaluate_step(task: Any, batch: NamedSharding) -> Callable:
    def evaluate_step(params: Any, model_state: Any, arrays: Arrays, examples: Any, weights: Array):
        values = task.evaluate(params, model_state, _gather(arrays, examples, batch))
        sums = {name: jnp.where(weights > 0, weights * value, 0).sum() for name, value in values.items()}
        return {**sums, "weight": weights.sum()}

    return evaluate_step


def _end_epoch(keeps_last: bool) -> Callable:
    def end_epoch(state: TrainState, sums: tuple[dict[str, Array], ...]):
        before = state.selection
        training_loss = before.running_loss / before.running_steps
        total = jax.tree.map(lambda *parts: sum(parts), *sums) if sums else {}
        weight = total.pop("weight", None)
        means = {f"validation_{name}": value / weight for name, value in total.items()}
        # Where nothing validates, the training loss chooses.
        chooses = means.get("validation_loss", training_loss)
        selection = before.after_epoch(state.params, state.model_state, chooses, state.step, keeps_last)
        metrics = {
            "loss": training_loss,
            **means,
            "best_step": selection.best_step,
            f"best_{'validation' if means else 'training'}_loss": selection.best_loss,
            "epochs_flat_training": selection.training_flat,
            "epochs_flat_validation": selection.validation_flat,
        }
        return state.replace(selection=selection), metrics

    return end_epoch


def _gather(arrays: Arrays, examples: Any, batch: NamedSharding) -> Arrays:
    if not isinstance(examples, dict):
        examples = {name: jnp.take(array, examples, axis=0, mode="clip") for name, array in arrays.items()}
    return lax.with_sharding_constraint(examples, batch)
