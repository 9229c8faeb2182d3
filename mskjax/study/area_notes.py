"""The sentences of the report of muscle masks in whole scans: the answer, what must be known first, what words mean."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mskjax.data.splits import counted
from mskjax.measure.cutoffs import Cutoff
from mskjax.study.area_decisions import LABEL, REFERENCE, SHOWN
from mskjax.study.area_findings import AreaFindings, called, cutoff_words, typeset
from mskjax.study.area_scores import PERCENT, by_init, of_part
from mskjax.study.report import MINUS, number
from mskjax.study.summary import statistics_of

HOW_TO_READ = {
    "Dice": "Overlap of the predicted mask and the reference on one slice that was drawn: twice the common pixels "
    "over the sum of both; 1 is identical, 0 is apart. Two empty masks score 1, one empty mask 0. The mask is the "
    "prediction before bone is cut out.",
    "SMA, SMI and SMD": "Area of the mask in cm², area over height squared in cm²/m², and mean HU in it. Bone (above "
    "175 HU, and what lies within 2 mm of it in the slice) is cut out of predictions first, not out of references.",
    "Area difference and error": "Predicted minus reference area in percent of the reference, and the same without its "
    "sign. Where the reference has no area there is none; such cases are counted.",
    "Mean and sd": "Over the tests of a shuffle, with the sample sd. The row of all shuffles has mean and sd of the "
    "shuffles' means, each of which is of a network of its own.",
    "Shown shuffle": "The one in whose validation cases the network has the best mean Dice. The test cases have no say "
    "in it.",
    "Margin": "How far a value lies above its cut-off; below it, where the sign is minus, a patient is called "
    "sarcopenic. A margin that is small beside the error of the area is no certain decision.",
    "Sensitivity and specificity": "The share of sarcopenic cases that are called so, and the share of the others that "
    "are not. A case whose predicted mask is empty is not decided about, which counts as wrong.",
    "Cut-offs": "Published by different authors for different people, and contradictory: what one calls sarcopenic "
    "another does not. All are shown; the one that decides was chosen before.",
}


def answer(findings: AreaFindings) -> list[str]:
    """Three sentences at most: Dice and area error, how the initialisations compare, and who is told right."""
    best = findings.best
    row, tests = findings.over_all(best), of_part(findings.cases, "test")
    own = tests.loc[tests["init"] == best]
    error = statistics_of(own[PERCENT].abs().to_numpy(float)).mean
    start = f"From {called(best)}, which validation prefers, the" if len(findings.inits) > 1 else "The"
    first = (
        f"{start} predicted muscle has a mean Dice of {spread(row, 'dice', 2)} in the tests of {_shuffles(own)}. Its "
        f"area is off by {number(error, 1)} % on average, with a bias of "
        f"{number(row[f'{PERCENT}_mean'], 1, signed=True)} %."
    )
    others = [f"{called(init)} {spread(findings.over_all(init), 'dice', 2)}" for init in findings.inits if init != best]
    last = judged(findings.rules, findings.counts(best))
    return [first, *([f"Mean Dice of the others: {', '.join(others)}."] if others else []), last]


def judged(rules: Sequence[Cutoff], counts: Mapping[str, Any]) -> str:
    """How often the prediction decides as the reference does, by `rules`; `counts` is a row of cutoffs.csv."""
    tp, tn, positive, negative = (int(counts[name]) for name in ("tp", "tn", "positive", "negative"))
    by = f"the cut-offs of {rules[0].key} ({typeset(cutoff_words(rules))})"
    if not positive and not negative:
        return f"What the prediction decides cannot be judged: {by} decide about no test by its reference."
    if not positive:
        none = f"none of {counted(negative, 'test')} is sarcopenic by the reference"
        return f"By {by} {none}, and the prediction calls {tn} of them not sarcopenic."
    if not negative:
        every = f"every one of {counted(positive, 'test')} is sarcopenic by the reference"
        return f"By {by} {every}, and the prediction calls {tp} of them so."
    return (
        f"By {by} the prediction calls sarcopenic {tp} of {positive} tests that are so by the reference, and not so "
        f"{tn} of {negative} others."
    )


def spread(row: dict[str, Any], name: str, decimals: int, is_signed: bool = False) -> str:
    """Mean and sd of a row of Table 3 as far as they are defined."""
    mean, sd = number(row[f"{name}_mean"], decimals, is_signed), row[f"{name}_sd"]
    return mean if pd.isna(sd) else f"{mean} ± {number(sd, decimals)}"


def notes(findings: AreaFindings) -> list[tuple[str, str]]:
    """What a reader must know before trusting the figures: sentences, each with the command that helps or ""."""
    cells = len(findings.shuffles)
    said = {
        "The cases are phantoms, drawn by a program; these results say nothing about patients.": findings.phantoms,
        f"The study is not complete: {cells} of {findings.planned_cells} cells are trained, and everything here is of "
        "these alone; initialisations may have been tested on different shuffles.": cells < findings.planned_cells,
    }
    told = [(sentence, "") for sentence, applies in said.items() if applies]
    for init, command in findings.missing_inits.items():
        told.append((f"{called(init)} is missing from this study. What adds it:", command))
    sentences = [*findings.further_notes, *_empty(findings), *_undefined(findings), *_undecided(findings)]
    sentences += [*_labels(findings), *_repeated(findings)]
    return [*told, *((sentence, "") for sentence in sentences)]


def _shuffles(rows: pd.DataFrame) -> str:
    return counted(len(set(rows["shuffle"])), "shuffle")


def _empty(findings: AreaFindings) -> list[str]:
    empty = {init: int(rows["empty"].to_numpy(int).sum()) for init, rows in by_init(findings.shuffles)}
    if not sum(empty.values()):
        return []
    each = ", ".join(f"{called(init)} {count}" for init, count in empty.items() if count)
    tests = counted(int(findings.shuffles["tests"].to_numpy(int).sum()), "test")
    return [
        f"In {sum(empty.values())} of {tests} no muscle is predicted ({each}): Dice 0, an area difference of "
        f"{MINUS}100 %, no density, and no decision, which counts as a wrong one."
    ]


def _undefined(findings: AreaFindings) -> list[str]:
    count = int(findings.shuffles[f"{PERCENT}_non_finite"].to_numpy(int).sum())
    said = f"In {counted(count, 'test')} the reference has no area, so that there is no difference in percent."
    return [said] if count else []


def _undecided(findings: AreaFindings) -> list[str]:
    """Which tests no decision could be compared in, and why."""
    rows = findings.decided.loc[findings.decided["reference_below"].isna()]
    if not len(rows):
        return []
    whys = Counter(rows["reference_why"])
    each = "; ".join(f"{why}: {count}" for why, count in whys.items())
    return [
        f"{findings.rules[0].key} decides about {len(findings.decided) - len(rows)} of "
        f"{counted(len(findings.decided), 'test')} and not about the others ({each}), which are left out of "
        "sensitivity and specificity."
    ]


def _labels(findings: AreaFindings) -> list[str]:
    """How often the reference mask's own decision is not the label's."""
    known = findings.decided.loc[findings.decided["reference_below"].notna()].drop_duplicates("case_id")
    other = int((known["reference_below"].astype(int) != known["sarcopenia"].astype(int)).sum())
    if not other:
        return []
    return [
        f"{other} of {counted(len(known), 'tested case')} have a label that is not what {findings.rules[0].key} says "
        "of the reference mask: labels were given by more than this area, or by other cut-offs. cutoffs.csv compares "
        f"with both ({REFERENCE}, {LABEL})."
    ]


def _repeated(findings: AreaFindings) -> list[str]:
    counts = findings.counts(findings.best, scope=SHOWN)
    said = [
        f"The test of shuffle {findings.shown_shuffle}, which is shown, has {counts['positive']} sarcopenic cases by "
        "its reference masks; trust the figures of all shuffles more than those of one."
    ]
    if len(set(findings.shuffles["shuffle"])) < 2:
        return [*said, "There is one shuffle only, so that nothing tells how far its split decides the result."]
    if len(findings.inits) > 1:
        said.append(
            f"Validation cases of one shuffle are test cases of another, so that the best of {len(findings.inits)} "
            "initialisations by mean validation Dice is not chosen wholly apart from the tests."
        )
    return [
        *said,
        "Shuffles are drawn from the same patients: one who is tested in one trains or validates in another, and may "
        "be tested again. They are not independent, and a standard error from their sd would be too small.",
    ]
