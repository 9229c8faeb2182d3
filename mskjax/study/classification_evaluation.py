"""Scoring a run of classification on held-out cases of its dataset.

    evaluation/  cases.csv, summary.json, roc_and_calibration.png and .pdf, figure_captions.txt, report.html

The threshold that decides is Youden's on the validation cases of the run's own dataset, whatever is evaluated: a
threshold chosen on the test cases themselves would flatter. summary.json is written last.
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from absl import logging

from mskjax.data.dataset import SPLITS, Dataset, read_dataset
from mskjax.data.splits import counted
from mskjax.files import atomic_path, read_json, remove, require_folder, write_json
from mskjax.measure.diagnosis import Threshold, youden_threshold
from mskjax.study import classification_report, diagnosis_plate, diagnosis_summary, evaluation_folder, plates
from mskjax.study.classifier import Classifier, load_classifier
from mskjax.training import origin

OUTPUTS = ("cases.csv", f"{diagnosis_plate.NAME}.png", "report.html", "summary.json")
# To be raised when a figure or the report changes, so that former evaluations are made anew.
_EDITION = 3


@dataclass(frozen=True)
class _Evaluated:
    """The run, the dataset and its path, the split and its rows, and whether the run learned from the dataset.

    `others` are the rows of the other splits, as of a cell of a study those of its own shuffle.
    """

    workdir: Path
    source: Path
    data: Dataset
    split: str
    rows: np.ndarray
    others: np.ndarray
    own: bool


def is_classification(workdir: str | Path) -> bool:
    """Whether a folder is the run of a classification."""
    config = Path(workdir) / "config.json"
    return config.is_file() and read_json(config).get("task", {}).get("name") == "classification"


def evaluate(
    workdir: str | Path, split: str = "test", output: str | Path | None = None, dataset: str | Path | None = None
) -> Path:
    """Evaluates the best weights of the run `workdir` on a split of its dataset; the folder with the results.

    `output` and `dataset` are as of `mskjax.study.evaluation.evaluate`. Cases without a label are decided but enter no
    figure. What is up to date is left as it is. Raises `OSError` where the run or the dataset is missing and
    `ValueError` where the split has no labelled cases, or holds other values than the run has learned from.
    """
    workdir, source, output, made_from, own = evaluation_folder.place(workdir, split, output, dataset)
    made_from = {**made_from, "classification_edition": _EDITION}
    if evaluation_folder.is_current(output, made_from, OUTPUTS):
        logging.info("%s is up to date; delete this folder to evaluate again", output)
        return output
    require_folder(output)
    data, classifier = read_dataset(source), load_classifier(workdir)
    rows = {name: _rows(data, name, classifier if own else None) for name in SPLITS}
    others = np.concatenate([rows[name] for name in SPLITS if name != split])
    what = _Evaluated(workdir, source, data, split, rows[split], others, own)
    cases, chosen = _cases(what, classifier), decision_threshold(workdir, source, data, own, classifier)
    cases["decision"] = (cases["probability"] >= chosen["value"]).astype(int)
    _write(output, what, cases, chosen, made_from)
    return output


def answer(output: Path) -> str:
    """The evaluation in a few lines of text, and where to read on."""
    found = read_json(output / "summary.json")
    told = f"{found['made_from']['split']} cases of {found['dataset']}: {found['cases']}, of them"
    lines = [f"{told} sarcopenic: {found['positive']}, patients: {found['patients']}"]
    for name, row in found["metrics"].items():
        value = f"not defined: {row['reason']}" if row["value"] is None else f"{row['value']:.3f}"
        if (interval := row.get("interval")) and interval["low"] is not None:
            value += f" (95 % interval {interval['low']:.3f} to {interval['high']:.3f})"
        lines.append(f"  {name:26} {value}")
    threshold = found["threshold"]
    lines.append(f"  {'threshold':26} {threshold['value']:.3f}, {threshold['origin']}")
    return "\n".join([*lines, f"report: {output / 'report.html'}"])


def _rows(data: Dataset, split: str, classifier: Classifier | None) -> np.ndarray:
    """The rows of a split, which the cell of a study, whose `classifier` is given, has drawn for itself."""
    own = classifier.own_cases(split) if classifier else []
    return np.flatnonzero(np.isin(data.slices.case_id, own)) if own else data.rows(split)


def _cases(what: _Evaluated, classifier: Classifier) -> pd.DataFrame:
    """The rows of cases.csv but for the decision, in the dataset's order."""
    known = what.data.cases.iloc[what.rows].reset_index(drop=True)
    if known["sarcopenia"].isna().all():
        raise ValueError(
            f"{what.source} has no {what.split} cases with a label; it counts {what.data.manifest['counts']}"
        )
    return pd.DataFrame(
        {
            "case_id": known["case_id"],
            "patient_id": known["patient_id"],
            "label": known["sarcopenia"],
            "probability": _probability(what.data, what.rows, what.source, classifier),
        }
    )


def _probability(data: Dataset, rows: np.ndarray, source: Path, classifier: Classifier) -> np.ndarray:
    """The probability of sarcopenia of some cases."""
    if data.values != classifier.task.values:
        raise ValueError(f"{source} holds {data.values} values; the run has learned from {classifier.task.values}")
    images = classifier.inputs(classifier.squares(data.slices.select(rows)))
    probability = classifier.probabilities(images)[:, 1].astype(float)
    if not np.isfinite(probability).all():
        raise ValueError("the run predicts values that are no numbers; its weights are damaged, so train it again")
    return probability


def decision_threshold(
    workdir: Path, source: Path, data: Dataset | None, own: bool, classifier: Classifier
) -> dict[str, Any]:
    """The threshold from which on a run decides for sarcopenic, and where it comes from: Youden's on validation cases.

    These are the labelled ones of the run's own dataset: of `data`, read from `source`, where it is the run's `own`,
    else of the one that its config names. The keys are `value`, 0.5 where none can be chosen, `youden`, then None,
    `reason`, why none can be, `cases` and `origin`, a sentence.
    """
    if not own:
        source = evaluation_folder.dataset_of(workdir)
        data = read_dataset(source) if (source / "dataset.json").is_file() else None
    rows = _rows(data, "validation", classifier) if data else np.zeros(0, int)
    if data and len(rows := rows[data.cases["sarcopenia"].iloc[rows].notna().to_numpy()]):
        label = data.cases["sarcopenia"].iloc[rows].to_numpy(int)
        found = youden_threshold(label, _probability(data, rows, source, classifier))
    else:
        why = "its own dataset has no labelled validation cases" if data else f"its own dataset {source} is gone"
        found = Threshold(0.5, math.nan, why)
    told = f"chosen on {len(rows)} validation cases" if not found.reason else f"not chosen, as {found.reason}"
    youden = None if math.isnan(found.youden) else found.youden
    return {**asdict(found), "youden": youden, "cases": len(rows), "origin": told}


def _write(
    output: Path, what: _Evaluated, cases: pd.DataFrame, threshold: dict[str, Any], made_from: dict[str, Any]
) -> None:
    labelled = cases.loc[cases["label"].notna()]
    found = diagnosis_summary.diagnose(
        labelled["label"].to_numpy(int),
        labelled["probability"].to_numpy(float),
        labelled["patient_id"].to_numpy(str),
        threshold["value"],
    )
    plate, notes = diagnosis_plate.plate(found, threshold["value"]), _notes(what, cases)
    remove(output / "summary.json")
    evaluation_folder.write_table(output / "cases.csv", cases)
    plates.write(output, [plate])
    curves = what.workdir / "loss_curves.png"
    findings = classification_report.Findings(
        run=what.workdir.resolve().name,
        dataset=str(what.source),
        split=what.split,
        cases=cases,
        diagnosis=found,
        threshold=threshold,
        plate=plate,
        notes=notes,
        loss_curves=curves.read_bytes() if curves.is_file() else None,
        provenance={"evaluation": made_from, "run": origin.provenance_of(what.workdir)},
    )
    with atomic_path(output / "report.html") as written:
        written.write_text(classification_report.render(findings), encoding="utf-8")
    summary = {"dataset": str(what.source), **diagnosis_summary.plain(found), "unlabelled": len(cases) - len(labelled)}
    write_json(output / "summary.json", {**summary, "threshold": threshold, "notes": notes, "made_from": made_from})


def _notes(what: _Evaluated, cases: pd.DataFrame) -> list[str]:
    """What a reader must know before trusting the figures, in sentences."""
    unlabelled, rows = int(cases["label"].isna().to_numpy().sum()), what.rows
    patients = what.data.cases["patient_id"].to_numpy(str)
    known = int(np.isin(patients[rows], patients[what.others]).sum())
    # Of patients in a study's cell, whose slices without a label are of no part.
    rest = np.setdiff1d(np.arange(len(patients)), [*rows, *what.others])
    further = int(np.isin(patients[rest], patients[rows]).sum())
    notes = {
        "The cases are phantoms, drawn by a program; these figures say nothing about patients.": origin.are_phantoms(
            what.data.cases["image"].iloc[rows].astype(str)
        ),
        "This is not the dataset that the run was trained on; whether the run has seen these patients before, its "
        "splits do not tell.": not what.own,
        "The threshold was chosen on these very cases, which flatters every figure that depends on it.": what.own
        and what.split == "validation",
        "The run has learned from these cases; these figures say nothing about new patients.": what.own
        and what.split == "train",
        f"{known} of {len(rows)} cases show patients who are in another split too; these figures say little about new "
        "patients.": known > 0,
        f"{counted(further, 'further slice')} of these patients without a label {'is' if further == 1 else 'are'} left "
        "out.": further > 0,
        f"{unlabelled} of {len(cases)} cases have no label: they are decided, and enter no figure.": unlabelled > 0,
        "The run has not finished; these are its best weights so far.": not (what.workdir / "DONE").is_file(),
    }
    return [sentence for sentence, applies in notes.items() if applies]
