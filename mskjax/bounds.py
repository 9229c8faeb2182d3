"""Bounds that several rooms share; without JAX, which measuring a finished mask does without."""

# From the smallest newborn to the tallest adult: a height beyond is in other units, or mistyped.
PLAUSIBLE_HEIGHT_M = (0.4, 2.6)
