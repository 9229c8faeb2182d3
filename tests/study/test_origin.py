"""What runs and cells say of their start."""

import re

import pandas as pd
import pytest
from study_cases import frame

from configs import data_efficiency as muscle
from configs import sarcopenia_classification as diagnosis
from configs import sarcopenia_segmentation as volumes
from mskjax.files import sha256, write_json
from mskjax.study import data_efficiency, sarcopenia, sarcopenia_segmentation
from mskjax.study.evaluation import evaluate
from mskjax.study.explanations import explain
from mskjax.study.prediction import load_predictor
from mskjax.training import origin, provenance
from mskjax.training.start import weight_record

LABELLED = pd.DataFrame(
    {
        "case_id": [f"c{i}" for i in range(79)],
        "patient_id": [f"p{i}" for i in range(79)],
        "sarcopenia": pd.array([int(i < 18) for i in range(79)], "Int64"),
    }
)


@pytest.fixture
def pretrained(tmp_path):
    """A run that others start from."""
    (tmp_path / "pretrained" / "best").mkdir(parents=True)
    (tmp_path / "pretrained" / "best" / "variables.safetensors").write_bytes(b"weights")
    return tmp_path / "pretrained"


def cells():
    """The config of a cell of each kind of study, which begins at random."""
    studies = {
        data_efficiency: (frame(167, 37), muscle.get_config()),
        sarcopenia: (LABELLED, diagnosis.get_config("init=random")),
        sarcopenia_segmentation: (LABELLED, volumes.get_config("init=random")),
    }
    return [kind.run_config(config, kind.plan(cases, config)[0]) for kind, (cases, config) in studies.items()]


def begun(run, config, step=0):
    run.mkdir(exist_ok=True)
    provenance.record(run, config, {}, None if step else weight_record(config), step)
    return origin.describe(run)["init"]


def test_the_start_of_cells_of_all_studies_is_told(pretrained, tmp_path):
    file = pretrained / "best" / "variables.safetensors"
    for config in cells():
        assert begun(tmp_path / "random", config) == "random"
        expected = f"{file} (sha256 {sha256(file)[:12]})"
        assert begun(tmp_path / "grafted", {**config, "init_from": str(pretrained)}) == expected
        assert begun(tmp_path / "grafted", {**config, "init_from": str(pretrained)}, step=7) == expected, "resumed"


def test_a_run_that_went_on_from_another_says_from_which(tmp_path):
    config = {"init_from": "", "resume": "runs/former"}
    assert begun(tmp_path / "run", config, step=40) == "checkpoint of runs/former"


def test_a_run_that_has_lost_its_provenance_says_what_it_can(tmp_path):
    assert origin.describe(tmp_path)["init"] is None
    write_json(tmp_path / "config.json", {"init_from": "third_party_weights/a.safetensors", "resume": ""})
    assert origin.describe(tmp_path)["init"] == "third_party_weights/a.safetensors"


def test_a_pretraining_has_nothing_to_evaluate_to_explain_or_to_measure_with(pretrained):
    """Nor has it a dataset with masks, which is not asked for first."""
    write_json(pretrained / "config.json", {"dataset": "gone", "task": {"name": "self_distillation"}})
    further = f"--config=configs/smit_segmentation.py --config.init_from={re.escape(str(pretrained))} on scans with mas"
    for use, purpose in ((evaluate, "evaluate"), (explain, "explain"), (load_predictor, "measure with")):
        with pytest.raises(ValueError, match=f"is a pretraining, .* there is nothing to {purpose} in it; .*{further}"):
            use(pretrained)
    assert not (pretrained / "evaluation").exists() and not (pretrained / "explanations").exists()
