"""Whole runs in one process, on 8 simulated devices."""

import json
import shutil
import signal
from contextlib import contextmanager
from unittest.mock import patch

import jax
import numpy as np
import pytest

from configs import segmentation
from mskjax.convert import load_variables
from mskjax.data import batches
from mskjax.data.dataset import read_dataset, write_dataset
from mskjax.training import Interrupted, load_run, signals, train
from mskjax.training.examples import of_splits
from mskjax.training.folder import is_done
from mskjax.training.run import plain
from mskjax.training.writer import read_rows

pytestmark = pytest.mark.usefixtures("compiled_once")


def small(folder, **changes):
    config = segmentation.get_config("smoke")
    config.update({"dataset": str(folder), "batch_size": 8, **changes})
    return config


@pytest.fixture(scope="module")
def finished(squares, tmp_path_factory):
    """The folder of a run of two epochs."""
    workdir = tmp_path_factory.mktemp("runs") / "finished"
    train(small(squares), workdir)
    return workdir


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the finished run, to be changed."""
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def test_the_run_folder_holds_what_it_should(finished, squares):
    names = {path.name for path in finished.iterdir()} - {"tensorboard"}
    assert names == {
        *("config.json", "provenance.json", "metrics.jsonl", "checkpoints", "best", "loss_curves.png", "DONE")
    }
    rows = read_rows(finished / "metrics.jsonl")
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 2), (2, 4)]  # 10 examples, 8 at a time
    provenance = json.loads((finished / "provenance.json").read_text())
    manifest = read_dataset(squares).manifest
    assert (provenance["dataset"]["sha256"], provenance["dataset"]["counts"]) == (
        manifest["sha256"],
        manifest["counts"],
    )
    assert provenance["dataset"]["phantoms_only"] is False
    assert provenance["starts"][0]["versions"]["jax"] == jax.__version__
    assert len(provenance["starts"][0]["devices"]) == 8
    variables, metadata = load_variables(finished / "best" / "variables.safetensors")
    assert json.loads(metadata["run"])["best_validation_loss"] == min(row["validation_loss"] for row in rows)
    assert variables["params"]["classifier"]["logits"]["kernel"].shape[-1] == 1


def test_a_finished_run_of_another_config_is_refused(run, squares):
    with pytest.raises(ValueError, match=r"learning_rate 0.003, now 0.1.*task.window_hu 400.0, now 350"):
        config = small(squares, learning_rate=0.1)
        config.task.window_hu = 350.0
        train(config, run)
    assert (run / "DONE").exists()


def test_a_run_of_another_dataset_is_refused(run, squares, tmp_path):
    dataset = read_dataset(squares)
    write_dataset(tmp_path / "other", dataset.slices, dataset.cases.assign(sex="F"), {})
    with pytest.raises(ValueError, match="another dataset"):
        train(small(tmp_path / "other", epochs=3), run)


def test_more_epochs_let_a_finished_run_go_on(run, squares, tmp_path):
    train(small(squares, epochs=3), run)
    assert [row["epoch"] for row in read_rows(run / "metrics.jsonl")] == [1, 2, 3]
    assert json.loads((run / "DONE").read_text())["step"] == 6
    assert [s["step"] for s in json.loads((run / "provenance.json").read_text())["starts"]] == [0, 4]


def test_a_run_of_before_one_could_choose_what_to_stop_on_stopped_on_both(run, squares):
    path = run / "config.json"
    config = json.loads(path.read_text())
    assert config.pop("stop_on") == "both"
    path.write_text(json.dumps(config))
    train(small(squares), run)
    assert "stop_on" not in json.loads(path.read_text()), "it was left as it is"
    assert not is_done(run, plain(small(squares, stop_on="validation")))
    train(small(squares, epochs=3), run)
    assert json.loads(path.read_text())["stop_on"] == "both"
    assert [row["epoch"] for row in read_rows(run / "metrics.jsonl")] == [1, 2, 3]


def test_a_finished_run_without_checkpoints_is_not_overwritten(run, squares):
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(ValueError, match="checkpoints are gone"):
        train(small(squares, epochs=3), run)


def test_the_predictor_works_on_the_slices_own_grid(finished):
    """Against the steps done by hand: fit, the network with the best weights, sigmoid, unfit."""
    predictor = load_run(finished, batch_size=2)
    rng = np.random.default_rng(0)
    image_hu, spacing_mm = rng.integers(-200, 200, (3, 40, 50)).astype(np.int16), np.array([1.5, 1.0])
    probability = predictor(image_hu, spacing_mm)
    assert (probability.shape, probability.dtype) == ((3, 40, 50), np.float32)
    assert 0 <= probability.min() < probability.max() <= 1
    for i in range(3):
        alone = predictor(image_hu[i : i + 1], spacing_mm)[0]
        np.testing.assert_allclose(probability[i], alone, atol=1e-5)
    square = batches.fit_image(image_hu[2], spacing_mm, 32)
    values = np.asarray(predictor.forward(predictor.variables, square[None]))[0]
    np.testing.assert_allclose(probability[2], batches.unfit(values, (40, 50), spacing_mm), atol=1e-5)
    assert predictor(image_hu[:0], spacing_mm).shape == (0, 40, 50)


def test_a_run_that_predicts_no_masks_is_refused(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    config["task"]["name"] = "jigsaw"
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="a run of the task jigsaw, which predicts no masks; name a run of segment"):
        load_run(tmp_path / "run")


def test_weights_of_a_finished_run_start_another(finished, squares, tmp_path):
    """The backbone comes from the run and is frozen; the head is fresh and learns."""
    config = small(squares, init_from=str(finished), fresh=("classifier/logits/.*",), epochs=1)
    config.task.freeze = ("backbone/.*",)
    train(config, tmp_path / "run")
    (before, _), (after, _) = (
        load_variables(f / "best" / "variables.safetensors") for f in (finished, tmp_path / "run")
    )
    for collection in ("params", "batch_stats"):
        jax.tree.map(np.testing.assert_array_equal, before[collection]["backbone"], after[collection]["backbone"])
    assert (before["params"]["classifier"]["conv"]["kernel"] != after["params"]["classifier"]["conv"]["kernel"]).any()
    origin = json.loads((tmp_path / "run" / "provenance.json").read_text())["weights"]
    assert origin["path"].startswith(str(finished))
    assert len(origin["sha256"]) == 64


def test_another_runs_checkpoint_is_gone_on_from(finished, squares, tmp_path):
    train(small(squares, resume=str(finished), epochs=3, learning_rate=1e-4), tmp_path / "run")
    assert [row["step"] for row in read_rows(tmp_path / "run" / "metrics.jsonl")] == [6]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 6, "devices": 4}, "batch size 6 is not divisible by 4 devices; use a multiple of 4"),
        ({"devices": 9}, "9 devices are asked for, but there are 8"),
        ({"dataset": ""}, "--config.dataset"),
        ({"epochs": 0}, "config.epochs is 0"),
        ({"init_from": "weights/fcn_resnet101.safetensors"}, "launch.convert --model=fcn_resnet101 --download"),
        ({"init_from": "{squares}"}, "holds no weights of a run"),
        ({"resume": "{nowhere}"}, "no checkpoint"),
        ({"task": {"freeze": ("backbon/.*",)}}, r"'backbon/\.\*' matches no parameter"),
        ({"task": {"freeze": (".*",)}}, "no parameter to train"),
        (
            {"dataset": "{unsplit}"},
            r"14 training and 0 validation cases.*--validation_fraction=0\.2, or .* column split",
        ),
    ],
)
def test_refusals_leave_nothing_behind(changes, message, squares, tmp_path):
    dataset = read_dataset(squares)
    write_dataset(tmp_path / "unsplit", dataset.slices, dataset.cases.assign(split="train"), {})
    paths = {"squares": squares, "nowhere": tmp_path / "nowhere", "unsplit": tmp_path / "unsplit"}
    changes = {name: value.format(**paths) if isinstance(value, str) else value for name, value in changes.items()}
    with pytest.raises((ValueError, OSError), match=message):
        train(small(squares, **changes), tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["unsplit"]


def test_a_checkpoint_of_another_network_is_refused(finished, squares, tmp_path):
    config = small(squares, resume=str(finished))
    config.task.model.width = 8
    with pytest.raises(ValueError, match=r"another network.*\(4,\), here \(8,\)"):
        train(config, tmp_path / "run")


def test_a_refusal_starts_no_thread_that_tidies_checkpoints(run, squares):
    """Orbax's, which the interpreter's end would break off with a traceback."""
    (run / "DONE").unlink()
    with (
        patch("orbax.checkpoint.checkpoint_manager.future.CommitFuture", side_effect=AssertionError),
        pytest.raises(ValueError, match="another config"),
    ):
        train(small(squares, learning_rate=0.1), run)


def test_patients_in_both_splits_are_warned_of(squares, tmp_path, caplog):
    dataset = read_dataset(squares)
    of_splits(dataset, 8)
    assert not caplog.records
    write_dataset(tmp_path / "other", dataset.slices, dataset.cases.assign(patient_id="one"), {})
    of_splits(read_dataset(tmp_path / "other"), 8)
    assert "1 patients both train and validate" in caplog.text


def test_a_batch_larger_than_the_training_slices_is_warned_of(squares, caplog):
    of_splits(read_dataset(squares), 10)
    assert not caplog.records
    of_splits(read_dataset(squares), 11)
    assert "a batch of 11 repeats slices, as 10 train; lower config.batch_size to 10 or less" in caplog.text


@contextmanager
def stopped_at_once():
    catcher = signals.Caught()
    catcher.signum = signal.SIGTERM
    yield catcher


def test_a_run_that_is_stopped_before_a_validation_has_no_weights(squares, tmp_path, monkeypatch):
    monkeypatch.setattr(signals, "caught", stopped_at_once)
    # Left by a former run, whose checkpoints are gone.
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "variables.safetensors").touch()
    with pytest.raises(Interrupted, match="saved at step 1;"):
        train(small(squares), tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no best/variables.*after a validation; start it, or go on with it"):
        load_run(tmp_path)
    with pytest.raises(Interrupted, match="saved at step 2;"):
        train(small(squares), tmp_path)  # two steps an epoch
    load_run(tmp_path)


def test_a_workdir_that_is_a_file_is_refused(squares, tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(NotADirectoryError, match="name another folder"):
        train(small(squares), tmp_path / "run")


def test_a_block_within_a_block_hears_the_same_signal():
    former = signal.getsignal(signal.SIGTERM)
    with signals.caught() as outer:
        signal.raise_signal(signal.SIGTERM)
        with signals.caught() as inner:
            assert inner.signum == signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) is outer
    assert signal.getsignal(signal.SIGTERM) is former
