"""What a run of volumes keeps in a device's memory: a batch of crops, and not the dataset."""

import gc
import threading
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest

from configs import smit_pretraining, smit_segmentation
from mskjax import tasks
from mskjax.data.volume_folder import Volumes
from mskjax.study import dry_run, memory
from mskjax.study.estimates import work
from mskjax.training.step import Steps
from mskjax.training.supply import OfVolumes

SIDE = 32


def of_config(config, batch_size=4):
    run = config.get_config("smoke").to_dict()
    return {**run, "batch_size": batch_size}


@pytest.fixture(scope="module")
def pretraining():
    run = of_config(smit_pretraining)
    return run, memory.of_run(run, 1)


def test_a_batch_of_crops_lies_on_the_device_and_no_volume(pretraining):
    run = of_config(smit_segmentation)
    own = memory.of_run(run, slices=100_000)
    assert own.examples == 4 * (SIDE**3 * (2 + 1) + 3 * 4)
    assert own.total == own.state + own.gradients + own.activations + own.examples
    assert pretraining[1].examples == 4 * 2 * SIDE**3 * 2


def test_the_state_of_a_pretraining_holds_its_teacher_twice(pretraining):
    """As the current and as the best one; the student too, and two moments of it."""
    run, own = pretraining
    module = tasks.build(run["task"]).module
    teachers = own.parameters - module.width - _pixels(module)
    trained = own.parameters - 2 * (1 + 2 + 4 + 8) * module.width  # all but the norms that no gradient reaches
    assert own.gradients == 4 * trained
    centers = 2 * module.prototypes
    assert own.weights == 4 * (own.parameters + teachers + centers + 1)
    assert 0 <= own.state - 2 * own.weights - 2 * 4 * trained < 100


def _pixels(module):
    """The numbers of the student's own layer that predicts the image: a voxel of 32 a side from 16 widths."""
    return 16 * module.width * SIDE**3 + SIDE**3


def test_the_work_of_crops():
    """47 scans of four crops and 16 that validate, in batches of 4, 200 epochs."""
    own = work(47 * 4, 16 * 4, 4, 200)
    assert (own.steps, own.validations) == (200 * 47, 200 * 16)


def test_steps_are_measured_on_a_batch_of_crops(monkeypatch):
    """Which is read as in a training, beside no array of a dataset; nothing reads on afterwards."""
    taken, validated = [], []

    class Train:
        def __call__(self, *arguments):
            pytest.fail("a call compiles the step once more")

        def lower(self, *arguments):
            return self

        def compile(self):
            return lambda states, *others: (taken.append(others), (states, {}))[1]

    def evaluate(*others):
        validated.append(others)

    def read(row, rng):
        return {"image_hu": np.full((2, SIDE, SIDE, SIDE), 10 + row, np.int16)}

    monkeypatch.setattr(dry_run, "compile_steps", lambda *_: Steps(Train(), evaluate, len))
    monkeypatch.setattr(dry_run, "compiled_bytes", lambda compiled: 7)
    run, table = of_config(smit_pretraining, batch_size=2), pd.DataFrame({"planes": ["", ""]})
    volumes = Volumes(Path("nowhere"), pd.DataFrame({"case_id": ["a", "b"]}), table, {}, (2.0, 2.0, 2.0))
    gc.disable()
    try:
        found = dry_run.measure(run, OfVolumes(volumes, run["task"], read, 1, run["image_size"], 2), 1)
        until = [thread for thread in threading.enumerate() if thread.name.startswith("grain")]
        for thread in until:
            thread.join(timeout=5)
        assert not any(thread.is_alive() for thread in until)
    finally:
        gc.enable()
    assert (found.device, found.xla_bytes) == ("cpu", 7)
    assert len(taken) == len(validated) == 1 + dry_run.TAKEN
    arrays, batch, _, active = taken[0]
    assert (arrays, active.tolist()) == ({}, [True])
    np.testing.assert_array_equal(batch["image_hu"], np.full((1, 2, 2, SIDE, SIDE, SIDE), 11))
    assert validated[0][3] is batch
    assert jax.tree.leaves(validated[0][4])[0].shape == (1, 2)
