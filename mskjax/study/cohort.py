"""The patients of a study: who may train and validate, with all their slices, and who is held out.

Every case of cases.csv that is not of the split "test" is of the cohort; whether it is called train or validation
there does not matter, as the study draws its own folds.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mskjax.data.dataset import Dataset
from mskjax.data.splits import counted, digest
from mskjax.data.volume_folder import is_of_volumes, read_volumes

NAMED = 3  # how many patients or cases an error names
WARNED_OF = "set config.slices_as_patients=True, of which the report will warn"


@dataclass(frozen=True)
class Cohort:
    """`slices`: the case ids of each patient who trains or validates, both in alphabetical order; `test`: the others.

    `origin` says of each case which patient it is a slice of, even where slices stand for patients.
    """

    slices: Mapping[str, tuple[str, ...]]
    test: tuple[str, ...]
    origin: Mapping[str, str]

    @property
    def patients(self) -> list[str]:
        """The patients' ids in alphabetical order."""
        return list(self.slices)

    def cases(self, patients: Iterable[str]) -> tuple[str, ...]:
        """The case ids of some patients, patient after patient."""
        return tuple(case for patient in patients for case in self.slices[patient])


def gather(cases: pd.DataFrame, slices_as_patients: bool = False) -> Cohort:
    """The cohort of a cases.csv, whatever the order of its rows.

    With `slices_as_patients` every slice is a patient of its own name. Otherwise raises `ValueError` for an empty
    patient_id and for a patient on both sides. Cases without a column split are all of the cohort.
    """
    if missing := [name for name in ("case_id", "patient_id") if name not in cases]:
        raise ValueError(f"the cases have no column {', '.join(missing)}; give the cases.csv of launch.prepare")
    cases = cases if "split" in cases else cases.assign(split="")
    # Empty cells are "" in a dataset and NaN in a table that pandas read.
    table = cases[["case_id", "patient_id", "split"]].astype(object).where(lambda cell: cell.notna(), "").astype(str)
    rows = sorted(table.itertuples(index=False, name=None))
    test = tuple(case for case, _, split in rows if split == "test")
    if not slices_as_patients:
        _check_patients(rows)
    slices: dict[str, list[str]] = {}
    for case, patient, split in rows:
        if split != "test":
            slices.setdefault(case if slices_as_patients else patient, []).append(case)
    return Cohort(
        slices={patient: tuple(slices[patient]) for patient in sorted(slices)},
        test=test,
        origin={case: patient for case, patient, _ in rows},
    )


def check_held_out(cases: pd.DataFrame) -> None:
    """Raises `ValueError` where no case is of the split "test"."""
    if "test" not in set(cases["split"]):
        raise ValueError(
            f"none of {len(cases)} cases is held out (split test), so no network could be judged; "
            "prepare the dataset with launch.prepare --test_fraction=0.2 or with a column split in its --cases"
        )


def check_sides(path: str, dataset: Dataset) -> None:
    """Raises `ValueError` where nobody is held out, or one slice or scan of the dataset at `path` may be on both."""
    check_held_out(dataset.cases)
    check_twins(path, dataset)


def check_twins(path: str, dataset: Dataset) -> None:
    """Raises `ValueError` where one slice, by its values, stands under two patient ids: it could train and test.

    So it does for one scan in a dataset of volumes, whichever of its slices are scored. `launch.prepare` refuses both
    between its own splits, in whose place a study draws others. `path` is the dataset's folder.
    """
    if is_of_volumes(dataset.manifest):
        _refuse_twins(read_volumes(path).table["scan_sha256"], dataset.cases, "scan")
    _refuse_twins((digest(dataset.slices.case(i)[0]) for i in range(len(dataset.slices))), dataset.cases, "slice")


def check_size(cohort: Cohort, folds: int, largest: int) -> None:
    """Raises `ValueError` where a fold would hold no patient, or the others fewer than `largest` together."""
    patients, slices = len(cohort.slices), len(cohort.cases(cohort.patients))
    remedy = f", or {WARNED_OF}, to count its {slices} slices" if slices > patients else ""
    if patients < folds:
        raise ValueError(
            f"{counted(patients, 'patient')} cannot make {folds} folds; "
            f"lower config.folds or prepare more patients{remedy}"
        )
    parent = patients - -(-patients // folds)
    if parent < largest:
        raise ValueError(
            f"{counted(patients, 'patient')} in {folds} folds leave {parent} to train on, but config.sizes asks for "
            f"{largest}; lower the sizes to at most {parent} or prepare more patients{remedy}"
        )


def describe(cohort: Cohort, slices_as_patients: bool) -> list[str]:
    """What a reader must be told of a cohort, a sentence each; none where every patient has one slice."""
    trained = {cohort.origin[case] for case in cohort.cases(cohort.patients)}
    tested = {cohort.origin[case] for case in cohort.test}
    if slices_as_patients:
        patients, tested_patients, both = (len(who - {""}) for who in (trained, tested, trained & tested))
        return [
            f"Slices stand for patients (slices_as_patients): {len(cohort.slices)} slices of "
            f"{counted(patients, 'patient')} train and validate, {len(cohort.test)} of "
            f"{counted(tested_patients, 'patient')} test, and {counted(both, 'patient')} of these are on both sides. "
            "The scores tell how networks do on other slices of known patients, not on new patients."
        ]
    most = max(map(len, cohort.slices.values()), default=0)
    if most <= 1:
        return []
    return [
        f"n counts patients: all slices of a chosen patient train, and the {len(cohort.slices)} patients of the cohort "
        f"have 1 to {most} slices, {np.mean([*map(len, cohort.slices.values())]):.1f} on average, so that n patients "
        "are more than n outlines."
    ]


def _check_patients(rows: list[tuple[str, str, str]]) -> None:
    """Raises `ValueError` unless every case is of a known patient, and every patient on one side."""
    unnamed = [case for case, patient, _ in rows if not patient]
    if unnamed:
        raise ValueError(
            f"{len(unnamed)} of {len(rows)} cases have no patient_id, such as {_some(unnamed)}, so that patients "
            f"cannot be kept apart; give each a patient_id in the --cases of launch.prepare, or {WARNED_OF}"
        )
    sides = [{patient for _, patient, split in rows if (split == "test") == is_test} for is_test in (True, False)]
    if torn := sorted(sides[0] & sides[1]):
        raise ValueError(
            f"{counted(len(torn), 'patient')} of the test cases also train or validate, such as {_some(torn)}; "
            f"give all slices of a patient one split in the --cases of launch.prepare, or {WARNED_OF}"
        )


def _refuse_twins(digests: Iterable[str], cases: pd.DataFrame, what: str) -> None:
    """Raises `ValueError` where two patients share a digest, of which `cases` has a row each."""
    seen: dict[str, tuple[str, str]] = {}
    for own, case_id, patient in zip(digests, cases["case_id"], cases["patient_id"], strict=True):
        first, whose = seen.setdefault(own, (case_id, patient))
        if whose != patient:
            raise ValueError(
                f"cases {first} and {case_id} are one {what} under two patient ids, so that it could train and test; "
                "leave one out, or give both the same patient_id in the --cases of launch.prepare"
            )


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMED])
