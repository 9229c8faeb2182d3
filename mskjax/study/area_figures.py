"""The figures of a study of muscle masks in whole scans: Dice of every shuffle, areas, and agreement."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mskjax.data.splits import counted
from mskjax.measure.cutoffs import Cutoff
from mskjax.study import plates
from mskjax.study.area_findings import called
from mskjax.study.area_scores import by_init, of_part, shown
from mskjax.study.figures import draw_agreement
from mskjax.study.plates import GREY, Plate
from mskjax.study.sarcopenia_figures import COLOURS, MARKERS

SEXES = {"M": "men", "F": "women", "": "sex not known"}
MARGIN = 0.03  # of the range of areas, beside the outermost, so that their marks are whole


def dice_figure(cases: pd.DataFrame, shuffles: pd.DataFrame) -> Plate:
    """Figure 3: the Dice of every shuffle's tests, a dot a case, with their mean; a colour an initialisation."""
    tests, chosen = of_part(cases, "test"), shown(shuffles)
    numbers, step = sorted(set(shuffles["shuffle"])), 0.8 / len(chosen)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for place, (init, rows) in enumerate(by_init(tests)):
            for number, own in rows.groupby("shuffle"):
                middle = numbers.index(number) + (place - (len(chosen) - 1) / 2) * step
                is_shown = chosen[init] == number
                _draw_dice(axes, middle, step, own["dice"].to_numpy(float), place, is_shown)
        axes.set(xticks=range(len(numbers)), xlim=(-0.6, len(numbers) - 0.4), xlabel="Shuffle", ylabel="Dice of a test")
        axes.set_xticklabels([f"{number}" for number in numbers])
        axes.set_ylim(top=1.005)
        handles = [
            Line2D([], [], color=_colour(i), marker=_marker(i), linestyle="", label=called(init))
            for i, init in enumerate(chosen)
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=len(chosen))

    return plates.make(
        "figure_3",
        "Figure 3: Dice in the tests of every shuffle",
        "Dots of the Dice of each test case, shuffle by shuffle, with means",
        "A pale dot is a test case, the large mark beside the dots their mean; a ring marks the shuffle of the best "
        "mean Dice of validation cases. An empty prediction has a Dice of 0.",
        (7.6, 4.0),
        draw,
    )


def areas_figure(tests: pd.DataFrame, init: str, rules: Sequence[Cutoff]) -> Plate:
    """Predicted against reference areas in all tests of `init`, with the cut-offs of areas among `rules`."""
    own = tests.loc[tests["init"] == init]
    lines = {rule.sex: rule.below for rule in rules if rule.measure == "sma"}

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        areas = own[["reference_sma_cm2", "sma_cm2"]].to_numpy(float)
        low, high = np.floor(areas.min() / 10) * 10, np.ceil(areas.max() / 10) * 10
        ends = [*lines.values(), low, high]
        margin = MARGIN * (max(ends) - min(ends)) + 5
        low, high = min(ends) - margin, max(ends) + margin
        axes.plot([low, high], [low, high], color=GREY, linewidth=0.8, linestyle=":")
        for place, (sex, name) in enumerate(SEXES.items()):
            if sex in lines:
                axes.axvline(lines[sex], color=_colour(place), linewidth=0.8, linestyle="--")
                axes.axhline(lines[sex], color=_colour(place), linewidth=0.8, linestyle="--")
            of_sex = areas[(own["sex"] == sex).to_numpy()]
            if len(of_sex):
                style = {"color": _colour(place), "alpha": 0.6, "markersize": 4.5, "markeredgewidth": 0}
                axes.plot(*of_sex.T, _marker(place), label=f"{name}, {len(of_sex)}", **style)
        axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
        axes.set(xlabel="SMA of the reference (cm²)", ylabel="SMA of the prediction (cm²)")
        figure.legend(loc="outside upper center", ncols=len(SEXES))

    drawn = (
        "Dashed are the cut-offs that decide, in the colour of their sex: upper left and lower right of where the two "
        "lines of a colour cross, prediction and reference decide otherwise."
    )
    return plates.make(
        "figure_areas",
        "Predicted and reference area",
        "Predicted against reference muscle area of every test case",
        f"{called(init)}: {counted(len(own), 'prediction')} of {counted(own['case_id'].nunique(), 'case')}, the tests "
        f"of all shuffles. On the dotted line both areas are equal. {drawn if lines else ''}".rstrip(),
        (5.2, 5.0),
        draw,
    )


def agreement_figure(tests: pd.DataFrame, init: str) -> Plate:
    """Bland and Altman's plots of all tests of `init`, in area and density."""
    own = tests.loc[tests["init"] == init]
    caption = (
        f"{called(init)}: difference from the reference against the mean of both, for "
        f"{counted(len(own), 'prediction')} of {counted(own['case_id'].nunique(), 'case')}, the tests of all shuffles. "
        "The solid line is the bias, the dashed lines are the 95 % limits of agreement."
    )
    draw = partial(draw_agreement, cases=own, rows_are="predictions")
    return plates.make(
        "bland_altman", "Agreement", "Bland-Altman plots of muscle area and density", caption, (10, 4.2), draw
    )


def _draw_dice(axes: Axes, middle: float, step: float, values: np.ndarray, place: int, is_shown: bool) -> None:
    spread = np.linspace(-0.3, 0.1, len(values)) * step if len(values) > 1 else np.zeros(1)
    axes.plot(middle + spread, values, "o", color=_colour(place), alpha=0.35, markersize=3.4, markeredgewidth=0)
    at, mean = middle + 0.3 * step, values.mean()
    axes.plot([at], [mean], _marker(place), color=_colour(place), markersize=6)
    if is_shown:
        axes.plot([at], [mean], "o", markerfacecolor="none", markeredgecolor=_colour(place), markersize=12)


def _colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def _marker(place: int) -> str:
    return MARKERS[place % len(MARKERS)]
