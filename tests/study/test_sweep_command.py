"""launch.sweep, launch.evaluate and launch.measure as they are typed; and a sweep that is stopped and killed."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from small_study import begin, config, contents, of_cells

from mskjax.data.dataset import read_dataset
from mskjax.study.mask_judge import read_masks

ROOT = Path(__file__).resolve().parents[2]
CELL = "jigsaw_n004_fold1_draw0_seed0"


@pytest.fixture
def launch(squares):
    """Starts a program, on as many devices as there are in this process."""

    def start(program, *arguments):
        command = [sys.executable, "-m", f"launch.{program}", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)

    return start


@pytest.fixture
def sweep(launch, squares):
    """Starts launch.sweep on the study of `small_study`."""
    flags = ["--config=configs/data_efficiency.py:smoke", f"--config.dataset={squares}", "--config.epochs=4"]
    flags += [f"--config.observers={squares.parent / 'readers.csv'}"]
    flags += ["--config.alpha=0.05", "--config.bootstrap_samples=100"]
    for name in ("reconstruction", "jigsaw"):
        flags += [f"--config.pretexts.{name}.batch_size=1", f"--config.pretexts.{name}.epochs=1"]
    return lambda workdir, *more: launch("sweep", *flags, f"--workdir={workdir}", *more)


def finish(process, status=0):
    printed, told = process.communicate(timeout=300)
    assert process.returncode == status, told
    assert "Traceback" not in told
    return printed if status == 0 else told


def wait_for(condition, process):
    while not condition():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.005)


@pytest.mark.long
def test_a_sweep_that_is_stopped_and_killed_ends_as_the_one_that_was_left_alone(sweep, study, pretrained, tmp_path):
    workdir = begin(pretrained, tmp_path / "study")
    often = "--config.checkpoint_minutes=0.02"
    process = sweep(workdir, often)
    wait_for(lambda: any(path.stat().st_size for path in workdir.glob("cells/*/metrics.jsonl")), process)
    process.send_signal(signal.SIGTERM)
    assert "stopped by SIGTERM and saved at step" in finish(process, 143)
    stopped = {path.parent for path in workdir.glob("cells/*/checkpoints")}
    assert stopped and not list(workdir.glob("cells/*/.lock"))
    process = sweep(workdir, often)
    wait_for(lambda: list(workdir.glob("cells/*/DONE")), process)
    process.kill()
    process.communicate(timeout=300)
    assert len(list(workdir.glob("cells/*/DONE"))) < 12
    finish(sweep(workdir, often))
    assert len(list(workdir.glob("cells/*/DONE"))) == 12
    for name in ("scores.csv", "predictions.npz", "metrics.jsonl", "variables.safetensors"):
        assert of_cells(workdir, name) == of_cells(study, name)
    assert not list(workdir.glob("cells/*/checkpoints"))
    resumed = [json.loads((folder / "provenance.json").read_text())["starts"] for folder in stopped]
    assert all(starts[1]["step"] > 0 for starts in resumed)


@pytest.mark.long
def test_processes_of_a_sweep_stop_and_go_on_each_by_itself(sweep, study, tmp_path):
    """The first is held up meanwhile: the second waits for it neither to begin nor to end."""
    workdir = tmp_path / "study"

    def start(index):
        place = ["--coordinator=localhost:1", f"--process={index}", "--processes=2", "--multihost=on"]
        return sweep(workdir, "--config.inits=('random',)", "--config.devices=1", *place)

    first = start(0)
    wait_for((workdir / "provenance.json").is_file, first)
    first.send_signal(signal.SIGSTOP)
    try:
        second = start(1)
        wait_for(lambda: any(path.stat().st_size for path in workdir.glob("cells/*/metrics.jsonl")), second)
        second.send_signal(signal.SIGTERM)
        assert "stopped by SIGTERM and saved at step" in finish(second, 143)
        stopped = [path.parent.name for path in workdir.glob("cells/*/checkpoints")]
    finally:
        first.send_signal(signal.SIGCONT)
    finish(first)
    done = sorted(path.parent.name for path in workdir.glob("cells/*/DONE"))
    assert len(done) == 2 and len(stopped) == 1 and stopped[0] not in done
    finish(start(1))
    assert len(list(workdir.glob("cells/*/DONE"))) == 4
    expected = {name: rows for name, rows in of_cells(study, "metrics.jsonl").items() if name.startswith("random")}
    assert of_cells(workdir, "metrics.jsonl") == expected
    assert len(json.loads((workdir / "provenance.json").read_text())["starts"]) == 1


def test_failed_cells_are_named_and_status_tells_of_them(sweep, study, tmp_path):
    workdir = shutil.copytree(study, tmp_path / "study")
    (workdir / "cells" / CELL / "DONE").unlink()
    (workdir / "cells" / CELL / "FAILED").write_text("the loss is not finite\n")
    assert finish(sweep(workdir), 1).splitlines()[-1] == f"failed: {CELL}: the loss is not finite"
    told = finish(sweep(workdir, "--status"))
    assert "12 cells: 11 done, 0 running, 1 failed, 0 waiting" in told


def test_a_dry_run_tells_at_once_what_it_knows_and_heeds_ctrl_c(sweep, tmp_path):
    process = sweep(tmp_path / "study", "--dry_run")
    assert process.stdout.readline().startswith("12 cells: ")
    assert process.poll() is None, "the first paragraph is not held back until all is measured"
    process.send_signal(signal.SIGINT)
    told = finish(process, 130)
    assert told.splitlines()[-1].startswith("stopped by SIGINT; nothing was written")
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--share=3"], "error: share '3' is neither RANK/COUNT, such as 0/8, nor slurm"),
        (["--config.sizes=(2,9)"], "error: 8 patients in 2 folds leave 4 to train on, but config.sizes asks for 9"),
        (["--slurm_jobs=2", "--share=0/2"], "error: --slurm_jobs gives each job its share; leave out --share"),
    ],
)
def test_refusals_are_one_sentence(more, message, sweep, tmp_path):
    told = finish(sweep(tmp_path / "study", *more), 2)
    assert told.splitlines()[-1].startswith(message)
    assert not (tmp_path / "study").exists()


def test_evaluate_takes_a_study_and_refuses_what_only_runs_have(launch, study, tmp_path):
    workdir = shutil.copytree(study, tmp_path / "study")
    told = finish(launch("evaluate", f"--workdir={workdir}", "--split=train"), 2)
    assert "a study is evaluated on its test cases; leave out --split" in told
    assert not (workdir / "evaluation").exists()


def test_a_cell_is_a_run_to_evaluate_and_measure(launch, study, squares, tmp_path):
    """By the same weights the same masks; a cell that kept none says what keeps them."""
    cell = shutil.copytree(study / "cells" / CELL, tmp_path / CELL)
    evaluating = launch("evaluate", f"--workdir={cell}")
    image = squares.parent / "ct9.nii"
    measuring = launch("measure", f"--image={image}", f"--run={cell}", f"--output={tmp_path / 'measured'}")
    assert "test cases of" in finish(evaluating)
    finish(measuring)
    measured = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "measured" / "mask.nii.gz")))[0]
    predicted = read_masks(cell / "predictions.npz")["p9"]
    assert measured.shape == predicted.shape == read_dataset(squares).slices.case(9)[0].shape
    assert np.mean(measured.astype(bool) != predicted) < 0.01
    before = contents(cell)
    shutil.rmtree(cell / "best")
    told = finish(launch("evaluate", f"--workdir={cell}", f"--output={tmp_path / 'again'}"), 2)
    assert "holds no weights of a run" in told and "--config.keep=weights" in told
    assert {name for name in before if not name.startswith("best")} == set(contents(cell))
    assert config(squares).keep == "weights"
