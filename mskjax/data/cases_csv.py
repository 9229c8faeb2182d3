"""`cases.csv` of a dataset folder: its columns and their types."""

from pathlib import Path

import numpy as np
import pandas as pd

from mskjax.files import atomic_path

COLUMNS = (
    "case_id",
    "patient_id",
    "image",
    "mask",
    "slice_index",
    "source_index",
    "sex",
    "age_years",
    "height_m",
    "weight_kg",
    "sarcopenia",
    "split",
)
_TYPES = {
    "slice_index": "int64",
    "source_index": "int64",
    "age_years": "float64",
    "height_m": "float64",
    "weight_kg": "float64",
    "sarcopenia": "Int64",
}


def read(path: Path) -> pd.DataFrame:
    """The table in the dataset folder `path`; `ValueError` for other columns and for text among numbers."""
    # Everything is read as text first: patient "007" or "NA" must not become 7 or a missing value.
    cases = pd.read_csv(path / "cases.csv", dtype=str, keep_default_na=False, encoding="utf-8")
    if list(cases.columns) != list(COLUMNS):
        raise ValueError(f"{path / 'cases.csv'} has columns {list(cases.columns)}, not {list(COLUMNS)}")
    return typed(cases, path)


def write(path: Path, cases: pd.DataFrame) -> None:
    """Writes the table to the dataset folder `path`."""
    with atomic_path(path / "cases.csv") as written:
        cases.to_csv(written, index=False, lineterminator="\n", encoding="utf-8")


def whole(cases: pd.DataFrame, path: Path) -> pd.DataFrame:
    """`cases` with all columns, in order and typed; `ValueError` for others than `COLUMNS`."""
    if unknown := sorted(set(cases.columns) - set(COLUMNS)):
        raise ValueError(f"cases.csv has no column for {', '.join(unknown)}; its columns are {', '.join(COLUMNS)}")
    return typed(cases.reindex(columns=list(COLUMNS)), path)


def typed(cases: pd.DataFrame, path: Path) -> pd.DataFrame:
    """`cases` with numbers as numbers and text as text; an empty cell is NaN among numbers and "" among text."""
    columns = {
        name: _numbers(cases, name, path) if name in _TYPES else _texts(pd.Series(cases[name])) for name in COLUMNS
    }
    return pd.DataFrame(columns).astype(dict.fromkeys(set(COLUMNS) - set(_TYPES), str)).reset_index(drop=True)


def _texts(column: pd.Series) -> pd.Series:
    return column.astype(object).where(column.notna(), "")


def _numbers(cases: pd.DataFrame, name: str, path: Path) -> pd.Series:
    try:
        return pd.Series(pd.to_numeric(cases[name].replace("", np.nan))).astype(_TYPES[name])
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path / 'cases.csv'}: column {name} has a cell that is no number ({error})") from error
