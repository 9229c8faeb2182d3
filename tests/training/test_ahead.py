"""Steps that are compiled in a thread ahead of their first calls."""

import threading

import jax
import numpy as np
import optax
import pytest
from compilations import compilations
from recorder import Recorder
from toy_task import Mean, examples

from mskjax.processes import COMPILING
from mskjax.training import ahead, sharding
from mskjax.training.job import Schedule
from mskjax.training.loop import fit
from mskjax.training.signals import Caught
from mskjax.training.step import Steps, compile_steps

TASK, DESCENT = Mean(), optax.identity()
ROWS = jax.ShapeDtypeStruct((8,), np.int32)


class Program:
    """A function that is compiled, which is told, once it `may` be."""

    def __init__(self, name, told):
        self.name, self.told, self.may = name, told, threading.Event()
        self.traced_in = None

    def lower(self, *shapes):
        self.traced_in = threading.current_thread()
        return self

    def compile(self):
        in_time = self.may.wait(timeout=20)
        self.told.append(f"{self.name} {'compiled' if in_time else 'was waited for'}")

    def __call__(self):
        self.told.append(f"{self.name} called")


@pytest.fixture
def told():
    return []


@pytest.fixture
def programs(told):
    made = {name: Program(name, told) for name in ("train", "evaluate")}
    yield made
    for program in made.values():
        program.may.set()  # where a test has failed, so that its thread ends


def compiled(programs):
    state = ahead.abstract_state(TASK, DESCENT, {})
    return ahead.compiled(Steps(**programs, end_epoch=print), state, {}, ROWS, sharding.make_mesh(1, 1))


def test_first_calls_wait_and_the_step_is_not_kept_waiting_by_the_evaluation(programs, told, caplog):
    caplog.set_level("INFO")
    with compiled(programs) as steps:
        assert told == []
        programs["train"].may.set()
        steps.train()
        steps.train()
        assert told == ["train compiled", "train called", "train called"]
        assert [record.message for record in caplog.records] == ["the first step begins"]
        programs["evaluate"].may.set()
        steps.evaluate()
        assert told[3:] == ["evaluate compiled", "evaluate called"]


def test_the_step_is_traced_before_the_block_begins_and_not_beside_it(programs):
    with compiled(programs) as steps:
        assert programs["train"].traced_in is threading.current_thread()
        for program in programs.values():
            program.may.set()
        steps.evaluate()
    assert programs["evaluate"].traced_in.name.startswith(COMPILING)


def test_an_error_in_the_block_waits_for_no_program(programs, told):
    with pytest.raises(ValueError, match="a weight file is missing"), compiled(programs):
        raise ValueError("a weight file is missing")
    assert told == []
    programs["train"].may.set()


def test_an_error_of_the_compilation_is_that_of_the_first_call(programs):
    def compile_nothing():
        raise MemoryError("the compiler")

    programs["train"].compile = compile_nothing
    with compiled(programs) as steps, pytest.raises(MemoryError, match="the compiler"):
        steps.train()


@pytest.mark.parametrize("mesh", [(1, 1), (1, 8), (3, 1)], ids=["one", "eight", "lanes"])
def test_what_the_loop_calls_is_what_was_compiled(mesh, tmp_path):
    """Shapes and places that were foreseen otherwise would have it compiled again, unseen but for the time."""
    lanes, devices = mesh
    mesh = sharding.make_mesh(devices, 8) if lanes == 1 else sharding.make_lanes(lanes, lanes)
    arrays, rows = examples(range(16), range(8), batch_size=8)
    steps, state = compile_steps(TASK, DESCENT, mesh), ahead.abstract_state(TASK, DESCENT, {})
    jobs = [Recorder(TASK, DESCENT, rows, Schedule(0, 0.5, 2, 9), tmp_path / str(lane)) for lane in range(lanes)]
    shapes = {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in arrays.items()}
    with compilations() as count, ahead.compiled(steps, state, shapes, ROWS, mesh) as ready:
        fit(ready, sharding.share(arrays, mesh), jobs, mesh, Caught())
        assert [len(job.losses) for job in jobs] == [4] * lanes
        assert (count("train_step"), count("evaluate_step")) == (1, 1)
