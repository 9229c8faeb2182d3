"""The scores of cases and what they come to, with every value that is not finite counted.

A missed muscle must not improve a mean by dropping out of it: Dice counts it as 0; its infinite distance and its
undefined density cannot enter a mean, so they are left out of mean, sd and standard error and their number stands
beside these. The median keeps infinite values, as the largest.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int16, Shaped

from mskjax import measure

# To be raised when a score changes, so that those of a study's masks are made anew.
EDITION = 1
BONE_REMOVAL = "2-D"  # a dataset holds single slices
CASE_COLUMNS = (
    "case_id",
    "patient_id",
    "slice_index",
    "split",
    "dice",
    "rms_dta_cm",
    "rms_dta_symmetric_cm",
    "sma_cm2",
    "smd_hu",
    "reference_sma_cm2",
    "reference_smd_hu",
    "bone_removal",
)
UNITS = {
    "dice": "",
    "rms_dta_cm": "cm",
    "rms_dta_symmetric_cm": "cm",
    "sma_cm2": "cm2",
    "reference_sma_cm2": "cm2",
    "sma_difference_cm2": "cm2",
    "sma_difference_percent": "%",
    "sma_absolute_difference_percent": "%",
    "smd_hu": "HU",
    "reference_smd_hu": "HU",
    "smd_difference_hu": "HU",
    "smd_difference_percent": "%",
}


@dataclass(frozen=True)
class Statistics:
    """A metric over cases; NaN where too few values are finite.

    Mean, sd (of the sample, n - 1) and standard error, which takes cases as independent, are of the finite values;
    the median is of all but NaN.
    """

    cases: int
    non_finite: int
    mean: float
    sd: float
    standard_error: float
    median: float


Summary = dict[str, Statistics]


def score(
    image_hu: Int16[np.ndarray, "h w"],
    prediction: Shaped[np.ndarray, "h w"],
    reference: Shaped[np.ndarray, "h w"],
    spacing_mm: Float[np.ndarray, "2"],
) -> dict[str, Any]:
    """The scores of one slice, under their column names in cases.csv.

    Dice and distances compare the masks as they are; area and density of the prediction are taken after bone is cut
    out of it, those of the reference are not (study A).
    """
    muscle = measure.remove_bone(image_hu, prediction, spacing_mm)
    return {
        "dice": measure.dice(prediction, reference),
        "rms_dta_cm": measure.rms_dta_cm(prediction, reference, spacing_mm),
        "rms_dta_symmetric_cm": measure.rms_dta_symmetric_cm(prediction, reference, spacing_mm),
        "sma_cm2": measure.muscle_area_cm2(muscle, spacing_mm),
        "smd_hu": measure.muscle_density_hu(image_hu, muscle),
        "reference_sma_cm2": measure.muscle_area_cm2(reference, spacing_mm),
        "reference_smd_hu": measure.muscle_density_hu(image_hu, reference),
        "bone_removal": BONE_REMOVAL,
    }


def with_differences(cases: pd.DataFrame) -> pd.DataFrame:
    """`cases` and the differences predicted minus reference, in units and in percent of the reference.

    Percent of a density is of its size without sign, so that the difference keeps its own. NaN or infinite where the
    reference is 0 or has no density.
    """
    area, density = cases["reference_sma_cm2"], cases["reference_smd_hu"]
    more = pd.DataFrame({"sma_difference_cm2": cases["sma_cm2"] - area, "smd_difference_hu": cases["smd_hu"] - density})
    more["sma_difference_percent"] = 100 * more["sma_difference_cm2"] / area
    more["sma_absolute_difference_percent"] = more["sma_difference_percent"].abs()
    more["smd_difference_percent"] = 100 * more["smd_difference_hu"] / density.abs()
    return cases.join(more)


def summarise(cases: pd.DataFrame) -> Summary:
    """The statistics of each metric of `UNITS`, in that order."""
    full = with_differences(cases)
    return {name: statistics_of(full[name].to_numpy(float)) for name in UNITS}


def statistics_of(values: Float[np.ndarray, "n"]) -> Statistics:
    """The statistics of one metric's values, a case each."""
    finite, ranked = values[np.isfinite(values)], values[~np.isnan(values)]
    sd = float(finite.std(ddof=1)) if len(finite) > 1 else math.nan
    return Statistics(
        cases=len(values),
        non_finite=len(values) - len(finite),
        mean=float(finite.mean()) if len(finite) else math.nan,
        sd=sd,
        standard_error=sd / math.sqrt(max(len(finite), 1)),
        median=float(np.median(ranked)) if len(ranked) else math.nan,
    )
