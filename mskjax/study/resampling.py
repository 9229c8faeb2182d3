"""Bootstrap over patients: all predictions and outlines of a drawn patient come along, as often as they are drawn.

Predictions of one patient by many networks are far from independent, and networks and readers are judged on the same
patients. Each group's mean in a sample is a ratio of sums over the drawn patients, so that all samples are two matrix
products of how often each patient was drawn with what each patient adds up to.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

Patients = Mapping[str, str] | pd.Series | None
Sample = tuple[np.ndarray, np.ndarray]  # values, and the patient of each


def sample_of(rows: pd.DataFrame, metric: str, patients: Patients) -> Sample:
    """The values of a metric and their patients, by `patients` from case id to patient; without it cases are patients.

    Raises `ValueError` with the case that `patients` lacks.
    """
    values, case_ids = rows[metric].to_numpy(float), rows["case_id"].to_numpy(str)
    if patients is None:
        return values, case_ids
    known = pd.Series(dict(patients), dtype=object).dropna().to_dict()
    if lacking := sorted(set(case_ids) - set(known)):
        raise ValueError(f"no patient is known of case {str(lacking[0])!r}; give the patient of every scored case")
    return values, np.array([str(known[case]) for case in case_ids], dtype=str)


def bootstrap_differences(
    groups: Sequence[Sample], control: Sample, samples: int, seed: int, least: int = 2
) -> Float[np.ndarray, "samples groups"]:
    """How far each group's mean lies above the control's in each of `samples` bootstrap samples.

    Means are of finite values. NaN where a sample has no value of the group or the control, and throughout where either
    has finite values of fewer than `least` patients; of fewer than two chance could not choose.
    """
    people = np.unique(np.concatenate([patients for _, patients in (*groups, control)]))
    totals = [_per_patient(sample, people) for sample in (*groups, control)]
    sums, counts = (np.stack(parts, axis=1) for parts in zip(*totals, strict=True))
    counts[:, (counts > 0).sum(axis=0) < least] = 0
    drawn = np.random.default_rng(seed).multinomial(len(people), np.full(len(people), 1 / len(people)), size=samples)
    weights = drawn.astype(float)
    drawn_counts = weights @ counts
    means = np.divide(weights @ sums, drawn_counts, out=np.full_like(drawn_counts, np.nan), where=drawn_counts > 0)
    return means[:, :-1] - means[:, -1:]


def _per_patient(sample: Sample, people: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sum and the count of each patient's finite values."""
    values, patients = sample
    finite = np.isfinite(values)
    who = np.searchsorted(people, patients[finite])
    sums = np.bincount(who, values[finite], minlength=len(people))
    return sums, np.bincount(who, minlength=len(people)).astype(float)


def interval(samples: Float[np.ndarray, "s"], level: float) -> tuple[float, float]:
    """The percentile interval that holds `level` of the bootstrap samples, in their middle; NaN samples are left out.

    NaN where no sample is known. Percentile intervals are somewhat too narrow for few patients.
    """
    known = samples[~np.isnan(samples)]
    if not len(known):
        return np.nan, np.nan
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
