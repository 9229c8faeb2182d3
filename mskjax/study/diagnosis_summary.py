"""What the probabilities of labelled cases come to at a threshold, and the same as JSON has it."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from mskjax.measure import diagnosis
from mskjax.measure.diagnosis import AucInterval, CalibrationBin, Confusion, RocCurve

MEASURES = ("accuracy", "precision", "recall", "specificity", "f1")
SAMPLES = 2000


@dataclass(frozen=True)
class Diagnosis:
    """The figures of a split: counts and `measures` at the threshold, the others of the probabilities themselves.

    What is not defined is NaN, and `reasons` says why under the measure's name.
    """

    cases: int
    patients: int
    counts: Confusion
    measures: dict[str, float]
    reasons: dict[str, str]
    auc: float
    interval: AucInterval
    curve: RocCurve
    brier: float
    bins: list[CalibrationBin]
    calibration_error: float


def diagnose(
    label: Integer[np.ndarray, " n"],
    probability: Float[np.ndarray, " n"],
    patient: np.ndarray,
    threshold: float,
    samples: int = SAMPLES,
) -> Diagnosis:
    """The diagnosis of cases called positive from `threshold` on; `ValueError` where there are none."""
    counts = diagnosis.confusion(label, probability >= threshold)
    bins = diagnosis.calibration(label, probability)
    return Diagnosis(
        cases=len(label),
        patients=len(np.unique(patient.astype(str))),
        counts=counts,
        measures={name: getattr(diagnosis, name)(counts) for name in MEASURES},
        reasons={name: why for name in ("auc", *MEASURES) if (why := diagnosis.why_undefined(name, counts))},
        auc=diagnosis.auc(label, probability),
        interval=diagnosis.auc_interval(label, probability, patient, samples),
        curve=diagnosis.roc_curve(label, probability),
        brier=diagnosis.brier(label, probability),
        bins=bins,
        calibration_error=diagnosis.expected_calibration_error(bins),
    )


def plain(found: Diagnosis) -> dict[str, Any]:
    """The diagnosis as JSON: what is not defined is null, with its reason beside it."""
    values = {"auc": found.auc, **found.measures, "brier": found.brier}
    values["expected_calibration_error"] = found.calibration_error
    metrics = {name: {"value": _finite(value), "reason": found.reasons.get(name, "")} for name, value in values.items()}
    metrics["auc"]["interval"] = {**_plain(asdict(found.interval)), "level": 0.95, "drawn": "patients, by class"}
    return {
        "cases": found.cases,
        "patients": found.patients,
        "positive": found.counts.positive,
        "confusion": asdict(found.counts),
        "metrics": metrics,
        "calibration": [_plain(asdict(row)) for row in found.bins],
    }


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _finite(value) if isinstance(value, float) else value for name, value in values.items()}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
