"""The picture of a run's losses, as in Figure B1 of study A."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mskjax.files import atomic_path

PREFIX = "validation_"


def plot_curves(rows: Sequence[dict[str, Any]], path: str | Path) -> None:
    """Writes a picture of the losses against the epoch, with a panel for each further measure of validation.

    `rows` are those of metrics.jsonl, at least one. The epoch whose weights were chosen is marked.
    """
    measures = [name for name in rows[-1] if name.startswith(PREFIX) and name != "validation_loss"]
    figure = Figure(figsize=(5 * (1 + len(measures)), 4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 1 + len(measures), squeeze=False)[0]
    _plot(panels[0], rows, "loss", label="training", color="C0")
    if "validation_loss" in rows[-1]:
        _plot(panels[0], rows, "validation_loss", label="validation", color="C1")
    panels[0].set(ylabel="loss", ylim=(0, None))
    for axes, name in zip(panels[1:], measures, strict=True):
        _plot(axes, rows, name, label="validation", color="C1")
        axes.set_ylabel(name.removeprefix(PREFIX))
    for axes in panels:
        _mark_best(axes, rows)
        axes.set_xlabel("epoch")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    with atomic_path(path) as written:
        figure.savefig(written, dpi=150)


def _plot(axes: Axes, rows: Sequence[dict[str, Any]], name: str, label: str, color: str) -> None:
    axes.plot([row["epoch"] for row in rows], [row[name] for row in rows], label=label, color=color)


def _mark_best(axes: Axes, rows: Sequence[dict[str, Any]]) -> None:
    # A run that went on from another run's checkpoint may have its best epoch there.
    for epoch in (row["epoch"] for row in rows if row["step"] == rows[-1]["best_step"]):
        axes.axvline(epoch, color="0.5", linestyle=":", label=f"chosen weights, epoch {epoch}")
