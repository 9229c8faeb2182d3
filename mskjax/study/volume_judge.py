"""What a network of whole scans says of their scored slices: masks on the slices' own grids, and their scores.

cells/<name>/  scores.csv and predictions.npz, of the validation and the test cases of the cell's own shuffle

Only the windows that touch a scored slice are computed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from jaxtyping import Bool

from mskjax.data.dataset import Dataset
from mskjax.data.volume_folder import Volumes
from mskjax.files import read_json
from mskjax.study import score_files
from mskjax.study.evaluation_folder import write_table
from mskjax.study.mask_judge import PREDICTIONS, read_masks, score_masks, write_masks
from mskjax.study.mask_judge import SCORED as OF_MASKS
from mskjax.study.prediction import THRESHOLD
from mskjax.study.score_files import SCORES
from mskjax.study.summary import EDITION
from mskjax.training.predict_volumes import VolumePredictor
from mskjax.types import Variables

JUDGED = ("validation", "test")
SCORED = (OF_MASKS[0], "part", *OF_MASKS[1:])


@dataclass(frozen=True)
class VolumeJudge:
    """Scans with a slice each that is scored, and what makes a predictor of weights, compiled once for all."""

    dataset: Dataset
    volumes: Volumes
    predictor: Callable[[Variables], VolumePredictor]
    edition: int = EDITION

    def judge(self, folder: Path, variables: Variables, config: dict[str, Any]) -> None:
        """Writes the masks of the scored slices of the cell's own validation and test cases, and their scores."""
        case_ids, parts = _judged(config["cell"])
        rows = _rows(self.dataset, case_ids)
        predictor = self.predictor(variables)
        masks = [self.mask(predictor, row) for row in rows]
        slices = self.dataset.slices.select(rows)
        write_masks(folder / PREDICTIONS, slices, masks)
        write_table(folder / SCORES, score_masks(slices, masks).assign(part=parts).reindex(columns=list(SCORED)))

    def mask(self, predictor: VolumePredictor, row: int) -> Bool[np.ndarray, "h w"]:
        """The mask of the scored slice of a scan, on the slice's own grid."""
        place = int(self.dataset.cases["slice_index"].iat[row])
        scan = self.volumes.verified_image(row), self.volumes.grid(row), self.volumes.box(row)
        probability = predictor.of_volume(*scan, range(place, place + 1))[0]
        score_files.require_numbers(probability)
        return probability > THRESHOLD


def volume_judge(dataset: Dataset, volumes: Volumes, task: Any, config: Mapping[str, Any]) -> VolumeJudge:
    """The judge of a task's networks of crops, by a run's or a study's fields image_size, spacing_mm and overlap."""

    def predict(variables: Variables, image_hu: Any) -> jax.Array:
        model_state = {name: value for name, value in variables.items() if name != "params"}
        return task.predict(variables["params"], model_state, image_hu)

    forward, spacing_mm = jax.jit(predict), tuple(config["spacing_mm"])

    def predictor(variables: Variables) -> VolumePredictor:
        return VolumePredictor(
            forward, jax.device_put(variables), config["image_size"], spacing_mm, overlap=config["overlap"]
        )

    return VolumeJudge(dataset, volumes, predictor)


def read_scores(folder: Path, dataset: Dataset, cell: Any) -> pd.DataFrame:
    """The scores of a finished cell, a row a slice; made anew from its masks where an earlier edition made them.

    Raises `ValueError` where the file is not whole or is of other cases than the cell's.
    """
    case_ids, parts = _judged({f"{part}_cases": getattr(cell, f"{part}_cases") for part in JUDGED})
    if read_json(folder / "DONE").get("edition") != EDITION:
        slices, masks = dataset.slices.select(_rows(dataset, case_ids)), read_masks(folder / PREDICTIONS)
        scores = score_masks(slices, [masks[case_id] for case_id in case_ids])
        return scores.assign(part=parts).reindex(columns=list(SCORED))
    table = score_files.read(folder, SCORED, OF_MASKS[1:], len(case_ids))
    if [*table["case_id"]] != case_ids or [*table["part"]] != parts:
        raise ValueError(f"{folder / SCORES} is of other cases than its cell's; delete {folder} and train it again")
    return table


def _judged(cell: Mapping[str, Sequence[str]]) -> tuple[list[str], list[str]]:
    """The cases that a cell is judged by, and which part of its shuffle each is of."""
    pairs = [(str(case_id), part) for part in JUDGED for case_id in cell[f"{part}_cases"]]
    return [case_id for case_id, _ in pairs], [part for _, part in pairs]


def _rows(dataset: Dataset, case_ids: Sequence[str]) -> list[int]:
    places = {str(case_id): row for row, case_id in enumerate(dataset.slices.case_id)}
    return [places[case_id] for case_id in case_ids]
