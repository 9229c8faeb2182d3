"""Agreement of two masks, and muscle area and density of one, on the scan's own grid, with units in the names.

The definitions are those of the abdominal-muscle study (study A) with its open points settled: the boundary of a mask
is inside it, empty masks have defined scores, and bone is cut out in millimetres. Masks hold 0 and 1 (any number type)
or False and True; arrays are a slice [h, w] with spacing (row, column) or a volume [d, h, w] with (slice, row, column).
Wrong input raises `ValueError` in one sentence.
"""

from mskjax.measure.bone import remove_bone
from mskjax.measure.distance import rms_dta_cm, rms_dta_symmetric_cm
from mskjax.measure.muscle import muscle_area_cm2, muscle_density_hu, muscle_index_cm2_m2, within_window
from mskjax.measure.overlap import dice

__all__ = [
    "dice",
    "muscle_area_cm2",
    "muscle_density_hu",
    "muscle_index_cm2_m2",
    "remove_bone",
    "rms_dta_cm",
    "rms_dta_symmetric_cm",
    "within_window",
]
