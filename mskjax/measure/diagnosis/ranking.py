"""How well a score ranks the sick above the healthy: ROC curve, its area, a threshold, a bootstrap over patients."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Integer
from scipy.stats import rankdata

from mskjax.measure.diagnosis.checks import Values, as_labels, as_probabilities, as_scores

NO_CHOICE = 0.5  # of two softmax classes, where both are equal
TOO_FEW = "each class needs cases of at least two patients, between whom chance could choose"


@dataclass(frozen=True)
class RocCurve:
    """Points of the curve, from (0, 0), where no case is called positive, to (1, 1), where all are.

    At a point those cases are called positive whose score is `threshold` or more; the first is infinite. Tied scores
    share a point. A rate is NaN throughout where its class has no case.
    """

    false_positive_rate: Float64[np.ndarray, " p"]
    true_positive_rate: Float64[np.ndarray, " p"]
    threshold: Float64[np.ndarray, " p"]


@dataclass(frozen=True)
class Threshold:
    """From which probability on a case is called positive; `youden` is sensitivity + specificity - 1 of the choice.

    Where nothing could be chosen, `value` is 0.5, `youden` NaN or 0 and `reason` says why.
    """

    value: float
    youden: float
    reason: str = ""


@dataclass(frozen=True)
class AucInterval:
    """A percentile interval of AUC; `undefined` of the `samples` lacked a class and are left out of it.

    Both ends are NaN, and `reason` says why, where there is none.
    """

    low: float
    high: float
    samples: int
    undefined: int
    reason: str = ""


def auc(label: Values, score: Values) -> float:
    """The chance that a positive case's score is above a negative's, ties counting one half; NaN without both.

    By ranks (Mann and Whitney), which is exactly the area under the trapezoids of `roc_curve`.
    """
    truth = as_labels(label)
    ranks, positive = rankdata(as_scores(score, truth)), int(truth.sum())
    pairs = positive * (len(truth) - positive)
    return float((ranks[truth].sum() - positive * (positive + 1) / 2) / pairs) if pairs else math.nan


def roc_curve(label: Values, score: Values) -> RocCurve:
    """The curve with a point for each distinct score."""
    truth = as_labels(label)
    threshold, false_positive, true_positive = _cuts(truth, as_scores(score, truth))
    return RocCurve(_rate(false_positive), _rate(true_positive), threshold)


def youden_threshold(label: Values, probability: Values) -> Threshold:
    """The threshold of the largest sensitivity + specificity (Youden 1950), to be chosen on validation data.

    It lies halfway between the lowest probability called positive and the highest called negative. Of equally good
    ones it is the one nearest to 0.5, and of two as near the lower, which misses fewer of the sick. It is 0.5, with a
    reason, where there is one class only or no threshold is better than none.
    """
    truth = as_labels(label)
    values = as_probabilities(probability, truth)
    if truth.all() or not truth.any():
        return Threshold(NO_CHOICE, math.nan, f"all cases are {'positive' if truth.all() else 'negative'}")
    cuts, false_positive, true_positive = _cuts(truth, values)
    gain = true_positive * (~truth).sum() - false_positive * truth.sum()  # whole numbers: equal ones are equal
    if gain.max() <= 0:
        return Threshold(NO_CHOICE, 0.0, "no threshold is better than calling all cases alike")
    # The best is neither the first nor the last point, which gain nothing.
    best = np.flatnonzero(gain == gain.max())
    middle = (cuts[best] + cuts[best + 1]) / 2
    middle = np.where(middle > cuts[best + 1], middle, cuts[best])  # neighbours among the floating-point numbers
    distance = np.abs(middle - NO_CHOICE)
    chosen = middle[distance == distance.min()].min()
    return Threshold(float(chosen), float(gain.max() / (truth.sum() * (~truth).sum())))


def auc_interval(
    label: Values,
    score: Values,
    patient: Values,
    samples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    stratified: bool = True,
) -> AucInterval:
    """The interval that holds `level` of the AUCs of `samples` bootstrap samples, in their middle.

    Patients are drawn, and all their cases come along. `stratified` draws as many of the positive and of the negative
    patients as there are: the splits of the study fix both numbers, AUC does not depend on them, and no sample lacks a
    class. Percentile intervals are too narrow for few patients, and of no width where the classes do not overlap.
    """
    truth = as_labels(label)
    scores, patients = as_scores(score, truth), np.asarray(patient).astype(str)
    if patients.shape != truth.shape:
        raise ValueError(f"patients have shape {patients.shape} and labels {truth.shape}; give one for each case")
    people, who = np.unique(patients, return_inverse=True)
    if min(len(np.unique(who[truth])), len(np.unique(who[~truth]))) < 2:
        return AucInterval(math.nan, math.nan, samples, samples, TOO_FEW)
    # A patient may have cases of both classes, and is then of a third kind.
    kinds = np.bincount(who, truth) > 0, np.bincount(who, ~truth) > 0
    kind = kinds[0] + 2 * kinds[1] if stratified else np.zeros(len(people), int)
    drawn = draw(kind, samples, np.random.default_rng(seed))[:, who]
    values = weighted_auc(truth, scores, drawn)
    known = values[~np.isnan(values)]
    if not len(known):
        return AucInterval(math.nan, math.nan, samples, samples, "no sample held both classes; draw more")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return AucInterval(float(low), float(high), samples, samples - len(known))


def draw(kind: Integer[np.ndarray, " p"], samples: int, generator: np.random.Generator) -> Float64[np.ndarray, "s p"]:
    """How often each sample draws each patient, the numbers of each kind being kept."""
    drawn = np.zeros((samples, len(kind)))
    for one in np.unique(kind):
        of_kind = np.flatnonzero(kind == one)
        drawn[:, of_kind] = generator.multinomial(len(of_kind), np.full(len(of_kind), 1 / len(of_kind)), size=samples)
    return drawn


def weighted_auc(
    truth: Bool[np.ndarray, " n"], scores: Float64[np.ndarray, " n"], weights: Float64[np.ndarray, "s n"]
) -> Float64[np.ndarray, " s"]:
    """The AUC of each row of weights, a case each; NaN where a class has no weight."""
    positive, negative = weights[:, truth], weights[:, ~truth]
    above = scores[truth][:, None] - scores[~truth][None, :]
    wins = ((positive @ ((np.sign(above) + 1) / 2)) * negative).sum(1)
    pairs = positive.sum(1) * negative.sum(1)
    return np.divide(wins, pairs, out=np.full(len(wins), np.nan), where=pairs > 0)


def _cuts(truth: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every threshold from infinity down, and how many negative and positive cases lie at or above it."""
    values, place = np.unique(-scores, return_inverse=True)
    called = (np.cumsum(np.bincount(place[cases], minlength=len(values))) for cases in (~truth, truth))
    false_positive, true_positive = (np.concatenate([[0], counts]) for counts in called)
    return np.concatenate([[np.inf], -values]), false_positive, true_positive


def _rate(called: np.ndarray) -> np.ndarray:
    return called / called[-1] if called[-1] else np.full(len(called), np.nan)
