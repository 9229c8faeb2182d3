"""Masks written for others: as an image on the scan's own grid, and as a DICOM Segmentation object beside its study.

The image holds voxels and geometry and nothing else. The SEG object carries the patient and the study of its source, as
the standard asks; it is the one output that does.
"""

import copy
import warnings
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import SimpleITK as sitk
from absl import logging
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from jaxtyping import Shaped
from pydicom.config import disable_value_validation
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage

from mskjax.data.planes import Plane, lookup, planes_of
from mskjax.data.stack import distance_mm, from_feet_to_head
from mskjax.files import atomic_path

IMAGE_SUFFIXES = (".nii.gz", ".nii", ".nrrd")
SERIES_NUMBER = 1000  # above what scanners give, so that viewers list the mask after the scan
# May be empty but must be there (type 2), while anonymised and old files lack them or hold what no parser accepts.
OF_THE_STUDY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "ReferringPhysicianName"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime"),
)
OF_A_SLICE = (
    *("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Rows", "Columns"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"),
)
# Blanked by thorough anonymisers, and without them no object can be written.
SHARED_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")


def write_mask(path: str | Path, mask: sitk.Image) -> None:
    """Writes a mask of 0 and 1 as uint8 with its geometry, as NIfTI (.nii.gz, .nii) or NRRD, and no other metadata.

    NIfTI rounds positions to float32, that is to 0.0001 mm. Raises `ValueError` for another suffix or other values.
    """
    path = Path(path)
    if not path.name.lower().endswith(IMAGE_SUFFIXES):
        raise ValueError(f"{path} names no format for a mask; end it with one of {', '.join(IMAGE_SUFFIXES)}")
    values = _zeros_and_ones(sitk.GetArrayViewFromImage(mask))
    bare = sitk.GetImageFromArray(values)
    bare.CopyInformation(mask)
    with atomic_path(path) as written:
        sitk.WriteImage(bare, str(written), useCompression=True)


def write_seg(
    path: str | Path,
    mask: Shaped[np.ndarray, "d h w"],
    sources: Sequence[pydicom.Dataset],
    algorithm: str | None = None,
) -> None:
    """Writes skeletal muscle as a binary DICOM SEG object in the study of `sources`, the headers of `read_series`.

    `mask` holds 0 and 1 in the order of `read_image`'s slices; each frame takes position, orientation and pixel spacing
    of its source slice, tilted or not. Empty slices are left out, but an empty mask keeps all its frames, as an object
    without a frame is not allowed. One enhanced multi-frame file counts as the source of all its frames. The segment
    is called automatic where `algorithm` names what drew it, manual otherwise. Sources without UIDs of study, series or
    frame of reference get new ones, which is logged. Raises `ValueError` where mask and sources differ in shape.
    """
    planes = from_feet_to_head([plane for header in sources for plane in planes_of(header)])
    shape = (len(planes), *planes[0].matrix)
    if mask.shape != shape:
        raise ValueError(
            f"a mask of shape {mask.shape} does not fit {shape[0]} source slices of {shape[1]} x {shape[2]}"
        )
    # highdicom and pydicom log and warn about odd names and dates by quoting them.
    with warnings.catch_warnings(action="ignore"), disable_value_validation(), atomic_path(path) as written:
        segmentation = _segmentation(_zeros_and_ones(mask), planes, algorithm)
        for name in OF_THE_STUDY:
            if name in planes[0].header:
                segmentation[name] = copy.deepcopy(planes[0].header[name])
        segmentation.save_as(written)


def _segmentation(mask: np.ndarray, planes: list[Plane], algorithm: str | None) -> Segmentation:
    sources = _referable(planes)
    frames = np.empty_like(mask)
    # Classic slices are handed over in the mask's own order, an enhanced file's frames as they are stored.
    frames[[plane.frame for plane in planes] if len(sources) == 1 else slice(None)] = mask
    return Segmentation(
        source_images=sources,
        pixel_array=frames,
        omit_empty_frames=bool(mask.any()),
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_description(algorithm)],
        series_instance_uid=highdicom.UID(),
        series_number=SERIES_NUMBER,
        series_description="Skeletal muscle",
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="mskjax",
        manufacturer_model_name="mskjax",
        software_versions=version("mskjax"),
        device_serial_number="none",
        content_label="MUSCLE",
        specific_character_set="ISO_IR 192",
    )


def _referable(planes: list[Plane]) -> list[pydicom.Dataset]:
    """Headers that a SEG object can refer to, one a file: with every UID, without the study's own texts."""
    first = planes[0].header
    missing = [name for name in SHARED_UIDS if not first.get(name)]
    if missing:
        logging.warning(
            "%s has no %s; the DICOM SEG gets new ones, so an archive will not file it beside its scan",
            first.filename,
            ", ".join(missing),
        )
    shared: dict[str, Any] = {name: highdicom.UID() for name in missing} | dict.fromkeys(OF_THE_STUDY)
    if not lookup(first, "SliceThickness"):
        shared["SliceThickness"] = distance_mm(planes) if len(planes) > 1 else planes[0].thickness_mm
    headers = list({plane.header.filename: plane.header for plane in planes}.values())
    # The first stands for the study, of which the standard wants more; the others are only referred to.
    return [_bare(first, first.keys(), shared)] + [_bare(header, OF_A_SLICE, shared) for header in headers[1:]]


def _bare(header: pydicom.Dataset, tags: Iterable[Any], values: dict[str, Any]) -> pydicom.Dataset:
    """A new dataset with some elements of a header and other values; a mere copy would change the header with it."""
    stored = header.get("file_meta", pydicom.Dataset())
    own = {
        "SOPClassUID": header.get("SOPClassUID") or stored.get("MediaStorageSOPClassUID", CTImageStorage),
        "SOPInstanceUID": header.get("SOPInstanceUID") or stored.get("MediaStorageSOPInstanceUID", highdicom.UID()),
    }
    bare = pydicom.Dataset()
    for tag in tags:
        if tag in header and header[tag].keyword not in (values | own):
            bare.add(header[tag])
    for name, value in (values | own).items():
        setattr(bare, name, value)
    return bare


def _description(algorithm: str | None) -> SegmentDescription:
    """Skeletal muscle (SNOMED CT 127954009), and who drew it."""
    kind = SegmentAlgorithmTypeValues.AUTOMATIC if algorithm else SegmentAlgorithmTypeValues.MANUAL
    identification = algorithm and highdicom.AlgorithmIdentificationSequence(
        name=algorithm, family=codes.DCM.ArtificialIntelligence, version=version("mskjax")
    )
    return SegmentDescription(
        segment_number=1,
        segment_label="Skeletal muscle",
        segmented_property_category=codes.SCT.Tissue,
        segmented_property_type=codes.SCT.SkeletalMuscle,
        algorithm_type=kind,
        algorithm_identification=identification or None,
    )


def _zeros_and_ones(values: np.ndarray) -> np.ndarray:
    if ((values != 0) & (values != 1)).any():
        raise ValueError(f"a mask holds 0 and 1, and this one {np.unique(values)[:5].tolist()}; threshold it first")
    return np.asarray(values, np.uint8)
