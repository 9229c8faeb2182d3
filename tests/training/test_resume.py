"""Runs that are stopped by SIGTERM and by SIGKILL end as the run that is left alone, bit for bit."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from same_runs import assert_same

from mskjax.convert import load_variables
from mskjax.study.evaluation import evaluate
from mskjax.training.writer import read_rows

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def launch(squares):
    """Starts launch.train on a small run and one device."""
    environment = {**os.environ, "XLA_FLAGS": ""}

    def start(workdir, *overrides, options=()):
        flags = ["--config=configs/segmentation.py:smoke", f"--config.dataset={squares}", f"--workdir={workdir}"]
        command = [sys.executable, *options, "-m", "launch.train", *flags, "--config.epochs=14", *overrides]
        return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)

    return start


@pytest.fixture(scope="module")
def undisturbed(launch, tmp_path_factory):
    """The folder of a run that nothing stopped: 14 epochs of 3 steps."""
    workdir = tmp_path_factory.mktemp("runs") / "undisturbed"
    finish(launch(workdir))
    return workdir


def finish(process):
    _, told = process.communicate(timeout=300)
    assert process.returncode == 0, told
    return told


def wait_for(condition, process):
    while not condition():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.005)


def assert_can_be_evaluated(workdir):
    """By the weights of the lowest validation loss so far, which are called so."""
    _, metadata = load_variables(workdir / "best" / "variables.safetensors")
    told, rows = json.loads(metadata["run"]), read_rows(workdir / "metrics.jsonl")
    assert told["best_validation_loss"] == min(row["validation_loss"] for row in rows)
    folder = evaluate(workdir)
    assert json.loads((folder / "summary.json").read_text())["made_from"]["finished"] is False
    assert "The run has not finished" in (folder / "report.html").read_text(encoding="utf-8")


def test_sigterm_saves_and_the_run_ends_the_same(launch, undisturbed, tmp_path):
    workdir = tmp_path / "run"
    process = launch(workdir)
    wait_for(lambda: (workdir / "metrics.jsonl").is_file() and (workdir / "metrics.jsonl").read_text(), process)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 143
    assert "stopped by SIGTERM and saved at step" in told
    assert "Traceback" not in told
    assert not (workdir / "DONE").exists()
    assert_can_be_evaluated(workdir)
    assert "going on at step" in finish(launch(workdir))
    assert_same(workdir, undisturbed)


def test_ctrl_c_during_compilation_saves_and_a_second_command_is_refused(launch, tmp_path):
    process, imported = launch(tmp_path, options=("-X", "importtime")), set()
    for line in process.stderr:
        if "; starting; the first step is compiled" in line:
            break
        imported.add(line.rpartition("|")[2].strip())
    process.send_signal(signal.SIGSTOP)
    assert "optax" in imported and "matplotlib" not in imported  # which only the picture at the end needs
    other = launch(tmp_path)
    _, told = other.communicate(timeout=300)
    assert (other.returncode, told.count("\n")) == (2, 1), told
    assert "is being trained in by another command" in told
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 130, told
    assert "stopped by SIGINT and saved at step 1;" in told


def test_sigkill_loses_the_steps_since_the_checkpoint_and_the_run_ends_the_same(launch, undisturbed, tmp_path):
    workdir = tmp_path / "run"
    process = launch(workdir, "--config.checkpoint_minutes=0")
    # Step 4 is in the middle of the second epoch.
    wait_for(lambda: any((workdir / "checkpoints" / str(step)).is_dir() for step in range(4, 40)), process)
    process.kill()
    process.communicate(timeout=300)
    # As if the kill had come after rows of later epochs and in the middle of a line.
    with (workdir / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 1000, "epoch": 300, "loss": 0.0}) + "\n" + '{"step": 10')
    finish(launch(workdir))
    assert_same(workdir, undisturbed)
    starts = json.loads((workdir / "provenance.json").read_text())["starts"]
    assert [start["step"] == 0 for start in starts] == [True, False]


def test_a_finished_run_is_skipped(launch, undisturbed):
    before = {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*")}
    assert f"{undisturbed} is done" in finish(launch(undisturbed))
    assert {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*")} == before
