"""Figures 3b and 3c of study B: Grad-CAM and LIME of tests of the network that validation prefers.

Drawn from the maps that launch.explain leaves in the cell's folder: LIME takes a thousand forward passes a case, for
which results should not wait.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mskjax.data import batches
from mskjax.data.dataset import Dataset
from mskjax.study import explanation_folder, plates
from mskjax.study.explanation_folder import Explanations
from mskjax.study.explanation_pictures import DECISIONS, panel
from mskjax.study.plates import Plate

_PANEL_INCHES = 2.4
# Label and decision of the cases that are shown, in their order.
_OUTCOMES = {
    (1, 1): "rightly sarcopenic",
    (1, 0): "missed",
    (0, 1): "wrongly sarcopenic",
    (0, 0): "rightly not",
}
_WORDS = {
    "grad_cam": (
        "figure_3b",
        "Figure 3b: Grad-CAM",
        "The map is 1 where layer {layer} speaks most for the class, and 0 where it does not.",
    ),
    "lime": (
        "figure_3c",
        "Figure 3c: LIME",
        "A superpixel's colour is its coefficient: red speaks for the class, blue against it. Each map has its scale.",
    ),
}


@dataclass(frozen=True)
class _Shown:
    """A case of a figure: the words above it, the case as `Slices.case` gives it, its map, whether sides are known."""

    told: str
    case: tuple[Any, Any, Any]
    values: np.ndarray
    sided: bool


def figures(
    cell: str, explained: Explanations | None, tests: pd.DataFrame, data: Dataset, window: tuple[float, float]
) -> list[Plate]:
    """Figures 3b and 3c as far as the explanations of a cell have maps of its tests; `cell` is how it is called.

    `tests` are the cell's rows of cases.csv. Values of slices are shown from the one to the other of `window`.
    """
    names, maps = explanation_folder.read_maps(explained) if explained else ([], {})
    own = tests.loc[tests["case_id"].astype(str).isin(names)]
    if explained is None or own.empty:
        return []
    table = pd.read_csv(explained.table, dtype={"case_id": str})
    chosen = list(_chosen(own))
    known = {method: values for method, values in maps.items() if method in _WORDS}
    made = []
    for method, values in known.items():
        rows = table.loc[(table["method"] == method) & table["case_id"].isin([row["case_id"] for row in chosen])]
        shown = [_shown(row, values[names.index(row["case_id"])], data) for row in chosen]
        made.append(_plate(method, cell, shown, rows, chosen[0]["threshold"], window))
    return made


def _chosen(tests: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Of each outcome the case that the network is surest of, the first by case id of equally sure ones."""
    sure = (tests["probability"] - tests["threshold"]).abs()
    ordered = tests.assign(sure=-sure, case_id=tests["case_id"].astype(str)).sort_values(["sure", "case_id"])
    for label, decision in _OUTCOMES:
        rows = ordered.loc[(ordered["label"] == label) & (ordered["decision"] == decision)]
        yield from rows.head(1).to_dict("records")


def _shown(row: dict[str, Any], square: np.ndarray, data: Dataset) -> _Shown:
    case = data.slices.case(list(map(str, data.slices.case_id)).index(row["case_id"]))
    image, _, spacing_mm = case
    told = f"{_OUTCOMES[row['label'], row['decision']]}\nprobability {row['probability']:.3f}"
    return _Shown(told, case, batches.unfit(square, image.shape, spacing_mm), sided=data.values == "hu")


def _plate(
    method: str, cell: str, shown: list[_Shown], rows: pd.DataFrame, threshold: float, window: tuple[float, float]
) -> Plate:
    def draw(figure: Figure) -> None:
        panels = figure.subplots(2, len(shown), squeeze=False)
        for (above, below), one in zip(panels.T, shown, strict=True):
            panel(figure, above, one.case, window, one.sided)
            panel(figure, below, one.case, window, one.sided, method, one.values, "bottom")
            above.set_anchor("N")
            below.set_anchor("N")
            above.set_title(one.told, fontsize=9.5)

    name, title, how = _WORDS[method]
    outlined = ", the muscle outlined" if any(one.case[1].any() for one in shown) else ""
    told = how.format(layer=rows["layer"].iloc[0])
    decides = f"It decides for sarcopenic from a probability of {threshold:.3f} on, the threshold of validation."
    caption = (
        f"{cell}, whose tests figure 3a shows above: of each outcome that there is the case of which it is surest. "
        f"{decides} "
        f"Above the slice{outlined}, below what speaks for {_explained(rows)}. {told}"
    )
    # Bodies are some 0.8 times as high as wide; a title above and a scale below take an inch.
    size = (max(_PANEL_INCHES * len(shown), 2 * _PANEL_INCHES), 1.6 * _PANEL_INCHES + 1)
    return plates.make(name, title, f"Slices of tests of {cell}, and {title[11:]} over them", caption, size, draw)


def _explained(rows: pd.DataFrame) -> str:
    """The class that the maps explain, in words."""
    if rows["explained"].tolist() == rows["decision"].tolist():
        return "the decision"
    return f'the class "{DECISIONS[int(rows["explained"].iloc[0])]}"'
