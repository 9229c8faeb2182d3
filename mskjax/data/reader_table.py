"""The table of readers: who drew which test case of a dataset, and in which file.

A CSV with a row a mask and the columns case (a case_id of the dataset), reader and file, and any of label (several as
1|2), mask_plain (the plain bitmap where file is a bitmap with the outline drawn in), image (where the case's image lies
now) and series (which one where that holds several). Relative paths start at the CSV's folder.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from absl import logging

from mskjax.data.case_table import read_rows
from mskjax.data.dataset import Dataset
from mskjax.data.splits import counted

_NEEDED = ("case", "reader", "file")
_COLUMNS = (*_NEEDED, "label", "mask_plain", "image", "series")


@dataclass(frozen=True)
class Reading:
    """One reader's mask of one case, and the line of the table that lists it."""

    case_id: str
    reader: str
    file: Path
    line: int
    label: tuple[str, ...] | None = None
    mask_plain: Path | None = None
    image: Path | None = None
    series: str | None = None


def read_readings(table: str | Path, dataset: Dataset) -> list[Reading]:
    """The rows of the CSV `table`, all of test cases of `dataset`.

    Raises `ValueError` where the table is no CSV in UTF-8, lacks a column or a cell, names a case that is not in the
    dataset or not in its test split, repeats a reader's case or a mask, or spells a reader in two ways; `OSError`, with
    all of them, where files are not there.
    """
    table = Path(table)
    rows = read_rows(table, _NEEDED, "readers' masks")
    if unknown := set(rows[0][1]) - set(_COLUMNS):
        logging.warning("%s: columns %s are not used", table, ", ".join(sorted(unknown)))
    readings = [_reading(row, table, line) for line, row in rows]
    _refuse_other_cases(table, readings, dataset)
    _refuse_repetition(table, readings)
    files = {file: reading.line for reading in readings for file in (reading.file, reading.mask_plain) if file}
    if missing := [f"{file} (line {line})" for file, line in files.items() if not file.is_file()]:
        raise FileNotFoundError(
            f"{table} lists {counted(len(missing), 'file')} not to be found; correct the paths, which start at the "
            f"table's folder, or put there: {', '.join(missing)}"
        )
    return readings


def _reading(row: dict[str, str], table: Path, line: int) -> Reading:
    def file(column: str) -> Path | None:
        return table.parent / row[column] if row.get(column) else None

    if empty := [name for name in _NEEDED if not row[name]]:
        raise ValueError(f"{table}, line {line}: {empty[0]} is empty; each row names a case, its reader and a file")
    return Reading(
        case_id=row["case"],
        reader=row["reader"],
        file=table.parent / row["file"],
        line=line,
        label=tuple(name.strip() for name in row.get("label", "").split("|") if name.strip()) or None,
        mask_plain=file("mask_plain"),
        image=file("image"),
        series=row.get("series") or None,
    )


def _refuse_other_cases(table: Path, readings: Sequence[Reading], dataset: Dataset) -> None:
    split_of = dict(zip(dataset.cases["case_id"], dataset.cases["split"], strict=True))
    test = [case_id for case_id, split in split_of.items() if split == "test"]
    if unknown := [reading for reading in readings if reading.case_id not in split_of]:
        raise ValueError(
            f"{table} has {counted(len(unknown), 'row')} of cases that the dataset lacks, {_such_as(unknown)}; name "
            f"cases by their case_id in the dataset's cases.csv, as in {', '.join(test[:3]) or 'its test split'}"
        )
    if others := [reading for reading in readings if split_of[reading.case_id] != "test"]:
        raise ValueError(
            f"{table} has {counted(len(others), 'row')} of cases that are not in the test split, {_such_as(others)}; "
            "leave them out, or prepare the dataset with the split test for all cases that readers drew"
        )


def _such_as(readings: Sequence[Reading]) -> str:
    first_line = {reading.case_id: reading.line for reading in reversed(readings)}
    shown = sorted(first_line.items(), key=lambda item: item[1])[:5]
    return "such as " + ", ".join(f"{case_id!r} (line {line})" for case_id, line in shown)


def _refuse_repetition(table: Path, readings: Sequence[Reading]) -> None:
    drawn: dict[tuple[str, str], Reading] = {}
    masks: dict[tuple[str, Path, tuple[str, ...] | None], Reading] = {}
    spelled: dict[str, str] = {}
    for reading in readings:
        where, case_id, name = f"{table}, line {reading.line}", reading.case_id, reading.reader
        if (one := drawn.setdefault((case_id, name), reading)) is not reading:
            raise ValueError(f"{where}: reader {name} drew case {case_id} in line {one.line} already; keep one of them")
        if (one := masks.setdefault((case_id, reading.file, reading.label), reading)) is not reading:
            raise ValueError(
                f"{where}: {reading.file} is the mask of reader {one.reader} in line {one.line} and of reader {name} "
                "here; name each reader's own file, or own label in it"
            )
        if (other := spelled.setdefault(name.casefold(), name)) != name:
            raise ValueError(
                f"{where}: reader {name!r} is {other!r} in other lines; spell one person in one way, and let the names "
                "of two differ in more than case"
            )
