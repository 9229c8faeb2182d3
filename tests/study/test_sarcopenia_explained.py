"""Figures 3b and 3c: whose maps they show, and what their captions say."""

import numpy as np
import pandas as pd
import pytest

from mskjax.data.dataset import Dataset, stack
from mskjax.study import explanation_folder, sarcopenia_explained
from mskjax.study.explanation_folder import Explanations

SIDE = 8
THRESHOLD = 0.45
# Case, label, probability; the surest of each outcome are d, a, f and g, and b is as sure as a.
CASES = (("g", 0, 0.1), ("c", 1, 0.44), ("b", 1, 0.15), ("a", 1, 0.15), ("d", 1, 0.9), ("e", 0, 0.5), ("f", 0, 0.8))
CASES += (("h", 0, 0.3), ("i", 1, 0.46))
IDS = [case for case, *_ in CASES]
WINDOW = (-175.0, 250.0)


@pytest.fixture
def tests():
    table = pd.DataFrame(CASES, columns=["case_id", "label", "probability"]).assign(threshold=THRESHOLD)
    return table.assign(decision=(table["probability"] >= THRESHOLD).astype(int))


@pytest.fixture
def data():
    """Slices of as many HU as the case's place, in another order than that of the maps."""
    names = sorted(IDS)
    images = [np.full((SIDE, SIDE), i, np.int16) for i in range(len(names))]
    blank = [np.zeros((SIDE, SIDE), np.uint8)] * len(names)
    return Dataset(stack(images, blank, [(1.0, 1.0)] * len(names), names), pd.DataFrame({"case_id": names}), {})


def explained(folder, tests, **about) -> Explanations:
    """Of each case, maps of its place: 0.1 times that of Grad-CAM, and minus it of LIME."""
    table = tests.assign(explained=tests["decision"], layer="relu", **about)
    table = pd.concat([table.assign(method=method) for method in ("grad_cam", "lime")])
    squares = np.stack([np.full((SIDE, SIDE), i, np.float32) for i in range(len(tests))])
    explanation_folder.write(folder, table, [], {"grad_cam": squares / 10, "lime": -squares}, "", {})
    return Explanations((), folder / explanation_folder.TABLE, folder / explanation_folder.MAPS)


def captions(found, tests, data):
    return [plate.caption for plate in sarcopenia_explained.figures("The cell", found, tests, data, WINDOW)]


def test_of_each_outcome_the_surest_case_is_shown_with_its_own_map(tests, data, tmp_path, monkeypatch):
    panel, drawn, titles = sarcopenia_explained.panel, [], []

    def seen(figure, axes, case, window, sided, method="", values=None, *bar):
        drawn.append((method, sorted(IDS)[int(case[0].max())], values))
        titles.append(axes)
        panel(figure, axes, case, window, sided, method, values, *bar)

    monkeypatch.setattr(sarcopenia_explained, "panel", seen)
    plates = sarcopenia_explained.figures("The cell", explained(tmp_path, tests), tests, data, WINDOW)
    assert [plate.name for plate in plates] == ["figure_3b", "figure_3c"]
    assert [axes.get_title("left").replace("\n", ": ") for axes in titles[:8:2]] == [
        "rightly sarcopenic: probability 0.900",
        "missed: probability 0.150",
        "wrongly sarcopenic: probability 0.800",
        "rightly not: probability 0.100",
    ]
    expected = [(shown, case) for case in "dafg" for shown in (False, True)]
    for method, scale, panels in (("grad_cam", 0.1, drawn[:8]), ("lime", -1, drawn[8:])):
        assert [(bool(name), case) for name, case, _ in panels] == expected
        for name, case, values in panels[1::2]:
            assert name == method
            np.testing.assert_allclose(values, scale * IDS.index(case), atol=1e-6)


def test_captions_tell_the_threshold_and_what_is_explained(tests, data, tmp_path):
    grad_cam, lime = captions(explained(tmp_path, tests), tests, data)
    assert "sarcopenic from a probability of 0.450 on, the threshold of validation." in grad_cam
    assert "below what speaks for the decision. The map is 1 where layer relu speaks most" in grad_cam
    assert "below what speaks for the decision. A superpixel" in lime


@pytest.mark.parametrize(("target", "called"), [(1, "sarcopenic"), (0, "not sarcopenic")])
def test_maps_of_one_class_in_all_cases_are_said_to_be_of_it(tests, data, tmp_path, target, called):
    found = explained(tmp_path, tests)
    table = pd.read_csv(found.table).assign(explained=target)
    table.to_csv(found.table, index=False)
    for caption in captions(found, tests, data):
        assert f'below what speaks for the class "{called}".' in caption


def test_only_the_shown_cases_tell_what_is_explained(tests, data, tmp_path):
    found = explained(tmp_path, tests)
    table = pd.read_csv(found.table)
    others = table["case_id"].isin(list("bcehi"))
    table.assign(explained=table["explained"].where(~others, 1 - table["explained"])).to_csv(found.table, index=False)
    for caption in captions(found, tests, data):
        assert "below what speaks for the decision." in caption


@pytest.mark.parametrize("gone", ["table", "maps"])
def test_maps_without_their_table_explain_nothing(tests, data, tmp_path, gone):
    found = explained(tmp_path, tests)
    getattr(found, gone).unlink()
    assert captions(found, tests, data) == []
    assert captions(None, tests, data) == []
