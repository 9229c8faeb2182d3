"""The answer of a study: with how few outlines each initialisation is as good as the readers.

Enough is the smallest n from which on no n that was tried is significantly worse than the readers, in Dice or RMS-DTA.
Two tests decide, side by side: Dunnett's, as in the paper, which takes all predictions as independent, and a bootstrap
over patients, which does not but corrects for no other groups. How often single bootstrap samples give an answer is not
reported: a sample's means alone do not say what is significant.
"""

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mskjax.study.case_scores import by_init_and_n, in_order, of_readers
from mskjax.study.resampling import Patients, bootstrap_differences, interval, sample_of
from mskjax.study.statistics import non_finite
from mskjax.study.tables import BETTER, outcome

COLUMNS = ("method", "init", "n", "smallest_n", "largest_n", "alpha", "non_finite", "reason")
_METRICS = {"dice": "Dice", "rms_dta_cm": "RMS-DTA"}
_UNTESTED = "untested"
_LEAST_ALPHA = 1e-4
_WITH = {
    "random": "From random weights",
    "classification": "With ImageNet classification pretraining",
    "segmentation": "With COCO segmentation pretraining",
    "jigsaw": "With jigsaw pretraining",
    "reconstruction": "With reconstruction pretraining",
}


@dataclass(frozen=True)
class _Verdict:
    """How one initialisation and n does against the readers in one metric: "better", "worse", "" or `_UNTESTED`."""

    init: str
    n: int
    metric: str
    verdict: str
    non_finite: int


def headline(table_1: pd.DataFrame, alpha: float = 0.001) -> pd.DataFrame:
    """The smallest sufficient n of each initialisation by the p of Table 1, <NA> where none is.

    Worse is p below `alpha` and a worse mean. What has no p, as without readers, was not shown to be enough. `reason`
    says why no smaller n is, `smallest_n` and `largest_n` what was tried; `non_finite` counts the values at n, or else
    at the largest n, that no mean can hold.
    """
    verdicts = []
    for row in table_1.to_dict("records"):
        found = outcome(row["p"], row["difference"], BETTER[row["metric"]], alpha) if row["p"] >= 0 else _UNTESTED
        verdicts.append(_Verdict(row["init"], row["n"], row["metric"], found, row["non_finite"]))
    return _answers(verdicts, "Dunnett", alpha)


def bootstrap_headline(
    cases: pd.DataFrame, patients: Patients = None, alpha: float = 0.001, samples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """The smallest sufficient n of each initialisation by a bootstrap over patients, in the columns of `headline`.

    Worse is a difference of means from the readers' whose percentile interval of 1 - `alpha` lies wholly on the worse
    side of 0; on either side of it are `alpha` / 2. So far out a percentile takes many samples: 20 / `alpha` are drawn
    where `samples` are fewer. Too few patients are not tested: that all of k patients differ in one direction
    happens by chance with 2^(1 - k), which has to be less than `alpha`. Raises `ValueError` for an `alpha` below
    0.0001, which would take too many samples.
    """
    if alpha < _LEAST_ALPHA:
        raise ValueError(f"an alpha of {alpha:g} takes too many bootstrap samples; set {_LEAST_ALPHA:g} or more")
    samples, least = max(samples, math.ceil(20 / alpha)), math.floor(2 - math.log2(alpha))
    verdicts, groups, readers = [], by_init_and_n(cases), of_readers(cases)
    for metric in _METRICS if groups else ():
        drawn = [sample_of(rows, metric, patients) for rows in groups.values()]
        differences = bootstrap_differences(drawn, sample_of(readers, metric, patients), samples, seed, least)
        for i, (init, n) in enumerate(groups):
            found = _by_interval(*interval(differences[:, i], 1 - alpha), BETTER[metric])
            verdicts.append(_Verdict(init, n, metric, found, non_finite(drawn[i][0])))
    return _answers(verdicts, "patient bootstrap", alpha)


def sentences(found: pd.DataFrame) -> list[str]:
    """What a headline says of each initialisation, the fewest outlines first, and what enough means; none for none."""
    if not len(found):
        return []
    rows = found.sort_values("n", kind="stable", na_position="last").to_dict("records")
    meaning = (
        "Enough is the smallest n from which on no n is significantly worse than the readers in Dice or RMS-DTA "
        f"({rows[0]['method']}, alpha {rows[0]['alpha']:g}); that is no proof of being as good."
    )
    return [*map(_sentence, rows), meaning]


def _by_interval(low: float, high: float, better: int) -> str:
    if math.isnan(low):
        return _UNTESTED
    if low <= 0 <= high:
        return ""
    return "better" if low * better > 0 else "worse"


def _answers(verdicts: list[_Verdict], method: str, alpha: float) -> pd.DataFrame:
    rows = []
    for init in in_order(one.init for one in verdicts):
        points: dict[int, list[_Verdict]] = {}
        for one in sorted((one for one in verdicts if one.init == init), key=lambda one: one.n):
            points.setdefault(one.n, []).append(one)
        answer, reason = _smallest(points)
        counted = sum(one.non_finite for one in points[answer or max(points)])
        rows.append((method, init, answer, min(points), max(points), alpha, counted, reason))
    table = pd.DataFrame(rows, columns=pd.Index(COLUMNS))
    return table.astype(dict.fromkeys(("n", "smallest_n", "largest_n"), "Int64"))


def _smallest(points: dict[int, list[_Verdict]]) -> tuple[int | None, str]:
    """The smallest sufficient n of points in ascending order, and what speaks against a smaller one."""
    answer = None
    for n, point in reversed(points.items()):
        if reason := _why_not(point):
            return answer, f"n = {n} is {reason}"
        answer = n
    return answer, ""


def _why_not(point: list[_Verdict]) -> str:
    """What speaks against one n, as in "worse in RMS-DTA"; nothing where it is enough."""
    known = {one.metric: one.verdict for one in point}
    for verdict in ("worse", _UNTESTED):
        if named := [word for metric, word in _METRICS.items() if known.get(metric, _UNTESTED) == verdict]:
            return f"{verdict} in {' and '.join(named)}"
    return ""


def _sentence(row: dict[str, Any]) -> str:
    start = _WITH.get(row["init"], f"With {row['init']} pretraining")
    if pd.isna(row["n"]):
        told = f"not even {row['largest_n']} outlines, the most tried, are shown to be enough"
    elif row["n"] == row["smallest_n"]:
        told = f"{row['n']} outlines, the fewest tried, are enough"
    else:
        told = f"{row['n']} outlines are enough"
    why = f" ({row['reason']})" if row["reason"] else ""
    left_out = {0: "", 1: "; 1 value that is not finite is left out"}.get(
        row["non_finite"], f"; {row['non_finite']} values that are not finite are left out"
    )
    return f"{start} {told}{why}{left_out}."
