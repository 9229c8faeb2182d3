"""Which image goes with which mask, if any: folders, globs or single files matched by name.

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

from mskjax.data.headers import is_dicom, read_header
from mskjax.data.volumes import NIFTI, NRRD, is_volume

BITMAPS = (".png", ".bmp", ".jpg", ".jpeg", ".tif", ".tiff")
CHOICES = ("all", "largest", "level")
_WORDS = r"ct|image|img|scan|0000|mask|masks|seg|segmentation|label|labels|muscle|outline|outlined|plain"


@dataclass(frozen=True)
class Pair:
    """One image with its mask, None where it has none, and which of its slices to take.

    `slices` is "all" (that carry the mask), "largest" (where the mask has most pixels), "level" (the middle slice of
    `level_label` in `level_mask`) or a number, 0-based from the feet. The labels of `label` are joined. `mask_plain` is
    the plain bitmap where `mask` is a bitmap with the outline drawn in; None stands for the image where that is a
    bitmap itself. `about` holds what the user says of the case, under the columns of cases.csv; `listed_at` is the line
    of the table that lists it.
    """

    image: Path
    mask: Path | None = None
    slices: str = "all"
    label: tuple[str, ...] | None = None
    series: str | None = None
    mask_plain: Path | None = None
    level_mask: Path | None = None
    level_label: str | None = None
    case_id: str = ""
    patient_id: str = ""
    about: Mapping[str, str] = field(default_factory=dict)
    listed_at: str = ""

    def __post_init__(self) -> None:
        if self.slices not in CHOICES and not re.fullmatch(r"\d+", self.slices):
            raise ValueError(
                f"slice {self.slices!r} of {self.image} is neither a number from 0 nor {', '.join(CHOICES)}"
            )
        if self.image == self.mask:
            raise ValueError(f"{self.image} is given as image and as mask; name the two apart")
        if self.slices == "level" and not (self.level_mask and self.level_label):
            raise ValueError(f"the level of {self.image} needs both a level mask and a level label")
        if self.mask_plain and not self.mask:
            raise ValueError(f"{self.mask_plain} is a mask_plain without a mask; name the outlined bitmap as mask")

    @property
    def is_bitmap(self) -> bool:
        """Whether the image is a bitmap by its name, and so has grey levels in the place of HU."""
        return self.image.name.lower().endswith(BITMAPS)


def values_of(pairs: Sequence[Pair]) -> str:
    """What the slices of these pairs hold: "grey" levels of bitmaps, or "hu"; `ValueError` for a mixture."""
    bitmaps = [pair.image for pair in pairs if pair.is_bitmap]
    if 0 < len(bitmaps) < len(pairs):
        scan = next(pair.image for pair in pairs if not pair.is_bitmap)
        raise ValueError(
            f"{len(bitmaps)} of {len(pairs)} images are bitmaps, such as {bitmaps[0]}, and the others CT, such as "
            f"{scan}; grey levels and HU do not mix, so prepare two datasets"
        )
    return "grey" if bitmaps else "hu"


def match(
    images: str,
    masks: str | None,
    slices: str = "all",
    label: tuple[str, ...] | None = None,
    level_mask: str | None = None,
    level_label: str | None = None,
    whole: bool = False,
) -> tuple[list[Pair], dict[str, str]]:
    """Pairs of the files of two folders, globs or names, in the order of the images, and the files left over, with why.

    A folder of DICOM files is one image where there is a single mask, or none and `whole` scans are asked for and the
    files are of one series; otherwise it is one image a file. Where `masks` is None, no image has
    one. Raises `ValueError` where names are ambiguous or nothing fits, `OSError` where there is no such file.
    """
    found_masks = [] if masks is None else _expand(masks)
    as_series = len(found_masks) == 1 or (whole and masks is None and _is_one_series(images))
    found_images = _as_series(images) if as_series else _expand(images)
    partner, left = dict.fromkeys(found_images), {}
    if masks is not None:
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
    """Whether `read_image` or `read_mask` would take a file; one that calls itself .dcm is theirs to refuse."""
    return _is_no_dicom(path) or path.suffix.lower() == ".dcm" or is_dicom(path)


def _is_no_dicom(path: Path) -> bool:
    return is_volume(path) or path.name.lower().endswith(BITMAPS)


def _as_series(pattern: str) -> list[Path]:
    """What `_expand` finds, except that a folder of nothing but DICOM files is one image."""
    path = Path(pattern)
    if not path.is_dir():
        return _expand(pattern)
    members = [p for p in _expand(pattern) if p.is_file()]
    others = [p for p in members if _is_no_dicom(p)]
    return [path] if members and not others else _expand(pattern)


def _is_one_series(pattern: str) -> bool:
    """Whether this is a folder of several DICOM files and nothing else, the first and last of which are of one series.

    Reading the folder proves it of the others.
    """
    members = _expand(pattern) if Path(pattern).is_dir() else []
    if len(members) < 2 or not all(p.is_file() and not _is_no_dicom(p) for p in members):
        return False
    first, last = (str(read_header(members[i]).get("SeriesInstanceUID") or "") for i in (0, -1))
    return first == last != ""


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


def stem(path: Path) -> str:
    """The name of a file without its ending, as in case7 of case7.nii.gz."""
    name = path.name
    suffix = next((s for s in sorted((*NIFTI, *NRRD, *BITMAPS, ".dcm"), key=len)[::-1] if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)]


def bare_stem(path: Path) -> str:
    """`stem` without the words that tell images from masks, as in case7 of case7_ct.nii.gz."""
    return re.sub(rf"(?i)(^|[_\-. ])({_WORDS})(?=$|[_\-. ])", "", stem(path)).strip("_-. ")


def _parent(path: Path) -> str:
    return str(path.parent)


_KEYS: tuple[Callable[[Path], str], ...] = (stem, bare_stem, _parent, lambda path: path.parent.name)
