"""Rows of a study's cases.csv, from a list of values for each score that matters to a test."""

import pandas as pd

from mskjax.study.case_scores import COLUMNS, OBSERVERS, checked

DEFAULTS = {
    "dice": 0.9,
    "rms_dta_cm": 0.3,
    "sma_cm2": 100.0,
    "smd_hu": 30.0,
    "reference_sma_cm2": 100.0,
    "reference_smd_hu": 30.0,
}


def rows(init, n, seed=0, reader="", **scores):
    """One row for each value of the scores, on cases c0, c1 and so on."""
    count = len(next(iter(scores.values())))
    cell = {"init": init, "n": n, "fold": 0, "draw": 0, "seed": seed, "reader": reader}
    columns = cell | {"case_id": [f"c{i}" for i in range(count)]} | DEFAULTS | scores
    return pd.DataFrame(columns, index=range(count))


def network(init, n, seed=0, **scores):
    return rows(init, n, seed, **scores)


def reader(name="A", **scores):
    return rows(OBSERVERS, None, reader=name, **scores).assign(n=None, fold=None, draw=None, seed=None)


def study(*parts):
    everything = [row for part in parts for row in part.astype(object).to_dict("records")]
    return checked(pd.DataFrame(everything, columns=pd.Index(COLUMNS)), "study")
