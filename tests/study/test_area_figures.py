"""What the figures of a study of muscle masks draw."""

import numpy as np
import pandas as pd
from invented_sarcopenia import SIDE, invent_dataset

from mskjax.data.dataset import read_dataset
from mskjax.measure.cutoffs import read
from mskjax.study import area_examples, area_figures

AREAS = [(100.0, 90.0, "M"), (150.0, 160.0, "M"), (80.0, 95.0, "F"), (70.0, 0.0, "")]
FREEMAN = [rule for rule in read() if rule.key == "freeman"]


def drawn_of(init="smit", shuffle=0):
    table = pd.DataFrame(AREAS, columns=["reference_sma_cm2", "sma_cm2", "sex"])
    return table.assign(init=init, shuffle=shuffle, part="test", case_id=list("abcd"), dice=[0.9, 0.8, 0.7, 0.0])


def test_figure_3_has_a_dot_a_test_and_a_ring_where_validation_is_best(canvases):
    cases = pd.concat([drawn_of(), drawn_of(shuffle=1), drawn_of("random")])
    cells = [("smit", 0, 0.8), ("smit", 1, 0.9), ("random", 0, 0.5)]
    shuffles = pd.DataFrame(cells, columns=["init", "shuffle", "validation_dice_mean"])
    area_figures.dice_figure(cases, shuffles)
    axes = canvases["figure_3"].axes[0]
    dots = [line for line in axes.lines if len(line.get_ydata()) == 4]
    assert [list(line.get_ydata()) for line in dots] == [[0.9, 0.8, 0.7, 0.0]] * 3
    means = [line for line in axes.lines if len(line.get_ydata()) == 1]
    assert {round(line.get_ydata()[0], 9) for line in means} == {0.6}
    rings = [line for line in means if line.get_markerfacecolor() == "none"]
    assert [round(line.get_xdata()[0]) for line in rings] == [1, 0], "smit's is shuffle 1"
    words = [text.get_text() for text in canvases["figure_3"].legends[0].get_texts()]
    assert words == ["SMIT, pretrained", "Random weights"]


def test_areas_are_drawn_by_sex_with_the_cut_offs_that_decide(canvases):
    plate = area_figures.areas_figure(pd.concat([drawn_of(), drawn_of("random")]), "smit", FREEMAN)
    axes = canvases["figure_areas"].axes[0]
    dashed = {line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == "--" and line.get_ydata()[0] == 0}
    assert dashed == {144, 92}
    points = {line.get_label(): line.get_xydata().tolist() for line in axes.lines if line.get_linestyle() == "None"}
    assert points == {"men, 2": [[100, 90], [150, 160]], "women, 1": [[80, 95]], "sex not known, 1": [[70, 0]]}
    assert axes.get_xlim() == axes.get_ylim() and axes.get_xlim()[0] <= -5 and axes.get_xlim()[1] >= 165
    assert axes.get_legend() is None, "which would cover lines and points"
    assert [text.get_text() for text in canvases["figure_areas"].legends[0].get_texts()] == list(points)
    assert "4 predictions of 4 cases" in plate.caption and "decide otherwise" in plate.caption
    of_index = [rule for rule in read() if rule.key == "prado2008"]
    assert "Dashed" not in area_figures.areas_figure(drawn_of(), "smit", of_index).caption
    assert not [line for line in canvases["figure_areas"].axes[0].lines if line.get_linestyle() == "--"]


def test_cut_offs_beyond_all_areas_are_not_on_the_rim(canvases):
    area_figures.areas_figure(drawn_of().iloc[:1], "smit", FREEMAN)
    low, high = canvases["figure_areas"].axes[0].get_xlim()
    assert low <= 85 and high >= 149


def test_examples_are_from_the_worst_to_the_best():
    cases = pd.DataFrame({"dice": [0.5, 0.9, 0.1, 0.7, 0.3, 0.6, 0.8], "case_id": list("abcdefg")})
    assert area_examples.choose(cases)["dice"].tolist() == [0.1, 0.5, 0.7, 0.9]
    assert area_examples.choose(cases.head(2))["case_id"].tolist() == ["a", "b"]
    ties = cases.assign(dice=1.0)
    assert area_examples.choose(ties)["case_id"].tolist() == ["a", "c", "e", "g"]


def test_figures_4_and_5_are_of_each_label(tmp_path, canvases):
    """The slice, both outlines and the predicted mask of each patient; an empty mask has no outline."""
    data = read_dataset(invent_dataset(tmp_path, 2, 1))
    names = data.slices.case_id.tolist()
    assert names == ["n0_0", "n1_0", "s0_0"]
    masks = {name: data.slices.mask[row] > 0 for row, name in enumerate(names)}
    masks["n1_0"] = np.zeros((SIDE, SIDE), bool)
    about = {"part": "test", "sex": ["M", "F", ""], "sarcopenia": [0, 0, 1], "dice": [1.0, 0.0, 1.0]}
    cases = pd.DataFrame(
        {"case_id": names, "sma_cm2": [36.0, 0.0, 36.0], "reference_sma_cm2": [36.0, 49.0, 36.0], **about}
    )
    made = area_examples.figures(cases, masks, data, (-175.0, 250.0), "SMIT, shuffle 1")
    assert [plate.title for plate in made] == [
        "Figure 4: sarcopenic patients, and their predicted masks",
        "Figure 5: patients who are not sarcopenic, and their predicted masks",
    ]
    assert "Tests of SMIT, shuffle 1, by their labels, the worst Dice first" in made[1].caption
    assert len(canvases["figure_4"].axes) == 3
    panels = np.reshape(canvases["figure_5"].axes, (3, 2))
    assert panels[0, 0].get_title(loc="left") + panels[0, 0].get_title() == (
        "woman, Dice 0.00\n0.0 cm² (reference 49.0)"
    )
    assert [len(panel.collections) for panel in panels[1]] == [1, 2]
    assert (panels[2, 0].images[0].get_array().sum(), panels[2, 1].images[0].get_array().sum()) == (0, 36)
    only = area_examples.figures(cases.loc[cases["sarcopenia"] == 0], masks, data, (-175.0, 250.0), "x")
    assert [plate.name for plate in only] == ["figure_5"]
