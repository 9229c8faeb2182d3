"""What published cut-offs say of a measured slice, as a table for people and as files have it.

All cut-offs are of L3. Which slice that is no mask tells, so that only a slice that was named is decided on.
"""

from typing import Any

from mskjax.measure import cutoffs
from mskjax.study.measurement import Measurement

COLUMNS = ("slice_index", *cutoffs.COLUMNS, "population", "source")
_SEXES = {"M": "man", "F": "woman", None: "sex not known"}
_SAID = {True: "below", False: "not below", None: "not decided"}


def rows(measurement: Measurement) -> list[dict[str, Any]]:
    """A row of `COLUMNS` for each set and measure, the default set first; none where no slice was named as L3."""
    about = {cutoff.key: cutoff for cutoff in cutoffs.read()}
    return [
        {
            "slice_index": measurement.level,
            **row,
            "population": about[row["set"]].population,
            "source": about[row["set"]].source,
        }
        for row in measurement.decisions
    ]


def as_csv(row: dict[str, Any]) -> dict[str, Any]:
    """A row with 1 and 0 for below and not, and nothing for what is not known."""
    return {name: "" if value is None else int(value) if name == "below" else value for name, value in row.items()}


def described(measurement: Measurement) -> dict[str, Any]:
    """The decisions and what they are made from, for measurements.json."""
    options = measurement.options
    return {
        "level": measurement.level,
        "sex": options.sex,
        "height_m": options.height_m,
        "weight_kg": options.weight_kg,
        "bmi": options.bmi,
        "default": cutoffs.DEFAULT,
        "by_set": [{name: value for name, value in row.items() if name != "slice_index"} for row in rows(measurement)],
    }


def table(measurement: Measurement) -> list[str]:
    """The decisions for people, in lines; one line says what is lacking where they cannot be made."""
    options = measurement.options
    if measurement.level is None:
        asked = options.sex is not None or options.weight_kg is not None
        return ["no slice is decided on, as none was named; name the one at L3 with --level"] * asked
    if options.sex is None:
        return [f"with --sex, published cut-offs decide on slice {measurement.level}, if that is L3"]
    who = _SEXES[options.sex] + ("" if options.bmi is None else f", BMI {options.bmi:.1f}")
    lines = [
        f"low muscle by published cut-offs ({who}), if slice {measurement.level} is L3; first the default:",
        f"{'set':15} {'measure':11} {'value':>8} {'cut-off':>8} {'margin':>8}",
    ]
    return lines + [_line(row) for row in measurement.decisions]


def _line(row: dict[str, Any]) -> str:
    value, cutoff = (_number(row[name]) for name in ("value", "cutoff"))
    margin = "-" if row["margin"] is None else f"{row['margin']:+.2f}"
    said = _SAID[row["below"]] + (f": {row['why']}" if row["why"] else "")
    measure = f"{row['measure'].upper()} {row['units']}"
    return f"{row['set']:15} {measure:11} {value:>8} {cutoff:>8} {margin:>8}   {said}"


def _number(value: int | float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
