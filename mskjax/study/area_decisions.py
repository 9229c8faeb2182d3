"""Sarcopenic or not by measured muscle: what every set of cut-offs says of predicted and of reference masks.

No decision is no right decision: where the reference mask is decided about and the predicted one is empty, that counts
against the prediction. Where the reference mask is not decided about, as nobody's are whose sex is unknown, the case is
left out of shares and counted.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mskjax.bounds import PLAUSIBLE_HEIGHT_M
from mskjax.measure import muscle_index_cm2_m2
from mskjax.measure.cutoffs import Cutoff, body_mass_index, decide
from mskjax.study.area_scores import CELL

SET = ["set", "measure"]
ALL, SHOWN = "all shuffles", "shown shuffle"
REFERENCE, LABEL = "reference mask", "label"
_ABOUT = ("case_id", "patient_id", "sex", "sarcopenia")


def decisions(tests: pd.DataFrame, rules: Sequence[Cutoff]) -> pd.DataFrame:
    """A row for each case, set and measure: the cut-off, both masks' values, margins and decisions.

    `tests` are rows of cases.csv. `reference_below` and `below` are 1 where the value is below its cut-off, which is
    called sarcopenic, 0 where it is not, and <NA> where that is not decided; `reference_why` and `why` then say why.
    """
    told = [row for case in tests.to_dict("records") for row in _of_case(case, rules)]
    return pd.DataFrame(told).astype({"reference_below": "Int64", "below": "Int64"})


def decided_by(table: pd.DataFrame, key: str) -> pd.DataFrame:
    """The rows of the first measure of the set `key`: area before index before density, as far as it has them."""
    own = table.loc[table["set"] == key]
    return own.loc[own["measure"] == own["measure"].iloc[0]]


def agreement(table: pd.DataFrame, shown: Mapping[str, int]) -> pd.DataFrame:
    """How well the predicted masks' decisions agree with the reference masks', and with the labels, by set and measure.

    A row for all shuffles together and one for the shuffle in `shown` alone. Of `cases`, those `undecided` have no
    reference to compare with (`why` counts the reasons), and the others are `positive` or not; `no_decision` of them
    have no predicted decision, which is a wrong one. Sensitivity, specificity and accuracy are NaN of no cases.
    """
    rows = []
    for _, own in table.groupby(["init", *SET], sort=False):
        init, key, measure = (str(own[name].iloc[0]) for name in ("init", *SET))
        scopes = {ALL: own, SHOWN: own.loc[own["shuffle"] == shown[init]]}
        for against, column in ((REFERENCE, "reference_below"), (LABEL, "sarcopenia")):
            for scope, chosen in scopes.items():
                named = {"init": init, "set": key, "measure": measure, "against": against, "scope": scope}
                rows.append({**named, **_counts(chosen, column)})
    return pd.DataFrame(rows)


def measures(case: Mapping[str, Any], prefix: str = "") -> dict[str, float | None]:
    """Area, index and density of a row's predicted mask, or of the reference by the prefix "reference_".

    None where it is not known: the index without a plausible height, the density of an empty mask.
    """
    area, density = float(case[f"{prefix}sma_cm2"]), float(case[f"{prefix}smd_hu"])
    index = float(muscle_index_cm2_m2(area, case["height_m"])) if _has_height(case) else None
    return {"sma_cm2": area, "smi_cm2_m2": index, "smd_hu": None if math.isnan(density) else density}


def _of_case(case: Mapping[str, Any], rules: Sequence[Cutoff]) -> list[dict[str, Any]]:
    bmi, sex = _bmi(case), case["sex"] or None
    predicted, reference = (decide(rules, sex, **measures(case, prefix), bmi=bmi) for prefix in ("", "reference_"))
    about = {name: case[name] for name in (*CELL, *_ABOUT)}
    rows = []
    for own, other in zip(predicted, reference, strict=True):
        row = {**about, **{name: own[name] for name in (*SET, "units", "cutoff")}}
        for prefix, of in (("reference_", other), ("", own)):
            row |= {f"{prefix}{name}": of[name] for name in ("value", "margin", "below", "why")}
        rows.append(row)
    return rows


def _has_height(case: Mapping[str, Any]) -> bool:
    low, high = PLAUSIBLE_HEIGHT_M
    return low <= case["height_m"] <= high  # False of NaN


def _bmi(case: Mapping[str, Any]) -> float | None:
    """The BMI of a case; None where weight or height is not known, or no person's."""
    try:
        return body_mass_index(case["weight_kg"], case["height_m"])
    except ValueError:
        return None


def _counts(rows: pd.DataFrame, truth: str) -> dict[str, Any]:
    known = rows.loc[rows["reference_below"].notna()]
    whys = Counter(rows.loc[rows["reference_below"].isna(), "reference_why"])
    is_positive, called = known[truth].to_numpy(int) == 1, known["below"].fillna(-1).to_numpy(int)
    tp, fn, tn, fp = (
        int((of & (called == said)).sum())
        for of, said in ((is_positive, 1), (is_positive, 0), (~is_positive, 0), (~is_positive, 1))
    )
    positive, negative = int(is_positive.sum()), int((~is_positive).sum())
    return {
        "cases": len(rows),
        "undecided": len(rows) - len(known),
        "positive": positive,
        "negative": negative,
        "tp": tp,
        "fn": fn,
        "fp": fp,
        "tn": tn,
        "no_decision": int((called < 0).sum()),
        "sensitivity": _share(tp, positive),
        "specificity": _share(tn, negative),
        "accuracy": _share(tp + tn, positive + negative),
        "why": "; ".join(f"{why}: {count}" for why, count in whys.items()),
    }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
