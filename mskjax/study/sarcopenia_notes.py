"""The sentences of a classification study's report: the answer, what must be known first, and what the words mean."""

from collections import Counter
from typing import Any

import numpy as np

from mskjax.data.splits import counted
from mskjax.study.report import number
from mskjax.study.sarcopenia_findings import SarcopeniaFindings, called
from mskjax.study.sarcopenia_scores import pairs

GUESSING = 0.5  # the AUC of a coin
HOW_TO_READ = {
    "AUC": "The area under the ROC curve: the chance that a sarcopenic case gets the higher probability of the two, "
    "when one of each class is drawn; 0.5 is guessing, 1 is perfect. It needs no threshold.",
    "Mean and sd, and the interval": "Mean and sample sd are over the shuffles, each of which trained a network of its "
    "own. The 95 % interval is of the mean, by a bootstrap over patients of each class: a drawn patient brings along "
    "the predictions of every shuffle in whose test it is. It tells what other patients would change, and not what "
    "other training cases would.",
    "Threshold": "From this probability on a case is called sarcopenic. Each network has its own, which makes "
    "sensitivity plus specificity the largest on the validation cases of its shuffle (Youden).",
    "Recall and specificity": "The share of sarcopenic cases that are called so, also called sensitivity, and the "
    "share of other cases that are not.",
    "Men and women": "The same networks, thresholds and tests, told for each sex alone. A shuffle whose test has no "
    "sarcopenic man, or none other, has no AUC of men.",
    "Precision and F1": "The share of the cases called sarcopenic that are, and its harmonic mean with recall. Where "
    "no case is called sarcopenic there is no precision: an en dash, which is not 0 and enters no mean. Means are of "
    "the shuffles that have a value, and the others are counted beside them.",
    "Pooled": "Of the tests of all shuffles together, each case counting as often as it is in one.",
    "Shown shuffle": "The one in whose validation cases the network has the best AUC, and of equal ones the lower "
    "Brier score. The test cases have no say in it.",
    "Brier score and calibration error": "The mean squared difference of probability and truth, 0 being perfect; and "
    "how far the mean probability of a bin lies from its share of sarcopenic cases, on average over cases.",
}


def answer(findings: SarcopeniaFindings) -> list[str]:
    """Two sentences: the network that validation prefers with its test AUC, and whom it tells right."""
    pair = findings.best
    first, second = (findings.row(table, pair) for table in ("table_1", "table_2"))
    negative, positive = second["pooled_tn"] + second["pooled_fp"], second["pooled_fn"] + second["pooled_tp"]
    name, choices = f"{called(pair[0])} with {pair[1]}", len(findings.table_1)
    reached = f"mean validation AUC {number(first['validation_auc_mean'], 2)}"
    preferred = f"Of {choices} networks and policies validation prefers {name} ({reached})."
    return [
        f"{preferred if choices > 1 else f'The study has {name} alone ({reached}).'} Its mean AUC in the tests of "
        f"{counted(first['shuffles'], 'shuffle')} is {auc(first)}{against_guessing(first)}.",
        f"At the thresholds that validation cases chose it tells {_share(second['pooled_tp'], positive)} sarcopenic "
        f"and {_share(second['pooled_tn'], negative)} other cases right, all tests pooled.",
    ]


def auc(row: dict[str, Any]) -> str:
    """Mean AUC, sd and interval of a row of Table 1 in words, as far as they are defined."""
    parts = [f"sd {number(row['auc_sd'], 2)}"] if not np.isnan(row["auc_sd"]) else []
    if not np.isnan(row["auc_low"]):
        parts.append(f"95 % interval {number(row['auc_low'], 2)} to {number(row['auc_high'], 2)}")
    return number(row["auc_mean"], 2) + (f" ({', '.join(parts)})" if parts else "")


def against_guessing(row: dict[str, Any]) -> str:
    """What the interval of a mean AUC says of guessing, as an end of a sentence; nothing where there is none."""
    if np.isnan(row["auc_low"]):
        return ""
    if row["auc_low"] > GUESSING:
        return ": better than guessing, which is 0.5"
    told = "worse than" if row["auc_high"] < GUESSING else "not told apart from"
    return f": {told} guessing, which is 0.5"


def notes(findings: SarcopeniaFindings) -> list[tuple[str, str]]:
    """What a reader must know before trusting the figures: sentences, each with the command that helps or ""."""
    cells = len(findings.shuffles)
    said = {
        "The cases are phantoms, drawn by a program; these results say nothing about patients.": findings.phantoms,
        f"The study is not complete: {cells} of {findings.planned_cells} cells are trained, and everything here is of "
        "these alone; networks and policies may have been tested on different shuffles.": cells
        < findings.planned_cells,
    }
    told = [(sentence, "") for sentence, applies in said.items() if applies]
    for network, command in findings.missing_networks.items():
        told.append((f"{called(network)} is missing from this study. What adds it:", command))
    sentences = [*findings.further_notes, *_undefined(findings), *_unchosen(findings)]
    sentences += [*_repeated(findings), _coarse(findings)]
    return [*told, *((sentence, "") for sentence in sentences)]


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({100 * part / whole:.0f} %)" if whole else "0 of 0"


def _undefined(findings: SarcopeniaFindings) -> list[str]:
    """A sentence for each reason for which measures are undefined, with how often for each network and policy."""
    found: dict[str, Counter[str]] = {}
    for (network, policy), rows in pairs(findings.shuffles):
        for told in rows["undefined"]:
            for part in (part for part in told.split("; ") if part and not part.startswith("interval")):
                found.setdefault(part, Counter())[f"{called(network)} {policy}"] += 1
    cells = len(findings.shuffles)
    made = []
    for part, counts in found.items():
        names, why = part.split(": ", 1)
        each = ", ".join(f"{name} {count}" for name, count in counts.items())
        made.append(
            f"In {counts.total()} of {counted(cells, 'test')} there is no {_named(names)}, as {why} ({each}). These "
            "are left out of means, and counted in Table 2."
        )
    return made


def _named(names: str) -> str:
    """Names of measures as a sentence says them: precision or F1."""
    return " or ".join(name.replace("f1", "F1").replace("auc", "AUC") for name in names.split(", "))


def _unchosen(findings: SarcopeniaFindings) -> list[str]:
    rows = [row for row in findings.shuffles.to_dict("records") if row["threshold_reason"]]
    if not rows:
        return []
    whys, first = " or ".join(dict.fromkeys(row["threshold_reason"] for row in rows)), rows[0]
    return [
        f"In {len(rows)} of {counted(len(findings.shuffles), 'cell')} validation cases chose no threshold, and 0.5 was "
        f"taken: {whys}; the first is {called(first['network'])} {first['policy']}, shuffle {first['shuffle']}."
    ]


def _repeated(findings: SarcopeniaFindings) -> list[str]:
    if len(set(findings.shuffles["shuffle"])) < 2:
        return ["There is one shuffle only, so that nothing tells how far its split decides the result."]
    said = [
        "Shuffles are drawn from the same patients: one who is tested in one trains or validates in another, and may "
        "be tested again. They are not independent, and a standard error from their sd would be too small."
    ]
    if len(findings.table_1) > 1:
        said.append(
            f"Validation cases of one shuffle are test cases of another, so that the best of {len(findings.table_1)} "
            "networks and policies by mean validation AUC is not chosen wholly apart from the tests; its AUC may be "
            "a little too high."
        )
    return said


def _coarse(findings: SarcopeniaFindings) -> str:
    cases, positive = (_range(findings.shuffles[f"test_{name}"]) for name in ("cases", "sarcopenic"))
    step = 1 / int(findings.shuffles["test_sarcopenic"].to_numpy(int).min())
    return (
        f"Each test has {cases} cases, {positive} of them sarcopenic: one case moves the recall of a shuffle by up to "
        f"{number(step, 2)}, and its precision and F1 are as coarse. Trust the pooled figures more than one shuffle's."
    )


def _range(values: Any) -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low}" if low == high else f"{low} to {high}"
