"""Who trains, validates and tests: whole patients, in random order by a seed, unless the user says otherwise."""

from collections.abc import Sequence

import numpy as np
from absl import logging

from mskjax.data.dataset import SPLITS


def assign(
    patients: Sequence[str], given: Sequence[str], validation_fraction: float, test_fraction: float, seed: int
) -> list[str]:
    """The split of each case: the one given where not "", else that of its patient.

    Patients without a given split are shuffled by `seed` alone from the order of their first appearance, and the
    fractions of their number, rounded and at least 1 unless the fraction is 0, test and validate. Adding or removing
    patients shuffles anew: give splits to keep them. Raises `ValueError` where nobody would be left to train.
    """
    _check_fractions(validation_fraction, test_fraction)
    known: dict[str, set[str]] = {}
    for patient, split in zip(patients, given, strict=True):
        known.setdefault(patient, set()).update({split} - {""})
    if torn := [patient for patient, splits in known.items() if len(splits) > 1]:
        logging.warning("%d patients are in several splits as given, such as %s", len(torn), torn[0])
    open_ = [patient for patient, splits in known.items() if not splits]
    drawn = _draw(open_, validation_fraction, test_fraction, seed)
    # A case without a split joins the others of its patient, in the first of their splits where they are torn.
    of_patient = {patient: next((s for s in SPLITS if s in splits), "") for patient, splits in known.items()} | drawn
    return [split or of_patient[patient] for patient, split in zip(patients, given, strict=True)]


def _draw(patients: list[str], validation_fraction: float, test_fraction: float, seed: int) -> dict[str, str]:
    if not patients:
        return {}
    counts = [max(round(f * len(patients)), 1) if f else 0 for f in (test_fraction, validation_fraction)]
    if sum(counts) >= len(patients):
        raise ValueError(
            f"{len(patients)} patients leave none to train when {counts[0]} test and {counts[1]} validate; "
            "give more patients, smaller fractions, or a split column"
        )
    order = np.random.default_rng(seed).permutation(len(patients))
    names = ["test"] * counts[0] + ["validation"] * counts[1] + ["train"] * (len(patients) - sum(counts))
    return {patients[i]: name for i, name in zip(order, names, strict=True)}


def _check_fractions(validation_fraction: float, test_fraction: float) -> None:
    if not (validation_fraction >= 0 and test_fraction >= 0 and validation_fraction + test_fraction < 1):
        raise ValueError(
            f"validation fraction {validation_fraction} and test fraction {test_fraction} must be 0 or more "
            "and leave some patients to train"
        )
