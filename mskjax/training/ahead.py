"""Compilation ahead of the first step, in a thread beside the reading of data and weights."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import optax
from absl import logging
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mskjax.models.initial import undrawn
from mskjax.processes import COMPILING
from mskjax.training import optim, sharding
from mskjax.training.state import TrainState, create
from mskjax.training.step import Steps


def abstract_state(task: Any, optimizer: optax.GradientTransformation, example: Mapping[str, Any]) -> TrainState:
    """The shapes and types of a run's state, for examples like `example`, arrays or their shapes."""
    key = jax.random.key(0)
    with undrawn():
        variables = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), task.init(key, example))

    def made(params: Any, model_state: Any, key: Any) -> TrainState:
        return create(params, model_state, optimizer.init(optim.split(params, task.freeze)[0]), key)

    return jax.eval_shape(made, *variables, key)


def arguments(
    steps: Steps, state: TrainState, arrays: Any, batch: Any, mesh: Mesh
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """What `Steps.train` and `Steps.evaluate` take, as shapes, by those of one lane's state, the arrays and a batch.

    Where they lie is told too, as a function is compiled anew for the same shapes elsewhere.
    """
    lanes, together = mesh.shape["lane"], sharding.team(mesh).count > 1

    def shape(leaf: Any, *before: int, at: PartitionSpec | None) -> jax.ShapeDtypeStruct:
        place = None if at is None else NamedSharding(mesh, at)
        return jax.ShapeDtypeStruct((*before, *leaf.shape), leaf.dtype, sharding=place)

    def at_lane(leaf: Any) -> jax.ShapeDtypeStruct:
        split = sharding.split_above(leaf, mesh, steps.split_from)
        return shape(leaf, lanes, at=PartitionSpec("lane", *split))

    states = jax.tree.map(at_lane, state)
    arrays = jax.tree.map(lambda leaf: shape(leaf, at=sharding.WHOLE), arrays)
    # What a process alone gives of its own memory lies nowhere yet.
    here = jax.tree.map(lambda leaf: shape(leaf, lanes, at=sharding.BATCHES if together else None), batch)
    size, number = jax.tree.leaves(batch)[0].shape[:1], jax.dtypes.canonicalize_dtype(float)
    weights = shape(jax.ShapeDtypeStruct(size, np.float32), lanes, at=sharding.BATCHES if together else None)
    rates, active = (
        shape(jax.ShapeDtypeStruct((), dtype), lanes, at=sharding.LANES if together else None)
        for dtype in (number, bool)
    )
    return (states, arrays, here, rates, active), (states.params, states.model_state, arrays, here, weights)


@contextmanager
def compiled(steps: Steps, state: TrainState, arrays: Any, batch: Any, mesh: Mesh) -> Iterator[Steps]:
    """The steps, compiled for these shapes while its block runs; their first calls wait until they are.

    The step comes first, as the evaluation is not needed before the end of an epoch. It is traced before the block
    begins, as what Python does in two threads takes longer than in turn. An error in the block waits for none of them.
    """
    training, evaluation = arguments(steps, state, arrays, batch, mesh)
    to_train: Any = steps.train
    to_evaluate: Any = steps.evaluate
    pool = ThreadPoolExecutor(1, thread_name_prefix=COMPILING)
    try:
        train = pool.submit(to_train.lower(*training).compile)
        evaluate = pool.submit(lambda: to_evaluate.lower(*evaluation).compile())
        yield replace(
            steps, train=_after(train, steps.train, "the first step begins"), evaluate=_after(evaluate, steps.evaluate)
        )
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _after(ready: Future[Any], function: Callable[..., Any], first: str = "") -> Callable[..., Any]:
    """`function`, which is called once it is compiled, by then without compiling; `first` is told before."""
    told = [first] if first else []

    def call(*arguments: Any) -> Any:
        ready.result()
        if told:
            logging.info(told.pop())
        return function(*arguments)

    return call
