"""Whole runs that see volumes: SMIT is pretrained on them, and fine-tuned from that."""

import json
from contextlib import contextmanager, nullcontext

import jax
import numpy as np
import pytest
import volume_cohort
from reading import assert_gone
from recorder import Signal
from same_runs import assert_same, restored

from configs import smit_pretraining, smit_segmentation
from mskjax.convert import load_variables
from mskjax.tasks.self_distillation import shared
from mskjax.training import Interrupted, ahead, run, signals, train
from mskjax.training.writer import read_rows

pytestmark = pytest.mark.usefixtures("compiled_once")
PARTS = ("loss", "patch", "image", "reconstruction", "feature_spread", "teacher_lag")
STOPPED = 3  # steps, of which an epoch has two


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return volume_cohort.write(tmp_path_factory.mktemp("volumes") / "outlined")


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    return volume_cohort.write(tmp_path_factory.mktemp("volumes") / "bare", masked=False)


def small(of, folder, **changes):
    config = of.get_config("smoke")
    config.update({"dataset": str(folder), "spacing_mm": volume_cohort.SPACING_MM, "devices": 1, **changes})
    return config


def pretrain(folder, workdir, **changes):
    fields = {"epochs": 3, "patience": 3, "keep_epochs": 1, "crops_per_scan": 1, **changes}
    train(small(smit_pretraining, folder, **fields), workdir)
    return workdir


@pytest.fixture(scope="module")
def pretrained(bare, tmp_path_factory):
    """The folder of a run of three epochs of two steps."""
    return pretrain(bare, tmp_path_factory.mktemp("runs") / "pretrained")


def stopping(steps):
    @contextmanager
    def stopped():
        yield Signal(steps)

    return stopped


def test_pretraining_tells_of_all_its_parts_and_keeps_the_last_weights(pretrained):
    rows = read_rows(pretrained / "metrics.jsonl")
    assert [(row["epoch"], row["step"], row["best_step"]) for row in rows] == [(1, 2, 2), (2, 4, 4), (3, 6, 6)]
    for row in rows:
        assert np.isfinite([row[f"validation_{name}"] for name in PARTS]).all()
    assert rows[0]["learning_rate"] == 0, "the first epoch of a warm-up"
    assert rows[0]["validation_teacher_lag"] < 1e-6 < 1e-5 < rows[2]["validation_teacher_lag"]
    assert {path.name for path in (pretrained / "checkpoints").iterdir()} >= {"2", "4", "6"}
    arrays = restored(pretrained)
    variables, _ = load_variables(pretrained / "best" / "variables.safetensors")
    kernel = variables["params"]["backbone"]["patch"]["kernel"]
    np.testing.assert_array_equal(kernel, arrays["/params/backbone/patch/kernel"])
    assert_gone()


def test_a_task_knows_how_long_its_training_is(pretrained, bare):
    """Four scans in batches of two, three epochs; the config says neither, and is the run's own nevertheless."""
    task = json.loads((pretrained / "config.json").read_text())["task"]
    assert (task["steps_per_epoch"], task["epochs"]) == (2, 3)
    before = (pretrained / "DONE").stat().st_mtime_ns
    pretrain(bare, pretrained)
    assert (pretrained / "DONE").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match=r"is of another config \(epochs 3, now 4, task\.epochs 3, now 4\)"):
        pretrain(bare, pretrained, epochs=4)


def test_a_finished_run_is_not_called_that_of_another_dataset(pretrained, dataset):
    config = small(smit_pretraining, dataset, epochs=3, patience=3, keep_epochs=1, crops_per_scan=1)
    with pytest.raises(ValueError, match="is of another dataset; give that one or use another workdir"):
        train(config, pretrained)


def test_pretraining_that_was_stopped_ends_the_same(pretrained, bare, tmp_path, monkeypatch):
    with monkeypatch.context() as patched, pytest.raises(Interrupted, match=f"saved at step {STOPPED};"):
        patched.setattr(signals, "caught", stopping(STOPPED))
        pretrain(bare, tmp_path / "run")
    assert_gone()
    pretrain(bare, tmp_path / "run")
    starts = json.loads((tmp_path / "run" / "provenance.json").read_text())["starts"]
    assert [start["step"] for start in starts] == [0, STOPPED]
    assert_same(tmp_path / "run", pretrained)


@pytest.fixture
def begun(monkeypatch):
    """What a run has as it takes its first step, which it does not: state, batch, steps an epoch and arrays."""
    found = []

    def fit(steps, arrays, jobs, mesh, caught):
        (job,) = jobs
        found.extend([job.start(), job.examples.batch(0, 0), job.examples.steps_per_epoch, arrays])

    monkeypatch.setattr(run, "fit", fit)
    monkeypatch.setattr(ahead, "compiled", lambda steps, *_: nullcontext(steps))
    return found


def test_pretraining_goes_on_from_pretrained_weights_with_a_schedule_of_its_own(pretrained, bare, tmp_path, begun):
    pretrain(bare, tmp_path / "run", init_from=str(pretrained))
    state, *_ = begun
    best, _ = load_variables(pretrained / "best" / "variables.safetensors")
    assert int(best["step"]) == 6, "a run's file holds its teacher too"
    jax.tree.map(np.testing.assert_array_equal, state.params, best["params"])
    jax.tree.map(np.testing.assert_array_equal, state.model_state["teacher"], shared(state.params))
    assert not any(leaf.any() for leaf in jax.tree.leaves((state.step, state.model_state["step"])))
    assert not any(leaf.any() for leaf in state.model_state["centers"].values())


def test_weights_of_windows_that_were_joined_otherwise_are_refused(pretrained, dataset, tmp_path, begun):
    config = small(smit_segmentation, dataset, init_from=str(pretrained), fresh=("decoder/.*",))
    config.task.model.joining = "official"
    with pytest.raises(ValueError, match=r"joined as 'inverse' and the run's network joins them as 'official'; set"):
        train(config, tmp_path / "run")


def test_fine_tuning_begins_with_the_pretrained_encoder(pretrained, dataset, tmp_path, begun):
    """Up to its first step, whose compilation takes half a minute."""
    config = small(smit_segmentation, dataset, init_from=str(pretrained), fresh=("decoder/.*",))
    train(config, tmp_path / "run")
    state, batch, steps_per_epoch, arrays = begun
    assert (steps_per_epoch, arrays) == (4, {})  # four scans of four crops, four at a time
    shapes = {name: values.shape for name, values in batch.items()}
    assert shapes == {"image_hu": (4, 32, 32, 32), "label": (4, 32, 32, 32), "spacing_mm": (4, 3)}
    own = load_variables(pretrained / "best" / "variables.safetensors")[0]["params"]["backbone"]
    tuned = state.params["backbone"]
    assert own.pop("mask_token").shape and "mask_token" not in tuned
    jax.tree.map(np.testing.assert_array_equal, tuned, own)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert "steps_per_epoch" not in config["task"]
    weights = json.loads((tmp_path / "run" / "provenance.json").read_text())["weights"]
    assert weights["path"] == str(pretrained / "best" / "variables.safetensors")
    assert_gone()


@pytest.mark.parametrize(
    ("of", "changes", "message"),
    [
        (smit_segmentation, {"dataset": "{bare}"}, "needs a mask of every scan, and 6 of 6 have none, such as case ca"),
        (smit_segmentation, {"dataset": "{squares}"}, "holds slices, not volumes; prepare its scans with --spacing_mm"),
        (smit_pretraining, {"dataset": "{squares}"}, "holds slices, not volumes; prepare its scans with --spacing_mm"),
        (
            smit_segmentation,
            {"spacing_mm": (1.5, 1.5, 2.0)},
            r"was prepared at 2 x 2 x 3 mm and config\.spacing_mm is 1\.5 x 1\.5 x 2; .*spacing_mm=\"\(2\.0, 2\.0, 3\.",
        ),
        (smit_pretraining, {"dataset": ""}, "no dataset is given; name a folder made by launch.prepare"),
        (smit_pretraining, {"batch_size": 0}, "config.batch_size is 0; it must be above 0"),
        (smit_pretraining, {"crops_per_scan": 0}, "config.crops_per_scan is 0; it must be above 0"),
        (smit_segmentation, {"overlap": 1.0}, "config.overlap is 1.0; it must be at least 0 and below 1"),
        (smit_segmentation, {"keep_epochs": -1}, "config.keep_epochs is -1; it must be 0 or more"),
        (smit_segmentation, {"image_size": 48}, "does not fit SMIT; make each side a multiple of 32"),
    ],
)
def test_refusals_are_one_sentence_and_leave_nothing_behind(of, changes, message, dataset, bare, squares, tmp_path):
    paths = {"bare": bare, "squares": squares}
    changes = {name: value.format(**paths) if isinstance(value, str) else value for name, value in changes.items()}
    with pytest.raises(ValueError, match=message) as caught:
        train(small(of, dataset, **changes), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
