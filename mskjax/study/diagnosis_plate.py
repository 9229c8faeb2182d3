"""The figure of a diagnosis: its ROC curve with the threshold that decides, and how calibrated probabilities are."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mskjax.measure.diagnosis import recall, specificity
from mskjax.study import plates
from mskjax.study.diagnosis_summary import Diagnosis
from mskjax.study.plates import GREY, Plate

BLUE, ORANGE = "#0072B2", "#D55E00"  # Okabe and Ito's
NAME = "roc_and_calibration"


def plate(found: Diagnosis, threshold: float) -> Plate:
    """The plate of a split; a curve that is not defined is left out, and its panel says why."""

    positive, cases = found.counts.positive, found.cases

    def draw(figure: Figure) -> None:
        roc, calibration = figure.subplots(1, 2)
        _draw_roc(roc, found)
        _draw_calibration(calibration, found)

    return plates.make(
        NAME,
        "ROC curve and calibration",
        "Left the ROC curve, right the observed share of sarcopenic cases against their probability",
        f"{cases} cases, {positive} of them sarcopenic. The dot marks the threshold that decides, {threshold:.3f}. "
        "Beside each point of the calibration stands how many cases its bin of width 0.1 holds; on the diagonal, "
        "probabilities mean what they say.",
        (8.4, 4.2),
        draw,
    )


def _draw_roc(axes: Axes, found: Diagnosis) -> None:
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    if found.reasons.get("auc"):
        axes.text(0.5, 0.5, f"not defined:\n{found.reasons['auc']}", ha="center", va="center", color=GREY)
        axes.set_title("ROC curve")
    else:
        axes.plot(found.curve.false_positive_rate, found.curve.true_positive_rate, color=BLUE, clip_on=False)
        at = 1 - specificity(found.counts), recall(found.counts)
        axes.plot(*at, "o", color=ORANGE, clip_on=False, zorder=3)
        axes.set_title(f"ROC curve, AUC {found.auc:.3f}")
    _square(axes)
    axes.set(xlabel="1 - specificity", ylabel="Sensitivity (recall)")


def _draw_calibration(axes: Axes, found: Diagnosis) -> None:
    filled = [row for row in found.bins if row.cases]
    predicted, observed = (np.array([getattr(row, name) for row in filled]) for name in ("predicted", "observed"))
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    axes.plot(predicted, observed, "o", color=BLUE, clip_on=False)
    for row in filled:
        axes.annotate(
            str(row.cases),
            (row.predicted, row.observed),
            xytext=(6, 0),
            textcoords="offset points",
            va="bottom" if row.observed < 0.5 else "top",  # off the frame
            color=GREY,
            fontsize=8.5,
        )
    axes.set_title(f"Calibration, Brier score {found.brier:.3f}")
    _square(axes)
    axes.set(xlabel="Probability, mean of bin", ylabel="Observed share of sarcopenic cases")


def _square(axes: Axes) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
