"""Tables 1 and 2 of study B's classification, the confusion matrices and the calibration, as frames.

Networks and policies come in the order of Table 1, the highest mean AUC of the tests first.
"""

import math
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from mskjax.measure import diagnosis
from mskjax.study.diagnosis_summary import MEASURES
from mskjax.study.sarcopenia_scores import CELL, COUNTS, PAIR, counts_of, pairs, shares_of, shown_shuffle

POOLED, SHOWN = "all shuffles", "shown shuffle"
_ALONE = "there is one shuffle only"


def table_1(cases: pd.DataFrame, shuffles: pd.DataFrame, samples: int = 2000) -> pd.DataFrame:
    """A row a network and policy: mean and sample sd of the AUC over the shuffles, and the interval of the mean.

    The interval is of a bootstrap over patients, who bring along their cases in all shuffles. `left_out_tests` of its
    `drawn_tests` lacked a class. What is not defined is NaN, and `undefined` says why.
    """
    tests = dict(pairs(cases.loc[cases["split"] == "test"]))
    rows = [_table_1_row(pair, rows, tests[pair], samples) for pair, rows in pairs(shuffles)]
    made = pd.DataFrame(rows)
    return made.sort_values("auc_mean", ascending=False, kind="stable", na_position="last", ignore_index=True)


def table_2(shuffles: pd.DataFrame, order: pd.DataFrame) -> pd.DataFrame:
    """A row a network and policy, in the order of Table 1, with each of `MEASURES` at the cells' thresholds.

    MEASURE_mean and _sd are over the shuffles in which it is defined and MEASURE_undefined counts the others;
    pooled_MEASURE is of the counts of all shuffles together, shown_MEASURE of shuffle `shown_shuffle` alone, which its
    validation cases chose. `undefined` says what is NaN and why.
    """
    known = dict(pairs(shuffles))
    return pd.DataFrame([{**dict(zip(PAIR, pair, strict=True)), **_table_2_row(known[pair])} for pair in _order(order)])


def confusion(shuffles: pd.DataFrame, order: pd.DataFrame) -> pd.DataFrame:
    """The counts of each network and policy over all shuffles and in the shown one, whose number is in `shuffle`."""
    known, told = dict(pairs(shuffles)), []
    for pair in _order(order):
        rows = known[pair]
        shown = shown_shuffle(rows)
        for scope, number, own in ((POOLED, "", rows), (SHOWN, shown, rows.loc[rows["shuffle"] == shown])):
            counts = {name: int(own[name].to_numpy(int).sum()) for name in COUNTS}
            told.append({**dict(zip(PAIR, pair, strict=True)), "scope": scope, "shuffle": number, **counts})
    return pd.DataFrame(told)


def calibration(cases: pd.DataFrame, order: pd.DataFrame, bins: int) -> pd.DataFrame:
    """The bins of each network's and policy's test cases of all shuffles, with Wilson's 95 % interval of each share.

    `predicted`, `observed` and the interval are NaN in a bin without cases.
    """
    tests, told = dict(pairs(cases.loc[cases["split"] == "test"])), []
    for pair in _order(order):
        rows = tests[pair]
        for one in diagnosis.calibration(rows["label"].to_numpy(), rows["probability"].to_numpy(), bins):
            positive = round(one.cases * one.observed) if one.cases else 0
            low, high = wilson(positive, one.cases)
            named = {**dict(zip(PAIR, pair, strict=True)), "low": one.low, "high": one.high, "cases": one.cases}
            named |= {"sarcopenic": positive, "predicted": one.predicted, "observed": one.observed}
            told.append({**named, "observed_low": low, "observed_high": high})
    return pd.DataFrame(told)


def wilson(part: int, whole: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share; NaN of nothing."""
    if not whole:
        return math.nan, math.nan
    interval = binomtest(part, whole).proportion_ci(0.95, "wilson")
    return float(interval.low), float(interval.high)


def _table_1_row(pair: tuple[str, str], rows: pd.DataFrame, tests: pd.DataFrame, samples: int) -> dict[str, Any]:
    each = [
        (own["label"].to_numpy(int), own["probability"].to_numpy(float), own["patient_id"].to_numpy(object))
        for _, own in tests.groupby(CELL, sort=False)
    ]
    interval, values = diagnosis.mean_auc_interval(each, samples), rows["auc"].to_numpy(float)
    known = values[~np.isnan(values)]
    why = {
        f"auc of {len(values) - len(known)} shuffles: no case of one class": len(known) < len(values),
        f"sd: {_ALONE}": len(known) == 1,
        f"interval: {interval.reason}": bool(interval.reason),
    }
    return {
        **dict(zip(PAIR, pair, strict=True)),
        "shuffles": len(values),
        **_spread("auc", known),
        "auc_low": interval.low,
        "auc_high": interval.high,
        "drawn_tests": interval.drawn,
        "left_out_tests": interval.left_out,
        "validation_auc_mean": float(rows["validation_auc"].to_numpy(float).mean()),
        "undefined": "; ".join(reason for reason, applies in why.items() if applies),
    }


def _table_2_row(rows: pd.DataFrame) -> dict[str, Any]:
    pooled, number = counts_of(rows), shown_shuffle(rows)
    shown = counts_of(rows.loc[rows["shuffle"] == number])
    told: dict[str, Any] = {"shuffles": len(rows)}
    reasons = []
    for name in MEASURES:
        values = rows[name].to_numpy(float)
        known = values[~np.isnan(values)]
        told |= {**_spread(name, known), f"{name}_undefined": len(values) - len(known)}
        if len(known) < len(values):
            lacking = (counts_of(rows.iloc[[i]]) for i in np.flatnonzero(np.isnan(values)))
            whys = dict.fromkeys(diagnosis.why_undefined(name, counts) for counts in lacking)
            reasons.append(f"{name} of {len(values) - len(known)} of {len(values)} shuffles: {' or '.join(whys)}")
    for scope, counts in (("pooled", pooled), ("shown", shown)):
        shares = shares_of(counts)
        told |= {"shown_shuffle": number} if scope == "shown" else {}
        told |= {f"{scope}_{name}": getattr(counts, field) for name, field in COUNTS.items()}
        told |= {f"{scope}_{name}": share for name, share in shares.items()}
        reasons += [
            f"{scope} {name}: {diagnosis.why_undefined(name, counts)}" for name in MEASURES if math.isnan(shares[name])
        ]
    return {**told, "undefined": "; ".join(reasons)}


def _spread(name: str, known: np.ndarray) -> dict[str, float]:
    """Mean and sample sd of the values that are defined; NaN of none, and the sd of one."""
    mean, sd = (known.mean() if len(known) else math.nan, known.std(ddof=1) if len(known) > 1 else math.nan)
    return {f"{name}_mean": float(mean), f"{name}_sd": float(sd)}


def _order(table: pd.DataFrame) -> list[tuple[str, str]]:
    return [(str(network), str(policy)) for network, policy in zip(table["network"], table["policy"], strict=True)]
