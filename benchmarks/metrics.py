"""Times the measures on one 512x512 slice: `rms_dta_cm` (to stay under 20 ms) beside the usual distance-map way.

google-deepmind/surface-distance is timed as well where it is installed: its own kind of surface distances, both
directions, from which an RMS could be taken.
"""

from importlib import import_module
from importlib.util import find_spec

import numpy as np
from scipy import ndimage

from benchmarks import common
from mskjax import measure
from mskjax.measure.distance import boundary

SPACING_MM = (0.8, 0.8)


def ring(centre_column: float) -> np.ndarray:
    """A bool [512, 512] ring about as long and thick as the muscles of an abdominal wall."""
    row, column = np.mgrid[:512, :512]
    distance = np.hypot((row - 250) / 150, (column - centre_column) / 200)
    return (distance > 0.85) & (distance < 1)


def by_distance_map(prediction: np.ndarray, reference: np.ndarray) -> float:
    to_reference = np.asarray(ndimage.distance_transform_edt(~boundary(reference), sampling=SPACING_MM))
    return float(np.sqrt(np.mean(to_reference[boundary(prediction)] ** 2))) / 10


def milliseconds() -> dict[str, float]:
    prediction, reference = ring(256), ring(262)
    image_hu = np.where(reference, 40, -90).astype(np.int16)
    image_hu[240:270, 240:270] = 400
    calls = {
        "dice": lambda: measure.dice(prediction, reference),
        "rms_dta_cm": lambda: measure.rms_dta_cm(prediction, reference, SPACING_MM),
        "rms_dta_symmetric_cm": lambda: measure.rms_dta_symmetric_cm(prediction, reference, SPACING_MM),
        "rms_dta_by_distance_map": lambda: by_distance_map(prediction, reference),
        "remove_bone": lambda: measure.remove_bone(image_hu, prediction, SPACING_MM),
        "muscle_density_hu": lambda: measure.muscle_density_hu(image_hu, prediction),
    }
    if find_spec("surface_distance"):
        peer = import_module("surface_distance")
        calls["surface_distance"] = lambda: peer.compute_surface_distances(reference, prediction, SPACING_MM)
    return {f"{name}_ms": round(1000 * common.measure(call), 3) for name, call in calls.items()}


if __name__ == "__main__":
    common.report("metrics", size=512, **milliseconds())
