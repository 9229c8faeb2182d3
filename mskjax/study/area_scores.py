"""The scores of a study of muscle masks in whole scans: a row a case and cell, a row a cell, and what validation chose.

The shuffle that is shown in detail and the initialisation that is preferred are those of the best mean Dice of the
validation cases; the test cases choose nothing. A missed muscle counts in every mean that is defined for it: Dice 0 and
an area difference of -100 %. Where a reference has no area a difference in percent is not defined, and is counted.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mskjax.data.dataset import Dataset
from mskjax.study import shuffles
from mskjax.study.sarcopenia_segmentation import Cell
from mskjax.study.summary import statistics_of
from mskjax.study.volume_judge import SCORED, read_scores

CELL = ["init", "shuffle"]
ABOUT = ("patient_id", "sex", "height_m", "weight_kg", "sarcopenia")
PERCENT = "area_difference_percent"
COLUMNS = (*CELL, SCORED[0], *ABOUT, *SCORED[1:], "area_difference_cm2", PERCENT)
METRICS = ("dice", PERCENT, "area_error_percent", "rms_dta_cm", "smd_difference_hu")


def gather(workdir: Path, cells: Sequence[Cell], data: Dataset) -> pd.DataFrame:
    """The validation and test rows of all `cells`, which are done, in the columns `COLUMNS`.

    Raises `ValueError` where no cell is done, and where scores are of other cases than their cell's.
    """
    if not cells:
        raise ValueError(f"no cell of {workdir} is done; train them with launch.sweep")
    about = data.cases.assign(case_id=data.cases["case_id"].astype(str)).set_index("case_id")
    sex = shuffles.gather(data.cases).sex
    about = about.assign(sex=[sex.get(str(patient), "") for patient in about["patient_id"]])
    parts = []
    for cell in cells:
        rows = read_scores(workdir / "cells" / cell.name, data, cell)
        own = {name: about.loc[rows["case_id"], name].to_numpy() for name in ABOUT}
        parts.append(rows.assign(**{name: getattr(cell, name) for name in CELL}, **own))
    return with_differences(pd.concat(parts, ignore_index=True)).reindex(columns=list(COLUMNS))


def with_differences(cases: pd.DataFrame) -> pd.DataFrame:
    """`cases` and the differences of areas, predicted minus reference, in cm2 and in % of the reference.

    The latter is NaN where the reference has no area.
    """
    area = cases["reference_sma_cm2"].to_numpy(float)
    difference = cases["sma_cm2"].to_numpy(float) - area
    percent = np.divide(100 * difference, area, out=np.full(len(area), np.nan), where=area > 0)
    return cases.assign(area_difference_cm2=difference, **{PERCENT: percent})


def of_part(cases: pd.DataFrame, part: str) -> pd.DataFrame:
    """The rows of validation or of test cases."""
    return cases.loc[cases["part"] == part]


def by_init(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each initialisation of a table with its rows, in the table's order."""
    for init, rows in table.groupby("init", sort=False):
        yield str(init), rows


def measure(cases: pd.DataFrame) -> pd.DataFrame:
    """The rows of shuffles.csv, a cell each, in the order of `cases`; all but validation_ is of the tests.

    METRIC_mean and _sd (of the sample) are of the values that are finite, and METRIC_non_finite counts the others.
    `empty` counts predictions without any muscle.
    """
    return pd.DataFrame([_measured(rows) for _, rows in cases.groupby(CELL, sort=False)])


def shown_shuffle(rows: pd.DataFrame) -> int:
    """Of one initialisation's rows of shuffles.csv the shuffle of the best validation Dice; the first of equal ones."""
    return int(rows["shuffle"].iloc[int(np.argmax(rows["validation_dice_mean"].to_numpy(float)))])


def shown(table: pd.DataFrame) -> dict[str, int]:
    """The shuffle that is shown of each initialisation, by shuffles.csv."""
    return {init: shown_shuffle(rows) for init, rows in by_init(table)}


def best_init(table: pd.DataFrame) -> str:
    """The initialisation of the highest validation Dice, mean of its shuffles; the first of equal ones."""
    means = {init: float(rows["validation_dice_mean"].to_numpy(float).mean()) for init, rows in by_init(table)}
    return max(means, key=lambda init: means[init])


def _measured(rows: pd.DataFrame) -> dict[str, Any]:
    validation, tests = of_part(rows, "validation"), of_part(rows, "test")
    found = {
        **{name: rows[name].iloc[0] for name in CELL},
        "validation_cases": len(validation),
        "validation_dice_mean": float(validation["dice"].to_numpy(float).mean()),
        "tests": len(tests),
        "empty": int((tests["sma_cm2"].to_numpy(float) == 0).sum()),
    }
    full = tests.assign(
        area_error_percent=tests[PERCENT].abs(), smd_difference_hu=tests["smd_hu"] - tests["reference_smd_hu"]
    )
    for name in METRICS:
        told = statistics_of(full[name].to_numpy(float))
        found |= {f"{name}_mean": told.mean, f"{name}_sd": told.sd, f"{name}_non_finite": told.non_finite}
    return found
