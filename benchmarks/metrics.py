"""Times the measures on one 512x512 slice, and against google-deepmind/surface-distance in one run.

    python -m benchmarks.metrics [--peers=FOLDER]

FOLDER holds the package surface-distance where it is not installed. All calls take turns. Its distances of both
directions are those that `rms_dta_symmetric_cm` squares and averages, but between contours that run between pixels, and
weighed by their length: the two RMS are told and need not be equal. `rms_dta_cm` is to stay under 20 ms; the usual way
by a distance map of the whole slice is timed beside it.
"""

import argparse
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from scipy import ndimage

from benchmarks import common
from mskjax import measure
from mskjax.measure.distance import boundary

SPACING_MM = (0.8, 0.8)
ROUNDS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default="", help="a folder of packages with surface-distance")
    given = parser.parse_args()
    sys.path += [given.peers] if given.peers else []
    common.report("metrics", size=512, **figures())


def ring(centre_column: float) -> np.ndarray:
    """A bool [512, 512] ring about as long and thick as the muscles of an abdominal wall."""
    row, column = np.mgrid[:512, :512]
    distance = np.hypot((row - 250) / 150, (column - centre_column) / 200)
    return (distance > 0.85) & (distance < 1)


def figures() -> dict[str, float]:
    prediction, reference = ring(256), ring(262)
    image_hu = np.where(reference, 40, -90).astype(np.int16)
    image_hu[240:270, 240:270] = 400
    calls: dict[str, Callable[[], Any]] = {
        "dice": lambda: measure.dice(prediction, reference),
        "rms_dta_cm": lambda: measure.rms_dta_cm(prediction, reference, SPACING_MM),
        "rms_dta_symmetric_cm": lambda: measure.rms_dta_symmetric_cm(prediction, reference, SPACING_MM),
        "rms_dta_by_distance_map": lambda: by_distance_map(prediction, reference),
        "remove_bone": lambda: measure.remove_bone(image_hu, prediction, SPACING_MM),
        "muscle_density_hu": lambda: measure.muscle_density_hu(image_hu, prediction),
    }
    if not find_spec("surface_distance"):
        return in_turns(calls)
    peer = import_module("surface_distance")
    calls["surface_distance"] = lambda: peer.compute_surface_distances(reference, prediction, SPACING_MM)
    calls["surface_distance_dice"] = lambda: peer.compute_dice_coefficient(reference, prediction)
    times = in_turns(calls)
    return {
        **times,
        "times_faster": ratio(times, "surface_distance", "rms_dta_symmetric_cm"),
        "dice_times_faster": ratio(times, "surface_distance_dice", "dice"),
        "rms_dta_symmetric_cm": round(calls["rms_dta_symmetric_cm"](), 4),
        "surface_distance_rms_cm": round(weighted_rms_cm(calls["surface_distance"]()), 4),
    }


def in_turns(calls: dict[str, Callable[[], Any]]) -> dict[str, float]:
    return {f"{name}_ms": round(1000 * median_s, 3) for name, median_s in common.in_turns(calls, ROUNDS).items()}


def ratio(times: dict[str, float], theirs: str, ours: str) -> float:
    return round(times[f"{theirs}_ms"] / times[f"{ours}_ms"], 2)


def by_distance_map(prediction: np.ndarray, reference: np.ndarray) -> float:
    to_reference = np.asarray(ndimage.distance_transform_edt(~boundary(reference), sampling=SPACING_MM))
    return float(np.sqrt(np.mean(to_reference[boundary(prediction)] ** 2))) / 10


def weighted_rms_cm(found: dict[str, np.ndarray]) -> float:
    """The root mean square in cm of surface-distance's answer in mm, each distance by its piece of contour."""
    pairs = (("distances_gt_to_pred", "surfel_areas_gt"), ("distances_pred_to_gt", "surfel_areas_pred"))
    distances_mm, weights = (np.concatenate([found[pair[part]] for pair in pairs]) for part in (0, 1))
    return float(np.sqrt(np.average(distances_mm**2, weights=weights))) / 10


if __name__ == "__main__":
    main()
