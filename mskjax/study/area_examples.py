"""Figures 4 and 5 of study B: scans of sarcopenic and of other patients, and the masks that were predicted for them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mskjax.data.dataset import Dataset
from mskjax.study import plates
from mskjax.study.area_scores import of_part
from mskjax.study.overlays import body_box
from mskjax.study.plates import Plate
from mskjax.study.report import number
from mskjax.study.sarcopenia_examples import SEXES, outline

Masks = Mapping[str, Bool[np.ndarray, "_ _"]]
FIGURES = {1: ("figure_4", "sarcopenic patients"), 0: ("figure_5", "patients who are not sarcopenic")}
SHOWN = 4  # patients a figure
_REFERENCE, _PREDICTION = "#56B4E9", "#E69F00"  # Okabe and Ito's, as in overlays
_ROWS = ("slice", "outlined", "predicted mask")
_INCHES = 2.3


def figures(cases: pd.DataFrame, masks: Masks, data: Dataset, window: tuple[float, float], cell: str) -> list[Plate]:
    """Figure 4 of the sarcopenic and figure 5 of the other test cases of one cell, as far as there are any.

    `cases` are rows of cases.csv of that cell, `masks` its predictions, `cell` what the captions call it. Slices are
    shown from the one to the other of `window`, in HU.
    """
    tests, made = of_part(cases, "test"), []
    for label, (name, who) in FIGURES.items():
        own = tests.loc[tests["sarcopenia"] == label]
        if len(own):
            made.append(_plate(name, who, choose(own), len(own), masks, data, window, cell))
    return made


def choose(cases: pd.DataFrame) -> pd.DataFrame:
    """Of many cases four, from the worst Dice to the best in equal steps of rank; ties in the order of case ids."""
    ranked = cases.sort_values(["dice", "case_id"], kind="stable")
    places = np.unique(np.linspace(0, len(ranked) - 1, min(SHOWN, len(ranked))).round().astype(int))
    return ranked.iloc[places]


def _plate(
    name: str,
    who: str,
    chosen: pd.DataFrame,
    count: int,
    masks: Masks,
    data: Dataset,
    window: tuple[float, float],
    cell: str,
) -> Plate:
    rows = {str(case_id): row for row, case_id in enumerate(data.slices.case_id)}

    def draw(figure: Figure) -> None:
        panels = figure.subplots(len(_ROWS), len(chosen), squeeze=False)
        for column, case in zip(panels.T, chosen.to_dict("records"), strict=True):
            case_id = str(case["case_id"])
            _draw(column, data.slices.case(rows[case_id]), masks[case_id], window)
            column[0].set_title(_told({str(key): value for key, value in case.items()}), fontsize=8.5)
        for axes, word in zip(panels[:, 0], _ROWS, strict=True):
            axes.set_ylabel(word)
        handles = [
            Line2D([], [], color=colour, label=word)
            for colour, word in ((_REFERENCE, "reference"), (_PREDICTION, "prediction"))
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=2)

    which = f"{len(chosen)} of {count}, from the worst Dice to the best in equal steps of rank" * (len(chosen) < count)
    digit = name[-1]
    return plates.make(
        name,
        f"Figure {digit}: {who}, and their predicted masks",
        f"Slices of {who} with reference and predicted outlines, and predicted masks",
        f"Tests of {cell}, by their labels{f': {which}' if which else ', the worst Dice first'}. Above the "
        "slice, then both outlines, below the predicted mask, before bone is cut out of it. Seen from the feet.",
        (max(_INCHES * len(chosen), 4.6), _INCHES * 0.72 * len(_ROWS) + 0.8),
        draw,
    )


def _draw(
    column: np.ndarray, case: tuple[np.ndarray, ...], mask: Bool[np.ndarray, "h w"], window: tuple[float, float]
) -> None:
    image_hu, reference, spacing_mm = case
    box = body_box(image_hu, [reference > 0, mask], spacing_mm)
    height_mm, width_mm = image_hu[box].shape * spacing_mm
    extent = (0.0, float(width_mm), float(height_mm), 0.0)
    for axes in column[:2]:
        axes.imshow(image_hu[box], "gray", vmin=window[0], vmax=window[1], extent=extent, interpolation="bilinear")
    for own, colour in ((reference, _REFERENCE), (mask, _PREDICTION)):
        if own.any():
            outline(column[1], own[box], spacing_mm, colour)
    column[2].imshow(mask[box], "gray", vmin=0, vmax=1, extent=extent, interpolation="nearest")
    for axes in column:
        axes.set(xticks=[], yticks=[], xlim=(0, width_mm), ylim=(height_mm, 0))
        axes.spines[:].set_visible(False)
        axes.set_anchor("N")  # in one line, however high the slices are


def _told(case: Mapping[str, Any]) -> str:
    sex = f"{SEXES[case['sex']]}, " if case["sex"] in SEXES else ""
    areas = f"{number(case['sma_cm2'], 1)} cm² (reference {number(case['reference_sma_cm2'], 1)})"
    return f"{sex}Dice {number(case['dice'], 2)}\n{areas}"
