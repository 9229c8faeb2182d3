"""Stratified shuffles: patients of each class in training, validation and test, drawn anew for each shuffle.

A shuffle depends on the seed, its own number and the patients of each class alone, so that more shuffles leave the
former ones as they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mskjax.data.splits import counted

PARTS = ("train", "validation", "test")
CLASSES = {0: "not sarcopenic", 1: "sarcopenic"}
_SHUFFLE = 6  # leads the entropy, as of the other random numbers of a study, so that no two purposes share a stream


@dataclass(frozen=True)
class Labelled:
    """The patients whose label is known: the cases of each, and the label, both in alphabetical order of patients.

    `unlabelled` are the cases without a label, which take no part.
    """

    cases: Mapping[str, tuple[str, ...]]
    label: Mapping[str, int]
    unlabelled: tuple[str, ...]

    def of_class(self, label: int) -> list[str]:
        """The patients of a class."""
        return [patient for patient, own in self.label.items() if own == label]


def gather(cases: pd.DataFrame) -> Labelled:
    """The labelled patients of a cases.csv, whatever the order of its rows and whatever their split.

    Raises `ValueError` for an empty patient_id and for a patient with two labels.
    """
    known = cases["sarcopenia"].notna().to_numpy(bool)
    rows = sorted(cases.loc[known, ["patient_id", "case_id", "sarcopenia"]].itertuples(index=False, name=None))
    if unnamed := [case for patient, case, _ in rows if pd.isna(patient) or not str(patient)]:
        raise ValueError(
            f"{len(unnamed)} of {len(rows)} labelled cases have no patient_id, such as {unnamed[0]}, so that patients "
            "cannot be kept apart; give each a patient_id in the --cases of launch.prepare"
        )
    found: dict[str, list[str]] = {}
    label: dict[str, int] = {}
    for patient, case, own in rows:
        if label.setdefault(str(patient), int(own)) != int(own):
            raise ValueError(f"patient {patient} has cases with sarcopenia 0 and 1; give all of them one label")
        found.setdefault(str(patient), []).append(str(case))
    return Labelled(
        {patient: tuple(own) for patient, own in found.items()}, label, tuple(map(str, cases["case_id"][~known]))
    )


def sizes(count: int, fractions: Sequence[float]) -> tuple[int, int, int]:
    """How many of `count` patients of a class train, validate and test, by the fractions that validate and test.

    Fractions are rounded to whole patients: of 61 and 18 patients, 12/79 and 13/79 are 9 and 3, 10 and 3, as in study
    B.
    """
    validation, test = (round(count * fraction) for fraction in fractions)
    return count - validation - test, validation, test


def shuffle(labelled: Labelled, fractions: Sequence[float], number: int, seed: int) -> dict[str, list[str]]:
    """The patients of each of `PARTS` in shuffle `number`.

    Raises `ValueError` where a part would be without a patient of a class.
    """
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    for label, called in CLASSES.items():
        patients = labelled.of_class(label)
        shares = sizes(len(patients), fractions)
        if min(shares) < 1:
            told = ", ".join(f"{share} {part}" for share, part in zip(shares, PARTS, strict=True))
            raise ValueError(
                f"{counted(len(patients), f'{called} patient')} make {told}, and each part needs at least one; "
                "label more patients, or change config.validation_fraction and config.test_fraction"
            )
        order = np.random.default_rng((_SHUFFLE, number, label, seed)).permutation(len(patients))
        ends = np.cumsum(shares)
        for part, places in zip(PARTS, np.split(order, ends[:-1]), strict=True):
            parts[part] += [patients[place] for place in places]
    return parts
