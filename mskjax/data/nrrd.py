"""What ITK does not say about an NRRD file: whether its data are whole, and its geometry stated in the patient.

ITK checks neither the end of a gzip stream nor its checksum, takes 1 mm and the identity for axes that the file does
not state, and reads axes of the scanner as if they were the patient's. Fields: "Definition of NRRD File Format", Teem.
"""

import gzip
import math
import re
import zlib
from io import BufferedIOBase
from pathlib import Path

import SimpleITK as sitk

# ITK turns the spaces right-, left-anterior-superior and their abbreviations into this one, and keeps others as stored.
PATIENT = "left-posterior-superior"
GZIP, RAW = ("gzip", "gz"), ("raw",)
CHUNK = 1 << 22


def check_nrrd(path: Path, reader: sitk.ImageFileReader) -> None:
    """Refuses an NRRD file that ITK, having read its information into `reader`, would misread in silence.

    Raises `OSError` where the data are cut short, longer than the header says, or differ from the checksum of their
    gzip stream; `ValueError` where axes, origin or their relation to the patient are not stated, lengths are not in mm,
    or the encoding is another than raw or gzip. Raw data have no checksum: changed bytes show nowhere.
    """
    fields, start = _header(path)
    _check_geometry(path, fields, reader)
    detached = fields.get("datafile")
    if detached and (detached.startswith("LIST") or "%" in detached):
        raise ValueError(f"{path} spreads its data over several files ({detached}); write it as one NRRD file")
    encoding = fields.get("encoding", "").lower()
    skipped = [name for name in ("lineskip", "byteskip") if fields.get(name, "0") != "0"]
    if encoding not in (*RAW, *GZIP) or skipped:
        what = f"skips parts of its data ({skipped[0]})" if skipped else f"has the encoding '{encoding}'"
        raise ValueError(f"{path} {what}, which cannot be checked; write it as raw or gzip and without skips")
    source = path.parent / detached if detached else path
    voxel_bytes = sitk.Image([1, 1, 1], reader.GetPixelID()).GetSizeOfPixelComponent()
    needed = math.prod(reader.GetSize()) * voxel_bytes
    size = _size(path, source, 0 if detached else start, encoding in GZIP)
    if size != needed:
        trouble = "is cut short" if size < needed else "has a header of other data"
        raise OSError(f"{path} {trouble}: its voxels need {needed} bytes and {size} are there; copy it again")


def _header(path: Path) -> tuple[dict[str, str], int]:
    """The fields by their names in lower case without blanks, and where the header ends."""
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        if not re.match(rb"NRRD\d{4}", file.readline(16)):
            raise OSError(f"{path} is damaged or no NRRD file, though its name says so; copy it again")
        for line in iter(lambda: file.readline().strip(), b""):
            name, colon, value = line.decode("utf-8", "replace").partition(": ")
            if colon and not line.startswith(b"#") and ":=" not in name:
                fields[name.lower().replace(" ", "")] = value.strip()
        return fields, file.tell()


def _check_geometry(path: Path, fields: dict[str, str], reader: sitk.ImageFileReader) -> None:
    space = reader.GetMetaData("NRRD_space") if reader.HasMetaDataKey("NRRD_space") else "none"
    if space != PATIENT:
        raise ValueError(
            f"{path} does not say where its axes point in the body (NRRD space: {space}); write it with the space "
            f"{PATIENT}"
        )
    if missing := [name for name in ("space directions", "space origin") if name.replace(" ", "") not in fields]:
        raise ValueError(f"{path} has no {' and no '.join(missing)}; write it with its geometry")
    units = set(re.findall(r'"([^"]*)"', fields.get("spaceunits", ""))) - {"mm", ""}
    if units:
        raise ValueError(f"{path} does not measure in mm (space units: {', '.join(sorted(units))}); write it in mm")


def _size(path: Path, source: Path, start: int, zipped: bool) -> int:
    """How many bytes the data have, read to their end, where gzip keeps its checksum."""
    if not zipped:
        return source.stat().st_size - start
    with source.open("rb") as file:
        file.seek(start)
        try:
            with gzip.GzipFile(fileobj=file) as stream:
                return _length(stream)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            raise OSError(
                f"{path} is damaged or cut short: its gzip stream ends early or is wrong; copy it again"
            ) from None


def _length(stream: BufferedIOBase) -> int:
    return sum(len(chunk) for chunk in iter(lambda: stream.read(CHUNK), b""))
