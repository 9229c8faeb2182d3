"""The folder of a measured scan.

    measurements.csv   slice_index, sma_cm2, smd_hu, smi_cm2_m2: one row a slice
    decisions.csv      what each set of published cut-offs says of the slice that was named as L3: one row a measure
    measurements.json  all of it with the file's own slice numbers, area with bone and without, volume and settings
    mask.nii.gz        the measured mask on the scan's own grid
    mask.dcm           the same as DICOM SEG, where the scan is DICOM
    overlay.png        the measured slices with their outlines

The measured mask is what the figures are of: only the chosen slices, after bone and HU window. Nothing of the scan's
header but its geometry goes into these files, except into mask.dcm, which belongs to the scan's study.
"""

import csv
import math
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from PIL import Image
from pydicom import Dataset

import mskjax
from mskjax.data.orientation import from_axial, source_index, tilt_degrees, to_axial
from mskjax.data.writing import write_mask, write_seg
from mskjax.files import atomic_path, read_json, remove, require_folder, sha256, write_json
from mskjax.measure import bone
from mskjax.study import decisions
from mskjax.study.measurement import Measurement
from mskjax.study.overlays import columns_for, draw_slice, montage, with_legend
from mskjax.training import origin

COLUMNS: tuple[str, ...] = ("slice_index", "sma_cm2", "smd_hu", "smi_cm2_m2")
FIGURES = ("measurements.csv", "decisions.csv", "measurements.json")
MASKS = ("mask.nii.gz", "mask.dcm")
OUTPUTS = (*FIGURES, *MASKS, "overlay.png")
MAX_TILES = 64
MONTAGE_PX = 2400


def check(output: Path, inputs: Sequence[str | Path]) -> None:
    """Raises `OSError` where the folder cannot be written, `ValueError` where an input or an edited mask lies in it."""
    require_folder(output)
    for path in map(Path, inputs):
        for former in (output / name for name in OUTPUTS):
            if path.exists() and former.exists() and path.samefile(former):
                raise ValueError(f"{path} would be replaced by what is measured in it; give another --output")
    _check_unedited(output)


def _check_unedited(output: Path) -> None:
    described = output / "measurements.json"
    made = read_json(described).get("files_sha256", {}) if described.is_file() else {}
    for path in (output / name for name in made):
        if path.is_file() and sha256(path) != made[path.name]:
            raise ValueError(f"{path} was edited; measure it with --mask={path} and another --output, or delete it")


def write(
    output: Path,
    scan: sitk.Image,
    measurement: Measurement,
    sources: list[Dataset],
    run: str | Path | None,
    artifact: Mapping[str, Any] | None = None,
) -> None:
    """Writes the folder, replacing what an earlier measurement left in it and nothing else; on an error, nothing.

    `sources` are the headers of the scan's slices where it is DICOM; `run` is what predicted the mask, or an exported
    program of which `artifact` tells, if one did.
    """
    new = not output.exists()
    output.mkdir(parents=True, exist_ok=True)
    try:
        # Within the folder, as only there moving a file is sure to be no copying.
        with tempfile.TemporaryDirectory(prefix=".measurement.", dir=output) as made:
            _make(Path(made), scan, measurement, sources, run, artifact)
            _replace(output, Path(made))
    except BaseException:
        if new:
            output.rmdir()
        raise


def _replace(output: Path, made: Path) -> None:
    """Moves all that was made into the folder."""
    # The figures of one measurement must never stand beside the mask of another: they go first and come last.
    for name in OUTPUTS:
        if name in FIGURES or not (made / name).exists():
            remove(output / name)
    for path in (made / name for name in reversed(OUTPUTS)):
        if path.exists():
            path.replace(output / path.name)


def _make(
    output: Path,
    scan: sitk.Image,
    measurement: Measurement,
    sources: list[Dataset],
    run: str | Path | None,
    artifact: Mapping[str, Any] | None,
) -> None:
    mask = from_axial(measurement.mask, scan)
    if sources:
        algorithm = None if run is None and artifact is None else f"mskjax {mskjax.__version__}"
        write_seg(output / "mask.dcm", sitk.GetArrayFromImage(mask), sources, algorithm)
    write_mask(output / "mask.nii.gz", mask)
    with atomic_path(output / "overlay.png") as written:
        overlay(scan, measurement).save(written, compress_level=3)
    write_json(output / "measurements.json", _description(scan, measurement, run, artifact, output))
    _write_csv(output / "decisions.csv", decisions.COLUMNS, map(decisions.as_csv, decisions.rows(measurement)))
    _write_csv(output / "measurements.csv", COLUMNS, (_finite(row, missing="") for row in measurement.rows))


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> None:
    with atomic_path(path) as written, written.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def overlay(scan: sitk.Image, measurement: Measurement) -> Image.Image:
    """The measured slices that hold muscle, side by side; evenly chosen ones where there are very many."""
    image_hu, spacing_mm = to_axial(scan)
    held = [row for row in measurement.rows if row["sma_cm2"] > 0] or measurement.rows[:1]
    shown = [held[i] for i in np.unique(np.linspace(0, len(held) - 1, min(len(held), MAX_TILES)).round().astype(int))]
    side_px = 900 if len(shown) == 1 else max(MONTAGE_PX // columns_for(len(shown)), 300)
    pictures = []
    for row in shown:
        k = row["slice_index"]
        found = f"SMA {row['sma_cm2']:.1f} cm²   SMD {row['smd_hu']:.1f} HU" if row["sma_cm2"] > 0 else "no muscle"
        outlined = {"measured muscle": measurement.mask[k]}
        pictures.append(
            draw_slice(image_hu[k], spacing_mm[1:], outlined, [f"slice {k}   {found}"], side_px, legend=False)
        )
    return with_legend(montage(pictures), ["measured muscle"])


def table(measurement: Measurement) -> str:
    """The measurement for people: a line for each slice asked for, or else that holds muscle, and what was done."""
    options, lines = measurement.options, ["slice   SMA cm2   SMD HU   SMI cm2/m2   SMA with bone   SMA without bone"]
    held = [row for row in measurement.rows if row["sma_with_bone_cm2"] > 0]
    for row in held if options.slices is None else measurement.rows:
        density, index = ("-" if math.isnan(row[name]) else f"{row[name]:.2f}" for name in ("smd_hu", "smi_cm2_m2"))
        lines.append(
            f"{row['slice_index']:5d} {row['sma_cm2']:9.2f} {density:>8} {index:>12} "
            f"{row['sma_with_bone_cm2']:15.2f} {row['sma_without_bone_cm2']:18.2f}"
        )
    empty = len(measurement.rows) - len(held)
    if empty:
        lines.append(f"{empty} of {len(measurement.rows)} slices hold no muscle")
    applied = "cut out of" if options.remove_bone else "left in"
    lines.append(
        f"bone (above {bone.BONE_ABOVE_HU} HU and within {bone.MARGIN_MM:g} mm) was looked for in "
        f"{measurement.bone_removal} and {applied} SMA and SMD"
    )
    if options.hu_window:
        lines.append("only pixels of {:g} to {:g} HU are measured".format(*options.hu_window))
    if measurement.volume_cm3 is not None and len(measurement.rows) > 1:
        lines.append(f"volume of these {len(measurement.rows)} slices: {measurement.volume_cm3:.1f} cm3")
    if measurement.caution:
        lines.append(measurement.caution)
    return "\n".join([*lines, *decisions.table(measurement)])


def _description(
    scan: sitk.Image, measurement: Measurement, run: str | Path | None, artifact: Mapping[str, Any] | None, output: Path
) -> dict[str, Any]:
    options, (depth_mm, row_mm, column_mm) = measurement.options, to_axial(scan)[1].tolist()
    return {
        "mskjax": mskjax.__version__,
        "mask": "given" if run is None and artifact is None else "predicted",
        "run": None if run is None else origin.describe(run),
        "artifact": artifact,
        "asked": {"label": options.label, "slices": options.slices},
        "bone": {
            "cut_out": options.remove_bone,
            "looked_for_in": measurement.bone_removal,
            "above_hu": bone.BONE_ABOVE_HU,
            "margin_mm": bone.MARGIN_MM,
        },
        "hu_window": options.hu_window,
        "height_m": options.height_m,
        "spacing_mm": {"slice": depth_mm, "row": row_mm, "column": column_mm},
        "tilt_degrees": tilt_degrees(scan),
        "volume_cm3": measurement.volume_cm3,
        "caution": measurement.caution,
        "slices": [
            {"source_index": source_index(scan, row["slice_index"]), **_finite(row, missing=None)}
            for row in measurement.rows
        ],
        "decisions": decisions.described(measurement),
        # By which an edited mask is told from one that may be replaced.
        "files_sha256": {name: sha256(output / name) for name in MASKS if (output / name).exists()},
    }


def _finite(row: dict[str, Any], missing: Any) -> dict[str, Any]:
    return {name: value if math.isfinite(value) else missing for name, value in row.items()}
