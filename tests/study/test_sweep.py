"""A whole small study: one compilation for all cells, the same files whatever the lanes, each cell once."""

import json
import shutil
import threading
from contextlib import nullcontext
from pathlib import Path

import pytest
from compilations import compilations
from small_study import PROGRAMS, begin, config, contents, of_cells

from mskjax.convert import save_variables
from mskjax.data.dataset import read_dataset, write_dataset
from mskjax.files import atomic_path, write_json
from mskjax.study import mask_judge, sweep
from mskjax.study.data_efficiency import plan
from mskjax.study.shares import Share
from mskjax.training import Interrupted, ahead, lock, provenance, signals, supply
from mskjax.training.writer import read_rows

FILES = {"config.json", "provenance.json", "metrics.jsonl", "scores.csv", "predictions.npz", "best", "DONE"}


def names(workdir):
    return sorted(path.name for path in (workdir / "cells").glob("*"))


def test_every_cell_has_its_folder(study, squares):
    cells = plan(read_dataset(squares).cases, config(squares))
    assert len(cells) == 3 * 2 * 2
    assert names(study) == sorted(cell.name for cell in cells)
    for cell in cells:
        folder = study / "cells" / cell.name
        assert {path.name for path in folder.iterdir()} - {"tensorboard"} == FILES
        assert json.loads((folder / "config.json").read_text())["cell"]["train_cases"] == list(cell.train_cases)
        assert [row["epoch"] for row in read_rows(folder / "metrics.jsonl")] == [1, 2, 3, 4]
        assert json.loads((folder / "provenance.json").read_text())["dataset"]["phantoms_only"] is False
    told = json.loads((study / "provenance.json").read_text())
    assert told["dataset"]["sha256"] == read_dataset(squares).manifest["sha256"]


def test_cells_start_from_the_pretexts_of_the_study(study):
    for init in ("reconstruction", "jigsaw", "random"):
        weights = json.loads((study / "cells" / f"{init}_n002_fold0_draw0_seed0" / "provenance.json").read_text())
        expected = study / "pretexts" / init / "best" / "variables.safetensors"
        assert (weights["weights"] or {}).get("path") == (None if init == "random" else str(expected))


@pytest.mark.parametrize("name", PROGRAMS)
def test_all_cells_share_one_compilation(study, name):
    assert json.loads((study.parent / "compilations.json").read_text())[name] == 1


def test_one_lane_makes_the_same_files_and_one_compilation_too(study, pretrained, squares, tmp_path):
    """Also with predictions alone: then neither weights nor checkpoints are left."""
    workdir = begin(pretrained, tmp_path / "study")
    with compilations() as count:
        assert sweep.sweep(config(squares, devices=1, keep="predictions"), workdir) == {}
    assert [count(name) for name in PROGRAMS] == [1] * 4
    for name in ("scores.csv", "predictions.npz", "metrics.jsonl"):
        assert of_cells(workdir, name) == of_cells(study, name)
    for cell in names(workdir):
        assert not FILES - {path.name for path in (workdir / "cells" / cell).iterdir()} - {"best"}
        assert not (workdir / "cells" / cell / "best").exists()
        assert not (workdir / "cells" / cell / "checkpoints").exists()


def test_a_study_that_is_done_is_left_as_it_is(study, squares, tmp_path):
    workdir = shutil.copytree(study, tmp_path / "study")
    before = contents(workdir / "cells") | contents(workdir / "pretexts")
    assert sweep.sweep(config(squares), workdir) == {}
    assert contents(workdir / "cells") | contents(workdir / "pretexts") == before


class Quick:
    """In place of the training loop: ends each cell as soon as it is asked for."""

    def __init__(self):
        self.trained = []

    def __call__(self, steps, arrays, jobs, mesh, caught):
        for job in jobs:
            self.trained.append(job.workdir.name)
            write_json(job.workdir / "config.json", job.config)
            write_json(job.workdir / "DONE", {})
            job.close()


@pytest.fixture
def quick(monkeypatch):
    made = Quick()
    monkeypatch.setattr(sweep, "fit", made)
    monkeypatch.setattr(ahead, "compiled", lambda steps, *_: nullcontext(steps))
    monkeypatch.setattr(sweep, "WAIT_S", 0.02)
    return made


def test_two_shares_do_every_cell_once(quick, pretrained, squares, tmp_path):
    workdir, study = begin(pretrained, tmp_path / "study"), config(squares)
    expected = [cell.name for cell in plan(read_dataset(squares).cases, study)]
    sweep.sweep(study, workdir, Share(1, 2))
    assert sorted(quick.trained) == sorted(Share(1, 2).of(expected))
    sweep.sweep(study, workdir, Share(0, 2))
    assert sorted(quick.trained) == sorted(expected)


def test_starts_are_those_of_the_first_share(quick, pretrained, squares, tmp_path):
    """Whichever share begins the study tells what it is made from."""
    workdir = begin(pretrained, tmp_path / "study")
    counted = []
    for rank in (1, 1, 0, 1, 0):
        sweep.sweep(config(squares), workdir, Share(rank, 2))
        counted.append(len(json.loads((workdir / "provenance.json").read_text())["starts"]))
    assert counted == [1, 1, 2, 2, 3]


def test_what_another_process_has_ended_meanwhile_is_not_trained_again(
    quick, pretrained, squares, tmp_path, monkeypatch
):
    workdir, study, of_cells = begin(pretrained, tmp_path / "study"), config(squares), supply.of_cells

    def overtaken(*arguments):
        monkeypatch.setattr(supply, "of_cells", of_cells)
        sweep.sweep(study, workdir)
        return of_cells(*arguments)

    monkeypatch.setattr(supply, "of_cells", overtaken)
    sweep.sweep(study, workdir)
    assert len(quick.trained) == len(set(quick.trained)) == 12
    assert not list(workdir.rglob(".lock"))


def test_a_cell_that_another_process_trains_is_left_to_it(quick, pretrained, squares, tmp_path):
    workdir = begin(pretrained, tmp_path / "study")
    with lock.held(workdir / "cells" / "random_n004_fold0_draw0_seed0"):
        sweep.sweep(config(squares), workdir)
    assert len(quick.trained) == 11
    assert "random_n004_fold0_draw0_seed0" not in quick.trained


def test_processes_at_the_same_time_train_no_cell_twice_and_wait_for_pretexts(
    quick, pretrained, squares, tmp_path, monkeypatch
):
    workdir, began = tmp_path / "study", []

    def train_run(folder, config, *others):
        with lock.held(folder):
            began.append(folder.name)
            threading.Event().wait(0.1)
            made = pretrained / "pretexts" / folder.name
            shutil.copytree(made / "best", folder / "best")
            for name in ("provenance.json", "config.json", "DONE"):  # in the order and as whole as a run writes them
                with atomic_path(folder / name) as written:
                    shutil.copy(made / name, written)

    monkeypatch.setattr(sweep, "train_run", train_run)
    failed, waits = [], threading.Barrier(2)

    def process():
        waits.wait()
        failed.append(sweep.sweep(config(squares), workdir))

    threads = [threading.Thread(target=process) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=300)
    assert failed == [{}, {}]
    assert sorted(began) == ["jigsaw", "reconstruction"]
    assert len(quick.trained) == len(set(quick.trained)) == 12


def test_a_signal_ends_the_wait_for_a_pretext(quick, squares, tmp_path):
    study, dataset, _ = sweep.prepare(config(squares), tmp_path)
    caught = signals.Caught()
    caught.signum = 15
    with (
        lock.held(tmp_path / "pretexts" / "jigsaw"),
        pytest.raises(Interrupted, match="stopped by SIGTERM; the same command goes on from there") as stop,
    ):
        sweep.train_pretext(sweep.Work(study, dataset, tmp_path, caught), "jigsaw")
    assert stop.value.status == 143


def test_a_failed_cell_lets_the_others_go_on_and_is_not_tried_again(pretrained, squares, tmp_path, monkeypatch):
    """One by its weights, which predict no numbers at the end, in the lane in which the next one then trains."""
    masks, calls = mask_judge.MaskJudge.masks, []

    def breaks(self, variables):
        calls.append(variables)
        if len(calls) == 1:
            variables = {**variables, "params": {**variables["params"]}}
            classifier = variables["params"]["classifier"]
            variables["params"]["classifier"] = {
                **classifier,
                "logits": {name: leaf * float("nan") for name, leaf in classifier["logits"].items()},
            }
        return masks(self, variables)

    monkeypatch.setattr(mask_judge.MaskJudge, "masks", breaks)
    workdir, study = begin(pretrained, tmp_path / "study"), config(squares, inits=("random",), devices=1, epochs=1)
    failed = sweep.sweep(study, workdir)
    ((name, why),) = failed.items()
    assert "predict values that are no numbers" in why
    assert {path.name for path in (workdir / "cells" / name).iterdir()} >= {"FAILED"}
    assert not (workdir / "cells" / name / "DONE").exists()
    assert len(list(workdir.glob("cells/*/DONE"))) == 3
    monkeypatch.setattr(sweep, "_train", None)  # which would be called to try it again
    assert sweep.sweep(study, workdir) == failed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": ""}, "no dataset is given"),
        ({"sizes": (2, 5)}, "8 patients in 2 folds leave 4 to train on, but config.sizes asks for 5"),
        ({"epochs": 0}, "config.epochs is 0; it must be a whole number from 1 on"),
        (
            {"starts": {"random": {"learning_rate": 0.0}}},
            r"config.starts.random.learning_rate is 0.0; it must",
        ),
        ({"pretexts": {"jigsaw": {"epochs": 0}}}, r"config.pretexts.jigsaw.epochs is 0; it must be above 0"),
        ({"devices": 9}, "9 devices are asked for, but there are 8"),
        ({"inits": ("segmentation",)}, r"weight file .*fcn_resnet101.safetensors is missing; make it with: python -m"),
        ({"dataset": "torn"}, "1 patient of the test cases also train or validate, such as p0"),
        ({"dataset": "untested"}, r"none of 13 cases is held out"),
    ],
)
def test_refusals_leave_nothing_behind(changes, message, squares, tmp_path):
    whole = read_dataset(squares)
    torn = whole.cases["patient_id"].where(whole.cases["case_id"] != "p12", "p0")
    changed = {"torn": {"patient_id": torn}, "untested": {"split": "train"}}
    for name, columns in changed.items():
        write_dataset(tmp_path / name, whole.slices, whole.cases.assign(**columns), {})
    if changes.get("dataset"):
        changes = {"dataset": str(tmp_path / changes["dataset"])}
    with pytest.raises((ValueError, OSError), match=message):
        sweep.sweep(config(squares, **changes), tmp_path / "study")
    assert {path.name for path in tmp_path.iterdir()} == set(changed)


@pytest.fixture
def begun(quick, pretrained, squares, tmp_path):
    """A study of which one of two shares is done."""
    workdir = begin(pretrained, tmp_path / "study")
    sweep.sweep(config(squares), workdir, Share(0, 2))
    return workdir


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, "study is of another config .seed 0, now 1.; change it back or use another workdir"),
        ({"folds": 4, "sizes": (2,)}, "another config .folds 2, now 4"),
        ({"task": {"smoothing": 2.0}}, "another config .task.smoothing 1.0, now 2.0"),
        ({"starts": {"random": {"learning_rate": 0.1}}}, "starts.random.learning_rate 0.003, now 0.1"),
        ({"epochs": 5}, r"is finished .epochs 4, now 5. and its checkpoints are gone"),
        ({"dataset": "other"}, "study is of another dataset; give that one or use another workdir"),
    ],
)
def test_a_study_of_another_kind_is_left_as_it_is(changes, message, begun, squares, tmp_path):
    """For the other share too, whose own cells are not there yet."""
    whole = read_dataset(squares)
    write_dataset(tmp_path / "other", whole.slices, whole.cases.assign(sex="F"), {})
    if "dataset" in changes:
        changes = {"dataset": str(tmp_path / changes["dataset"])}
    before = contents(begun)
    with pytest.raises(ValueError, match=message):
        sweep.sweep(config(squares, **changes), begun, Share(1, 2))
    assert contents(begun) == before


def test_what_may_change_in_a_study(quick, begun, squares, tmp_path):
    """More cells, fewer cells, and all that concerns its results; the dataset may have moved."""
    shutil.copytree(squares, tmp_path / "moved")
    free = {"sizes": (1, 2, 4), "draws": 2, "seeds": 2, "keep": "predictions", "observers": "", "alpha": 0.01}
    changed = config(squares, dataset=str(tmp_path / "moved"), devices=2, bootstrap_samples=200, leave_out=(), **free)
    sweep.sweep(changed, begun)
    assert len(quick.trained) == len(set(quick.trained)) == 3 * 3 * 2 * 2 * 2
    before = len(quick.trained)
    sweep.sweep(config(squares, inits=("jigsaw",), sizes=(2,)), begun)
    assert len(quick.trained) == before


def test_that_cells_which_are_done_keep_what_they_keep_is_said(quick, begun, squares, caplog):
    sweep.sweep(config(squares), begun)
    assert "the cells that are done keep" not in caplog.text
    sweep.sweep(config(squares, keep="predictions"), begun)
    assert "the cells that are done keep weights; what keep=predictions asks for is of those to come" in caplog.text


def test_a_cell_folder_of_another_config_is_refused_before_anything_is_trained(quick, begun, squares):
    cell = begun / "cells" / quick.trained[0]
    planned = (cell.name for cell in plan(read_dataset(squares).cases, config(squares)))
    other = next(folder for name in planned if not (folder := begun / "cells" / name).exists())
    shutil.copytree(cell, other)
    (other / "DONE").unlink()
    before = contents(begun)
    with pytest.raises(ValueError, match=rf"{other.name} is of another config"):
        sweep.sweep(config(squares), begun)
    assert contents(begun) == before


def test_the_folder_of_a_run_is_no_study(study, squares):
    run = study / "pretexts" / "jigsaw"
    before = contents(run)
    with pytest.raises(ValueError, match="is the folder of a run, not of a study; use another workdir"):
        sweep.sweep(config(squares), run)
    assert contents(run) == before


def test_a_study_folder_without_its_provenance_is_begun_anew(quick, squares, tmp_path, monkeypatch):
    """As a kill between the two files leaves it: the config is written last."""
    monkeypatch.setattr(sweep, "_train", lambda *_: None)
    monkeypatch.setattr(sweep, "train_pretext", lambda *_: None)
    written = []
    monkeypatch.setattr(provenance, "write_json", lambda path, value: written.append(Path(path).name))
    sweep.sweep(config(squares), tmp_path)
    assert written == ["provenance.json", "config.json"]


def weights(path, model, **options):
    import jax
    import numpy as np

    from mskjax import models

    abstract = models.abstract(models.build(model, stage_sizes=(1, 1, 1, 1), **options))
    save_variables(path, jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), abstract))
    return str(path)


def test_weights_of_another_network_are_refused_or_skipped(quick, pretrained, squares, tmp_path, caplog):
    file = weights(tmp_path / "wide.safetensors", "resnet101", width=8)
    start = {"classification": {"init_from": file}}
    with pytest.raises(ValueError, match=r"wide.safetensors is of another network than config.task.model: ") as refused:
        sweep.sweep(config(squares, inits=("random", "classification"), starts=start), tmp_path / "study")
    assert len(str(refused.value)) < 500
    assert not (tmp_path / "study").exists()
    skip = {"inits": ("random", "classification"), "missing_weights": "skip"}
    sweep.sweep(config(squares, starts=start, **skip), tmp_path / "study")
    assert {name.split("_")[0] for name in quick.trained} == {"random"}
    assert "the weights of classification are missing" in caplog.text
    weights(tmp_path / "wide.safetensors", "resnet101", width=4)  # there now
    sweep.sweep(config(squares, starts=start, **skip), tmp_path / "study")
    assert len(quick.trained) == 8


def test_checkpoints_of_a_process_killed_as_a_cell_ended_are_removed(study, squares, tmp_path):
    workdir = shutil.copytree(study, tmp_path / "study")
    left = workdir / "cells" / "jigsaw_n002_fold0_draw0_seed0" / "checkpoints"
    (left / "4").mkdir(parents=True)
    sweep.sweep(config(squares), workdir)
    assert not left.exists()


def test_a_done_pretext_of_another_dataset_is_refused(quick, pretrained, squares, tmp_path):
    """It may have learned from patients who are held out here."""
    workdir = begin(pretrained, tmp_path / "study")
    file = workdir / "pretexts" / "jigsaw" / "provenance.json"
    made = json.loads(file.read_text())
    made["dataset"]["sha256"] = dict.fromkeys(made["dataset"]["sha256"], "0" * 64)
    file.write_text(json.dumps(made))
    with pytest.raises(ValueError, match="jigsaw is of another dataset"):
        sweep.sweep(config(squares), workdir)
    assert not quick.trained


def test_asking_what_a_study_takes_needs_neither_weights_nor_devices(squares, tmp_path, caplog):
    study = config(squares, inits=("random", "classification"), devices=64)
    with pytest.raises(FileNotFoundError, match=r"launch\.convert"):
        sweep.prepare(study, tmp_path / "study")
    _, _, cells = sweep.prepare(study, tmp_path / "study", to_train=False)
    assert {cell.init for cell in cells} == {"random", "classification"}
    none = config(squares, inits=("classification",), missing_weights="skip")
    with pytest.raises(FileNotFoundError, match=r"nothing is left to train, as .* are missing; add"):
        sweep.prepare(none, tmp_path / "study")
    _, _, cells = sweep.prepare(none, tmp_path / "study", to_train=False)
    assert {cell.init for cell in cells} == {"classification"}
    assert "nothing would be trained yet, as the weights of all inits are missing" in caplog.text
    with pytest.raises(ValueError, match="64 devices are asked for"):
        sweep.sweep(config(squares, devices=64), tmp_path / "study")
    assert not (tmp_path / "study").exists()
