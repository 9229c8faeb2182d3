"""All figures of a study from its folder: 2, 3, 4, 5a, 5b, A1, A2, B1, and Bland-Altman's."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mskjax.data.dataset import Dataset
from mskjax.files import remove
from mskjax.study import loss_figures, observer_figure, plates
from mskjax.study.agreement_figure import agreement_figure
from mskjax.study.case_scores import of_networks, of_readers
from mskjax.study.data_efficiency import PRETEXTS, Cell
from mskjax.study.learning_curves import learning_curves
from mskjax.study.observers import read_observers
from mskjax.study.plates import Plate
from mskjax.training.writer import METRICS, read_rows

Rows = list[dict[str, Any]]


def make(
    workdir: Path,
    study: Mapping[str, Any],
    cells: Sequence[Cell],
    cases: pd.DataFrame,
    readers: str | Path | None,
    data: Dataset,
) -> list[Plate]:
    """The figures for which there is something to draw."""
    return [
        *learning_curves(cases, study["leave_out"]),
        *_pretexts(workdir, study),
        *_fine_tuning(workdir, cells),
        _agreement(cases),
        *([_observers(readers, data, cases)] if readers and len(of_readers(cases)) else []),
    ]


def write(output: Path, made: Sequence[Plate]) -> None:
    """Writes the figures and their captions, in place of all that former results left."""
    for path in (*output.glob("figure_*.p*"), *output.glob("bland_altman.p*")):
        remove(path)
    plates.write(output, made)


def permutations(study: Mapping[str, Any]) -> int:
    """Among how many orders of tiles the jigsaw network chooses."""
    jigsaw = study["pretexts"].get("jigsaw")
    return jigsaw["task"]["model"]["num_classes"] if jigsaw else 0


def jigsaw_accuracy(workdir: Path) -> float | None:
    """The validation accuracy of the jigsaw network, from 0 to 1; None where it was not trained or validated."""
    rows = _rows(workdir / PRETEXTS / "jigsaw")
    return loss_figures.final_accuracy(rows) if rows else None


def _pretexts(workdir: Path, study: Mapping[str, Any]) -> list[Plate]:
    reconstruction, jigsaw = (_rows(workdir / PRETEXTS / name) for name in ("reconstruction", "jigsaw"))
    made = [loss_figures.reconstruction(reconstruction)] if reconstruction else []
    return made + ([loss_figures.jigsaw(jigsaw, permutations(study))] if jigsaw else [])


def _fine_tuning(workdir: Path, cells: Sequence[Cell]) -> list[Plate]:
    trained = {cell.name: cell for cell in cells if (workdir / "cells" / cell.name / "DONE").is_file()}
    runs = [(trained[name].init, _rows(workdir / "cells" / name)) for name in loss_figures.choose(list(trained))]
    return [loss_figures.fine_tuning(runs, len(trained))]


def _agreement(cases: pd.DataFrame) -> Plate:
    """Of the largest n, and there of the initialisation of the highest mean Dice."""
    networks = of_networks(cases)
    largest = networks.loc[networks["n"] == networks["n"].max()]
    means = largest.groupby("init")["dice"].mean()
    return agreement_figure(cases, str(means.idxmax()), int(largest["n"].iloc[0]))


def _observers(readers: str | Path, data: Dataset, cases: pd.DataFrame) -> Plate:
    case_id = observer_figure.typical_case(cases)
    image_hu, expert, spacing_mm = data.slices.case(list(data.slices.case_id).index(case_id))
    drawn = {reader: mask for _, reader, mask in read_observers(readers, data, {case_id})}
    return observer_figure.observer_figure(case_id, image_hu, spacing_mm, expert, drawn)


def _rows(folder: Path) -> Rows:
    return read_rows(folder / METRICS)
