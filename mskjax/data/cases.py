"""One case of a dataset in the making: its slices read, chosen and kept, so that a stopped command can go on.

A finished case lies in the dataset folder's `prepared/` under a name that stands for its files' paths, sizes and times
and for what was asked of it; a file that changed is therefore read again.
"""

import json
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from jaxtyping import Float64, Int16, UInt8

from mskjax.data import pseudonyms
from mskjax.data.dicom import read_series
from mskjax.data.masks import read_mask
from mskjax.data.orientation import source_index, to_axial
from mskjax.data.pairs import BITMAPS, Pair
from mskjax.data.reading import read_image
from mskjax.data.volumes import is_volume
from mskjax.files import atomic_path

# To be raised when cases come out otherwise than before, so that those kept from then are read anew.
_EDITION = "1"
# Suffixes of headers whose pixels lie in files beside them.
_DETACHED = (".mhd", ".nhdr", ".hdr")
_UNREADABLE = (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Case:
    """The chosen slices of one pair, as seen axially, with row and column spacing.

    `about` holds "patient_id" and "case_id" as hashes, and what a header says under the columns of cases.csv.
    """

    image_hu: Int16[np.ndarray, "n h w"]
    mask: UInt8[np.ndarray, "n h w"]
    spacing_mm: Float64[np.ndarray, "2"]
    slice_index: list[int]
    source_index: list[int]
    about: dict[str, str]


def fingerprint(pair: Pair, key: bytes) -> str:
    """A keyed hash of a pair's files, by path, size and time, and of what is asked of them; `OSError` without them."""
    asked = (pair.slices, "\0".join(pair.label or ()), pair.series or "", pair.level_label or "", _EDITION)
    files = [path for path in (pair.image, pair.mask, pair.mask_plain, pair.level_mask) if path is not None]
    states = [f"{path.resolve()}:{list(_states(path))}" for path in files]
    return pseudonyms.pseudonym(key, "prepared", *asked, *states)


def _states(path: Path) -> Iterator[tuple[str, int, int]]:
    """Name, size and time of all files that an image or mask is made of."""
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; correct its path, or put the file there")
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
    elif path.suffix.lower() in _DETACHED:
        files = sorted(p for p in path.parent.iterdir() if p.stem == path.stem)
    else:
        files = [path]
    for file in files:
        state = file.stat()
        yield file.name, state.st_size, state.st_mtime_ns


def read(pair: Pair, key: bytes) -> Case:
    """The case of a pair; `ValueError` or `OSError` says in one sentence why there is none."""
    if pair.image.suffix.lower() in BITMAPS:
        raise ValueError(f"{pair.image} is a bitmap and has no HU, spacing or position; give the CT slice itself")
    image = _read_image(pair.image, pair.series, tuple(_states(pair.image)))
    mask, _ = to_axial(_mask(pair, image))
    image_hu, spacing_mm = to_axial(image)
    chosen = _choose(pair, image, mask)
    return Case(
        image_hu=np.ascontiguousarray(image_hu[chosen]),
        mask=np.ascontiguousarray(mask[chosen]),
        spacing_mm=spacing_mm[1:],
        slice_index=chosen,
        source_index=[source_index(image, k) for k in chosen],
        about=_about(pair, key),
    )


@lru_cache(maxsize=1)
def _read_image(path: Path, series: str | None, states: tuple[tuple[str, int, int], ...]) -> sitk.Image:
    """The image, read once for all rows of a CSV that take its slices in turn; `states` tell a file that changed."""
    del states
    return read_image(path, series)


def _mask(pair: Pair, image: sitk.Image) -> sitk.Image:
    path = pair.mask if pair.mask_plain is None else [pair.mask_plain, pair.mask]
    return read_mask(path, image, pair.label)


def _choose(pair: Pair, image: sitk.Image, mask: UInt8[np.ndarray, "d h w"]) -> list[int]:
    """The slices to take, 0-based from the feet; none of them may lack the mask."""
    pixels = mask.sum(axis=(1, 2))
    carrying = [int(k) for k in np.flatnonzero(pixels)]
    if not carrying:
        raise ValueError(f"the mask {pair.mask} is empty; outline the muscle, or choose another label")
    if pair.slices == "all":
        return carrying
    if pair.slices == "largest":
        return [int(np.argmax(pixels))]
    k = _middle(pair, image) if pair.slices == "level" else int(pair.slices)
    if k >= len(pixels):
        raise ValueError(
            f"slice {k} is out of range: {pair.image} has {len(pixels)}, numbered from 0 at the feet to "
            f"{len(pixels) - 1}; correct the number"
        )
    if k not in carrying:
        raise ValueError(
            f"the mask {pair.mask} is empty on slice {k} of {len(pixels)}; it marks {len(carrying)} slices "
            f"from {carrying[0]} to {carrying[-1]} (0-based from the feet)"
        )
    return [k]


def _middle(pair: Pair, image: sitk.Image) -> int:
    """The middle one of the slices that carry the level's label, the lower of two."""
    assert pair.level_mask is not None
    level, _ = to_axial(read_mask(pair.level_mask, image, pair.level_label))
    carrying = np.flatnonzero(level.any(axis=(1, 2)))
    if not len(carrying):
        raise ValueError(f"{pair.level_mask} marks no slice with {pair.level_label}; choose the slice by its number")
    return int(carrying[(len(carrying) - 1) // 2])


def _about(pair: Pair, key: bytes) -> dict[str, str]:
    """Hashes for who and which, and what the header tells of the patient; a file without one is its own patient."""
    path = str(pair.image.resolve())
    if is_volume(pair.image):
        return {
            "patient_id": pseudonyms.pseudonym(key, "file", path),
            "case_id": pseudonyms.pseudonym(key, "case", path),
        }
    header = read_series(pair.image, pair.series)[0]
    series = str(header.get("SeriesInstanceUID", "")) or path
    patient = str(header.get("PatientID", "")).strip()
    who = ("patient", patient) if patient else ("series", series)
    ids = {"patient_id": pseudonyms.pseudonym(key, *who), "case_id": pseudonyms.pseudonym(key, "case", series)}
    return pseudonyms.about(header) | ids


def keep(case: Case, path: Path) -> None:
    """Writes a finished case for later runs of the same command."""
    told = json.dumps({"slice_index": case.slice_index, "source_index": case.source_index, "about": case.about})
    with atomic_path(path) as written:
        np.savez_compressed(
            written, image_hu=case.image_hu, mask=case.mask, spacing_mm=case.spacing_mm, told=np.array(told)
        )


def kept(path: Path) -> Case | None:
    """The case kept in a file; None where there is none or it is damaged, so that it is read again."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            told = json.loads(str(arrays["told"]))
            return Case(arrays["image_hu"], arrays["mask"], arrays["spacing_mm"], **told)
    except _UNREADABLE:
        return None
