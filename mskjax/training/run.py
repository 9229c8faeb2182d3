"""One run, from a config to a run folder that is complete exactly when it holds `DONE`.

run/  config.json, provenance.json, metrics.jsonl, tensorboard/, checkpoints/<step>/, best/variables.safetensors,
      loss_curves.png, DONE
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from absl import logging
from jax.sharding import Mesh
from ml_collections import ConfigDict

from mskjax import convert, tasks
from mskjax.data.dataset import Dataset, read_dataset
from mskjax.files import read_json, remove, require_folder, write_json
from mskjax.training import lock, optim, provenance, sharding, signals
from mskjax.training.checkpoint import Checkpoints
from mskjax.training.curves import plot_curves
from mskjax.training.examples import Examples, load
from mskjax.training.loop import Interrupted, Schedule, fit
from mskjax.training.progress import Progress
from mskjax.training.start import BEST, starting_state, weight_record
from mskjax.training.state import TrainState
from mskjax.training.step import compile_steps
from mskjax.training.writer import METRICS, Writer, read_rows


def train(config: ConfigDict | Mapping[str, Any], workdir: str | Path) -> None:
    """Trains the run that `config` (as of configs/segmentation.py) describes in the folder `workdir`.

    A run that was stopped goes on from its last checkpoint, bit for bit on the same devices; a finished one is left as
    it is, unless it is given more epochs or patience than before.

    Raises `ValueError` or `OSError` for inputs that do not fit and for a loss that is not finite, and
    `mskjax.training.Interrupted` after SIGTERM or SIGINT, once a checkpoint and the best weights so far are saved.
    """
    config, workdir = _plain(config), Path(workdir)
    if _is_done(workdir, config):
        logging.info("%s is done", workdir)
        return
    _check(config)
    require_folder(workdir)
    mesh = sharding.make_mesh(config["devices"], config["batch_size"])
    dataset = read_dataset(config["dataset"])
    with (
        lock.held(workdir),
        Checkpoints(workdir / "checkpoints", 60 * config["checkpoint_minutes"]) as checkpoints,
    ):
        if checkpoints.latest_step is not None:
            provenance.check_config(workdir, config)
            provenance.check_dataset(workdir, dataset.manifest["sha256"])
        _train(config, workdir, dataset, checkpoints, mesh)


def _train(config: dict[str, Any], workdir: Path, dataset: Dataset, checkpoints: Checkpoints, mesh: Mesh) -> None:
    task, optimizer = tasks.build(config["task"]), optim.adam()
    examples = load(dataset, config["image_size"], config["batch_size"], mesh)
    state = starting_state(config, task, optimizer, checkpoints, mesh)
    step = int(state.step)
    origin = {"path": config["dataset"], "sha256": dataset.manifest["sha256"]}
    weights = None if step else weight_record(config)
    schedule = Schedule(*(config[name] for name in ("seed", "learning_rate", "epochs", "patience")))
    with signals.caught() as caught:  # from before the first word of a start to the last file
        remove(workdir / "DONE")
        provenance.record(workdir, config, origin, weights, step)
        if checkpoints.latest_step is None:
            remove(workdir / BEST)  # of a former run, whose checkpoints someone deleted
        _announce(state, task.freeze, examples, mesh, step)
        steps = compile_steps(task, optimizer, mesh)
        with Writer(workdir, step) as writer, Progress(config["epochs"], examples.steps_per_epoch, step) as progress:
            try:
                state = fit(steps, state, examples, schedule, checkpoints, [writer, progress], caught)
            except Interrupted as stop:
                if int(stop.state.selection.best_step):
                    _write_best(workdir, stop.state)
                raise
        _finish(workdir, state)


def _finish(workdir: Path, state: TrainState) -> None:
    """Writes what a run leaves behind, `DONE` last."""
    outcome = _write_best(workdir, state)
    plot_curves(read_rows(workdir / METRICS), workdir / "loss_curves.png")
    write_json(workdir / "DONE", outcome)
    logging.info(
        "%s: trained %d steps, kept the weights of step %d with validation loss %.4f", workdir, *outcome.values()
    )


def _write_best(workdir: Path, state: TrainState) -> dict[str, Any]:
    """Writes the weights of the lowest validation loss so far; what is told of them."""
    best = state.selection
    outcome = {
        "step": int(state.step),
        "best_step": int(best.best_step),
        "best_validation_loss": float(best.best_loss),
    }
    variables = {"params": best.best_params, **best.best_model_state}
    # One entry, because safetensors writes several in a random order and equal runs are to have equal files.
    convert.save_variables(workdir / BEST, jax.device_get(variables), {"run": json.dumps(outcome)})
    return outcome


def _is_done(workdir: Path, config: dict[str, Any]) -> bool:
    """Whether the run is finished and is asked for nothing more; `ValueError` if it is another config's."""
    if not (workdir / "DONE").is_file():
        return False
    provenance.check_config(workdir, config)
    own = read_json(workdir / "config.json")
    if all(own[name] == config[name] for name in ("epochs", "patience")):
        return True
    if not any((workdir / "checkpoints").glob("*")):
        raise ValueError(f"{workdir} is finished and its checkpoints are gone, so it cannot go on; use another workdir")
    return False


def _announce(state: TrainState, freeze: Sequence[str], examples: Examples, mesh: Mesh, step: int) -> None:
    trained, _ = optim.split(state.params, freeze)
    logging.info(
        "%s parameters, %s of them trained; %d training and %d validation slices of %dx%d, %d step%s an epoch; %s",
        f"{sum(leaf.size for leaf in jax.tree.leaves(state.params)):,}",
        f"{sum(leaf.size for leaf in trained.values()):,}",
        len(examples.train),
        int(examples.weights.sum()),
        *examples.arrays["image_hu"].shape[1:],
        *(examples.steps_per_epoch, "s" * (examples.steps_per_epoch != 1)),
        f"{mesh.size} x {mesh.devices.flat[0].device_kind}",
    )
    logging.info(
        "%s; the first step is compiled, which takes a while", f"going on at step {step}" if step else "starting"
    )


def _check(config: Mapping[str, Any]) -> None:
    """Raises `ValueError` for numbers with which nothing can be trained."""
    if not config["dataset"]:
        raise ValueError("no dataset is given; name a folder made by launch.prepare with --config.dataset=DATASET")
    for name in ("learning_rate", "epochs", "patience", "image_size"):
        if not config[name] > 0:
            raise ValueError(f"config.{name} is {config[name]}; it must be above 0")


def _plain(config: ConfigDict | Mapping[str, Any]) -> dict[str, Any]:
    """The config as it reads back from config.json, so that the two can be compared."""
    return json.loads(config.to_json() if isinstance(config, ConfigDict) else json.dumps(config))
