"""Where a run's weights come from.

In this order, the first that there is: the run's own checkpoint, `config.resume` (another run's checkpoint with all its
state), `config.init_from` (pretrained weights), scratch. The model is initialised, then pretrained weights are grafted,
then the optimiser is made.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import optax
from jax.sharding import SingleDeviceSharding

from mskjax import convert
from mskjax.convert.graft import say
from mskjax.convert.manifest import conversion_command
from mskjax.files import sha256
from mskjax.training import optim
from mskjax.training.checkpoint import Checkpoints
from mskjax.training.state import TrainState, create
from mskjax.types import Key, Params

BEST = Path("best") / "variables.safetensors"


def starting_state(
    config: Mapping[str, Any], task: Any, optimizer: optax.GradientTransformation, checkpoints: Checkpoints
) -> TrainState:
    """The state to go on from, on the first device."""
    key, size = jax.random.key(config["seed"]), config["image_size"]
    params, model_state = task.init(key, {"image_hu": jax.ShapeDtypeStruct((1, size, size), "int16")})
    optim.check_freeze(params, task.freeze)
    if checkpoints.latest_step is not None:
        return checkpoints.restore(_abstract(_state(params, model_state, task, optimizer, key)))
    if config["resume"]:
        with Checkpoints(Path(config["resume"]) / "checkpoints") as others:
            return others.restore(_abstract(_state(params, model_state, task, optimizer, key)))
    if config["init_from"]:
        source = convert.load_variables(weight_file(config["init_from"]))[0]
        model_state = convert.graft({"params": params, **model_state}, source, fresh=config["fresh"])
        params = model_state.pop("params")
    else:
        say(f"random initialisation: all {len(jax.tree.leaves((params, model_state)))} leaves are fresh")
    return _state(params, model_state, task, optimizer, key)


def weight_file(path: str | Path) -> Path:
    """The file that `init_from` means; `FileNotFoundError` says how to make it where it is missing."""
    file = Path(path) / BEST if Path(path).is_dir() else Path(path)
    if file.is_file():
        return file
    if Path(path).is_dir():
        raise FileNotFoundError(
            f"{path} holds no weights of a run (no {BEST}), which are written when a run ends, or is stopped after a "
            "validation; start it, or go on with it, by launch.train, or by launch.sweep with --config.keep=weights"
        )
    raise FileNotFoundError(f"weight file {path} is missing; make it with: {conversion_command(path)}")


def weight_record(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Which pretrained weights a run starts from, for its provenance; None from scratch."""
    if not config["init_from"]:
        return None
    file = weight_file(config["init_from"])
    return {"path": str(file), "sha256": sha256(file)}


def _state(
    params: Params, model_state: Any, task: Any, optimizer: optax.GradientTransformation, key: Key
) -> TrainState:
    trained, _ = optim.split(params, task.freeze)
    return create(params, model_state, optimizer.init(trained), key)


def _abstract(state: TrainState) -> TrainState:
    """The shapes and types of a state, on the first device."""
    first = SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=first), state)
