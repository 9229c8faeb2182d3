"""One scan of a dataset of volumes in the making: resampled, labelled and kept, so that a stopped command can go on.

A finished scan has its volume and labels in the dataset folder's `volumes/` and `labels/`, and in `prepared/` its
scored slice and, written last, what is known of it. All have one name, which stands for its files and for what was
asked of it (see `mskjax.data.cases.fingerprint`).
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from jaxtyping import Int32, Int64, Shaped, UInt8

from mskjax.data import cases, npy_files, volumes_csv
from mskjax.data.cases import Case
from mskjax.data.orientation import require_untilted, source_index, to_axial
from mskjax.data.pair_loop import Finished
from mskjax.data.pairs import Pair
from mskjax.data.ras import axial_to_ras
from mskjax.data.slice_choice import choose
from mskjax.data.splits import counted, digest
from mskjax.data.volume_folder import Box, on_grid
from mskjax.data.volume_grid import VolumeGrid, lay, resample_labels, unlabelled_slices
from mskjax.files import read_json, sha256, write_json

# To be raised when volumes or their rows come out otherwise than before, so that those kept from then are made anew.
_EDITION = "2"
_SPACING_MM = (0.1, 50.0)


@dataclass(frozen=True)
class VolumeOptions:
    """The spacing of all volumes along i, j, k, and whether they are cut to what lies above -175 HU.

    `verify` reads those that were finished before, and makes them anew where a byte has changed.
    """

    spacing_mm: tuple[float, float, float]
    foreground: bool = True
    verify: bool = False

    def __post_init__(self) -> None:
        least, most = _SPACING_MM
        if len(self.spacing_mm) != 3 or not all(least <= mm <= most for mm in self.spacing_mm):
            raise ValueError(
                f"--spacing_mm={','.join(f'{mm:g}' for mm in self.spacing_mm)} is not three numbers from {least:g} to "
                f"{most:g} mm; give that of right to left, back to front and feet to head, as in 1.5,1.5,2"
            )


@dataclass(frozen=True)
class VolumeCase:
    """What is known of a finished volume: its scored slice, its patient, and its row of volumes.csv but the case id.

    `digests` tell twins: "scan" that of all HU, "slice" that of the scored slice.
    """

    slice_index: list[int]
    source_index: list[int]
    about: dict[str, str]
    row: dict[str, Any]
    digests: dict[str, list[str]]


def finish(pair: Pair, key: bytes, folder: Path, options: VolumeOptions) -> Finished[VolumeCase]:
    """The volume of a pair in the dataset folder, made now or before, with a remark for each file that was harmed.

    A pair without mask has a volume without labels, whose scored slice is the middle one. Raises `ValueError` or
    `OSError`, in one sentence, where none can be made; then nothing of it is left.
    """
    print_ = cases.fingerprint(pair, key, "volume", repr(options.spacing_mm), repr(options.foreground), _EDITION)
    kept, harmed = _kept(folder, print_, options.verify)
    if kept is not None and not harmed:
        return Finished(kept, print_, True)
    how = {path: "was altered since it was written" if path.is_file() else "is missing" for path in harmed}
    remarks = [f"{path} {what}; it is made anew" for path, what in how.items()]
    case, unlabelled = _make(pair, key, folder, print_, options)
    write_json(folder / "prepared" / f"{print_}.json", asdict(case))
    return Finished(case, print_, False, (*remarks, *unlabelled), bool(harmed))


def scored_slice(folder: Path, case: VolumeCase) -> Case:
    """The scored slice of a finished volume; `OSError` where its file is damaged."""
    path = folder / "prepared" / f"{case.row['file']}.npz"
    if (found := cases.kept(path)) is None:
        raise OSError(f"{path} is missing or damaged; run launch.prepare again")
    return found


def _make(pair: Pair, key: bytes, folder: Path, name: str, options: VolumeOptions) -> tuple[VolumeCase, list[str]]:
    """The volume of a pair, and what is to be remarked of its labels."""
    image = cases.read_scan(pair)
    require_untilted(image, "a volume")
    image_hu, spacing_mm = to_axial(image)
    if len(image_hu) < 2:
        raise ValueError(
            f"{pair.image} is one slice, and no volume; of a DICOM series give the folder that holds its folder, or "
            "name its folder as image in a CSV (--cases); or leave --spacing_mm out to prepare slices"
        )
    mask = None if pair.mask is None else to_axial(cases.read_scan_mask(pair, image))[0]
    scored = _scored(pair, image, mask, len(image_hu))
    through = None if mask is None else scored
    grid = lay(image_hu.shape, spacing_mm, options.spacing_mm[::-1], through)
    volume, box = on_grid(image_hu, grid, options.foreground)
    row, remarks = _row(name, image_hu.shape, spacing_mm, through, box), []
    if mask is not None:
        planes, labels = _labels(pair, mask, grid, box)
        remarks = _unlabelled(pair, unlabelled_slices(mask, grid, planes + np.int32(box[0].start)))
        row["planes"] = volumes_csv.write_planes(planes)
        row["label_sha256"] = npy_files.save(folder / "labels" / f"{name}.npy", labels)
    row["scan_sha256"] = digest(image_hu)
    row["volume_sha256"] = npy_files.save(folder / "volumes" / f"{name}.npy", volume)
    case = Case(
        image_hu=image_hu[[scored]],
        mask=np.zeros((1, *image_hu.shape[1:]), np.uint8) if mask is None else mask[[scored]],
        spacing_mm=spacing_mm[1:],
        slice_index=[scored],
        source_index=[source_index(image, scored)],
        about=cases.about(pair, key),
    )
    cases.keep(case, folder / "prepared" / f"{name}.npz")
    digests = {"scan": [row["scan_sha256"]], **case.digests}
    return VolumeCase(case.slice_index, case.source_index, case.about, row, digests), remarks


def _scored(pair: Pair, image: sitk.Image, mask: Shaped[np.ndarray, "d h w"] | None, depth: int) -> int:
    """The slice to score: the one chosen, of several the middle one, the lower of two."""
    if mask is None and pair.slices in ("all", "largest"):
        return (depth - 1) // 2
    chosen = choose(pair, image, np.zeros((depth, 1, 1), np.uint8) if mask is None else mask)
    return chosen[(len(chosen) - 1) // 2]


def _labels(
    pair: Pair, mask: Shaped[np.ndarray, "d h w"], grid: VolumeGrid, box: Box
) -> tuple[Int32[np.ndarray, "n"], UInt8[np.ndarray, "n i j"]]:
    """The planes of the box that carry labels, and these; `ValueError` where the scored slice lost all of its own."""
    planes, masks = resample_labels(mask, grid)
    inside = (planes >= box[0].start) & (planes < box[0].stop)
    planes, masks = planes[inside], masks[inside][:, box[1], box[2]]
    if not masks[planes == grid.drawn].any():
        raise ValueError(
            f"nothing of the mask {pair.mask} is left in the volume, as it lies in air or is finer than the spacing; "
            "correct the mask, or give a finer --spacing_mm, or --noforeground"
        )
    return (planes - box[0].start).astype(np.int32), np.moveaxis(axial_to_ras(masks), 2, 0)


def _unlabelled(pair: Pair, slices: Int64[np.ndarray, "m"]) -> list[str]:
    """A remark where there are drawn slices without any labelled plane."""
    if not len(slices):
        return []
    named = ", ".join(map(str, slices[:3])) + ", ..." * (len(slices) > 3)
    return [
        f"of the mask {pair.mask}, {counted(len(slices), 'drawn slice')} ({named}; 0-based from the feet) will not "
        "train, as no plane of the volume falls on one or between two of them; draw their neighbours too, or give a "
        "--spacing_mm whose planes fall on them"
    ]


def _row(name: str, shape: tuple[int, ...], spacing_mm: np.ndarray, through: int | None, box: Box) -> dict[str, Any]:
    """The cells of volumes.csv that tell where the volume lies in its scan, and no labels."""
    axes = ("slice", "row", "column")
    return {
        "file": name,
        **{f"{axis}s": length for axis, length in zip(axes, shape, strict=True)},
        **{f"{axis}_mm": float(mm) for axis, mm in zip(axes, spacing_mm, strict=True)},
        "through": through,
        **{f"first_{axis}": part.start for axis, part in zip(axes, box, strict=True)},
        **{axis: part.stop - part.start for axis, part in zip("kji", box, strict=True)},
        "planes": "",
        "label_sha256": "",
    }


def _kept(folder: Path, name: str, verify: bool) -> tuple[VolumeCase | None, list[Path]]:
    """The volume finished before, None where there is none, and those of its files that are not whole.

    Bytes that changed inside volumes are looked for only to `verify` them: that reads them all.
    """
    record = folder / "prepared" / f"{name}.json"
    if not record.is_file():
        return None, []
    try:
        case = VolumeCase(**read_json(record))
        i, j, k = (int(case.row[axis]) for axis in "ijk")
        files: list[tuple[str, np.dtype, tuple[int, int, int]]] = [("volume", np.dtype(np.int16), (i, j, k))]
        if planes := len(volumes_csv.parse_planes(case.row["planes"])):
            files.append(("label", np.dtype(np.uint8), (planes, i, j)))
        digests = {of: case.row[f"{of}_sha256"] for of, *_ in files}
    except (ValueError, OSError, KeyError, TypeError):
        return None, [record]
    scored = record.with_suffix(".npz")
    harmed = [] if cases.kept(scored) else [scored]
    for of, dtype, shape in files:
        file = folder / f"{of}s" / f"{name}.npy"
        try:
            npy_files.check_size(file, dtype, shape)
            whole = not verify or sha256(file) == digests[of]
        except (ValueError, OSError):
            whole = False
        harmed += [] if whole else [file]
    return case, harmed
