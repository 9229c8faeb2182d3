import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from study_cases import blank, frame, study

from mskjax import tasks
from mskjax.study import account, memory
from mskjax.study.data_efficiency import plan, pretext_config, run_config
from mskjax.study.estimates import Measured, Work, estimate_s, work, works
from mskjax.tasks.task import Task
from mskjax.training.state import create

CASES = frame(8, 2, slices=2)


@pytest.fixture(scope="module")
def smoke():
    """The smallest study: its config, cells and dataset."""
    config = study("smoke", image_size=64)
    return config, plan(CASES, config), blank(CASES, rows=50, columns=60)


@pytest.fixture(scope="module")
def memory_of_a_cell(smoke):
    return memory.of_run(run_config(smoke[0], smoke[1][0]), slices=20)


@pytest.fixture(scope="module")
def text(smoke):
    times = {
        "cells": Measured("a clock", step_s=1.0, validation_s=0.5, xla_bytes=1_500_000),
        "pretext reconstruction": Measured("a clock", step_s=10.0, validation_s=5.0, xla_bytes=0),
        "pretext jigsaw": Measured("a clock", step_s=20.0, validation_s=7.0, xla_bytes=0),
    }
    return "\n\n".join(account.account(*smoke, measure=lambda runs: {name: times[name] for name in runs}, devices=2))


@pytest.mark.parametrize(("n", "steps"), [(5, 2), (10, 3), (25, 7), (50, 13), (75, 19), (100, 25), (125, 32)])
def test_an_epoch_has_n_over_4_full_batches_rounded_up(n, steps):
    assert work(n, 42, batch_size=4, epochs=500) == Work(500 * steps, 500 * 11)


def test_all_cells_of_the_paper():
    """80 cells of each n; 2 + 3 + 7 + 13 + 19 + 25 + 32 = 101 batches; the largest fold of 42 needs 11."""
    config = study()
    of_cells = works(config, plan(frame(167, 37), config))
    assert sum(one.steps for one in of_cells) == 80 * 101 * 500
    assert {one.validations for one in of_cells} == {11 * 500}
    assert sum(one.steps for one in works(config, plan(frame(167, 37), config), most=200)) == 80 * 101 * 200


def test_a_free_device_takes_the_next_cell():
    """On two devices of 1 s a step, 4 | 3, then 2 after the 3, then 2 after the 4."""
    cells = [Work(steps, 10) for steps in (4, 3, 2, 2)]
    measured = Measured("", step_s=1.0, validation_s=0.0, xla_bytes=0)
    assert [estimate_s(cells, measured, devices) for devices in (1, 2, 4, 8)] == [11, 6, 4, 4]
    assert estimate_s(cells, dataclasses.replace(measured, step_s=0.0, validation_s=0.5), 1) == 20


def parameters(width, stages, classes):
    """Of an FCN-ResNet with one bottleneck block a stage: convolutions, and two numbers a channel of BatchNorm."""
    count, channels = 7 * 7 * 3 * width + 2 * width, width
    for stage in range(stages):
        planes = width * 2**stage
        count += channels * planes + 9 * planes**2 + 4 * planes**2 + 4 * planes * channels
        count += 2 * (planes + planes + 4 * planes + 4 * planes)
        channels = 4 * planes
    head = channels // 4
    return count + 9 * channels * head + 2 * head + head * classes + classes


def test_the_state_holds_weights_twice_and_two_moments(memory_of_a_cell):
    own = memory_of_a_cell
    assert own.parameters == parameters(width=4, stages=4, classes=1)
    assert own.gradients == 4 * own.parameters
    assert 0 <= own.state - 2 * own.weights - 2 * 4 * own.parameters < 100  # counters and the key
    assert own.examples == 20 * (64 * 64 * (2 + 1) + 2 * 4 + 4)
    assert own.total == own.state + own.gradients + own.activations + own.examples


def test_weights_are_what_best_holds(memory_of_a_cell):
    """Parameters and, for each of BatchNorm's two numbers a channel, a running one."""
    channels = 4 + sum(10 * 4 * 2**stage for stage in range(4)) + 32
    assert memory_of_a_cell.weights == 4 * (memory_of_a_cell.parameters + 2 * channels)


def test_frozen_parameters_have_no_moments(smoke, memory_of_a_cell):
    run = run_config(smoke[0], smoke[1][0])
    run["task"]["freeze"] = ["backbone/.*"]
    frozen = memory.of_run(run, slices=20)
    head = 9 * 128 * 32 + 2 * 32 + 32 + 1
    assert (frozen.gradients, frozen.weights) == (4 * head, memory_of_a_cell.weights)
    assert memory_of_a_cell.state - frozen.state == 8 * (memory_of_a_cell.parameters - head)


class Toy(Task):
    """A task of one parameter array, and of a loss of it alone."""

    freeze = ()

    def __init__(self, loss, size):
        self._loss, self._size = loss, size

    def init(self, key, batch):
        return {"w": jnp.ones(self._size)}, {}

    def loss(self, params, model_state, batch, key):
        return self._loss(params["w"]), (model_state, {})


@pytest.mark.parametrize(
    ("loss", "stored"),
    [
        (lambda w: jnp.sin(w).sum(), 4 * 10),  # the cosine
        (lambda w: jnp.sin(jnp.sin(w)).sum(), 2 * 4 * 10),
        (lambda w: jnp.sin(w.astype("bfloat16")).sum(), 2 * 10),
        (lambda w: (w * w).sum(), 0),  # the parameters themselves
        (lambda w: w.sum(), 0),
    ],
)
def test_stored_activations(loss, stored):
    state = create({"w": jnp.ones(10)}, {}, optax.EmptyState(), jax.random.key(0))
    batch = {"image_hu": jax.ShapeDtypeStruct((4, 8, 8), np.int16)}
    assert memory.stored_activations(Toy(loss, 10), state, batch) == stored


def test_what_is_frozen_stores_nothing():
    """Of the cosines of `head` and `trunk`, that of the frozen trunk is not needed."""

    class Frozen(Toy):
        freeze = ("trunk",)

        def loss(self, params, model_state, batch, key):
            return jnp.sin(params["head"]).sum() + jnp.sin(params["trunk"]).sum(), (model_state, {})

    state = create({"head": jnp.ones(10), "trunk": jnp.ones(1000)}, {}, optax.EmptyState(), jax.random.key(0))
    assert (
        memory.stored_activations(Frozen(None, 0), state, {"image_hu": jax.ShapeDtypeStruct((4, 8, 8), "int16")}) == 40
    )


def test_activations_double_with_the_batch_and_shrink_in_bfloat16(smoke, memory_of_a_cell):
    run = run_config(smoke[0], smoke[1][0])
    doubled = memory.of_run({**run, "batch_size": 8}, slices=20).activations
    assert doubled == pytest.approx(2 * memory_of_a_cell.activations, rel=0.1)
    run["task"]["model"]["dtype"] = "bfloat16"
    halved = memory.of_run(run, slices=20)
    assert halved.activations < 0.9 * memory_of_a_cell.activations
    assert halved.state == memory_of_a_cell.state  # parameters stay float32


def test_xla_counts_the_state_and_the_slices_once(monkeypatch):
    """The state is updated in place; beside it lie the slices and four arrays of the parameters' size at most."""
    numbers = 100_000
    monkeypatch.setattr(tasks, "build", lambda config: Toy(lambda w: jnp.sin(w).sum(), numbers))
    run = {"task": {"name": "toy"}, "image_size": 64, "batch_size": 4}
    least = 4 * 4 * numbers + 20 * (64 * 64 * 3 + 8 + 4)  # the weights, the best weights and two moments
    assert memory.of_run(run, slices=20).total == pytest.approx(least + 2 * 4 * numbers, rel=1e-3)
    assert least < memory.by_xla(run, slices=20) < least + 4 * 4 * numbers


def line(text, start):
    return next(line for line in text.splitlines() if line.startswith(start)).removeprefix(start).split()


def test_the_account_of_a_small_study(smoke, text):
    """3 initialisations, 2 folds; 2 and 4 patients of 2 slices in batches of 4; 2 epochs; 4 patients validate."""
    config, cells, _ = smoke
    cell = memory.of_run(run_config(config, cells[0]), slices=20)
    assert text.startswith("12 cells: 3 initialisations x 2 sizes x 2 folds x 1 draw x 1 seed\n")
    assert line(text, "jigsaw  ") == ["2", "2", "4"]
    assert line(text, "all  ") == ["6", "6", "12"]
    assert line(text, "training steps of a cell, at most; sum") == ["2", "4", str(6 * 2 + 6 * 4)]
    assert line(text, "validation batches of a cell, at most; sum") == ["4", "4", str(12 * 4)]
    assert "pretexts train on 14 slices and validate on 2" in text
    assert f"{cell.parameters:,}      4                see above" in text
    assert "\nfolders: cells/{jigsaw,random,reconstruction}_{n002,n004}_{fold0,fold1}_draw0_seed0\n" in text
    assert line(text.partition("Memory")[2], "cells  ")[0] == "float32"
    kilobytes = 12 * cell.weights / 1e6
    assert line(text, "best weights of 12 cells") == [f"{kilobytes:.1f}", "MB"]
    masks = 12 * 4 * math.ceil(50 * 60 / 8) / 1000
    assert line(text, "48 masks of judged slices, at most") == [f"{masks:.1f}", "kB"]
    assert line(text, "checkpoints of 2 running cells") == [f"{3 * 2 * cell.state / 1e6:.1f}", "MB"]


def test_the_account_of_time(text):
    """36 steps of 1 s and 48 validation batches of 0.5 s; on two devices half of each.

    The pretexts have 2 epochs of 2 steps and of 1 validation batch: 2 * (2 * 10 + 5) and 2 * (2 * 20 + 7) seconds.
    """
    told = text.partition("Time, estimated")[2]
    assert line(told, "cells  ") == ["1", "s", "1.5", "MB", "0.5", "s", "a", "clock"]
    assert line(told, "cells, if none stops before epoch 2") == ["60", "s", "30", "s"]
    assert line(told, "pretexts, if none stops before epoch 2") == ["2", "min", "72", "s"]
    assert line(told, "together, if none stops before epoch 2") == ["3", "min", "2", "min"]
    assert "all stop at epoch" not in text
    assert text.partition("Time, estimated")[0].splitlines()[-2].startswith("Note: n counts patients")


def test_without_pretexts_weights_and_a_measured_step(smoke):
    config = study("smoke", inits=("random",), keep="predictions")
    text = "\n\n".join(account.account(config, plan(CASES, config), smoke[2]))
    assert "best weights of" not in text.partition("Disk")[2]
    assert "jigsaw" not in text
    assert text.endswith("\n\nTime, and the compiled steps' memory by XLA's account: not measured")


def test_what_needs_no_compiling_is_told_before_anything_is_compiled(smoke):
    """Of the paragraphs cells, networks, memory, disk and notes, the first before the networks are traced."""
    asked = []
    told = account.account(*smoke, measure=lambda runs: asked.extend(runs) or pytest.fail("too early"))
    heads = [next(told).split()[0] for _ in range(5)]
    assert (heads, asked) == (["12", "Networks;", "Memory", "Disk,", "Note:"], [])


def test_pretexts_have_their_own_batches(smoke, text):
    run = pretext_config(smoke[0], "reconstruction")
    assert memory.of_run(run, 20).parameters == parameters(width=4, stages=4, classes=3)
    assert f"{parameters(4, 4, 3):,}      8" in text
