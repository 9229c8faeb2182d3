"""Planes of CT put in order along their normal, and the proof that they make an even stack.

Positions decide, never InstanceNumber or SliceThickness, which vendors and archives rewrite.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float64

from mskjax.data.planes import Plane

# Positions are written with as little as one decimal, so that the step between two may be wrong by nearly 0.2 mm; the
# step over a missing slice is wrong by a whole one.
STEP_TOLERANCE_MM = 0.2
DUPLICATE_MM = 0.01
TILT_TOLERANCE_DEGREES = 0.1
MIN_AXIAL_COSINE = np.cos(np.radians(45))


def from_feet_to_head(planes: list[Plane]) -> list[Plane]:
    """Planes of one geometry in the order of their positions along the normal.

    Raises `ValueError`, naming the files, where the planes are more than 45 degrees off axial, where two lie at one
    place, and where the distances between neighbours differ by more than 0.2 mm, along the normal or sideways.
    """
    normal = planes[0].normal
    if normal[2] < MIN_AXIAL_COSINE:
        raise ValueError(
            f"{planes[0].name} is not axial: its plane is {np.degrees(np.arccos(normal[2])):.0f} degrees off, at most "
            "45 are read; choose the axial series"
        )
    ordered = sorted(planes, key=lambda plane: float(normal @ plane.position_mm))
    if len(ordered) > 1:
        steps_mm = np.diff([plane.position_mm for plane in ordered], axis=0)
        gaps_mm = steps_mm @ normal
        _refuse_duplicates(ordered, gaps_mm)
        _refuse_gaps(ordered, gaps_mm)
        _refuse_jumps(ordered, steps_mm - gaps_mm[:, None] * normal)
    return ordered


def distance_mm(ordered: list[Plane]) -> float:
    """The mean distance between neighbouring planes along the normal; `ValueError` for a single plane."""
    if len(ordered) < 2:
        raise ValueError(f"{ordered[0].name} is a single slice, which has no neighbour to be distant from")
    span_mm = ordered[-1].position_mm - ordered[0].position_mm
    return float(span_mm @ ordered[0].normal / (len(ordered) - 1))


def is_tilted(ordered: list[Plane]) -> bool:
    """Whether the planes' positions run aslant to their normal, by over 0.1 degrees and 0.2 mm in all."""
    span_mm = ordered[-1].position_mm - ordered[0].position_mm
    along_mm = span_mm @ ordered[0].normal
    sideways_mm = np.linalg.norm(span_mm - along_mm * ordered[0].normal)
    aslant = np.degrees(np.arctan2(sideways_mm, along_mm)) > TILT_TOLERANCE_DEGREES
    return bool(aslant and sideways_mm > STEP_TOLERANCE_MM)


def _refuse_duplicates(ordered: list[Plane], gaps_mm: Float64[np.ndarray, "n"]) -> None:
    same = np.flatnonzero(gaps_mm < DUPLICATE_MM)
    if same.size:
        first, second = ordered[same[0]], ordered[same[0] + 1]
        raise ValueError(
            f"{first.name} and {_short(second)} have duplicate positions {_place(first)}, as {same.size} of "
            f"{len(ordered)} slices repeat another's; keep one acquisition or phase in the folder"
        )


def _refuse_gaps(ordered: list[Plane], gaps_mm: Float64[np.ndarray, "n"]) -> None:
    usual_mm = float(np.sort(gaps_mm)[(len(gaps_mm) - 1) // 2])
    worst = int(np.argmax(np.abs(gaps_mm - usual_mm)))
    tolerance_mm = min(STEP_TOLERANCE_MM, usual_mm / 2)
    if abs(gaps_mm[worst] - usual_mm) > tolerance_mm:
        ratio = gaps_mm[worst] / usual_mm
        whole = ratio > 1.5 and abs(ratio - round(ratio)) < 0.1
        guess = f"{round(ratio) - 1} missing" if whole else "uneven spacing"
        raise ValueError(
            f"{ordered[worst].name} and {_short(ordered[worst + 1])} are {gaps_mm[worst]:.3f} mm apart where slices "
            f"usually are {usual_mm:.3f} mm ({guess}; {tolerance_mm:g} mm more or less are tolerated); "
            "supply the missing slices, or give one slice alone"
        )


def _refuse_jumps(ordered: list[Plane], sideways_mm: Float64[np.ndarray, "n 3"]) -> None:
    """Refuses steps that are neither straight nor one steady shear."""
    jumps_mm = np.linalg.norm(sideways_mm - np.median(sideways_mm, axis=0), axis=1)
    worst = int(np.argmax(jumps_mm))
    if jumps_mm[worst] > STEP_TOLERANCE_MM:
        raise ValueError(
            f"{ordered[worst].name} and {_short(ordered[worst + 1])} are shifted sideways by {jumps_mm[worst]:.3f} mm "
            f"against the other slices ({STEP_TOLERANCE_MM} mm are tolerated); give the slices of one "
            "reconstruction, or one slice alone"
        )


def _short(plane: Plane) -> str:
    return Path(plane.header.filename).name + plane.name.removeprefix(str(plane.header.filename))


def _place(plane: Plane) -> str:
    return "(" + ", ".join(f"{x:g}" for x in plane.position_mm) + " mm)"
