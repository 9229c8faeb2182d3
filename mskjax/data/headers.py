"""DICOM files found by what they hold, not by what they are called, and told apart: CT slices, and all the rest."""

import contextlib
import struct
import warnings
from collections.abc import Iterable
from pathlib import Path

import pydicom
from pydicom.config import disable_value_validation
from pydicom.errors import BytesLengthException
from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedCTImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    MediaStorageDirectoryStorage,
)

CT_CLASSES = (CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)
UNREADABLE = (ValueError, TypeError, KeyError, EOFError, struct.error, NotImplementedError, BytesLengthException)
# What decides about a file is converted while it is read, so that damage shows there.
DECIDING = (
    *("Modality", "SOPClassUID", "ImageType", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription"),
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "BitsStored"),
    *("HighBit", "BitsAllocated", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType"),
)
# What is asked later; too long a text is worth no warning then, and a wrong one is judged where it is asked.
ASKED = (
    *("PatientID", "PatientSex", "PatientAge", "PatientSize", "PatientWeight"),
    *("StudyInstanceUID", "FrameOfReferenceUID"),
)
# Words of ImageType, as the standard (PS3.3 C.8.2.1.1.1, C.8.15.2.2.1) and the vendors write them.
NO_SLICE = {
    "LOCALIZER": "localizer",
    "MIP": "intensity projection",
    "MAX_IP": "intensity projection",
    "MIN_IP": "intensity projection",
    "MINIP": "intensity projection",
    "DOSE": "dose page",
    "DOSE_INFO": "dose page",
    "SCREEN": "screen page",
    "PROT": "protocol page",
}


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM by content, with the preamble of a DICOM file or, as some archives write it, without.

    Raises `OSError` where the file calls itself .dcm and is none: half a copy must not pass for a foreign file.
    """
    with path.open("rb") as file:
        start = file.read(132)
    if start[128:] == b"DICM" or _starts_a_data_set(start):
        return True
    if path.suffix.lower() == ".dcm":
        raise OSError(f"{path} is no DICOM file, though its name says so ({path.stat().st_size} bytes); copy it again")
    return False


def may_be_cut(path: Path) -> bool:
    """Whether a file that is no DICOM may be what a broken copy left of one: nothing, zeros, or less than its mark."""
    with path.open("rb") as file:
        start = file.read(132)
    # Notes may be as short, but hold no zero byte.
    return not start.strip(b"\0") or (len(start) < 132 and b"\0" in start)


def read_header(path: Path) -> pydicom.Dataset:
    """The header of a DICOM file without its pixels; `OSError` where the file is damaged or cut short."""
    try:
        # pydicom's warnings and errors may quote the patient's data, so they end here.
        with warnings.catch_warnings(action="ignore"), disable_value_validation():
            header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            modality, *_ = (header.get(keyword) for keyword in DECIDING)
            storage = sop_class(header)
            for keyword in ASKED:
                with contextlib.suppress(*UNREADABLE):
                    header.get(keyword)
    except UNREADABLE as error:
        raise OSError(f"{path} is a damaged DICOM file ({type(error).__name__}); copy it again") from None
    told = len(modality) > 1 if modality else storage in (*CT_CLASSES, MediaStorageDirectoryStorage)
    if not told:
        raise OSError(f"{path} is a DICOM file cut short: it does not say what it holds; copy it again")
    header.filename = str(path)
    return header


def why_no_slice(header: pydicom.Dataset) -> str | None:
    """Why a DICOM object is no CT slice to measure, in a word or two; None for a CT slice.

    Raises `OSError` where a CT object is cut short before its matrix.
    """
    modality, storage = str(header.get("Modality") or ""), sop_class(header)
    words = {word for value in _values(header.get("ImageType")) for word in value.upper().split()}
    if modality not in ("", "CT"):
        return f"{modality} object"
    if storage not in CT_CLASSES and (storage or not modality):
        return f"{UID(storage).name} object" if storage else "object of unknown kind"
    if not header.get("Rows") or not header.get("Columns"):
        raise OSError(f"{header.filename} is a CT file cut short: it has no rows and columns; copy it again")
    if found := [NO_SLICE[word] for word in sorted(words & NO_SLICE.keys())]:
        return found[0]
    if header.get("SamplesPerPixel", 1) != 1 or "MONOCHROME" not in str(header.get("PhotometricInterpretation")):
        return "colour picture"
    if "SECONDARY" in words and "ImagePositionPatient" not in header and storage in ("", CTImageStorage):
        return "screen page"
    return None


def sop_class(header: pydicom.Dataset) -> str:
    """The UID of what kind of object this is; empty where the file does not tell."""
    return str(header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID") or "")


def _values(element: str | Iterable[str] | None) -> list[str]:
    """The values of an element of one, several or none."""
    return [element] if isinstance(element, str) else list(element or ())


def _starts_a_data_set(start: bytes) -> bool:
    """Whether bytes begin like a data set without preamble: an element of group 8, its length or its type."""
    if len(start) < 132:
        return False
    group, element, length = struct.unpack("<HHI", start[:8])
    return group == 8 and element <= 0x18 and (start[4:6] in (b"UL", b"CS", b"UI", b"DA", b"SH") or length <= 64)
