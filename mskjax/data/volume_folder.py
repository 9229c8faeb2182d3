"""Volumes of a dataset folder: whole scans at one spacing, a file each, which are read where and when they are needed.

Beside `cases.csv` and `dataset.json` (see `mskjax.data.dataset`), whose rows are scans here, lie

volumes/<file>.npy  int16 HU [i, j, k] along the axes of RAS (see `ras.axial_to_ras`), cut to the body
labels/<file>.npy   uint8 0/1 [n, i, j], one array for each plane k that carries labels; none for a scan without mask
volumes.csv         a row for each case: its file, its own grid, where the new grid and the box in it lie, and digests

All other planes are unknown, not background. `slice_index` of cases.csv is the slice that is scored; where any case has
a mask, slices.npz holds it at the scan's own grid.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int16, Int32, Integer, UInt8

from mskjax.data import cases_csv, npy_files, volumes_csv
from mskjax.data.dataset import SPLITS, Slices, check_cases, counts, write_dataset
from mskjax.data.manifest import check_digest, is_of_volumes, read_manifest, write_manifest
from mskjax.data.ras import axial_to_ras
from mskjax.data.volume_grid import VolumeGrid, lay, resample
from mskjax.files import atomic_path, sha256

__all__ = ["Volumes", "body_box", "is_of_volumes", "on_grid", "read_volumes", "write_volumes"]
BODY_ABOVE_HU = -175  # the lower end of study B's window: what lies below it is 0 to the network
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Volumes:
    """The volumes of a dataset folder; row r of `cases` (cases.csv) and of `table` (volumes.csv) tell of volume r.

    `spacing_mm` is that of all volumes, along i, j, k. Nothing is held but the tables, so that this may be sent to
    other processes.
    """

    folder: Path
    cases: pd.DataFrame
    table: pd.DataFrame
    manifest: dict[str, Any]
    spacing_mm: tuple[float, float, float]

    def __len__(self) -> int:
        return len(self.table)

    def rows(self, split: str) -> Integer[np.ndarray, " m"]:
        """The ascending row numbers of a split: train, validation or test."""
        if split not in SPLITS:
            raise ValueError(f"split {split!r} is none of {', '.join(SPLITS)}")
        return np.flatnonzero(self.cases["split"].to_numpy() == split)

    @property
    def labelled(self) -> Bool[np.ndarray, " n"]:
        """Which rows have planes that carry labels."""
        return self.table["planes"].to_numpy() != ""

    def shape(self, row: int) -> tuple[int, int, int]:
        """The voxels of a volume along i, j, k."""
        i, j, k = (int(self.table[name].iat[row]) for name in "ijk")
        return i, j, k

    def image(self, row: int) -> Int16[np.ndarray, "i j k"]:
        """HU, mapped from the disk and not to be written to; `ValueError` or `OSError` where the file is not whole."""
        return self._open("volumes", row, np.dtype(np.int16), self.shape(row))

    def verified_image(self, row: int) -> Int16[np.ndarray, "i j k"]:
        """The same, read once before: `ValueError` where a byte is not as it was written."""
        image, of = self.image(row), self.table.iloc[row]
        file = self.folder / "volumes" / f"{of['file']}.npy"
        if sha256(file) != of["volume_sha256"]:
            raise ValueError(f"{file} was altered since it was written; run launch.prepare again with --verify")
        return image

    def label(self, row: int) -> tuple[Int32[np.ndarray, "n"], UInt8[np.ndarray, "n i j"]]:
        """The planes k that carry labels, and their masks of 0 and 1, mapped from the disk; none for one without."""
        planes = volumes_csv.parse_planes(self.table["planes"].iat[row])
        shape = (len(planes), *self.shape(row)[:2])
        if not len(planes):
            return planes, np.zeros(shape, np.uint8)
        return planes, self._open("labels", row, np.dtype(np.uint8), shape)

    def grid(self, row: int) -> VolumeGrid:
        """The grid of the whole scan, in its axial view, of which a part is stored."""
        of = self.table.iloc[row]
        through = None if pd.isna(of["through"]) else int(of["through"])
        own_mm = [float(of[name]) for name in ("slice_mm", "row_mm", "column_mm")]
        shape = int(of["slices"]), int(of["rows"]), int(of["columns"])
        return lay(shape, own_mm, self.spacing_mm[::-1], through)

    def box(self, row: int) -> Box:
        """The part of the grid that is stored, along the axes of the axial view."""
        first = [int(self.table[f"first_{name}"].iat[row]) for name in ("slice", "row", "column")]
        slices, rows, columns = (
            slice(start, start + length) for start, length in zip(first, self.shape(row)[::-1], strict=True)
        )
        return slices, rows, columns

    def _open(self, folder: str, row: int, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        return npy_files.open_mapped(self.folder / folder / f"{self.table['file'].iat[row]}.npy", dtype, shape)


def read_volumes(path: str | Path) -> Volumes:
    """The volumes in the dataset folder `path`, none of which is read yet.

    Raises `OSError` where a file is missing, and `ValueError` where this is no dataset of volumes, a table was altered,
    tables do not agree, or a file has not the size that volumes.csv says.
    """
    path = Path(path)
    manifest = read_manifest(path)
    if not is_of_volumes(manifest):
        raise ValueError(f"{path} holds slices, not volumes; prepare its scans with --spacing_mm, as in 1.5,1.5,2")
    for name in ("cases.csv", "volumes.csv"):
        check_digest(path / name, manifest)
    i, j, k = map(float, manifest["spacing_mm"])
    volumes = Volumes(path, cases_csv.read(path), volumes_csv.read(path), manifest, (i, j, k))
    if volumes.cases["case_id"].tolist() != volumes.table["case_id"].tolist():
        raise ValueError(f"{path}: the case ids of volumes.csv and cases.csv differ; run launch.prepare again")
    for file, dtype, shape in _files(volumes):
        npy_files.check_size(file, dtype, shape)
    return volumes


def body_box(image_hu: Integer[np.ndarray, "d h w"]) -> Box:
    """The smallest box of all voxels above -175 HU, which study B's window does not make 0.

    Raises `ValueError` where there is none.
    """
    body = image_hu > BODY_ABOVE_HU
    found = [np.flatnonzero(body.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    if not len(found[0]):
        raise ValueError(f"no voxel is above {BODY_ABOVE_HU} HU; the scan holds air alone, or its values are no HU")
    slices, rows, columns = (slice(int(of[0]), int(of[-1]) + 1) for of in found)
    return slices, rows, columns


def on_grid(
    image_hu: Integer[np.ndarray, "d h w"], grid: VolumeGrid, foreground: bool = True
) -> tuple[Int16[np.ndarray, "i j k"], Box]:
    """A scan in the axial view as a volume of RAS axes on the grid, and the box of the grid that it fills.

    The box is that of the body, or all of the grid where `foreground` is false. HU are interpolated linearly and
    rounded. Raises `ValueError` where there is nothing but air.
    """
    resampled = np.rint(resample(image_hu, grid)).astype(np.int16)
    whole = slice(0, resampled.shape[0]), slice(0, resampled.shape[1]), slice(0, resampled.shape[2])
    box = body_box(resampled) if foreground else whole
    return np.ascontiguousarray(axial_to_ras(resampled[box])), box


def write_volumes(
    path: Path, table: pd.DataFrame, cases: pd.DataFrame, manifest: dict[str, Any], slices: Slices | None
) -> None:
    """Makes the folder `path`, in which volumes and labels lie already, a dataset: writes what tells of them.

    `table` has the columns of volumes.csv, `cases` those of cases.csv, `manifest` the spacing along i, j, k, and
    `slices` the scored slices in the same order, None where no case has a mask. Raises `ValueError` where they do not
    fit.
    """
    if table["case_id"].tolist() != cases["case_id"].tolist():
        raise ValueError(f"{path}: the case ids of volumes.csv and cases.csv differ")
    table = table.astype({"through": "Int64"})
    with atomic_path(path / "volumes.csv") as written:
        table.to_csv(written, index=False, columns=list(volumes_csv.COLUMNS), lineterminator="\n", encoding="utf-8")
    if slices is not None:
        write_dataset(path, slices, cases, manifest, beside=("volumes.csv",))
        return
    cases = cases_csv.whole(cases, path)
    check_cases(cases, path)
    cases_csv.write(path, cases)
    counted = {"values": "hu", **manifest, "counts": counts("volumes", cases), "spacing_known": True}
    write_manifest(path, counted, ("cases.csv", "volumes.csv"))


def _files(volumes: Volumes) -> Iterator[tuple[Path, np.dtype, tuple[int, ...]]]:
    """All files of the volumes, each with its type and shape."""
    columns = ("file", "i", "j", "k", "planes")
    for file, i, j, k, cell in zip(*(volumes.table[name] for name in columns), strict=True):
        yield volumes.folder / "volumes" / f"{file}.npy", np.dtype(np.int16), (i, j, k)
        if planes := len(volumes_csv.parse_planes(cell)):
            yield volumes.folder / "labels" / f"{file}.npy", np.dtype(np.uint8), (planes, i, j)
