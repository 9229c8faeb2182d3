"""The loop where batches are the examples themselves, and where the last weights or certain checkpoints are kept."""

import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from recorder import Recorder, Signal
from toy_task import Mean, examples

from mskjax.training import sharding
from mskjax.training.job import Schedule
from mskjax.training.loop import Interrupted, fit
from mskjax.training.signals import Caught
from mskjax.training.state import create
from mskjax.training.step import compile_steps
from mskjax.training.stream import Stream

RATE, EPOCHS = 0.25, 3


def read(row, rng):
    """A target between the row's own number and the next, drawn anew for each crop."""
    return {"target": np.array(row + rng.random(), np.float32)}


def stream(scans):
    """Crops of so many scans in batches of four: one to three steps an epoch."""
    return Stream(read, tuple(range(scans)), (7, 8, 9), batch_size=4, crops_per_scan=2, least_validation_batches=2)


def job(folder, own, number=0, task=None, epochs=EPOCHS, **saving):
    schedule = Schedule(seed=number, learning_rate=RATE, epochs=epochs, patience=epochs)
    return Recorder(task or Mean(), optax.identity(), own, schedule, folder, **saving)


# Tests of one task on the same devices share their steps, which hold nothing of a run.
steps_of = functools.cache(lambda task, mesh: compile_steps(task, optax.identity(), mesh))


def run(lanes, jobs, arrays=None, caught=None):
    mesh, task = sharding.make_lanes(lanes, lanes), jobs[0].task
    fit(steps_of(task, mesh), jax.device_put(arrays or {}, sharding.whole(mesh)), jobs, mesh, caught or Caught())


def by_hand(own, seed):
    """The losses of all steps and epochs: each step goes from the mean a quarter of the way to its batch's mean."""
    mean, losses, rows = 0.0, [], []
    validation = [(examples["target"], weights) for examples, weights in map(own.validation_batch, range(2))]
    targets, weights = (np.concatenate(both) for both in zip(*validation, strict=True))
    for step in range(EPOCHS * own.steps_per_epoch):
        batch = own.batch(seed, step)["target"].astype(float)
        losses.append(((batch - mean) ** 2).mean())
        mean += RATE * (batch.mean() - mean)
        if (step + 1) % own.steps_per_epoch == 0:
            rows.append((weights * (targets - mean) ** 2).sum() / 6)
    own.close()
    return losses, rows


SCANS = (2, 6, 5, 1)


@pytest.mark.parametrize("lanes", [1, 3, 6])
def test_crops_train_each_job_as_if_it_were_alone(lanes, tmp_path):
    """Also in lanes that rest, as their epochs are shorter, or that have no job at all."""
    jobs = [job(tmp_path / str(number), stream(scans), number) for number, scans in enumerate(SCANS)]
    run(lanes, jobs)
    for number, own in enumerate(jobs):
        losses, validation = by_hand(stream(SCANS[number]), number)
        assert own.ended == ["finished"]
        np.testing.assert_allclose(own.losses, losses, rtol=1e-5)
        np.testing.assert_allclose([row["validation_loss"] for row in own.rows], validation, rtol=1e-5)
        own.examples.close()


def test_stopped_crops_go_on_bit_for_bit(tmp_path):
    whole, first, second = (job(tmp_path / name, stream(6)) for name in ("straight", "stopped", "stopped"))
    run(1, [whole])
    with pytest.raises(Interrupted, match="saved at step 4;"):
        run(1, [first], caught=Signal(4))
    run(1, [second])
    assert whole.losses[4:] == second.losses
    assert whole.rows[1:] == second.rows
    for own in (whole, first, second):
        own.examples.close()


class Last(Mean):
    keeps_last: ClassVar[bool] = True


def test_the_last_weights_are_kept_although_an_earlier_loss_was_lower(tmp_path):
    """The mean goes 2, 3.5, 4.625, 5.46875 of 8: nearest to 3.4 after the second epoch of one step."""
    arrays, rows = examples([8, 8], [3.4])
    for task, kept, step in ((Mean(), 3.5, 2), (Last(), 5.46875, 4)):
        own = job(tmp_path / str(step), rows, task=task, epochs=4)
        run(1, [own], arrays)
        chosen = own.state.selection
        assert (float(chosen.best_params["a"]["mean"]), int(chosen.best_step)) == (kept, step)
        assert float(chosen.best_model_state["counts"]["steps"]) == step
        assert float(chosen.best_loss) == pytest.approx((kept - 3.4) ** 2, rel=1e-4)


def test_weights_without_a_finite_loss_are_never_kept():
    state = create({"w": jnp.ones(())}, {}, (), jax.random.key(0))
    first = state.selection.after_epoch({"w": jnp.zeros(())}, {}, jnp.array(5.0), jnp.int32(1), True)
    for broken in (jnp.nan, jnp.inf):
        after = first.after_epoch({"w": jnp.full((), 7.0)}, {}, jnp.array(broken), jnp.int32(2), True)
        assert (float(after.best_loss), int(after.best_step), float(after.best_params["w"])) == (5, 1, 0)
        assert int(after.nonfinite_step) == 2


def kept(folder):
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())


@pytest.mark.parametrize(("interval_s", "expected"), [(1e9, [6, 12, 15]), (0.0, [6, 12, 14, 15])])
def test_checkpoints_of_every_second_epoch_are_kept_beside_the_last_two(interval_s, expected, tmp_path):
    """Five epochs of three steps; with the interval of 0 each step is saved."""
    arrays, rows = examples([1, 2, 3, 4, 5], [2.5, 3])
    saving = {"interval_s": interval_s, "kept_steps": 6}
    run(1, [job(tmp_path / "run", rows, epochs=5, **saving)], arrays)
    assert kept(tmp_path / "run") == expected
    with pytest.raises(Interrupted, match="saved at step 7;"):
        run(1, [job(tmp_path / "stopped", rows, epochs=5, **saving)], arrays, Signal(7))
    run(1, [job(tmp_path / "stopped", rows, epochs=5, **saving)], arrays)
    assert kept(tmp_path / "stopped") == expected
