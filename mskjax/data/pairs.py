"""Which image goes with which mask: from folders, globs or single files matched by name, or from a CSV.

File names are tried whole, then without the words that tell images from masks (`case7_ct.nii.gz`, `case7_mask.nii.gz`),
then by the folder that holds them (`case7/ct.nii.gz`, `case7/mask.nii.gz`). Nothing is guessed beyond that: a name that
fits two files is refused, and files without a partner are listed.
"""

import glob
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from absl import logging
from pydicom.misc import is_dicom

VOLUMES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
BITMAPS = (".png", ".bmp", ".jpg", ".jpeg", ".tif", ".tiff")
ABOUT = ("sex", "age_years", "height_m", "weight_kg", "sarcopenia", "split")
CHOICES = ("all", "largest", "level")
_CASE_COLUMNS = ("case_id", "patient_id", "image", "mask", "mask_plain", "slice", "label", "series")
_COLUMNS = (*_CASE_COLUMNS, "slice_index", "source_index", "level_mask", "level_label", *ABOUT)
_WORDS = r"ct|image|img|scan|0000|mask|masks|seg|segmentation|label|labels|muscle|outline"


@dataclass(frozen=True)
class Pair:
    """One image with its mask, and which of its slices to take.

    `slices` is "all" (that carry the mask), "largest" (where the mask has most pixels), "level" (the middle slice of
    `level_label` in `level_mask`) or a number, 0-based from the feet. `mask_plain` is the plain bitmap where `mask` is
    a bitmap with the outline drawn in. `about` holds what the user says of the case, under the columns of cases.csv.
    """

    image: Path
    mask: Path
    slices: str = "all"
    label: str | None = None
    series: str | None = None
    mask_plain: Path | None = None
    level_mask: Path | None = None
    level_label: str | None = None
    case_id: str = ""
    patient_id: str = ""
    about: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.slices not in CHOICES and not re.fullmatch(r"\d+", self.slices):
            raise ValueError(
                f"slice {self.slices!r} of {self.image} is neither a number from 0 nor {', '.join(CHOICES)}"
            )
        if self.image == self.mask:
            raise ValueError(f"{self.image} is given as image and as mask; name the two apart")
        if self.slices == "level" and not (self.level_mask and self.level_label):
            raise ValueError(f"the level of {self.image} needs both a level mask and a level label")


def collect(
    images: str | None,
    masks: str | None,
    table: str | None,
    slices: str = "all",
    label: str | None = None,
    level_mask: str | None = None,
    level_label: str | None = None,
) -> tuple[list[Pair], dict[str, str]]:
    """Pairs from `images` and `masks`, or from the CSV `table`, and the files without partner, with why."""
    if level_label is not None and slices == "all":
        slices = "level"
    if table is not None and images is None and masks is None and level_mask is None:
        return read_table(table, slices, label, level_label), {}
    if table is None and images is not None and masks is not None:
        return match(images, masks, slices, label, level_mask, level_label)
    raise ValueError("give --images and --masks, or --cases alone, or --phantom")


def match(
    images: str,
    masks: str,
    slices: str = "all",
    label: str | None = None,
    level_mask: str | None = None,
    level_label: str | None = None,
) -> tuple[list[Pair], dict[str, str]]:
    """Pairs of the files of two folders, globs or names, in the order of the images, and the files left over, with why.

    A folder of DICOM files is one image where there is a single mask, and one image a file otherwise. Raises
    `ValueError` where names are ambiguous or nothing fits, `OSError` where there is no such file.
    """
    found_masks = _expand(masks)
    found_images = _as_series(images) if len(found_masks) == 1 else _expand(images)
    partner, left = _partners(found_images, found_masks, "mask")
    levels: dict[Path, Path] = {}
    if level_mask is not None:
        levels, unleveled = _partners(list(partner), _expand(level_mask), "level mask")
        left |= {path: why for path, why in unleveled.items() if Path(path) in partner}
    kept = [image for image in found_images if image in partner and str(image) not in left]
    shared = {"slices": slices, "label": label, "level_label": level_label}
    return [Pair(image, partner[image], level_mask=levels.get(image), **shared) for image in kept], left


def _expand(pattern: str) -> list[Path]:
    """The files and DICOM folders that a folder, glob or name stands for, sorted."""
    path = Path(pattern)
    if path.is_dir():
        found = [p for p in sorted(path.iterdir()) if not p.name.startswith(".") and (p.is_dir() or _is_image(p))]
    elif path.exists():
        found = [path]
    else:
        found = [Path(p) for p in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207 (it takes absolute patterns)
    if not found:
        raise FileNotFoundError(f"{pattern} names no file; give a folder, a file or a glob in quotes")
    return found


def _is_image(path: Path) -> bool:
    return path.name.lower().endswith((*VOLUMES, *BITMAPS)) or is_dicom(path)


def _as_series(pattern: str) -> list[Path]:
    """What `_expand` finds, except that a folder of nothing but DICOM files is one image."""
    path = Path(pattern)
    if not path.is_dir():
        return _expand(pattern)
    members = [p for p in _expand(pattern) if p.is_file()]
    others = [p for p in members if p.name.lower().endswith((*VOLUMES, *BITMAPS))]
    return [path] if members and not others else _expand(pattern)


def _partners(images: list[Path], others: list[Path], what: str) -> tuple[dict[Path, Path], dict[str, str]]:
    if len(images) == len(others) == 1:
        return {images[0]: others[0]}, {}
    for key in _KEYS:
        ours, theirs = {key(p): p for p in images}, {key(p): p for p in others}
        if (shared := set(ours) & set(theirs)) and len(ours) == len(images) and len(theirs) == len(others):
            left = {str(p): f"has no {what} of the same name" for k, p in ours.items() if k not in shared}
            left |= {str(p): "has no image of the same name" for k, p in theirs.items() if k not in shared}
            return {p: theirs[k] for k, p in ours.items() if k in shared}, left
    raise ValueError(_why_unmatched(images, others, what))


def _why_unmatched(images: list[Path], others: list[Path], what: str) -> str:
    for key in _KEYS[:2]:
        for paths in (images, others):
            name, times = Counter(map(key, paths)).most_common(1)[0]
            if times > 1 and set(map(key, images)) & set(map(key, others)):
                twice = ", ".join(str(p) for p in paths if key(p) == name)
                return f"{twice} would all be {name!r}; say in a CSV (--cases) which image has which {what}"
    return (
        f"no image fits a {what} by name (images such as {images[0]}, {what}s such as {others[0]}); "
        "name them alike or list them in a CSV (--cases)"
    )


def _stem(path: Path) -> str:
    name = path.name
    suffix = next((s for s in sorted((*VOLUMES, *BITMAPS, ".dcm"), key=len)[::-1] if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)]


def _bare_stem(path: Path) -> str:
    return re.sub(rf"(?i)(^|[_\-. ])({_WORDS})(?=$|[_\-. ])", "", _stem(path)).strip("_-. ")


def _parent(path: Path) -> str:
    return str(path.parent)


_KEYS: tuple[Callable[[Path], str], ...] = (_stem, _bare_stem, _parent, lambda path: path.parent.name)


def read_table(
    path: str | Path, slices: str = "all", label: str | None = None, level_label: str | None = None
) -> list[Pair]:
    """Pairs from a CSV with the columns image and mask, and any of case_id, patient_id, slice, label and so on.

    Relative paths start at the CSV's folder. Empty cells take `slices`, `label` and `level_label`. Other columns are
    ignored, and said. Raises `ValueError` where a column or a cell is missing, or case ids repeat.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8-sig") as file:
            separator = max(",;\t", key=file.readline().count)
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", sep=separator)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no CSV in UTF-8 ({error})") from error
    table.columns = [str(name).strip() for name in table.columns]
    if missing := {"image", "mask"} - set(table.columns):
        raise ValueError(f"{path} lacks the column {', '.join(sorted(missing))}; it has {', '.join(table.columns)}")
    if unknown := set(table.columns) - set(_COLUMNS):
        logging.warning("%s: columns %s are not used", path, ", ".join(sorted(unknown)))
    rows = [{str(k): str(v).strip() for k, v in row.items()} for row in table.to_dict("records")]
    given = Counter(row["case_id"] for row in rows if row.get("case_id"))
    if repeated := [case for case, times in given.items() if times > 1]:
        raise ValueError(f"{path} gives case id {repeated[0]!r} to several rows; each row needs its own")
    if not rows:
        raise ValueError(f"{path} has no rows below its header")
    defaults = {"label": label, "level_label": level_label}
    filled = [row | {name: value or "" for name, value in defaults.items() if not row.get(name)} for row in rows]
    return [_pair(row, path, i, slices) for i, row in enumerate(filled, start=2)]


def _pair(row: dict[str, str], table: Path, line: int, slices: str) -> Pair:
    def file(column: str) -> Path | None:
        return table.parent / row[column] if row.get(column) else None

    image, mask = file("image"), file("mask")
    if image is None or mask is None:
        raise ValueError(f"{table}, line {line}: image and mask must both be filled")
    return Pair(
        image=image,
        mask=mask,
        slices=row.get("slice") or row.get("slice_index") or slices,
        label=row["label"] or None,
        series=row.get("series") or None,
        mask_plain=file("mask_plain"),
        level_mask=file("level_mask"),
        level_label=row["level_label"] or None,
        case_id=row.get("case_id", ""),
        patient_id=row.get("patient_id", ""),
        about=_about(row, f"{table}, line {line}"),
    )


def _about(row: dict[str, str], where: str) -> dict[str, str]:
    """What a row says of its patient, checked: sex as M or F, sizes as positive numbers, and so on."""
    about = {name: row[name] for name in ABOUT if row.get(name)}
    if "sex" in about:
        about["sex"] = {"m": "M", "male": "M", "f": "F", "female": "F"}.get(about["sex"].lower(), about["sex"])
    allowed: dict[str, Sequence[str]] = {
        "sex": ("M", "F"),
        "sarcopenia": ("0", "1"),
        "split": ("train", "validation", "test"),
    }
    limits = {"age_years": (0.0, 120.0), "height_m": (0.4, 2.5), "weight_kg": (2.0, 400.0)}
    for name, value in about.items():
        if name in allowed and value not in allowed[name]:
            raise ValueError(f"{where}: {name} is {value!r}, not one of {', '.join(allowed[name])} or empty")
        if name in limits and not _within(value, *limits[name]):
            raise ValueError(f"{where}: {name} is {value!r}, not a number from {limits[name][0]} to {limits[name][1]}")
    return about


def _within(text: str, low: float, high: float) -> bool:
    try:
        return low <= float(text) <= high
    except ValueError:
        return False
