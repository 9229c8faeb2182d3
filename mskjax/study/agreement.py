"""Agreement with the expert in area and density: Bland and Altman's limits, and intraclass correlation.

Many predictions are of one patient. Point estimates take every prediction; intervals take each patient as one
independent measurement, as if further predictions of it told nothing new, and so are too wide rather than too narrow.
With 592 predictions of 37 patients taken as independent they would be four times as narrow.
"""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from mskjax.study.case_scores import OBSERVERS, by_init_and_n, of_readers
from mskjax.study.resampling import Patients, sample_of

Values = Float[np.ndarray, "v"]
_CONFIDENCE = 0.95
_NORMAL_95 = float(stats.norm.ppf((1 + _CONFIDENCE) / 2))


@dataclass(frozen=True)
class BlandAltman:
    """Bias, spread and 95 % limits of agreement of differences, each with its 95 % interval; NaN where unknown."""

    bias: float = math.nan
    bias_low: float = math.nan
    bias_high: float = math.nan
    sd: float = math.nan
    lower_limit: float = math.nan
    lower_limit_low: float = math.nan
    lower_limit_high: float = math.nan
    upper_limit: float = math.nan
    upper_limit_low: float = math.nan
    upper_limit_high: float = math.nan


@dataclass(frozen=True)
class Icc:
    """Intraclass correlations with 95 % intervals, and F of subjects over error; NaN where `reason` says why."""

    icc_2_1: float = math.nan
    icc_2_1_low: float = math.nan
    icc_2_1_high: float = math.nan
    icc_3_1: float = math.nan
    icc_3_1_low: float = math.nan
    icc_3_1_high: float = math.nan
    f: float = math.nan
    f_p: float = math.nan
    reason: str = ""


COLUMNS = (
    *("metric", "init", "n", "values", "non_finite", "patients"),
    *(field.name for field in (*fields(BlandAltman), *fields(Icc))),
)


def bland_altman(differences: Values, independent: int | None = None) -> BlandAltman:
    """Bland and Altman's limits of agreement of finite differences, measured less reference.

    Limits are bias -+ 1.96 sd. The intervals are those of Bland and Altman 1999: by Student's t, with
    the standard errors sd / sqrt(n) of the bias and sd sqrt(1/n + 1.96^2 / (2 (n - 1))) of a limit, n being
    `independent`, the number of independent measurements, or all. Fewer than two differences give the bias alone.
    """
    n = len(differences) if independent is None else independent
    if not len(differences):
        return BlandAltman()
    bias = float(differences.mean())
    if len(differences) < 2 or n < 2:
        return BlandAltman(bias=bias)
    sd, t = float(differences.std(ddof=1)), float(stats.t.ppf((1 + _CONFIDENCE) / 2, n - 1))
    of_bias, of_limit = t * sd / math.sqrt(n), t * sd * math.sqrt(1 / n + _NORMAL_95**2 / (2 * (n - 1)))
    lower, upper = bias - _NORMAL_95 * sd, bias + _NORMAL_95 * sd
    return BlandAltman(
        *(bias, bias - of_bias, bias + of_bias, sd),
        *(lower, lower - of_limit, lower + of_limit, upper, upper - of_limit, upper + of_limit),
    )


def icc(ratings: Float[np.ndarray, "subjects raters"], independent: int | None = None) -> Icc:
    """ICC(2,1), absolute agreement of random raters, and ICC(3,1), consistency of fixed ones (Shrout and Fleiss 1979).

    McGraw and Wong 1996 call them ICC(A,1) and ICC(C,1). Ratings are finite; intervals and F take the degrees of
    freedom of `independent` subjects, or of all. Without two raters, two subjects or any difference between subjects
    all is NaN; raters who differ by a constant or not at all leave no error, and so neither interval nor F.
    """
    n, k = ratings.shape
    people = n if independent is None else independent
    if min(n, k, people) < 2:
        return Icc(reason="fewer than two independent measurements")
    subjects, raters, error = _mean_squares(ratings)
    rounding = np.finfo(float).eps * float((ratings**2).mean())
    if subjects + error <= rounding:
        return Icc(reason="no differences between cases")
    agreement = (subjects - error) / (subjects + (k - 1) * error + k * (raters - error) / n)
    consistency = (subjects - error) / (subjects + (k - 1) * error)
    if error <= rounding:
        return Icc(icc_2_1=agreement, icc_3_1=consistency, reason="no error to give an interval")
    f, freedom = subjects / error, (people - 1, (people - 1) * (k - 1))
    above, below = f / _f_quantile(*freedom), f * _f_quantile(*reversed(freedom))
    return Icc(
        *(agreement, *_agreement_interval(subjects, raters, error, n, k, people)),
        *(consistency, (above - 1) / (above + k - 1), (below - 1) / (below + k - 1)),
        *(f, float(stats.f.sf(f, *freedom))),
    )


def agreement(cases: pd.DataFrame, patients: Patients = None) -> pd.DataFrame:
    """Area and density against the expert's, of each initialisation and n and of the readers (n is <NA>).

    Limits of agreement are of the differences from the expert, and the two raters of a correlation are the network, or
    reader, and the expert, each prediction being a subject. `non_finite` counts predictions without a density, which
    are left out; `patients` tells the patient of each case.
    """
    groups = by_init_and_n(cases) | ({(OBSERVERS, pd.NA): of_readers(cases)} if len(of_readers(cases)) else {})
    rows = [
        {"metric": metric, "init": init, "n": n} | of_rows(rows, metric, patients)
        for metric in ("smd_hu", "sma_cm2")
        for (init, n), rows in groups.items()
    ]
    return pd.DataFrame(rows, columns=pd.Index(COLUMNS)).astype({"n": "Int64"})


def of_rows(rows: pd.DataFrame, metric: str, patients: Patients) -> dict[str, Any]:
    """The columns of `agreement` from "values" on, of the rows of one group."""
    measured, people = sample_of(rows, metric, patients)
    ratings = np.stack([measured, rows[f"reference_{metric}"].to_numpy(float)], axis=1)
    finite = np.isfinite(ratings).all(axis=1)
    independent = len(np.unique(people[finite]))
    counts = {"values": len(ratings), "non_finite": int((~finite).sum()), "patients": independent}
    limits = bland_altman(ratings[finite, 0] - ratings[finite, 1], independent)
    return counts | asdict(limits) | asdict(icc(ratings[finite], independent))


def _mean_squares(ratings: np.ndarray) -> tuple[float, float, float]:
    """Between subjects, between raters, and what is left: the two-way analysis of variance without replication."""
    n, k = ratings.shape
    of_subject, of_rater = ratings.mean(axis=1, keepdims=True), ratings.mean(axis=0, keepdims=True)
    grand = ratings.mean()
    left = ratings - of_subject - of_rater + grand
    subjects, raters = k * ((of_subject - grand) ** 2).sum(), n * ((of_rater - grand) ** 2).sum()
    return float(subjects / (n - 1)), float(raters / (k - 1)), float((left**2).sum() / ((n - 1) * (k - 1)))


def _agreement_interval(
    subjects: float, raters: float, error: float, n: int, k: int, people: int
) -> tuple[float, float]:
    """The interval of ICC(2,1), with Satterthwaite's degrees of freedom (McGraw and Wong 1996, table 7)."""
    rho = (subjects - error) / (subjects + (k - 1) * error + k * (raters - error) / n)
    a = k * rho / (n * (1 - rho))
    b = 1 + k * rho * (n - 1) / (n * (1 - rho))
    freedom = (a * raters + b * error) ** 2 / (
        (a * raters) ** 2 / (k - 1) + (b * error) ** 2 / ((people - 1) * (k - 1))
    )
    rest = k * raters + (k * n - k - n) * error
    high, low = _f_quantile(people - 1, freedom), _f_quantile(freedom, people - 1)
    return (
        n * (subjects - high * error) / (high * rest + n * subjects),
        n * (low * subjects - error) / (rest + n * low * subjects),
    )


def _f_quantile(numerator: float | int, denominator: float | int) -> float:
    return float(stats.f.ppf((1 + _CONFIDENCE) / 2, numerator, denominator))
