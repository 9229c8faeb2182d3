"""What every task does unless it says otherwise."""

from typing import ClassVar

from jax import Array

from mskjax.tasks.network import State
from mskjax.types import Params


class Task:
    """A task keeps the weights of the lowest validation loss, or with `keeps_last` the last ones."""

    keeps_last: ClassVar[bool] = False

    def begin(self, params: Params, model_state: State) -> State:
        """The model state of a run that begins with pretrained `params`; `model_state` has what came with them."""
        return model_state

    def post_update(self, params: Params, model_state: State, step: Array) -> State:
        """The model state after an update of the parameters, the `step`th."""
        return model_state
