"""Figure 2 of study B: a sarcopenic and another patient as slice, as outlined slice and as mask."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int16, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mskjax.data.dataset import Dataset
from mskjax.measure import muscle_area_cm2
from mskjax.study import plates
from mskjax.study.overlays import body_box
from mskjax.study.plates import Plate
from mskjax.study.shuffles import CLASSES

_OUTLINE = "#E69F00"  # Okabe and Ito's orange
_PANEL_INCHES = 2.6
SEXES = {"M": "man", "F": "woman"}


@dataclass(frozen=True)
class Example:
    """A patient's slice with the mask, what is known of the patient, in words, and whether it is seen from the feet."""

    told: str
    image_hu: Int16[np.ndarray, "h w"]
    mask: UInt8[np.ndarray, "h w"]
    spacing_mm: Float[np.ndarray, "2"]
    from_feet: bool


def examples(data: Dataset) -> list[Example]:
    """Of each class that has one, sarcopenic first, the labelled case whose muscle is nearest to the class's median.

    Muscle is the area of the mask, or the pixels of a bitmap's; the first by case id of equally near ones.
    """
    found = []
    for label, name in sorted(CLASSES.items(), reverse=True):
        known = data.cases["sarcopenia"].fillna(-1).to_numpy(int)
        of_class = np.flatnonzero((known == label) & data.slices.mask.any(axis=(1, 2))).tolist()
        size = {row: _size(data, row) for row in of_class}
        if not size:
            continue
        middle = np.median(list(size.values()))
        row = min(size, key=lambda row: (abs(size[row] - middle), str(data.slices.case_id[row])))
        found.append(Example(_told(data, row, name, size[row]), *data.slices.case(row), from_feet=data.values == "hu"))
    return found


def examples_figure(
    chosen: list[Example], window: tuple[float, float], seen: str = "Networks see the slice alone."
) -> Plate:
    """Figure 2 of one example or two, values being shown from the one to the other of `window`.

    `seen` says in its caption what of this the networks are given.
    """

    def draw(figure: Figure) -> None:
        panels = figure.subplots(len(chosen), 3, squeeze=False)
        for row, example in zip(panels, chosen, strict=True):
            _draw(row, example, window)
            row[0].set_title(example.told, fontsize=9.5)
        for axes, name in zip(panels[-1], ("slice", "outlined", "mask"), strict=True):
            axes.set_xlabel(name)

    side = " Seen from the feet." if all(example.from_feet for example in chosen) else ""
    return plates.make(
        "figure_2",
        "Figure 2: patients of the cohort",
        "Two patients, each as slice, as slice with the muscle outlined, and as mask",
        "Of each class the case whose muscle is nearest to the class's median: the slice at L3 as the networks' window "
        f"shows it, the muscle outlined, and the mask. {seen}{side}",
        (3 * _PANEL_INCHES, (_PANEL_INCHES * 0.85 + 0.3) * len(chosen)),
        draw,
    )


def _draw(row: Any, example: Example, window: tuple[float, float]) -> None:
    box = body_box(example.image_hu, [example.mask > 0], example.spacing_mm)
    image, mask = example.image_hu[box], example.mask[box]
    height_mm, width_mm = image.shape * example.spacing_mm
    extent = (0.0, float(width_mm), float(height_mm), 0.0)
    low, high = window
    for axes in row[:2]:
        axes.imshow(image, "gray", vmin=low, vmax=high, extent=extent, interpolation="bilinear")
    outline(row[1], mask, example.spacing_mm, _OUTLINE)
    row[2].imshow(mask, "gray", vmin=0, vmax=1, extent=extent, interpolation="nearest")
    for axes in row:
        axes.set(xticks=[], yticks=[], xlim=(0, width_mm), ylim=(height_mm, 0))
        axes.spines[:].set_visible(False)


def outline(axes: Axes, mask: np.ndarray, spacing_mm: np.ndarray, colour: str) -> None:
    """Draws the outline of a mask over a picture whose extent is in mm from the corner of its first pixel."""
    # A rim of nothing closes the outline of a mask that reaches the edge of the picture.
    padded = np.pad(mask, 1).astype(np.float32)
    y, x = ((np.arange(n) - 0.5) * mm for n, mm in zip(padded.shape, spacing_mm, strict=True))
    axes.contour(x, y, padded, levels=[0.5], colors=[colour], linewidths=1.0)


def _size(data: Dataset, row: int) -> float:
    _, mask, spacing_mm = data.slices.case(row)
    return float(muscle_area_cm2(mask, spacing_mm) if data.values == "hu" else mask.sum())


def _told(data: Dataset, row: int, label: str, size: float) -> str:
    about = [SEXES[data.cases["sex"].iloc[row]]] if data.cases["sex"].iloc[row] else []
    about += [f"muscle {size:.0f} cm²"] if data.values == "hu" else []
    return ", ".join([label, *about])
