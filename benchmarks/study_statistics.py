"""Times the statistics of a whole study A on simulated scores: 560 networks and 5 readers on 37 test cases."""

import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import common
from mskjax.study import agreement, headline, tables
from mskjax.study.case_scores import CELL, INITS, OBSERVERS, checked

SIZES = (5, 10, 25, 50, 75, 100, 125)
CASES = 37


def scores() -> pd.DataFrame:
    """Simulated rows of cases.csv; nothing in them but their number is like study A."""
    cells = itertools.product(INITS, SIZES, range(4), range(2), range(2), range(CASES), [""])
    readers = itertools.product([OBSERVERS], *[[None]] * 4, range(CASES), "ABCDE")
    rows = pd.DataFrame([*cells, *readers], columns=pd.Index(["init", *CELL, "case_id", "reader"]))
    rng, case = np.random.default_rng(0), rows["case_id"].to_numpy(int)
    dice = np.clip(rng.normal(0.92, 0.03, len(rows)), 0, 1)
    rows["dice"], rows["rms_dta_cm"] = dice, 3 * (1 - dice)
    rows["reference_sma_cm2"], rows["reference_smd_hu"] = 100.0 + case, 30.0 + case / 10
    rows["sma_cm2"] = rows["reference_sma_cm2"] + rng.normal(0, 5, len(rows))
    rows["smd_hu"] = rows["reference_smd_hu"] + rng.normal(0, 3, len(rows))
    return checked(rows, "simulated scores")


def seconds() -> dict[str, float]:
    cases = scores()
    calls: dict[str, Callable[[], Any]] = {
        "table_1": lambda: tables.table_1(cases),
        "table_2": lambda: tables.table_2(cases),
        "appendix_c": lambda: tables.appendix_c(cases),
        "appendix_d": lambda: tables.appendix_d(cases),
        "agreement": lambda: agreement.agreement(cases),
        "bootstrap_headline": lambda: headline.bootstrap_headline(cases),
    }
    found = {}
    for name, call in calls.items():
        start = time.perf_counter()
        call()
        found[f"{name}_s"] = round(time.perf_counter() - start, 2)
    return found


if __name__ == "__main__":
    common.report("study_statistics", **seconds())
