"""What a second table says of cases, joined by their names: whether a patient is sarcopenic, sex, and so on.

A CSV with the columns case and sarcopenia (1 or 0, or empty where it is not known), and any of sex, age_years,
height_m, weight_kg, patient_id and split.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from absl import logging

from mskjax.data.case_table import ABOUT, about_patient, read_rows
from mskjax.data.pairs import Pair, bare_stem, stem

_COLUMNS = ("case", "patient_id", *ABOUT)
# By what a row may name a case, the first that fits.
_NAMES: tuple[Callable[[Pair], str], ...] = (
    lambda pair: pair.case_id,
    lambda pair: stem(pair.image),
    lambda pair: bare_stem(pair.image),
    lambda pair: pair.image.resolve().parent.name,
)


@dataclass(frozen=True)
class _Row:
    """What a row of the table says, under the columns of cases.csv, and where it stands."""

    said: dict[str, str]
    where: str


def join(pairs: Sequence[Pair], table: str | Path) -> list[Pair]:
    """The pairs, each with what the CSV `table` says of it; several slices of one image share a row.

    A row names its case by its case_id, by the name of the image's file or folder without the ending (case7 of
    case7.nii.gz), by that without words such as ct or image, or by the folder that the image lies in. Rows that name no
    case, and cases without a row, are logged. Raises `ValueError` where a cell is no such value, a case stands there
    twice, a name fits several images, a row and the pair itself contradict each other, or no row names any case;
    `OSError` where the table cannot be read.
    """
    rows = _read(Path(table))
    names = [_named(pair, rows) for pair in pairs]
    if pairs and not any(names):
        raise ValueError(
            f"{table} names none of the cases: its rows are of {_some(list(rows))}, the images are called "
            f"{_some([stem(pair.image) for pair in pairs])}; write these names in the column case"
        )
    for name, row in rows.items():
        images = {pair.image.resolve() for pair, named in zip(pairs, names, strict=True) if named == name}
        if len(images) > 1:
            shown = " and ".join(map(str, sorted(images)[:2]))
            raise ValueError(f"{row.where}: {name!r} names {len(images)} images, {shown}; name each by its own case_id")
    if unused := [name for name in rows if name not in names]:
        logging.warning("%s: %d of %d rows name no case here, as %s", table, len(unused), len(rows), _some(unused))
    if bare := [pair for pair, name in zip(pairs, names, strict=True) if not name]:
        images = _some([str(pair.image) for pair in bare])
        logging.warning("%s: %d of %d cases have no row, as %s", table, len(bare), len(pairs), images)
    return [_told(pair, rows[name]) if name else pair for pair, name in zip(pairs, names, strict=True)]


def refuse_contradictions(cases: pd.DataFrame) -> None:
    """Raises `ValueError` where one patient of cases.csv has two labels of sarcopenia, or two sexes."""
    for column in ("sarcopenia", "sex"):
        first: dict[str, tuple[str, str]] = {}
        known_of = cases.reindex(columns=["case_id", "patient_id", column], fill_value="").fillna("")
        for case_id, patient, value in known_of.itertuples(index=False):
            other, known = first.setdefault(patient, (case_id, value)) if value else (case_id, value)
            if known != value:
                raise ValueError(
                    f"cases {other} ({known}) and {case_id} ({value}) of patient {patient} differ in {column}; correct "
                    "one, or give another patient_id"
                )


def _read(table: Path) -> dict[str, _Row]:
    """The rows by the cases that they name."""
    lines = read_rows(table, ("case", "sarcopenia"), "labels")
    if unknown := set(lines[0][1]) - set(_COLUMNS):
        logging.warning("%s: columns %s are not used", table, ", ".join(sorted(unknown)))
    rows: dict[str, _Row] = {}
    for line, cells in lines:
        where, name = f"{table}, line {line}", cells["case"]
        if not name:
            raise ValueError(f"{where}: case is empty; each row names a case by its case_id or its file")
        if name in rows:
            raise ValueError(f"{where}: case {name!r} stands there already; keep one row for each case")
        patient = {"patient_id": cells["patient_id"]} if cells.get("patient_id") else {}
        rows[name] = _Row(about_patient(cells, where) | patient, where)
    return rows


def _named(pair: Pair, rows: dict[str, _Row]) -> str:
    """The name under which the rows know a case, "" where they do not."""
    return next((name for name_of in _NAMES if (name := name_of(pair)) in rows), "")


def _told(pair: Pair, row: _Row) -> Pair:
    own = {**pair.about, "patient_id": pair.patient_id}
    for column, value in row.said.items():
        if own.get(column) and own[column] != value:
            raise ValueError(
                f"{row.where}: {column} of {pair.image} is {value!r}, and {own[column]!r} in {pair.listed_at}; "
                "correct one of the two"
            )
    about = {**pair.about, **row.said}
    patient_id = about.pop("patient_id", pair.patient_id)
    return replace(pair, about=about, patient_id=patient_id)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + ", ..." * (len(names) > 3)
