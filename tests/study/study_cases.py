"""Cases as in cases.csv, for tests of plans and accounts."""

import numpy as np
import pandas as pd

from configs.data_efficiency import get_config
from mskjax.data.dataset import Dataset, stack


def frame(cohort: int, test: int, slices: int = 1) -> pd.DataFrame:
    """`slices` slices of each of `cohort` patients who train or validate, by turns, and of `test` who are held out."""
    patients = [f"p{number:03d}" for number in range(cohort + test)]
    splits = [("train", "validation")[number % 2] for number in range(cohort)] + ["test"] * test
    rows = [
        (f"{patient}_{number}", patient, split)
        for patient, split in zip(patients, splits, strict=True)
        for number in range(slices)
    ]
    return pd.DataFrame(rows, columns=["case_id", "patient_id", "split"])


def blank(cases: pd.DataFrame, rows: int, columns: int) -> Dataset:
    """A dataset of these cases, whose slices are empty."""
    images = [np.zeros((rows, columns), np.int16)] * len(cases)
    masks = [np.zeros((rows, columns), np.uint8)] * len(cases)
    return Dataset(stack(images, masks, [(1.0, 1.0)] * len(cases), list(cases["case_id"])), cases, {})


def study(text: str | None = None, **fields):
    """The study's config with some fields changed."""
    config = get_config(text)
    config.update(fields)
    return config
