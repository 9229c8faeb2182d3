"""The folder in which explanations of a run lie: pictures, a table, the maps themselves, and of which weights they are.

    explanations.csv   one row a case and method, see `mskjax.study.explanations`
    001_CASE.png ...   the slice with its mask's outline, and each method's map over it
    maps.npz           case_id [n], and of each method its maps [n s s], float32, on the squares that the network takes
    explanations.json  the SHA-256 of the weights that are explained and of the dataset whose cases are, and the names
                       of the pictures; written last

As long as weights and dataset are those of a study, its results show them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float32

from mskjax.files import atomic_path, read_json, remove, sha256, write_json
from mskjax.study.evaluation_folder import write_table

NAME, TABLE, RECORD, MAPS = "explanations", "explanations.csv", "explanations.json", "maps.npz"


@dataclass(frozen=True)
class Explanations:
    """The pictures, table and maps of a run, by their files."""

    pictures: tuple[Path, ...]
    table: Path
    maps: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """All of them that are there."""
        return tuple(path for path in (*self.pictures, self.table, self.maps) if path.is_file())


def clear(folder: Path) -> None:
    """Removes what a former call wrote, and nothing else."""
    if not (folder / RECORD).is_file():
        return
    for name in (*read_json(folder / RECORD)["pictures"], MAPS, RECORD):
        remove(folder / Path(name).name)


def write(
    folder: Path,
    table: pd.DataFrame,
    pictures: Sequence[str],
    maps: Mapping[str, Float32[np.ndarray, "n s s"]],
    weights_sha256: str,
    dataset_sha256: Mapping[str, str],
) -> None:
    """Adds the table and the maps, by their method and in the order of the table's cases, to the `pictures`.

    `dataset_sha256` is what the manifest of the dataset calls "sha256".
    """
    write_table(folder / TABLE, table)
    with atomic_path(folder / MAPS) as written, written.open("wb") as file:
        arrays: dict[str, Any] = {"case_id": table["case_id"].drop_duplicates().to_numpy(str), **maps}
        np.savez_compressed(file, **arrays)
    made_from = {"weights_sha256": weights_sha256, "dataset_sha256": dict(dataset_sha256)}
    write_json(folder / RECORD, {**made_from, "pictures": list(pictures)})


def current(run: Path, dataset_sha256: Mapping[str, str]) -> Explanations | None:
    """What lies in the folder of a run, if it explains the weights that the run has now, by cases of this dataset.

    Cases of another dataset may bear the same ids.
    """
    folder, weights = run / NAME, run / "best" / "variables.safetensors"
    if not ((folder / RECORD).is_file() and weights.is_file()):
        return None
    told = read_json(folder / RECORD)
    if told["weights_sha256"] != sha256(weights) or told.get("dataset_sha256") != dataset_sha256:
        return None
    pictures = tuple(path for name in told["pictures"] if (path := folder / Path(name).name).is_file())
    return Explanations(pictures, folder / TABLE, folder / MAPS)


def read_maps(explanations: Explanations) -> tuple[list[str], dict[str, Float32[np.ndarray, "n s s"]]]:
    """The case ids and the maps of each method, both empty where the maps or their table are gone."""
    if not (explanations.maps.is_file() and explanations.table.is_file()):
        return [], {}
    with np.load(explanations.maps) as arrays:
        found = dict(arrays)
    return found.pop("case_id").tolist(), found
