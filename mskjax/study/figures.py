"""Figures of an evaluation, as the bytes of a PNG."""

import io

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, GREY = "#0072B2", "#59646E"  # Okabe and Ito's blue
MINUS = "\N{MINUS SIGN}"
MEASURED = ("sma_cm2", "reference_sma_cm2", "smd_hu", "reference_smd_hu")


def agreement(cases: pd.DataFrame) -> bytes:
    """Bland-Altman plots of muscle area and density: difference against mean, with bias and 95 % limits of agreement.

    Cases without a finite difference are not drawn; each panel's title says how many of all are.
    """
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    area, density = figure.subplots(1, 2)
    columns = {name: cases[name].to_numpy(float) for name in MEASURED}
    _bland_altman(area, columns["sma_cm2"], columns["reference_sma_cm2"], "Muscle area", "cm²")
    _bland_altman(density, columns["smd_hu"], columns["reference_smd_hu"], "Muscle density", "HU")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160, metadata={"Software": None})
    return buffer.getvalue()


def _bland_altman(axes: Axes, predicted: np.ndarray, reference: np.ndarray, name: str, unit: str) -> None:
    difference, mean = predicted - reference, (predicted + reference) / 2
    drawn = np.isfinite(difference)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.plot(mean[drawn], difference[drawn], "o", color=BLUE, alpha=0.65, markersize=5, markeredgewidth=0)
    if drawn.any():
        _limits(axes, difference[drawn], unit)
    axes.set(xlabel=f"Mean of prediction and reference ({unit})", ylabel=f"Prediction {MINUS} reference ({unit})")
    axes.set_title(f"{name}, {drawn.sum()} of {len(drawn)} cases", fontsize=11, loc="left")
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
        )
