"""Figures A1, A2 and B1 of study A: how the pretext tasks and a random choice of the models were trained."""

import random
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from mskjax.study import plates
from mskjax.study.plates import GREY, Look, Plate

Rows = Sequence[dict[str, Any]]
TRAINING, VALIDATION = Look("training", "#0072B2", ""), Look("validation", "#D55E00", "")
SHOWN_MODELS = 50
_LOG_FROM = 4.0


def reconstruction(rows: Rows) -> Plate:
    """Figure A1 of the rows of the autoencoder's metrics.jsonl, at least one."""
    caption = f"Mean squared error of the reconstruction pretext task. {_chosen(rows)}"
    draw = partial(_draw_pretext, rows=rows, label="Mean squared error", chance=None)
    description = "Training and validation loss of the reconstruction pretext task against the epoch"
    return plates.make("figure_a1", "Figure A1", description, caption, (9.4, 3.4), draw)


def jigsaw(rows: Rows, permutations: int) -> Plate:
    """Figure A2 of the rows of the jigsaw's metrics.jsonl, at least one; chance is one of `permutations`."""
    accuracy = final_accuracy(rows)
    reached = (
        "" if accuracy is None else f" The weights kept tell {100 * accuracy:.1f} % of the held-out puzzles' orders."
    )
    caption = (
        f"Cross-entropy and accuracy of the jigsaw pretext task, {permutations} orders of nine tiles; the dotted line "
        f"is chance, {100 / permutations:.3g} %.{reached} {_chosen(rows)}"
    )
    draw = partial(_draw_pretext, rows=rows, label="Cross-entropy", chance=1 / permutations)
    description = "Training and validation loss of the jigsaw pretext task against the epoch, and its accuracy"
    return plates.make("figure_a2", "Figure A2", description, caption, (9.4, 3.4), draw)


def final_accuracy(rows: Rows) -> float | None:
    """The validation accuracy of the weights that a jigsaw run kept, from 0 to 1; None where nothing was held out."""
    chosen = _best_row(rows)
    return chosen.get("validation_accuracy") if chosen else None


def choose(names: Sequence[str], count: int = SHOWN_MODELS, seed: int = 0) -> list[str]:
    """Up to `count` of the names, chosen at random and the same for the same names and seed, in order."""
    ordered = sorted(names)
    return sorted(random.Random(seed).sample(ordered, min(count, len(ordered))))


def fine_tuning(runs: Sequence[tuple[str, Rows]], models: int) -> Plate:
    """Figure B1 of runs, each its initialisation and the rows of its metrics.jsonl, out of `models` trained models.

    Runs without rows are not drawn; the caption counts those that are.
    """
    drawn = [(init, rows) for init, rows in runs if rows]
    caption = (
        f"Combined loss (binary cross-entropy and Dice) against the epoch for {len(drawn)} randomly chosen of {models} "
        "models; one line a model, coloured by its initialisation. A line ends where the training stopped."
    )
    description = "Training and validation losses of randomly chosen models against the epoch"
    return plates.make("figure_b1", "Figure B1", description, caption, (9.4, 3.9), partial(_draw_runs, runs=drawn))


def _draw_pretext(figure: Figure, rows: Rows, label: str, chance: float | None) -> None:
    panels = figure.subplots(1, 1 if chance is None else 2, squeeze=False)[0]
    _plot(panels[0], rows, "loss", TRAINING)
    _plot(panels[0], rows, "validation_loss", VALIDATION)
    panels[0].set_ylabel(label)
    _logarithmic(panels[0])
    if chance is not None:
        _plot(panels[1], rows, "accuracy", TRAINING)
        _plot(panels[1], rows, "validation_accuracy", VALIDATION)
        panels[1].axhline(chance, color=GREY, linestyle=":", label=f"chance, {chance:.3g}")
        panels[1].set(ylabel="Accuracy", ylim=(0, 1.02))
    best = _best_row(rows)
    for axes in panels:
        if best:
            axes.axvline(best["epoch"], color=GREY, linewidth=0.8, label=f"kept, epoch {best['epoch']}")
        axes.set_xlabel("Epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()


def _draw_runs(figure: Figure, runs: Sequence[tuple[str, Rows]]) -> None:
    look = plates.looks(init for init, _ in runs)
    training, validation = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, name, title in ((training, "loss", "Training"), (validation, "validation_loss", "Validation")):
        for init, rows in runs:
            _plot(axes, rows, name, look[init], linewidth=0.7, alpha=0.6)
        axes.set(title=title, xlabel="Epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _logarithmic(axes)
    training.set_ylabel("Combined loss")
    validation.tick_params(labelleft=True)
    handles = [Line2D([], [], color=one.colour, label=one.name) for one in look.values()]
    figure.legend(handles=handles, loc="outside upper left", ncols=6)


def _plot(axes: Axes, rows: Rows, name: str, look: Look, linewidth: float = 1.3, alpha: float = 1.0) -> None:
    """Draws one measure where it was recorded; a pretext without held-out patients has none of validation."""
    known = [(row["epoch"], row[name]) for row in rows if row.get(name) is not None]
    if known:
        style = {"color": look.colour, "linewidth": linewidth, "alpha": alpha}
        axes.plot(*zip(*known, strict=True), label=look.name, **style, marker="." if len(known) == 1 else "")


def _logarithmic(axes: Axes) -> None:
    """A logarithmic axis of losses with plain numbers, unless they all lie within a factor of `_LOG_FROM`."""
    drawn = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.lines] or [np.ones(1)])
    low, high = drawn.min(), drawn.max()
    if low > 0 and high / low >= _LOG_FROM:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 1000 else (1,)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="y", color="#E6EAED", linewidth=0.8)


def _best_row(rows: Rows) -> dict[str, Any] | None:
    step = rows[-1].get("best_step")
    return next((row for row in rows if row["step"] == step), None)


def _chosen(rows: Rows) -> str:
    """Which epoch's weights were kept; where nothing validates, the training loss chooses."""
    epochs, best = f"{len(rows)} epochs", _best_row(rows)
    if best is None:
        return f"{epochs}."
    name = "validation_loss" if "validation_loss" in best else "loss"
    word = name.replace("_", " ") if name == "validation_loss" else "training loss, as nothing was held out"
    return f"{epochs}; the weights of epoch {best['epoch']} were kept, those of the lowest {word} ({best[name]:.3g})."
