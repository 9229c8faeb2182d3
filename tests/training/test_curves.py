"""The picture of a run's losses."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from mskjax.training.curves import plot_curves

MEASURES = ("patch", "image", "reconstruction", "target_entropy", "target_information", "feature_spread", "teacher_lag")


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved in a test."""
    figures, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *args, **how: figures.append(self) or save(self, *args, **how))
    return figures


def rows(measures, epochs=30):
    """Losses and measures that fall from epoch to epoch, of which the 21st is the best."""
    names = ("validation_loss", *(f"validation_{name}" for name in measures))
    return [
        {"epoch": n, "step": 4 * n, "best_step": 4 * 21, "loss": 9 - np.log1p(n)}
        | {name: (place + 1) * (2 + np.exp(-n / 9)) for place, name in enumerate(names)}
        for n in range(1, epochs + 1)
    ]


def test_many_measures_are_drawn_in_rows_of_three(tmp_path, drawn):
    """Eight panels of a pretraining in three rows, none of which is so wide that nobody can read it."""
    plot_curves(rows(MEASURES), tmp_path / "curves.png")
    (figure,) = drawn
    assert len(figure.axes) == 1 + len(MEASURES)
    assert [axes.get_ylabel() for axes in figure.axes][:5] == ["loss", *MEASURES[:3], "target entropy"]
    lefts, bottoms = ({round(getattr(axes.get_position(), side), 2) for axes in figure.axes} for side in ("x0", "y0"))
    assert (len(lefts), len(bottoms)) == (3, 3)
    width, height = figure.get_size_inches()
    assert width <= 12 and 0.7 < height / width < 1
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "training",
        "validation",
        "chosen weights, epoch 21",
    ]


def test_a_run_without_validation_has_one_panel(tmp_path, drawn):
    plot_curves([{"epoch": 1, "step": 4, "best_step": 4, "loss": 1.0}], tmp_path / "curves.png")
    assert len(drawn[0].axes) == 1 and drawn[0].axes[0].get_xlabel() == "epoch"
    assert (tmp_path / "curves.png").stat().st_size > 0
