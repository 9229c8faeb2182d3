"""What a segmentation network says of the test slices: masks on their own grids, and their scores.

cells/<name>/  scores.csv, predictions.npz
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float32, Int16

from mskjax.data import batches
from mskjax.data.dataset import Dataset, Slices
from mskjax.files import atomic_path, read_json
from mskjax.study import score_files
from mskjax.study.evaluation_folder import write_table
from mskjax.study.prediction import THRESHOLD
from mskjax.study.summary import EDITION, score
from mskjax.types import Variables

SCORES, PREDICTIONS = score_files.SCORES, "predictions.npz"
SCORED = ("case_id", "dice", "rms_dta_cm", "sma_cm2", "smd_hu", "reference_sma_cm2", "reference_smd_hu")


@dataclass(frozen=True)
class MaskJudge:
    """The test slices of a dataset, and a compiled network to predict them with, whatever its weights."""

    forward: Callable[..., jax.Array]
    slices: Slices
    squares_hu: Int16[np.ndarray, "n S S"]
    batch_size: int
    edition: int = EDITION

    def judge(self, folder: Path, variables: Variables, config: dict[str, Any]) -> None:
        """Writes the masks of the test slices, and their scores."""
        masks = self.masks(variables)
        write_masks(folder / PREDICTIONS, self.slices, masks)
        write_table(folder / SCORES, score_masks(self.slices, masks))

    def masks(self, variables: Variables) -> list[Bool[np.ndarray, "_ _"]]:
        """The mask of every slice on its own grid."""
        probability = self._probability(variables)
        score_files.require_numbers(probability)
        grids = zip(self.slices.shape, self.slices.spacing_mm, strict=True)
        return [
            batches.unfit(square, shape, spacing_mm) > THRESHOLD
            for square, (shape, spacing_mm) in zip(probability, grids, strict=True)
        ]

    def _probability(self, variables: Variables) -> Float32[np.ndarray, "n S S"]:
        """In full batches, the last filled up with the first slices, so that the network is compiled once."""
        rows = np.resize(np.arange(len(self.slices)), -(-len(self.slices) // self.batch_size) * self.batch_size)
        placed = jax.device_put(variables)
        parts = [self.forward(placed, self.squares_hu[part]) for part in rows.reshape(-1, self.batch_size)]
        return np.concatenate(jax.device_get(parts)).astype(np.float32)[: len(self.slices)]


def mask_judge(dataset: Dataset, task: Any, image_size: int, batch_size: int) -> MaskJudge:
    """The judge of a segmentation task's networks on the test slices."""

    def predict(variables: Variables, image_hu: Any) -> jax.Array:
        model_state = {name: value for name, value in variables.items() if name != "params"}
        return task.predict(variables["params"], model_state, image_hu)

    slices = dataset.slices.select(dataset.rows("test"))
    return MaskJudge(jax.jit(predict), slices, batches.fit(slices, image_size)["image_hu"], batch_size)


def write_masks(path: Path, slices: Slices, masks: list[Bool[np.ndarray, "_ _"]]) -> None:
    """Writes masks, eight pixels a byte, with their case ids and sizes."""
    packed = [np.packbits(mask) for mask in masks]
    with atomic_path(path) as written:
        np.savez_compressed(written, case_id=slices.case_id, shape=slices.shape, mask=np.concatenate(packed))


def read_masks(path: Path) -> dict[str, Bool[np.ndarray, "_ _"]]:
    """The masks that `write_masks` wrote, by case id."""
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        pixels = arrays["shape"].astype(np.int64).prod(axis=1)
        parts = np.split(arrays["mask"], np.cumsum(-(-pixels // 8))[:-1])
        triples = zip(arrays["case_id"], arrays["shape"], parts, strict=True)
        return {
            str(case_id): np.unpackbits(part, count=int(shape.prod())).reshape(shape).astype(bool)
            for case_id, shape, part in triples
        }


def read_scores(folder: Path, dataset: Dataset) -> pd.DataFrame:
    """The scores of a finished cell, a row a slice; made anew from its masks where an earlier edition made them.

    Raises `ValueError` where the file is not whole.
    """
    edition = read_json(folder / "DONE").get("edition")
    if edition != EDITION:
        slices, masks = dataset.slices.select(dataset.rows("test")), read_masks(folder / PREDICTIONS)
        return score_masks(slices, [masks[str(case_id)] for case_id in slices.case_id])
    return score_files.read(folder, SCORED, SCORED[1:], len(dataset.rows("test")))


def score_masks(slices: Slices, masks: list[Bool[np.ndarray, "_ _"]]) -> pd.DataFrame:
    """The scores of masks against the reference, a row a slice."""
    rows = []
    for i, mask in enumerate(masks):
        image_hu, reference, spacing_mm = slices.case(i)
        rows.append({"case_id": str(slices.case_id[i]), **score(image_hu, mask, reference, spacing_mm)})
    return pd.DataFrame(rows, columns=pd.Index(SCORED))
