"""The report of a study of muscle masks in whole scans: one HTML file, the answer first, then tables and figures."""

import math
from typing import Any

import pandas as pd

from mskjax.data.splits import counted
from mskjax.study import area_notes, page, plates
from mskjax.study.area_decisions import ALL, LABEL, REFERENCE, SHOWN
from mskjax.study.area_findings import AreaFindings, called, cutoff_words, typeset
from mskjax.study.area_scores import PERCENT, by_init
from mskjax.study.area_tables import OVER_ALL
from mskjax.study.page import Cell
from mskjax.study.report import flat, number

BESIDE = (
    "Beside this page lie cases.csv with a row for each validation and test case, shuffles.csv with a row for each "
    "trained network, decisions.csv with what every set of cut-offs says of every test, cutoffs.csv with how often "
    "that agrees with the reference, bland_altman.csv, tables 3 and 4 as csv and LaTeX, each figure as png and pdf, "
    f"and {plates.CAPTIONS}."
)
_DECISIONS = {0: "no", 1: "yes"}
_UNKNOWN = "\N{EN DASH}"


def render(findings: AreaFindings) -> str:
    """The report as HTML."""
    sections = (_opening, _table_3, _table_4, _masks, _cutoffs, _agreement, _cohort, _key, _origin)
    parts = [part for section in sections for part in section(findings)]
    return page.page(f"{findings.study}: muscle area and sarcopenia", parts)


def _opening(findings: AreaFindings) -> list[str]:
    tested = findings.cases.loc[findings.cases["part"] == "test", "patient_id"].nunique()
    what = (
        f"Folder {findings.study}: {len(findings.shuffles)} of {counted(findings.planned_cells, 'cell')} trained, "
        f"{counted(tested, 'patient')} tested in one shuffle or more. Dataset {findings.dataset}."
    )
    return [
        page.heading("Muscle area at L3, and sarcopenia by it", 1),
        page.paragraph(what, "soft"),
        *(page.paragraph(sentence, "answer") for sentence in area_notes.answer(findings)),
        *(page.note(*note) for note in area_notes.notes(findings)),
    ]


def _table_3(findings: AreaFindings) -> list[str]:
    key = (
        "Mean ± sd over the tests of each shuffle, signed differences being predicted minus reference in percent of "
        "the reference; in the row of all, mean ± sd of the shuffles' means. Bold is the shuffle that validation "
        "prefers."
    )
    header = ["Initialisation", "Shuffle", "Dice", "Area difference (%)", "Tests", "Empty predictions"]
    header += ["No reference area", "Validation Dice"]
    rows = [
        [
            called(row["init"]),
            Cell("all shuffles" if row["shuffle"] == OVER_ALL else row["shuffle"], kind="better" * row["shown"]),
            area_notes.spread(row, "dice", 2),
            area_notes.spread(row, PERCENT, 2, is_signed=True),
            *(str(row[name]) for name in ("tests", "empty", "undefined")),
            number(row["validation_dice_mean"], 3),
        ]
        for row in _records(findings.table_3)
    ]
    return [
        page.heading("Table 3: overlap and area of every shuffle"),
        page.paragraph(key, "soft"),
        page.table(header, rows, words=2),
        *_drawn(findings, "figure_3"),
    ]


def _table_4(findings: AreaFindings) -> list[str]:
    rules = typeset(cutoff_words(findings.rules))
    key = (
        f"Sarcopenic by {findings.rules[0].key}, which decides (config.cutoffs): {rules}. Pointing at a dash shows why "
        "there is no decision; underlined is a decision that is not that of the reference mask."
    )
    header = ["Case", "Sex", "Label", "Reference SMA (cm²)", "Sarcopenic by reference", "Dice", "SMA (cm²)"]
    margin = f"({typeset(findings.rules[0].units)})"
    header += ["Sarcopenic by prediction", "Error (%)", f"Margin {margin}", f"Margin of the reference {margin}"]
    parts = [page.heading("Table 4: the cases of the shown shuffle"), page.paragraph(key, "soft")]
    for init, rows in by_init(findings.table_4):
        parts.append(page.heading(f"{called(init)}, shuffle {rows['shuffle'].iloc[0]}", 3))
        parts.append(page.table(header, [_case(row) for row in _records(rows)]))
    return parts


def _case(row: dict[str, Any]) -> list[str | Cell]:
    wrong = not pd.isna(row["reference_below"]) and (pd.isna(row["below"]) or row["below"] != row["reference_below"])
    return [
        str(row["case_id"]),
        row["sex"] or _UNKNOWN,
        _DECISIONS[row["sarcopenia"]],
        number(row["reference_sma_cm2"], 1),
        Cell(_decision(row["reference_below"]), hover=row["reference_why"]),
        number(row["dice"], 2),
        number(row["sma_cm2"], 1),
        Cell(_decision(row["below"]), hover=row["why"], kind="worse" * wrong),
        number(row["error_percent"], 2),
        *(number(_value(row[name]), 1, signed=True) for name in ("margin", "reference_margin")),
    ]


def _masks(findings: AreaFindings) -> list[str]:
    drawn = _drawn(findings, "figure_4", "figure_5")
    none = page.paragraph("The shown shuffle has no test case to draw.", "soft")
    return [page.heading("Figures 4 and 5: predicted masks"), *(drawn or [none])]


def _cutoffs(findings: AreaFindings) -> list[str]:
    key = (
        f"{called(findings.best)}, the tests of all shuffles, and below them those of shuffle "
        f"{findings.shown_shuffle}. A test counts where the reference mask can be decided about; pointing at a number "
        f"of the others shows why not. {findings.rules[0].key} decides. The last column compares with the labels."
    )
    own = findings.cutoffs.loc[findings.cutoffs["init"] == findings.best]
    rows = []
    for (name, measure), each in own.groupby(["set", "measure"], sort=False):
        known = {(row["against"], row["scope"]): row for row in _records(each)}
        both = [known[REFERENCE, scope] for scope in (ALL, SHOWN)]
        labels = known[LABEL, ALL]
        rows.append(
            [
                Cell(str(name), kind="better" * (name == findings.rules[0].key)),
                str(measure).upper(),
                Cell(f"{both[0]['cases'] - both[0]['undecided']}", hover=both[0]["why"]),
                Cell(str(both[0]["undecided"]), hover=both[0]["why"]),
                *(_two(both, share, part, whole) for share, part, whole in _SHARES),
                str(both[0]["no_decision"]),
                f"{number(labels['sensitivity'], 2)} / {number(labels['specificity'], 2)}",
            ]
        )
    header = ["Set", "Measure", "Decided", "Not decided", "Sensitivity", "Specificity", "Without a prediction"]
    return [
        page.heading("Sarcopenia by every set of cut-offs"),
        page.paragraph(key, "soft"),
        page.table([*header, "Sensitivity / specificity of labels"], rows, words=2),
        *_drawn(findings, "figure_areas"),
    ]


_SHARES = (("sensitivity", "tp", "positive"), ("specificity", "tn", "negative"))


def _two(rows: list[dict[str, Any]], share: str, part: str, whole: str) -> Cell:
    """A share of all shuffles with its counts, and of the shown one below."""
    first, second = (f"{row[part]} of {row[whole]}" for row in rows)
    return Cell(f"{number(rows[0][share], 2)} ({first})", [f"{number(rows[1][share], 2)} ({second})"])


def _agreement(findings: AreaFindings) -> list[str]:
    header = [
        "Metric",
        "Initialisation",
        "Bias",
        "95 % interval of it",
        "Limits of agreement",
        "ICC(2,1)",
        "Predictions",
    ]
    rows = [
        [
            {"sma_cm2": "SMA (cm²)", "smd_hu": "SMD (HU)"}[row["metric"]],
            called(row["init"]),
            number(row["bias"], 1, signed=True),
            _interval(row["bias_low"], row["bias_high"]),
            _interval(row["lower_limit"], row["upper_limit"]),
            Cell(number(row["icc_2_1"], 3), hover=row["reason"]),
            f"{row['values'] - row['non_finite']} of {row['values']}",
        ]
        for row in _records(findings.bland_altman)
    ]
    return [
        page.heading("Agreement in area and density"),
        page.table(
            [*header, "Patients"],
            [[*cells, str(n)] for cells, n in zip(rows, findings.bland_altman["patients"], strict=True)],
            words=2,
        ),
        *_drawn(findings, "bland_altman"),
    ]


def _interval(low: float, high: float) -> str:
    return _UNKNOWN if math.isnan(low) else f"{number(low, 1, signed=True)} to {number(high, 1, signed=True)}"


def _cohort(findings: AreaFindings) -> list[str]:
    return [page.heading("The cohort"), *_drawn(findings, "figure_2")]


def _key(findings: AreaFindings) -> list[str]:
    return [page.heading("How to read this"), page.definitions(area_notes.HOW_TO_READ)]


def _origin(findings: AreaFindings) -> list[str]:
    return [page.heading("Where it comes from"), page.paragraph(BESIDE), page.facts(flat(findings.provenance))]


def _drawn(findings: AreaFindings, *names: str) -> list[str]:
    """The figures of these names that are at hand, as HTML."""
    known = {plate.name: plate for plate in findings.plates}
    chosen = [known[name] for name in names if name in known]
    return [page.figure(p.png, "png", p.description, f"{p.title}. {p.caption}", p.width_inches) for p in chosen]


def _decision(below: Any) -> str:
    return _UNKNOWN if pd.isna(below) else _DECISIONS[int(below)]


def _value(value: Any) -> float:
    return math.nan if pd.isna(value) else float(value)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
