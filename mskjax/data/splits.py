"""Who trains, validates and tests: whole patients, in random order by a seed, unless the user says otherwise.

Where patients have labels, each split gets its share of each label.
"""

from collections.abc import Sequence
from hashlib import sha256

import numpy as np
import pandas as pd
from absl import logging

from mskjax.data.dataset import SPLITS


def assign(
    patients: Sequence[str],
    given: Sequence[str],
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    labels: Sequence[str] = (),
) -> list[str]:
    """The split of each case: the one given where not "", else that of its patient.

    Patients without a given split are shuffled by `seed` alone from the order of their first appearance, and the
    fractions of their number, rounded and at least 1 unless the fraction is 0, test and validate. `labels` has one for
    each case, "" where it is not known, and each split takes of the patients of each label as many as `apportion` says;
    without labels, or where all are alike, the first of the shuffled patients test and the next validate. Adding or
    removing patients shuffles anew: give splits to keep them. Raises `ValueError` where nobody would be left to train.
    """
    check_fractions(validation_fraction, test_fraction)
    known: dict[str, set[str]] = {}
    for patient, split in zip(patients, given, strict=True):
        known.setdefault(patient, set()).update({split} - {""})
    open_ = [patient for patient, splits in known.items() if not splits]
    label: dict[str, str] = {}
    for patient, own in zip(patients, labels or [""] * len(patients), strict=True):
        label[patient] = label.get(patient) or own
    strata = [label[patient] for patient in open_]
    drawn = _draw(open_, strata, validation_fraction, test_fraction, seed, any(given))
    # A case without a split joins the others of its patient, in the first of their splits where they are torn.
    of_patient = {patient: next((s for s in SPLITS if s in splits), "") for patient, splits in known.items()} | drawn
    return [split or of_patient[patient] for patient, split in zip(patients, given, strict=True)]


def digest(image_hu: np.ndarray) -> str:
    """What tells one slice or scan from others: the SHA-256 of its shape and HU."""
    return sha256(repr(image_hu.shape).encode() + image_hu.tobytes()).hexdigest()


def refuse_twins(digests: Sequence[str], table: pd.DataFrame, what: str = "slice") -> None:
    """Raises `ValueError` where one slice or scan, by its digest, lies in two splits under two patient ids.

    `table` has a row of cases.csv for each of the digests. One patient in several splits is the user's choice.
    """
    seen: dict[str, list[tuple[str, str, str]]] = {}
    rows = zip(*(table[name].astype(str) for name in ("case_id", "patient_id", "split")), strict=True)
    for own, (case_id, patient, split) in zip(digests, rows, strict=True):
        alike = seen.setdefault(own, [])
        if others := [f"{one} ({where})" for one, whose, where in alike if whose != patient and where != split]:
            raise ValueError(
                f"cases {others[0]} and {case_id} ({split}) are one {what} in two splits under two patient ids; "
                "leave one out, or give both the same patient_id in a CSV (--cases)"
            )
        alike.append((case_id, patient, split))


def warn(table: pd.DataFrame, planned: Sequence[str], all_given: bool, shown: str) -> None:
    """Warns of patients in several splits and of splits that hold no case, unless a fraction of 0 asked for that.

    `table` is cases.csv, `planned` the split of every case, those that failed too, `all_given` whether the user gave
    all of these, and `shown` what the dataset is called.
    """
    of_patient: dict[str, set[str]] = {}
    for patient, split in zip(table["patient_id"], table["split"], strict=True):
        of_patient.setdefault(patient, set()).add(split)
    if torn := [patient for patient, found in of_patient.items() if len(found) > 1]:
        said = "patient is" if len(torn) == 1 else "patients are"
        logging.warning("%d %s in several splits as given, such as %s", len(torn), said, torn[0])
    failed, unnamed = "all cases meant for it failed: mend them", "no row of the column split names it: give it some"
    whys = {name: failed for name in SPLITS if name in planned} | {
        name: unnamed for name in SPLITS if all_given and name not in planned
    }
    if empty := [f"{name} ({why})" for name, why in whys.items() if name not in set(table["split"])]:
        logging.warning("%s has no case of split %s; then run again", shown, ", ".join(empty))
    if one_sided := [name for name, labels in _labels(table).items() if len(labels) == 1]:
        told = ", ".join(one_sided)
        logging.warning("labels of split %s are all alike, so that no AUC can be told of it; give cases a split", told)


def _labels(table: pd.DataFrame) -> dict[str, set[int]]:
    """The labels of each split, where the dataset has both."""
    found: dict[str, set[int]] = {}
    known = table[table["sarcopenia"].notna()] if "sarcopenia" in table else table.iloc[:0].assign(sarcopenia=0)
    for split, label in zip(known["split"], known["sarcopenia"], strict=True):
        found.setdefault(str(split), set()).add(int(label))
    return found if len(set().union(*found.values())) > 1 else {}


def counted(count: int, noun: str) -> str:
    """A number with its noun: 1 case, 2 cases, 2 policies."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"


def apportion(total: int, counts: Sequence[int]) -> list[int]:
    """How many of each stratum make up `total`, in proportion to their `counts`, by largest remainders.

    Of equal remainders the smaller stratum's goes first, then the former's. `total` is at most the sum of the counts.
    """
    whole = sum(counts)
    taken = [total * count // whole if whole else 0 for count in counts]
    remainders = [total * count % whole if whole else 0 for count in counts]
    for place in sorted(range(len(counts)), key=lambda i: (-remainders[i], counts[i]))[: total - sum(taken)]:
        taken[place] += 1
    return taken


def _draw(
    patients: list[str],
    strata: list[str],
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    others_given: bool,
) -> dict[str, str]:
    if not patients:
        return {}
    counts = _counts(len(patients), validation_fraction, test_fraction)
    if sum(counts) >= len(patients):
        raise _too_few(counted(len(patients), "patient") + " without a given split" * others_given, counts)
    order = np.random.default_rng(seed).permutation(len(patients))
    left = {stratum: [patients[i] for i in order if strata[i] == stratum] for stratum in sorted(set(strata))}
    drawn = dict.fromkeys(patients, "train")
    for name, count in zip(("test", "validation"), counts, strict=True):
        shares = apportion(count, [len(own) for own in left.values()])
        for stratum, share in zip(left, shares, strict=True):
            drawn |= dict.fromkeys(left[stratum][:share], name)
            left[stratum] = left[stratum][share:]
    return drawn


def _counts(patients: int, validation_fraction: float, test_fraction: float) -> tuple[int, int]:
    """How many of so many patients test, and how many validate."""
    test, validation = (max(round(f * patients), 1) if f else 0 for f in (test_fraction, validation_fraction))
    return test, validation


def _too_few(who: str, counts: tuple[int, int]) -> ValueError:
    return ValueError(
        f"{who} cannot be {counts[0]} to test, {counts[1]} to validate and at least 1 to train; give every case a "
        "split, or more patients, or set --validation_fraction or --test_fraction (or both) to 0"
    )


def refuse_few(most: int, validation_fraction: float, test_fraction: float) -> None:
    """Raises `ValueError` where patients without a given split, one to `most` of them, are too few to be split."""
    if most and all(sum(_counts(n, validation_fraction, test_fraction)) >= n for n in range(1, most + 1)):
        raise _too_few(counted(most, "patient"), _counts(most, validation_fraction, test_fraction))


def check_fractions(validation_fraction: float, test_fraction: float) -> None:
    """Raises `ValueError` unless both fractions are 0 or more and their sum is below 1."""
    if not (validation_fraction >= 0 and test_fraction >= 0 and validation_fraction + test_fraction < 1):
        raise ValueError(
            f"validation fraction {validation_fraction} and test fraction {test_fraction} must be 0 or more "
            "and leave some patients to train"
        )
