"""`volumes.csv` of a dataset of volumes: its columns and their types."""

import re
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int32, Integer

# `slices`, `rows` and `columns` with their `_mm` are the scan's own axial grid, `through` the slice of it that a plane
# of the new one falls on, empty without a mask. `first_*` say where on the new grid the stored box begins, `i`, `j` and
# `k` are its voxels, and `planes` the k that carry labels, as in 41 or 3-9,12. `scan_sha256` is of
# all HU of the scan on its own axial grid (see `splits.digest`), and tells twins wherever the new grid lies; the other
# two are of files.
COLUMNS = (
    "case_id",
    "file",
    "slices",
    "rows",
    "columns",
    "slice_mm",
    "row_mm",
    "column_mm",
    "through",
    "first_slice",
    "first_row",
    "first_column",
    "i",
    "j",
    "k",
    "planes",
    "scan_sha256",
    "volume_sha256",
    "label_sha256",
)
_TEXTS = ("case_id", "file", "planes", "scan_sha256", "volume_sha256", "label_sha256")
_TYPES = dict.fromkeys(COLUMNS, "int64") | dict.fromkeys(_TEXTS, "str")
_TYPES |= {"through": "Int64", **dict.fromkeys(("slice_mm", "row_mm", "column_mm"), "float64")}


def read(path: Path) -> pd.DataFrame:
    """The table in the dataset folder `path`; `ValueError` for other columns and for text among numbers."""
    table = pd.read_csv(path / "volumes.csv", dtype=str, keep_default_na=False, encoding="utf-8")
    if list(table.columns) != list(COLUMNS):
        raise ValueError(
            f"{path / 'volumes.csv'} has columns {list(table.columns)}, not {list(COLUMNS)}; run launch.prepare again"
        )
    try:
        table["through"] = table["through"].replace("", pd.NA).astype("Int64")
        return table.astype(_TYPES)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path / 'volumes.csv'} has a cell that is no number ({error})") from error


def parse_planes(text: str) -> Int32[np.ndarray, " n"]:
    """The ascending planes that a cell names, as in 41 or 3-9,12; `ValueError` where it is none such."""
    if not re.fullmatch(r"(\d+(-\d+)?(,\d+(-\d+)?)*)?", text):
        raise ValueError(f"volumes.csv has planes {text!r}, which are not as in 41 or 3-9,12; run launch.prepare again")
    runs = [part.split("-") for part in text.split(",") if part]
    return np.array([k for run in runs for k in range(int(run[0]), int(run[-1]) + 1)], np.int32)


def write_planes(planes: Integer[np.ndarray, "n"]) -> str:
    """Ascending planes as a cell names them."""
    runs = [[k for _, k in run] for _, run in groupby(enumerate(planes.tolist()), lambda pair: pair[1] - pair[0])]
    return ",".join(f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
