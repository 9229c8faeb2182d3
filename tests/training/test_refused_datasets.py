"""Runs that mean HU or masks refuse datasets of bitmaps and of cases without masks, before anything is written."""

import numpy as np
import pandas as pd
import pytest

from configs import reconstruction, segmentation
from mskjax.data.dataset import stack, write_dataset
from mskjax.training import train


def dataset(folder, **manifest):
    """A dataset of four slices, of which the last has no mask."""
    masks = [np.eye(32, dtype=np.uint8)] * 3 + [np.zeros((32, 32), np.uint8)]
    ids = [f"case{i}" for i in range(4)]
    slices = stack([np.full((32, 32), 30, np.int16)] * 4, masks, np.ones((4, 2)), ids)
    cases = {"case_id": ids, "patient_id": ids, "mask": ["m.png"] * 3 + [""], "sarcopenia": [0, 1, 0, 1]}
    split = ["train", "train", "validation", "train"]
    write_dataset(
        folder, slices, pd.DataFrame({**cases, "slice_index": 0, "source_index": 0, "split": split}), manifest
    )
    return str(folder)


@pytest.mark.parametrize(("config", "name"), [(segmentation, "segmentation"), (reconstruction, "reconstruction")])
def test_grey_levels_train_no_task_of_hu(tmp_path, config, name):
    asked = config.get_config("smoke")
    asked.dataset = dataset(tmp_path / "dataset", values="grey")
    with pytest.raises(ValueError, match=f"task {name} needs HU and pixel sizes, and this dataset holds grey levels"):
        train(asked, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_segmentation_needs_all_masks(tmp_path):
    asked = segmentation.get_config("smoke")
    asked.dataset = dataset(tmp_path / "dataset")
    sentence = "task segmentation needs a mask on every slice, and 1 of 4 have none, such as case case3; prepare"
    with pytest.raises(ValueError, match=sentence):
        train(asked, tmp_path / "run")
    assert not (tmp_path / "run").exists()
