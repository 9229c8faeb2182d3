"""Whether probabilities mean what they say: Brier score, calibration table, expected calibration error."""

import math
from dataclasses import dataclass

import numpy as np

from mskjax.measure.diagnosis.checks import Values, as_labels, as_probabilities


@dataclass(frozen=True)
class CalibrationBin:
    """The cases whose probability lies from `low` up to but not `high` (1 itself is in the last bin).

    `predicted` is their mean probability and `observed` the share that is positive, both NaN where there is no case.
    """

    low: float
    high: float
    cases: int
    predicted: float
    observed: float


def brier(label: Values, probability: Values) -> float:
    """The mean squared difference of probability and label, from 0 (best) to 1 (Brier 1950, for one of two classes)."""
    truth = as_labels(label)
    return float(np.square(as_probabilities(probability, truth) - truth).mean())


def calibration(label: Values, probability: Values, bins: int = 10) -> list[CalibrationBin]:
    """The table of a reliability diagram: `bins` bins of one width from 0 to 1, empty ones too."""
    if bins < 1:
        raise ValueError(f"calibration in {bins} bins; give 1 or more")
    truth = as_labels(label)
    values, edges = as_probabilities(probability, truth), np.linspace(0, 1, bins + 1)
    place = np.minimum(np.searchsorted(edges, values, side="right") - 1, bins - 1)
    return [_bin(edges[i], edges[i + 1], truth[place == i], values[place == i]) for i in range(bins)]


def expected_calibration_error(table: list[CalibrationBin]) -> float:
    """The mean over cases of how far their bin's mean probability lies from its share of positives; 0 is best.

    It depends on the number of bins, and is biased upwards where bins hold few cases. Source: Guo et al. 2017, eq. 3.
    """
    filled = [row for row in table if row.cases]
    return sum(row.cases * abs(row.predicted - row.observed) for row in filled) / sum(row.cases for row in filled)


def _bin(low: float, high: float, truth: np.ndarray, values: np.ndarray) -> CalibrationBin:
    known = len(values) > 0
    predicted, observed = (float(values.mean()), float(truth.mean())) if known else (math.nan, math.nan)
    return CalibrationBin(float(low), float(high), len(values), predicted, observed)
