"""What --dry_run measures, and that it writes nothing."""

import re
import signal

import pytest
from small_study import config

from mskjax.data.dataset import read_dataset
from mskjax.study import dry_run
from mskjax.study.estimates import Measured, networks
from mskjax.study.sweep import prepare
from mskjax.training import sharding, supply
from mskjax.training.loop import Interrupted
from mskjax.training.step import Steps


def test_every_network_is_measured_and_nothing_is_written(squares, tmp_path, monkeypatch):
    """The weights of ImageNet are not there: what starts from them has no part in the account."""
    asked = []

    def measure(run, own, row):
        asked.append(run["task"]["name"])
        return Measured("a clock", step_s=float(len(asked)), validation_s=0.0, xla_bytes=0)

    monkeypatch.setattr(dry_run, "measure", measure)
    study = config(squares, inits=("random", "jigsaw", "classification"), missing_weights="skip", devices=1)
    told = "\n\n".join(dry_run.dry_run(study, tmp_path / "study"))
    assert asked == ["segmentation", "jigsaw"]
    assert told.startswith("8 cells: 2 initialisations x 2 sizes x 2 folds x 1 draw x 1 seed")
    # 8 cells of 4 epochs of one step of 1 s; a pretext of one epoch on 7 of 8 slices, one by one, of 2 s each.
    assert re.search(r"\ncells, if none stops before epoch 4 +32 s\n", told)
    assert re.search(r"\npretexts, if none stops before epoch 4 +14 s\n", told)
    assert not (tmp_path / "study").exists()


def test_ctrl_c_ends_it_once_the_network_under_way_is_measured(squares, tmp_path, monkeypatch, capfd):
    """Python's own handler would raise within whatever runs, and where that is one of XLA's callbacks it is lost."""
    asked = []

    def measure(run, own, row):
        asked.append(run["task"]["name"])
        signal.raise_signal(signal.SIGINT)
        return Measured("a clock", step_s=1.0, validation_s=0.0, xla_bytes=0)

    monkeypatch.setattr(dry_run, "measure", measure)
    told, before = [], signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match="stopped by SIGINT; nothing was written, and the same command be") as stop:
        told.extend(dry_run.dry_run(config(squares, inits=("random", "jigsaw"), devices=1), tmp_path / "study"))
    assert (stop.value.status, asked) == (130, ["segmentation"])
    assert "SIGINT: ends once the network under way is measured" in capfd.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_before_anything_is_measured(squares, tmp_path, monkeypatch):
    monkeypatch.setattr(dry_run, "measure", lambda run, own, row: pytest.fail("nothing is to be compiled any more"))
    told = dry_run.dry_run(config(squares, inits=("random",)), tmp_path / "study")
    next(told)
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(Interrupted):
        next(told)


def test_without_measuring_nothing_is_compiled(squares, tmp_path, monkeypatch):
    monkeypatch.setattr(dry_run, "measure", lambda run, own, row: pytest.fail("nothing is to be compiled"))
    told = list(dry_run.dry_run(config(squares, inits=("random",)), tmp_path / "study", measured=False))
    assert told[-1] == "Time, and the compiled steps' memory by XLA's account: not measured"


@pytest.mark.parametrize(("enough_s", "taken"), [(60.0, 1 + dry_run.TAKEN), (0.0, 2)])
def test_steps_are_taken_until_it_is_enough(squares, tmp_path, monkeypatch, enough_s, taken):
    """One to warm up, and then a few, but no second one where one takes long; all by the one compiled step."""
    made, steps, batches = [], [], []

    class Train:
        def __call__(self, *arguments):
            pytest.fail("a call compiles the step once more")

        def lower(self, *arguments):
            return self

        def compile(self):
            made.append(self)
            return step

    def step(states, *others):
        steps.append(others)
        return states, {}

    monkeypatch.setattr(dry_run, "ENOUGH_S", enough_s)
    monkeypatch.setattr(dry_run, "compiled_bytes", lambda compiled: len(made))
    monkeypatch.setattr(dry_run, "compile_steps", lambda *_: Steps(Train(), lambda *own: batches.append(own), len))
    study, _, cells = prepare(config(squares, inits=("random",)), tmp_path)
    ((run, _),) = networks(study, cells).values()
    found = dry_run.measure(run, supply.of_cells(run, sharding.make_lanes(1, 1), read_dataset(squares)), 0)
    assert (len(steps), len(batches)) == (taken, taken)
    assert (found.device, found.xla_bytes) == ("cpu", 1)
