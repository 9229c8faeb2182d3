"""Outlines of a phantom's muscle as human readers would draw them.

A reader draws whole muscles, closing the thin planes between them, with a habit of drawing too wide or too tight and a
hand that wanders along the edge; now and then a muscle is forgotten, or soft tissue beside one is taken for muscle. The
sizes of these errors are set so that ten readers agree with the true mask about as the radiographers of study A did
with their expert (DSC 0.90, root mean square distance 0.32 cm, area 5 cm2 too small, density 6 HU too low).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int16, UInt8
from scipy import ndimage

from mskjax.data.anatomy.muscles import MUSCLE_LABELS
from mskjax.data.anatomy.organs import ORGAN_LABELS

# Fat planes up to twice this width are drawn over.
_CLOSED_MM = 1.5
_BONE_HU = 175
# How far from a muscle an organ may begin that a reader takes for muscle.
_REACH_MM = 12.0


@dataclass(frozen=True)
class Reader:
    """One reader's habits: mean and wandering of the edge in mm (positive is too wide), and chances per image."""

    bias_mm: float
    wander_mm: float
    forgets: float
    adds: float


def draw_reader(rng: np.random.Generator) -> Reader:
    """A random reader."""
    return Reader(
        bias_mm=float(rng.normal(-0.6, 0.3)),
        wander_mm=float(rng.uniform(1.1, 1.7)),
        forgets=float(rng.uniform(0.02, 0.2)),
        adds=float(rng.uniform(0.45, 0.75)),
    )


def outline(
    reader: Reader,
    rng: np.random.Generator,
    image_hu: Int16[np.ndarray, "h w"],
    labels: UInt8[np.ndarray, "h w"],
    spacing_mm: np.ndarray,
) -> UInt8[np.ndarray, "h w"]:
    """The mask that `reader` draws on one slice."""
    muscle = np.isin(labels, list(MUSCLE_LABELS.values()))
    if rng.random() < reader.forgets:
        forgotten = rng.choice(["quadratus_left", "quadratus_right", "rectus_left", "rectus_right"])
        muscle &= labels != MUSCLE_LABELS[str(forgotten)]
    distance = _signed_distance_mm(muscle, spacing_mm)
    closed = _signed_distance_mm(distance < _CLOSED_MM, spacing_mm) + _CLOSED_MM
    drawn = closed < reader.bias_mm + reader.wander_mm * _smooth_field(rng, muscle.shape, spacing_mm, 6.0)
    organs = np.isin(labels, list(ORGAN_LABELS.values()))
    while rng.random() < reader.adds:
        drawn |= organs & _disc(rng, organs & (distance < _REACH_MM), spacing_mm)
    return (drawn & (image_hu < _BONE_HU)).astype(np.uint8)


def _signed_distance_mm(inside: Bool[np.ndarray, "h w"], spacing_mm: np.ndarray) -> Float32[np.ndarray, "h w"]:
    """Distance to the edge between pixels, negative inside; everywhere far where there is nothing."""
    if not inside.any():
        return np.full(inside.shape, 99, np.float32)
    outer, inner = (np.asarray(ndimage.distance_transform_edt(m, sampling=spacing_mm)) for m in (~inside, inside))
    half_pixel = np.mean(spacing_mm) / 2
    return np.where(inside, half_pixel - inner, outer - half_pixel).astype(np.float32)


def _smooth_field(
    rng: np.random.Generator, shape: tuple[int, ...], spacing_mm: np.ndarray, length_mm: float
) -> Float32[np.ndarray, "h w"]:
    """A random field of unit variance, correlated over about `length_mm`."""
    coarse = [int(np.ceil(n * mm / length_mm)) + 1 for n, mm in zip(shape, spacing_mm, strict=True)]
    nodes = ndimage.gaussian_filter(rng.normal(size=coarse), 1.0)
    zoom = np.array(shape) / coarse
    fine = ndimage.zoom(nodes / nodes.std(), zoom, order=1, grid_mode=True, mode="nearest")
    return np.asarray(fine, np.float32)


def _disc(
    rng: np.random.Generator, centres: Bool[np.ndarray, "h w"], spacing_mm: np.ndarray
) -> Bool[np.ndarray, "h w"]:
    """A disc of random size around one of `centres`; nothing where there are none."""
    rows, columns = np.nonzero(centres)
    if not len(rows):
        return np.zeros(centres.shape, bool)
    i, radius_mm = rng.integers(len(rows)), rng.uniform(8, 24)
    y, x = np.ogrid[: centres.shape[0], : centres.shape[1]]
    return np.hypot((y - rows[i]) * spacing_mm[0], (x - columns[i]) * spacing_mm[1]) < radius_mm
