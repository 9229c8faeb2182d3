"""The three compiled functions of training: a step, the evaluation of a batch, and the end of an epoch.

All that differs between the runs of a study is an argument: the state, the batch and the learning rate. A batch is the
rows of its examples in `arrays`, which all runs share, or the examples themselves. One compilation therefore serves
runs of any number of examples, and all lanes: each lane computes its own run and waits for no other (`shard_map`),
while the devices of one lane share its batch.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mskjax.training import optim
from mskjax.training.sharding import BATCHES, LANES, WHOLE, split_above
from mskjax.training.state import TrainState

GLOBAL, DEVICE = BATCH_NORMS = ("global", "device")
Arrays = dict[str, Array]


@dataclass(frozen=True)
class Steps:
    """Compiled on their first call; states that are passed in are consumed. All but `arrays` has an axis of lanes, l.

    `train(states, arrays, batch [l, b, ...], learning_rate [l], active [l]) -> (states, metrics)`: one update in each
    active lane, the others keep their state; "loss" is the batch's mean loss.
    `evaluate(params, model_state, arrays, batch [l, b, ...], weights [l, b]) -> sums`: each measure times its weight,
    summed, and the sum of the weights; weight 0 leaves an example out.
    `end_epoch(states, sums of all batches) -> (states, metrics)`: selection, counters and the epoch's mean losses.
    `split_from` says which leaves of a state are split over the devices of a lane, as `sharding.split_above` does.
    """

    train: Callable[..., tuple[TrainState, dict[str, Array]]]
    evaluate: Callable[..., dict[str, Array]]
    end_epoch: Callable[..., tuple[TrainState, dict[str, Array]]]
    split_from: int = 0


def compile_steps(
    task: Any, optimizer: optax.GradientTransformation, mesh: Mesh, batch_norm: str = GLOBAL, split_from: int = 0
) -> Steps:
    """The steps of a task on the lanes of a mesh.

    With `batch_norm` "device" each device of a lane trains on its own part of the batch, with BatchNorm's moments and
    random numbers of its own; gradients, losses and running statistics are averaged over them in one reduction.
    Leaves of `split_from` elements and more are split over the devices of a lane, as `sharding.stack` splits them.
    Raises `ValueError` for another word, and where both are asked for.
    """
    if batch_norm not in BATCH_NORMS:
        raise ValueError(f"batch_norm is {batch_norm!r}; it must be one of {', '.join(BATCH_NORMS)}")
    if split_from and batch_norm == DEVICE:
        raise ValueError("parameters that are split need batch_norm 'global'; leave out one of the two")
    batch = NamedSharding(mesh, PartitionSpec("batch"))
    on_lanes = partial(_on_lanes, mesh=mesh, split_from=split_from)
    train, manual = _train_step(task, optimizer, batch), LANES
    if batch_norm == DEVICE:
        train, manual = _train_step(task, optimizer, None), BATCHES
    return Steps(
        train=on_lanes(train, LANES, WHOLE, BATCHES, LANES, LANES, consumes=0, manual=manual),
        evaluate=on_lanes(_evaluate_step(task, batch), LANES, LANES, WHOLE, BATCHES, BATCHES),
        end_epoch=on_lanes(_end_epoch(task.keeps_last), LANES, LANES, consumes=0),
        split_from=split_from,
    )


def _on_lanes(
    function: Callable,
    *specs: PartitionSpec,
    mesh: Mesh,
    split_from: int,
    consumes: int | tuple[()] = (),
    manual: PartitionSpec = LANES,
) -> Callable:
    """`function` of one lane, compiled for all; its arguments lie as `specs` say and its results on the lanes.

    The axes of `manual` are those over which it computes on its own; the batch within a lane is the compiler's unless
    it is one of them.
    """

    @functools.wraps(function)
    def of_a_lane(*arguments: Any) -> Any:
        own = (
            argument if spec == WHOLE else jax.tree.map(lambda leaf: leaf[0], argument)
            for argument, spec in zip(arguments, specs, strict=True)
        )
        return jax.tree.map(lambda leaf: leaf[None], _split(function(*own), mesh, split_from))

    mapped = jax.shard_map(
        of_a_lane,
        mesh=mesh,
        in_specs=tuple(manual if spec == BATCHES else spec for spec in specs),
        out_specs=LANES,
        axis_names=set(manual),
        check_vma=False,
    )
    if split_from:  # states lie as `sharding.stack` has put them, and their results as `_split` does
        return jax.jit(mapped, donate_argnums=consumes)
    places = tuple(NamedSharding(mesh, spec) for spec in specs)
    return jax.jit(mapped, in_shardings=places, out_shardings=NamedSharding(mesh, LANES), donate_argnums=consumes)


def _split(results: Any, mesh: Mesh, split_from: int) -> Any:
    """Results whose large leaves lie as `split_above` says; as the compiler wants for 0."""
    if not split_from:
        return results

    def placed(leaf: Array) -> Array:
        return lax.with_sharding_constraint(leaf, NamedSharding(mesh, split_above(leaf, mesh, split_from)))

    return jax.tree.map(placed, results)


def _train_step(task: Any, optimizer: optax.GradientTransformation, batch: NamedSharding | None) -> Callable:
    """An update on a batch that lies as `batch` says; for None on a device's own part, averaged over the devices."""

    def train_step(state: TrainState, arrays: Arrays, examples: Any, learning_rate: Array, active: Array):
        # Keys depend on the step alone, so that a resumed run and any number of devices draw the same.
        key = jax.random.fold_in(state.key, state.step)
        if batch is None:
            key = jax.random.fold_in(key, lax.axis_index("batch"))
        trained, frozen = optim.split(state.params, task.freeze)

        def loss_of(trained: optim.Leaves):
            params = optim.merge(trained, frozen)
            return task.loss(params, state.model_state, _gather(arrays, examples, batch), key)

        (loss, (model_state, metrics)), gradient = jax.value_and_grad(loss_of, has_aux=True)(trained)
        if batch is None:
            loss, model_state, metrics, gradient = _averaged((loss, model_state, metrics, gradient))
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


def _averaged(trees: Any) -> Any:
    """The means over a lane's devices of all that is floating, in one reduction; counts are alike on all."""
    leaves, structure = jax.tree.flatten(trees)
    floating = [jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves]
    means = iter(lax.pmean([leaf for leaf, is_one in zip(leaves, floating, strict=True) if is_one], "batch"))
    return jax.tree.unflatten(
        structure, [next(means) if is_one else leaf for leaf, is_one in zip(leaves, floating, strict=True)]
    )


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


def _gather(arrays: Arrays, examples: Any, batch: NamedSharding | None) -> Arrays:
    if not isinstance(examples, dict):
        examples = {name: jnp.take(array, examples, axis=0, mode="clip") for name, array in arrays.items()}
    return examples if batch is None else lax.with_sharding_constraint(examples, batch)
