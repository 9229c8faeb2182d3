"""One CT series out of a folder: found by content, chosen where there are several, checked, in order, feet to head.

No value that names a patient enters a message: files, UIDs, series numbers and series descriptions do.
"""

from collections import defaultdict
from functools import lru_cache
from pathlib import Path

import numpy as np
import pydicom
from absl import logging

from mskjax.data.headers import is_dicom, may_be_cut, read_header, why_no_slice
from mskjax.data.planes import Plane, planes_of
from mskjax.data.stack import from_feet_to_head
from mskjax.data.volumes import is_volume

Series = dict[str, list[pydicom.Dataset]]
_NAME_IT = "name one in a CSV's column series or as --series"


def read_series(path: str | Path, series: str | None = None) -> list[pydicom.Dataset]:
    """The headers, without pixels, of one CT series from feet to head, each with its `filename`.

    `path` is a folder, searched to its depth, or one file. `series` names one of several by UID, by the first digits of
    its UID, by SeriesNumber or by (a part of) its description; `#2` after it, or alone, is the second geometry where
    one series holds several. An enhanced multi-frame file is one header; `read_planes` tells the order of its frames.

    Raises `ValueError` where the files are no single even stack of axial CT slices in HU, and `OSError` where files are
    missing, damaged or cut short.
    """
    headers = [plane.header for plane in read_planes(path, series)]
    return list({header.filename: header for header in headers}.values())


def read_planes(path: str | Path, series: str | None = None) -> list[Plane]:
    """The planes of one CT series in the order of the image's slices; arguments and errors as in `read_series`."""
    path = Path(path)
    name, _, geometry = (series or "").partition("#")
    headers = _choose_series(path, _ct_headers(path), name)
    planes = [plane for header in headers for plane in planes_of(header)]
    return from_feet_to_head(_choose_geometry(path, planes, geometry))


def _ct_headers(path: Path) -> list[pydicom.Dataset]:
    """The headers of all CT slices under `path`; what else lies there is left out, and said."""
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; give a DICOM folder or file, NIfTI or NRRD")
    files = [path] if path.is_file() else sorted(p for p in path.rglob("[!.]*") if p.is_file())
    slices, others = [], defaultdict(list)
    for file in files:
        header = read_header(file) if is_dicom(file) else None
        reason = "not DICOM" if header is None else why_no_slice(header)
        if header is None or reason:
            others[reason].append(file)
        else:
            slices.append(header)
    left_out = "; ".join(f"{len(of)} x {reason} ({_few(of)})" for reason, of in others.items())
    if not slices and path.is_file():
        raise ValueError(f"{path} is no CT slice ({next(iter(others))}); give a CT as DICOM, NIfTI or NRRD")
    if not slices:
        raise ValueError(f"{path} has no CT slice: {left_out or 'it is empty'}; {_remedy(files)}")
    _refuse_cut(slices, others.get("not DICOM", []))
    if left_out:
        _say_left_out(path, left_out)
    return slices


@lru_cache(maxsize=1)
def _say_left_out(path: Path, left_out: str) -> None:
    """Says it once, though a folder is read for its pixels and again for its headers."""
    logging.info("left out of %s: %s", path, left_out)


def _refuse_cut(slices: list[pydicom.Dataset], foreign: list[Path]) -> None:
    """Raises `OSError` for a file that is named like the slices and holds no DICOM: without it a scan ends early."""
    kinds = {_kind(Path(header.filename)) for header in slices}
    if cut := [file for file in foreign if _kind(file) in kinds and may_be_cut(file)]:
        raise OSError(
            f"{cut[0]} lies among CT slices, is named like them and holds no DICOM ({cut[0].stat().st_size} bytes); "
            "copy it again, or move it away if it is no slice"
        )


def _kind(path: Path) -> str:
    """The suffix that tells a kind of file: none where names end in a number, as UIDs do."""
    suffix = path.suffix.lower()
    return "" if suffix[1:].isdigit() else suffix


def _remedy(files: list[Path]) -> str:
    volume = next((file.name for file in files if is_volume(file)), None)
    return f"give the file itself, as in {volume}" if volume else "give the folder of one axial CT series"


def _choose_series(path: Path, headers: list[pydicom.Dataset], name: str) -> list[pydicom.Dataset]:
    """The headers of the one series, or of the one that `name` names."""
    present: Series = defaultdict(list)
    for header in headers:
        present[str(header.get("SeriesInstanceUID") or "")].append(header)
    chosen = _named(present, name) if name else list(present)
    if len(chosen) == 1:
        return present[chosen[0]]
    trouble = f"{len(chosen)} CT series" + (f" that '{name}' may mean" if name else "") if chosen else f"no '{name}'"
    listed = "; ".join(_describe(present[uid]) for uid in chosen or present)
    raise ValueError(f"{path} holds {trouble}: {listed}; {_NAME_IT}=UID, or give its own folder")


def _named(present: Series, name: str) -> list[str]:
    """The UIDs of the series that `name` means, by the strictest reading that means any."""
    numbers = {uid: str(headers[0].get("SeriesNumber") or "") for uid, headers in present.items()}
    titles = {uid: _description(headers).casefold() for uid, headers in present.items()}
    readings = (
        [uid for uid in present if uid == name],
        [uid for uid in present if numbers[uid] == name],
        [uid for uid in present if titles[uid] == name.casefold()],
        [uid for uid in present if uid.startswith(name)],
        [uid for uid in present if name.casefold() in titles[uid]],
    )
    return next((meant for meant in readings if meant), [])


def _choose_geometry(path: Path, planes: list[Plane], geometry: str) -> list[Plane]:
    """The planes of the one geometry in a series, or of the one that its number (from 1) names."""
    groups: list[list[Plane]] = []
    for plane in planes:
        group = next((group for group in groups if _alike(group[0], plane)), None)
        groups.append([plane]) if group is None else group.append(plane)
    if geometry.isdigit() and 1 <= int(geometry) <= len(groups):
        return groups[int(geometry) - 1]
    if len(groups) == 1 and not geometry:
        return groups[0]
    listed = "; ".join(f"#{number}: {_describe_geometry(group)}" for number, group in enumerate(groups, 1))
    wanted = f", and none of them is '#{geometry}'" if geometry else ""
    raise ValueError(
        f"{path} has {len(groups)} geometries (mixed orientations, matrices, pixel spacings or frames of reference) "
        f"in one series{wanted}: {listed}; {_NAME_IT}=#1"
    )


def _alike(one: Plane, other: Plane) -> bool:
    """Whether two planes are parallel, equally turned, of the same matrix and pixel spacing, and in the same frame."""
    if _frame_of_reference(one) != _frame_of_reference(other):
        return False
    parallel = np.allclose(one.cosines, other.cosines, atol=1e-3)
    return parallel and one.matrix == other.matrix and np.allclose(one.spacing_mm, other.spacing_mm, rtol=1e-3)


def _frame_of_reference(plane: Plane) -> str:
    """The UID of the space that its positions are in; positions of two spaces say nothing about each other."""
    return str(plane.header.get("FrameOfReferenceUID") or "")


def _describe(headers: list[pydicom.Dataset]) -> str:
    uid = str(headers[0].get("SeriesInstanceUID") or "no UID")
    number = headers[0].get("SeriesNumber")
    files = f"{len(headers)} file" + "s" * (len(headers) > 1)
    return f"{uid} (number {'unknown' if number is None else number}, '{_description(headers)}', {files})"


def _description(headers: list[pydicom.Dataset]) -> str:
    return str(headers[0].get("SeriesDescription") or "")[:64]


def _describe_geometry(group: list[Plane]) -> str:
    first = group[0]
    cosines = " ".join(f"{x:.3g}" for x in first.cosines.ravel())
    rows, columns = first.matrix
    spacing = f"{first.spacing_mm[0]:g} x {first.spacing_mm[1]:g} mm"
    frame = _frame_of_reference(first) or "unknown"
    return (
        f"{len(group)} slices of {rows} x {columns} pixels of {spacing}, orientation {cosines}, frame of reference "
        f"{frame} (as {first.name})"
    )


def _few(files: list[Path]) -> str:
    return ", ".join(file.name for file in files[:3]) + (", ..." if len(files) > 3 else "")
