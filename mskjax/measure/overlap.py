"""Overlap of two masks."""

import numpy as np

from mskjax.measure.checks import Values, as_masks


def dice(prediction: Values, reference: Values) -> float:
    """Dice similarity coefficient, 2 |P and R| / (|P| + |R|), from 0 to 1.

    1 where both masks are empty, 0 where one is. Raises `ValueError` where shapes differ or a mask holds more than 0
    and 1.
    """
    predicted, expected = as_masks(prediction, reference)
    total = np.count_nonzero(predicted) + np.count_nonzero(expected)
    return 2 * np.count_nonzero(predicted & expected) / total if total else 1.0
