"""One run, from a config to a finished run folder."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from absl import logging
from jax.sharding import Mesh
from ml_collections import ConfigDict

from mskjax import tasks
from mskjax.data.dataset import read_dataset
from mskjax.data.manifest import read_manifest
from mskjax.files import read_json, require_folder
from mskjax.training import ahead, alike, optim, origin, provenance, sharding, signals, supply
from mskjax.training.examples import Examples
from mskjax.training.folder import RunFolder, is_done
from mskjax.training.loop import fit
from mskjax.training.member import Member
from mskjax.training.progress import Progress
from mskjax.training.state import TrainState
from mskjax.training.step import compile_steps
from mskjax.training.supply import Supply
from mskjax.training.writer import METRICS, read_rows


def train(config: ConfigDict | Mapping[str, Any], workdir: str | Path) -> None:
    """Trains the run that `config` (as of configs/segmentation.py) describes in the folder `workdir`.

    A run that was stopped goes on from its last checkpoint, bit for bit on the same devices; a finished one is left as
    it is, unless it is given more epochs or patience than before, or stops on another loss.

    Raises `ValueError` or `OSError` for inputs that do not fit and for a loss that is not finite, and
    `mskjax.training.Interrupted` after a signal, once a checkpoint and the best weights so far are saved.
    """
    given, workdir, team = plain(config), Path(workdir), alike.connected()
    config = _resolved(given)
    done = is_done(workdir, config)
    alike.check_command(team, given, workdir, done)
    if done:
        _check_known(workdir, config)
        logging.info("%s is done", workdir)
        return
    check(config)
    require_folder(workdir)
    mesh = sharding.make_mesh(config["devices"], config["batch_size"], together=True)
    own = supply.of_run(config, mesh)
    alike.check_dataset(team, config["dataset"], own.manifest["sha256"])
    alike.check_workdir(team, workdir)
    train_run(workdir, config, own.splits(), own, mesh)


def train_run(workdir: Path, config: dict[str, Any], examples: Examples, own: Supply, mesh: Mesh) -> None:
    """Trains a run on `examples` of what it is supplied with, in all processes whose devices the mesh has."""
    task, optimizer = tasks.build(config["task"]), optim.adam(config.get("weight_decay", 0.0))
    about = origin.of_dataset(config["dataset"], own.manifest)
    if (team := sharding.team(mesh)).index:
        opened = Member(workdir, config, examples, task, optimizer, team=team)
    else:
        opened = _Run(workdir, config, about, examples, task, optimizer, team=team)
    with opened as run, signals.caught() as caught:  # from before the first word of a start to the last file
        _tell(config, task, examples, mesh)
        layout = {name: config[name] for name in ("batch_norm", "split_from") if name in config}
        steps = compile_steps(task, optimizer, mesh, **layout)
        example = tasks.examples(task, 1, config["image_size"])
        state = ahead.abstract_state(task, optimizer, example)
        with ahead.compiled(steps, state, *own.shapes(task), mesh) as compiled:
            fit(compiled, own.load(), [run], mesh, caught)


def _tell(config: Mapping[str, Any], task: Any, examples: Examples, mesh: Mesh) -> None:
    seen = "scans, in crops" if tasks.sees_volumes(config["task"]) else "slices"
    example = "x".join(map(str, tasks.examples(task, 1, config["image_size"])["image_hu"].shape[1:]))
    devices = f"{mesh.size} x {mesh.devices.flat[0].device_kind}"
    if (processes := sharding.team(mesh).count) > 1:
        devices += f" of {processes} processes"
    logging.info(
        "%d training and %d validation %s of %s; %d step%s an epoch; %s",
        *(*examples.counts, seen, example, examples.steps_per_epoch, "s" * (examples.steps_per_epoch != 1), devices),
    )


class _Run(RunFolder):
    """A run that is watched: it says what it is, shows its progress and leaves a picture of its losses."""

    def start(self) -> TrainState:
        state = super().start()
        step, (trained, _) = int(state.step), optim.split(state.params, self.task.freeze)
        logging.info(
            "%s parameters, %s of them trained; %s; the first step is compiled, unless a former start's is kept",
            f"{sum(leaf.size for leaf in jax.tree.leaves(state.params)):,}",
            f"{sum(leaf.size for leaf in trained.values()):,}",
            f"going on at step {step}" if step else "starting",
        )
        self.watch(Progress(self.schedule.epochs, self.examples.steps_per_epoch, step))
        return state

    def leave(self, state: TrainState) -> None:
        super().leave(state)
        from mskjax.training.curves import plot_curves  # not before: matplotlib would delay the first step

        plot_curves(read_rows(self.workdir / METRICS), self.workdir / "loss_curves.png")
        steps, best, loss = self.outcome(state).values()
        logging.info(
            "%s: trained %d steps, kept the weights of step %d with loss %.4f", self.workdir, steps, best, loss
        )


def _resolved(config: dict[str, Any]) -> dict[str, Any]:
    """The config with what the dataset decides: by these fields the run is known from now on."""
    if tasks.is_unlabelled(config["task"]):
        check(config)
        steps = supply.of_volumes(config).splits().steps_per_epoch
        return {**config, "task": tasks.scheduled(config["task"], steps, config["epochs"])}
    return _balanced(config)


def _check_known(workdir: Path, config: Mapping[str, Any]) -> None:
    """Raises `ValueError` or `OSError` for a dataset that is not that of a finished run, whose own may be gone."""
    if Path(config["dataset"]).is_dir() or config["dataset"] != read_json(workdir / "config.json")["dataset"]:
        provenance.check_dataset(workdir, read_manifest(Path(config["dataset"]))["sha256"])


def _balanced(config: dict[str, Any]) -> dict[str, Any]:
    """The config with the class weights that "balanced" means, by which the run is known from now on."""
    if not tasks.is_balanced(config["task"]):
        return config
    check(config)
    dataset = read_dataset(config["dataset"]).without_test()
    tasks.check_dataset(tasks.balanced(config["task"], (1, 1)), dataset)  # before labels that lack are counted
    label = dataset.cases["sarcopenia"].iloc[dataset.rows("train")].tolist()
    task = tasks.balanced(config["task"], [label.count(0), label.count(1)])
    logging.info("balanced class weights: %s", ", ".join(f"{weight:.3f}" for weight in task["class_weights"]))
    return {**config, "task": task}


def check(config: Mapping[str, Any]) -> None:
    """Raises `ValueError` for numbers with which nothing can be trained."""
    if not config["dataset"]:
        raise ValueError("no dataset is given; name a folder made by launch.prepare with --config.dataset=DATASET")
    for name in ("learning_rate", "epochs", "patience", "image_size", "batch_size", "crops_per_scan"):
        if not config.get(name, 1) > 0:
            raise ValueError(f"config.{name} is {config[name]}; it must be above 0")
    for name in ("weight_decay", "warmup_epochs", "keep_epochs"):
        if not config.get(name, 0) >= 0:
            raise ValueError(f"config.{name} is {config[name]}; it must be 0 or more")
    if not 0 <= config.get("overlap", 0) < 1:
        raise ValueError(f"config.overlap is {config['overlap']}; it must be at least 0 and below 1")


def plain(config: ConfigDict | Mapping[str, Any]) -> dict[str, Any]:
    """The config as it reads back from config.json, so that the two can be compared."""
    return json.loads(config.to_json() if isinstance(config, ConfigDict) else json.dumps(config))
