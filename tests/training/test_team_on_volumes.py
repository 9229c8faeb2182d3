"""Two processes learn from volumes as one does, and begin no run that they do not see alike."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import volume_cohort
from ports import free_port
from volumes_of_a_team import learn

from mskjax.convert import load_variables
from mskjax.training.writer import read_rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where one process has trained the run `one`, two the run `two`, and these have told what they refuse."""
    folder = tmp_path_factory.mktemp("team")
    volumes = volume_cohort.write(folder / "volumes")
    volume_cohort.write(folder / "other_volumes", split=["validation"] * 2 + ["train"] * 4 + ["test"])
    command = [sys.executable, str(Path(__file__).with_name("volumes_of_a_team.py")), str(folder), str(free_port())]
    environment = {**os.environ, "XLA_FLAGS": "", "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    team = [subprocess.Popen([*command, str(index)], env=environment) for index in range(2)]
    try:
        learn(volumes, folder / "one")
        assert [process.wait(timeout=120) for process in team] == [0, 0]
    finally:
        for process in team:
            process.kill()
    return folder


def test_two_processes_learn_from_volumes_as_one(folder):
    one, two = folder / "one", folder / "two"
    assert json.loads((two / "provenance.json").read_text())["starts"][0]["processes"] == 2
    rows, expected = (read_rows(run / "metrics.jsonl") for run in (two, one))
    assert [row["step"] for row in rows] == [2, 4, 6]
    for row, alone in zip(rows, expected, strict=True):
        assert row == pytest.approx(alone, rel=1e-5)
    (found, _), (weights, _) = (load_variables(run / "best" / "variables.safetensors") for run in (two, one))
    for name, values in weights["params"]["head"].items():
        assert values.any(), "it has learned"
        np.testing.assert_allclose(found["params"]["head"][name], values, rtol=1e-4)


def test_processes_that_would_begin_otherwise_all_refuse_to(folder):
    told = [json.loads((folder / f"{index}.json").read_text()) for index in range(2)]
    for found, seen, volumes in zip(told, ("two", "unseen"), ("volumes", "other_volumes"), strict=True):
        remedy = "give all the same --workdir on a shared file system"
        assert found == {
            "finished": f"process 0 finds {folder / seen} finished, and process 1 does not; {remedy}",
            "folder": f"process 1 does not find in its --workdir, {folder / seen} here, what the first has written to "
            f"its own; {remedy}",
            "step": f"process 1 would begin at step 0 of {folder / seen} and the first at 6; {remedy}",
            "config": "process 1 was given another config than the first; start all by one command",
            "dataset": f"process 1 reads another dataset than the first, which is {folder / volumes} here; give all "
            "the same, on a shared file system",
            "weights": f"process 1 would begin {folder / 'new'} with other weights than the first, both at step 0; let "
            "all read the same files, on machines of one kind",
        }


def test_a_run_that_was_refused_is_left_as_it_was(folder):
    starts = json.loads((folder / "two" / "provenance.json").read_text())["starts"]
    assert ([start["step"] for start in starts], (folder / "two" / "DONE").is_file()) == ([0], True)
    assert not (folder / "new").exists()
    assert not (folder / "unseen").exists()
