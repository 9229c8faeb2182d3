"""The report of a classification study: one HTML file, the answer first, then tables, figures and explanations."""

import math
from pathlib import Path
from typing import Any

from PIL import Image

from mskjax.data.splits import counted
from mskjax.study import page, plates, sarcopenia_notes
from mskjax.study.diagnosis_summary import MEASURES
from mskjax.study.page import Cell
from mskjax.study.report import EMBEDDED_PICTURES, flat, jpeg, number
from mskjax.study.sarcopenia_findings import SarcopeniaFindings, called
from mskjax.study.sarcopenia_sexes import RATES, UNKNOWN
from mskjax.study.sarcopenia_tables import POOLED

BESIDE = (
    "Beside this page lie cases.csv with every probability, shuffles.csv with a row for each trained network, each "
    f"table as csv (tables 1 and 2 as LaTeX too), each figure as png and pdf, and {plates.CAPTIONS}."
)
_TITLES = {
    "accuracy": "Accuracy",
    "precision": "Precision",
    "recall": "Recall",
    "specificity": "Specificity",
    "f1": "F1",
}
_SEXES = {"M": "men", "F": "women", UNKNOWN: "not known"}


def render(findings: SarcopeniaFindings) -> str:
    """The report as HTML."""
    sections = (_opening, _table_1, _table_2, _counts, _sexes, _curves, _cohort, _explained, _key, _shuffles, _origin)
    parts = [part for section in sections for part in section(findings)]
    return page.page(f"{findings.study}: sarcopenic or not?", parts)


def _opening(findings: SarcopeniaFindings) -> list[str]:
    tested = findings.cases.loc[findings.cases["split"] == "test", "patient_id"].nunique()
    what = (
        f"Folder {findings.study}: {len(findings.shuffles)} of {counted(findings.planned_cells, 'cell')} trained, "
        f"{counted(tested, 'patient')} tested in one shuffle or more. Dataset {findings.dataset}."
    )
    return [
        page.heading("Sarcopenic or not?", 1),
        page.paragraph(what, "soft"),
        *(page.paragraph(sentence, "answer") for sentence in sarcopenia_notes.answer(findings)),
        *(page.note(*note) for note in sarcopenia_notes.notes(findings)),
    ]


def _table_1(findings: SarcopeniaFindings) -> list[str]:
    key = "Highest mean AUC of the tests first; bold what validation prefers. Pointing at a dash shows why it is one."
    header = ["Network", "Policy", "AUC, mean", "sd", "95 % interval of the mean", "Shuffles", "Validation AUC, mean"]
    rows = []
    for row in findings.table_1.to_dict("records"):
        best = (row["network"], row["policy"]) == findings.best
        interval = f"{number(row['auc_low'], 2)} to {number(row['auc_high'], 2)}"
        rows.append(
            [
                Cell(called(row["network"]), kind="better" if best else ""),
                Cell(row["policy"], kind="better" if best else ""),
                Cell(number(row["auc_mean"], 2), hover=row["undefined"]),
                Cell(number(row["auc_sd"], 2), hover=row["undefined"]),
                Cell("\N{EN DASH}" if math.isnan(row["auc_low"]) else interval, hover=row["undefined"]),
                str(row["shuffles"]),
                number(row["validation_auc_mean"], 2),
            ]
        )
    return [
        page.heading("Table 1: AUC of every network and policy"),
        page.paragraph(f"{key} {_left_out(findings)}", "soft"),
        page.table(header, rows, words=2),
        *_drawn(findings, "figure_1"),
    ]


def _table_2(findings: SarcopeniaFindings) -> list[str]:
    key = (
        "At the thresholds that validation cases chose: mean ± sd over the shuffles in which it is defined; below it "
        "of how many, where it is not defined in all; of all tests pooled; and of the shuffle that validation prefers. "
        "An en dash is what is not defined; pointing at it shows why."
    )
    rows = [
        [called(row["network"]), row["policy"], *(_measure(row, name) for name in MEASURES), str(row["shown_shuffle"])]
        for row in findings.table_2.to_dict("records")
    ]
    header = ["Network", "Policy", *_TITLES.values(), "Shown shuffle"]
    return [
        page.heading("Table 2: what is told right"),
        page.paragraph(key, "soft"),
        page.table(header, rows, words=2),
        *_why(findings),
    ]


def _measure(row: dict[str, Any], name: str) -> Cell:
    mean, sd, undefined = (row[f"{name}_{part}"] for part in ("mean", "sd", "undefined"))
    defined = f"{row['shuffles'] - undefined} of {row['shuffles']} shuffles"
    below = [defined] if undefined else []
    below += [f"{scope} {number(row[f'{scope}_{name}'], 2)}" for scope in ("pooled", "shown")]
    spread = "" if math.isnan(sd) else f" ± {number(sd, 2)}"
    why = [part for part in row["undefined"].split("; ") if name in part.partition(":")[0].split()]
    return Cell(number(mean, 2) + spread, below, "; ".join(why))


def _why(findings: SarcopeniaFindings) -> list[str]:
    """What is not defined in Table 2, for each network and policy, as paper has no pointer."""
    told = findings.table_2.loc[findings.table_2["undefined"] != ""].to_dict("records")
    if not told:
        return []
    facts = {f"{called(row['network'])} {row['policy']}": row["undefined"] for row in told}
    return [page.heading("Not defined", 3), page.facts(facts)]


def _counts(findings: SarcopeniaFindings) -> list[str]:
    header = ["Network", "Policy", "Tests", "Rightly not", "Wrongly sarcopenic", "Missed", "Rightly sarcopenic"]
    rows = [
        [
            called(row["network"]),
            row["policy"],
            row["scope"] if row["scope"] == POOLED else f"shuffle {row['shuffle']}",
            *(str(row[name]) for name in ("tn", "fp", "fn", "tp")),
        ]
        for row in findings.confusion.to_dict("records")
    ]
    return [page.heading("Who is called what"), *_drawn(findings, "figure_3a"), page.table(header, rows, words=3)]


def _sexes(findings: SarcopeniaFindings) -> list[str]:
    heading = page.heading("Men and women")
    if set(findings.by_sex["sex"]) == {UNKNOWN}:
        told = "The sex of no tested case is known; a column sex in the --cases of launch.prepare tells it."
        return [heading, page.paragraph(told, "soft")]
    key = (
        "AUC: mean over the shuffles in whose test the sex has cases of both classes, and below it of how many. Recall "
        "and specificity: of all tests pooled, at the thresholds of all cases together. With few sarcopenic cases of "
        "a sex, differences between the sexes are mostly chance. Pointing at a dash shows why it is one."
    )
    header = ["Network", "Policy", "Sex", "Sarcopenic patients", "AUC, mean", "95 % interval of the mean"]
    rows = []
    for row in findings.by_sex.to_dict("records"):
        interval = f"{number(row['auc_low'], 2)} to {number(row['auc_high'], 2)}"
        rows.append(
            [
                called(row["network"]),
                row["policy"],
                _SEXES[row["sex"]],
                f"{row['sarcopenic_patients']} of {row['patients']}",
                Cell(number(row["auc_mean"], 2), [f"{row['auc_shuffles']} of {row['shuffles']}"], row["undefined"]),
                Cell("\N{EN DASH}" if math.isnan(row["auc_low"]) else interval, hover=row["undefined"]),
                *(Cell(number(row[name], 2), hover=row["undefined"]) for name in RATES),
            ]
        )
    return [heading, page.paragraph(key, "soft"), page.table([*header, "Recall", "Specificity"], rows, words=3)]


def _curves(findings: SarcopeniaFindings) -> list[str]:
    return [page.heading("Ranking and calibration"), *_drawn(findings, "figure_roc", "figure_calibration")]


def _cohort(findings: SarcopeniaFindings) -> list[str]:
    drawn = _drawn(findings, "figure_2")
    none = page.paragraph("Figure 2 shows slices with their masks, and no labelled case has a mask.", "soft")
    return [page.heading("The cohort"), *(drawn or [none])]


def _explained(findings: SarcopeniaFindings) -> list[str]:
    """Figures 3b and 3c, or how they are made, and the pictures of single cases."""
    parts = [page.heading("Figure 3b and c: why, by Grad-CAM and LIME")]
    parts += _drawn(findings, "figure_3b", "figure_3c") + _how_explained(findings)
    every = [(cell, path) for cell, paths in findings.explanations.items() for path in paths]
    every.sort(key=lambda one: one[0] != findings.shown_cell)
    made = every[:EMBEDDED_PICTURES]
    own = [_picture(*one) for one in made if one[0] == findings.shown_cell]
    others = [_picture(*one) for one in made[len(own) :]]
    parts += [page.pictures(own)] * bool(own)
    parts += [page.heading("Explanations of other cells"), page.pictures(others)] if others else []
    left_out = len(every) - len(made)
    return parts + [page.paragraph(f"{left_out} more lie in the cells' folders.", "soft")] * (left_out > 0)


def _picture(cell: str, path: Path) -> str:
    with Image.open(path) as picture:
        embedded = jpeg(picture.convert("RGB"))
    return page.figure(embedded, "jpeg", f"Explanation of a case by {cell}", f"{cell}: {path.stem}")


def _how_explained(findings: SarcopeniaFindings) -> list[str]:
    """What makes both figures, where one or both are missing."""
    drawn = [plate.title for plate in findings.plates if plate.name in ("figure_3b", "figure_3c")]
    if len(drawn) == 2:
        return []
    if not findings.explain_command:
        return [page.note("The study has kept no weights, so that its decisions cannot be explained any more.")]
    lacking = f"There are no maps but those of {drawn[0]}" if drawn else "Nothing explains the shown decisions yet"
    return [page.note(f"{lacking}. What makes figures 3b and c:", findings.explain_command)]


def _key(findings: SarcopeniaFindings) -> list[str]:
    return [page.heading("How to read this"), page.definitions(sarcopenia_notes.HOW_TO_READ)]


def _shuffles(findings: SarcopeniaFindings) -> list[str]:
    header = ["Network", "Policy", "Shuffle", "Sarcopenic of tested", "AUC", "95 % interval", "Validation AUC"]
    header += ["Threshold", *_TITLES.values(), "Brier", "Calibration error"]
    rows = []
    for row in findings.shuffles.to_dict("records"):
        interval = f"{number(row['auc_low'], 2)} to {number(row['auc_high'], 2)}"
        why = row["undefined"]
        rows.append(
            [
                called(row["network"]),
                row["policy"],
                str(row["shuffle"]),
                f"{row['test_sarcopenic']} of {row['test_cases']}",
                number(row["auc"], 2),
                Cell("\N{EN DASH}" if math.isnan(row["auc_low"]) else interval, hover=why),
                number(row["validation_auc"], 2),
                Cell(number(row["threshold"], 3), hover=row["threshold_reason"]),
                *(Cell(number(row[name], 2), hover=why if math.isnan(row[name]) else "") for name in MEASURES),
                number(row["brier"], 3),
                number(row["calibration_error"], 3),
            ]
        )
    return [page.heading("Every shuffle"), page.table(header, rows, words=2)]


def _origin(findings: SarcopeniaFindings) -> list[str]:
    return [page.heading("Where it comes from"), page.paragraph(BESIDE), page.facts(flat(findings.provenance))]


def _left_out(findings: SarcopeniaFindings) -> str:
    """How often the bootstrap drew no case of a class for a test; table_1.csv has it for each network and policy."""
    left_out, drawn = (int(findings.table_1[f"{name}_tests"].to_numpy(int).sum()) for name in ("left_out", "drawn"))
    share = f"{100 * left_out / drawn:.1f} %"
    return f"Of the tests that the bootstrap drew {share} lack a class and are left out of their sample's mean."


def _drawn(findings: SarcopeniaFindings, *names: str) -> list[str]:
    """The figures of these names that are at hand, as HTML."""
    known = {plate.name: plate for plate in findings.plates}
    chosen = [known[name] for name in names if name in known]
    return [page.figure(p.png, "png", p.description, f"{p.title}. {p.caption}", p.width_inches) for p in chosen]
