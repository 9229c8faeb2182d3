"""What one training of a run keeps in a device's memory, without training: estimates, to be called so.

Two accounts that know nothing of each other: the arrays that the derivative of the loss stores, summed before XLA
shares or recomputes any of them, beside the state; and XLA's own account of the compiled step.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.extend.core import Literal

from mskjax import tasks
from mskjax.training import ahead, optim, sharding
from mskjax.training.state import TrainState
from mskjax.training.step import compile_steps


@dataclass(frozen=True)
class Memory:
    """Bytes of one run on one device, but for `parameters`, which counts numbers.

    `weights` are parameters and running statistics, as best/ holds them; `state` is those twice (current and best),
    the optimiser's moments and the counters, as a checkpoint holds it. `activations` is an estimate.
    """

    parameters: int
    weights: int
    state: int
    gradients: int
    activations: int
    examples: int

    @property
    def total(self) -> int:
        """The sum of what is on the device in a training step."""
        return self.state + self.gradients + self.activations + self.examples


def of_run(run: Mapping[str, Any], slices: int) -> Memory:
    """The memory of a run with `slices` slices on its device, or with the crops of a batch of volumes.

    `run` has "task", "image_size", "batch_size" and, where that is not 0, "weight_decay".
    """
    task = tasks.build(run["task"])
    batch = tasks.examples(task, run["batch_size"], run["image_size"])
    state = ahead.abstract_state(task, optim.adam(), batch)
    trained, _ = optim.split(state.params, task.freeze)
    return Memory(
        parameters=sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        weights=_bytes((state.params, state.model_state)),
        state=_bytes(state),
        gradients=_bytes(trained),
        activations=stored_activations(task, state, batch),
        examples=_bytes(_resident(run, task, slices)),
    )


def stored_activations(task: Any, state: TrainState, batch: Mapping[str, jax.ShapeDtypeStruct]) -> int:
    """The bytes of all arrays that the derivative of the task's loss stores between forward and backward pass.

    The derivative is that of the parameters that learn: what only frozen ones need is not stored. Each array once, and
    without the parameters themselves, which lie in the state; nothing is computed.
    """

    def stored(params: Any, model_state: Any, batch: Any, key: Any) -> Any:
        trained, frozen = optim.split(params, task.freeze)
        # What jax.vjp returns is a tree whose leaves are the stored arrays.
        return jax.vjp(lambda own: task.loss(optim.merge(own, frozen), model_state, batch, key)[0], trained)[1]

    program = jax.make_jaxpr(stored)(state.params, state.model_state, dict(batch), state.key).jaxpr
    given = {*program.invars, *program.constvars}
    kept = {leaf for leaf in program.outvars if not isinstance(leaf, Literal)} - given
    return sum(_bytes(leaf.aval) for leaf in kept)


def by_xla(run: Mapping[str, Any], slices: int) -> int:
    """The bytes that XLA's account gives to the compiled training step of `of_run`, on one device of this machine.

    Arguments, results and intermediates, what is given away and reused counted once. Compiling the full-size network
    takes minutes on a CPU, whose convolutions, unlike a GPU's, compute bfloat16 in float32.
    """
    task, mesh = tasks.build(run["task"]), sharding.make_lanes(devices=1, most=1)
    batch_size, optimizer = run["batch_size"], optim.adam(run.get("weight_decay", 0.0))
    batch = tasks.examples(task, batch_size, run["image_size"])
    steps, state = compile_steps(task, optimizer, mesh), ahead.abstract_state(task, optimizer, batch)
    rows = jax.ShapeDtypeStruct((batch_size,), np.int32)
    arrays, examples = ({}, batch) if tasks.sees_volumes(run["task"]) else (_resident(run, task, slices), rows)
    training, _ = ahead.arguments(steps, state, arrays, examples, mesh)
    step: Any = steps.train
    return compiled_bytes(step.lower(*training).compile())


def compiled_bytes(compiled: jax.stages.Compiled) -> int:
    """The bytes that a compiled function needs on its device, by XLA's account, as `by_xla` says."""
    account: Any = compiled.memory_analysis()
    return (
        account.argument_size_in_bytes
        + account.output_size_in_bytes
        + account.temp_size_in_bytes
        - account.alias_size_in_bytes
    )


def _resident(run: Mapping[str, Any], task: Any, slices: int) -> dict[str, jax.ShapeDtypeStruct]:
    """The shapes of the examples that a run holds on its device: all slices, or a batch of crops."""
    count = run["batch_size"] if tasks.sees_volumes(run["task"]) else slices
    return tasks.examples(task, count, run["image_size"])


def _bytes(tree: Any) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
