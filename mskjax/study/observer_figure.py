"""Figure 2 of study A: one test slice as all readers and the expert outlined it.

Outlines are vectors in millimetres, through the edges between the masks' pixels; beside the slice stands an enlarged
part, where the readers disagree the most with each other. Seen from the feet, the patient's right on the left.
"""

import itertools
import statistics
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Real
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from scipy import ndimage

from mskjax.measure.checks import Spacing, Values, as_mask, as_spacing_mm, same_shape
from mskjax.study import plates
from mskjax.study.case_scores import of_readers
from mskjax.study.overlays import SCALE_BAR_MM, WINDOW_HU, body_box
from mskjax.study.plates import Plate

EXPERT = "#FFFFFF"
# Light enough for grey muscle and dark fat; after ten readers the colours return with broken lines.
READERS = ("#56B4E9", "#E69F00", "#F0E442", "#00C08B", "#FF6F4E", "#E78AC3", "#5AE4F2", "#B8A2FF", "#A6D854", "#D9A066")
_DETAIL_MM = 64.0


def typical_case(cases: pd.DataFrame) -> str:
    """The case whose mean reader Dice is nearest to the median over cases, the first by name of equally near ones.

    `cases` are rows of cases.csv. Raises `ValueError` where no reader drew.
    """
    readers = of_readers(cases)
    if readers.empty:
        raise ValueError("no readers' outlines are among the scores; name them in the config's field observers")
    dice = {str(case_id): float(np.mean(rows["dice"].to_numpy(float))) for case_id, rows in readers.groupby("case_id")}
    middle = statistics.median(dice.values())
    return min(sorted(dice), key=lambda case_id: round(abs(dice[case_id] - middle), 9))


def observer_figure(
    case_id: str,
    image_hu: Real[np.ndarray, "h w"],
    spacing_mm: Spacing,
    expert: Values,
    readers: Mapping[str, Values],
) -> Plate:
    """Figure 2 of one slice, the expert's mask and at least one reader's, each of the slice's shape."""
    if not readers:
        raise ValueError(f"no reader outlined case {case_id}; choose a case of the readers' table")
    masks = {"expert": expert, **{_label(name): mask for name, mask in readers.items()}}
    for name, mask in masks.items():
        same_shape(image_hu, mask, f"the image of case {case_id}", name)
    outlined = {name: as_mask(mask, name) for name, mask in masks.items()}
    draw = partial(_draw, image_hu=image_hu, masks=outlined, spacing=as_spacing_mm(spacing_mm, 2))
    count = f"{len(readers)} readers" if len(readers) > 1 else "one reader"
    caption = (
        f"Case {case_id}, whose mean reader Dice is the nearest to the median of all cases, outlined by {count} and "
        "the expert (white). Right, enlarged: the part in which readers disagree the most. Window 400 HU wide about "
        "50 HU; R is the patient's right."
    )
    description = f"CT slice of case {case_id} with the outlines of {count} and the expert in different colours"
    return plates.make("figure_2", "Figure 2", description, caption, (10, 4.9), draw)


def _label(name: str) -> str:
    """A reader's name that the expert's cannot be mistaken for, and that a legend does not hide as it does _names."""
    return f"reader {name}" if name == "expert" or name.isdecimal() or name.startswith("_") else name


def _draw(figure: Figure, image_hu: Any, masks: dict[str, Bool[np.ndarray, "h w"]], spacing: Any) -> None:
    figure.set_facecolor("#181818")
    box = body_box(image_hu, list(masks.values()), spacing)
    image, cut = image_hu[box], {name: mask[box] for name, mask in masks.items()}
    height_mm, width_mm = image.shape * spacing
    detail = _detail(np.mean([cut[name] for name in cut if name != "expert"], axis=0), spacing)
    whole, part = figure.subplots(1, 2, width_ratios=[width_mm / height_mm, 1])
    for axes, width in ((whole, 0.7), (part, 1.3)):
        _show(axes, image, cut, spacing, width)
    left, top, side = detail
    part.set(xlim=(left, left + side), ylim=(top + side, top))
    whole.add_patch(Rectangle((left, top), side, side, fill=False, edgecolor="#FFFFFF", linewidth=0.8, linestyle="--"))
    _mark(whole)
    handles = [Line2D([], [], label=name, **style) for name, style in _styles(masks, 1.6).items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=6, labelcolor="#FFFFFF")


def _show(axes: Axes, image_hu: Any, masks: dict[str, Any], spacing: Any, linewidth: float) -> None:
    height_mm, width_mm = image_hu.shape * spacing
    low, high = WINDOW_HU
    axes.imshow(
        image_hu, cmap="gray", vmin=low, vmax=high, extent=(0, width_mm, height_mm, 0), interpolation="bilinear"
    )
    styles = _styles(masks, linewidth)
    for name in [*(name for name in masks if name != "expert"), "expert"]:  # the expert's on top
        # A rim of nothing closes the outlines of masks that reach the edge of the picture.
        mask = np.pad(masks[name], 1).astype(np.float32)
        x, y = ((np.arange(n) - 0.5) * mm for n, mm in zip(mask.shape[::-1], spacing[::-1], strict=True))
        if mask.any():
            style = styles[name]
            axes.contour(
                *(x, y, mask), levels=[0.5], colors=style["color"], linewidths=linewidth, linestyles=style["linestyle"]
            )
    axes.set(xticks=[], yticks=[], xlim=(0, width_mm), ylim=(height_mm, 0))
    axes.spines[:].set_visible(False)


def _styles(masks: Mapping[str, Any], linewidth: float) -> dict[str, dict[str, Any]]:
    """Colour, dash and width of each outline; readers keep theirs by their order."""
    kinds = itertools.cycle(itertools.product(("-", "--"), READERS))
    readers = {name: next(kinds) for name in masks if name != "expert"}
    styles = {name: {"color": colour, "linestyle": dash} for name, (dash, colour) in readers.items()}
    styles = {"expert": {"color": EXPERT, "linestyle": "-"}, **styles}
    return {name: {**style, "linewidth": linewidth} for name, style in styles.items()}


def _detail(share: Float[np.ndarray, "h w"], spacing: Any) -> tuple[float, float, float]:
    """Left, top and side, in mm, of the square in which the readers' votes for muscle are the most divided."""
    size = share.shape * spacing
    side = min(_DETAIL_MM, *size)
    divided = ndimage.uniform_filter(share * (1 - share), np.maximum(side / spacing, 1).astype(int), mode="constant")
    row, column = np.unravel_index(np.argmax(divided), divided.shape)
    top, left = np.clip(np.array([row, column]) * spacing - side / 2, 0, size - side)
    return float(left), float(top), float(side)


def _mark(axes: Axes) -> None:
    """Writes the patient's sides and a scale bar."""
    style = {"color": "#FFFFFF", "transform": axes.transAxes, "fontsize": 10}
    axes.text(0.01, 0.5, "R", ha="left", va="center", **style)
    axes.text(0.99, 0.5, "L", ha="right", va="center", **style)
    bottom = axes.get_ylim()[0] - 4
    axes.plot([4, 4 + SCALE_BAR_MM], [bottom, bottom], color="#FFFFFF", linewidth=1.8)
    axes.text(4, bottom - 3, f"{SCALE_BAR_MM // 10} cm", color="#FFFFFF", fontsize=8.5, va="bottom")
