"""The dataset folder: `slices.npz`, `cases.csv` and `dataset.json`, written whole and checked whenever they are read.

Row i of `cases.csv` describes slice i of `slices.npz`. Slices are padded to the largest one and `shape` keeps each
one's true size. `dataset.json` says what made the folder and holds counts and the SHA-256 of the other two files; it
is written last, so that a folder whose writing was interrupted is refused rather than read.

Its "values" are "hu", or "grey" where the slices are bitmaps: `image_hu` then holds grey levels from 0 to 255, and
`spacing_mm` 1.0, which stands for an unknown spacing ("spacing_known" is false). Nothing may be measured in these.
A case without a mask has an empty cell in the column mask, and a mask of zeros.
"""

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int16, Int32, Integer, UInt8

from mskjax.data import cases_csv
from mskjax.data.manifest import check_digest, is_of_volumes, read_manifest, write_manifest
from mskjax.files import atomic_path

SPLITS = ("train", "validation", "test")
AIR_HU = -1024
VALUES = ("hu", "grey")


@dataclass(frozen=True)
class Slices:
    """Axial slices and their 0/1 masks, padded at the bottom and right with -1024 HU and 0 to one size.

    `shape` is the true size of each slice in pixels and `spacing_mm` its pixel pitch, both as (row, column). Case ids
    are unique.
    """

    image_hu: Int16[np.ndarray, "n h w"]
    mask: UInt8[np.ndarray, "n h w"]
    shape: Int32[np.ndarray, "n 2"]
    spacing_mm: Float64[np.ndarray, "n 2"]
    case_id: np.ndarray

    def __len__(self) -> int:
        return len(self.case_id)

    def select(self, indices: Sequence[int] | Integer[np.ndarray, " m"]) -> "Slices":
        """The slices at `indices`, in that order, at the same padded size."""
        rows = np.asarray(indices, np.int64)
        return Slices(*(getattr(self, field.name)[rows] for field in fields(self)))

    def case(
        self, i: int
    ) -> tuple[Int16[np.ndarray, "rows columns"], UInt8[np.ndarray, "rows columns"], Float64[np.ndarray, "2"]]:
        """HU, mask and spacing in mm of slice `i`, cut to its true size."""
        rows, columns = self.shape[i]
        return self.image_hu[i, :rows, :columns], self.mask[i, :rows, :columns], self.spacing_mm[i]


@dataclass(frozen=True)
class Dataset:
    """What a dataset folder holds; the rows of `cases` are in the order of `slices`."""

    slices: Slices
    cases: pd.DataFrame
    manifest: dict[str, Any]

    def rows(self, split: str) -> Integer[np.ndarray, " m"]:
        """The ascending row numbers of a split: train, validation or test."""
        if split not in SPLITS:
            raise ValueError(f"split {split!r} is none of {', '.join(SPLITS)}")
        return np.flatnonzero(self.cases["split"].to_numpy() == split)

    @property
    def values(self) -> str:
        """What the slices hold: "hu", or "grey" for grey levels of bitmaps."""
        return values_of(self.manifest)

    def select(self, rows: Integer[np.ndarray, " m"]) -> "Dataset":
        """The dataset of the slices at `rows`, in that order; the manifest stays that of the whole."""
        return Dataset(self.slices.select(rows), self.cases.iloc[rows].reset_index(drop=True), self.manifest)

    def without_test(self) -> "Dataset":
        """What may be learned from: the dataset without its test slices, in the same order."""
        return self.select(np.flatnonzero(self.cases["split"].to_numpy() != "test"))


def values_of(manifest: dict[str, Any]) -> str:
    """What the slices of a dataset with this manifest hold; "hu" where it says nothing, as those of before do."""
    return manifest.get("values", "hu")


def require_hu(dataset: Dataset, what: str) -> None:
    """Raises `ValueError` where slices are bitmaps, whose grey levels are no HU and whose pixels have no size.

    `what` begins the sentence, such as "task segmentation".
    """
    if dataset.values != "hu":
        raise ValueError(
            f"{what} needs HU and pixel sizes, and this dataset holds grey levels of bitmaps; prepare one from the CT "
            "itself, or train a classification"
        )


def require_masks(dataset: Dataset, what: str) -> None:
    """Raises `ValueError` where slices of `dataset` have no mask; `what` begins the sentence."""
    bare = (dataset.cases["mask"] == "").to_numpy() & ~dataset.slices.mask.any(axis=(1, 2))
    if bare.any():
        raise ValueError(
            f"{what} needs a mask on every slice, and {bare.sum()} of {len(bare)} have none, such as case "
            f"{dataset.slices.case_id[bare][0]}; prepare the dataset with their masks, or without these cases"
        )


def stack(
    images_hu: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    spacing_mm: Sequence[Sequence[float]] | np.ndarray,
    case_id: Sequence[str],
) -> Slices:
    """Slices of any sizes as one padded `Slices`; each image [h, w] goes with the mask at the same place."""
    shape = np.array([image.shape for image in images_hu], np.int32).reshape(-1, 2)
    size = (len(shape), *(shape.max(axis=0) if len(shape) else (0, 0)))
    image_hu, mask = np.full(size, AIR_HU, np.int16), np.zeros(size, np.uint8)
    for i, (rows, columns) in enumerate(shape):
        image_hu[i, :rows, :columns], mask[i, :rows, :columns] = images_hu[i], masks[i]
    return Slices(image_hu, mask, shape, np.array(spacing_mm, np.float64).reshape(-1, 2), np.array(case_id, str))


def write_dataset(
    path: str | Path, slices: Slices, cases: pd.DataFrame, manifest: dict[str, Any], beside: Sequence[str] = ()
) -> None:
    """Writes the dataset folder `path`; `manifest` says what made it, and counts and SHA-256 are added to it.

    `cases` has a row for each slice, in order; columns it lacks are left empty and others than `COLUMNS` are refused.
    Slices are taken for HU unless the manifest's "values" are "grey". `beside` names files already in the folder that
    belong to the dataset.
    Other files in the folder stay. Raises `ValueError` where slices and cases do not fit.
    """
    path = Path(path)
    cases = cases_csv.whole(cases, path)
    manifest = {"values": "hu", **manifest}
    _check(slices, cases, manifest, path)
    with atomic_path(path / "slices.npz") as written:
        np.savez_compressed(written, **{field.name: getattr(slices, field.name) for field in fields(slices)})
    cases_csv.write(path, cases)
    described = {"counts": counts("slices", cases), "spacing_known": values_of(manifest) == "hu"}
    write_manifest(path, {**manifest, **described}, ("slices.npz", "cases.csv", *beside))


def read_dataset(path: str | Path) -> Dataset:
    """The dataset in folder `path`.

    Raises `OSError` where a file is missing, and `ValueError` where one was cut short or altered since it was written,
    or where shapes, types, counts or case ids do not agree.
    """
    path = Path(path)
    manifest = read_manifest(path)
    if is_of_volumes(manifest) and "slices.npz" not in (manifest.get("sha256") or {}):
        raise ValueError(
            f"{path} holds volumes without masks, for pretraining; give one prepared with masks, or pretrain on it"
        )
    for name in ("slices.npz", "cases.csv"):
        check_digest(path / name, manifest)
    cases = cases_csv.read(path)
    slices = _read_slices(path / "slices.npz")
    _check(slices, cases, manifest, path)
    if manifest.get("counts") != (found := counts("slices", cases)):
        raise ValueError(f"{path} counts {found}, dataset.json says {manifest.get('counts')}; prepare it again")
    return Dataset(slices, cases, manifest)


def _read_slices(file: Path) -> Slices:
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
            return Slices(**{field.name: arrays[field.name] for field in fields(Slices)})
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, TypeError) as error:
        raise ValueError(f"{file} holds no slices ({error}); run launch.prepare again") from error


def counts(what: str, cases: pd.DataFrame) -> dict[str, int]:
    """How many slices or volumes, as `what` says, patients, and cases of each split a dataset has."""
    split, patients = cases["split"].to_numpy(), np.unique(cases["patient_id"].to_numpy(str))
    return {what: len(cases), "patients": len(patients), **{name: int((split == name).sum()) for name in SPLITS}}


def _check(slices: Slices, cases: pd.DataFrame, manifest: dict[str, Any], path: Path) -> None:
    """Raises one sentence for the first thing in which slices and cases do not fit."""
    _check_arrays(slices, path)
    if values_of(manifest) != "hu":
        _check_grey(slices, values_of(manifest), path)
    faults = {
        f"{len(slices)} slices, but {len(cases)} rows in cases.csv": len(slices) != len(cases),
        "the case ids of slices.npz and cases.csv differ": list(slices.case_id) != cases["case_id"].tolist(),
    }
    _raise_first(faults, path)
    check_cases(cases, path)


def check_cases(cases: pd.DataFrame, path: Path) -> None:
    """Raises `ValueError` for the first thing that is wrong in the cases of the dataset folder `path`."""
    case_id, split, sex = (cases[name].to_numpy(str) for name in ("case_id", "split", "sex"))
    ids, times = np.unique(case_id, return_counts=True)
    repeated = [str(i) for i in ids[(times > 1) | (ids == "")]]
    faults = {
        f"case ids are empty or repeated: {repeated[:5]}": bool(repeated),
        f"split must be one of {', '.join(SPLITS)}": not np.isin(split, SPLITS).all(),
        "sex must be M, F or empty": not np.isin(sex, ["M", "F", ""]).all(),
        "sarcopenia must be 0, 1 or empty": not set(cases["sarcopenia"].dropna()) <= {0, 1},
    }
    _raise_first(faults, path)


def _check_arrays(slices: Slices, path: Path) -> None:
    size = slices.image_hu.shape[1:]
    types = {"image_hu": (np.int16, size), "mask": (np.uint8, size), "shape": (np.int32, (2,))}
    for name, (dtype, shape) in {**types, "spacing_mm": (np.float64, (2,))}.items():
        array, expected = getattr(slices, name), (len(slices), *shape)
        if array.dtype != dtype or array.shape != expected:
            raise ValueError(f"{path}: {name} is {array.dtype} {array.shape}, not {np.dtype(dtype)} {expected}")
    positive = np.isfinite(slices.spacing_mm) & (slices.spacing_mm > 0)
    faults = {
        "a mask has other values than 0 and 1": bool((slices.mask > 1).any()),
        f"a true size is not within 1 to {size}": bool(((slices.shape < 1) | (slices.shape > size)).any()),
        "a spacing is not a positive number of mm": not positive.all(),
    }
    _raise_first(faults, path)


def _check_grey(slices: Slices, values: str, path: Path) -> None:
    images = [slices.case(i)[0] for i in range(len(slices))]
    faults = {
        f"the values {values!r} of dataset.json are none of {', '.join(VALUES)}": values not in VALUES,
        "a grey level is not from 0 to 255": any(image.min() < 0 or image.max() > 255 for image in images),
        "bitmaps have no spacing, and 1.0 mm is to stand for it": bool((slices.spacing_mm != 1).any()),
    }
    _raise_first(faults, path)


def _raise_first(faults: dict[str, bool], path: Path) -> None:
    if fault := next((sentence for sentence, present in faults.items() if present), None):
        raise ValueError(f"{path}: {fault}")
