"""What a study will take, with the time by a few steps that are taken on this machine."""

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging

from mskjax import tasks
from mskjax.data.dataset import Dataset
from mskjax.study.account import account
from mskjax.study.estimates import Measured, Networks, networks
from mskjax.study.kinds import Cell, kind_of
from mskjax.study.memory import compiled_bytes
from mskjax.study.settings import Config
from mskjax.study.sweep import prepare, rows_of
from mskjax.training import optim, sharding, signals, supply
from mskjax.training.loop import Interrupted
from mskjax.training.state import create
from mskjax.training.step import compile_steps
from mskjax.training.supply import Supply

TAKEN = 3
ENOUGH_S = 60.0  # after which no further step is taken


def dry_run(config: Config, workdir: str | Path, measured: bool = True) -> Iterator[str]:
    """The account of a study, a paragraph as soon as it is known; nothing is written.

    Unless it is `measured` no step is compiled, which takes minutes for a large network, and no time is told. Raises
    `mskjax.training.Interrupted` after a signal, once the network under way is measured.
    """
    study, dataset, cells = prepare(config, Path(workdir), to_train=False)
    axis = kind_of(study).axis
    present = {cell.row for cell in cells}
    study[axis] = [name for name in study[axis] if name in present]
    devices = sharding.make_lanes(study["devices"], len(cells)).size
    for run, _ in networks(study, cells).values():
        tasks.say_policy(run["task"])
    with signals.caught("ends once the network under way is measured; Ctrl-C once more ends at once") as caught:
        measure_all = partial(_measure_all, study, dataset, cells, caught) if measured else None
        for paragraph in account(study, cells, dataset, measure_all, devices):
            yield paragraph
            _heed(caught)


def _measure_all(
    study: Mapping[str, Any], dataset: Dataset, cells: Sequence[Cell], caught: signals.Caught, runs: Networks
) -> dict[str, Measured]:
    learned, mesh, measured = kind_of(study).learned(dataset), sharding.make_lanes(1, 1), {}
    # Not any row: cases that take no part may lack masks and labels.
    row = int(rows_of(learned, cells[0].train_cases[:1])[0])
    for name, (run, _) in runs.items():
        _heed(caught)
        place = f"{len(measured) + 1} of {len(runs)}"
        logging.info("%s (%s): compiling and taking up to %d training steps, to measure them", name, place, TAKEN)
        measured[name] = measure(run, supply.of_cells(run, mesh, learned), row)
    return measured


def _heed(caught: signals.Caught) -> None:
    if caught.signum:
        raise Interrupted(caught.signum, again="nothing was written, and the same command begins anew")


def measure(run: Mapping[str, Any], own: Supply, row: int) -> Measured:
    """Compiles the step of a run for one device, and takes a few on fresh weights; the fastest counts.

    The step is compiled once, for time and memory: networks of 100 layers take minutes. Others on the machine can only
    slow a step down. `own` is what `mskjax.training.supply` made of the dataset, of which the case
    at `row` fills the batches.
    """
    task, mesh = tasks.build(run["task"]), sharding.make_lanes(1, 1)
    optimizer, key = optim.adam(run.get("weight_decay", 0.0)), jax.random.key(0)
    params, model_state = task.init(key, tasks.examples(task, 1, run["image_size"]))
    opt_state = optimizer.init(optim.split(params, task.freeze)[0])
    states = sharding.stack([create(params, model_state, opt_state, key)], mesh)
    steps: Any = compile_steps(task, optimizer, mesh)
    arrays, batch = own.load(), jax.tree.map(lambda leaf: leaf[None], own.choose([row], [row]).batch(0, 0))
    weights = np.ones((1, run["batch_size"]), np.float32)
    rate, active = np.full(1, 1e-6, jax.dtypes.canonicalize_dtype(float)), np.ones(1, bool)
    step = steps.train.lower(states, arrays, batch, rate, active).compile()
    training, validation = [], []
    while len(training) < 2 or (len(training) <= TAKEN and sum(training[1:]) < ENOUGH_S):  # the first warms up
        start = time.monotonic()
        states, _ = jax.block_until_ready(step(states, arrays, batch, rate, active))
        training.append(time.monotonic() - start)
        start = time.monotonic()
        jax.block_until_ready(steps.evaluate(states.params, states.model_state, arrays, batch, weights))
        validation.append(time.monotonic() - start)
    return Measured(jax.devices()[0].device_kind, min(training[1:]), min(validation[1:]), compiled_bytes(step))
