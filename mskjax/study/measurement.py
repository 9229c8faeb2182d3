"""Muscle area, density and index of the slices of a scan, with bone and without."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int16

from mskjax import measure


@dataclass(frozen=True)
class Options:
    """What was asked for; `ValueError` where window or height make no sense.

    `hu_window` (lowest, highest) keeps only the mask's pixels within, both ends included. Without `height_m` there is
    no index. `label` and `slices` are the words in which a part of a mask and of a scan were asked for.
    """

    remove_bone: bool
    hu_window: tuple[float, float] | None = None
    height_m: float | None = None
    label: tuple[int | str, ...] | None = None
    slices: str | None = None

    def __post_init__(self):
        if self.hu_window is not None:
            measure.within_window(np.zeros((1, 1)), np.zeros((1, 1)), self.hu_window)
        if self.height_m is not None:
            measure.muscle_index_cm2_m2(0.0, self.height_m)


@dataclass(frozen=True)
class Measurement:
    """The measured mask, empty outside the chosen slices, and one row a slice; areas in cm2, densities in HU.

    A row holds slice_index, sma_cm2, smd_hu and smi_cm2_m2 of the measured mask (NaN where there is no muscle or no
    height), and sma and smd both with bone left in and with bone cut out. `bone_removal` says how bone was looked for:
    "3-D" or "2-D".
    """

    mask: Bool[np.ndarray, "d h w"]
    rows: list[dict[str, Any]]
    bone_removal: str
    options: Options


def measure_slices(
    image_hu: Int16[np.ndarray, "d h w"],
    muscle: Bool[np.ndarray, "d h w"],
    spacing_mm: Float[np.ndarray, "3"],
    chosen: range,
    options: Options,
    volumetric: bool,
) -> Measurement:
    """The measurement of the slices `chosen` of a mask on a scan in the axial view.

    `volumetric` looks for bone in all three directions, which needs a straight stack of slices, else slice by slice.
    """
    kept = np.zeros_like(muscle)
    kept[chosen.start : chosen.stop] = muscle[chosen.start : chosen.stop]
    bone_removal = "3-D" if volumetric else "2-D"
    masks = {"with_bone": kept, "without_bone": _without_bone(image_hu, kept, spacing_mm, volumetric)}
    if options.hu_window is not None:
        masks = {name: measure.within_window(image_hu, mask, options.hu_window) for name, mask in masks.items()}
    used = "without_bone" if options.remove_bone else "with_bone"
    values = {name: _values(image_hu, mask, spacing_mm, chosen) for name, mask in masks.items()}
    columns = {"slice_index": np.array(chosen), **dict(zip(("sma_cm2", "smd_hu"), values[used], strict=True))}
    columns["smi_cm2_m2"] = _index(columns["sma_cm2"], options.height_m)
    for name, (area, density) in values.items():
        columns |= {f"sma_{name}_cm2": area, f"smd_{name}_hu": density}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*(c.tolist() for c in columns.values()), strict=True)]
    return Measurement(masks[used], rows, bone_removal, options)


def _without_bone(
    image_hu: Int16[np.ndarray, "d h w"],
    muscle: Bool[np.ndarray, "d h w"],
    spacing_mm: Float[np.ndarray, "3"],
    volumetric: bool,
) -> Bool[np.ndarray, "d h w"]:
    if volumetric:
        return measure.remove_bone(image_hu, muscle, spacing_mm)
    planes = zip(image_hu, muscle, strict=True)
    return np.stack([measure.remove_bone(plane, mask, spacing_mm[1:]) for plane, mask in planes])


def _values(
    image_hu: Int16[np.ndarray, "d h w"], mask: Bool[np.ndarray, "d h w"], spacing_mm: np.ndarray, chosen: range
) -> tuple[np.ndarray, np.ndarray]:
    part = slice(chosen.start, chosen.stop)
    area, density = (
        measure.muscle_area_cm2(mask[part], spacing_mm),
        measure.muscle_density_hu(image_hu[part], mask[part]),
    )
    return np.asarray(area), np.asarray(density)


def _index(area_cm2: np.ndarray, height_m: float | None) -> np.ndarray:
    if height_m is None:
        return np.full_like(area_cm2, np.nan)
    return np.asarray(measure.muscle_index_cm2_m2(area_cm2, height_m))
