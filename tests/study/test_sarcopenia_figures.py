"""What the figures of a classification study draw."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from invented_sarcopenia import SIDE, invent_dataset

from mskjax.data.dataset import read_dataset
from mskjax.study import sarcopenia_examples, sarcopenia_figures

PAIR = {"network": "densenet121", "policy": "freezeall"}
CHOSEN = [("densenet121", "freezeall")]


def test_figure_1_has_a_dot_a_shuffle_and_the_interval_of_the_mean(canvases):
    shuffles = pd.DataFrame([PAIR | {"shuffle": i, "auc": auc} for i, auc in enumerate((0.5, 0.75, 1.0))])
    table = pd.DataFrame([PAIR | {"auc_mean": 0.75, "auc_low": 0.6, "auc_high": 0.9}])
    sarcopenia_figures.auc_figure(shuffles, table)
    axes = canvases["figure_1"].axes[0]
    dots, interval, mean, guessing = axes.lines
    assert list(dots.get_ydata()) == [0.5, 0.75, 1.0] and len(set(dots.get_xdata())) == 3
    assert (list(interval.get_ydata()), list(mean.get_ydata())) == ([0.6, 0.9], [0.75])
    assert set(guessing.get_ydata()) == {0.5}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["DenseNet121"]


def test_matrices_are_truth_by_decision_above_of_the_shown_shuffle(canvases):
    counts = {"shown shuffle": (9, 1, 2, 1), "all shuffles": (80, 20, 0, 0)}
    rows = [
        PAIR | {"scope": scope, "shuffle": 4} | dict(zip(("tn", "fp", "fn", "tp"), own, strict=True))
        for scope, own in counts.items()
    ]
    sarcopenia_figures.confusion_figure(pd.DataFrame(rows), CHOSEN)
    above, below = canvases["figure_3a"].axes
    assert "shuffle 4" in above.get_title(loc="left") + above.get_title()
    told = {text.get_position(): text.get_text() for text in above.texts}
    assert told[1, 0].startswith("1\n10") and told[0, 1].startswith("2\n67")  # x is the decision, y the truth
    assert {text.get_text() for text in below.texts} == {"80\n80 %", "20\n20 %", "0"}  # no share of nobody


def test_the_mean_roc_curve_has_the_mean_auc_below_it(canvases):
    """Of a perfect test, and of one whose sick case lies below one of two others: 1 and 0.5."""
    score = {0: (0.9, 0.1, 0.2), 1: (0.5, 0.7, 0.1)}
    rows = [
        PAIR | {"shuffle": n, "split": "test", "label": int(i == 0), "probability": own}
        for n, scores in score.items()
        for i, own in enumerate(scores)
    ]
    shuffles = pd.DataFrame(
        [PAIR | {"auc": auc, "recall": 1.0, "specificity": own} for auc, own in ((1.0, 1.0), (0.5, 0.5))]
    )
    sarcopenia_figures.roc_figure(pd.DataFrame(rows), shuffles, CHOSEN)
    axes = canvases["figure_roc"].axes[0]
    mean = axes.lines[-1]
    assert np.trapezoid(mean.get_ydata(), mean.get_xdata()) == pytest.approx(0.75, abs=0.002)
    assert axes.collections[0].get_offsets().tolist() == [[0, 1], [0.5, 1]]
    assert "mean AUC 0.75" in [text.get_text() for text in axes.texts]


def test_reliability_diagrams_leave_out_empty_bins_and_count_the_others(canvases):
    full = {"cases": 7, "predicted": 0.3, "observed": 0.4, "observed_low": 0.2, "observed_high": 0.7}
    empty = dict.fromkeys(full, np.nan) | {"cases": 0}
    sarcopenia_figures.calibration_figure(pd.DataFrame([PAIR | full, PAIR | empty]), CHOSEN)
    axes = canvases["figure_calibration"].axes[0]
    assert [text.get_text() for text in axes.texts] == ["7"]
    low, high = axes.collections[0].get_segments()[0]
    assert low == pytest.approx([0.3, 0.2]) and high == pytest.approx([0.3, 0.7])


def test_examples_are_the_patients_of_median_muscle(tmp_path, canvases):
    """Sides are 6, 7, 8 pixels of 1 cm for the others, 6 to 13 and 6 again for the sick: medians 49 and 81 cm2."""
    data = read_dataset(invent_dataset(tmp_path / "dataset", negative=3, positive=9))
    sick, other = sarcopenia_examples.examples(data)
    assert (sick.told, other.told) == ("sarcopenic, woman, muscle 81 cm²", "not sarcopenic, woman, muscle 49 cm²")
    assert other.mask.sum() == 49 and other.image_hu.shape == (SIDE, SIDE)
    sarcopenia_examples.examples_figure([sick, other], (-175.0, 250.0))
    panels = canvases["figure_2"].axes
    assert len(panels) == 6
    assert panels[0].images[0].get_clim() == (-175, 250)
    assert [len(axes.collections) for axes in panels] == [0, 1, 0] * 2  # the outline
    assert panels[5].images[0].get_array().sum() == 49
    ct, bitmap = (
        sarcopenia_examples.examples_figure([dataclasses.replace(sick, from_feet=known)], (0.0, 255.0)).caption
        for known in (True, False)
    )
    assert ct == f"{bitmap} Seen from the feet."
