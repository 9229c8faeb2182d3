"""The picture of a run's losses, as in Figure B1 of study A."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mskjax.files import atomic_path

PREFIX = "validation_"
COLUMNS = 3  # panels in a row, so that they can be read where the picture is as wide as a page


def plot_curves(rows: Sequence[dict[str, Any]], path: str | Path) -> None:
    """Writes a picture of the losses against the epoch, with a panel for each further measure of validation.

    `rows` are those of metrics.jsonl, at least one. The epoch whose weights were chosen is marked.
    """
    measures = [name for name in rows[-1] if name.startswith(PREFIX) and name != "validation_loss"]
    count = 1 + len(measures)
    columns, rows_of = min(COLUMNS, count), math.ceil(count / COLUMNS)
    figure = Figure(figsize=(max(4 * columns, 5), 3.2 * rows_of + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = [figure.add_subplot(rows_of, columns, place) for place in range(1, count + 1)]
    _plot(panels[0], rows, "loss", label="training", color="C0")
    if "validation_loss" in rows[-1]:
        _plot(panels[0], rows, "validation_loss", label="validation", color="C1")
    panels[0].set(ylabel="loss", ylim=(0, None))
    for axes, name in zip(panels[1:], measures, strict=True):
        _plot(axes, rows, name, label="validation", color="C1")
        axes.set_ylabel(name.removeprefix(PREFIX).replace("_", " "))
    for axes in panels:
        _mark_best(axes, rows)
        axes.set_xlabel("epoch")
        axes.spines[["top", "right"]].set_visible(False)
    lines = {line.get_label(): line for axes in panels for line in axes.lines}
    figure.legend(handles=lines.values(), loc="outside upper center", ncols=len(lines), frameon=False)
    with atomic_path(path) as written:
        figure.savefig(written, dpi=150)


def _plot(axes: Axes, rows: Sequence[dict[str, Any]], name: str, label: str, color: str) -> None:
    axes.plot([row["epoch"] for row in rows], [row[name] for row in rows], label=label, color=color)


def _mark_best(axes: Axes, rows: Sequence[dict[str, Any]]) -> None:
    # A run that went on from another run's checkpoint may have its best epoch there.
    for epoch in (row["epoch"] for row in rows if row["step"] == rows[-1]["best_step"]):
        axes.axvline(epoch, color="0.5", linestyle=":", label=f"chosen weights, epoch {epoch}")
