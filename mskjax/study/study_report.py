"""The report of a data-efficiency study: one HTML file, the answer first, then the paper's figures and tables."""

from mskjax.data.splits import counted
from mskjax.study import page, plates, study_notes, study_tables
from mskjax.study.plates import Plate
from mskjax.study.report import flat
from mskjax.study.study_findings import StudyFindings

BESIDE = (
    "Beside this page lie cases.csv with every score, each table as csv and LaTeX, each figure as png and pdf, and "
    f"{plates.CAPTIONS}."
)

Figures = dict[str, Plate]  # by their names


def render(findings: StudyFindings) -> str:
    """The report as HTML."""
    figures = {plate.name: plate for plate in findings.plates}
    sections = (_opening, _curves, _table_1, _muscle, _agreement, _readers, _training, _appendices, _closing)
    parts = [part for section in sections for part in section(findings, figures)]
    return page.page(f"{findings.study}: how many outlines are enough?", parts)


def _opening(findings: StudyFindings, figures: Figures) -> list[str]:
    people = counted(findings.readers, "reader") if findings.readers else "no readers"
    what = (
        f"Folder {findings.study}: {findings.models} of {counted(findings.planned_models, 'model')} trained, tested on "
        f"{counted(findings.test_cases, 'case')}, {people}. Dataset {findings.dataset}."
    )
    return [
        page.heading("How many outlines are enough?", 1),
        page.paragraph(what, "soft"),
        *(page.paragraph(sentence, "answer") for sentence in study_notes.answer(findings)),
        *_headline(findings),
        *_told(study_notes.against_random(findings)),
        *(page.note(*note) for note in study_notes.notes(findings)),
    ]


def _headline(findings: StudyFindings) -> list[str]:
    if not findings.readers or findings.headline.empty:
        return []
    return [study_tables.headline_table(findings)]


def _curves(findings: StudyFindings, figures: Figures) -> list[str]:
    drawn = _drawn(figures, "figure_3", "figure_4")
    return [page.heading("Accuracy against the number of training outlines"), *drawn] if drawn else []


def _table_1(findings: StudyFindings, figures: Figures) -> list[str]:
    if findings.table_1.empty or not findings.readers:
        return []
    return [
        page.heading("Table 1: networks against readers"),
        page.paragraph(
            _key(findings, "p of Dunnett's test against the readers", "the networks' mean less theirs"), "soft"
        ),
        *study_tables.dunnett_tables(findings.table_1, "readers"),
    ]


def _muscle(findings: StudyFindings, figures: Figures) -> list[str]:
    parts = [page.heading("Muscle density and area against the expert's"), *_drawn(figures, "figure_5a", "figure_5b")]
    if findings.table_2.empty:
        return parts if len(parts) > 1 else []
    key = _key(
        findings, "Table 2: p of Dunnett's test against the expert's values", "the networks' mean less the expert's"
    )
    return [*parts, page.paragraph(key, "soft"), *study_tables.dunnett_tables(findings.table_2, "expert")]


def _agreement(findings: StudyFindings, figures: Figures) -> list[str]:
    if findings.agreement.empty:
        return []
    key = (
        "Bias against the expert (Bland and Altman); below it the limits within which 95 % of single differences are "
        "expected, and ICC(2,1), absolute agreement, where 1 is perfect. Pointing at a cell shows the intervals, which "
        "take each patient as one measurement."
    )
    drawn = _drawn(figures, "bland_altman")
    tables = study_tables.agreement_tables(findings.agreement)
    return [page.heading("Agreement with the expert"), *drawn, page.paragraph(key, "soft"), *tables]


def _readers(findings: StudyFindings, figures: Figures) -> list[str]:
    drawn = _drawn(figures, "figure_2")
    return [page.heading("What readers draw"), *drawn] if drawn else []


def _training(findings: StudyFindings, figures: Figures) -> list[str]:
    pretexts, models = _drawn(figures, "figure_a1", "figure_a2"), _drawn(figures, "figure_b1")
    told = _told(study_notes.jigsaw_sentence(findings))
    parts = [page.heading("Pretext tasks"), *told, *pretexts] if pretexts or told else []
    return parts + ([page.heading("Fine-tuning"), *models] if models else [])


def _appendices(findings: StudyFindings, figures: Figures) -> list[str]:
    parts = []
    if not findings.appendix_c.empty:
        key = "p of Mann-Whitney's U on RMS-DTA. Bold: the first has the shorter distances, underlined: the second"
        parts += [page.heading("Appendix C: initialisations against each other"), _small(key, findings)]
        parts.append(study_tables.appendix_c_table(findings.appendix_c, findings.alpha))
    if not findings.appendix_d.empty:
        key = "p of Mann-Whitney's U on RMS-DTA against the largest n of the same initialisation. Underlined: worse"
        parts += [page.heading("Appendix D: each size against the largest"), _small(key, findings)]
        parts.append(study_tables.appendix_d_table(findings.appendix_d, findings.alpha))
    return parts


def _closing(findings: StudyFindings, figures: Figures) -> list[str]:
    return [
        page.heading("How to read this"),
        page.definitions(study_notes.HOW_TO_READ),
        page.heading("Where it comes from"),
        page.paragraph(BESIDE),
        page.facts(flat(findings.provenance)),
    ]


def _drawn(figures: Figures, *names: str) -> list[str]:
    """The figures of these names that are at hand, as HTML."""
    chosen = [figures[name] for name in names if name in figures]
    return [page.figure(p.png, "png", p.description, f"{p.title}. {p.caption}", p.width_inches) for p in chosen]


def _told(sentence: str) -> list[str]:
    return [page.paragraph(sentence)] if sentence else []


def _key(findings: StudyFindings, what: str, difference: str) -> str:
    return (
        f"{what}; below it {difference}, and p after Holm. Bold: better, underlined: worse, both at "
        f"p < {findings.alpha:g}. Pointing at a cell shows the means, the interval and the effect size."
    )


def _small(key: str, findings: StudyFindings) -> str:
    return page.paragraph(f"{key} (p < {findings.alpha:g}); below it the rank-biserial r and p after Holm.", "soft")
