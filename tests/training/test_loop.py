import functools
import shutil
from dataclasses import replace

import jax
import numpy as np
import optax
import pytest
from recorder import Recorder, Signal
from toy_task import Mean, examples

from mskjax.training import sharding
from mskjax.training.job import Schedule
from mskjax.training.loop import Interrupted, fit
from mskjax.training.signals import Caught
from mskjax.training.step import compile_steps

# Tests of one task on the same devices share their steps, which hold nothing of a run.
steps_of = functools.cache(lambda task, mesh: compile_steps(task, optax.identity(), mesh))


@pytest.fixture
def descend(tmp_path):
    """Runs the loop by plain gradient descent, so that each step can be worked out by hand."""
    mesh, optimizer = sharding.make_mesh(1, 1), optax.identity()

    def run(
        data,
        task=None,
        rate=1.0,
        epochs=10,
        patience=100,
        caught=None,
        steps=None,
        interval_s=1e9,
        stop_on="both",
        **schedule,
    ):
        (arrays, rows), task = data, task or Mean()
        steps = steps or steps_of(task, mesh)
        schedule = Schedule(0, rate, epochs, patience, stop_on, **schedule)
        job = Recorder(task, optimizer, rows, schedule, tmp_path / "checkpoints", interval_s)
        fit(steps, jax.device_put(arrays, sharding.whole(mesh)), [job], mesh, caught or Caught())
        return job.state, job

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


def test_stops_when_the_validation_loss_alone_is_flat(descend):
    # As above: the validation loss is 36, then 4 for ever, lowest in epoch 1.
    state, recorder = descend(examples([8, 8], [6]), rate=1.0, epochs=50, patience=3, stop_on="validation")
    assert [row["epochs_flat_validation"] for row in recorder.rows] == [0, 1, 2, 3]
    assert recorder.rows[-1]["epochs_flat_training"] == 2
    assert int(state.step) == 4


@pytest.mark.parametrize(
    ("stop_on", "epoch", "flat", "over"),
    [
        ("both", 5, (3, 3), True),
        ("both", 5, (9, 2), False),
        ("both", 5, (2, 9), False),
        ("validation", 5, (0, 3), True),
        ("validation", 5, (9, 2), False),
        ("validation", 8, (0, 0), True),
    ],
)
def test_when_a_schedule_is_over(stop_on, epoch, flat, over):
    """After 8 epochs, or 3 flat ones of (training, validation)."""
    schedule = Schedule(seed=0, learning_rate=1.0, epochs=8, patience=3, stop_on=stop_on)
    assert schedule.is_over(epoch, *flat) == over


def test_the_rate_of_the_published_warm_up_and_cosine():
    """LinearWarmupCosineAnnealingLR(warmup_epochs=20, max_epochs=500) of lightning-bolts, by its closed form."""
    schedule = Schedule(seed=0, learning_rate=6e-4, epochs=500, patience=500, warmup_epochs=20, decay="cosine")
    expected = [6e-4 * epoch / 19 for epoch in range(20)]
    expected += [3e-4 * (1 + np.cos(np.pi * (epoch - 20) / 480)) for epoch in range(20, 500)]
    np.testing.assert_allclose([schedule.rate(epoch) for epoch in range(500)], expected, rtol=1e-12)
    still = Schedule(seed=0, learning_rate=0.5, epochs=3, patience=3)
    assert [still.rate(epoch) for epoch in range(3)] == [0.5] * 3
    with pytest.raises(ValueError, match="decay is 'linear'; it must be one of constant, cosine"):
        Schedule(seed=0, learning_rate=1.0, epochs=1, patience=1, decay="linear")


def test_each_epoch_has_its_own_rate(descend):
    """The rates are 0, 1, 1 and 1/2: the mean stays, reaches the target of 8, stays there, and so does it at last."""
    _, recorder = descend(examples([8, 8], [6]), epochs=4, warmup_epochs=2, decay="cosine")
    assert [row["learning_rate"] for row in recorder.rows] == [0.0, 1.0, 1.0, pytest.approx(0.5)]
    assert recorder.losses == [64, 64, 0, 0]


def test_a_schedule_knows_what_to_stop_on():
    with pytest.raises(ValueError, match="stop_on is 'training'; it must be one of both, validation"):
        Schedule(seed=0, learning_rate=1.0, epochs=1, patience=1, stop_on="training")


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
    arrays, padded = examples([1, 2, 3, 4, 5, 6], [7, 8, 9])
    counts = []
    for n, rate in ((2, 1e-2), (5, 1e-3), (6, 1.0)):
        few = replace(padded, train=padded.train[:n])
        _, recorder = descend((arrays, few), steps=steps, rate=rate, epochs=3)
        assert len(recorder.rows) == 3
        shutil.rmtree(tmp_path / "checkpoints")
        counts.append([f._cache_size() for f in (steps.train, steps.evaluate, steps.end_epoch)])
    assert counts == [[1, 1, 1]] * 3


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


def jobs_of(folder, counts, epochs=12, interval_s=1e9):
    """A job for each number of training targets, on shared arrays, with rates and patience of their own."""
    arrays, all_rows = examples([1, 2, 3, 4, 5, 6], [2.5, 3, 4])
    return arrays, [
        Recorder(
            Mean(),
            optax.identity(),
            replace(all_rows, train=all_rows.train[:count]),
            Schedule(seed=number, learning_rate=0.25 * (number + 1), epochs=epochs, patience=2 + number % 2),
            folder / str(number),
            interval_s,
        )
        for number, count in enumerate(counts)
    ]


def on_lanes(lanes, arrays, jobs, caught=None, steps=None):
    mesh = sharding.make_lanes(lanes, len(jobs))
    steps = steps or steps_of(Mean(), mesh)
    fit(steps, jax.device_put(arrays, sharding.whole(mesh)), jobs, mesh, caught or Caught())
    return steps


COUNTS = (2, 6, 3, 4, 1, 6, 5)  # one to three steps an epoch


@pytest.fixture(scope="module")
def one_by_one(tmp_path_factory):
    arrays, jobs = jobs_of(tmp_path_factory.mktemp("one"), COUNTS)
    on_lanes(1, arrays, jobs)
    return jobs


def assert_same_jobs(jobs, others):
    for job, other in zip(jobs, others, strict=True):
        assert job.ended == ["finished"] == other.ended
        assert job.rows == other.rows
        jax.tree.map(np.testing.assert_array_equal, _numbers(job.state), _numbers(other.state))


@pytest.mark.parametrize("lanes", [2, 3, 8])
def test_lanes_train_each_job_as_if_it_were_alone(one_by_one, lanes, tmp_path, caplog):
    arrays, jobs = jobs_of(tmp_path, COUNTS)
    with jax.log_compiles():
        on_lanes(lanes, arrays, jobs)
    for name in ("train_step", "evaluate_step", "end_epoch"):
        assert caplog.text.count(f"Finished XLA compilation of jit({name})") == 1
    assert_same_jobs(jobs, one_by_one)
    assert len({len(job.rows) for job in jobs}) > 1  # some stopped early


@pytest.mark.parametrize("stop", [1, 2, 3, 4, 7])
def test_stopped_lanes_go_on_bit_for_bit(one_by_one, stop, tmp_path):
    """Also where a lane waits, updated but not validated, for the longer epoch of another."""
    arrays, jobs = jobs_of(tmp_path, COUNTS)
    with pytest.raises(Interrupted, match="saved at step"):
        on_lanes(3, arrays, jobs, caught=Signal(stop))
    assert [job.ended for job in jobs if job.losses or job.ended] == [["stopped"]] * 3
    _, again = jobs_of(tmp_path, COUNTS)
    on_lanes(2, arrays, again)
    for job, other in zip(again, one_by_one, strict=True):
        assert job.rows == other.rows[len(other.rows) - len(job.rows) :]
        jax.tree.map(np.testing.assert_array_equal, _numbers(job.state), _numbers(other.state))


def test_finished_jobs_are_only_finished_again(one_by_one, tmp_path):
    arrays, jobs = jobs_of(tmp_path, COUNTS[:2])
    on_lanes(1, arrays, jobs)
    _, again = jobs_of(tmp_path, COUNTS[:2])
    on_lanes(1, arrays, again)
    assert [(job.losses, job.rows, job.ended) for job in again] == [([], [], ["finished"])] * 2


def test_a_broken_job_leaves_its_lane_to_the_next(one_by_one, tmp_path):
    arrays, jobs = jobs_of(tmp_path, COUNTS)
    for number in (0, 3):
        jobs[number].schedule = replace(jobs[number].schedule, learning_rate=1e38)
        jobs[number].fail = lambda error, job=jobs[number]: job.close(str(error))
    on_lanes(2, arrays, jobs)
    broken, whole = [jobs[0], jobs[3]], [job for number, job in enumerate(jobs) if number not in (0, 3)]
    assert all("not finite at step" in job.ended[0] and len(job.ended) == 1 for job in broken)
    assert not any(list(job.folder.glob("[0-9]*")) for job in broken)
    assert_same_jobs(whole, [job for number, job in enumerate(one_by_one) if number not in (0, 3)])


@pytest.mark.parametrize(("lanes", "interval_s"), [(1, 1e9), (2, 1e9), (1, 0.0), (2, 0.0)])
def test_jobs_that_break_in_the_midst_of_an_epoch_leave_their_lanes_to_the_next(lanes, interval_s, tmp_path):
    """Three updates before the first epoch of eight is over, in all lanes at once."""
    arrays, rows = examples(list(range(16)), [2.5, 3, 4])
    rates = [1e30, 1e30, 0.1, 0.2]
    schedules = [Schedule(seed=0, learning_rate=rate, epochs=2, patience=9) for rate in rates]
    jobs = [
        Recorder(Mean(), optax.identity(), rows, schedule, tmp_path / str(i), interval_s)
        for i, schedule in enumerate(schedules)
    ]
    for job in jobs:
        job.fail = lambda error, job=job: job.close("failed")
    on_lanes(lanes, arrays, jobs)
    assert [job.ended for job in jobs] == [["failed"], ["failed"], ["finished"], ["finished"]]
    assert [len(job.losses) for job in jobs[2:]] == [16, 16]
    assert all(np.isfinite(job.losses).all() for job in jobs)


def test_an_error_closes_the_jobs_under_way(tmp_path):
    arrays, jobs = jobs_of(tmp_path, COUNTS[:3])
    jobs[2].start = lambda: (_ for _ in ()).throw(OSError("no weights"))
    jobs[2].close = lambda: jobs[2].ended.append("closed")
    with pytest.raises(OSError, match="no weights"):
        on_lanes(2, arrays, jobs)
    assert sorted(job.ended for job in jobs) == [["closed"], ["closed"], ["finished"]]


def test_where_nothing_validates_the_training_loss_chooses(descend):
    # At rate 1 the mean is exact after the first step, so that the second epoch's loss of 0 is the lowest.
    state, recorder = descend(examples([8, 8], []), rate=1.0, epochs=3)
    assert [(row["loss"], row["best_training_loss"], row["best_step"]) for row in recorder.rows] == [
        (64, 64, 1),
        (0, 0, 2),
        (0, 0, 2),
    ]
    assert not any("validation_loss" in name for row in recorder.rows for name in row)
    assert (float(state.selection.best_loss), int(state.selection.best_step)) == (0, 2)
