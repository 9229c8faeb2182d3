"""Stratified shuffles: patients of each class in training, validation and test, drawn anew for each shuffle.

A shuffle depends on the seed, its own number and the patients of each class alone, so that more shuffles leave the
former ones as they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mskjax.data.splits import apportion, counted

PARTS = ("train", "validation", "test")
CLASSES = {0: "not sarcopenic", 1: "sarcopenic"}
Fractions = Sequence[float]  # of the patients of a class, those that validate and those that test
SEXES = ("M", "F", "")  # "" is not known
SERVES = 0.3  # a fraction to validate and to test that gives each part someone of any class of `len(PARTS)` patients
_SHUFFLE = 6  # leads the entropy, as of the other random numbers of a study, so that no two purposes share a stream


@dataclass(frozen=True)
class Labelled:
    """The patients whose label is known: the cases, the label and the sex of each, in alphabetical order of patients.

    Sex is one of `SEXES`. `unlabelled` are the cases without a label, which take no part, not even those of a patient
    whose other slices have one.
    """

    cases: Mapping[str, tuple[str, ...]]
    label: Mapping[str, int]
    sex: Mapping[str, str]
    unlabelled: tuple[str, ...]

    def of_class(self, label: int) -> list[str]:
        """The patients of a class."""
        return [patient for patient, own in self.label.items() if own == label]


def gather(cases: pd.DataFrame) -> Labelled:
    """The labelled patients of a cases.csv, whatever the order of its rows and whatever their split.

    Raises `ValueError` for an empty patient_id and for a patient with two labels. A patient's sex is that of the first
    case that has one, labelled or not.
    """
    known = cases["sarcopenia"].notna().to_numpy(bool)
    told = (
        cases.reindex(columns=["patient_id", "case_id", "sarcopenia", "sex"])
        .astype({"sex": object})
        .fillna({"sex": ""})
    )
    rows = sorted(told.drop(columns="sex")[known].itertuples(index=False, name=None))
    if unnamed := [case for patient, case, *_ in rows if pd.isna(patient) or not str(patient)]:
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
    backwards = told.sort_values("case_id", ascending=False)[["patient_id", "sex"]].to_numpy(str)
    sex = {patient: own for patient, own in backwards if own}  # that of the first case comes last, and stays
    sexes = {patient: sex.get(patient, "") for patient in label}
    of_patient = {patient: tuple(own) for patient, own in found.items()}
    return Labelled(of_patient, label, sexes, tuple(map(str, cases["case_id"][~known])))


def check_labels(path: str, cases: pd.DataFrame) -> None:
    """Raises `ValueError` where no case of the dataset at `path` has a label."""
    if not cases["sarcopenia"].notna().to_numpy().any():
        raise ValueError(
            f"none of the {len(cases)} cases of {path} has a label; give a column sarcopenia of 0 and 1 in the --cases "
            "of launch.prepare"
        )


def check_fractions(study: Mapping[str, Any]) -> None:
    """Raises `ValueError` where the fractions of a study's config leave no part of a class to train."""
    for called, own in zip(CLASSES.values(), _fractions(study), strict=True):
        if sum(own) >= 1:
            names = " and ".join(f"config.{name}" for name in _fields(study))
            raise ValueError(
                f"{names} take {own[0]:g} and {own[1]:g} of the {called} patients, of whom none are left to train; "
                f"give fractions whose sum is below 1, such as {_flags(study)}"
            )


def every(labelled: Labelled, study: Mapping[str, Any]) -> list[dict[str, list[str]]]:
    """The patients of each part of every shuffle of a study's config, as `shuffle` draws them.

    Raises `ValueError` where a part would be without a patient of a class.
    """
    by_sex, fractions = study["stratify"] == "label_and_sex", _fractions(study)
    for (label, called), own in zip(CLASSES.items(), fractions, strict=True):
        _check_sizes(len(labelled.of_class(label)), called, own, study)
    return [shuffle(labelled, fractions, number, study["seed"], by_sex) for number in range(study["shuffles"])]


def sizes(count: int, fractions: Fractions) -> tuple[int, int, int]:
    """How many of `count` patients of a class train, validate and test, by the fractions that validate and test.

    Fractions are rounded to whole patients: of 61 and 18 patients, 12/79 and 13/79 are 9 and 3, 10 and 3, as in study
    B's classification.
    """
    validation, test = (round(count * fraction) for fraction in fractions)
    return count - validation - test, validation, test


def shuffle(
    labelled: Labelled, fractions: Sequence[Fractions], number: int, seed: int, by_sex: bool = False
) -> dict[str, list[str]]:
    """The patients of each of `PARTS` in shuffle `number`; `fractions` has an entry for each of `CLASSES`.

    `by_sex` shares out the patients of each class to the parts by their sex too, unknown being one of its own, as
    `apportion` does; how many of a class a part has stays the same.
    """
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    for label, own_fractions in zip(CLASSES, fractions, strict=True):
        patients = labelled.of_class(label)
        shares = sizes(len(patients), own_fractions)
        order = np.random.default_rng((_SHUFFLE, number, label, seed)).permutation(len(patients))
        strata: dict[str, list[str]] = {sex: [] for sex in SEXES}
        for place in order:
            strata[labelled.sex[patients[place]] if by_sex else ""].append(patients[place])
        for part, share in zip(PARTS, shares, strict=True):
            for own, count in zip(strata.values(), apportion(share, [*map(len, strata.values())]), strict=True):
                parts[part] += own[:count]
                del own[:count]
    return parts


def cases_of(labelled: Labelled, parts: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """A shuffle's train_cases, validation_cases and test_cases: their ids, patient after patient."""
    return {f"{part}_cases": tuple(case for who in parts[part] for case in labelled.cases[who]) for part in PARTS}


def _fractions(study: Mapping[str, Any]) -> list[Fractions]:
    """The fractions of a study's config that validate and that test, for each of `CLASSES`.

    The config has validation_fraction and test_fraction for all, or validation_fractions and test_fractions with one
    for each class.
    """
    told = [study[name] for name in _fields(study)]
    each = told if _has_each(study) else [[value] * len(CLASSES) for value in told]
    return list(zip(*each, strict=True))


def _check_sizes(count: int, called: str, fractions: Fractions, study: Mapping[str, Any]) -> None:
    shares = sizes(count, fractions)
    if min(shares) >= 1:
        return
    told = ", ".join(f"{share} {part}" for share, part in zip(shares, PARTS, strict=True))
    remedy = f"label more patients, or set the fractions that validate and test, such as {_flags(study)}"
    if count < len(PARTS):
        remedy = f"label at least {len(PARTS)} patients of each class"
    raise ValueError(f"{counted(count, f'{called} patient')} make {told}, and each part needs at least one; {remedy}")


def _has_each(study: Mapping[str, Any]) -> bool:
    return "validation_fractions" in study


def _fields(study: Mapping[str, Any]) -> list[str]:
    """The fields of a study's config that tell who validates and who tests."""
    return [f"{part}_fraction{'s' * _has_each(study)}" for part in PARTS[1:]]


def _flags(study: Mapping[str, Any]) -> str:
    """Flags that set both fields to what serves."""
    value = f'"{(SERVES,) * len(CLASSES)}"' if _has_each(study) else f"{SERVES}"
    return " ".join(f"--config.{name}={value}" for name in _fields(study))
