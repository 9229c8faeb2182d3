"""The examples of a run: which of them train in each step, and which validate.

Slices lie on the devices, all that runs share, and a run chooses its rows; crops of volumes are streamed to them, as
`mskjax.training.stream` does.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from absl import logging
from jaxtyping import Float32, Int32, Integer

from mskjax.data import batches
from mskjax.data.dataset import Dataset
from mskjax.data.volume_folder import Volumes
from mskjax.training.team import ALONE, Team


@runtime_checkable
class Examples(Protocol):
    """The batches of a run; all are of one size, and those that validate are as many in all runs of a study.

    A batch is a tree of arrays [b, ...], of rows of the shared arrays or of the examples themselves. Of several
    processes each is given its own part of one.
    """

    @property
    def counts(self) -> tuple[int, int]:
        """How many slices or scans train, and how many validate."""
        ...

    @property
    def steps_per_epoch(self) -> int:
        """How many batches an epoch has."""
        ...

    @property
    def validation_batches(self) -> int:
        """How many batches validate after an epoch."""
        ...

    def batch(self, seed: int, step: int) -> Any:
        """What step number `step`, from 0, trains on; a function of the two alone."""
        ...

    def validation_batch(self, number: int) -> tuple[Any, Float32[np.ndarray, " b"]]:
        """A batch that validates, and the weight of each example in it."""
        ...

    def close(self) -> None:
        """Gives up what was made ready for batches to come; called when the run ends, or is broken off."""


@dataclass(frozen=True)
class Rows:
    """The rows of the shared arrays that train, and those that validate, in full batches.

    Validation is padded with rows of weight 0, so that all batches, and with `batches` all runs, have one shape.
    """

    train: Int32[np.ndarray, " n"]
    validation: Int32[np.ndarray, "batches b"]
    weights: Float32[np.ndarray, "batches b"]
    team: Team = ALONE

    @property
    def steps_per_epoch(self) -> int:
        """How many full batches an epoch has: it shows every training example at least once."""
        return math.ceil(len(self.train) / self.validation.shape[1])

    def batch(self, seed: int, step: int) -> Int32[np.ndarray, " own"]:
        """This process's part of the rows that step number `step`, from 0, trains on."""
        size = self.validation.shape[1]
        return self.train[batches.indices(seed, len(self.train), size, step)[self.team.part(size)]]

    @property
    def counts(self) -> tuple[int, int]:
        """How many slices train, and how many validate."""
        return len(self.train), int(self.weights.sum())

    @property
    def validation_batches(self) -> int:
        """How many batches validate after an epoch."""
        return len(self.validation)

    def validation_batch(self, number: int) -> tuple[Int32[np.ndarray, " own"], Float32[np.ndarray, " own"]]:
        """This process's part of the rows of a batch that validates, and of their weights."""
        own = self.team.part(self.validation.shape[1])
        return self.validation[number, own], self.weights[number, own]

    def close(self) -> None:
        """Nothing: the rows of a step are chosen when it is taken."""


def choose(
    train: Sequence[int] | Integer[np.ndarray, " n"],
    validation: Sequence[int] | Integer[np.ndarray, " m"],
    batch_size: int,
    validation_batches: int = 0,
    team: Team = ALONE,
) -> Rows:
    """The examples of a run by their rows, with at least `validation_batches` batches of validation."""
    rows, weights = pad(np.asarray(validation, np.int32), batch_size, validation_batches)
    return Rows(np.asarray(train, np.int32), rows, weights, team)


def of_splits(dataset: Dataset, batch_size: int, team: Team = ALONE) -> Rows:
    """The training and validation slices of a dataset, by their rows in it, as `split_rows` gives them."""
    train, validation = split_rows(dataset)
    if len(train) < batch_size:
        logging.warning(
            "a batch of %d repeats slices, as %d train; lower config.batch_size to %d or less",
            *(batch_size, len(train), len(train)),
        )
    return choose(train, validation, batch_size, team=team)


def split_rows(dataset: Dataset | Volumes) -> tuple[Integer[np.ndarray, " n"], Integer[np.ndarray, " m"]]:
    """The rows that train and those that validate; `ValueError` where there are none of either."""
    train, validation = dataset.rows("train"), dataset.rows("validation")
    if not len(train) or not len(validation):
        raise ValueError(
            f"the dataset has {len(train)} training and {len(validation)} validation cases, and needs some of each; "
            "prepare it with launch.prepare --validation_fraction=0.2, or with a column split (train, validation, "
            "test) in the CSV of --cases"
        )
    patients = dataset.cases["patient_id"].to_numpy(str)
    shared = (set(patients[train]) & set(patients[validation])) - {""}
    if shared:
        logging.warning("%d patients both train and validate: the validation loss flatters", len(shared))
    return train, validation


def pad(
    rows: Int32[np.ndarray, " n"], batch_size: int, least: int = 0
) -> tuple[Int32[np.ndarray, "batches {batch_size}"], Float32[np.ndarray, "batches {batch_size}"]]:
    """Rows in at least `least` full batches, filled up with the first row, and weights: 0 for what fills, else 1."""
    padding = max(least * batch_size - len(rows), -len(rows) % batch_size) if len(rows) else 0
    weights = np.repeat(np.array([1, 0], np.float32), [len(rows), padding])
    padded = np.concatenate([rows, np.repeat(rows[:1], padding)])
    return padded.reshape(-1, batch_size), weights.reshape(-1, batch_size)
