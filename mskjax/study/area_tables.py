"""Tables 3 and 4 of study B as frames, and the agreement in area and density."""

from typing import Any

import pandas as pd

from mskjax.study import agreement
from mskjax.study.area_scores import CELL, PERCENT, by_init, of_part, shown
from mskjax.study.summary import statistics_of

OVER_ALL = "all"


def table_3(shuffles: pd.DataFrame) -> pd.DataFrame:
    """A row a cell, Dice and signed difference of areas in % over its tests, mean and sample sd; then a row of all.

    The last row of an initialisation, shuffle "all", has mean and sd of the means above it. `shown` is 1 where the
    validation Dice is best. `undefined` counts differences of which there is none, as the reference has no area, and
    `empty` predictions without muscle. What is not defined is NaN.
    """
    chosen, rows = shown(shuffles), []
    for init, own in by_init(shuffles):
        rows += [_cell_row(row, int(row["shuffle"] == chosen[init])) for row in own.to_dict("records")]
        rows.append({"init": init, "shuffle": OVER_ALL, **_over_all(own)})
    return pd.DataFrame(rows)


def table_4(cases: pd.DataFrame, decided: pd.DataFrame, shuffles: pd.DataFrame) -> pd.DataFrame:
    """The tests of each initialisation's shown shuffle, a row a case: areas, decisions, Dice, error without sign in %.

    `decided` has the decisions of one set and measure. Cases whose reference is not sarcopenic come first, then those
    whose is, then those that are not decided about; within each by case id.
    """
    tests = of_part(cases, "test")
    chosen = shown(shuffles)
    own = tests.loc[[chosen[init] == number for init, number in zip(tests["init"], tests["shuffle"], strict=True)]]
    told = decided.drop(columns=["patient_id", "sex", "sarcopenia"])
    joined = own.merge(told, on=[*CELL, "case_id"], how="left", validate="one_to_one")
    joined = joined.assign(error_percent=joined[PERCENT].abs(), order=joined["reference_below"].fillna(2).astype(int))
    inits = {init: place for place, init in enumerate(chosen)}
    joined = joined.assign(place=joined["init"].map(inits)).sort_values(["place", "order", "case_id"], kind="stable")
    columns = [*CELL, "case_id", "patient_id", "sex", "sarcopenia", "reference_sma_cm2", "reference_below", "dice"]
    columns += ["sma_cm2", "below", "error_percent", "set", "measure", "cutoff", "reference_margin", "margin"]
    return joined[[*columns, "reference_why", "why"]].reset_index(drop=True)


def bland_altman(cases: pd.DataFrame) -> pd.DataFrame:
    """Bias, limits of agreement and correlation of area and density with the reference, over all tests.

    A row for each initialisation and metric. Intervals take each patient as one independent measurement.
    """
    tests = of_part(cases, "test")
    patients = dict(zip(tests["case_id"], tests["patient_id"].astype(str), strict=True))
    return pd.DataFrame(
        [
            {"metric": metric, "init": init, **agreement.of_rows(rows, metric, patients)}
            for metric in ("sma_cm2", "smd_hu")
            for init, rows in by_init(tests)
        ]
    )


def _cell_row(row: dict[str, Any], is_shown: int) -> dict[str, Any]:
    return {
        "init": row["init"],
        "shuffle": str(row["shuffle"]),
        "tests": row["tests"],
        **{f"{name}_{of}": row[f"{name}_{of}"] for name in ("dice", PERCENT) for of in ("mean", "sd")},
        "undefined": row[f"{PERCENT}_non_finite"],
        "empty": row["empty"],
        "validation_dice_mean": row["validation_dice_mean"],
        "shown": is_shown,
    }


def _over_all(rows: pd.DataFrame) -> dict[str, Any]:
    found: dict[str, Any] = {"tests": int(rows["tests"].to_numpy(int).sum())}
    for name in ("dice", PERCENT):
        told = statistics_of(rows[f"{name}_mean"].to_numpy(float))
        found |= {f"{name}_mean": told.mean, f"{name}_sd": told.sd}
    found |= {
        "undefined": int(rows[f"{PERCENT}_non_finite"].to_numpy(int).sum()),
        "empty": int(rows["empty"].to_numpy(int).sum()),
    }
    validation = float(rows["validation_dice_mean"].to_numpy(float).mean())
    return {**found, "validation_dice_mean": validation, "shown": 0}
