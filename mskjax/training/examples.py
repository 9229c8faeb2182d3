"""The examples of a run, all of them on every device, and which of them train and validate."""

import math
from dataclasses import dataclass

import jax
import numpy as np
from absl import logging
from jax import Array
from jax.sharding import Mesh
from jaxtyping import Float32, Int32

from mskjax.data import batches
from mskjax.data.dataset import Dataset
from mskjax.training import sharding


@dataclass(frozen=True)
class Examples:
    """Arrays over all examples, the rows that train, and the rows that validate in full batches.

    The last validation batch is padded with rows of weight 0, so that all have one shape.
    """

    arrays: dict[str, Array]
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


def load(dataset: Dataset, image_size: int, batch_size: int, mesh: Mesh) -> Examples:
    """The training and validation slices of a dataset at `image_size`; its test slices are not even loaded.

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
    arrays = batches.fit(dataset.slices.select(np.concatenate([train, validation])), image_size)
    rows, weights = pad(np.arange(len(train), len(train) + len(validation), dtype=np.int32), batch_size)
    return Examples(
        arrays=jax.device_put(arrays, sharding.replicated(mesh)),
        train=np.arange(len(train), dtype=np.int32),
        validation=rows,
        weights=weights,
    )


def pad(
    rows: Int32[np.ndarray, " n"], batch_size: int
) -> tuple[Int32[np.ndarray, "batches {batch_size}"], Float32[np.ndarray, "batches {batch_size}"]]:
    """Rows in full batches, the first row repeated at the end, and weights: 1 for what was given, 0 for padding."""
    padding = -len(rows) % batch_size
    weights = np.repeat(np.array([1, 0], np.float32), [len(rows), padding])
    padded = np.concatenate([rows, np.repeat(rows[:1], padding)])
    return padded.reshape(-1, batch_size), weights.reshape(-1, batch_size)


def _warn_of_shared_patients(dataset: Dataset, train: np.ndarray, validation: np.ndarray) -> None:
    patients = dataset.cases["patient_id"].to_numpy(str)
    shared = (set(patients[train]) & set(patients[validation])) - {""}
    if shared:
        logging.warning("%d patients both train and validate: the validation loss flatters", len(shared))
