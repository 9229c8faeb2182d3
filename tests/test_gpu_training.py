"""The benchmark of training on a GPU, as far as it can be tried without one."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest

from benchmarks import gpu_training, training_step
from configs.data_efficiency import get_config
from mskjax import models
from mskjax.study.data_efficiency import plan
from mskjax.study.estimates import works

ROOT = Path(__file__).resolve().parents[1]
# What a bare machine with a GPU lacks: readers of images and what only launchers need.
ABSENT = ("SimpleITK", "pydicom", "highdicom", "dm_pix", "ml_collections", "grain", "pooch")


def test_without_an_accelerator_nothing_is_measured(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu_training"])
    monkeypatch.setenv("XLA_FLAGS", "")  # is restored, as the program sets it
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "")
    gpu_training.main()
    assert json.loads(capsys.readouterr().out)["skipped"] == "no accelerator"


def test_it_needs_neither_readers_nor_configs():
    absent = f"import sys; sys.modules.update(dict.fromkeys({ABSENT}))"
    subprocess.run([sys.executable, "-c", f"{absent}; import benchmarks.gpu_training"], cwd=ROOT, check=True)


def test_operations_are_those_that_torchvision_publishes():
    """Beside fcn_resnet50's weights: 152.717e9 multiply-adds at 520x520 for 21 classes, with the auxiliary head."""
    module = models.build("fcn_resnet101", stage_sizes=(3, 4, 6, 3), num_classes=21, aux_head=True)
    assert training_step.forward_flops(module, (1, 520, 520, 3)) / 2e9 == pytest.approx(152.717, abs=6e-4)


@pytest.mark.parametrize("batch_size", [4, 16])
def test_the_prediction_is_of_the_studys_own_plan(batch_size):
    names = [f"p{number}" for number in range(204)]
    cases = pd.DataFrame({"case_id": names, "patient_id": names, "split": ["train"] * 167 + ["test"] * 37})
    config = get_config()
    config.batch_size = batch_size
    planned = works(config, plan(cases, config), most=200)
    step_s, validation_s = 0.017, 0.005
    epoch_end_s = np.ceil(training_step.VALIDATING / batch_size) * validation_s
    predicted_s = 3600 * gpu_training.study_h(batch_size, 200, step_s, epoch_end_s)
    assert predicted_s == pytest.approx(sum(one.steps * step_s + one.validations * validation_s for one in planned))


def test_the_step_is_that_of_training(monkeypatch):
    """It is traced, with all its arguments in their places, and not compiled, which takes long."""
    monkeypatch.setattr(training_step, "SLICES", 4)
    monkeypatch.setattr(jax.stages.Lowered, "compile", lambda lowered: lowered)
    step = training_step.TrainingStep(2, 16, (1, 1, 1, 1), "float32", width=4)
    state, metrics = step.compiled.out_info
    assert metrics["loss"].shape == (1,)
    assert jax.tree.map(np.shape, state) == jax.tree.map(np.shape, step.state)
