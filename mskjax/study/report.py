"""The report of an evaluation: one HTML file, the answer first, the worst cases next, then how it came about."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from mskjax.study import figures, page
from mskjax.study.summary import UNITS, Statistics, Summary, with_differences

EMBEDDED_PICTURES = 60
MINUS = "\N{MINUS SIGN}"
NAMES = {
    "dice": "Dice",
    "rms_dta_cm": "RMS-DTA",
    "rms_dta_symmetric_cm": "RMS-DTA, symmetric",
    "sma_cm2": "Muscle area (SMA), predicted",
    "reference_sma_cm2": "SMA, reference",
    "sma_difference_cm2": "SMA difference",
    "sma_difference_percent": "SMA difference",
    "sma_absolute_difference_percent": "SMA difference, without sign",
    "smd_hu": "Muscle density (SMD), predicted",
    "reference_smd_hu": "SMD, reference",
    "smd_difference_hu": "SMD difference",
    "smd_difference_percent": "SMD difference",
}
SIGNED = ("sma_difference_cm2", "sma_difference_percent", "smd_difference_hu", "smd_difference_percent")
DECIMALS = {"": 3, "cm": 3, "cm2": 1, "HU": 1, "%": 1}
HOW_TO_READ = {
    "Dice": "Overlap of the two masks: twice the common pixels over the sum of both; 1 is identical, 0 is apart. "
    "Two empty masks score 1, one empty mask 0. The mask is the prediction before bone is cut out.",
    "RMS-DTA (cm)": "Root mean square, over the predicted boundary, of the distance to the nearest reference boundary "
    "point; 0 is best. A boundary pixel is a mask pixel with one of its 4 neighbours outside. Infinite (∞) where one "
    "mask is empty. It does not see muscle that was missed; the symmetric form, which pools both directions, does.",
    "SMA (cm²) and SMD (HU)": "Area of the mask, and mean HU in it. Bone (above 175 HU, and what lies within 2 mm of "
    "it in the slice) is cut out of predictions first, not out of references. Differences are prediction minus "
    "reference.",
    "Mean, sd, standard error, median": "Mean, sample sd and standard error are of the finite values, whose exceptions "
    "are counted beside them; the median ranks an infinite distance as the largest. The standard error takes cases "
    "as independent.",
    "Bland-Altman plot": "Each point is a case. The solid line is the bias, the dashed lines are the limits within "
    "which 95 % of differences are expected if they are normally distributed. A slope or a fan means that the error "
    "depends on the size.",
    "Overlays": "Seen from the feet: R is the patient's right. Window 400 HU wide about 50. Outlines run along the "
    "inner edge of the masks; blue is the reference, orange the prediction, white where they coincide.",
}


@dataclass(frozen=True)
class Findings:
    """What a report is made of; `cases` is worst first and `pictures` has one for each case, in the same order."""

    run: str
    dataset: str
    cases: pd.DataFrame
    summary: Summary
    pictures: Sequence[Image.Image]
    notes: Sequence[str]
    loss_curves: bytes | None
    provenance: Mapping[str, Any]


def render(findings: Findings) -> str:
    """The report as HTML."""
    cases, patients = len(findings.cases), len(set(findings.cases["patient_id"]))
    split = findings.cases["split"].iloc[0]
    what = f"{split} split: {_counted(cases, 'case')} of {_counted(patients, 'patient')}."
    parts = [
        page.heading("Muscle segmentation on held-out CT" if split == "test" else "Muscle segmentation", 1),
        page.paragraph(f"Run {findings.run}, {what} {_dataset(findings)}", "soft"),
        page.paragraph(_answer(findings), "answer"),
        page.cards(_cards(findings.summary)),
        *(page.paragraph(note, "note") for note in findings.notes),
        page.heading("Agreement in area and density"),
        page.figure(figures.agreement(findings.cases), "png", "Bland-Altman plots of muscle area and density"),
        page.heading("All metrics"),
        _summary_table(findings.summary),
        *_pictures(findings),
        page.heading("Every case, worst Dice first"),
        _case_table(findings.cases),
        *_loss_curves(findings),
        page.heading("How to read this"),
        page.definitions(HOW_TO_READ),
        page.heading("Where it comes from"),
        page.facts(flat(findings.provenance)),
    ]
    return page.page(f"{findings.run}: {split}", parts)


def number(value: float, decimals: int, signed: bool = False) -> str:
    """A number for people: a true minus sign, ∞ for infinity and an en dash for what does not exist."""
    if np.isnan(value):
        return "\N{EN DASH}"
    if np.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    text = f"{value:{'+' if signed else ''}.{decimals}f}"
    return (text if float(text) else text.lstrip("+-")).replace("-", MINUS)


def _answer(findings: Findings) -> str:
    mean = {name: row.mean for name, row in findings.summary.items()}
    worst = findings.cases.to_dict("records")[0]
    missed = findings.summary["rms_dta_cm"].non_finite
    outlined = f" in the {len(findings.cases) - missed} cases where it can be measured" if missed else ""
    return (
        f"The predicted muscle overlaps the reference with a mean Dice of {number(mean['dice'], 3)} and keeps its "
        f"outline within {number(mean['rms_dta_cm'], 2)} cm (RMS){outlined}. Its area is off by "
        f"{number(mean['sma_absolute_difference_percent'], 1)} % on average, with a bias of "
        f"{number(mean['sma_difference_cm2'], 1, signed=True)} cm², and its density with a bias of "
        f"{number(mean['smd_difference_hu'], 1, signed=True)} HU. The worst case is {worst['case_id']}, with a Dice "
        f"of {number(worst['dice'], 3)}."
    )


def _dataset(findings: Findings) -> str:
    """Path and digests of the evaluated dataset; 12 digits of a digest tell datasets apart, the whole stands below."""
    digests = findings.provenance["evaluation"]["dataset_sha256"]
    return f"Dataset {findings.dataset} ({', '.join(f'{name} {digest[:12]}' for name, digest in digests.items())})."


def _cards(summary: Summary) -> list[tuple[str, str, str, str]]:
    chosen = {
        "dice": "Dice",
        "rms_dta_cm": "RMS-DTA",
        "sma_difference_cm2": "Muscle area, prediction minus reference",
        "smd_difference_hu": "Muscle density, prediction minus reference",
    }
    averaged = {name: ", mean" if np.isnan(row.sd) else ", mean ± sd" for name, row in summary.items()}
    return [(title + averaged[name], *_spread(summary[name], name)) for name, title in chosen.items()]


def _spread(row: Statistics, name: str) -> tuple[str, str, str]:
    unit, signed = UNITS[name], name in SIGNED
    decimals = DECIMALS[unit]
    more = f"median {number(row.median, decimals, signed)}"
    if not np.isnan(row.sd):
        more += f"; standard error {number(row.standard_error, decimals)}"
    more += f"; {row.non_finite} of {row.cases} not finite, left out of the mean" * (row.non_finite > 0)
    spread = "" if np.isnan(row.sd) else f"± {number(row.sd, decimals)}"
    return number(row.mean, decimals, signed), f"{spread} {_typeset(unit)}".strip(), more


def _summary_table(summary: Summary) -> str:
    header = ["Metric", "Mean", "sd", "Standard error", "Median", "Cases", "Not finite"]
    return page.table(header, (_summary_row(name, row) for name, row in summary.items()))


def _summary_row(name: str, row: Statistics) -> list[str]:
    unit, signed = UNITS[name], name in SIGNED
    mean, median = (number(value, DECIMALS[unit], signed) for value in (row.mean, row.median))
    sd, standard_error = (number(value, DECIMALS[unit]) for value in (row.sd, row.standard_error))
    title = f"{NAMES[name]} ({_typeset(unit)})" if unit else NAMES[name]
    return [title, mean, sd, standard_error, median, str(row.cases), str(row.non_finite)]


def _case_table(cases: pd.DataFrame) -> str:
    columns = ["dice", "rms_dta_cm", "rms_dta_symmetric_cm", "sma_cm2", "reference_sma_cm2", "sma_difference_percent"]
    columns += ["smd_hu", "reference_smd_hu", "smd_difference_hu"]
    header = ["Case", "Slice", "Dice", "RMS-DTA (cm)", "Symmetric (cm)", "SMA (cm²)", "Reference", "Difference (%)"]
    header += ["SMD (HU)", "Reference", "Difference (HU)"]
    rows = (
        [
            case["case_id"],
            str(case["slice_index"]),
            *(number(case[name], DECIMALS[UNITS[name]], name in SIGNED) for name in columns),
        ]
        for case in with_differences(cases).to_dict("records")
    )
    return page.table(header, rows)


def _pictures(findings: Findings) -> list[str]:
    shown = list(zip(findings.cases["case_id"], findings.pictures, strict=True))[:EMBEDDED_PICTURES]
    left_out = len(findings.cases) - len(shown)
    remark = f"The {len(shown)} worst; the other {left_out} are in the folder overlays."
    made = (page.figure(jpeg(picture), "jpeg", f"Outlines of case {case_id}") for case_id, picture in shown)
    remarks = [page.paragraph(remark, "soft")] if left_out else []
    return [page.heading("Overlays, worst Dice first"), *remarks, page.pictures(made)]


def jpeg(picture: Image.Image) -> bytes:
    """The bytes of a picture as JPEG."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=88, subsampling=0)  # no chroma subsampling: it would blur the outlines
    return buffer.getvalue()


def _loss_curves(findings: Findings) -> list[str]:
    if findings.loss_curves is None:
        return []
    return [page.heading("Training"), page.figure(findings.loss_curves, "png", "Loss curves of the run")]


def _typeset(unit: str) -> str:
    return unit.replace("cm2", "cm²")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def flat(value: Any, name: str = "") -> dict[str, str]:
    """Nested mappings and lists as one level of dotted names."""
    if isinstance(value, Mapping):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    else:
        return {name: str(value)}
    return {key: text for part, below in inner for key, text in flat(below, f"{name}.{part}".lstrip(".")).items()}
