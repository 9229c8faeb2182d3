"""A dataset of small squares to be told from their background, and steps that runs share."""

import numpy as np
import pandas as pd
import pytest

from mskjax.data.dataset import Slices, write_dataset
from mskjax.training import run, step


@pytest.fixture(scope="session")
def squares(tmp_path_factory):
    """A dataset folder: 10 training, 3 validation and 1 test slices of 32x32 pixels of 2 mm."""
    rng, count, size = np.random.default_rng(0), 14, 32
    mask = np.zeros((count, size, size), np.uint8)
    for i, (row, column) in enumerate(rng.integers(2, 16, (count, 2))):
        mask[i, row : row + 12, column : column + 12] = 1
    image_hu = np.where(mask, 60, -100) + rng.normal(0, 20, mask.shape)
    case_id = np.array([f"case{i}" for i in range(count)])
    shape, spacing_mm = np.full((count, 2), size, np.int32), np.full((count, 2), 2.0)
    split = ["train"] * 10 + ["validation"] * 3 + ["test"]
    cases = pd.DataFrame(
        {"case_id": case_id, "patient_id": case_id, "slice_index": 0, "source_index": 0, "split": split}
    )
    folder = tmp_path_factory.mktemp("squares")
    write_dataset(folder, Slices(image_hu.astype(np.int16), mask, shape, spacing_mm, case_id), cases, {})
    return folder


@pytest.fixture(scope="module")
def compiled_once():
    """Runs of one task on the same devices share their steps, whose making takes most of the time; they hold no run."""
    made = {}

    def compile_steps(task, optimizer, mesh, **layout):
        alike = (task, mesh, *layout.items())
        if alike not in made:
            made[alike] = step.compile_steps(task, optimizer, mesh, **layout)
        return made[alike]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(run, "compile_steps", compile_steps)
        yield
