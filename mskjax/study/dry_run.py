"""What a study will take, with the time by a few steps that are taken on this machine."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging

from mskjax import tasks
from mskjax.data.dataset import Dataset
from mskjax.study.account import Measured, account
from mskjax.study.data_efficiency import Config
from mskjax.study.sweep import prepare
from mskjax.training import optim, sharding
from mskjax.training.run import load
from mskjax.training.state import create
from mskjax.training.step import compile_steps

TAKEN = 3


def dry_run(config: Config, workdir: str | Path) -> str:
    """The account of a study as text, with XLA's own account of the step's memory; nothing is written."""
    study, dataset, cells = prepare(config, Path(workdir), to_train=False)
    study["inits"] = list(dict.fromkeys(cell.init for cell in cells))
    devices = sharding.make_lanes(study["devices"], len(cells)).size
    return account(study, cells, dataset, measure(study, dataset), devices, xla=True)


def measure(study: Mapping[str, Any], dataset: Dataset) -> Measured:
    """Compiles the step of the study's cells for one device and takes a few on fresh weights; the fastest counts.

    Others on the machine can only slow a step down.
    """
    task, optimizer, mesh = tasks.build(study["task"]), optim.adam(), sharding.make_lanes(1, 1)
    size, batch_size, key = study["image_size"], study["batch_size"], jax.random.key(0)
    logging.info("compiling and taking %d training steps, to measure them", TAKEN)
    arrays = load(dataset.without_test(), size, mesh)
    params, model_state = task.init(key, {"image_hu": jax.ShapeDtypeStruct((1, size, size), "int16")})
    opt_state = optimizer.init(optim.split(params, task.freeze)[0])
    states = sharding.stack([create(params, model_state, opt_state, key)], mesh)
    steps, rows = compile_steps(task, optimizer, mesh), np.zeros((1, batch_size), np.int32)
    rate, active = np.full(1, 1e-6, jax.dtypes.canonicalize_dtype(float)), np.ones(1, bool)
    training, validation = [], []
    for _ in range(1 + TAKEN):  # the first compiles
        start = time.monotonic()
        states, _ = jax.block_until_ready(steps.train(states, arrays, rows, rate, active))
        training.append(time.monotonic() - start)
        start = time.monotonic()
        jax.block_until_ready(steps.evaluate(states.params, states.model_state, arrays, rows, rows.astype(np.float32)))
        validation.append(time.monotonic() - start)
    return Measured(jax.devices()[0].device_kind, min(training[1:]), min(validation[1:]))
