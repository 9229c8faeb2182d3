"""Bounds that several rooms share; without JAX, which measuring a finished mask does without."""

# From the smallest newborn to the tallest adult: a height beyond is in other units, or mistyped.
PLAUSIBLE_HEIGHT_M = (0.4, 2.6)
PLAUSIBLE_WEIGHT_KG = (2.0, 400.0)
# Weight over height squared, from the thinnest to the heaviest who lived: beyond, one of the two is in other units.
PLAUSIBLE_BMI = (6.0, 200.0)
