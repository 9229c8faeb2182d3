"""Cases that a user lists in a CSV: which files, which slice, and what is known of the patient."""

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import logging

from mskjax.bounds import PLAUSIBLE_HEIGHT_M, PLAUSIBLE_WEIGHT_KG
from mskjax.data.pairs import Pair

ABOUT = ("sex", "age_years", "height_m", "weight_kg", "sarcopenia", "split")
_CASE_COLUMNS = ("case_id", "patient_id", "image", "mask", "mask_plain", "slice", "label", "series")
_COLUMNS = (*_CASE_COLUMNS, "slice_index", "source_index", "level_mask", "level_label", *ABOUT)


def read_table(
    path: str | Path, slices: str = "all", label: tuple[str, ...] | None = None, level_label: str | None = None
) -> list[Pair]:
    """Pairs from a CSV with the column image, and any of mask, case_id, patient_id, slice, label and so on.

    Relative paths start at the CSV's folder. A cell names several labels as 1|2. Empty cells take `slices`, `label` and
    `level_label`. Other columns are ignored, and said. Raises `ValueError` where a column or a cell is missing, or case
    ids repeat.
    """
    path = Path(path)
    lines, rows = zip(*read_rows(path, ("image",), "cases"), strict=True)
    if unknown := set(rows[0]) - set(_COLUMNS):
        logging.warning("%s: columns %s are not used", path, ", ".join(sorted(unknown)))
    given = Counter(row["case_id"] for row in rows if row.get("case_id"))
    if repeated := [case for case, times in given.items() if times > 1]:
        raise ValueError(f"{path} gives case id {repeated[0]!r} to several rows; each row needs its own")
    if odd := [case for case in given if re.search(r"[/\\\x00-\x1f]|^\.", case)]:
        raise ValueError(f"{path} has case id {odd[0]!r}; files take its name, so leave out slashes and first dots")
    defaults = {"slices": slices, "label": label, "level_label": level_label}
    return [_pair(row, path, i, defaults) for i, row in zip(lines, rows, strict=True)]


def read_rows(path: Path, needed: Sequence[str], what: str) -> list[tuple[int, dict[str, str]]]:
    """The number of the line and the cells by column of each row, in a CSV that lists `what`, as in "cases".

    Commas, semicolons or tabs part the cells, and blanks around them are taken off. Raises `OSError` where the file
    cannot be read, `ValueError` where it is no CSV in UTF-8, has no rows, lacks a column of `needed`, or is uneven.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            separator = max(",;\t", key=file.readline().count)
            file.seek(0)
            reader = csv.reader(file, delimiter=separator)
            # Spreadsheets leave rows of separators alone below a table.
            lines = [(reader.line_num, cells) for line in reader if any(cells := [cell.strip() for cell in line])]
    except OSError as error:
        raise OSError(f"{path} cannot be read ({error.strerror}); name a CSV of {what}") from error
    except (csv.Error, ValueError) as error:
        raise ValueError(f"{path} is no CSV in UTF-8; save the table as CSV in UTF-8") from error
    if len(lines) < 2:
        lacks = "has no rows below its header" if lines else "is empty"
        listed = " and ".join(filter(None, (", ".join(needed[:-1]), needed[-1])))
        raise ValueError(f"{path} {lacks}; give it a header with {listed}, and a row for each of the {what}")
    (_, header), *lines = lines
    if missing := set(needed) - set(header):
        raise ValueError(f"{path} lacks the column {', '.join(sorted(missing))}; it has {', '.join(header)}")
    if uneven := [number for number, line in lines if len(line) != len(header)]:
        raise ValueError(f"{path}, line {uneven[0]}: not as many cells as the header has columns ({len(header)})")
    return [(number, dict(zip(header, line, strict=True))) for number, line in lines]


def _pair(row: dict[str, str], table: Path, line: int, defaults: dict[str, Any]) -> Pair:
    def file(column: str) -> Path | None:
        return table.parent / row[column] if row.get(column) else None

    image = file("image")
    if image is None:
        raise ValueError(f"{table}, line {line}: image must be filled")
    # Not parted by a comma, semicolon or tab, which part the cells, nor by a blank, which names hold.
    labels = tuple(name.strip() for name in row.get("label", "").split("|") if name.strip())
    chosen = {
        "slices": row.get("slice") or row.get("slice_index"),
        "label": labels,
        "level_label": row.get("level_label"),
    }
    return Pair(
        image=image,
        mask=file("mask"),
        **defaults | {name: value for name, value in chosen.items() if value},
        series=row.get("series") or None,
        mask_plain=file("mask_plain"),
        level_mask=file("level_mask"),
        case_id=row.get("case_id", ""),
        patient_id=row.get("patient_id", ""),
        about=about_patient(row, f"{table}, line {line}"),
        listed_at=f"{table}, line {line}",
    )


def about_patient(row: Mapping[str, str], where: str) -> dict[str, str]:
    """What a row says under `ABOUT`: sex as M or F, a label of sarcopenia as 0 or 1, sizes as numbers, and so on.

    Raises `ValueError`, which begins with `where`, for anything else.
    """
    about = {name: row[name] for name in ABOUT if row.get(name)}
    if "sex" in about:
        about["sex"] = {"m": "M", "male": "M", "f": "F", "female": "F"}.get(about["sex"].lower(), about["sex"])
    allowed: dict[str, Sequence[str]] = {
        "sex": ("M", "F"),
        "sarcopenia": ("0", "1"),
        "split": ("train", "validation", "test"),
    }
    limits = {"age_years": (0.0, 120.0), "height_m": PLAUSIBLE_HEIGHT_M, "weight_kg": PLAUSIBLE_WEIGHT_KG}
    for name, value in about.items():
        if name in allowed and value not in allowed[name]:
            raise ValueError(f"{where}: {name} is {value!r}, not one of {', '.join(allowed[name])} or empty")
        if name in limits and not _within(value, *limits[name]):
            raise ValueError(f"{where}: {name} is {value!r}, not a number from {limits[name][0]} to {limits[name][1]}")
    return about


def _within(text: str, low: float, high: float) -> bool:
    try:
        return low <= float(text) <= high
    except ValueError:
        return False
