"""The results of study B's classification: each cell's diagnosis of its test cases, Tables 1 and 2, figures, report.

STUDY/evaluation/  cases.csv, shuffles.csv, table_1.csv/.tex, table_2.csv/.tex, by_sex.csv, confusion.csv,
                   calibration.csv, figure_*.png/.pdf, figure_captions.txt, report.html, summary.json

summary.json is written last and says what the results were made from: while that stands, nothing is made again.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from absl import logging

import mskjax
from mskjax.data.dataset import Dataset
from mskjax.files import atomic_path, read_json, remove, require_folder, sha256, write_json
from mskjax.study import (
    explanation_folder,
    plates,
    sarcopenia_examples,
    sarcopenia_explained,
    sarcopenia_figures,
    sarcopenia_latex,
    sarcopenia_notes,
    sarcopenia_report,
    sarcopenia_sexes,
    sarcopenia_tables,
    starts,
    study_folder,
    study_remarks,
    text,
)
from mskjax.study.evaluation_folder import write_table
from mskjax.study.explanation_folder import Explanations
from mskjax.study.plates import Plate
from mskjax.study.sarcopenia import Cell, checked, missing, plan, run_config
from mskjax.study.sarcopenia_cohort import notes
from mskjax.study.sarcopenia_findings import SarcopeniaFindings, called
from mskjax.study.sarcopenia_scores import Pair, best_pairs, decided, gather, measure, pairs
from mskjax.study.study_folder import SUMMARY
from mskjax.training.origin import are_phantoms, provenance_of

# To be raised when a figure, a table or the report changes, so that former results are made anew.
EDITION = 3
TABLES = ("cases", "shuffles", "table_1", "table_2", "by_sex", "confusion", "calibration")
PRINTED = ("table_1", "table_2")
FIGURES = ("figure_1", "figure_3a", "figure_roc", "figure_calibration")
FILES = (
    *(f"{name}.csv" for name in TABLES),
    *(f"{name}.tex" for name in PRINTED),
    *(f"{name}.{suffix}" for name in FIGURES for suffix in ("png", "pdf")),
    *(plates.CAPTIONS, "report.html"),
)


def evaluate_study(workdir: str | Path, output: str | Path | None = None, dataset: str | Path | None = None) -> Path:
    """Makes the results of the study `workdir` from the cells that are done so far; the folder they are in.

    `output` is workdir/evaluation unless given; `dataset` is for one that has moved. What is up to date is left as it
    is. Raises `OSError` or `ValueError` where no cell is done or an input does not fit.
    """
    workdir, output = Path(workdir), Path(output or Path(workdir) / "evaluation")
    study = checked(read_json(workdir / "config.json"))
    require_folder(output)
    data = study_folder.own_dataset(workdir, Path(dataset or study["dataset"]))
    cells = plan(data.cases, study)
    folders = {cell.name: workdir / "cells" / cell.name for cell in cells}
    done = [cell for cell in cells if study_folder.is_done(folders[cell.name], run_config(study, cell), data)]
    scores = gather(workdir, done, data)
    lacking = _lacking(study, {cell.network for cell in done})
    cells = [cell for cell in cells if cell.network not in lacking]
    remarks = [*study_remarks.of_cells(folders, cells, study, "cells of network"), *notes(data.cases, study)]
    explained = _explained(folders, done, data)
    made_from = {**_made_from(study, scores, explained), "planned": len(cells), "remarks": remarks, "missing": lacking}
    if study_folder.is_current(output, FILES, made_from):
        logging.info("%s is up to date; delete this folder to evaluate again", output)
        return output
    remove(output / SUMMARY)
    tables = _tables(scores, study["bootstrap_samples"], study["calibration_bins"])
    findings = SarcopeniaFindings(
        study=workdir.resolve().name,
        dataset=str(study["dataset"]),
        **tables,
        plates=_plates(study, tables, data, explained),
        planned_cells=len(cells),
        phantoms=are_phantoms(data.cases["image"].astype(str)),
        missing_networks=lacking,
        explanations={cell: own.pictures for cell, own in explained.items() if own.pictures},
        explain_command=_explain_command(workdir, tables),
        shown_cell=_shown_cell(tables)[2],
        further_notes=remarks,
        provenance=provenance_of(workdir),
    )
    _write(output, findings)
    write_json(output / SUMMARY, {"answer": _answer(findings), "made_from": made_from})
    return output


def _answer(findings: SarcopeniaFindings) -> list[str]:
    """Lines for a terminal: the answer, and the mean AUC of each network and policy."""
    rows = [["mean AUC of the tests", "AUC", "shuffles"]]
    for row in findings.table_1.to_dict("records"):
        auc = sarcopenia_notes.auc(row)
        rows.append([f"{called(row['network'])} {row['policy']}", auc, str(row["shuffles"])])
    return [*sarcopenia_notes.answer(findings), *text.table(rows).splitlines()]


def _explained(folders: dict[str, Path], cells: Sequence[Cell], data: Dataset) -> dict[str, Explanations]:
    """What explains the cells' weights by cases of the study's dataset, where something does."""
    found = {cell.name: explanation_folder.current(folders[cell.name], data.manifest["sha256"]) for cell in cells}
    return {name: own for name, own in found.items() if own}


def _lacking(study: dict[str, Any], trained: set[str]) -> dict[str, str]:
    """The networks of which no cell is done and whose weights are missing here, with what gets them."""
    rest = [name for name in study["networks"] if name not in trained]
    return missing({**study, "networks": rest, "missing_weights": starts.SKIP})


def _shown_cell(tables: dict[str, pd.DataFrame]) -> tuple[Pair, int, str]:
    """The best network with its policy, the shuffle in which it is shown, and the folder of that cell."""
    best = best_pairs(tables["shuffles"])[0]
    shuffle = int(dict(pairs(tables["table_2"]))[best]["shown_shuffle"].iloc[0])
    return best, shuffle, f"{best[0]}_{best[1]}_shuffle{shuffle}"


def _explain_command(workdir: Path, tables: dict[str, pd.DataFrame]) -> str:
    """What explains the tests of the cell that is shown; empty where its weights are not kept."""
    folder = workdir / "cells" / _shown_cell(tables)[2]
    return f"python -m launch.explain --run={folder}" if (folder / "best").is_dir() else ""


def _made_from(study: dict[str, Any], scores: pd.DataFrame, explained: dict[str, Explanations]) -> dict[str, Any]:
    """What the results depend on, besides the plan and the remarks."""
    return {
        "scores_sha256": hashlib.sha256(scores.to_csv(index=False).encode()).hexdigest(),
        "explanations": {f"{cell}/{path.name}": sha256(path) for cell, own in explained.items() for path in own.files},
        **{name: study[name] for name in ("bootstrap_samples", "calibration_bins")},
        "mskjax": mskjax.__version__,
        "edition": EDITION,
    }


def _tables(scores: pd.DataFrame, samples: int, bins: int) -> dict[str, pd.DataFrame]:
    """The frames of `TABLES`."""
    shuffles = measure(scores, samples, bins)
    cases = decided(scores, shuffles)
    first = sarcopenia_tables.table_1(cases, shuffles, samples)
    made = {
        "table_1": first,
        "table_2": sarcopenia_tables.table_2(shuffles, first),
        "by_sex": sarcopenia_sexes.by_sex(cases, first, samples),
        "confusion": sarcopenia_tables.confusion(shuffles, first),
        "calibration": sarcopenia_tables.calibration(cases, first, bins),
    }
    return {"cases": cases, "shuffles": shuffles, **made}


def _plates(
    study: dict[str, Any], tables: dict[str, pd.DataFrame], data: Dataset, explained: dict[str, Explanations]
) -> list[Plate]:
    cases, shuffles = tables["cases"], tables["shuffles"]
    chosen, shown = best_pairs(shuffles), sarcopenia_examples.examples(data)
    width, level = study["task"]["window_hu"], study["task"]["level_hu"]
    limits = (level - width / 2, level + width / 2) if data.values == "hu" else (0.0, 255.0)
    (network, policy), shuffle, folder = _shown_cell(tables)
    tests = cases.query("network == @network and policy == @policy and shuffle == @shuffle and split == 'test'")
    cell = f"{called(network)} with {policy}, shuffle {shuffle}"
    return [
        sarcopenia_figures.auc_figure(shuffles, tables["table_1"]),
        *([sarcopenia_examples.examples_figure(shown, limits)] if shown else []),
        sarcopenia_figures.confusion_figure(tables["confusion"], chosen),
        *sarcopenia_explained.figures(cell, explained.get(folder), tests, data, limits),
        sarcopenia_figures.roc_figure(cases, shuffles, chosen),
        sarcopenia_figures.calibration_figure(tables["calibration"], chosen),
    ]


def _write(output: Path, findings: SarcopeniaFindings) -> None:
    """Writes tables, figures and the report, replacing what former results left and nothing else."""
    for name in TABLES:
        write_table(output / f"{name}.csv", getattr(findings, name))
    for name in PRINTED:
        with atomic_path(output / f"{name}.tex") as written:
            written.write_text(getattr(sarcopenia_latex, name)(getattr(findings, name)), encoding="utf-8")
    for path in output.glob("figure_*.p*"):
        remove(path)
    plates.write(output, findings.plates)
    with atomic_path(output / "report.html") as written:
        written.write_text(sarcopenia_report.render(findings), encoding="utf-8")
