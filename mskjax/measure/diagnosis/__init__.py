"""How well probabilities tell the sick from the healthy: on plain arrays, a case each, labels 0 and 1 (1: the disease).

What is not defined is NaN, never 0: AUC where a class is missing, precision where nothing is called positive. Whoever
shows a NaN says why by `why_undefined`.
"""

from mskjax.measure.diagnosis.calibration import (
    CalibrationBin,
    brier,
    calibration,
    expected_calibration_error,
)
from mskjax.measure.diagnosis.counts import (
    Confusion,
    accuracy,
    confusion,
    f1,
    precision,
    recall,
    specificity,
    why_undefined,
)
from mskjax.measure.diagnosis.ranking import (
    AucInterval,
    RocCurve,
    Threshold,
    auc,
    auc_interval,
    roc_curve,
    youden_threshold,
)
from mskjax.measure.diagnosis.repeated import MeanAucInterval, mean_auc_interval

__all__ = [
    "AucInterval",
    "CalibrationBin",
    "Confusion",
    "MeanAucInterval",
    "RocCurve",
    "Threshold",
    "accuracy",
    "auc",
    "auc_interval",
    "brier",
    "calibration",
    "confusion",
    "expected_calibration_error",
    "f1",
    "mean_auc_interval",
    "precision",
    "recall",
    "roc_curve",
    "specificity",
    "why_undefined",
    "youden_threshold",
]
