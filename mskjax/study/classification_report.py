"""The report of an evaluation of classification: one HTML file, the answer first, then every figure and every case."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mskjax.study import page
from mskjax.study.diagnosis_summary import Diagnosis
from mskjax.study.plates import Plate
from mskjax.study.report import flat, number

NAMES = {
    "accuracy": "Accuracy",
    "precision": "Precision",
    "recall": "Recall (sensitivity)",
    "specificity": "Specificity",
    "f1": "F1",
}
HOW_TO_READ = {
    "AUC": "The chance that a sarcopenic case has a higher probability than one that is not, ties counting one half; "
    "0.5 is guessing. The interval holds 95 % of 2000 bootstrap samples of patients, as many of them sarcopenic as "
    "there are. It is too narrow for few patients, and has no width where the classes do not overlap.",
    "Threshold": "Cases of this probability or more are called sarcopenic. It is the one of the largest sensitivity + "
    "specificity (Youden) on the validation cases; of equally good ones the nearest to 0.5, and of two as near the "
    "lower. Where none can be chosen it is 0.5.",
    "Precision, recall, F1": "The share of cases called sarcopenic that are; the share of sarcopenic cases that are "
    "called so; the harmonic mean of both. Where no case is called sarcopenic, precision and F1 are not defined, and "
    "are not 0.",
    "Brier score": "The mean squared difference of probability and truth, from 0 (best) to 1; the share p of "
    "sarcopenic cases, said of every case, scores p (1 - p).",
    "Expected calibration error": "How far, on average, the probability of a bin of width 0.1 lies from the share of "
    "sarcopenic cases in it. It is too large where bins hold few cases.",
}


@dataclass(frozen=True)
class Findings:
    """What a report is made of; `cases` are the rows of cases.csv."""

    run: str
    dataset: str
    split: str
    cases: pd.DataFrame
    diagnosis: Diagnosis
    threshold: Mapping[str, Any]
    plate: Plate
    notes: Sequence[str]
    loss_curves: bytes | None
    provenance: Mapping[str, Any]


def render(findings: Findings) -> str:
    """The report as HTML."""
    found, plate = findings.diagnosis, findings.plate
    what = f"Run {findings.run}, {findings.split} split of {findings.dataset}"
    parts = [
        page.heading("Sarcopenic or not, from one slice", 1),
        page.paragraph(f"{what}: cases: {found.cases}, patients: {found.patients}.", "soft"),
        page.paragraph(_answer(findings), "answer"),
        page.cards(_cards(found)),
        *(page.paragraph(note, "note") for note in findings.notes),
        page.heading(plate.title),
        page.figure(plate.png, "png", plate.description, plate.caption),
        page.heading("Decisions at the threshold"),
        _confusion(found),
        page.heading("All figures"),
        _figures(found),
        page.heading("Every case, the likeliest first"),
        _cases(findings.cases),
        *_loss_curves(findings),
        page.heading("How to read this"),
        page.definitions(HOW_TO_READ),
        page.heading("Where it comes from"),
        page.facts(flat(findings.provenance)),
    ]
    return page.page(f"{findings.run}: {findings.split}", parts)


def _answer(findings: Findings) -> str:
    found, counts = findings.diagnosis, findings.diagnosis.counts
    if found.reasons.get("auc"):
        ranked = f"An AUC is not defined, as {found.reasons['auc']}."
    else:
        ranked = f"Sarcopenic cases rank above the others with an AUC of {number(found.auc, 3)}{_interval(found)}."
    return (
        f"{ranked} At the threshold of {findings.threshold['value']:.3f}, {findings.threshold['origin']}, "
        f"{counts.true_positive} of {counts.positive} sarcopenic cases are called so, and {counts.false_positive} of "
        f"{counts.negative} others."
    )


def _interval(found: Diagnosis) -> str:
    if found.interval.reason:
        return ""
    return f" (95 % interval {number(found.interval.low, 3)} to {number(found.interval.high, 3)})"


def _cards(found: Diagnosis) -> list[tuple[str, str, str, str]]:
    spread = _interval(found).strip(" ()") or found.interval.reason
    cards = [("AUC", number(found.auc, 3), "", found.reasons.get("auc", spread))]
    chosen = ("accuracy", "precision", "recall", "f1")
    return cards + [(NAMES[name], number(found.measures[name], 3), "", _why(found, name)) for name in chosen]


def _why(found: Diagnosis, name: str) -> str:
    return f"not defined: {found.reasons[name]}" if name in found.reasons else ""


def _confusion(found: Diagnosis) -> str:
    counts = found.counts
    header = ["Truth", "Called not sarcopenic", "Called sarcopenic"]
    rows = [
        ["Not sarcopenic", str(counts.true_negative), str(counts.false_positive)],
        ["Sarcopenic", str(counts.false_negative), str(counts.true_positive)],
    ]
    return page.table(header, rows)


def _figures(found: Diagnosis) -> str:
    rows = [["AUC", number(found.auc, 3), _why(found, "auc") or _interval(found).strip(" ()") or found.interval.reason]]
    rows += [[title, number(found.measures[name], 3), _why(found, name)] for name, title in NAMES.items()]
    rows += [["Brier score", number(found.brier, 3), ""]]
    rows += [["Expected calibration error", number(found.calibration_error, 3), ""]]
    return page.table(["Figure", "Value", "Remark"], rows)


def _cases(cases: pd.DataFrame) -> str:
    words = {0: "not sarcopenic", 1: "sarcopenic"}
    ranked, rows = cases.sort_values("probability", ascending=False, kind="stable"), []
    for case in ranked.to_dict("records"):
        truth = words.get(case["label"], "not known")
        kind = "worse" if truth not in ("not known", words[case["decision"]]) else ""
        decision = page.Cell(words[case["decision"]], kind=kind, hover="wrong" if kind else "")
        rows.append([case["case_id"], number(case["probability"], 3), truth, decision])
    return page.table(["Case", "Probability", "Truth", "Decision"], rows)


def _loss_curves(findings: Findings) -> list[str]:
    if findings.loss_curves is None:
        return []
    return [page.heading("Training"), page.figure(findings.loss_curves, "png", "Loss curves of the run")]
