"""Tables 1 and 2 of study B as LaTeX, in the columns that the paper prints and some that it has not."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from mskjax.study import latex
from mskjax.study.diagnosis_summary import MEASURES
from mskjax.study.latex import NONE
from mskjax.study.sarcopenia_findings import called

_TITLES = {
    "accuracy": "Accuracy",
    "precision": "Precision",
    "recall": "Recall",
    "specificity": "Specificity",
    "f1": "F1-Score",
}


def table_1(table: pd.DataFrame) -> str:
    """Table 1 with the interval of the mean, and how many shuffles there are."""
    header = ["Network", "Average AUC", "Std. Dev. of AUC", r"95\,\% interval", "Shuffles"]
    rows = [
        [
            latex.escape(f"{called(row['network'])}_{row['policy']}"),
            *(_share(row[f"auc_{name}"]) for name in ("mean", "sd")),
            NONE if math.isnan(row["auc_low"]) else f"{_share(row['auc_low'])} to {_share(row['auc_high'])}",
            str(row["shuffles"]),
        ]
        for row in table.to_dict("records")
    ]
    caption = (
        "Mean and standard deviation over the shuffles of the AUC in their tests. Interval: of the mean, by a "
        f"bootstrap over patients, who bring along their cases in all shuffles.{_dashes(table)}"
    )
    return latex.environment(header, {"": rows}, caption, "tab:auc")


def table_2(table: pd.DataFrame) -> str:
    """Table 2: the shuffle that validation chose, as the paper has one; mean and deviation over all; and pooled."""
    records = table.to_dict("records")
    blocks = {
        "The shuffle of the best validation AUC": [_row(row, "shown") for row in records],
        r"Mean $\pm$ standard deviation over shuffles": [_spread_row(row) for row in records],
        "Pooled over shuffles": [_row(row, "pooled") for row in records],
    }
    caption = (
        "Accuracy, precision, recall, specificity and F1 in the tests, at thresholds that validation cases chose. In "
        f"brackets: the number of shuffles that a mean is of, where it is undefined in others.{_dashes(table)}"
    )
    header = ["Pre-trained Network", "Fine-tuning", *(_TITLES[name] for name in MEASURES)]
    return latex.environment(header, blocks, caption, "tab:accuracy")


def _row(row: Mapping[str, Any], scope: str) -> list[str]:
    return [*_names(row), *(_share(row[f"{scope}_{name}"]) for name in MEASURES)]


def _spread_row(row: Mapping[str, Any]) -> list[str]:
    cells = []
    for name in MEASURES:
        mean, sd, undefined = (row[f"{name}_{part}"] for part in ("mean", "sd", "undefined"))
        spread = "" if math.isnan(sd) else rf" $\pm$ {_share(sd)}"
        left = f" ({row['shuffles'] - undefined})" if 0 < undefined < row["shuffles"] else ""
        cells.append(_share(mean) + spread + left)
    return [*_names(row), *cells]


def _names(row: Mapping[str, Any]) -> list[str]:
    return [latex.escape(called(row["network"])), latex.escape(row["policy"])]


def _share(value: float) -> str:
    return NONE if math.isnan(value) else f"{value:.2f}"


def _dashes(table: pd.DataFrame) -> str:
    """What a dash stands for, where there may be one."""
    parts = [part for told in table["undefined"] for part in told.split("; ") if part]
    whys = dict.fromkeys(part.rpartition(": ")[2] for part in parts)
    return f" {NONE}: undefined, as {latex.escape(' or '.join(whys))}." if whys else ""
