"""Figures of an evaluation, as the bytes of a PNG."""

import io

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, GREY = "#0072B2", "#59646E"  # Okabe and Ito's blue
MINUS = "\N{MINUS SIGN}"
_PANELS = (("Muscle area", "sma_cm2", "cm²"), ("Muscle density", "smd_hu", "HU"))


def agreement(cases: pd.DataFrame) -> bytes:
    """Bland-Altman plots of muscle area and density, see `draw_agreement`."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    draw_agreement(figure, cases, "cases")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160, metadata={"Software": None})
    return buffer.getvalue()


def draw_agreement(figure: Figure, cases: pd.DataFrame, rows_are: str) -> None:
    """Draws difference against mean of muscle area and density, with bias and 95 % limits of agreement.

    Rows without a finite difference are not drawn; each panel's title says how many of all are, by the word `rows_are`.
    """
    panels = figure.subplots(1, 2)
    for axes, (name, measure, unit) in zip(panels, _PANELS, strict=True):
        predicted, reference = (cases[column].to_numpy(float) for column in (measure, f"reference_{measure}"))
        _bland_altman(axes, predicted, reference, unit)
        drawn = np.isfinite(predicted - reference).sum()
        axes.set_title(f"{name}, {drawn} of {len(cases)} {rows_are}", fontsize=11, loc="left")


def _bland_altman(axes: Axes, predicted: np.ndarray, reference: np.ndarray, unit: str) -> None:
    difference, mean = predicted - reference, (predicted + reference) / 2
    drawn = np.isfinite(difference)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.plot(mean[drawn], difference[drawn], "o", color=BLUE, alpha=0.65, markersize=5, markeredgewidth=0)
    if drawn.any():
        _limits(axes, difference[drawn], unit)
    axes.set(xlabel=f"Mean of prediction and reference ({unit})", ylabel=f"Prediction {MINUS} reference ({unit})")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(0.08, 0.15)


def _limits(axes: Axes, difference: np.ndarray, unit: str) -> None:
    bias = difference.mean()
    lines = {"bias": bias}
    if len(difference) > 1:
        spread = 1.96 * difference.std(ddof=1)
        lines |= {"+1.96 sd": bias + spread, f"{MINUS}1.96 sd": bias - spread}
    for label, level in lines.items():
        axes.axhline(level, color=BLUE, linewidth=1.2, linestyle="-" if label == "bias" else "--")
        axes.annotate(
            f"{label}: {level:+.1f} {unit}".replace("-", MINUS),
            (1, level),
            xycoords=("axes fraction", "data"),
            xytext=(-2, 3),
            textcoords="offset points",
            ha="right",
            fontsize=8.5,
            color=BLUE,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
        )
