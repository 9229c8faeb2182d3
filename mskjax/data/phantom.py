"""Abdominal CT made from anatomy, with exact masks: for trials, tests and demonstrations without patient data.

No patient stands behind it. Each phantom has its own size, fat, muscle and organs; HU of bowel, liver, kidneys and
vessels overlap that of muscle, so that no threshold finds the muscle. The mask holds every pixel whose centre lies in a
skeletal muscle, the fat inside that muscle included, as readers outline it, and so the planes of fat in the abdominal
wall, which are under 2 mm thick; other fat between muscles is left out. The known area is that of the mask's pixels,
and the known density the mean of the stored HU over them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int16, UInt8
from scipy import ndimage

from mskjax.data.anatomy import bones, muscles, organs
from mskjax.data.anatomy.canvas import Canvas, Real
from mskjax.data.anatomy.observers import draw_reader, outline
from mskjax.data.anatomy.patient import Patient, draw


@dataclass(frozen=True)
class Phantom:
    """Phantom scans: slices [n, h, w] or volumes [n, d, h, w], oriented as all arrays of `mskjax.data` are.

    `labels` numbers the structures (`anatomy.muscles.MUSCLE_LABELS`, `anatomy.patient.VERTEBRA_LABELS`, ...);
    `area_cm2` is [n] for slices and [n, d] for volumes; `density_hu` is [n], in volumes over the whole mask.
    """

    image_hu: Int16[np.ndarray, "n *grid"]
    mask: UInt8[np.ndarray, "n *grid"]
    labels: UInt8[np.ndarray, "n *grid"]
    spacing_mm: Float64[np.ndarray, "n rank"]
    area_cm2: Float64[np.ndarray, "n *depth"]
    density_hu: Float64[np.ndarray, " n"]
    sex: np.ndarray
    age_years: Float64[np.ndarray, " n"]
    height_m: Float64[np.ndarray, " n"]
    weight_kg: Float64[np.ndarray, " n"]


def slices(count: int, size: int = 256, seed: int = 0, first: int = 0) -> Phantom:
    """`count` axial slices at L3, one a patient, of `size` x `size` pixels whose pitch follows the patient's girth.

    The patient at index i is the same whatever `count` and `size` are. The patients are those from index `first` on.
    """
    patients, generators = _patients(count, seed, first)
    scans, spacing = [], []
    for patient, rng in zip(patients, generators, strict=True):
        pixel_mm = _field_of_view_mm(patient, rng) / size
        z_mm = rng.uniform(-3, 8)
        scans.append(_scan(patient, rng, np.array([z_mm]), (size, size), np.array([1.0, pixel_mm, pixel_mm])))
        spacing.append((pixel_mm, pixel_mm))
    image_hu, labels = (np.stack([scan[k][0] for scan in scans]) for k in range(2))
    return _phantom(patients, image_hu, labels, np.array(spacing))


def volumes(
    count: int,
    size: tuple[int, int, int] = (104, 128, 128),
    spacing_mm: Sequence[Real] = (3.0, 3.2, 3.2),
    seed: int = 0,
    first: int = 0,
) -> Phantom:
    """`count` volumes of `size` voxels (slices, rows, columns), which at the default size reach from S1 to T11.

    A smaller field shows the part around the middle of that range. The patients are those from index `first` on.
    """
    patients, generators = _patients(count, seed, first)
    scans = []
    for patient, rng in zip(patients, generators, strict=True):
        middle = (patient.z_mm(-3.4) + patient.z_mm(4.4)) / 2
        z_mm = middle + (np.arange(size[0]) - (size[0] - 1) / 2) * spacing_mm[0]
        scans.append(_scan(patient, rng, z_mm, size[1:], np.array(spacing_mm, np.float64)))
    image_hu, labels = (np.stack([scan[k] for scan in scans]) for k in range(2))
    return _phantom(patients, image_hu, labels, np.tile(np.array(spacing_mm, np.float64), (count, 1)))


def _patients(count: int, seed: int, first: int = 0) -> tuple[list[Patient], list[np.random.Generator]]:
    if count < 1:
        raise ValueError(f"{count} phantom patients were asked for; ask for 1 or more")
    generators = [np.random.default_rng([seed, first + i]) for i in range(count)]
    return [draw(rng) for rng in generators], generators


def _phantom(
    patients: list[Patient],
    image_hu: Int16[np.ndarray, "n *grid"],
    labels: UInt8[np.ndarray, "n *grid"],
    spacing_mm: Float64[np.ndarray, "n rank"],
) -> Phantom:
    mask = np.isin(labels, list(muscles.MUSCLE_LABELS.values()))
    pixel_cm2 = (spacing_mm[:, -2] * spacing_mm[:, -1] / 100).reshape(-1, *[1] * (mask.ndim - 3))
    return Phantom(
        image_hu=image_hu,
        mask=mask.astype(np.uint8),
        labels=labels,
        spacing_mm=spacing_mm,
        area_cm2=mask.sum(axis=(-2, -1)) * pixel_cm2,
        density_hu=np.array([image[inside].mean() for image, inside in zip(image_hu, mask, strict=True)]),
        sex=np.array([p.sex for p in patients]),
        age_years=np.array([p.age_years for p in patients], np.float64),
        height_m=np.array([p.height_m for p in patients]),
        weight_kg=np.array([p.weight_kg for p in patients]),
    )


def _field_of_view_mm(patient: Patient, rng: np.random.Generator) -> float:
    width = 2 * (patient.half_width_mm + patient.fat_mm[1] + 2)
    return float(np.clip(width + rng.uniform(20, 70), 330, 500))


def _scan(
    patient: Patient,
    rng: np.random.Generator,
    z_mm: Float64[np.ndarray, " d"],
    size: tuple[int, int],
    spacing_mm: Float64[np.ndarray, "3"],
) -> tuple[Int16[np.ndarray, "d h w"], UInt8[np.ndarray, "d h w"]]:
    """HU as a scanner would store them, and the labels of the structures."""
    clean, labels = zip(*(paint(patient, z, size, spacing_mm[1:]) for z in z_mm), strict=True)
    blurred = ndimage.gaussian_filter(np.stack(clean), [0, *(0.75 / spacing_mm[1:])])
    noisy = blurred + patient.noise_hu * _noise(rng, blurred.shape, spacing_mm)
    return np.clip(np.rint(noisy), -1024, 3071).astype(np.int16), np.stack(labels)


def paint(
    patient: Patient, z_mm: float, size: tuple[int, int], spacing_mm: Float64[np.ndarray, "2"]
) -> tuple[Float32[np.ndarray, "h w"], UInt8[np.ndarray, "h w"]]:
    """HU without noise and the labels of one patient's slice at `z_mm` above the middle of L3."""
    level = patient.level(z_mm)
    whole = _canvas(patient, z_mm, size, spacing_mm)
    _paint_table(whole, patient)
    canvas = whole.near((0, 0), max(patient.front_mm * 1.2, patient.half_width_mm * 1.1) + max(patient.fat_mm))
    body = muscles.trunk(canvas, patient, level)
    muscles.paint_shell(canvas, patient, body, level)
    organs.paint_organs(canvas, patient, body, z_mm)
    muscles.paint_wall(canvas, patient, body, level)
    muscles.paint_spinal_muscles(canvas, patient, body, level)
    muscles.paint_pelvic_muscles(canvas, patient, level)
    muscles.marble(canvas, patient)
    bones.paint_hips(canvas, patient, level)
    bones.paint_ribs(canvas, patient, body, level)
    bones.paint_spine(canvas, patient, z_mm)
    return whole.hu, whole.label


def _canvas(patient: Patient, z_mm: float, size: tuple[int, int], spacing_mm: Float64[np.ndarray, "2"]) -> Canvas:
    """Air in the patient's own coordinates: rolled, warped, and moved by the curve of the spine."""
    rows, columns = ((np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(size, spacing_mm, strict=True))
    # The middle of the trunk at L3 is the middle of the picture.
    rows = rows - (patient.front_mm + patient.fat_mm[0] - 84 * patient.frame - patient.fat_mm[2]) / 2
    curve = (muscles.along_spine("back", patient.level(z_mm)) - 84) * patient.frame
    x, y = np.meshgrid(columns.astype(np.float32), rows.astype(np.float32))
    turn = np.float32(np.deg2rad(patient.roll_degrees))
    warp_x, warp_y = (np.float32(2.2) * waves(columns, rows, z_mm) for waves in patient.warp)
    return Canvas(
        x=x + turn * y + warp_x,
        y=y - turn * x + warp_y + np.float32(curve),
        hu=np.full(x.shape, -1000, np.float32),
        label=np.zeros(x.shape, np.uint8),
        grain=patient.grain(columns, rows, z_mm),
        patches=patient.patches(columns, rows, z_mm),
        pixel_mm=float(np.sqrt(np.prod(spacing_mm))),
    )


def _paint_table(canvas: Canvas, patient: Patient) -> None:
    """A shell of carbon fibre around foam, curved up at its sides, with a thin mattress."""
    # Rolled with the patient, as if the scanner's gantry and not the patient were askew.
    top = 84 * patient.frame + 0.75 * patient.fat_mm[2] + 7
    depth = canvas.y - np.float32(top) + (canvas.x / 60) ** 2
    shape = np.maximum(np.maximum(-depth, depth - 34 + (canvas.x / 60) ** 2), np.abs(canvas.x) - 215)
    canvas.paint(np.maximum(np.abs(depth + 3) - 3, np.abs(canvas.x) - 200), -900)
    canvas.paint(shape, -120)
    canvas.paint(shape + 2, -930)


def _noise(
    rng: np.random.Generator, shape: tuple[int, ...], spacing_mm: Float64[np.ndarray, "3"]
) -> Float32[np.ndarray, "d h w"]:
    """Noise of unit variance with the spectrum of filtered back-projection: a ramp, cut off by a soft kernel."""
    fy, fx = np.meshgrid(
        np.fft.fftfreq(shape[1], spacing_mm[1]), np.fft.rfftfreq(shape[2], spacing_mm[2]), indexing="ij"
    )
    frequency = np.hypot(fx, fy)
    gain = np.sqrt(frequency + 0.02) * np.exp(-((frequency / 0.33) ** 2))
    white = rng.standard_normal(shape, dtype=np.float32)
    coloured = np.fft.irfft2(np.fft.rfft2(white) * gain, s=shape[1:])
    return (coloured / coloured.std()).astype(np.float32)


def observers(
    phantom: Phantom, readers: int | Sequence[int] = 10, seed: int = 0, first: int = 0
) -> UInt8[np.ndarray, "readers n h w"]:
    """Masks of the slices of `phantom` as simulated human readers draw them; see `anatomy.observers`.

    `readers` is their number, or the numbers of those who draw; `first` the index of the phantom's first patient. A
    reader keeps one hand: reader r's habits depend on `seed` and r alone, what is drawn also on the patient's index.
    """
    if phantom.image_hu.ndim != 3:
        raise ValueError(f"readers outline slices, not volumes of shape {phantom.image_hu.shape}; use phantom.slices")
    numbers = range(readers) if isinstance(readers, int) else readers
    drawn = np.zeros((len(numbers), *phantom.mask.shape), np.uint8)
    for k, r in enumerate(numbers):
        reader = draw_reader(np.random.default_rng([seed, r]))
        for i, (image_hu, labels, spacing_mm) in enumerate(
            zip(phantom.image_hu, phantom.labels, phantom.spacing_mm, strict=True)
        ):
            drawn[k, i] = outline(reader, np.random.default_rng([seed, r, first + i]), image_hu, labels, spacing_mm)
    return drawn
