"""What a classifier says of the slices that it has not trained on: the probability of sarcopenia, and the true label.

cells/<name>/  scores.csv: case_id, split ("validation" or "test" of the cell's own shuffle), label, probability
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from jaxtyping import Float32, Int16

from mskjax.data import batches
from mskjax.data.dataset import Dataset
from mskjax.study import score_files
from mskjax.study.evaluation_folder import write_table
from mskjax.types import Variables

SCORES = score_files.SCORES
SCORED = ("case_id", "split", "label", "probability")
# To be raised when the scores of the same weights change.
EDITION = 2


@dataclass(frozen=True)
class ProbabilityJudge:
    """All slices of a dataset by their case ids, and a compiled network to predict them with, whatever its weights."""

    forward: Callable[..., jax.Array]
    squares_hu: Int16[np.ndarray, "n S S"]
    row: dict[str, int]
    label: Sequence[int]
    batch_size: int
    edition: int = EDITION

    def judge(self, folder: Path, variables: Variables, config: dict[str, Any]) -> None:
        """Writes the probabilities of the cell's own validation and test cases."""
        of_split = {split: config["cell"][f"{split}_cases"] for split in ("validation", "test")}
        names = [(case_id, split) for split, case_ids in of_split.items() for case_id in case_ids]
        rows = np.array([self.row[case_id] for case_id, _ in names])
        probability = self.probability(variables, rows)
        score_files.require_numbers(probability)
        told = [
            (case_id, split, self.label[row], value)
            for (case_id, split), row, value in zip(names, rows, probability.astype(float), strict=True)
        ]
        write_table(folder / SCORES, pd.DataFrame(told, columns=pd.Index(SCORED)))

    def probability(self, variables: Variables, rows: np.ndarray) -> Float32[np.ndarray, " n"]:
        """The probabilities of some rows, in full batches, so that the network is compiled once."""
        filled = np.resize(rows, -(-len(rows) // self.batch_size) * self.batch_size)
        placed = jax.device_put(variables)
        parts = [self.forward(placed, self.squares_hu[part]) for part in filled.reshape(-1, self.batch_size)]
        return np.concatenate(jax.device_get(parts)).astype(np.float32)[: len(rows)]


def probability_judge(dataset: Dataset, task: Any, image_size: int, batch_size: int) -> ProbabilityJudge:
    """The judge of a classification task's networks on a dataset."""

    def predict(variables: Variables, image_hu: Any) -> jax.Array:
        model_state = {name: value for name, value in variables.items() if name != "params"}
        return task.probability(variables["params"], model_state, image_hu)

    row = {str(case_id): place for place, case_id in enumerate(dataset.slices.case_id)}
    label = dataset.cases["sarcopenia"].fillna(-1).astype(int).tolist()
    squares = batches.fit(dataset.slices, image_size, task.limits_hu)["image_hu"]
    return ProbabilityJudge(jax.jit(predict), squares, row, label, batch_size)


def read_probabilities(folder: Path) -> pd.DataFrame:
    """The scores of a finished cell, in the columns `SCORED`; `ValueError` where the file is not whole."""
    return score_files.read(folder, SCORED, ("label", "probability")).astype({"label": int})
