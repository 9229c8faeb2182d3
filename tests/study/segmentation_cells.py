"""Masks of a study of whole scans of which every result is known by hand; see `invented_segmentation`."""

import numpy as np
from invented_segmentation import side_of


def known(cell, part, case_id):
    """SMIT misses two columns and one, validation and tests the other way round; random weights three, or all."""
    if cell.init == "smit":
        return 2 - cell.shuffle if part == "validation" else 1 + cell.shuffle
    return None if part == "test" and cell.shuffle == 0 else 3


def dice(case_ids, columns):
    sides = np.array([side_of(case) for case in case_ids])
    return 2 * (sides - columns) / (2 * sides - columns)


def percent(case_ids, columns):
    return np.array([-100 * columns / side_of(case) for case in case_ids])


def is_low(case_id, columns=0):
    """Below 144 cm2 in men, of even numbers, and below 92 in women."""
    number = int(case_id[1:].partition("_")[0])
    side = side_of(case_id)
    return side * (side - columns) < (92 if number % 2 else 144)
