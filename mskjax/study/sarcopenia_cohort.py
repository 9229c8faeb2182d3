"""What must be said of a study's patients: how many of each class and sex take part, and who not."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mskjax.data.splits import counted
from mskjax.study import shuffles
from mskjax.study.settings import Config, plain
from mskjax.study.shuffles import Labelled

_PARTS = {"train": "train", "validation": "validate", "test": "test"}
_PLURALS = {"M": "men", "F": "women", "": "of unknown sex"}


def notes(cases: pd.DataFrame, config: Config) -> list[str]:
    """What the report must say of the cohort, in sentences; `cases` are the rows of cases.csv."""
    study = plain(config)
    labelled = shuffles.gather(cases)
    drawn = shuffles.every(labelled, study)
    positive = sum(labelled.label.values())
    parts = ", ".join(
        f"{len(drawn[0][part])} {does} ({sum(labelled.label[who] for who in drawn[0][part])} of them sarcopenic)"
        for part, does in _PARTS.items()
    )
    who = f"{counted(len(labelled.label), 'labelled patient')}, {positive} of them sarcopenic"
    said = [f"Of {who}, in each shuffle {parts}.", _by_sex(labelled, drawn, study), *_unlabelled(cases, labelled)]
    most = max(map(len, labelled.cases.values()))
    if most > 1:
        said.append(f"Patients have 1 to {most} labelled cases, which stay together; every one of them counts.")
    return said


def _by_sex(labelled: Labelled, drawn: Sequence[Mapping[str, Sequence[str]]], study: Mapping[str, Any]) -> str:
    """How many of each sex are in each part, from the least to the most of the shuffles, and how that came about."""
    present = [sex for sex in shuffles.SEXES if sex in labelled.sex.values()]
    if present == [""]:
        return "The sex of no patient is known, so that nothing is told by sex."
    parts = []
    for part, does in _PARTS.items():
        each = []
        for sex in present:
            own = [[labelled.label[who] for who in parts[part] if labelled.sex[who] == sex] for parts in drawn]
            each.append(f"{_range(map(len, own))} {_PLURALS[sex]} ({_range(map(sum, own))} of them sarcopenic)")
        parts.append(f"{' and '.join(each)} {does}")
    how = "class and sex" if study["stratify"] == "label_and_sex" else "class, and not by sex"
    return f"By sex {', '.join(parts)}: shuffles are stratified by {how} (config.stratify)."


def _unlabelled(cases: pd.DataFrame, labelled: Labelled) -> list[str]:
    """How many cases have no label, and how many of these are of patients who take part."""
    if not labelled.unlabelled:
        return []
    left_out = cases["case_id"].astype(str).isin(labelled.unlabelled)
    others = int(cases.loc[left_out, "patient_id"].astype(str).isin(labelled.cases).sum())
    takes = "takes" if len(labelled.unlabelled) == 1 else "take"
    further = f", {others} of them further cases of patients who do" if others else ""
    return [f"{counted(len(labelled.unlabelled), 'case')} without a label {takes} no part{further}."]


def _range(numbers: Any) -> str:
    found = [*numbers]
    least, most = min(found), max(found)
    return f"{least}" if least == most else f"{least} to {most}"
