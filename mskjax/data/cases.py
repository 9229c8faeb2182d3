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
from mskjax.data.pair_loop import Finished
from mskjax.data.pairs import BITMAPS, Pair
from mskjax.data.pictures import read_outline, read_slice
from mskjax.data.reading import read_image
from mskjax.data.slice_choice import choose
from mskjax.data.splits import digest
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

    Of a bitmap these are grey levels and 1.0, as `mskjax.data.dataset` says. A mask that is not there is all 0. `about`
    holds "patient_id" and "case_id" as hashes, and what a header says under the columns of cases.csv.
    """

    image_hu: Int16[np.ndarray, "n h w"]
    mask: UInt8[np.ndarray, "n h w"]
    spacing_mm: Float64[np.ndarray, "2"]
    slice_index: list[int]
    source_index: list[int]
    about: dict[str, str]

    @property
    def digests(self) -> dict[str, list[str]]:
        """Those that tell twins: "slice", one for each."""
        return {"slice": [digest(image_hu) for image_hu in self.image_hu]}


def fingerprint(pair: Pair, key: bytes, *more: str) -> str:
    """A keyed hash of a pair's files, by path, size and time, and of what is asked of them; `OSError` without them.

    `more` is what is asked beyond what the pair says.
    """
    asked = (pair.slices, "\0".join(pair.label or ()), pair.series or "", pair.level_label or "", _EDITION, *more)
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


def finish(pair: Pair, key: bytes, folder: Path) -> Finished[Case]:
    """The case of a pair, read now or kept in `folder`; raises as `check` and `read`."""
    check(pair)
    print_ = fingerprint(pair, key)
    path = folder / f"{print_}.npz"
    if case := kept(path):
        return Finished(case, print_, True)
    case = read(pair, key)
    keep(case, path)
    return Finished(case, print_, False)


def check(pair: Pair) -> None:
    """Raises `ValueError` where nothing could be learned from a pair, which has neither a mask nor a label."""
    if pair.mask is None and "sarcopenia" not in pair.about:
        raise ValueError(
            f"{pair.image} has neither a mask nor a label; name its mask, or give it 0 or 1 in the column sarcopenia"
        )


def read(pair: Pair, key: bytes) -> Case:
    """The case of a pair; `ValueError` or `OSError` says in one sentence why there is none."""
    return _read_bitmap(pair, key) if pair.is_bitmap else _read_scan(pair, key)


def read_scan(pair: Pair) -> sitk.Image:
    """The image of a pair, kept for the next pair of the same one."""
    return _read_image(pair.image, pair.series, tuple(_states(pair.image)))


def read_scan_mask(pair: Pair, image: sitk.Image) -> sitk.Image:
    """The mask of a pair that has one, on the grid of its image."""
    assert pair.mask is not None
    path = pair.mask if pair.mask_plain is None else [pair.mask_plain, pair.mask]
    return read_mask(path, image, pair.label)


def _read_bitmap(pair: Pair, key: bytes) -> Case:
    if pair.slices not in ("all", "largest", "0") or pair.label or pair.series or pair.level_mask:
        raise ValueError(f"{pair.image} is a bitmap, which is one slice; leave slice, label, series and level out")
    if pair.mask is None:
        grey = read_slice(pair.image)
        mask = np.zeros(grey.shape, bool)
    elif pair.mask.name.lower().endswith(BITMAPS):
        grey, mask = read_outline(pair.image, pair.mask, pair.mask_plain)
    else:
        raise ValueError(
            f"{pair.mask} is to be the mask of the bitmap {pair.image}, and is no bitmap; give a copy of the slice "
            "with the outline drawn in, or the CT itself as the image"
        )
    return Case(
        image_hu=grey[None].astype(np.int16),
        mask=mask[None].astype(np.uint8),
        spacing_mm=np.ones(2),
        slice_index=[0],
        source_index=[0],
        about=about(pair, key),
    )


def _read_scan(pair: Pair, key: bytes) -> Case:
    image = read_scan(pair)
    image_hu, spacing_mm = to_axial(image)
    mask = np.zeros(image_hu.shape, np.uint8) if pair.mask is None else to_axial(read_scan_mask(pair, image))[0]
    chosen = choose(pair, image, mask)
    return Case(
        image_hu=np.ascontiguousarray(image_hu[chosen]),
        mask=np.ascontiguousarray(mask[chosen]),
        spacing_mm=spacing_mm[1:],
        slice_index=chosen,
        source_index=[source_index(image, k) for k in chosen],
        about=about(pair, key),
    )


@lru_cache(maxsize=1)
def _read_image(path: Path, series: str | None, states: tuple[tuple[str, int, int], ...]) -> sitk.Image:
    """The image, read once for all rows of a CSV that take its slices in turn; `states` tell a file that changed."""
    del states
    return read_image(path, series)


def about(pair: Pair, key: bytes) -> dict[str, str]:
    """Hashes for who and which, and what the header tells of the patient; a file without one is its own patient."""
    path = str(pair.image.resolve())
    if pair.is_bitmap or is_volume(pair.image):
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
