"""The results of study B's muscle masks: Dice and area of every shuffle, decisions by every set of cut-offs, report.

STUDY/evaluation/  cases.csv, shuffles.csv, table_3.csv/.tex, table_4.csv/.tex, decisions.csv, cutoffs.csv,
                   bland_altman.csv, figure_*.png/.pdf, bland_altman.png/.pdf, figure_captions.txt, report.html,
                   summary.json

summary.json is written last and says what the results were made from: while that stands, nothing is made again.
"""

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd
from absl import logging

import mskjax
from mskjax.data.dataset import Dataset
from mskjax.files import atomic_path, read_json, remove, require_folder, write_json
from mskjax.measure import cutoffs
from mskjax.study import (
    area_decisions,
    area_examples,
    area_figures,
    area_latex,
    area_notes,
    area_report,
    area_scores,
    area_tables,
    plates,
    sarcopenia_examples,
    starts,
    study_folder,
    study_remarks,
    text,
)
from mskjax.study.area_findings import AreaFindings, called
from mskjax.study.area_scores import PERCENT, gather, of_part
from mskjax.study.evaluation_folder import write_table
from mskjax.study.mask_judge import PREDICTIONS, read_masks
from mskjax.study.plates import Plate
from mskjax.study.sarcopenia_cohort import notes
from mskjax.study.sarcopenia_segmentation import checked, missing, plan, run_config
from mskjax.study.study_folder import SUMMARY
from mskjax.training.origin import are_phantoms, provenance_of

# To be raised when a figure, a table or the report changes, so that former results are made anew.
EDITION = 2
TABLES = ("cases", "shuffles", "table_3", "table_4", "decisions", "cutoffs", "bland_altman")
FIGURES = ("figure_3", "figure_areas", "bland_altman")
FILES = (
    *(f"{name}.csv" for name in TABLES),
    *("table_3.tex", "table_4.tex"),
    *(f"{name}.{suffix}" for name in FIGURES for suffix in ("png", "pdf")),
    *(plates.CAPTIONS, "report.html"),
)
SEEN = "Networks see the scan around the slice, and learn from the masks of all slices of it that were drawn."


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
    cases = gather(workdir, done, data)
    lacking = _lacking(study, {cell.init for cell in done})
    cells = [cell for cell in cells if cell.init not in lacking]
    remarks = [*study_remarks.of_cells(folders, cells, study, "networks of initialisation"), *notes(data.cases, study)]
    made_from = {**_made_from(study, cases), "planned": len(cells), "remarks": remarks, "missing": lacking}
    if study_folder.is_current(output, FILES, made_from):
        logging.info("%s is up to date; delete this folder to evaluate again", output)
        return output
    remove(output / SUMMARY)
    tables, decided = _tables(cases, study["cutoffs"])
    findings = AreaFindings(
        study=workdir.resolve().name,
        dataset=str(study["dataset"]),
        **tables,
        decided=decided,
        rules=_rules(decided),
        plates=_plates(workdir, study, tables, decided, data),
        planned_cells=len(cells),
        phantoms=are_phantoms(data.cases["image"].astype(str)),
        missing_inits=lacking,
        further_notes=remarks,
        provenance=provenance_of(workdir),
    )
    _write(output, findings)
    write_json(output / SUMMARY, {"answer": _answer(findings), "made_from": made_from})
    return output


def _answer(findings: AreaFindings) -> list[str]:
    """Lines for a terminal: the answer, and Dice and area difference of each initialisation."""
    rows = [["tests of all shuffles", "Dice", "area difference, %", "shuffles"]]
    for init in findings.inits:
        row, number = findings.over_all(init), list(findings.shuffles["init"]).count(init)
        told = area_notes.spread(row, "dice", 3), area_notes.spread(row, PERCENT, 2, is_signed=True)
        rows.append([called(init), *told, str(number)])
    return [*area_notes.answer(findings), *text.table(rows).splitlines()]


def _lacking(study: dict[str, Any], trained: set[str]) -> dict[str, str]:
    """The initialisations of which no cell is done and whose weights are missing here, with what adds them."""
    rest = [name for name in study["inits"] if name not in trained]
    return missing({**study, "inits": rest, "missing_weights": starts.SKIP})


def _made_from(study: dict[str, Any], cases: pd.DataFrame) -> dict[str, Any]:
    """What the results depend on, besides the plan and the remarks; masks only change with scores."""
    return {
        "scores_sha256": hashlib.sha256(cases.to_csv(index=False).encode()).hexdigest(),
        "cutoffs": study["cutoffs"],
        "mskjax": mskjax.__version__,
        "edition": EDITION,
    }


def _tables(cases: pd.DataFrame, key: str) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """The frames of `TABLES`, and the decisions of the set that decides."""
    shuffles = area_scores.measure(cases)
    decisions = area_decisions.decisions(of_part(cases, "test"), cutoffs.read())
    decided = area_decisions.decided_by(decisions, key)
    made = {
        "table_3": area_tables.table_3(shuffles),
        "table_4": area_tables.table_4(cases, decided, shuffles),
        "decisions": decisions,
        "cutoffs": area_decisions.agreement(decisions, area_scores.shown(shuffles)),
        "bland_altman": area_tables.bland_altman(cases),
    }
    return {"cases": cases, "shuffles": shuffles, **made}, decided


def _rules(decided: pd.DataFrame) -> list[cutoffs.Cutoff]:
    first = decided.iloc[0]
    return [rule for rule in cutoffs.read() if (rule.key, rule.measure) == (first["set"], first["measure"])]


def _plates(
    workdir: Path, study: dict[str, Any], tables: dict[str, pd.DataFrame], decided: pd.DataFrame, data: Dataset
) -> list[Plate]:
    cases, shuffles = tables["cases"], tables["shuffles"]
    tests, init = of_part(cases, "test"), area_scores.best_init(shuffles)
    shuffle = area_scores.shown(shuffles)[init]
    width, level = study["task"]["window_hu"], study["task"]["level_hu"]
    window = (level - width / 2, level + width / 2)
    own = cases.loc[(cases["init"] == init) & (cases["shuffle"] == shuffle)]
    masks = read_masks(workdir / "cells" / f"{init}_shuffle{shuffle}" / PREDICTIONS)
    shown = sarcopenia_examples.examples(data)
    return [
        *([sarcopenia_examples.examples_figure(shown, window, SEEN)] if shown else []),
        area_figures.dice_figure(cases, shuffles),
        *area_examples.figures(own, masks, data, window, f"{called(init)}, shuffle {shuffle}"),
        area_figures.areas_figure(tests, init, _rules(decided)),
        area_figures.agreement_figure(tests, init),
    ]


def _write(output: Path, findings: AreaFindings) -> None:
    """Writes tables, figures and the report, replacing what former results left and nothing else."""
    for name in TABLES:
        write_table(output / f"{name}.csv", getattr(findings, name))
    printed = {
        "table_3": area_latex.table_3(findings.table_3),
        "table_4": area_latex.table_4(findings.table_4, findings.rules),
    }
    for name, words in printed.items():
        with atomic_path(output / f"{name}.tex") as written:
            written.write_text(words, encoding="utf-8")
    for path in output.glob("figure_*.p*"):
        remove(path)
    plates.write(output, findings.plates)
    with atomic_path(output / "report.html") as written:
        written.write_text(area_report.render(findings), encoding="utf-8")
