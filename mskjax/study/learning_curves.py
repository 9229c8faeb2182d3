"""Figures 3, 4, 5a and 5b of study A: accuracy and muscle measures against the number of training outlines.

A point is the mean over all predictions of all models of one initialisation and size, with its 95 % confidence
interval (Student's t, the predictions taken as independent as in the paper); the readers' mean is a dotted line within
a band of its standard error. Values that are not finite are left out of means and counted in the caption.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from mskjax.data.splits import counted
from mskjax.study import plates
from mskjax.study.case_scores import by_init_and_n, of_networks, of_readers
from mskjax.study.plates import GREY, MINUS, Look, Plate

CONFIDENCE = 0.95
_SIZE_INCHES = (8.6, 4.3)
_DODGE, _DODGE_OF_AXIS = 0.13, 0.02  # of the distance between two sizes, and at most of the whole axis


@dataclass(frozen=True)
class Curve:
    """One of the figures: a column of cases.csv, or its difference from the expert's where `reference` is given.

    `thins` is true where points may be left out by the study's option.
    """

    name: str
    title: str
    measure: str
    column: str
    reference: str
    unit: str
    decimals: int
    thins: bool


@dataclass(frozen=True)
class Mean:
    """A mean of the finite ones among `values` values; NaN where there are too few of them."""

    values: int
    non_finite: int
    mean: float
    standard_error: float
    low: float
    high: float


CURVES = (
    Curve("figure_3", "Figure 3", "Dice, DSC", "dice", "", "", 3, False),
    Curve("figure_4", "Figure 4", "RMS-DTA", "rms_dta_cm", "", "cm", 3, True),
    Curve("figure_5a", "Figure 5a", "SMD difference", "smd_hu", "reference_smd_hu", "HU", 2, True),
    Curve("figure_5b", "Figure 5b", "SMA difference", "sma_cm2", "reference_sma_cm2", "cm²", 2, False),
)


def learning_curves(cases: pd.DataFrame, leave_out: Sequence[str] = ()) -> list[Plate]:
    """Figures 3, 4, 5a and 5b of the rows of cases.csv, networks and readers.

    `leave_out` names points such as "random:5" that Figures 4 and 5a do not draw and whose mean and standard error the
    caption states; a point that the study lacks is passed over. Raises `ValueError` for words of another form and
    where no network has predicted anything.
    """
    hidden = [parse_point(text) for text in leave_out]
    if of_networks(cases).empty:
        raise ValueError("there are no predictions to draw; train at least one model of the study first")
    return [_plate(cases, curve, hidden if curve.thins else []) for curve in CURVES]


def parse_point(text: str) -> tuple[str, int]:
    """Initialisation and size of a point such as "random:5"; `ValueError` for anything else."""
    init, _, n = text.rpartition(":")
    if not init or not n.isdecimal():
        raise ValueError(f"leave_out holds {text!r}, which is no point; write an initialisation and a size, random:5")
    return init, int(n)


def mean_of(values: Float[np.ndarray, " n"]) -> Mean:
    """Mean, standard error and two-sided 95 % confidence interval by Student's t of the finite values."""
    finite = values[np.isfinite(values)]
    count = len(finite)
    mean = float(finite.mean()) if count else math.nan
    error = float(finite.std(ddof=1)) / math.sqrt(count) if count > 1 else math.nan
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)) * error if count > 1 else math.nan
    return Mean(len(values), len(values) - count, mean, error, mean - reach, mean + reach)


def points(cases: pd.DataFrame, curve: Curve) -> dict[tuple[str, int], Mean]:
    """The mean of each initialisation and size that has predictions, in the order of legend and axis."""
    return {key: mean_of(_values(rows, curve)) for key, rows in by_init_and_n(cases).items()}


def readers_mean(cases: pd.DataFrame, curve: Curve) -> Mean | None:
    """The mean over all outlines of all readers; None where no readers were given."""
    values = _values(of_readers(cases), curve)
    return mean_of(values) if len(values) else None


def caption(cases: pd.DataFrame, curve: Curve, hidden: Sequence[tuple[str, int]] = ()) -> str:
    """What the figure shows, what was left out of it and how many values are not finite."""
    means, readers = points(cases, curve), readers_mean(cases, curve)
    what = "prediction minus expert" if curve.reference else "the networks' predictions against the expert's outlines"
    counts = sorted({mean.values for mean in means.values()})
    fewest = f"{counts[0]} to " if counts[0] < counts[-1] else ""
    each = fewest + counted(counts[-1], "prediction")
    sentences = [
        f"{curve.measure} ({what}) by the number n of training outlines. Each point is the mean over {each}; error "
        "bars are 95 % confidence intervals (Student's t, predictions taken as independent), hidden where narrower "
        "than their marker. Sizes are evenly spaced, and points of one size are set apart.",
        _readers_sentence(cases, readers, curve),
        *(_hidden_sentence(key, means[key], curve) for key in hidden if key in means),
        _non_finite_sentence(means, readers),
    ]
    return " ".join(filter(None, sentences))


def _values(rows: pd.DataFrame, curve: Curve) -> Float[np.ndarray, " n"]:
    values = rows[curve.column].to_numpy(float, na_value=np.nan)
    return values - rows[curve.reference].to_numpy(float, na_value=np.nan) if curve.reference else values


def _readers_sentence(cases: pd.DataFrame, readers: Mean | None, curve: Curve) -> str:
    if readers is None:
        return "No readers were given."
    people = counted(len(set(of_readers(cases)["reader"])), "reader")
    return (
        f"The dotted line is the mean over {counted(readers.values, 'outline')} by {people}, the band its standard "
        f"error: {_plus_minus(readers, curve)}."
    )


def _hidden_sentence(key: tuple[str, int], mean: Mean, curve: Curve) -> str:
    name = plates.looks([key[0]])[key[0]].name
    return f"{name} at n = {key[1]} is not drawn; its mean ± standard error is {_plus_minus(mean, curve)}."


def _non_finite_sentence(means: dict[tuple[str, int], Mean], readers: Mean | None) -> str:
    look = plates.looks(init for init, _ in means)
    counted = {f"{look[init].name}, n = {n}": mean for (init, n), mean in means.items()}
    counted |= {"readers": readers} if readers else {}
    missed = [f"{name}: {mean.non_finite} of {mean.values}" for name, mean in counted.items() if mean.non_finite]
    return f"Not finite and left out of the means: {'; '.join(missed)}." if missed else ""


def _plus_minus(mean: Mean, curve: Curve) -> str:
    if math.isnan(mean.mean):
        return "undefined"
    spread = "" if math.isnan(mean.standard_error) else f" ± {mean.standard_error:.{curve.decimals}f}"
    return f"{mean.mean:.{curve.decimals}f}{spread} {curve.unit}".strip().replace("-", MINUS)


def _plate(cases: pd.DataFrame, curve: Curve, hidden: Sequence[tuple[str, int]]) -> Plate:
    means = {key: mean for key, mean in points(cases, curve).items() if key not in hidden and not math.isnan(mean.mean)}
    draw = partial(_draw, means=means, readers=readers_mean(cases, curve), curve=curve)
    description = f"{curve.measure} against the number of training outlines, one line an initialisation"
    text = caption(cases, curve, hidden)
    return plates.make(curve.name, curve.title, description, text, _SIZE_INCHES, draw)


def _draw(figure: Figure, means: dict[tuple[str, int], Mean], readers: Mean | None, curve: Curve) -> None:
    axes = figure.subplots()
    axes.grid(axis="y", color="#E6EAED", linewidth=0.8)
    axes.set_axisbelow(True)
    if curve.reference:
        axes.axhline(0, color=GREY, linewidth=0.9)
    if readers is not None:
        _draw_readers(axes, readers, curve)
    sizes = sorted({n for _, n in means})
    look = plates.looks(init for init, _ in means)
    for i, init in enumerate(look):
        drawn = {n: means[init, n] for n in sizes if (init, n) in means}
        shift = (i - (len(look) - 1) / 2) * min(_DODGE, _DODGE_OF_AXIS * len(sizes))
        _draw_init(axes, [sizes.index(n) + shift for n in drawn], list(drawn.values()), look[init])
    axes.set_xticks(range(len(sizes)), [str(n) for n in sizes])
    axes.set_xlim(-0.5, max(len(sizes), 1) - 0.5)
    unit = f" ({curve.unit})" if curve.unit else ""
    what = f"{curve.measure}, prediction {MINUS} expert" if curve.reference else curve.measure
    axes.set(xlabel="Training outlines, n", ylabel=what + unit)
    figure.legend(loc="outside upper left", ncols=6, columnspacing=1.4, handletextpad=0.5)


def _draw_readers(axes: Axes, readers: Mean, curve: Curve) -> None:
    label = f"Readers {_plus_minus(readers, curve)}"
    axes.axhline(readers.mean, color=GREY, linestyle=":", linewidth=1.6, label=label)
    if not math.isnan(readers.standard_error):
        ends = readers.mean - readers.standard_error, readers.mean + readers.standard_error
        axes.axhspan(*ends, color=GREY, alpha=0.16, linewidth=0)


def _draw_init(axes: Axes, places: list[float], means: list[Mean], look: Look) -> None:
    middle, low, high = (np.array([getattr(mean, part) for mean in means]) for part in ("mean", "low", "high"))
    axes.plot(places, middle, color=look.colour, alpha=0.45, linewidth=1.1)
    reach = np.nan_to_num([middle - low, high - middle])
    style = {"marker": look.marker, "markersize": 5, "linestyle": "", "capsize": 2.2, "elinewidth": 1.2}
    axes.errorbar(places, middle, reach, color=look.colour, label=look.name, **style)
