"""What a reader of a study's results must know beyond its numbers: sentences from its folder."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mskjax.data.dataset import Dataset
from mskjax.data.splits import counted
from mskjax.files import read_json
from mskjax.study.case_scores import of_readers
from mskjax.study.cell_run import read_failure
from mskjax.study.data_efficiency import Cell, notes
from mskjax.study.observers import cautions
from mskjax.training.origin import provenance_of

LATE = 0.9  # of a run's steps


def remarks(
    workdir: Path, study: Mapping[str, Any], cells: Sequence[Cell], cases: pd.DataFrame, data: Dataset
) -> list[str]:
    """All remarks on the networks, the cohort and the readers of study A, most often none."""
    folders = {cell.name: workdir / "cells" / cell.name for cell in cells}
    tested = [str(case_id) for case_id in data.cases["case_id"].iloc[data.rows("test")]]
    drawn = of_readers(cases)
    return [
        *of_cells(folders, cells, study, "networks of initialisation"),
        *notes(data.cases, study),
        *(cautions(drawn, tested) if len(drawn) else []),
    ]


def of_cells(folders: Mapping[str, Path], cells: Sequence[Any], study: Mapping[str, Any], what: str) -> list[str]:
    """Which cells failed, did not start alike or may not have learned all they could; `folders` is by their names.

    `what` is what the cells of a row are called, before the row's name.
    """
    return [
        *_failures(folders),
        *_unlike_starts(folders, cells, what),
        *_unfinished_learning(folders, cells, study),
    ]


def _failures(folders: Mapping[str, Path]) -> list[str]:
    failed = {name: why for name, folder in folders.items() if (why := read_failure(folder))}
    first = next(iter(failed), "")
    said = f"{counted(len(failed), 'model')} failed and left out, the first of them {first}: {failed.get(first)}"
    return [said] if failed else []


def _unlike_starts(folders: Mapping[str, Path], cells: Sequence[Any], what: str) -> list[str]:
    """A sentence for each row of cells that did not all start from the same weights."""
    digests: dict[str, set[str]] = {}
    for cell in cells:
        weights = provenance_of(folders[cell.name]).get("weights")
        digests.setdefault(cell.row, set()).update([weights["sha256"]] if weights else [])
    return [
        f"The {what} {row} started from {len(found)} different files of weights, so that they are no repeats of one "
        "thing; provenance.json of each cell says from which."
        for row, found in digests.items()
        if len(found) > 1
    ]


def _unfinished_learning(folders: Mapping[str, Path], cells: Sequence[Any], study: Mapping[str, Any]) -> list[str]:
    """Whether many networks were still getting better when their epochs ended."""
    ended = {cell.name: cell for cell in cells if (folders[cell.name] / "DONE").is_file()}
    late: dict[str, int] = {}
    for name, cell in ended.items():
        outcome = read_json(folders[name] / "DONE")
        last = study["epochs"] * math.ceil(len(cell.train_cases) / study["batch_size"])
        if outcome["step"] == last and outcome["best_step"] > LATE * last:
            late[cell.row] = late.get(cell.row, 0) + 1
    if sum(late.values()) <= len(ended) / 2:
        return []
    each = ", ".join(f"{row} {count}" for row, count in late.items())
    return [
        f"Of {counted(len(ended), 'model')} {sum(late.values())} ({each}) reached the last of {study['epochs']} epochs "
        "with their best weights in its last tenth: they may not have learned all they could, and more epochs may "
        "change who is better."
    ]
