"""Tables 1 and 2 and appendices C and D of study A as tidy frames, a row for each comparison.

Beside the p that the paper prints stand effect sizes, 95 % intervals of a bootstrap over patients, and p after Holm. As
Dunnett's p already answers for all groups of a metric, Holm's would correct it twice: in Tables 1 and 2 `p_holm`
corrects `p_single`, the p of the same t alone, over the groups of the metric.

`values` counts all values of a group, `non_finite` those that are infinite or NaN. Means, Dunnett's test and the
intervals leave these out; Mann and Whitney's test ranks infinite distances as the largest. What is missing in a study
has no row, and a comparison that cannot be made has no p but a `reason`.
"""

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from mskjax.study.case_scores import by_init_and_n, of_readers
from mskjax.study.resampling import Patients, Sample, bootstrap_differences, interval, sample_of
from mskjax.study.statistics import dunnett, holm, mann_whitney, non_finite

# The sign of what is better; 0 where any difference is for the worse.
BETTER = {"dice": 1, "rms_dta_cm": -1, "smd_hu": 0, "sma_cm2": 0}
DUNNETT_COLUMNS = (
    *("metric", "init", "n", "values", "non_finite", "mean", "control_mean", "difference", "hedges_g"),
    *("difference_low", "difference_high", "p", "p_holm", "outcome"),
    *("p_single", "control_values", "control_non_finite", "reason"),
)
_COMPARED = ("values", "other_values", "non_finite", "other_non_finite", "u", "p", "p_holm", "rank_biserial", "reason")
C_COLUMNS = ("metric", "n", "init", "other_init", *_COMPARED)
D_COLUMNS = ("metric", "init", "n", "other_n", *_COMPARED)
APPENDIX_METRIC = "rms_dta_cm"


def table_1(
    cases: pd.DataFrame, patients: Patients = None, *, alpha: float = 0.001, samples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Table 1: Dice and RMS-DTA of each initialisation and n against the readers', by Dunnett's test.

    The control is every reader's score on every case; without readers there is none, and no p. `outcome` is "better" or
    "worse" where p is below `alpha`, by the difference of the means, and "" elsewhere. `patients` tells the patient of
    each case, for the bootstrap of `samples` samples.
    """
    readers = of_readers(cases)
    controls = {metric: sample_of(readers, metric, patients) for metric in ("dice", "rms_dta_cm")}
    return _dunnett_table(cases, controls, patients, alpha, samples, seed)


def table_2(
    cases: pd.DataFrame, patients: Patients = None, *, alpha: float = 0.001, samples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Table 2: density and area of each initialisation and n against the expert's, by Dunnett's test.

    The control is the expert's value of each test case. `outcome` is "worse" where p is below `alpha`, as any
    difference from the expert is for the worse, and "" elsewhere. The rest is as in `table_1`.
    """
    expert = cases.drop_duplicates("case_id")
    controls = {metric: sample_of(expert, f"reference_{metric}", patients) for metric in ("smd_hu", "sma_cm2")}
    return _dunnett_table(cases, controls, patients, alpha, samples, seed)


def appendix_c(cases: pd.DataFrame) -> pd.DataFrame:
    """Appendix C: RMS-DTA at each n between each two initialisations, by Mann and Whitney's U test.

    A positive `rank_biserial` says that distances of `init` are larger, and so worse, than those of `other_init`;
    `p_holm` corrects over all rows.
    """
    groups = _distances(cases)
    return _ranked(
        C_COLUMNS,
        [
            ({"n": n, "init": init, "other_init": other}, groups[init, n], groups[other, n])
            for n in sorted({n for _, n in groups})
            for init, other in combinations([init for init, own in groups if own == n], 2)
        ],
    )


def appendix_d(cases: pd.DataFrame) -> pd.DataFrame:
    """Appendix D: RMS-DTA of each n against `other_n`, the largest n of the same initialisation, as in appendix C."""
    groups = _distances(cases)
    largest = dict(groups.keys())  # n ascends, so that each initialisation keeps its last
    return _ranked(
        D_COLUMNS,
        [
            ({"init": init, "n": n, "other_n": largest[init]}, values, groups[init, largest[init]])
            for (init, n), values in groups.items()
            if n < largest[init]
        ],
    )


def outcome(p: float, difference: float, better: int, alpha: float) -> str:
    """What p and the difference from the control say: "better", "worse", or "" where p is NaN or not below `alpha`.

    `better` is the sign of a better difference, as in `BETTER`.
    """
    if not p < alpha:
        return ""
    return "better" if difference * better > 0 else "worse"


def _dunnett_table(
    cases: pd.DataFrame, controls: dict[str, Sample], patients: Patients, alpha: float, samples: int, seed: int
) -> pd.DataFrame:
    rows = [
        row
        for metric, control in controls.items()
        for row in _against(cases, metric, control, patients, alpha, samples, seed)
    ]
    return pd.DataFrame(rows, columns=pd.Index(DUNNETT_COLUMNS))


def _against(
    cases: pd.DataFrame, metric: str, control: Sample, patients: Patients, alpha: float, samples: int, seed: int
) -> list[dict[str, Any]]:
    """The rows of one metric, of each initialisation and n against `control`."""
    groups = {name: sample_of(rows, metric, patients) for name, rows in by_init_and_n(cases).items()}
    if not groups:
        return []
    found = dunnett([values for values, _ in groups.values()], control[0], seed)
    corrected = holm(np.array([one.p_single for one in found]))
    resampled = bootstrap_differences(list(groups.values()), control, samples, seed)
    rows, control_mean = [], _mean(control[0])
    for i, ((init, n), (values, _)) in enumerate(groups.items()):
        mean, (low, high) = _mean(values), interval(resampled[:, i], 0.95)
        rows.append(
            {
                "metric": metric,
                "init": init,
                "n": n,
                "values": len(values),
                "non_finite": non_finite(values),
                "mean": mean,
                "control_mean": control_mean,
                "difference": mean - control_mean,
                "hedges_g": found[i].effect,
                "difference_low": low,
                "difference_high": high,
                "p": found[i].p,
                "p_holm": corrected[i],
                "outcome": outcome(found[i].p, mean - control_mean, BETTER[metric], alpha),
                "p_single": found[i].p_single,
                "control_values": len(control[0]),
                "control_non_finite": non_finite(control[0]),
                "reason": found[i].reason,
            }
        )
    return rows


def _distances(cases: pd.DataFrame) -> dict[tuple[str, int], np.ndarray]:
    return {name: rows[APPENDIX_METRIC].to_numpy(float) for name, rows in by_init_and_n(cases).items()}


def _ranked(columns: tuple[str, ...], pairs: list[tuple[dict[str, Any], np.ndarray, np.ndarray]]) -> pd.DataFrame:
    """A row for each pair of groups, named by its keys."""
    found = [mann_whitney(values, others) for _, values, others in pairs]
    corrected = holm(np.array([one.p for one in found], float))
    rows = [
        names
        | {
            "metric": APPENDIX_METRIC,
            "values": len(values),
            "other_values": len(others),
            "non_finite": non_finite(values),
            "other_non_finite": non_finite(others),
            "u": one.statistic,
            "p": one.p,
            "p_holm": p_holm,
            "rank_biserial": one.effect,
            "reason": one.reason,
        }
        for (names, values, others), one, p_holm in zip(pairs, found, corrected, strict=True)
    ]
    return pd.DataFrame(rows, columns=pd.Index(columns))


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else np.nan
