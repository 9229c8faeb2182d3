"""Tables 3 and 4 of study B as LaTeX, in the layout that the paper prints."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from mskjax.measure.cutoffs import Cutoff
from mskjax.study import latex
from mskjax.study.area_findings import called, cutoff_words
from mskjax.study.area_scores import PERCENT, by_init
from mskjax.study.area_tables import OVER_ALL
from mskjax.study.latex import NONE

_STATISTICS = {
    "Average Dice": "dice_mean",
    "StDev Dice": "dice_sd",
    r"Average area diff \%": f"{PERCENT}_mean",
    r"StDev area diff \%": f"{PERCENT}_sd",
}
_WORDS = {0: "No", 1: "Yes"}


def table_3(table: pd.DataFrame) -> str:
    """Table 3: a column a shuffle and one of all, in bold what validation chose; a block an initialisation."""
    numbers = [*dict.fromkeys(number for number in table["shuffle"] if number != OVER_ALL), OVER_ALL]
    blocks = {
        latex.escape(called(init)): [_statistic(rows, title, name, numbers) for title, name in _STATISTICS.items()]
        for init, rows in by_init(table)
    }
    undefined, empty, tests = (int(table.loc[table["shuffle"] == OVER_ALL, name].sum()) for name in _COUNTS)
    caption = (
        "Dice and signed area difference, predicted minus reference in percent of the reference, over the tests of "
        "each shuffle: mean and standard deviation. Last column: mean and standard deviation of the shuffles' means. "
        f"Bold: the shuffle of the best validation Dice. Of {tests} predictions {empty} are empty, with Dice 0; "
        f"{undefined} have no area difference, as the reference has no area, and are left out of it."
    )
    return latex.environment(["Statistics", *(f"{number}" for number in numbers)], blocks, caption, "tab:area")


_COUNTS = ("undefined", "empty", "tests")


def table_4(table: pd.DataFrame, rules: Sequence[Cutoff]) -> str:
    """Table 4: the tests of the shown shuffle, with what the deciding cut-offs say and how far from them areas are.

    Sex and label are more than the paper prints.
    """
    blocks = {
        f"{latex.escape(called(init))}, shuffle {rows['shuffle'].iloc[0]}": [_case(row) for row in _records(rows)]
        for init, rows in by_init(table)
    }
    words = latex.escape(f"{cutoff_words(rules)} ({rules[0].key})").replace("cm2", "cm$^2$").replace("/m2", "/m$^2$")
    caption = (
        "Predicted against reference muscle area in the tests of the shuffle of the best validation Dice. Sarcopenic: "
        f"{words}; label: sarcopenic as given; margin: of the predicted mask to the cut-off. "
        f"{NONE}: not known, not decided or not defined."
    )
    header = ["Case", "Sex", "Label", _lines("Reference", r"SMA (cm$^2$)"), _lines("Sarcopenic", "by reference")]
    header += [
        "Dice",
        _lines("Predicted", r"SMA (cm$^2$)"),
        _lines("Sarcopenic", "by prediction"),
        r"Error (\%)",
        "Margin",
    ]
    return latex.environment(header, blocks, caption, "tab:cases")


def _statistic(rows: pd.DataFrame, title: str, name: str, numbers: Sequence[str]) -> list[str]:
    known = {row["shuffle"]: row for row in _records(rows)}

    def cell(number: str) -> str:
        text = _number(known[number][name], 2) if number in known else NONE
        return rf"\textbf{{\boldmath {text}}}" if number in known and known[number]["shown"] else text

    return [title, *map(cell, numbers)]


def _case(row: Mapping[str, Any]) -> list[str]:
    return [
        latex.escape(str(row["case_id"])),
        latex.escape(row["sex"]) or NONE,
        _decision(row["sarcopenia"]),
        _number(row["reference_sma_cm2"], 2),
        _decision(row["reference_below"]),
        _number(row["dice"], 2),
        _number(row["sma_cm2"], 2),
        _decision(row["below"]),
        _number(row["error_percent"], 2),
        _number(row["margin"], 1, lambda text: text if text.startswith("-") else f"+{text}"),
    ]


def _lines(first: str, second: str) -> str:
    """The title of a column on two lines, as wide as the longer."""
    return rf"\shortstack{{{first}\\{second}}}"


def _decision(below: Any) -> str:
    return NONE if pd.isna(below) else _WORDS[int(below)]


def _number(value: Any, decimals: int, signed: Callable[[str], str] = str) -> str:
    if pd.isna(value) or math.isinf(value):
        return NONE
    return f"${signed(f'{value:.{decimals}f}')}$"


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
