"""Published cut-offs of muscle at L3, and what each of them says of one slice; they are data, in cutoffs.json.

The sets disagree, as their populations, scanners and HU windows do, so that a decision is only worth something together
with its set and its margin: all sets stand side by side.
"""

import functools
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from typing import Any

from mskjax.bounds import PLAUSIBLE_BMI, PLAUSIBLE_WEIGHT_KG
from mskjax.measure.checks import Number
from mskjax.measure.muscle import muscle_index_cm2_m2

DEFAULT = "freeman"
SEXES = ("M", "F")
COLUMNS = ("set", "measure", "units", "value", "cutoff", "margin", "below", "why")
_MISSING = {
    "sma": "the area is not known",
    "smi": "the height is not known",
    "smd": "the density is not known",
}


@dataclass(frozen=True)
class Cutoff:
    """One number of a set `key`: muscle counts as low where `measure` (sma, smi or smd) is below `below` `units`.

    It is of one `sex`, and of those whose BMI in kg/m2 is at least `bmi_from` and below `bmi_below`, None being any.
    """

    key: str
    measure: str
    sex: str
    below: Number
    units: str
    population: str
    source: str
    bmi_from: Number | None = None
    bmi_below: Number | None = None

    @property
    def needs_bmi(self) -> bool:
        """Whether the cut-off is of some BMI only."""
        return self.bmi_from is not None or self.bmi_below is not None

    def is_of(self, bmi: Number | None) -> bool:
        """Whether it is the cut-off of people of this BMI, None where that is not known."""
        if bmi is None:
            return not self.needs_bmi
        return (self.bmi_from is None or bmi >= self.bmi_from) and (self.bmi_below is None or bmi < self.bmi_below)


@functools.cache
def read() -> tuple[Cutoff, ...]:
    """Every published cut-off that is known, set by set, the default set first."""
    found = json.loads(resources.files("mskjax.measure").joinpath("cutoffs.json").read_text(encoding="utf-8"))
    return tuple(
        Cutoff(key=key, population=told["population"], source=told["source"], **row)
        for key, told in found.items()
        for row in told["cutoffs"]
    )


def body_mass_index(weight_kg: Number, height_m: Number) -> float:
    """Weight over height squared, in kg/m2; `ValueError` for numbers that are no person's in these units."""
    low, high = PLAUSIBLE_WEIGHT_KG
    if not low <= weight_kg <= high:
        raise ValueError(f"a weight of {weight_kg:g} kg is not a person's; give it in kilograms, as in 70")
    # Which refuses heights that are no person's. Rounded, as 81 kg at 1.8 m would else be a little below 25.
    bmi = round(float(muscle_index_cm2_m2(weight_kg, height_m)), 6)
    if not PLAUSIBLE_BMI[0] <= bmi <= PLAUSIBLE_BMI[1]:
        raise ValueError(
            f"{weight_kg:g} kg at {height_m:g} m are a BMI of {bmi:.1f}, which is not a person's; give the weight in "
            "kilograms and the height in metres, as in 70 and 1.72"
        )
    return bmi


def decide(
    cutoffs: Iterable[Cutoff],
    sex: str | None,
    sma_cm2: Number | None = None,
    smi_cm2_m2: Number | None = None,
    smd_hu: Number | None = None,
    bmi: Number | None = None,
) -> list[dict[str, Any]]:
    """A row of `COLUMNS` for each set and measure, in the order of `cutoffs`, of one slice at L3.

    `margin` is value minus cut-off and `below` whether it is negative; both are None where something is not known (None
    or NaN), and `why` then says what. A slice without muscle is decided by none: its mask is more likely wrong than its
    patient without muscle. Raises `ValueError` for a sex other than M, F and None.
    """
    if sex not in (*SEXES, None):
        raise ValueError(f"sex is {sex!r}; give M or F")
    values = {"sma": sma_cm2, "smi": smi_cm2_m2, "smd": smd_hu}
    known = {name: value for name, value in values.items() if value is not None and not math.isnan(value)}
    groups: dict[tuple[str, str], list[Cutoff]] = {}
    for cutoff in cutoffs:
        groups.setdefault((cutoff.key, cutoff.measure), []).append(cutoff)
    return [_row(group, sex, known, bmi) for group in groups.values()]


def _row(group: list[Cutoff], sex: str | None, known: dict[str, Number], bmi: Number | None) -> dict[str, Any]:
    """What the cut-offs of one set and measure say."""
    measure, value = group[0].measure, known.get(group[0].measure)
    of_sex = [cutoff for cutoff in group if cutoff.sex == sex]
    chosen = next((cutoff for cutoff in of_sex if cutoff.is_of(bmi)), None)
    row = {"set": group[0].key, "measure": measure, "units": group[0].units, "value": value}
    row |= {"cutoff": chosen and chosen.below, "margin": None, "below": None}
    if known.get("sma") == 0:
        return {**row, "why": "the slice holds no muscle"}
    if value is None or chosen is None:
        lacking = [_MISSING[measure]] * (value is None) + ["the sex is not known"] * (sex is None)
        lacking += ["the BMI is not known"] * (sex is not None and chosen is None)
        return {**row, "why": " and ".join(lacking)}
    return {**row, "margin": value - chosen.below, "below": value < chosen.below, "why": ""}
