"""Maps of attribution drawn over a slice: the slice with its mask's outline, then each method's map with its scale.

A map is the more opaque the more it says, so that the anatomy stays to be seen where it says nothing. Grad-CAM, which
has one sign, is in viridis; LIME, which has two, runs from blue (against) to red (for the class). Both are even to the
eye and told apart by the colour-blind. Slices of CT come in the axial view, patient's right on the left; the sides of
bitmaps are not known.
"""

import io
from collections.abc import Mapping
from typing import Any, Literal

import matplotlib
import numpy as np
import pandas as pd
from jaxtyping import Float, Real
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from mskjax.study.overlays import COLOURS, body_box
from mskjax.study.plates import MINUS, STYLE

Extent = tuple[float, float, float, float]
DECISIONS = ("not sarcopenic", "sarcopenic")

_PANEL_INCHES = 3.6
_DOTS_PER_INCH = 150
_OPACITY = 0.75
_SPLITS = {"train": ", training case", "validation": ", validation case", "test": ", test case", "": ""}
_NAMES = {"grad_cam": "Grad-CAM", "lime": "LIME, coefficient of each superpixel"}
_OUTLINE = tuple(channel / 255 for channel in COLOURS[1])


def draw(
    image_hu: Real[np.ndarray, "h w"],
    spacing_mm: Float[np.ndarray, "2"],
    mask: Real[np.ndarray, "h w"],
    maps: Mapping[str, Float[np.ndarray, "h w"]],
    title: str,
    window: tuple[float, float],
    sided: bool,
) -> bytes:
    """The PNG of one case: a panel of the slice, shown from the one to the other value of `window`, and one a method.

    Grad-CAM's scale ends at 1, that of LIME's map at its own largest value. Air around the body is cropped away. R and
    L stand at the sides of a slice that is `sided`.
    """
    height, width = image_hu[body_box(image_hu, [mask > 0], spacing_mm)].shape * spacing_mm
    with matplotlib.rc_context(STYLE):
        # A colour bar takes from the width, titles add to the height.
        rows = 0.85 * _PANEL_INCHES * height / width + 0.4 + 0.2 * len(title.splitlines())
        figure = Figure(figsize=(_PANEL_INCHES * (1 + len(maps)), rows), layout="constrained")
        panels = figure.subplots(1, 1 + len(maps), squeeze=False)[0]
        figure.suptitle(title, fontsize=10, x=0.01, ha="left")
        for axes, name in zip(panels, ("", *maps), strict=True):
            panel(figure, axes, (image_hu, mask, spacing_mm), window, sided, name, maps.get(name))
            axes.set_title(_NAMES[name] if name else "Slice" + ", mask outlined" * bool(mask.any()))
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return png.getvalue()


def panel(
    figure: Figure,
    axes: Axes,
    case: tuple[Any, Any, Any],
    window: tuple[float, float],
    sided: bool,
    method: str = "",
    values: Float[np.ndarray, "h w"] | None = None,
    bar: Literal["right", "bottom"] = "right",
) -> None:
    """Draws a case (image, mask and spacing as of `Slices.case`) as `draw` does, with a method's map over it.

    `bar` is the side of the panel on which the map's scale stands.
    """
    image_hu, mask, spacing_mm = case
    box = body_box(image_hu, [mask > 0], spacing_mm)
    height, width = image_hu[box].shape * spacing_mm
    extent = (0.0, width, height, 0.0)
    axes.imshow(image_hu[box], "gray", vmin=window[0], vmax=window[1], extent=extent)
    if values is not None:
        shown = _colour(axes, values[box], extent, signed=method == "lime")
        scale = figure.colorbar(shown, ax=axes, location=bar, shrink=0.8, pad=0.02)
        scale.outline.set_visible(False)
        if bar == "bottom":
            ends = (shown.norm.vmin, (shown.norm.vmin + shown.norm.vmax) / 2, shown.norm.vmax)
            scale.set_ticks(ends, labels=[f"{end:.2g}".replace("-", MINUS) for end in ends])
    if mask[box].any():
        _outline(axes, mask[box], extent)
    axes.set_axis_off()
    for side, x, aligned in (("R", 0.02, "left"), ("L", 0.98, "right")) if sided else ():
        axes.text(x, 0.5, side, color="white", ha=aligned, transform=axes.transAxes)


def heading(row: Mapping[str, Any]) -> str:
    """What stands above a case's picture, from one of its rows: split, label, decision and what the maps explain."""
    label = "not known" if pd.isna(row["label"]) else DECISIONS[int(row["label"])]
    decided = f"probability of sarcopenia {row['probability']:.3f}, threshold {row['threshold']:.3f}"
    return (
        f"{row['case_id']}{_SPLITS[row['split']]}, label: {label}\nDecision: {DECISIONS[row['decision']]} ({decided})\n"
        f"The maps show what speaks for: {DECISIONS[row['explained']]}"
    )


def _colour(axes: Axes, values: Float[np.ndarray, "h w"], extent: Extent, signed: bool) -> Any:
    """Draws a map; its scale."""
    highest = float(np.abs(values).max() if signed else 1) or 1.0
    scale: dict[str, Any] = {
        "cmap": "RdBu_r" if signed else "viridis",
        "vmin": -highest if signed else 0.0,
        "vmax": highest,
    }
    opacity = _OPACITY * np.abs(values) / highest
    axes.imshow(values, alpha=opacity, extent=extent, **scale)
    return ScalarMappable(Normalize(scale["vmin"], highest), scale["cmap"])


def _outline(axes: Axes, mask: Real[np.ndarray, "h w"], extent: Extent) -> None:
    """The mask's edge, halfway between the centres of the pixels inside and outside; closed at the picture's edge."""
    rows, columns = mask.shape
    down, across = extent[2] / rows, extent[1] / columns
    y, x = (np.arange(-1, count + 1) + 0.5 for count in (rows, columns))
    axes.contour(x * across, y * down, np.pad(mask > 0, 1).astype(float), [0.5], colors=[_OUTLINE], linewidths=0.9)
