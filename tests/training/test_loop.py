import shutil
from dataclasses import replace

import jax
import numpy as np
import optax
import pytest
from toy_task import Mean, examples

from mskjax.training import optim, sharding
from mskjax.training.checkpoint import Checkpoints
from mskjax.training.loop import Interrupted, Schedule, fit
from mskjax.training.signals import Caught
from mskjax.training.state import create
from mskjax.training.step import compile_steps


class Recorder:
    def __init__(self):
        self.losses, self.rows = [], []

    def step(self, loss):
        self.losses.append(loss)

    def epoch(self, row):
        self.rows.append(row)


def start(task, optimizer, mesh):
    key = jax.random.key(0)
    params, model_state = task.init(key, None)
    trained, _ = optim.split(params, task.freeze)
    return jax.device_put(create(params, model_state, optimizer.init(trained), key), sharding.replicated(mesh))


@pytest.fixture
def descend(tmp_path):
    """Runs the loop by plain gradient descent, so that each step can be worked out by hand."""
    mesh, optimizer = sharding.make_mesh(1, 1), optax.identity()

    def run(data, task=None, rate=1.0, epochs=10, patience=100, caught=None, steps=None, interval_s=1e9):
        task, recorder = task or Mean(), Recorder()
        steps = steps or compile_steps(task, optimizer, mesh)
        schedule = Schedule(seed=0, learning_rate=rate, epochs=epochs, patience=patience)
        with Checkpoints(tmp_path / "checkpoints", interval_s) as checkpoints:
            state = start(task, optimizer, mesh)
            if checkpoints.latest_step is not None:
                state = checkpoints.restore(state)
            state = fit(steps, state, data, schedule, checkpoints, [recorder], caught or Caught())
        return state, recorder

    return run


def test_one_step_reaches_the_mean(descend):
    # The gradient of half the squared error is mean - target: at rate 1 one step lands on the target.
    state, recorder = descend(examples([3, 3], [5]), epochs=1)
    assert float(state.params["a"]["mean"]) == 3
    assert recorder.losses == [9.0]  # (3**2 + 3**2) / 2
    row = recorder.rows[0]
    assert (row["step"], row["epoch"], row["loss"], row["validation_loss"]) == (1, 1, 9.0, 4.0)


def test_an_epoch_is_full_batches_that_show_every_example(descend):
    state, recorder = descend(examples([1, 2, 3, 4, 5], [0], batch_size=2), epochs=2)
    assert [row["step"] for row in recorder.rows] == [3, 6]
    assert int(state.step) == 6 == len(recorder.losses)


def test_validation_leaves_padding_out(descend):
    # Three targets in batches of two: the fourth place repeats the first target, 1, with weight 0.
    _, recorder = descend(examples([0, 0], [1, 2, 4]), epochs=1)
    assert recorder.rows[0]["validation_loss"] == pytest.approx((1 + 4 + 16) / 3)


def test_keeps_the_weights_of_the_lowest_validation_loss(descend):
    # At rate 0.5 the mean goes 4, 6, 7, 7.5: nearest to 6.1 after the second epoch of one step.
    state, recorder = descend(examples([8, 8], [6.1]), rate=0.5, epochs=4)
    assert float(state.params["a"]["mean"]) == 7.5
    assert float(state.selection.best_params["a"]["mean"]) == 6
    assert float(state.selection.best_model_state["counts"]["steps"]) == 2
    assert (int(state.selection.best_step), float(state.selection.best_loss)) == (2, pytest.approx(0.01, rel=1e-4))
    assert [row["epochs_flat_validation"] for row in recorder.rows] == [0, 0, 1, 2]
    assert [row["epochs_flat_training"] for row in recorder.rows] == [0, 0, 0, 0]


def test_stops_only_when_both_losses_are_flat(descend):
    # At rate 1 the mean is exact after epoch 1: the training loss is 64, then 0 for ever, lowest in epoch 2.
    state, recorder = descend(examples([8, 8], [6]), rate=1.0, epochs=50, patience=3)
    assert [row["loss"] for row in recorder.rows] == [64, 0, 0, 0, 0]
    assert [row["epochs_flat_training"] for row in recorder.rows] == [0, 0, 1, 2, 3]
    assert [row["epochs_flat_validation"] for row in recorder.rows] == [0, 1, 2, 3, 4]
    assert int(state.step) == 5


def test_a_loss_that_is_not_finite_stops_with_its_step(descend, tmp_path):
    # At rate 3 the error doubles in size each step; float32 squares overflow past 1.8e19, which is 2**64.
    with pytest.raises(ValueError, match=r"not finite at step 6[0-9]") as caught:
        descend(examples([1, 1], [0]), rate=3.0, epochs=1000)
    assert "learning_rate" in str(caught.value)
    assert not list((tmp_path / "checkpoints").glob("[0-9]*"))


def test_broken_weights_are_neither_kept_nor_saved(descend, tmp_path):
    # The first step lands 1e38 away, whose square overflows in the validation that follows.
    with pytest.raises(ValueError, match="not finite at step 1;"):
        descend(examples([1, 1], [0]), rate=1e38, epochs=5, interval_s=0.0)
    assert not list((tmp_path / "checkpoints").glob("[0-9]*"))


def test_frozen_parameters_stay(descend):
    state, _ = descend(examples([3, 3], [5]), task=Mean(freeze=("b/.*",)), epochs=2)
    assert float(state.params["a"]["mean"]) == 3
    assert float(state.params["b"]["mean"]) == 0


def test_one_compilation_serves_every_rate_and_number_of_examples(descend, tmp_path):
    mesh = sharding.make_mesh(1, 1)
    steps = compile_steps(Mean(), optax.identity(), mesh)
    padded = examples([1, 2, 3, 4, 5, 6], [7, 8, 9])
    counts = []
    for n, rate in ((2, 1e-2), (5, 1e-3), (6, 1.0)):
        few = replace(padded, train=padded.train[:n])
        _, recorder = descend(few, steps=steps, rate=rate, epochs=3)
        assert len(recorder.rows) == 3
        shutil.rmtree(tmp_path / "checkpoints")
        counts.append([f._cache_size() for f in (steps.train, steps.evaluate, steps.end_epoch)])
    assert counts[0][:2] == [1, 1]
    assert counts[0] == counts[1] == counts[2]


class Signal(Caught):
    """A signal that comes when it has been asked for so many times."""

    def __init__(self, steps):
        self._steps = steps

    @property
    def signum(self):
        self._steps -= 1  # asked once a step
        return 15 if self._steps == 0 else None


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_a_signal_saves_and_the_run_goes_on_bit_for_bit(descend, steps, tmp_path):
    data = examples([1, 2, 3, 4, 5], [2.5, 3])  # three steps an epoch
    with pytest.raises(Interrupted, match="SIGTERM") as caught:
        descend(data, rate=0.3, epochs=3, caught=Signal(steps))
    assert caught.value.status == 143
    resumed, later = descend(data, rate=0.3, epochs=3)
    assert len(later.losses) == 9 - steps
    shutil.rmtree(tmp_path / "checkpoints")
    straight, whole = descend(data, rate=0.3, epochs=3)
    assert whole.rows[-len(later.rows) :] == later.rows
    jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(_numbers(straight)), jax.tree.leaves(_numbers(resumed)))


def _numbers(state):
    return state.replace(key=jax.random.key_data(state.key))
