"""The results of a classification study for men and for women, who differ in muscle and in who is called sarcopenic."""

import math
from typing import Any

import numpy as np
import pandas as pd

from mskjax.measure import diagnosis
from mskjax.study.sarcopenia_scores import COUNTS, PAIR, Pair, pairs

UNKNOWN = "unknown"
RATES = ("recall", "specificity")


def by_sex(cases: pd.DataFrame, order: pd.DataFrame, samples: int = 2000) -> pd.DataFrame:
    """A row for each network, policy and sex (M, F, unknown) that is tested, in the order of Table 1.

    `cases` are the rows of cases.csv. `auc_mean` and `auc_sd` are over those `auc_shuffles` of the `shuffles` with a
    test of the sex in which it has cases of both classes, the interval as in Table 1. Recall and specificity are of
    the counts of all shuffles together, at the cells' thresholds. What is not defined is NaN, and `undefined` says why.
    """
    tests = dict(pairs(cases.loc[cases["split"] == "test"]))
    rows = []
    for row in order[PAIR].itertuples(index=False, name=None):
        pair: Pair = (str(row[0]), str(row[1]))
        for sex in ("M", "F", ""):
            own = tests[pair].loc[tests[pair]["sex"] == sex]
            if len(own):
                rows.append({**dict(zip(PAIR, pair, strict=True)), "sex": sex or UNKNOWN, **_row(own, samples)})
    return pd.DataFrame(rows)


def _row(tests: pd.DataFrame, samples: int) -> dict[str, Any]:
    each = [
        (own["label"].to_numpy(int), own["probability"].to_numpy(float), own["patient_id"].to_numpy(object))
        for _, own in tests.groupby("shuffle", sort=False)
    ]
    values = np.array([diagnosis.auc(label, probability) for label, probability, _ in each])
    known, interval = values[~np.isnan(values)], diagnosis.mean_auc_interval(each, samples)
    counts = diagnosis.confusion(tests["label"].to_numpy(int), tests["decision"].to_numpy(int))
    rates = {name: getattr(diagnosis, name)(counts) for name in RATES}
    why = [f"auc of {len(values) - len(known)} shuffles: no case of one class"] if len(known) < len(values) else []
    why += ["sd: there is one value only"] if len(known) == 1 else []
    why += [f"interval: {interval.reason}"] if interval.reason else []
    why += [f"{name}: {diagnosis.why_undefined(name, counts)}" for name in RATES if math.isnan(rates[name])]
    return {
        "patients": tests["patient_id"].nunique(),
        "sarcopenic_patients": tests.loc[tests["label"] == 1, "patient_id"].nunique(),
        "cases": counts.negative + counts.positive,
        "shuffles": len(values),
        "auc_shuffles": len(known),
        "auc_mean": float(known.mean()) if len(known) else math.nan,
        "auc_sd": float(known.std(ddof=1)) if len(known) > 1 else math.nan,
        "auc_low": interval.low,
        "auc_high": interval.high,
        **rates,
        **{name: getattr(counts, field) for name, field in COUNTS.items()},
        "undefined": "; ".join(why),
    }
