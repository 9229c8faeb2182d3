"""Small DICOM files made on the spot, sound by default and broken by request."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
FRAME_UID = "1.2.3"  # of all series alike, as of scans on one table
# Never to be met outside the files: tests search messages and metadata for it.
PATIENT = {"PatientName": "Verysecret^Name", "PatientID": "MRN-77-31", "PatientBirthDate": "19310203"}


def body_hu(depth: int = 4, height: int = 12, width: int = 10, seed: int = 0) -> np.ndarray:
    """Asymmetric values [d, h, w] that can be HU: air around fat and muscle, no two slices alike."""
    rng = np.random.default_rng(seed)
    image = np.full((depth, height, width), -1000, np.int16)
    inner = image[:, 2:-1, 1:-2]
    inner[:] = rng.integers(-150, 300, inner.shape)
    return image


def plane_positions(
    depth: int,
    spacing_mm: Sequence[float] = (5.0, 1.0, 1.0),
    orientation: Sequence[float] = AXIAL,
    origin_mm: Sequence[float] = (-100.0, -120.0, -300.0),
    tilt_degrees: float = 0.0,
) -> np.ndarray:
    """Positions [d, 3] along the normal, sheared along the columns as a tilted gantry does; row 0 is the lowest."""
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    step = np.cross(row, column) * spacing_mm[0] + column * spacing_mm[0] * np.tan(np.radians(tilt_degrees))
    return np.array(origin_mm) + np.arange(depth)[:, None] * step


def write_series(
    folder: Path,
    array_hu: np.ndarray,
    spacing_mm: Sequence[float] = (5.0, 1.0, 1.0),
    *,
    positions_mm: np.ndarray | None = None,
    orientation: Sequence[float] = AXIAL,
    tilt_degrees: float = 0.0,
    slopes: Sequence[float] | float = 1.0,
    intercepts: Sequence[float] | float = -1024.0,
    signed: bool = False,
    transfer_syntax: str = ExplicitVRLittleEndian,
    suffix: str = ".dcm",
    stem: str = "slice",
    **attributes,
) -> list[Path]:
    """Writes slices [d, h, w] as CT files and returns their paths in the order of the array.

    InstanceNumber counts against the positions, so that nobody can sort by it. `attributes` are set on every header: a
    list gives one value a slice, a tuple the values of one element, None deletes the element.
    """
    depth = len(array_hu)
    if positions_mm is None:
        positions_mm = plane_positions(depth, spacing_mm, orientation, tilt_degrees=tilt_degrees)
    slopes, intercepts = np.broadcast_to(slopes, depth), np.broadcast_to(intercepts, depth)
    shared = {"SeriesInstanceUID": generate_uid(), "StudyInstanceUID": generate_uid(), "SeriesNumber": 4}
    shared |= {"FrameOfReferenceUID": FRAME_UID, "SeriesDescription": "Abdomen"}
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for k, hu in enumerate(array_hu):
        header = _header(CTImageStorage, shared)
        header.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        header.ImagePositionPatient = [float(f"{x:.6f}") for x in positions_mm[k]]
        header.ImageOrientationPatient = [float(f"{x:.9f}") for x in orientation]
        header.PixelSpacing = [spacing_mm[1], spacing_mm[2]]
        header.SliceThickness = 7.7
        header.InstanceNumber = depth - k
        header.RescaleSlope, header.RescaleIntercept = float(slopes[k]), float(intercepts[k])
        _set_pixels(header, np.rint((hu - intercepts[k]) / slopes[k]), signed)
        _set(header, attributes, k)
        paths.append(_save(header, folder / f"{stem}{(k * 7) % 1000:03d}{suffix}", transfer_syntax))
    return paths


def write_enhanced(
    path: Path,
    array_hu: np.ndarray,
    spacing_mm: Sequence[float] = (5.0, 1.0, 1.0),
    *,
    positions_mm: np.ndarray | None = None,
    slopes: Sequence[float] | float = 1.0,
    intercepts: Sequence[float] | float = -1024.0,
    transfer_syntax: str = ExplicitVRLittleEndian,
    **attributes,
) -> Path:
    """Writes slices [d, h, w] as frames of one enhanced CT file; position and rescale belong to each frame."""
    depth = len(array_hu)
    positions_mm = plane_positions(depth, spacing_mm) if positions_mm is None else positions_mm
    slopes, intercepts = np.broadcast_to(slopes, depth), np.broadcast_to(intercepts, depth)
    header = _header(EnhancedCTImageStorage, {"SeriesInstanceUID": generate_uid(), "SeriesNumber": 4})
    header.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    header.NumberOfFrames = depth
    shared = _item(
        PlaneOrientationSequence=_item(ImageOrientationPatient=list(AXIAL)),
        PixelMeasuresSequence=_item(PixelSpacing=[spacing_mm[1], spacing_mm[2]], SliceThickness=7.7),
    )
    header.SharedFunctionalGroupsSequence = Items([shared])
    frames = [
        _item(
            PlanePositionSequence=_item(ImagePositionPatient=[float(f"{x:.6f}") for x in position]),
            PixelValueTransformationSequence=_item(
                RescaleSlope=float(slope), RescaleIntercept=float(intercept), RescaleType="HU"
            ),
        )
        for position, slope, intercept in zip(positions_mm, slopes, intercepts, strict=True)
    ]
    header.PerFrameFunctionalGroupsSequence = Items(frames)
    stored = (array_hu - intercepts[:, None, None]) / slopes[:, None, None]
    _set_pixels(header, np.rint(stored), signed=False)
    _set(header, attributes, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    return _save(header, path, transfer_syntax)


def edit(path: Path, **attributes) -> None:
    """Sets elements of a file that stands, or deletes those that are None."""
    header = pydicom.dcmread(path)
    _set(header, attributes, 0)
    header.save_as(path)


def _header(sop_class: str, shared: dict) -> pydicom.Dataset:
    header = pydicom.Dataset()
    header.SOPClassUID, header.SOPInstanceUID = sop_class, generate_uid()
    header.Modality = "CT"
    header.StudyDate, header.PatientPosition = "20200102", "HFS"
    for name, value in (PATIENT | shared).items():
        setattr(header, name, value)
    return header


def _set_pixels(header: pydicom.Dataset, stored: np.ndarray, signed: bool) -> None:
    header.Rows, header.Columns = stored.shape[-2:]
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated = header.BitsStored = 16
    header.HighBit, header.PixelRepresentation = 15, int(signed)
    header.PixelData = stored.astype("<i2" if signed else "<u2").tobytes()


def _item(**values) -> pydicom.Dataset:
    item = pydicom.Dataset()
    for name, value in values.items():
        setattr(item, name, Items([value]) if isinstance(value, pydicom.Dataset) else value)
    return item


def _set(header: pydicom.Dataset, attributes: dict, index: int) -> None:
    for name, value in attributes.items():
        if value is None:
            header.pop(name, None)
        elif isinstance(value, list):
            setattr(header, name, value[index])
        else:
            setattr(header, name, list(value) if isinstance(value, tuple) else value)


def _save(header: pydicom.Dataset, path: Path, transfer_syntax: str) -> Path:
    header.file_meta = FileMetaDataset()
    header.file_meta.MediaStorageSOPClassUID = header.get("SOPClassUID", CTImageStorage)
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    compressed = UID(transfer_syntax).is_encapsulated
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if compressed else transfer_syntax
    if compressed:
        header.compress(transfer_syntax)
    header.save_as(path, enforce_file_format=True)
    return path
