"""Muscle area, density and index of the slices of a scan, with bone and without."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int16

from mskjax import measure
from mskjax.measure import cutoffs

MM_PER_CM = 10
EXTRAPOLATED = (
    "the run has learned from outlines that may all be of one level, such as L3: areas and densities of slices at "
    "other levels, and the volume, are extrapolated and not validated"
)


@dataclass(frozen=True)
class Options:
    """What was asked for; `ValueError` where window, sex, height or weight make no sense.

    `hu_window` (lowest, highest) keeps only the mask's pixels within, both ends included. Without `height_m` there is
    no index. `label` and `slices` are the words in which a part of a mask and of a scan were asked for. `level` is the
    slice that cut-offs decide on; without it they decide only on a slice that is measured alone.
    """

    remove_bone: bool
    hu_window: tuple[float, float] | None = None
    height_m: float | None = None
    label: tuple[int | str, ...] | None = None
    slices: str | None = None
    level: int | None = None
    sex: str | None = None
    weight_kg: float | None = None

    def __post_init__(self):
        if self.hu_window is not None:
            measure.within_window(np.zeros((1, 1)), np.zeros((1, 1)), self.hu_window)
        if self.height_m is not None:
            measure.muscle_index_cm2_m2(0.0, self.height_m)
        if self.weight_kg is not None and self.height_m is None:
            raise ValueError(f"a weight of {self.weight_kg:g} kg gives a BMI only with a height; give both, or neither")
        cutoffs.decide((), self.sex, bmi=self.bmi)

    @property
    def bmi(self) -> float | None:
        """Weight over height squared, in kg/m2, where both are known."""
        if self.weight_kg is None or self.height_m is None:
            return None
        return cutoffs.body_mass_index(self.weight_kg, self.height_m)

    def level_in(self, chosen: range) -> int | None:
        """The slice of those measured that cut-offs decide on; `ValueError` where it is not among them."""
        if self.level is None:
            return chosen[0] if len(chosen) == 1 else None
        if self.level not in chosen:
            remedy = "; name one of these with --level" + ", or measure it with --slice" * (self.slices is not None)
            raise ValueError(
                f"level {self.level} is not among the slices {chosen.start} to {chosen.stop - 1} that are measured"
                f"{remedy}"
            )
        return self.level


@dataclass(frozen=True)
class Measurement:
    """The measured mask, empty outside the chosen slices, and one row a slice; areas in cm2, densities in HU.

    A row holds slice_index, sma_cm2, smd_hu and smi_cm2_m2 of the measured mask (NaN where there is no muscle or no
    height), and sma and smd both with bone left in and with bone cut out. `bone_removal` says how bone was looked for:
    "3-D" or "2-D". `volume_cm3` is that of the measured slices, None for a scan of one slice, whose depth has no
    neighbours to tell it. `decisions` are what published cut-offs say of the slice `level`, as `measure.cutoffs.decide`
    gives them; none without a level. `by_volumes` says that a run which has learned volumes made the mask.
    """

    mask: Bool[np.ndarray, "d h w"]
    rows: list[dict[str, Any]]
    bone_removal: str
    options: Options
    volume_cm3: float | None
    level: int | None
    decisions: list[dict[str, Any]]
    by_volumes: bool = False

    @property
    def caution(self) -> str | None:
        """What to know before slices and volume are used: such runs predict levels that nobody has outlined."""
        return EXTRAPOLATED if self.by_volumes and len(self.rows) > 1 else None


def measure_slices(
    image_hu: Int16[np.ndarray, "d h w"],
    muscle: Bool[np.ndarray, "d h w"],
    spacing_mm: Float[np.ndarray, "3"],
    chosen: range,
    options: Options,
    volumetric: bool,
    by_volumes: bool = False,
) -> Measurement:
    """The measurement of the slices `chosen` of a mask on a scan in the axial view.

    `volumetric` looks for bone in all three directions, which needs a straight stack of slices, else slice by slice.
    `by_volumes` says that the mask is by a run that has learned volumes.
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
    level = options.level_in(chosen)
    decisions = [] if level is None else _decisions(rows[level - chosen.start], options)
    volume_cm3 = float(columns["sma_cm2"].sum() * spacing_mm[0]) / MM_PER_CM if len(muscle) > 1 else None
    return Measurement(masks[used], rows, bone_removal, options, volume_cm3, level, decisions, by_volumes)


def _decisions(row: dict[str, Any], options: Options) -> list[dict[str, Any]]:
    values = {name: row[name] for name in ("sma_cm2", "smi_cm2_m2", "smd_hu")}
    return cutoffs.decide(cutoffs.read(), options.sex, **values, bmi=options.bmi)


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
