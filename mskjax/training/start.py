"""Where a run's weights come from.

In this order, the first that there is: the run's own checkpoint, `config.resume` (another run's checkpoint with all its
state), `config.init_from` (pretrained weights), scratch. The model is initialised, then pretrained weights are grafted,
then the optimiser is made.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import optax
from absl import logging

from mskjax import convert, tasks
from mskjax.convert.families import variant_of
from mskjax.convert.graft import COLLECTIONS, say
from mskjax.convert.manifest import conversion_command
from mskjax.files import sha256
from mskjax.models.options import VARIANTS
from mskjax.tasks import preprocessing
from mskjax.training import optim
from mskjax.training.checkpoint import Checkpoints
from mskjax.training.state import TrainState, create
from mskjax.types import Key, Params

BEST = Path("best") / "variables.safetensors"


def open_checkpoints(
    workdir: Path, config: Mapping[str, Any], steps_per_epoch: int, writes: bool = True
) -> Checkpoints:
    """The checkpoints of the run of a config."""
    return Checkpoints(
        workdir / "checkpoints",
        interval_s=60 * config["checkpoint_minutes"],
        kept_steps=config.get("keep_epochs", 0) * steps_per_epoch,
        writes=writes,
    )


def starting_state(
    config: Mapping[str, Any], task: Any, optimizer: optax.GradientTransformation, checkpoints: Checkpoints
) -> TrainState:
    """The state to go on from, made in the host's memory, as one device may have no room for all of it.

    Which layers learn is logged.
    """
    tasks.say_policy(config["task"])
    key = jax.random.key(config["seed"])
    params, model_state = task.init(key, tasks.examples(task, 1, config["image_size"]))
    optim.check_freeze(params, task.freeze)
    if checkpoints.latest_step is not None:
        return checkpoints.restore(_state(params, model_state, task, optimizer, key))
    if config["resume"]:
        with Checkpoints(Path(config["resume"]) / "checkpoints") as others:
            return others.restore(_state(params, model_state, task, optimizer, key))
    if config["init_from"]:
        file = weight_file(config["init_from"])
        if Path(config["init_from"]).is_dir() and not (Path(config["init_from"]) / "DONE").is_file():
            logging.warning("%s has not finished; its weights of so far are taken", config["init_from"])
        source, metadata = convert.load_variables(file)
        check_origin(file, metadata, config["task"])
        network = {"params": params, **{name: model_state[name] for name in COLLECTIONS if name in model_state}}
        grafted = convert.graft(network, source, fresh=config["fresh"])
        params = grafted.pop("params")
        model_state = task.begin(params, {**model_state, **grafted})
    else:
        say(f"random initialisation: all {len(jax.tree.leaves((params, model_state)))} leaves are fresh")
    return _state(params, model_state, task, optimizer, key)


def resolved(config: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """The config with a relative `init_from` that lies in `base` as a path; others are relative to where one works."""
    path = config["init_from"]
    return {**config, "init_from": str(base / path) if path and (base / path).exists() else path}


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


def check_origin(file: Path, metadata: Mapping[str, str], task: Mapping[str, Any]) -> None:
    """Raises `ValueError` where a file says that it is of another network than a task's config names.

    A converted file may be of another classifier, or of the other variant of one, and that of a run may have joined
    windows otherwise, where all leaves have the same shapes. A trunk may go into a segmenter, and what a file does not
    say is not held against it. Where it says that its images were prepared otherwise than the task prepares its own,
    the log does too.
    """
    model = task["model"]
    _check_joining(file, metadata, model)
    asked = {"model": model["name"], "variant": variant_of(model["name"], model)}
    said = {name: metadata.get(name, value) for name, value in asked.items()}
    other_classifier = {said["model"], asked["model"]} <= VARIANTS.keys() and said["model"] != asked["model"]
    if other_classifier or said["variant"] != asked["variant"]:
        raise ValueError(
            f"{file} was converted from weights of {said['model']} ({said['variant']}) and the run's network is "
            f"{asked['model']} ({asked['variant']}); name in init_from weights of that one, or that network in the "
            "task's model"
        )
    published, chosen = _published_convention(metadata), task.get("preprocessing")
    if published and chosen and not preprocessing.alike(model["name"], asked["variant"], published, chosen):
        say(
            f"{file}: the code published with these weights prepares images by {published!r}, and "
            f"config.task.preprocessing is {chosen!r}; no error tells which serves them better, so report which it was"
        )


def _check_joining(file: Path, metadata: Mapping[str, str], model: Mapping[str, Any]) -> None:
    asked = model.get("joining")
    learned = json.loads(metadata.get("run", "{}")).get("network", {}).get("joining", asked)
    if asked and learned != asked:
        raise ValueError(
            f"{file} has learned with windows joined as {learned!r} and the run's network joins them as {asked!r}; "
            f"set --config.task.model.joining={learned}, or train those weights again"
        )


def weight_record(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Which pretrained weights a run starts from, for its provenance; None from scratch."""
    if not config["init_from"]:
        return None
    file = weight_file(config["init_from"])
    return {"path": str(file), "sha256": sha256(file)}


def _published_convention(metadata: Mapping[str, str]) -> str | None:
    """The convention of `preprocessing.prepare` that the manifest has of a converted file; None where it has none."""
    try:
        known = json.loads(metadata.get("preprocessing", "null"))
    except ValueError:  # the word "unknown"
        return None
    convention = known.get("published_code") if isinstance(known, dict) else None
    return convention if convention in preprocessing.CONVENTIONS else None


def _state(
    params: Params, model_state: Any, task: Any, optimizer: optax.GradientTransformation, key: Key
) -> TrainState:
    params, model_state = jax.device_get((params, model_state))
    trained, _ = optim.split(params, task.freeze)
    state = create(params, model_state, optimizer.init(trained), key)
    return jax.device_get(state.replace(key=None)).replace(key=key)
