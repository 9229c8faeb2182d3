r"""Tables 1 and 2 and appendices C and D as LaTeX in the layout that study A prints, from the frames of `tables`.

A dagger, which the paper has not, marks what is significant after Holm's correction. Each is one `table` environment
and needs no package but booktabs.
"""

import math
from collections.abc import Iterable, Sequence

import pandas as pd

from mskjax.study.case_scores import in_order

_INITS = {
    "random": "Rand. Init.",
    "classification": "Classification",
    "segmentation": "Segmentation",
    "jigsaw": "Jigsaw",
    "reconstruction": "Reconstruction",
}
_METRICS = {"dice": "DSC", "rms_dta_cm": "RMS-DTA", "smd_hu": "SMD", "sma_cm2": "SMA"}
_MARKS = {"better": r"\textbf{\boldmath %s}", "worse": r"\underline{%s}", "": "%s"}
_SPECIAL = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": "$<$",
        ">": "$>$",
        **{sign: f"\\{sign}" for sign in "{}$&#_%"},
    }
)
NONE = "--"
_SIGNIFICANT = "****"
_HOLM = r"$^\dagger$"

_UNTESTED = (math.nan, math.nan)

Rows = list[list[str]]


def table_1(table: pd.DataFrame, alpha: float) -> str:
    """Table 1, DSC above RMS-DTA: bold what `alpha` made better than the readers, underlined what it made worse."""
    caption = (
        "Two-sided $p$ values of Dunnett's tests of DSC (top) and RMS-DTA (bottom) between predictions of networks "
        "and outlines of readers (control). Bold: better than the readers, underlined: worse "
        f"($p < {alpha:g}$). {_holm_note(alpha)}"
    )
    return _dunnett(table, alpha, caption, "tab:accuracy")


def table_2(table: pd.DataFrame, alpha: float) -> str:
    """Table 2, SMD above SMA: underlined what `alpha` made different from the expert."""
    caption = (
        "Two-sided $p$ values of Dunnett's tests of SMD (top) and SMA (bottom) between predictions of networks and "
        f"outlines of the expert (control). Underlined: different from the expert ($p < {alpha:g}$). "
        f"{_holm_note(alpha)}"
    )
    return _dunnett(table, alpha, caption, "tab:muscle")


def appendix_c(table: pd.DataFrame, alpha: float) -> str:
    """Appendix C, for each n a square of all initialisations; asterisks where p is below `alpha`."""
    inits, pairs = in_order([*table["init"], *table["other_init"]]), table[["n", "init", "other_init", "p", "p_holm"]]
    known = {(n, init, other): both for n, init, other, *both in pairs.itertuples(index=False)}
    known |= {(n, other, init): both for (n, init, other), both in known.items()}

    def cell(n: int, init: str, other: str) -> str:
        return "1.0" if init == other else _cell(known.get((n, init, other), _UNTESTED), alpha)

    blocks = {
        f"$n = {n}$": [[_init(init), *(cell(n, init, other) for other in inits)] for init in inits]
        for n in sorted(set(table["n"]))
    }
    caption = "Two-sided $p$ values of Mann--Whitney $U$ tests of RMS-DTA between initialisations at each $n$"
    groups = _sizes(table, ["init", "n"], ["other_init", "n"])
    return environment(["", *map(_init, inits)], blocks, caption + _appendix_note(groups, alpha), "tab:between")


def appendix_d(table: pd.DataFrame, alpha: float) -> str:
    """Appendix D, initialisations against n; asterisks where p is below `alpha`."""
    sizes = sorted(set(table["n"]))
    known = {(init, n): both for init, n, *both in table[["init", "n", "p", "p_holm"]].itertuples(index=False)}
    rows = [
        [_init(init), *(_cell(known.get((init, n), _UNTESTED), alpha) for n in sizes)]
        for init in in_order(table["init"])
    ]
    largest = " or ".join(f"$n = {n}$" for n in sorted(set(table["other_n"])))
    caption = (
        "Two-sided $p$ values of Mann--Whitney $U$ tests of RMS-DTA between each $n$ and the largest of the same "
        f"initialisation, {largest or 'of which there are none'}"
    )
    groups = _sizes(table, ["init", "n"], ["init", "other_n"])
    header = ["Source Task", *(f"$n = {n}$" for n in sizes)]
    return environment(header, {"": rows}, caption + _appendix_note(groups, alpha), "tab:within")


def environment(header: list[str], blocks: dict[str, Rows], caption: str, label: str) -> str:
    """A `table` environment of titled blocks of rows under one header; all are LaTeX already, `NONE` is no value."""
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{caption}}}",
        rf"\label{{{label}}}",
        r"\medskip",
        r"\footnotesize",
        r"\setlength{\tabcolsep}{3pt}",
        r"\makebox[\textwidth]{% keeps a table wider than the text in the middle",
        rf"\begin{{tabular}}{{l{'c' * (len(header) - 1)}}}",
        r"\toprule",
        _row(header),
    ]
    for title, rows in blocks.items():
        lines += [r"\midrule", *([rf"\multicolumn{{{len(header)}}}{{l}}{{{title}}} \\"] if title else [])]
        lines += map(_row, rows)
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}}", r"\end{table}"]) + "\n"


def escape(text: str) -> str:
    """The text as LaTeX prints it, with every sign that LaTeX reads as a command escaped."""
    return text.translate(_SPECIAL)


def _dunnett(table: pd.DataFrame, alpha: float, caption: str, label: str) -> str:
    sizes, inits = sorted(set(table["n"])), in_order(table["init"])
    blocks, notes = {}, []
    for metric, own in table.groupby("metric", sort=False):
        cells = {
            (row["init"], row["n"]): _marked(row["p"], row["outcome"], row["p_holm"], alpha)
            for row in own.to_dict("records")
        }
        name = _METRICS[str(metric)]
        blocks[name] = [[_init(init), *(cells.get((init, n), NONE) for n in sizes)] for init in inits]
        control_left, control = own["control_non_finite"].iloc[0], own["control_values"].iloc[0]
        left = f"{own['non_finite'].sum()} of {own['values'].sum()} predictions and {control_left} of {control}"
        notes.append(f"{left} control values in {name}")
    note = f" Not finite and left out: {'; '.join(notes)}." if notes else ""
    reasons = sorted({reason for reason in table["reason"] if reason})
    dashes = f" {NONE} is no test ({escape('; '.join(reasons))})." if reasons else ""
    return environment(["Source Task", *(f"$n = {n}$" for n in sizes)], blocks, caption + note + dashes, label)


def _row(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _marked(p: float, outcome: str, p_holm: float, alpha: float) -> str:
    """A cell of Tables 1 and 2, to three decimals."""
    if math.isnan(p):
        return NONE
    return _MARKS[outcome] % ("$p < 0.001$" if p < 0.001 else f"${p:.3f}$") + _HOLM * (p_holm < alpha)


def _cell(tested: Sequence[float], alpha: float) -> str:
    """A cell of the appendices, of p and p after Holm, to four decimals."""
    p, p_holm = tested
    if math.isnan(p):
        return NONE
    if p < alpha:
        return _SIGNIFICANT + _HOLM * (p_holm < alpha)
    return "$p < 0.0001$" if p < 0.0001 else f"${p:.4f}$"


def _holm_note(alpha: float) -> str:
    """What the mark of Tables 1 and 2 means; Dunnett's own p would be corrected twice."""
    return rf"{_HOLM}: $p < {alpha:g}$ by Holm's correction of the single comparisons."


def _init(name: str) -> str:
    return _INITS.get(name, escape(name))


def _sizes(table: pd.DataFrame, own: list[str], other: list[str]) -> dict[tuple[str, int], tuple[int, int]]:
    """The number of values, and of infinite ones among them, of each initialisation and n, each counted once."""
    sides = [(own, "values", "non_finite"), (other, "other_values", "other_non_finite")]
    return {
        (init, n): (values, infinite)
        for names, *counts in sides
        for init, n, values, infinite in zip(*(table[column] for column in (*names, *counts)), strict=True)
    }


def _appendix_note(groups: dict[tuple[str, int], tuple[int, int]], alpha: float) -> str:
    values, infinite = (sum(column) for column in zip(*groups.values(), strict=True)) if groups else (0, 0)
    return (
        f", not corrected for their number. {_SIGNIFICANT}: $p < {alpha:g}$, {_HOLM}: after Holm's correction too; "
        f"{NONE}: no test. Infinite distances, {infinite} of {values}, rank as the largest."
    )
