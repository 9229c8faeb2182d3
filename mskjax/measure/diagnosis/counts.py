"""What decisions come to: the four counts, and the shares that are taken of them."""

import math
from dataclasses import dataclass

from mskjax.measure.diagnosis.checks import Values, as_decisions, as_labels


@dataclass(frozen=True)
class Confusion:
    """How many cases are truly and falsely called negative and positive."""

    true_negative: int
    false_positive: int
    false_negative: int
    true_positive: int

    @property
    def negative(self) -> int:
        """Cases without the disease."""
        return self.true_negative + self.false_positive

    @property
    def positive(self) -> int:
        """Cases with the disease."""
        return self.false_negative + self.true_positive

    @property
    def called_positive(self) -> int:
        """Cases that are said to have the disease."""
        return self.false_positive + self.true_positive


def confusion(label: Values, decision: Values) -> Confusion:
    """The counts of decisions against labels; `ValueError` where they are not 0 and 1 or not of one length."""
    truth = as_labels(label)
    called = as_decisions(decision, truth)
    counted = ((~truth & ~called), (~truth & called), (truth & ~called), (truth & called))
    return Confusion(*(int(cases.sum()) for cases in counted))


def accuracy(counts: Confusion) -> float:
    """The share of cases that are called what they are; NaN of no case."""
    return _share(counts.true_negative + counts.true_positive, counts.negative + counts.positive)


def precision(counts: Confusion) -> float:
    """The share of the cases called positive that are; NaN where none is called so."""
    return _share(counts.true_positive, counts.called_positive)


def recall(counts: Confusion) -> float:
    """The share of the positive cases that are called so, also called sensitivity; NaN where there are none."""
    return _share(counts.true_positive, counts.positive)


def specificity(counts: Confusion) -> float:
    """The share of the negative cases that are called so; NaN where there are none."""
    return _share(counts.true_negative, counts.negative)


def f1(counts: Confusion) -> float:
    """The harmonic mean of precision and recall; NaN where either is, where other programs write 0.

    0 where both are 0, as 2 TP / (2 TP + FP + FN) is there.
    """
    if math.isnan(precision(counts)) or math.isnan(recall(counts)):
        return math.nan
    return _share(2 * counts.true_positive, counts.called_positive + counts.positive)


def why_undefined(measure: str, counts: Confusion) -> str:
    """Why a measure ("auc", "precision", ...) of these counts is NaN, in words; empty where it is a number."""
    lacking = {
        "no case is positive": counts.positive == 0,
        "no case is negative": counts.negative == 0,
        "no case is called positive": counts.called_positive == 0,
    }
    needed = {
        "accuracy": (),
        "auc": ("no case is positive", "no case is negative"),
        "precision": ("no case is called positive",),
        "recall": ("no case is positive",),
        "specificity": ("no case is negative",),
        "f1": ("no case is positive", "no case is called positive"),
    }
    if counts.positive + counts.negative == 0:
        return "there is no case"
    return " and ".join(why for why in needed[measure] if lacking[why])


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
