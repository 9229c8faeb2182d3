"""Which crops make up a batch, and who reads them."""

import gc
import logging
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from reading import assert_gone, readers

from mskjax.training.stream import Stream
from mskjax.training.team import Team

TRAIN, VALIDATION = (3, 4, 5, 8, 9), (6, 7, 11)


def read(row, rng):
    """Two numbers in the place of a crop: whose it is, and what was drawn for it."""
    return {"row": np.array(row), "draw": np.array(rng.integers(2**62))}


def stream(**fields):
    fields = {"train": TRAIN, "validation": VALIDATION, "batch_size": 6, "crops_per_scan": 4, **fields}
    return Stream(fields.pop("read", read), **fields)


def batch(of, seed, step):
    found = of.batch(seed, step)
    assert found.keys() == {"row", "draw"}
    return np.stack([found["row"], found["draw"]], axis=1)


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert_gone()


def test_a_batch_is_a_function_of_seed_and_step_alone():
    straight = stream()
    expected = [batch(straight, 5, step) for step in range(12)]
    for step in (0, 7, 3, 4, 11):
        np.testing.assert_array_equal(batch(stream(), 5, step), expected[step])
    other = stream()
    for step in (9, 10, 2, 3, 0):  # of one stream, wherever it was before
        np.testing.assert_array_equal(batch(other, 5, step), expected[step])
    other.close()
    np.testing.assert_array_equal(batch(other, 5, 1), expected[1])
    assert not np.array_equal(batch(other, 6, 2), expected[2]), "another seed"
    assert len(np.unique(np.concatenate(expected)[:, 1])) == 12 * 6, "no crop comes twice"


@pytest.mark.parametrize("crops", [1, 4])
def test_crops_of_a_scan_follow_each_other_and_each_pass_holds_every_scan(crops):
    own = stream(crops_per_scan=crops)
    rows = np.concatenate([batch(own, 0, step) for step in range(crops * 5)])[:, 0].reshape(-1, crops)
    assert (rows == rows[:, :1]).all()
    passes = rows[:, 0].reshape(-1, len(TRAIN))
    np.testing.assert_array_equal(np.sort(passes, axis=1), np.broadcast_to(TRAIN, passes.shape))
    assert len({tuple(one) for one in passes.tolist()}) > 1, "in an order of its own"


@pytest.mark.parametrize("processes", [2, 3])
def test_the_parts_of_all_processes_are_the_batch_of_one(processes):
    whole, parts = stream(), [stream(team=Team(number, processes)) for number in range(processes)]
    for step in (0, 1, 2, 8):
        together = [batch(part, 3, step) for part in parts]
        assert {len(one) for one in together} == {6 // processes}
        np.testing.assert_array_equal(np.concatenate(together), batch(whole, 3, step))
    for number in range(whole.validation_batches):
        (examples, weights), divided = whole.validation_batch(number), [part.validation_batch(number) for part in parts]
        np.testing.assert_array_equal(np.concatenate([own["draw"] for own, _ in divided]), examples["draw"])
        np.testing.assert_array_equal(np.concatenate([own for _, own in divided]), weights)


def test_batches_that_cannot_be_divided_are_refused():
    with pytest.raises(ValueError, match="batch size 6 is not divisible by 4 processes; use a multiple of 4"):
        stream(team=Team(0, 4))


@pytest.mark.parametrize(
    ("fields", "expected"), [({}, (4, 2)), ({"crops_per_scan": 1}, (1, 1)), ({"least_validation_batches": 5}, (4, 5))]
)
def test_how_long_an_epoch_is(fields, expected):
    """Five scans train and three validate, in batches of six crops."""
    own = stream(**fields)
    assert (own.steps_per_epoch, own.validation_batches) == expected
    assert own.counts == (5, 3)


def test_validation_is_padded_with_crops_of_no_weight():
    own = stream(batch_size=8, least_validation_batches=3)
    found = [own.validation_batch(number) for number in range(own.validation_batches)]
    weights = np.concatenate([weights for _, weights in found])
    np.testing.assert_array_equal(weights, [1] * 12 + [0] * 12)
    rows = np.concatenate([examples["row"] for examples, _ in found])
    np.testing.assert_array_equal(rows[:12], np.repeat(VALIDATION, 4))
    draws = np.concatenate([examples["draw"] for examples, _ in found])
    assert len(set(draws[:12].tolist())) == 12
    assert set(draws[12:].tolist()) == {draws[0]}
    assert not Stream(read, TRAIN, (), 4).validation_batches


def test_validation_is_alike_in_all_epochs_and_runs():
    """A scan's crops hang on neither the run's seed nor the scans beside it."""
    own = stream()
    before = own.validation_batch(0)[0]
    own.batch(0, 0)
    again, other = own.validation_batch(0)[0], stream(validation=(7, 6), train=(1,), batch_size=4)
    np.testing.assert_array_equal(before["draw"], again["draw"])
    drawn = {(6, place): draw for place, draw in enumerate(before["draw"][:4].tolist())}
    elsewhere = {(6, place): draw for place, draw in enumerate(other.validation_batch(1)[0]["draw"].tolist())}
    assert drawn == elsewhere


def test_reading_ahead_stops_when_it_is_closed_and_when_nobody_asks_any_more():
    own = stream()
    gc.disable()  # which would find even threads that hold what holds them, some time
    try:
        own.batch(0, 0)
        assert readers()
        own.close()
        assert_gone()
        own.batch(0, 1)
        own.batch(7, 0)  # another place: what was read ahead of the first is of no more use
        del own
        assert_gone()
    finally:
        gc.enable()


def test_batches_are_read_before_they_are_asked_for():
    begun, numbers = threading.Semaphore(0), []

    def told(row, rng):
        numbers.append(row)
        begun.release()
        return read(row, rng)

    own = stream(read=told)
    own.batch(0, 0)
    for _ in range(2 * 6):
        assert begun.acquire(timeout=10)
    own.close()


def test_a_scan_that_cannot_be_read_is_told_as_it_is():
    def gone(row, rng):
        raise FileNotFoundError("a.npy is missing; run launch.prepare again")

    own = stream(read=gone)
    with pytest.raises(FileNotFoundError) as caught:
        own.batch(0, 0)
    assert str(caught.value) == "a.npy is missing; run launch.prepare again"
    own.close()


def test_grain_warns_of_nothing(caplog):
    """Pytest makes errors of Python's warnings; these are those that are logged."""
    own = stream()
    for step in range(3):
        own.batch(0, step)
    own.close()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_process_ends_while_batches_are_read():
    program = (
        "import time, numpy as np; from mskjax.training.stream import Stream\n"
        "own = Stream(lambda row, rng: time.sleep(0.05) or {'row': np.array(row)}, (0, 1), (), 2)\n"
        "own.batch(0, 0); print('read', flush=True); raise SystemExit(3)"
    )
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (3, "read\n", "")
    assert time.monotonic() - begun < 50
