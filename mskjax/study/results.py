"""The results of a study: every network's and reader's scores on the test slices, what follows from them, the report.

STUDY/evaluation/  cases.csv, observers.csv, table_1.csv/.tex, table_2, appendix_c, appendix_d, agreement.csv,
                   headline.csv, figure_*.png/.pdf, figure_captions.txt, report.html, summary.json

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
    headline,
    latex,
    observers,
    starts,
    study_folder,
    study_notes,
    study_plates,
    study_remarks,
    study_report,
    tables,
    text,
)
from mskjax.study.agreement import agreement
from mskjax.study.case_scores import COLUMNS, of_networks, write_cases
from mskjax.study.data_efficiency import PRETEXTS, Cell, checked, plan, pretexts, run_config
from mskjax.study.evaluation_folder import write_table
from mskjax.study.mask_judge import read_scores
from mskjax.study.study_findings import StudyFindings
from mskjax.study.study_folder import SUMMARY
from mskjax.training import provenance
from mskjax.training.origin import are_phantoms, provenance_of

# To be raised when a statistic, a figure or the report changes, so that former results are made anew.
EDITION = 3
METRICS = ["dice", "rms_dta_cm"]
TABLES = ("table_1", "table_2", "appendix_c", "appendix_d")
FILES = (
    *("cases.csv", "agreement.csv", "headline.csv", "report.html", "figure_3.png", "figure_4.png"),
    *(f"{name}.{suffix}" for name in TABLES for suffix in ("csv", "tex")),
)


def evaluate_study(
    workdir: str | Path,
    output: str | Path | None = None,
    dataset: str | Path | None = None,
    readers: str | Path | None = None,
) -> Path:
    """Makes the results of the study `workdir` from the cells that are done so far; the folder they are in.

    `output` is workdir/evaluation unless given; `dataset` is for one that has moved; `readers` is a CSV of readers'
    masks, else the config's, else a phantom dataset's own. What is up to date is left as it is. Raises `OSError` or
    `ValueError` where no cell is done or an input does not fit.
    """
    workdir, output = Path(workdir), Path(output or Path(workdir) / "evaluation")
    study = checked(read_json(workdir / "config.json"))
    require_folder(output)
    data = study_folder.own_dataset(workdir, Path(dataset or study["dataset"]))
    cells = plan(data.cases, study)
    for name in pretexts(study):
        if (folder := workdir / PRETEXTS / name).is_dir():
            provenance.check_dataset(folder, data.manifest["sha256"])
    folder = workdir / "cells"
    done = [cell for cell in cells if study_folder.is_done(folder / cell.name, run_config(study, cell), data)]
    lacking = _lacking(study, {cell.init for cell in done})
    cells = [cell for cell in cells if cell.init not in lacking]
    table = readers or study["observers"] or observers.default_observers(dataset or study["dataset"])
    cases = _cases(workdir, done, table, data)
    remarks = study_remarks.remarks(workdir, study, cells, cases, data)
    made_from = {**_made_from(workdir, study, cases, len(cells)), "remarks": remarks, "missing": lacking}
    if study_folder.is_current(output, FILES, made_from):
        logging.info("%s is up to date; delete this folder to evaluate again", output)
        return output
    remove(output / SUMMARY)
    write_cases(output / "cases.csv", cases)
    findings = _findings(workdir, study, data, cells, cases, table, lacking, remarks)
    _write(output, findings)
    write_json(output / SUMMARY, {"answer": _answer(findings), "made_from": made_from})
    return output


def _answer(findings: StudyFindings) -> list[str]:
    """Lines for a terminal: the headline, and the mean Dice and RMS-DTA of each initialisation and n."""
    networks = of_networks(findings.cases)
    rows = [["mean Dice, RMS-DTA in cm", *(f"n={n}" for n in findings.sizes)]]
    for init in findings.inits:
        means = [
            networks.loc[(networks["init"] == init) & (networks["n"] == n), METRICS].mean() for n in findings.sizes
        ]
        rows.append([init, *(f"{dice:.3f} {distance:.3f}" for dice, distance in means)])
    readers = findings.cases.loc[findings.cases["init"] == observers.OBSERVERS]
    told = [observers.answer(readers)] if len(readers) else []
    return [*study_notes.answer(findings), study_notes.against_random(findings), *text.table(rows).splitlines(), *told]


def _lacking(study: dict[str, Any], trained: set[str]) -> dict[str, str]:
    """The initialisations that no network has started from and whose weights are missing here, with what gets them."""
    rest = [init for init in study["inits"] if init not in trained]
    return starts.missing({**study, "inits": rest, "missing_weights": starts.SKIP})


def _cases(workdir: Path, cells: Sequence[Cell], readers: str | Path | None, data: Dataset) -> pd.DataFrame:
    """All rows of cases.csv: those of cells that are done, and of readers."""
    parts = []
    for cell in cells:
        about = {name: getattr(cell, name) for name in ("init", "n", "fold", "draw", "seed")}
        parts.append(read_scores(workdir / "cells" / cell.name, data).assign(**about, reader=""))
    if not parts:
        raise ValueError(f"no cell of {workdir} is done; train them with launch.sweep")
    if readers:
        parts.append(observers.score_observers(readers, data))
    numbers = dict.fromkeys(("n", "fold", "draw", "seed"), "Int64")
    rows = pd.concat([part.reindex(columns=list(COLUMNS)).astype(numbers) for part in parts], ignore_index=True)
    return rows.sort_values(["init", "n", "fold", "draw", "seed"], kind="stable", ignore_index=True)


def _made_from(workdir: Path, study: dict[str, Any], cases: pd.DataFrame, planned: int) -> dict[str, Any]:
    """All that the results depend on."""
    pretexts = sorted((workdir / "pretexts").glob("*/metrics.jsonl"))
    return {
        "cases_sha256": hashlib.sha256(cases.to_csv(index=False).encode()).hexdigest(),
        "planned": planned,
        "pretexts": {path.parent.name: sha256(path) for path in pretexts},
        **{name: study[name] for name in ("alpha", "bootstrap_samples", "leave_out", "slices_as_patients")},
        "mskjax": mskjax.__version__,
        "edition": EDITION,
    }


def _findings(
    workdir: Path,
    study: dict[str, Any],
    data: Dataset,
    cells: Sequence[Cell],
    cases: pd.DataFrame,
    readers: str | Path | None,
    lacking: dict[str, str],
    remarks: list[str],
) -> StudyFindings:
    own = data.cases["case_id"] if study["slices_as_patients"] else data.cases["patient_id"]
    patients = dict(zip(data.cases["case_id"].astype(str), own.astype(str), strict=True))
    drawn = {"patients": patients, "alpha": study["alpha"], "samples": study["bootstrap_samples"]}
    logging.info("testing %d scores; Dunnett's tests of a full study take a minute", len(cases))
    first = tables.table_1(cases, **drawn)
    answers = [headline.headline(first, study["alpha"]), headline.bootstrap_headline(cases, **drawn)]
    return StudyFindings(
        study=workdir.resolve().name,
        dataset=str(study["dataset"]),
        cases=cases,
        headline=pd.concat(answers, ignore_index=True),
        table_1=first,
        table_2=tables.table_2(cases, **drawn),
        appendix_c=tables.appendix_c(cases),
        appendix_d=tables.appendix_d(cases),
        agreement=agreement(cases, patients),
        plates=study_plates.make(workdir, study, cells, cases, readers, data),
        alpha=study["alpha"],
        planned_models=len(cells),
        permutations=study_plates.permutations(study),
        jigsaw_accuracy=study_plates.jigsaw_accuracy(workdir),
        phantoms=are_phantoms(data.cases["image"].astype(str)),
        missing_inits=lacking,
        readers_command=f"python -m launch.evaluate --workdir={workdir} --observers=READERS.csv",
        further_notes=remarks,
        provenance=provenance_of(workdir),
    )


def _write(output: Path, findings: StudyFindings) -> None:
    """Writes tables, figures and the report, replacing what former results left and nothing else."""
    for name in TABLES:
        table = getattr(findings, name)
        write_table(output / f"{name}.csv", table)
        with atomic_path(output / f"{name}.tex") as written:
            written.write_text(getattr(latex, name)(table, findings.alpha), encoding="utf-8")
    write_table(output / "agreement.csv", findings.agreement)
    write_table(output / "headline.csv", findings.headline)
    drawn = findings.cases.loc[findings.cases["init"] == observers.OBSERVERS]
    remove(output / "observers.csv")
    if len(drawn):
        write_table(output / "observers.csv", observers.summarise_observers(drawn))
    study_plates.write(output, findings.plates)
    with atomic_path(output / "report.html") as written:
        written.write_text(study_report.render(findings), encoding="utf-8")
