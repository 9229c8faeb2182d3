"""The trunk's outline with skin, fat and abdominal wall, and the muscles beside the spine and the pelvis.

The outer fascia is a closed curve around the abdomen, given by its radius over the angle from the front. Everything of
the trunk is a depth below it: subcutaneous fat and skin outside, the layers of the wall and the abdomen inside.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri

from mskjax.data.anatomy.canvas import Canvas, Distance, Real, capsule, ellipse, union
from mskjax.data.anatomy.patient import Patient

# Labels of muscles: TotalSegmentator's numbers where it has them, free ones above 200 for the others.
MUSCLE_LABELS = {
    "erector_left": 86,
    "erector_right": 87,
    "psoas_left": 88,
    "psoas_right": 89,
    "quadratus_left": 201,
    "quadratus_right": 202,
    "rectus_left": 203,
    "rectus_right": 204,
    "wall_left": 205,
    "wall_right": 206,
    "gluteus_left": 207,
    "gluteus_right": 208,
}
SIDES = {"left": 1, "right": -1}

_STEP = 4096
_ANGLE = np.linspace(-np.pi, np.pi, _STEP, endpoint=False)
# Sizes against L3 at the levels -4 (below S1) to 5 (above T11).
_ALONG_SPINE = {
    "half_width": (1.10, 1.08, 1.04, 1.0, 1.0, 1.0, 1.0, 1.0, 0.98, 0.96),
    "front": (0.75, 0.80, 0.88, 0.96, 1.0, 1.04, 1.08, 1.10, 1.10, 1.08),
    "back": (50, 58, 72, 82, 84, 80, 73, 67, 63, 60),
    "side_fat": (1.9, 1.7, 1.4, 1.1, 1.0, 0.95, 0.9, 0.85, 0.8, 0.8),
    "wall": (0.5, 0.6, 0.8, 0.95, 1.0, 0.97, 0.85, 0.65, 0.5, 0.45),
    "wall_end_degrees": (62, 72, 98, 122, 127, 130, 134, 142, 150, 152),
    "rectus": (1.1, 1.1, 1.05, 1.0, 1.0, 0.97, 0.9, 0.85, 0.75, 0.7),
    "psoas": (0.8, 0.95, 1.05, 1.08, 1.0, 0.78, 0.45, 0.0, 0.0, 0.0),
    "psoas_x": (62, 58, 50, 43, 39, 35, 31, 28, 28, 28),
    "psoas_y": (-38, -30, -14, -5, -1, 1, 3, 4, 4, 4),
    "quadratus": (0.0, 0.0, 0.0, 0.85, 1.0, 0.85, 0.6, 0.0, 0.0, 0.0),
    "erector_width": (0.5, 0.62, 0.8, 0.95, 1.0, 1.0, 0.97, 0.92, 0.85, 0.8),
    "erector_depth": (0.45, 0.6, 0.85, 0.98, 1.0, 0.95, 0.87, 0.8, 0.74, 0.7),
}


def along_spine(name: str, level: Real) -> float:
    """A size of the trunk at a level, against L3 where it is a share."""
    return float(np.interp(level, range(-4, 6), _ALONG_SPINE[name]))


@dataclass(frozen=True)
class Trunk:
    """The trunk at one level, point by point: depth below the outer fascia in mm, and the angle from the front.

    `place` is the angle's row in tables over the angle, `radius_mm` the distance from the middle of the trunk.
    """

    depth_mm: Distance
    angle: Distance
    place: np.ndarray
    radius_mm: Distance
    back_mm: float


def trunk(canvas: Canvas, patient: Patient, level: Real) -> Trunk:
    """Where each point of the canvas lies against the outer fascia of the trunk."""
    back = along_spine("back", level) * patient.frame
    front = along_spine("front", level) * patient.front_mm + (along_spine("back", 0) * patient.frame - back)
    middle, half_width = (back - front) / 2, patient.half_width_mm * along_spine("half_width", level)
    x, y = canvas.x, canvas.y - np.float32(middle)
    angle = np.arctan2(x, -y)
    place = ((angle + np.pi) * np.float32(_STEP / (2 * np.pi))).astype(np.int32) % _STEP
    fascia = _fascia(half_width, (front + back) / 2)
    slant = np.hypot(1, np.gradient(fascia, _ANGLE) / fascia)
    radius = np.hypot(x, y)
    depth = (fascia.astype(np.float32)[place] - radius) / slant.astype(np.float32)[place]
    return Trunk(depth, angle, place, radius, back)


def _fascia(half_width: float, half_depth: float) -> Float[np.ndarray, " angles"]:
    """Radius of the fascia over the angle: a rounded box with the furrow over the spine."""
    n = 2.35
    radius = (np.abs(np.cos(_ANGLE) / half_depth) ** n + np.abs(np.sin(_ANGLE) / half_width) ** n) ** (-1 / n)
    return radius - 6 * np.exp(-(((np.abs(_ANGLE) - np.pi) * half_depth / 15) ** 2))


def paint_shell(canvas: Canvas, patient: Patient, body: Trunk, level: Real) -> None:
    """Skin, subcutaneous fat and the fat that fills the abdomen."""
    front, side, back = patient.fat_mm
    side *= along_spine("side_fat", level)
    thickness = side + (front - side) * np.maximum(np.cos(_ANGLE), 0) ** 2
    thickness += (back - side) * np.maximum(-np.cos(_ANGLE), 0) ** 2
    # The back is pressed flat by the table where it lies on it.
    thickness *= 1 - 0.25 * np.maximum(-np.cos(_ANGLE), 0) ** 8
    below_skin = body.depth_mm + thickness.astype(np.float32)[body.place] + 2
    canvas.paint(-below_skin, patient.hu["skin"])
    canvas.paint(2 - below_skin, patient.hu["fat"])
    # Scarpa's fascia and the fascia of the trunk: thin sheets that partial volume makes faint.
    middle = 0.45 * thickness.astype(np.float32)[body.place]
    canvas.paint(np.abs(body.depth_mm + middle) - 0.35, -70, None)
    canvas.paint(np.abs(body.depth_mm + 0.3) - 0.7, 10, None)


def paint_wall(canvas: Canvas, patient: Patient, body: Trunk, level: Real) -> None:
    """External and internal oblique and transversus with thin fat between, and rectus with the white line."""
    arc = np.deg2rad([32, along_spine("wall_end_degrees", level)])
    ramp = np.clip((np.abs(_ANGLE) - arc[0]) * 130 / 14, 0, 1) * np.clip((arc[1] - np.abs(_ANGLE)) * 130 / 22, 0, 1)
    scale = patient.frame * patient.bulk * along_spine("wall", level) * np.sqrt(np.clip(ramp, 0, 1))
    gap, top, layers = patient.gap_mm, 0.5, []
    for thickness, end in ((6.0, 0.94), (8.2, 1.0), (3.6, 1.0)):
        half = thickness / 2 * scale * (np.abs(_ANGLE) < arc[1] * end)
        half = np.convolve(np.pad(half, 40, mode="wrap"), np.ones(81) / 81, mode="valid")
        layers.append((top + half, np.where(half > 0.4, half, -3)))
        top = top + 2 * half + gap
    for (middle, half), (_, next_half) in pairwise(layers):
        # Thinner than a reader's line, so that it counts as muscle; the layers painted next cover its edges.
        plane = np.where((half > 0) & (next_half > 0), gap / 2 + 0.4, -3)
        between = np.abs(body.depth_mm - _at(body, middle + half + gap / 2)) - _at(body, plane)
        _paint_sides(canvas, between, patient.hu["fat"], "wall")
    for middle, half in layers:
        layer = np.abs(body.depth_mm - _at(body, middle)) - _at(body, half)
        _paint_sides(canvas, layer, patient.hu["muscle"], "wall")
    _paint_rectus(canvas, patient, body, level)


def _paint_rectus(canvas: Canvas, patient: Patient, body: Trunk, level: Real) -> None:
    width = 58 * patient.frame * along_spine("rectus", 1 - level)
    half = 5.2 * patient.frame * patient.bulk * along_spine("rectus", level)
    from_midline = np.abs(canvas.x) - np.float32(4 + width / 2)
    across = np.abs(from_midline) / np.float32(width / 2)
    lens = half * np.sqrt(np.clip(1 - across**4, 0, 1))
    shape = np.maximum(np.abs(body.depth_mm - 0.8 - half) - lens, np.abs(from_midline) - np.float32(width / 2))
    shape = np.where(np.abs(body.angle) < 1.0, shape, np.float32(99))
    _paint_sides(canvas, shape, patient.hu["muscle"], "rectus")
    linea = np.maximum(np.abs(body.depth_mm - 2.5) - 1.2, np.abs(canvas.x) - 5)
    canvas.paint(np.where(np.abs(body.angle) < 0.5, linea, np.float32(99)), 30)


def _at(body: Trunk, table: Float[np.ndarray, " angles"]) -> Distance:
    return table.astype(np.float32)[body.place]


def _paint_sides(canvas: Canvas, shape: Distance, hu: float, name: str) -> None:
    for side, sign in SIDES.items():
        canvas.paint(np.where(canvas.x * sign > 0, shape, np.float32(99)), hu, MUSCLE_LABELS[f"{name}_{side}"])


def paint_spinal_muscles(canvas: Canvas, patient: Patient, body: Trunk, level: Real) -> None:
    """Erector spinae with multifidus, quadratus lumborum and psoas, with the fat planes between them."""
    f, bulk = patient.frame, float(np.sqrt(patient.bulk))
    for side, sign in SIDES.items():
        window = canvas.window((sign * 52 * f, 18 * f), 78 * f)
        near = canvas.crop(window)
        shapes = {
            "erector": np.maximum(_erector(near, level, sign, f, bulk), np.float32(1.2) - body.depth_mm[window]),
            "quadratus": _quadratus(near, level, sign, f, bulk),
            "psoas": _psoas(near, level, sign, f, bulk),
        }
        for name, shape in shapes.items():
            near.paint(shape - patient.gap_mm, patient.hu["fat"])
            near.paint(shape, patient.hu["muscle"], MUSCLE_LABELS[f"{name}_{side}"])


def _erector(canvas: Canvas, level: Real, sign: int, f: float, bulk: float) -> Distance:
    """Multifidus, longissimus and iliocostalis, grown together behind the transverse processes."""
    width, depth = f * bulk * along_spine("erector_width", level), f * bulk * along_spine("erector_depth", level)
    bottom = along_spine("back", level) * f - 3

    def belly(x: Real, from_back: Real, rx: Real, ry: Real, degrees: Real) -> Distance:
        centre = (sign * x * (0.3 * f + 0.7 * width), bottom - from_back * depth)
        return ellipse(canvas, centre, (rx * width, ry * depth), sign * degrees)

    return union(belly(15, 24, 12, 22, 0), belly(38, 23.5, 21, 21.5, 0), belly(60, 29, 13, 17, -20), blend_mm=9 * f)


def _quadratus(canvas: Canvas, level: Real, sign: int, f: float, bulk: float) -> Distance:
    size = along_spine("quadratus", level) * f * bulk
    if size < 0.2:
        return np.full(canvas.x.shape, 99, np.float32)
    return union(
        ellipse(canvas, (sign * 60 * f, 19 * f), (15 * size, 9 * size), sign * 18),
        ellipse(canvas, (sign * 73 * f, 22 * f), (12 * size, 8.5 * size), sign * 12),
        blend_mm=7 * f,
    )


def _psoas(canvas: Canvas, level: Real, sign: int, f: float, bulk: float) -> Distance:
    size = along_spine("psoas", level) * f * bulk
    if size < 0.15:
        return np.full(canvas.x.shape, 99, np.float32)
    x, y = along_spine("psoas_x", level) * f, along_spine("psoas_y", level) * f
    return union(
        ellipse(canvas, (sign * x, y), (14.5 * size, 21 * size), -sign * 12),
        ellipse(canvas, (sign * (x + 3), y + 8 * size), (15 * size, 13 * size)),
        blend_mm=8 * f,
    )


def paint_pelvic_muscles(canvas: Canvas, patient: Patient, level: Real) -> None:
    """The gluteal muscles outside the wing of the ilium and iliacus, counted to psoas, inside; none above the crest."""
    size = float(np.clip((-1.2 - level) / 1.6, 0, 1.1)) * patient.frame * float(np.sqrt(patient.bulk))
    f, hu = patient.frame, patient.hu["muscle"]
    for side, sign in SIDES.items() if size > 0.25 else ():
        gluteus = capsule(canvas, (sign * 80 * f, 52 * size), (sign * 122 * f, 4), 15 * size)
        canvas.paint(gluteus, hu, MUSCLE_LABELS[f"gluteus_{side}"])
        iliacus = capsule(canvas, (sign * 84 * f, 10 * f), (sign * 108 * f, -24 * f * size), 9 * size)
        canvas.paint(iliacus, hu, MUSCLE_LABELS[f"psoas_{side}"])


def marble(canvas: Canvas, patient: Patient) -> None:
    """Streaks of fat in the muscles painted so far, taking the share that each group has in this patient."""
    share = np.zeros(256, np.float32)
    for name, label in MUSCLE_LABELS.items():
        share[label] = patient.fat_share[name.split("_")[0]]
    inside = share[canvas.label] > 0
    # Streaks lie where the field is near zero; being normal, it is within +-t of zero at the wanted share of points.
    t = ndtri(0.5 + share / 2).astype(np.float32)[canvas.label[inside]]
    # Thin here and thick there: a factor of mean 1 over the muscle.
    t *= np.exp(np.float32(0.9) * canvas.patches[inside] - np.float32(0.405))
    field = canvas.grain[inside]
    # A pixel spans about this much of the field; the streak's share of that span is fat.
    span = np.float32(min(canvas.pixel_mm * 0.25, 0.8))
    fat = (np.clip(field + span, -t, t) - np.clip(field - span, -t, t)) / (2 * span)
    canvas.hu[inside] += fat * (0.9 * patient.hu["fat"] - canvas.hu[inside])
