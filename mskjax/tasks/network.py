"""A task's network: its fresh variables, and how it is applied in training and in evaluation."""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from mskjax import models
from mskjax.types import Key, Params

Batch = Mapping[str, Any]
State = dict[str, Any]
Outputs = Mapping[str, Array]


def initial(module: nn.Module, key: Key, shape: Sequence[int]) -> tuple[Params, State]:
    """Fresh parameters and the network's other variables for input of `shape`."""
    variables = dict(models.init(module, key, jax.ShapeDtypeStruct(tuple(shape), jnp.float32)))
    return variables.pop("params"), variables


def train(
    module: nn.Module, params: Params, model_state: State, *inputs: Array, key: Key, freeze: Sequence[str]
) -> tuple[Outputs, State]:
    """The outputs in training, with dropout drawn from `key`, and the next model state.

    BatchNorm that `freeze` names keeps and uses its running statistics.
    """
    with models.freeze_batch_norm(freeze):
        outputs, updated = module.apply(
            {"params": params, **model_state}, *inputs, train=True, mutable=list(model_state), rngs={"dropout": key}
        )
    return outputs, {**model_state, **updated}


def evaluate(module: nn.Module, params: Params, model_state: State, *inputs: Array) -> Outputs:
    """The outputs in evaluation, in which nothing is random."""
    outputs: Any = module.apply({"params": params, **model_state}, *inputs, train=False)
    return outputs
