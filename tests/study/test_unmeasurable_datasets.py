"""Evaluation compares masks and measures in HU, and refuses datasets that have neither."""

import json

import numpy as np
import pandas as pd
import pytest

from mskjax.data.dataset import stack, write_dataset
from mskjax.study.evaluation import evaluate


@pytest.fixture
def evaluated(tmp_path):
    """Evaluates a run on a dataset of a training slice without a mask and a test slice with the mask `mask`."""
    run = tmp_path / "run"
    (run / "best").mkdir(parents=True)
    (run / "best" / "variables.safetensors").write_bytes(b"weights")
    (run / "config.json").write_text(json.dumps({"dataset": str(tmp_path / "dataset")}))
    (run / "provenance.json").write_text(json.dumps({"starts": []}))

    def start(mask, column, **manifest):
        images, none = [np.full((8, 9), 30, np.int16)] * 2, np.zeros((8, 9), np.uint8)
        slices = stack(images, [none, mask], np.ones((2, 2)), ["a", "b"])
        cases = {"case_id": ["a", "b"], "patient_id": ["a", "b"], "mask": ["", column], "split": ["train", "test"]}
        about = pd.DataFrame({**cases, "slice_index": 0, "source_index": 0})
        write_dataset(tmp_path / "dataset", slices, about, manifest)
        return evaluate(run, predictor=lambda image_hu, _: np.zeros(image_hu.shape, np.float32))

    return start


def test_grey_levels_are_not_measured(evaluated, tmp_path):
    with pytest.raises(ValueError, match=r"the evaluation of \S+run needs HU and pixel sizes, and this dataset holds"):
        evaluated(np.ones((8, 9), np.uint8), "outlined.png", values="grey")
    assert not (tmp_path / "run/evaluation").exists()


def test_only_the_masks_of_the_split_are_needed(evaluated):
    with pytest.raises(ValueError, match=r"the evaluation of \S+run needs a mask on every slice, and 1 of 1 have none"):
        evaluated(np.zeros((8, 9), np.uint8), "")
    assert (evaluated(np.ones((8, 9), np.uint8), "mask.nii") / "cases.csv").is_file()
