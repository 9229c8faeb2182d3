"""Vertebrae with their processes and canal, discs, sacrum, wings of the ilium, and the lower ribs."""

import numpy as np

from mskjax.data.anatomy.canvas import Canvas, Distance, Point, Real, capsule, ellipse, union
from mskjax.data.anatomy.muscles import SIDES, Trunk
from mskjax.data.anatomy.patient import LEVELS, VERTEBRA_LABELS, Patient

HIP_LABELS = {"left": 77, "right": 78}
RIB_LABEL = 92
SACRUM_LABEL = 25
_CORTEX_MM = 1.6
# Each rib: the angle from the front in degrees at the level where it is highest, and its fall per level; the lower
# end of its bony part.
_RIBS = ((168, 2.9, 28, 1.3), (168, 3.9, 30, 1.6), (165, 4.9, 30, 2.0), (130, 5.0, 26, 2.4), (100, 5.0, 24, 3.0))


def paint_spine(canvas: Canvas, patient: Patient, z_mm: Real) -> None:
    """The vertebra or disc at height `z_mm` above the middle of L3, its arch and the canal."""
    level = patient.level(z_mm)
    nearest = int(np.clip(round(level), min(LEVELS.values()) - 1, max(LEVELS.values()) + 1))
    f, dz = patient.frame, z_mm - patient.z_mm(nearest)
    label = max(VERTEBRA_LABELS["L3"] + nearest, SACRUM_LABEL)
    near = canvas.near((0, 25 * f), 55 * f)
    if nearest <= LEVELS["S1"]:
        _paint_sacrum(near, patient, level, label)
    else:
        _paint_body(near, patient, nearest, dz, label)
        _paint_arch(near, patient, nearest, dz, label)
    _paint_canal(near, patient)


def _bone(canvas: Canvas, patient: Patient, shape: Distance, label: int, cortex_mm: float = _CORTEX_MM) -> None:
    canvas.paint(shape, patient.hu["cortical"], label)
    canvas.paint(shape + np.float32(cortex_mm), patient.hu["trabecular"], None)


def _paint_body(canvas: Canvas, patient: Patient, level: int, dz: Real, label: int) -> None:
    f = patient.frame * (1 - 0.035 * max(level, 0))
    waist = 0.93 + 0.07 * (abs(dz) / (14 * f)) ** 2
    half_height = 0.37 * (patient.z_mm(level + 0.5) - patient.z_mm(level - 0.5))
    shape = union(
        ellipse(canvas, (0, -1 * f), (24.5 * f * waist, 16.5 * f * waist)),
        ellipse(canvas, (9 * f, 5 * f), (13.5 * f * waist, 11 * f * waist)),
        ellipse(canvas, (-9 * f, 5 * f), (13.5 * f * waist, 11 * f * waist)),
    )
    shape = np.maximum(shape, -ellipse(canvas, (0, 26 * f), (11 * f, 11 * f)))
    if abs(dz) > half_height:
        canvas.paint(shape + 1, patient.hu["disc"])
    elif abs(dz) > half_height - 1.5:
        canvas.paint(shape, 0.5 * patient.hu["cortical"] + 80, label)
    else:
        _bone(canvas, patient, shape, label, 1.3)


def _paint_arch(canvas: Canvas, patient: Patient, level: int, dz: Real, label: int) -> None:
    """Pedicles, laminae, facets, transverse and spinous process, as far as height `dz` from the middle cuts them."""
    f = patient.frame
    reach = 43 if level <= 2 else 34
    spine_mm = (70 if -2 < level <= 2 else 58) * f

    def both(shape: str, *points: Point, size: Real | Point) -> list[Distance]:
        draw = {"capsule": capsule, "ellipse": ellipse}[shape]
        return [draw(canvas, *[(sign * x * f, y * f) for x, y in points], size) for sign in SIDES.values()]

    parts = both("ellipse", (17, 31), size=(6.5 * f, 7.5 * f))
    if -4 < dz < 15:
        parts += both("capsule", (15, 13), (18, 27), size=4.6 * f)
    if -3 < dz < 10:
        parts += both("capsule", (19, 25), (reach, 27), size=(3.9 - 0.02 * dz**2) * f)
    if -20 < dz < 9:
        parts += both("capsule", (16, 33), (2, 42), size=3.2 * f)
    if -22 < dz < 6:
        parts += [
            capsule(canvas, (0, 42 * f), (0, spine_mm), 3.1 * f),
            ellipse(canvas, (0, spine_mm), (4.6 * f, 7 * f)),
        ]
    shape = union(*parts, blend_mm=4 * f)
    _bone(canvas, patient, shape, label)


def _paint_canal(canvas: Canvas, patient: Patient) -> None:
    f = patient.frame
    canal = union(ellipse(canvas, (0, 26 * f), (10.5 * f, 8.5 * f)), ellipse(canvas, (0, 32 * f), (6 * f, 6 * f)))
    canvas.paint(canal, 0.7 * patient.hu["fat"])
    canvas.paint(ellipse(canvas, (0, 25 * f), (8.6 * f, 6.8 * f)), patient.hu["cord"])


def _paint_sacrum(canvas: Canvas, patient: Patient, level: Real, label: int) -> None:
    f = patient.frame
    wing = np.clip(1.1 - 0.25 * (LEVELS["S1"] - level), 0.5, 1.1) * f
    shape = union(
        ellipse(canvas, (0, 0), (25 * wing, 17 * wing)),
        ellipse(canvas, (34 * f, 14 * f), (25 * wing, 15 * wing), 28),
        ellipse(canvas, (-34 * f, 14 * f), (25 * wing, 15 * wing), -28),
        capsule(canvas, (-20 * f, 36 * f), (20 * f, 36 * f), 5 * f),
        capsule(canvas, (0, 36 * f), (0, 46 * f), 4 * f),
        blend_mm=8 * f,
    )
    _bone(canvas, patient, shape, label)


def paint_hips(canvas: Canvas, patient: Patient, level: Real) -> None:
    """The wings of the ilium from their crest at L4/L5 downward."""
    size = np.clip((-1.3 - level) / 1.5, 0, 1)
    f = patient.frame
    for side, sign in SIDES.items() if size > 0.05 else ():
        back, crest = (sign * 58 * f, 40 * f), (sign * 96 * f, 12 * f)
        front = (sign * (96 + 30 * size) * f, (12 - 48 * size) * f)
        start = tuple(c + (b - c) * size for b, c in zip(back, crest, strict=True))
        wing = union(
            capsule(canvas, start, crest, 5.5 * f),
            capsule(canvas, crest, front, 3.8 * f),
            ellipse(canvas, front, (6 * f, 6 * f)),
        )
        _bone(canvas, patient, wing, HIP_LABELS[side])


def paint_ribs(canvas: Canvas, patient: Patient, body: Trunk, level: Real) -> None:
    """Ribs 8 to 12 cut across, within the wall of the trunk."""
    for start, highest, fall, lowest in _RIBS:
        if not lowest < level < highest:
            continue
        angle = np.deg2rad(start - fall * (highest - level) ** 1.15)
        along = (np.abs(body.angle) - angle) * body.radius_mm
        # Towards the spine ribs pass in front of the erectors.
        inside = (body.depth_mm - np.float32(7 + 34 * np.clip((angle - 2.2) / 0.6, 0, 1))) / 4
        q = np.sqrt((along / 11) ** 2 + inside**2)
        _bone(canvas, patient, ((q - 1) * 4.5).astype(np.float32), RIB_LABEL, 1.2)
