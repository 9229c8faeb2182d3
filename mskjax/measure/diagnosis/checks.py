"""What every measure of a diagnosis asks of its input; each answer is a new array."""

import numpy as np
from jaxtyping import Bool, Float64, Shaped

# Anything that numpy takes for one; shapes are compared here, so that a user without type checks gets a sentence too.
Values = Shaped[np.ndarray, "..."] | list | tuple


def as_labels(label: Values) -> Bool[np.ndarray, " n"]:
    """Labels as booleans; `ValueError` unless they are one row of nothing but 0 and 1, one at least."""
    array = np.asarray(label)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"labels have shape {array.shape}; give one row of at least one case")
    if not np.isin(array, (0, 1)).all():
        other = array[~np.isin(array, (0, 1))][0]
        raise ValueError(f"labels hold {other} where only 0 and 1 may stand; leave out cases whose label is not known")
    return array.astype(bool)


def as_decisions(decision: Values, label: Bool[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Decisions as booleans; `ValueError` unless each case has one of 0 and 1."""
    array = np.asarray(decision)
    _same_length(array, label, "decisions")
    if not np.isin(array, (0, 1)).all():
        other = array[~np.isin(array, (0, 1))][0]
        raise ValueError(f"decisions hold {other} where only 0 and 1 may stand; compare probabilities to a threshold")
    return array.astype(bool)


def as_scores(score: Values, label: Bool[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Scores of any range as float64, higher meaning sicker; `ValueError` where one is missing or not finite."""
    array = np.asarray(score, np.float64)
    _same_length(array, label, "scores")
    if not np.isfinite(array).all():
        raise ValueError(f"a score is {array[~np.isfinite(array)][0]}; every case needs a finite one")
    return array


def as_probabilities(probability: Values, label: Bool[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Probabilities of class 1 as float64; `ValueError` where one is not from 0 to 1."""
    array = as_scores(probability, label)
    outside = (array < 0) | (array > 1)
    if outside.any():
        raise ValueError(f"a probability is {array[outside][0]:g}; it must lie from 0 to 1")
    return array


def _same_length(array: np.ndarray, label: np.ndarray, what: str) -> None:
    if array.shape != label.shape:
        raise ValueError(f"{what} have shape {array.shape} and labels {label.shape}; give one for each case")
