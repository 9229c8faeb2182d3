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
from jaxtyping import Int32, Shaped, UInt8

from mskjax.data import cases, npy_files, volumes_csv
from mskjax.data.cases import Case
from mskjax.data.orientation import axial_to_ras, require_untilted, source_index, to_axial
from mskjax.data.pair_loop import Finished
from mskjax.data.pairs import Pair
from mskjax.data.slice_choice import choose
from mskjax.data.splits import digest
from mskjax.data.volume_folder import Box, on_grid
from mskjax.data.volume_grid import VolumeGrid, lay, resample_labels
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
                f"spacing {self.spacing_mm} mm is not three numbers from {least:g} to {most:g}; give that of right to "
                "left, back to front and feet to head, as in 1.5,1.5,2"
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
    """The volume of a pair in the dataset folder, made now or before.

    A pair without mask has a volume without labels, whose scored slice is the middle one. Raises `ValueError` or
    `OSError`, in one sentence, where none can be made; then nothing of it is left.
    """
    print_ = cases.fingerprint(pair, key, "volume", repr(options.spacing_mm), repr(options.foreground), _EDITION)
    if case := _kept(folder, print_, options.verify):
        return Finished(case, print_, True)
    case = _make(pair, key, folder, print_, options)
    write_json(folder / "prepared" / f"{print_}.json", asdict(case))
    return Finished(case, print_, False)


def scored_slice(folder: Path, case: VolumeCase) -> Case:
    """The scored slice of a finished volume; `OSError` where its file is damaged."""
    path = folder / "prepared" / f"{case.row['file']}.npz"
    if (found := cases.kept(path)) is None:
        raise OSError(f"{path} is missing or damaged; run launch.prepare again")
    return found


def _make(pair: Pair, key: bytes, folder: Path, name: str, options: VolumeOptions) -> VolumeCase:
    image = cases.read_scan(pair)
    require_untilted(image, "a volume")
    image_hu, spacing_mm = to_axial(image)
    if len(image_hu) < 2:
        raise ValueError(f"{pair.image} is one slice, and no volume; leave --spacing_mm out to prepare slices")
    mask = None if pair.mask is None else to_axial(cases.read_scan_mask(pair, image))[0]
    scored = _scored(pair, image, mask, len(image_hu))
    through = None if mask is None else scored
    grid = lay(image_hu.shape, spacing_mm, options.spacing_mm[::-1], through)
    volume, box = on_grid(image_hu, grid, options.foreground)
    row = _row(name, image_hu.shape, spacing_mm, through, box)
    if mask is not None:
        planes, labels = _labels(pair, mask, grid, box)
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
    return VolumeCase(case.slice_index, case.source_index, case.about, row, digests)


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


def _kept(folder: Path, name: str, verify: bool) -> VolumeCase | None:
    """The volume finished before; None where there is none or one of its files is not whole, so that it is made again.

    Bytes that changed inside volumes are looked for only to `verify` them: that reads them all.
    """
    path = folder / "prepared" / f"{name}.json"
    if not path.is_file() or cases.kept(path.with_suffix(".npz")) is None:
        return None
    try:
        case = VolumeCase(**read_json(path))
        i, j, k = (int(case.row[axis]) for axis in "ijk")
        files: dict[str, tuple[np.dtype, tuple[int, int, int]]] = {"volume": (np.dtype(np.int16), (i, j, k))}
        if planes := len(volumes_csv.parse_planes(case.row["planes"])):
            files["label"] = (np.dtype(np.uint8), (planes, i, j))
        for of, (dtype, shape) in files.items():
            file = folder / f"{of}s" / f"{name}.npy"
            npy_files.check_size(file, dtype, shape)
            if verify and sha256(file) != case.row[f"{of}_sha256"]:
                return None
    except (ValueError, OSError, KeyError, TypeError):
        return None
    return case
