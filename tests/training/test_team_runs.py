"""Runs that two processes train are stopped and gone on with by one, and the reverse, and end as one left alone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ports import free_port
from safetensors.numpy import load_file

from mskjax.training.writer import read_rows

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def launch(squares):
    """Starts launch.train on a small run in float64, in one process or in two."""
    environment = {**os.environ, "XLA_FLAGS": "", "JAX_ENABLE_X64": "1"}

    def start(workdir, *overrides, processes=1):
        flags = ["--config=configs/segmentation.py:smoke", f"--config.dataset={squares}", f"--workdir={workdir}"]
        flags += ["--config.epochs=14", "--config.batch_size=4", "--config.task.model.dtype=float64", *overrides]
        command, port = [sys.executable, "-m", "launch.train", *flags], free_port()
        if processes > 1:
            command += [f"--coordinator=localhost:{port}", f"--processes={processes}"]
        own = [[f"--process={index}"] * (processes > 1) for index in range(processes)]
        return [
            subprocess.Popen([*command, *which], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
            for which in own
        ]

    return start


def end(team):
    """The exit statuses, and what the first process told."""
    told = [process.communicate(timeout=300)[1] for process in team]
    assert not any("stopped by" in others for others in told[1:])
    return [process.returncode for process in team], told[0]


def wait_for_step(workdir, step, team):
    """Until there is a checkpoint of that step or of a later one."""
    while (
        max((int(path.name) for path in (workdir / "checkpoints").glob("*") if path.name.isdigit()), default=0) < step
    ):
        assert all(process.poll() is None for process in team), end(team)
        time.sleep(0.005)


def wait_for_rows(workdir, count, team):
    while not (workdir / "metrics.jsonl").is_file() or (workdir / "metrics.jsonl").read_text().count("\n") < count:
        assert all(process.poll() is None for process in team), end(team)
        time.sleep(0.005)


@pytest.mark.long
def test_killed_and_stopped_runs_go_on_in_more_and_in_fewer_processes(launch, tmp_path):
    alone, workdir = tmp_path / "alone", tmp_path / "run"
    assert end(launch(alone))[0] == [0]
    # Most of the network lies in parts, one in each process, and so do Adam's moments.
    two = launch(workdir, "--config.checkpoint_minutes=0", "--config.split_from=256", processes=2)
    wait_for_step(workdir, 4, two)
    two[1].kill()
    status, told = end(two)
    assert status == [2, -signal.SIGKILL]
    assert "error: another process or a device has failed" in told
    assert "start all again to go on" in told
    one = launch(workdir, "--config.checkpoint_minutes=0")
    wait_for_rows(workdir, 4, one)
    one[0].kill()
    status, told = end(one)
    assert (status, "going on at step" in told) == ([-signal.SIGKILL], True)
    two = launch(workdir, "--config.checkpoint_minutes=0", "--config.split_from=256", processes=2)
    wait_for_rows(workdir, 6, two)
    two[0].kill()  # which alone writes, and by which the others are connected
    assert end(two)[0] == [-signal.SIGKILL, 2]
    two = launch(workdir, "--config.split_from=256", processes=2)
    wait_for_rows(workdir, 8, two)
    two[1].send_signal(signal.SIGTERM)
    status, told = end(two)
    # Both stop, although the signal came to the second alone, and only the first has written and told.
    assert (status, "stopped by SIGTERM and saved at step" in told) == ([143, 143], True)
    assert "2 x cpu of 2 processes" in told
    assert end(launch(workdir))[0] == [0]
    found, expected = (read_rows(folder / "metrics.jsonl") for folder in (workdir, alone))
    assert [row["step"] for row in found] == [row["step"] for row in expected] == list(range(3, 43, 3))
    assert [row["validation_loss"] for row in found] == pytest.approx([row["validation_loss"] for row in expected])
    found, expected = (load_file(folder / "best" / "variables.safetensors") for folder in (workdir, alone))
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-8)


def test_a_batch_that_processes_cannot_share_is_refused_in_each(launch, tmp_path):
    team = launch(tmp_path / "run", "--config.batch_size=3", processes=2)
    status, told = end(team)
    assert status[0] == 2
    assert status[1] != 0  # by its own refusal, or ended by the absence of the first
    assert "batch size 3 is not divisible by 2 processes; use a multiple of 2" in told
