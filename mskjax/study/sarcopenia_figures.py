"""The figures of study B's classification: AUC of all networks, confusion matrices, ROC curves, reliability diagrams.

All but the first show each network under the policy that validation prefers.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mskjax.measure.diagnosis import roc_curve
from mskjax.study import plates
from mskjax.study.plates import GREY, INK, Plate
from mskjax.study.sarcopenia_findings import called
from mskjax.study.sarcopenia_scores import COUNTS, Pair, pairs
from mskjax.study.sarcopenia_tables import POOLED, SHOWN

# Okabe and Ito's, which the colour-blind tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "D", "^", "v", "P")
_BLUE = COLOURS[0]
_PANEL_INCHES, _COLUMNS = 2.9, 4


def auc_figure(shuffles: pd.DataFrame, table_1: pd.DataFrame) -> Plate:
    """Figure 1: the AUC of every network and policy, a dot a shuffle, with mean and interval."""
    networks, policies = (list(dict.fromkeys(shuffles[name])) for name in ("network", "policy"))
    means = {pair: rows.iloc[0] for pair, rows in pairs(table_1)}
    step = 0.8 / len(policies)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for (network, policy), rows in pairs(shuffles):
            place = policies.index(policy)
            middle = networks.index(network) + (place - (len(policies) - 1) / 2) * step
            _draw_aucs(axes, middle, step, rows["auc"].to_numpy(float), means[network, policy], place)
        axes.axhline(0.5, color=GREY, linewidth=0.8, linestyle=":")
        axes.set(xticks=range(len(networks)), xlim=(-0.5, len(networks) - 0.5), ylabel="AUC of a shuffle's test")
        axes.set_xticklabels([called(network) for network in networks])
        axes.set_ylim(top=1.02)
        handles = [Line2D([], [], color=_colour(i), marker=_marker(i), label=name) for i, name in enumerate(policies)]
        figure.legend(handles=handles, loc="outside upper center", ncols=len(policies))

    return plates.make(
        "figure_1",
        "Figure 1: AUC of every network and policy",
        "Dots of each network's and policy's AUC in the test of each shuffle, with mean and 95 % interval",
        "A pale dot is the test of one shuffle. Beside them the mean, with its 95 % interval by a bootstrap over "
        "patients where there is one. The dotted line is guessing.",
        (7.6, 4.0),
        draw,
    )


def confusion_figure(confusion: pd.DataFrame, chosen: Sequence[Pair]) -> Plate:
    """Figure 3a: the confusion matrices of networks, above of the shown shuffle, below of all shuffles together."""
    known = dict(pairs(confusion))

    def draw(figure: Figure) -> None:
        panels = figure.subplots(2, len(chosen), squeeze=False)
        for column, pair in zip(panels.T, chosen, strict=True):
            rows = known[pair].set_index("scope")
            for axes, scope in zip(column, (SHOWN, POOLED), strict=True):
                _draw_matrix(axes, rows.loc[scope, list(COUNTS)].to_numpy(int).reshape(2, 2))
            column[0].set_title(f"{_name(pair)}\nshuffle {rows.loc[SHOWN, 'shuffle']}", fontsize=9.5)
            column[1].set_title("all shuffles", fontsize=9.5)
        for axes in panels.flat:
            axes.set(xticks=(0, 1), yticks=(0, 1))
            axes.set_xticklabels(["no", "yes"] if axes in panels[1] else ["", ""])
            axes.set_yticklabels(["no", "yes"])
        figure.supxlabel("called sarcopenic", fontsize=9.5, color=INK)
        figure.supylabel("truly sarcopenic", fontsize=9.5, color=INK)

    return plates.make(
        "figure_3a",
        "Figure 3a: confusion matrices",
        "Test cases by truth and decision, for each network under its best policy",
        "Each network under the policy of its highest mean validation AUC, at the thresholds that validation cases "
        "chose. Above the test of the shuffle with the best validation AUC, below the tests of all shuffles together. "
        "Shades are shares of a row.",
        (max(2.2 * len(chosen), 4.4), 4.8),
        draw,
    )


def roc_figure(cases: pd.DataFrame, shuffles: pd.DataFrame, chosen: Sequence[Pair]) -> Plate:
    """The ROC curves of each shuffle's test, their mean, and where the chosen thresholds lie."""
    tests, cells = dict(pairs(cases.loc[cases["split"] == "test"])), dict(pairs(shuffles))
    return _panels(
        "figure_roc",
        "ROC curves",
        "ROC curves of each network under its best policy, a thin line a shuffle",
        "Each network under the policy of its highest mean validation AUC. Thin lines are tests of single shuffles, "
        "the thick one is the mean of their sensitivities at each false positive rate. Circles are the thresholds that "
        "validation cases chose, larger where several shuffles share a place.",
        chosen,
        lambda axes, pair: _draw_roc(axes, tests[pair], cells[pair]),
        ("False positive rate", "Sensitivity"),
    )


def calibration_figure(calibration: pd.DataFrame, chosen: Sequence[Pair]) -> Plate:
    """Reliability diagrams of the test cases of all shuffles together."""
    known = dict(pairs(calibration))
    return _panels(
        "figure_calibration",
        "Calibration",
        "Share of sarcopenic test cases against their mean probability, for each network under its best policy",
        "Each network under the policy of its highest mean validation AUC, the test cases of all shuffles pooled. Bars "
        "are Wilson's 95 % intervals, which take cases as independent: too narrow where shuffles share patients. "
        "Beside each point stands how many cases its bin holds; on the diagonal, probabilities mean what they say.",
        chosen,
        lambda axes, pair: _draw_calibration(axes, known[pair]),
        ("Mean probability", "Share of sarcopenic cases"),
    )


def _draw_aucs(axes: Axes, middle: float, step: float, values: np.ndarray, mean: pd.Series, place: int) -> None:
    spread = np.linspace(-0.28, 0.16, len(values)) * step if len(values) > 1 else np.zeros(1)
    axes.plot(middle + spread, values, "o", color=_colour(place), alpha=0.35, markersize=3.6, markeredgewidth=0)
    at = middle + 0.34 * step
    axes.plot([at, at], [mean["auc_low"], mean["auc_high"]], color=_colour(place), linewidth=1.6)
    axes.plot([at], [mean["auc_mean"]], _marker(place), color=_colour(place), markersize=6)


def _draw_matrix(axes: Axes, counts: np.ndarray) -> None:
    """Rows are the truth and columns the decision, the negative first."""
    total = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, total, out=np.zeros((2, 2)), where=total > 0)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        ink = "white" if shares[row, column] > 0.6 else INK
        told = f"{count}\n{100 * shares[row, column]:.0f} %" if total[row] else f"{count}"
        axes.text(column, row, told, ha="center", va="center", color=ink, fontsize=9)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _panels(
    name: str,
    title: str,
    description: str,
    caption: str,
    chosen: Sequence[Pair],
    draw_one: Callable[[Axes, Pair], None],
    labels: tuple[str, str],
) -> Plate:
    """A plate of one square panel a network."""
    columns = min(len(chosen), _COLUMNS)
    rows = math.ceil(len(chosen) / columns)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(rows, columns, squeeze=False)
        for axes in panels.flat[len(chosen) :]:
            axes.set_axis_off()
        for axes, pair in zip(panels.flat, chosen, strict=False):
            axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
            draw_one(axes, pair)
            axes.set_title(_name(pair), fontsize=9.5)
            axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", xlabel=labels[0])
        for axes in panels[:, 0]:
            axes.set_ylabel(labels[1])

    size = (_PANEL_INCHES * columns, (_PANEL_INCHES + 0.5) * rows)
    return plates.make(name, title, description, caption, size, draw)


def _draw_roc(axes: Axes, tests: pd.DataFrame, cells: pd.DataFrame) -> None:
    grid, heights = np.linspace(0, 1, 501), []
    for _, own in tests.groupby("shuffle", sort=False):
        curve = roc_curve(own["label"].to_numpy(), own["probability"].to_numpy())
        axes.plot(curve.false_positive_rate, curve.true_positive_rate, color=_BLUE, alpha=0.25, linewidth=0.9)
        heights.append(np.interp(grid, curve.false_positive_rate, curve.true_positive_rate))
    mean = np.concatenate([[0], np.mean(heights, axis=0)])
    axes.plot(np.concatenate([[0], grid]), mean, color=_BLUE, linewidth=2)
    points, times = np.unique(np.stack([1 - cells["specificity"], cells["recall"]], axis=1), axis=0, return_counts=True)
    axes.scatter(
        *points.T, s=16 * times, facecolor="none", edgecolor=COLOURS[1], linewidth=1.1, zorder=3, clip_on=False
    )
    axes.text(0.97, 0.04, f"mean AUC {cells['auc'].mean():.2f}", ha="right", transform=axes.transAxes, fontsize=9)


def _draw_calibration(axes: Axes, bins: pd.DataFrame) -> None:
    own = bins.loc[bins["cases"] > 0]
    observed = own["observed"].to_numpy(float)
    errors = np.abs(own[["observed_low", "observed_high"]].to_numpy(float).T - observed)
    axes.errorbar(own["predicted"], observed, errors, fmt="o-", color=_BLUE, linewidth=1.2, capsize=2, markersize=4)
    for x, y, count in zip(own["predicted"], observed, own["cases"], strict=True):
        shift = 5 if y < 0.15 else -9  # clear of the axis, else of the line, which mostly rises
        axes.annotate(
            str(count), (x, y), xytext=(4, shift), textcoords="offset points", fontsize=8, color=GREY, clip_on=False
        )


def _name(pair: Pair) -> str:
    return f"{called(pair[0])}\n{pair[1]}"


def _colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def _marker(place: int) -> str:
    return MARKERS[place % len(MARKERS)]
