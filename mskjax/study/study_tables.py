"""The tables of a study's report in the layout of study A's: a row an initialisation, a column a number of outlines.

As in the paper better is bold and worse underlined; below each p stand the difference and p after Holm, and pointing at
a cell shows what else was measured.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from mskjax.study import page, plates
from mskjax.study.page import Cell
from mskjax.study.report import number
from mskjax.study.study_findings import BOOTSTRAP, DUNNETT, StudyFindings

METRICS = {
    "dice": ("Dice (DSC)", "", 3),
    "rms_dta_cm": ("RMS-DTA (cm)", "cm", 3),
    "smd_hu": ("Muscle density, SMD (HU)", "HU", 1),
    "sma_cm2": ("Muscle area, SMA (cm²)", "cm²", 1),
}
NOTHING = "\N{EN DASH}"
_SMALLEST_P = 0.001
_JUDGED = ("dice", "rms_dta_cm")

Row = dict[str, Any]


def dunnett_tables(table: pd.DataFrame, control: str) -> list[str]:
    """Table 1 or 2 as HTML, one block a metric; `control` is who the networks are compared with, in a word."""
    parts = []
    for metric, rows in _by_metric(table).items():
        cells = {(row["init"], row["n"]): _dunnett_cell(row, control) for row in rows}
        name, unit, decimals = METRICS[metric]
        mean = f"{number(rows[0]['control_mean'], decimals)} {unit}".strip()
        parts.append(page.heading(f"{name}: networks against {control}, mean {mean}", 3))
        parts.append(_by_size(cells, "Initialisation", _name))
    return parts


def headline_table(findings: StudyFindings) -> str:
    """The smallest sufficient n of each initialisation by both methods, and what is reached there, as HTML."""
    header = ["Start of training", "Outlines that are enough, by Dunnett's test"]
    header += [f"{METRICS[metric][0]} with so many" for metric in _JUDGED]
    table = _by_metric(findings.table_1)
    resampled = {row["init"]: _enough(row) for row in findings.headline_by(BOOTSTRAP)}
    rows = []
    for row in findings.headline_by(DUNNETT):
        init, n = row["init"], row["n"]
        reached = [_mean_at(table[metric], init, n) for metric in _JUDGED]
        rows.append([_name(init), _enough(row), *reached, resampled.get(init, NOTHING)])
    readers = {metric: rows[0]["control_mean"] for metric, rows in table.items()}
    means = [number(readers[metric], METRICS[metric][2]) for metric in _JUDGED]
    return page.table([*header, "by a bootstrap over patients"], [*rows, ["Readers", "", *means, ""]])


def agreement_tables(table: pd.DataFrame) -> list[str]:
    """Bland and Altman's bias with limits of agreement and the ICC as HTML, one block a measure, readers last."""
    parts = []
    for metric, rows in _by_metric(table).items():
        networks = [row for row in rows if not pd.isna(row["n"])]
        cells = {(row["init"], int(row["n"])): _agreement_cell(row) for row in networks}
        parts.append(page.heading(METRICS[metric][0], 3))
        parts.append(_by_size(cells, "Initialisation", _name))
        parts += [page.paragraph(_readers_agreement(row), "soft") for row in rows if pd.isna(row["n"])]
    return parts


def appendix_c_table(table: pd.DataFrame, alpha: float) -> str:
    """Appendix C as HTML: a row a pair of initialisations, a column a number of outlines."""
    cells = {((row["init"], row["other_init"]), row["n"]): _rank_cell(row, alpha) for row in table.to_dict("records")}
    return _by_size(cells, "First and second", lambda pair: f" {NOTHING} ".join(map(_name, pair)))


def appendix_d_table(table: pd.DataFrame, alpha: float) -> str:
    """Appendix D as HTML: a row an initialisation, a column a number of outlines below the largest."""
    cells = {(row["init"], row["n"]): _rank_cell(row, alpha) for row in table.to_dict("records")}
    return _by_size(cells, "Initialisation", _name)


def p_value(p: float) -> str:
    """A p as study A prints it: "<0.001", else three decimals, or four where those would round to the level."""
    if np.isnan(p):
        return NOTHING
    return f"<{_SMALLEST_P}" if p < _SMALLEST_P else f"{p:.{4 if p < 10 * _SMALLEST_P else 3}f}"


def _by_metric(table: pd.DataFrame) -> dict[str, list[Row]]:
    rows = table.to_dict("records")
    return {metric: [row for row in rows if row["metric"] == metric] for metric in table["metric"].unique()}


def _by_size(cells: dict[tuple[Any, Any], Cell], corner: str, name: Callable[[Any], str]) -> str:
    """Cells by their row and n; the rows keep the order of the cells."""
    keys, sizes = list(dict.fromkeys(key for key, _ in cells)), sorted({n for _, n in cells})
    header = [corner, *(f"n = {n}" for n in sizes)]
    return page.table(header, ([name(key), *(cells.get((key, n), Cell(NOTHING)) for n in sizes)] for key in keys))


def _name(init: str) -> str:
    return plates.looks([init])[init].name


def _enough(row: Row) -> Cell:
    """The size that is enough, and why a smaller one is not; the smallest that was tried may be more than enough."""
    if pd.isna(row["n"]):
        text = f"more than {row['largest_n']}"
    else:
        text = f"{row['n']} or fewer" if row["n"] == row["smallest_n"] else str(row["n"])
    return Cell(text, [row["reason"]] if row["reason"] else [])


def _mean_at(rows: list[Row], init: str, n: Any) -> str:
    """The mean of one row of Table 1; nothing for an n that is <NA>."""
    found = [row for row in rows if row["init"] == init and not pd.isna(n) and row["n"] == n]
    return number(found[0]["mean"], METRICS[found[0]["metric"]][2]) if found else NOTHING


def _agreement_cell(row: Row) -> Cell:
    _, unit, decimals = METRICS[row["metric"]]
    bias, low, high, bottom, top = (
        number(row[name], decimals, signed=True)
        for name in ("bias", "bias_low", "bias_high", "lower_limit", "upper_limit")
    )
    hover = [
        f"bias {bias} {unit}, from {low} to {high} (95 %)",
        f"ICC(2,1) from {number(row['icc_2_1_low'], 3)} to {number(row['icc_2_1_high'], 3)} (95 %)",
        f"ICC(3,1) {number(row['icc_3_1'], 3)}",
        f"{row['values']} values of {row['patients']} patients, {row['non_finite']} not finite",
    ]
    below = [f"{bottom} to {top}", f"ICC {number(row['icc_2_1'], 3)}", *_remarks(row)]
    return Cell(bias, below, "; ".join(hover))


def _readers_agreement(row: Row) -> str:
    bias, limits, correlation, *remarks = (cell := _agreement_cell(row)).text, *cell.below
    remark = "".join(f"; {text}" for text in remarks)
    return f"Readers: bias {bias} {METRICS[row['metric']][1]}, limits of agreement {limits}, {correlation}{remark}."


def _dunnett_cell(row: Row, control: str) -> Cell:
    _, unit, decimals = METRICS[row["metric"]]
    difference, low, high = (
        number(row[name], decimals, signed=True) for name in ("difference", "difference_low", "difference_high")
    )
    hover = [
        f"mean {number(row['mean'], decimals)} {unit}".strip() + f", {control} {number(row['control_mean'], decimals)}",
        f"difference {difference}, from {low} to {high} (95 %, bootstrap over patients)",
        f"Hedges' g {number(row['hedges_g'], 2, signed=True)}",
        f"{row['values']} values, {row['non_finite']} not finite",
        _exactly(row["p"]),
    ]
    below = [difference, f"Holm {p_value(row['p_holm'])}", *_remarks(row)]
    return Cell(p_value(row["p"]), below, "; ".join(hover), row["outcome"])


def _rank_cell(row: Row, alpha: float) -> Cell:
    """A comparison of RMS-DTA by ranks: better means that the first has the shorter distances."""
    effect = row["rank_biserial"]
    kind = "" if not row["p"] < alpha else "better" if effect < 0 else "worse"
    missed = row["non_finite"] + row["other_non_finite"]
    counts = f"{row['values']} and {row['other_values']} values, {missed} not finite"
    hover = f"U = {row['u']:.6g}; {counts}; {_exactly(row['p'])}"
    remark = [row["reason"]] if row["reason"] else []
    below = [f"r {number(effect, 2, signed=True)}", f"Holm {p_value(row['p_holm'])}", *remark]
    return Cell(p_value(row["p"]), below, hover, kind)


def _exactly(p: float) -> str:
    return "no p" if np.isnan(p) else f"p = {p:.3g}"


def _remarks(row: Row) -> list[str]:
    """What must be seen without pointing: values that the mean leaves out, and why there is no p."""
    missed = [f"{row['non_finite']} not finite"] if row["non_finite"] else []
    return missed + ([row["reason"]] if row["reason"] else [])
