"""The file of a cell's scores, which its judge writes, and what all judges ask of predictions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

SCORES = "scores.csv"


def require_numbers(probability: Float[np.ndarray, "..."]) -> None:
    """Raises `ValueError` where weights predict values that are no numbers."""
    if not np.isfinite(probability).all():
        raise ValueError("the chosen weights predict values that are no numbers; train with a lower learning rate")


def read(folder: Path, columns: Sequence[str], numbers: Sequence[str], rows: int | None = None) -> pd.DataFrame:
    """The scores of a finished cell, words as str and `numbers` as float, an empty field being NaN.

    Raises `ValueError` where the file is not whole: it has other columns, or not as many `rows`, which are at least one
    where their number is not known.
    """
    path = folder / SCORES
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if list(table.columns) != list(columns) or not len(table) or len(table) != (rows or len(table)):
        raise ValueError(f"{path} is not whole; delete {folder} and train the cell again")
    # Of text by Python: pandas' own reading of numbers may be one bit off.
    return table.assign(**{name: [float(word or "nan") for word in table[name]] for name in numbers})
