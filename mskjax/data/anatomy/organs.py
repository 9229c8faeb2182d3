"""What fills the abdomen: bowel, liver, spleen, kidneys, vessels; and the lungs' lowest parts and the table.

All but the vessels are ellipsoids in space, so that slices and volumes of one patient agree. Loops of bowel that touch
share a wall. None of it is muscle, though unenhanced most of it has muscle's HU.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Integer

from mskjax.data.anatomy.canvas import Canvas, Distance, Point, Real, ellipse
from mskjax.data.anatomy.muscles import SIDES, Trunk, along_spine
from mskjax.data.anatomy.patient import Patient

ORGAN_LABELS = {
    "spleen": 1,
    "kidney_right": 2,
    "kidney_left": 3,
    "liver": 5,
    "stomach": 6,
    "bowel": 20,
    "aorta": 52,
    "cava": 63,
}
_CONTENTS = ("fluid", "gas", "collapsed", "contrast", "stool")


@dataclass(frozen=True)
class Loops:
    """Ellipsoids of bowel: centres and half axes in mm, rotation to their own axes, wall in mm, and contents."""

    centre: Float[np.ndarray, "m 3"]
    radii: Float[np.ndarray, "m 3"]
    axes: Float[np.ndarray, "m 3 3"]
    wall_mm: Float[np.ndarray, " m"]
    contents: tuple[str, ...]


def paint_organs(canvas: Canvas, patient: Patient, body: Trunk, z_mm: Real) -> None:
    """Bowel first, then what lies behind it and pushes it away."""
    level = patient.level(z_mm)
    # Negative inside the abdomen, which begins some fat below the muscles of the wall.
    cavity = np.float32(16 * patient.frame * along_spine("wall", level) + 4) - body.depth_mm
    _paint_mesentery(canvas, patient, cavity, z_mm)
    _paint_bowel(canvas, patient, cavity, z_mm)
    _paint_solid(canvas, patient, cavity, z_mm)
    _paint_vessels(canvas.near((0, -30), 45), patient, level)
    _paint_lungs(canvas, patient, cavity, level)


def _cut(centre_mm: Real, half_mm: Real, z_mm: Real) -> float:
    """The share of its radii that an ellipsoid shows at height z."""
    return float(np.sqrt(max(0.0, 1 - ((z_mm - centre_mm) / half_mm) ** 2)))


def _paint_solid(canvas: Canvas, patient: Patient, cavity: Distance, z_mm: Real) -> None:
    hu, rng = patient.hu, np.random.default_rng(patient.organs_seed)
    half_width, tip = patient.half_width_mm, rng.normal(22, 22)
    if share := _cut(tip + 120, 120, z_mm):
        liver = ellipse(canvas, (-half_width + 48, -30), (82 * share, 88 * share), 20)
        canvas.paint(np.maximum(liver, cavity), hu["liver"], ORGAN_LABELS["liver"])
    if share := _cut(patient.z_mm(4), 80 * patient.frame, z_mm):
        stomach = ellipse(canvas, (half_width - 66, -48), (46 * share, 40 * share))
        canvas.paint(np.maximum(stomach, cavity), hu["bowel"], ORGAN_LABELS["stomach"])
        canvas.paint(np.maximum(stomach, cavity) + 3, hu["fluid"], None)
    if share := _cut(patient.z_mm(3.3), 60 * patient.frame, z_mm):
        spleen = ellipse(canvas, (half_width - 28, 12), (26 * share, 52 * share), 12)
        canvas.paint(np.maximum(spleen, cavity), hu["spleen"], ORGAN_LABELS["spleen"])
    for side, sign in SIDES.items():
        share = _cut(patient.z_mm(1.45) + 6 * sign + rng.normal(0, 9), 58 * patient.frame, z_mm)
        if share:
            _paint_kidney(canvas, patient, side, share)


def _paint_kidney(canvas: Canvas, patient: Patient, side: str, share: float) -> None:
    f, hu, sign = patient.frame, patient.hu, SIDES[side]
    x, y = sign * 74 * f, -14 * f
    near = canvas.near((x, y), 40 * f)
    kidney = ellipse(near, (x, y), (27 * f * share, 31 * f * share), -25 * sign)
    near.paint(kidney - 5, hu["fat"])
    near.paint(kidney, hu["kidney"], ORGAN_LABELS[f"kidney_{side}"])
    if share > 0.6:
        sinus = ellipse(near, (x - sign * 12 * f, y - 4), (14 * f * share, 12 * f * share))
        near.paint(sinus, hu["fat"] + 20)


def _paint_vessels(canvas: Canvas, patient: Patient, level: float) -> None:
    f, blood = patient.frame, patient.hu["blood"]
    rng = np.random.default_rng(patient.organs_seed + 1)
    radius = f * rng.normal(9.5, 1.2)
    split = np.clip(-1.0 - level, 0, 2)
    for offset in {+14 * split, -14 * split}:
        vessel = ellipse(canvas, ((5 + offset) * f, (-30 + 5 * split) * f), (radius - 2 * split,) * 2)
        canvas.paint(vessel - 1, patient.hu["fat"])
        canvas.paint(vessel, blood, ORGAN_LABELS["aorta"])
        # Calcified plaque grows with age.
        plaque = rng.random() < (patient.age_years - 45) / 40
        if plaque:
            turn = rng.uniform(0, 2 * np.pi)
            spot = ((5 + offset) * f + radius * np.cos(turn), (-30 + 5 * split) * f + radius * np.sin(turn))
            canvas.paint(ellipse(canvas, spot, (2.6, 1.4), np.rad2deg(turn) + 90), 600, None)
    cava = ellipse(canvas, ((-19 + 3 * split) * f, (-27 + 4 * split) * f), (11.5 * f, 8 * f), -15)
    canvas.paint(cava, 0.92 * blood, ORGAN_LABELS["cava"])


def _paint_lungs(canvas: Canvas, patient: Patient, cavity: Distance, level: float) -> None:
    """The crescent of lung behind and beside the dome of the diaphragm, from T12 upward."""
    if level > 3.2:
        shrunk = 1 - 0.13 * (level - 3.2)
        dome = ellipse(canvas, (0, -22), (patient.half_width_mm * 0.93 * shrunk, patient.front_mm * 1.05 * shrunk))
        canvas.paint(np.maximum(cavity, np.maximum(-dome, -25 - canvas.y)), -850)


@lru_cache(maxsize=4)
def _loops(patient_seed: int, half_width: float, front: float, top: float, bottom: float) -> Loops:
    """The bowel of one patient: colon at both sides and in front, small bowel between."""
    rng = np.random.default_rng(patient_seed + 2)
    small = 170
    centre = rng.uniform([-half_width + 48, -max(front - 26, 56), bottom], [half_width - 48, -46, top], (small, 3))
    radii = rng.uniform([13, 10, 10], [34, 17, 17], (small, 3))
    contents = list(rng.choice(_CONTENTS[:4], small, p=[0.5, 0.14, 0.22, 0.14]))
    wall = rng.uniform(1.6, 3.2, small)
    upright = np.arange(bottom, top, 26.0)
    for x, y, width in ((-half_width + 40, -22, 25), (half_width - 38, -12, 18)):
        place = rng.normal([x, y, 0], [3, 5, 3], (len(upright), 3)) + np.outer(upright, [0, 0, 1])
        centre, radii = np.vstack([centre, place]), np.vstack([radii, rng.normal(width, 2.5, (len(upright), 3))])
        contents += list(rng.choice(["stool", "gas", "fluid"], len(upright), p=[0.6, 0.25, 0.15]))
        wall = np.append(wall, rng.uniform(2, 3.5, len(upright)))
    axes = np.linalg.qr(rng.normal(size=(len(centre), 3, 3)))[0]
    return Loops(centre, radii, axes, wall, tuple(contents))


def _paint_bowel(canvas: Canvas, patient: Patient, cavity: Distance, z_mm: Real) -> None:
    """Each loop with its contents; walls run along its surface, half way to the next loop, and along the abdomen's."""
    limits = patient.half_width_mm, patient.front_mm, patient.z_mm(4), patient.z_mm(-3)
    loops = _loops(patient.organs_seed, *limits)
    shown = [int(i) for i in np.flatnonzero(np.abs(loops.centre[:, 2] - z_mm) < loops.radii.max(axis=1))]
    first, second, owner = _pack(canvas, loops, shown, z_mm)
    first = np.maximum(first, cavity)
    canvas.paint(first, patient.hu["bowel"], ORGAN_LABELS["bowel"])
    from_edge = np.minimum(-first, (second - first) / 2)
    for i in shown:
        window = canvas.window(_middle(loops, i), loops.radii[i].max())
        lumen = np.where(owner[window] == i, np.float32(loops.wall_mm[i]) - from_edge[window], np.float32(99))
        _fill(canvas.crop(window), patient, lumen, loops.contents[i], float(loops.centre[i, 1]))


def _fill(canvas: Canvas, patient: Patient, lumen: Distance, contents: str, middle_mm: float) -> None:
    """The lumen of one loop; gas rises to the front and lies over a level."""
    if contents == "collapsed":
        return
    stool = np.maximum(25 + 55 * canvas.grain, -300)
    canvas.paint(lumen, {"contrast": 210.0, "stool": stool}.get(contents, patient.hu["fluid"]), None)
    if contents in ("gas", "stool"):
        level = middle_mm + (2 if contents == "gas" else -9)
        canvas.paint(np.maximum(lumen, canvas.y - np.float32(level)), -950, None)


def _middle(loops: Loops, i: int) -> Point:
    return float(loops.centre[i, 0]), float(loops.centre[i, 1])


def _pack(
    canvas: Canvas, loops: Loops, shown: list[int], z_mm: Real
) -> tuple[Distance, Distance, Integer[np.ndarray, "h w"]]:
    """Distance to the nearest loop and to the next one, and which loop is nearest."""
    first, second = (np.full(canvas.x.shape, 99, np.float32) for _ in range(2))
    owner = np.full(canvas.x.shape, -1, np.int16)
    for i in shown:
        window = canvas.window(_middle(loops, i), loops.radii[i].max())
        distance, best = _ellipsoid(canvas.crop(window), loops, i, z_mm), first[window]
        nearer = distance < best
        second[window] = np.minimum(second[window], np.maximum(distance, best))
        owner[window][nearer] = i
        first[window] = np.minimum(best, distance)
    return first, second, owner


def _ellipsoid(canvas: Canvas, loops: Loops, i: int, z_mm: Real) -> Distance:
    """Distance to where a loop is cut at height z; exact at its surface only for round ones."""
    x, y = canvas.x - np.float32(loops.centre[i, 0]), canvas.y - np.float32(loops.centre[i, 1])
    z = z_mm - loops.centre[i, 2]
    scaled = loops.axes[i] / loops.radii[i]
    square = sum((x * np.float32(a) + (y * np.float32(b) + np.float32(c * z))) ** 2 for a, b, c in scaled.T)
    return (np.sqrt(square) - 1) * np.float32(loops.radii[i, 1:].mean())


def _paint_mesentery(canvas: Canvas, patient: Patient, cavity: Distance, z_mm: Real) -> None:
    """Vessels of the mesentery, small and round, scattered in the fat before the spine, and the peritoneum."""
    rng = np.random.default_rng(patient.organs_seed + 3)
    place = rng.normal([0, -0.55 * patient.front_mm], [42, 20], (34, 2))
    drift, radius = rng.normal(0, 0.5, (34, 2)), rng.uniform(1.2, 3.2, 34)
    for (x, y), r in zip(place + drift * z_mm, radius, strict=True):
        window = canvas.window((x, y), r)
        near = canvas.crop(window)
        near.paint(np.maximum(ellipse(near, (x, y), (r, r)), cavity[window]), patient.hu["blood"])
    canvas.paint(np.abs(cavity + 4) - 0.4, -60)
