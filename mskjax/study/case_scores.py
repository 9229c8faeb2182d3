"""The scores of a study: one row for each prediction of a network and each outline of a reader on a test case.

The file is tidy CSV. Rows of networks name the cell they come from and have no reader; rows of readers have the word
`OBSERVERS` in the place of the initialisation and no cell. An empty mask is infinitely far from the reference (`inf`)
and has no density (an empty field, NaN): both are kept, for the statistics to count.
"""

import csv
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mskjax.files import atomic_path

OBSERVERS = "observers"
# The order of the rows of study A's tables.
INITS = ("random", "classification", "segmentation", "jigsaw", "reconstruction")
CELL = ("n", "fold", "draw", "seed")
SCORES = ("dice", "rms_dta_cm", "sma_cm2", "smd_hu", "reference_sma_cm2", "reference_smd_hu")
COLUMNS = ("init", *CELL, "case_id", "reader", *SCORES)
_WORDS = ("init", "case_id", "reader")
_REFERENCE = ("reference_sma_cm2", "reference_smd_hu")
_AGAIN = "score the study again with launch.evaluate"


def read_cases(path: str | Path) -> pd.DataFrame:
    """The scores in a CSV with just `COLUMNS`, in any order: words as str, the cell as Int64, scores as float.

    Raises `OSError` where the file cannot be read, and `ValueError`, with file and line, where a column is missing or
    unknown, a field is no such value, a row is neither a network's nor a reader's, a prediction stands twice, or a case
    has two references.
    """
    path = Path(path)
    rows = _read_rows(path)
    header, rows = rows[0], rows[1:]
    if uneven := [i for i, row in enumerate(rows, start=2) if len(row) != len(header)]:
        raise ValueError(f"{path}, line {uneven[0]}: not {len(header)} fields, as the header has; {_AGAIN}")
    return checked(pd.DataFrame(rows, columns=pd.Index(header), dtype=object), path)


def write_cases(path: str | Path, cases: pd.DataFrame) -> None:
    """Writes `cases` so that `read_cases` gives the very same numbers back; refuses what `read_cases` would refuse."""
    with atomic_path(path) as written:
        checked(cases, path).to_csv(written, index=False, lineterminator="\n", encoding="utf-8")


def of_networks(cases: pd.DataFrame) -> pd.DataFrame:
    """The rows that are predictions of networks."""
    return cases.loc[cases["reader"] == ""]


def of_readers(cases: pd.DataFrame) -> pd.DataFrame:
    """The rows that are outlines of readers; none where no readers drew."""
    return cases.loc[cases["reader"] != ""]


def by_init_and_n(cases: pd.DataFrame) -> dict[tuple[str, int], pd.DataFrame]:
    """The rows of networks of each initialisation and n, in the order of study A's tables."""
    networks = of_networks(cases)
    return {
        (init, int(n)): rows
        for init in in_order(networks["init"])
        for n, rows in networks.loc[networks["init"] == init].groupby("n")
    }


def in_order(inits: Iterable[str]) -> list[str]:
    """The distinct initialisations, those of study A first and as its tables list them, others by the alphabet."""
    known = set(inits)
    return [name for name in INITS if name in known] + sorted(known - set(INITS))


def checked(cases: pd.DataFrame, source: str | Path) -> pd.DataFrame:
    """`cases` with just `COLUMNS` in their order and types; `source` is the file that errors name.

    Takes numbers or their text; None, NaN and "" are an empty field. Raises `ValueError` as `read_cases` does.
    """
    lacking, unknown = set(COLUMNS) - set(cases.columns), set(cases.columns) - set(COLUMNS)
    if lacking or unknown or len(cases.columns) != len(COLUMNS):
        wrong = f"lacks the column {min(lacking)}" if lacking else f"has {min(unknown, default='a column twice')!r}"
        raise ValueError(f"{source} {wrong}; its columns are to be {', '.join(COLUMNS)}")
    if not len(cases):
        raise ValueError(f"{source} holds no scores; {_AGAIN}")
    table = pd.DataFrame({name: _column(name, list(cases[name]), source) for name in COLUMNS})
    _check_kinds(table, source)
    _check_scores(table, source)
    _check_uniqueness(table, source)
    return table.astype(dict.fromkeys(CELL, "Int64"))


def _read_rows(path: Path) -> list[list[str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except OSError as error:
        raise OSError(f"{path} cannot be read ({error.strerror}); {_AGAIN}") from error
    except (csv.Error, ValueError) as error:
        raise ValueError(f"{path} is no CSV in UTF-8 ({error}); {_AGAIN}") from error
    if not rows:
        raise ValueError(f"{path} is empty; {_AGAIN}")
    return rows


def _column(name: str, values: list[Any], source: str | Path) -> pd.Series:
    words = [("" if pd.isna(value) else str(value).strip()) for value in values]
    if name in _WORDS:
        return pd.Series(words, dtype="str")
    return pd.Series([_number(word, name, line, source) for line, word in enumerate(words, start=2)], dtype=float)


def _number(word: str, name: str, line: int, source: str | Path) -> float:
    """The double nearest to the text, which pandas' own parser does not promise; NaN where it is empty."""
    try:
        return float(word) if word else math.nan
    except ValueError as error:
        raise ValueError(f"{source}, line {line}: {name} is {word!r}, no number; {_AGAIN}") from error


def _check_kinds(table: pd.DataFrame, source: str | Path) -> None:
    """Every row is a network's, with a whole cell and no reader, or a reader's, with neither."""
    of_reader, cell = table["init"] == OBSERVERS, table[list(CELL)]
    whole = (cell >= 0) & (cell % 1 == 0) & np.isfinite(cell)
    _refuse((table["init"] == "") | (table["case_id"] == ""), "init and case_id must both be filled", source)
    _refuse(
        of_reader != (table["reader"] != ""),
        f"readers have the init {OBSERVERS!r} and a name in reader, networks neither",
        source,
    )
    _refuse(
        of_reader & cell.notna().any(axis=1), f"n, fold, draw and seed must be empty where init is {OBSERVERS}", source
    )
    _refuse(
        ~of_reader & ~(whole.all(axis=1) & (table["n"] > 0)),
        "n, fold, draw and seed of a network must be whole numbers from 0 on, n from 1 on",
        source,
    )


def _check_scores(table: pd.DataFrame, source: str | Path) -> None:
    _refuse(~table["dice"].between(0, 1), "dice is not from 0 to 1", source)
    _refuse(~(table["rms_dta_cm"] >= 0), "rms_dta_cm is empty or negative (inf stands for an empty mask)", source)
    for name in ("sma_cm2", "reference_sma_cm2"):
        _refuse(~table[name].between(0, np.inf, inclusive="left"), f"{name} is no finite area", source)
    for name in ("smd_hu", "reference_smd_hu"):
        _refuse(np.isinf(table[name]), f"{name} is infinite (empty stands for an empty mask)", source)


def _check_uniqueness(table: pd.DataFrame, source: str | Path) -> None:
    _refuse(
        table.duplicated(["init", *CELL, "case_id", "reader"]), "this prediction or outline stands there twice", source
    )
    cases = table.groupby("case_id", sort=False)
    for name in _REFERENCE:
        first = cases[name].transform(lambda values: values.iloc[0])
        differs = (table[name] != first) & ~(table[name].isna() & first.isna())
        _refuse(differs, f"{name} is another than in earlier rows of the same case", source)


def _refuse(wrong: object, why: str, source: str | Path) -> None:
    """Raises `ValueError` with the line of the first row that is `wrong`, a bool for each."""
    rows = np.flatnonzero(np.asarray(wrong, bool))
    if len(rows):
        raise ValueError(f"{source}, line {rows[0] + 2}: {why}; {_AGAIN}")
