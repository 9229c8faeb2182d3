"""The plan of study B's muscle masks."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from invented_sarcopenia import invent_dataset

from configs import smit_segmentation
from configs.sarcopenia_segmentation import get_config
from mskjax import tasks
from mskjax.data.dataset import read_dataset
from mskjax.study import sarcopenia_segmentation
from mskjax.study.sarcopenia_segmentation import check, plan, run_config
from mskjax.study.settings import plain


def cohort(patients=79, positive=18):
    """One scan a patient, the first ones sarcopenic."""
    labels = pd.array([int(i < positive) for i in range(patients)], "Int64")
    names = [f"p{i:02d}" for i in range(patients)]
    return pd.DataFrame({"case_id": [f"{name}_0" for name in names], "patient_id": names, "sarcopenia": labels})


def study(text=None, **fields):
    config = get_config(text)
    config.update(fields)
    return config


@pytest.fixture(scope="module")
def cells():
    return plan(cohort(), study("init=both"))


def test_all_cells_of_study_b(cells):
    """Ten shuffles of 47 (9 sarcopenic), 16 (6) and 16 (3) patients, which all initialisations see."""
    assert [cell.name for cell in plan(cohort(), study())] == [f"smit_shuffle{number}" for number in range(10)]
    assert len({cell.name for cell in cells}) == len(cells) == 2 * 10
    assert len({dataclasses.astuple(cell)[1:] for cell in cells}) == 10
    for cell in cells:
        parts = cell.train_cases, cell.validation_cases, cell.test_cases
        assert [(len(part), sum(int(case[1:3]) < 18 for case in part)) for part in parts] == [(47, 9), (16, 6), (16, 3)]
        assert len(set().union(*parts)) == 79
    assert {(cell.row, cell.column, cell.pace) for cell in cells} == {
        ("smit", "shuffles", "shuffles"),
        ("random", "shuffles", "shuffles"),
    }


def test_a_cells_run_is_one_of_launch_train(cells):
    """The fields of configs/smit_segmentation.py, with the weights of the cell's own initialisation."""
    config = study("init=both", learning_rate=2e-4)
    runs = {cell.name: run_config(config, cell) for cell in cells}
    assert len({run["seed"] for run in runs.values()}) == 20
    single = plain(smit_segmentation.get_config())
    for init in ("smit", "random"):
        run = runs[f"{init}_shuffle3"]
        assert set(run) == {*single, "cell"}
        assert (run["cell"]["init"], run["cell"]["shuffle"], run["learning_rate"]) == (init, 3, 2e-4)
        assert (run["init_from"], run["fresh"]) == (
            (single["init_from"], single["fresh"]) if init == "smit" else ("", [])
        )
        assert run["task"] == single["task"]


def test_study_b():
    """AdamW 1e-4, weight decay 1e-5, 200 epochs at a constant rate, four crops of 96^3; no cell keeps checkpoints."""
    config = study()
    assert (config.learning_rate, config.weight_decay, config.epochs, config.keep_epochs) == (1e-4, 1e-5, 200, 0)
    assert (config.decay, config.warmup_epochs, config.crops_per_scan, config.image_size) == ("constant", 0, 4, 96)
    assert (config.spacing_mm, config.shuffles, config.inits, config.cutoffs) == (
        (1.5, 1.5, 2.0),
        10,
        ("smit",),
        "freeman",
    )
    assert study("schedule=official").warmup_epochs == 50
    for text in ("small", "smoke"):
        assert study(text).inits == ("random",)
        tasks.build(study(text).task.to_dict())
    assert study("smoke,init=both").inits == ("smit", "random")


def test_weights_that_are_missing_and_what_adds_them():
    with pytest.raises(FileNotFoundError, match=r"launch.convert --model=smit_encoder --weights=pre_train_weight.pt "):
        sarcopenia_segmentation.missing(study().to_dict())
    lacking = sarcopenia_segmentation.missing(study("init=both", missing_weights="skip").to_dict())
    assert list(lacking) == ["smit"] and "launch.convert --model=smit_encoder" in lacking["smit"]
    own = study("init=both", missing_weights="skip").to_dict()
    own["starts"]["smit"]["init_from"] = "runs/pretraining"
    told = "python -m launch.train --config=configs/smit_pretraining.py --config.dataset=SCANS"
    assert sarcopenia_segmentation.missing(own) == {"smit": f"{told} --workdir=runs/pretraining"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shuffles": 0}, "config.shuffles is 0; it must be a whole number from 1 on"),
        ({"crops_per_scan": 0}, "config.crops_per_scan is 0; it must be a whole number from 1 on"),
        ({"batch_size": 0}, "config.batch_size is 0; it must be a whole number from 1 on"),
        ({"epochs": 0}, "config.epochs is 0; it must be a whole number from 1 on"),
        ({"warmup_epochs": -1}, "config.warmup_epochs is -1; it must be a whole number from 0 on"),
        ({"image_size": 48}, "config.image_size is 48; it must be a multiple of 32"),
        ({"decay": "linear"}, "config.decay is 'linear'; it must be constant or cosine"),
        ({"stop_on": "training"}, "config.stop_on is 'training'; it must be both or validation"),
        ({"learning_rate": 0.0}, "config.learning_rate is 0.0; it must be above 0"),
        ({"checkpoint_minutes": -1.0}, "config.checkpoint_minutes is -1.0; it must be 0 or more"),
        ({"overlap": -0.1}, "config.overlap is -0.1; it must be at least 0 and below 1"),
        ({"overlap": 1.0}, "config.overlap is 1.0; it must be at least 0 and below 1"),
        ({"spacing_mm": (1.5, 1.5, 0.0)}, "it must be three lengths above 0, in mm"),
        ({"test_fractions": (0.2, 0.0)}, "one number above 0 and below 1 for each of not sarcopenic, sarcopenic"),
        ({"inits": ("smit", "smit")}, "must name at least one initialisation, and each once"),
        ({"inits": ("imagenet",)}, "initialisation 'imagenet' is unknown; config.starts has smit, random"),
        ({"cutoffs": "baumgartner"}, "config.cutoffs is 'baumgartner'; it must be freeman or derstine2018 or"),
        ({"weight_decay": -1.0}, "config.weight_decay is -1.0; it must be 0 or more"),
        ({"validation_fractions": (0.5, 0.5), "test_fractions": (0.5, 0.5)}, "none are left to train; give fractions"),
        (
            {"validation_fractions": (0.3, 0.01)},
            r'0 validation.*set .*--config.validation_fractions="\(0.3, 0.3\)" --c',
        ),
    ],
)
def test_configs_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        plan(cohort(), study("init=random", **changes))


def test_datasets_that_do_not_serve(tmp_path):
    whole = read_dataset(invent_dataset(tmp_path, 3, 2))
    told = plain(study(dataset="DATA"))
    with pytest.raises(ValueError, match=r"DATA holds single slices.*prepare --spacing_mm=1.5,1.5,2$"):
        check(told, whole)
    volumes = dataclasses.replace(whole, manifest={**whole.manifest, "spacing_mm": [1.5, 1.5, 2.0]})
    with pytest.raises(
        ValueError, match=r'prepared at 1.5 x 1.5 x 2 mm and config.spacing_mm is 2 x 2 x 2; .*="\(1.5,'
    ):
        check({**told, "spacing_mm": [2.0, 2.0, 2.0]}, volumes)
    bare = dataclasses.replace(volumes, cases=whole.cases.assign(sarcopenia=pd.array([pd.NA] * 5, "Int64")))
    with pytest.raises(
        ValueError, match="none of the 5 cases of DATA has a label; give a column sarcopenia of 0 and 1"
    ):
        check(told, bare)
    empty = dataclasses.replace(volumes.slices, mask=np.zeros_like(whole.slices.mask))
    with pytest.raises(ValueError, match="this study needs a mask on every slice, and 5 of 5 have none"):
        check(told, dataclasses.replace(volumes, slices=empty, cases=whole.cases.assign(mask="")))
