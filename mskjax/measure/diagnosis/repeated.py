"""How sure the mean AUC of repeated tests is, whose patients are partly the same."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mskjax.measure.diagnosis.checks import Values, as_labels, as_scores
from mskjax.measure.diagnosis.ranking import TOO_FEW, draw, weighted_auc

Test = tuple[Values, Values, Values]  # label, score and patient of each case


@dataclass(frozen=True)
class MeanAucInterval:
    """A percentile interval of a mean AUC; `left_out` of the `drawn` tests of its samples lacked a class.

    Both ends are NaN, and `reason` says why, where there is none.
    """

    low: float
    high: float
    drawn: int
    left_out: int
    reason: str = ""


def mean_auc_interval(
    tests: Sequence[Test], samples: int = 2000, seed: int = 0, level: float = 0.95
) -> MeanAucInterval:
    """The interval that holds `level` of the mean AUCs of `samples` bootstrap samples, in their middle.

    Patients of all tests are drawn, as many of each class as there are, and each brings along its cases of every test
    that it is in: as tests share patients, to draw cases of each test for itself would make the interval too narrow. A
    sample's mean is of those tests that hold both classes in it. Raises `ValueError` for a patient of two classes.
    """
    labels = [as_labels(label) for label, _, _ in tests]
    scores = [as_scores(score, truth) for (_, score, _), truth in zip(tests, labels, strict=True)]
    people, who = np.unique(np.concatenate([np.asarray(own).astype(str) for _, _, own in tests]), return_inverse=True)
    kind = _kinds(people, who, np.concatenate(labels))
    drawn = samples * len(tests)
    if min(kind.sum(), (~kind).sum()) < 2:
        return MeanAucInterval(math.nan, math.nan, drawn, drawn, TOO_FEW)
    often = draw(kind.astype(int), samples, np.random.default_rng(seed))
    places = np.split(who, np.cumsum([len(truth) for truth in labels])[:-1])
    taken = zip(labels, scores, places, strict=True)
    values = np.stack([weighted_auc(truth, score, often[:, place]) for truth, score, place in taken], axis=1)
    known = ~np.isnan(values)
    some = known.any(axis=1)
    if not some.any():
        return MeanAucInterval(math.nan, math.nan, drawn, drawn, "no sample held a test of both classes; draw more")
    low, high = np.quantile(np.nanmean(values[some], axis=1), [(1 - level) / 2, (1 + level) / 2])
    return MeanAucInterval(float(low), float(high), drawn, int((~known).sum()))


def _kinds(people: np.ndarray, who: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Whether each patient is positive."""
    positive, cases = np.bincount(who, truth, len(people)), np.bincount(who, minlength=len(people))
    torn = (positive > 0) & (positive < cases)
    if torn.any():
        raise ValueError(f"patient {people[torn][0]} has cases of both classes; give all of them one label")
    return positive > 0
