"""The examples that runs share, and which of them train and validate in one run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from absl import logging
from jaxtyping import Float32, Int32, Integer

from mskjax.data import batches
from mskjax.data.dataset import Dataset


@dataclass(frozen=True)
class Examples:
    """The rows of the shared arrays that train, and those that validate, in full batches.

    Validation is padded with rows of weight 0, so that all batches, and with `batches` all runs, have one shape.
    """

    train: Int32[np.ndarray, " n"]
    validation: Int32[np.ndarray, "batches b"]
    weights: Float32[np.ndarray, "batches b"]

    @property
    def steps_per_epoch(self) -> int:
        """How many full batches an epoch has: it shows every training example at least once."""
        return math.ceil(len(self.train) / self.validation.shape[1])

    def batch(self, seed: int, step: int) -> Int32[np.ndarray, " b"]:
        """The rows that step number `step`, from 0, trains on."""
        return self.train[batches.indices(seed, len(self.train), self.validation.shape[1], step)]


def choose(
    train: Sequence[int] | Integer[np.ndarray, " n"],
    validation: Sequence[int] | Integer[np.ndarray, " m"],
    batch_size: int,
    validation_batches: int = 0,
) -> Examples:
    """The examples of a run by their rows, with at least `validation_batches` batches of validation."""
    rows, weights = pad(np.asarray(validation, np.int32), batch_size, validation_batches)
    return Examples(np.asarray(train, np.int32), rows, weights)


def of_splits(dataset: Dataset, batch_size: int) -> Examples:
    """The training and validation slices of a dataset, by their rows in it.

    Raises `ValueError` where there is nothing to train or to validate on.
    """
    train, validation = dataset.rows("train"), dataset.rows("validation")
    if not len(train) or not len(validation):
        raise ValueError(
            f"the dataset has {len(train)} training and {len(validation)} validation slices, and needs some of each; "
            "prepare it with launch.prepare --validation_fraction=0.2, or with a column split (train, validation, "
            "test) in the CSV of --cases"
        )
    _warn_of_shared_patients(dataset, train, validation)
    if len(train) < batch_size:
        logging.warning(
            "a batch of %d repeats slices, as %d train; lower config.batch_size to %d or less",
            *(batch_size, len(train), len(train)),
        )
    return choose(train, validation, batch_size)


def pad(
    rows: Int32[np.ndarray, " n"], batch_size: int, least: int = 0
) -> tuple[Int32[np.ndarray, "batches {batch_size}"], Float32[np.ndarray, "batches {batch_size}"]]:
    """Rows in at least `least` full batches, filled up with the first row, and weights: 0 for what fills, else 1."""
    padding = max(least * batch_size - len(rows), -len(rows) % batch_size) if len(rows) else 0
    weights = np.repeat(np.array([1, 0], np.float32), [len(rows), padding])
    padded = np.concatenate([rows, np.repeat(rows[:1], padding)])
    return padded.reshape(-1, batch_size), weights.reshape(-1, batch_size)


def _warn_of_shared_patients(dataset: Dataset, train: np.ndarray, validation: np.ndarray) -> None:
    patients = dataset.cases["patient_id"].to_numpy(str)
    shared = (set(patients[train]) & set(patients[validation])) - {""}
    if shared:
        logging.warning("%d patients both train and validate: the validation loss flatters", len(shared))
