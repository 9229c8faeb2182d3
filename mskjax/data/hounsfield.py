"""Stored DICOM pixels turned into HU: decoded once, rescaled slice by slice, padding set to air.

pydicom decodes what is not compressed. SimpleITK decodes the rest from a bare copy without rescale, because its own
rescaling knows neither the frames of an enhanced file nor files that do not name their class.
"""

import itertools
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from absl import logging
from jaxtyping import Bool, Int16, Integer
from pydicom.config import disable_value_validation
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from mskjax.data.headers import UNREADABLE
from mskjax.data.planes import Plane

AIR_HU = -1024
PIXEL_ELEMENTS = (
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "PixelData"),
)
# Between these a padding value could be a true measurement, from lung to metal-free bone.
TISSUE_HU = (-900, 3071)
# What pydicom only warns of: a run in the stream was changed, and all pixels after it are shifted.
RLE_TOO_LONG = "The decoded RLE segment contains non-conformant padding"
SOFT_TISSUE_HU = 200
LEAST_SOFT_TISSUE = 1e-3


def hounsfield(planes: list[Plane]) -> Int16[np.ndarray, "d h w"]:
    """The HU of the planes, in their order, rounded; padding and everything below -1024 are -1024.

    Raises `OSError` where a file is cut short or cannot be decoded, `ValueError` where its values cannot be HU.
    """
    image_hu = np.empty((len(planes), *planes[0].matrix), np.int16)
    order = sorted(range(len(planes)), key=lambda k: str(planes[k].header.filename))
    for filename, slices in itertools.groupby(order, key=lambda k: str(planes[k].header.filename)):
        stored = _stored(Path(filename))
        for k in slices:
            image_hu[k] = _rescale(planes[k], stored[planes[k].frame])
    return image_hu


def to_int16_hu(values: np.ndarray, name: str) -> Int16[np.ndarray, "*grid"]:
    """HU rounded to int16 and everything below -1024 set to -1024; `ValueError` where a value exceeds int16."""
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds values that are not finite; set them to {AIR_HU} and write it again")
    highest = values.max()
    if highest > np.iinfo(np.int16).max:
        raise ValueError(
            f"{name} holds values up to {highest:g}, beyond the 32767 HU that CT can hold; rescale it to HU"
        )
    # float32 holds every HU exactly, and unsigned types cannot be compared with -1024.
    return np.rint(np.maximum(values.astype(np.float32, copy=False), AIR_HU)).astype(np.int16)


def refuse_other_units(image_hu: Int16[np.ndarray, "*grid"], name: str) -> None:
    """Raises `ValueError` where the values cannot be the HU of a body, which reach below fat and above water.

    The lowest value does not count where it is air or padding, which is -1024 whatever the units of the rest. Of what
    remains one in a thousand must lie within 200 HU of water, as all soft tissue does.
    """
    floor = int(image_hu.min())
    body_hu = image_hu[image_hu > floor] if floor <= TISSUE_HU[0] else image_hu.ravel()
    lowest, highest = (int(body_hu.min()), int(body_hu.max())) if body_hu.size else (floor, floor)
    soft = np.count_nonzero(np.abs(body_hu) <= SOFT_TISSUE_HU)
    if lowest > -50 or highest < 0 or soft < LEAST_SOFT_TISSUE * body_hu.size:
        raise ValueError(
            f"{name} holds values from {lowest} to {highest}, which cannot be HU (fat lies near -100, muscle near 50, "
            f"padding does not count, and {soft} of {body_hu.size} lie within {SOFT_TISSUE_HU} of water); "
            "give the CT itself, not a mask or a picture scaled to other units"
        )


def _rescale(plane: Plane, stored: Integer[np.ndarray, "h w"]) -> Int16[np.ndarray, "h w"]:
    values = stored * plane.slope + plane.intercept
    padding = _padding(plane, stored)
    if padding.any():
        low, high = values[padding].min(), values[padding].max()
        if high > TISSUE_HU[0] and low < TISSUE_HU[1]:
            raise ValueError(
                f"{plane.name} pads with {low:g} to {high:g} HU, which tissue has too, so that the two cannot be told "
                "apart; delete PixelPaddingValue from its header if those pixels are real"
            )
        values[padding] = AIR_HU
    return to_int16_hu(values, plane.name)


def _padding(plane: Plane, stored: Integer[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Which pixels are padding: the header's padding value, or the range to its limit, in stored units."""
    value = plane.header.get("PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, bool)
    limit = plane.header.get("PixelPaddingRangeLimit")
    ends = [_as_stored(int(end), plane.header) for end in (value, value if limit is None else limit)]
    return (stored >= min(ends)) & (stored <= max(ends))


def _as_stored(value: int, header: pydicom.Dataset) -> int:
    """A header's value as a pixel would hold it: many writers give a negative one the unsigned type, or the reverse."""
    bits = int(header.BitsStored)
    value &= (1 << bits) - 1
    negative = header.PixelRepresentation == 1 and value >> (bits - 1)
    return value - (1 << bits) if negative else value


def _stored(path: Path) -> Integer[np.ndarray, "n h w"]:
    """The stored values of all frames of a file."""
    syntax = "unknown coding"
    try:
        with warnings.catch_warnings(action="ignore"), disable_value_validation():
            warnings.filterwarnings("error", RLE_TOO_LONG)
            file = pydicom.dcmread(path, force=True)
            syntax = _syntax(file).name
            pixels = _decode(file)
    except (*UNREADABLE, RuntimeError) as error:
        raise OSError(
            f"{path} has pixels ({syntax}) that are cut short or cannot be decoded: copy it again, or decompress it"
        ) from error
    return pixels.reshape(-1, *pixels.shape[-2:])


def _syntax(file: pydicom.FileDataset) -> UID:
    """How the pixels are coded; a file without preamble does not say, and is not compressed."""
    if "TransferSyntaxUID" not in file.file_meta:
        implicit, _ = file.original_encoding
        file.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    return file.file_meta.TransferSyntaxUID


def _decode(file: pydicom.FileDataset) -> Integer[np.ndarray, "*grid"]:
    syntax = _syntax(file)
    bare = pydicom.Dataset()
    for keyword in PIXEL_ELEMENTS:
        bare[keyword] = file[keyword]
    if not syntax.is_encapsulated or syntax == RLELossless:
        return file.pixel_array
    if str(file.get("LossyImageCompression")) == "01":
        logging.log_first_n(logging.WARNING, "%s is compressed with loss: its HU are approximate", 1, file.filename)
    bare.NumberOfFrames = file.get("NumberOfFrames") or 1
    bare.file_meta = FileMetaDataset()
    bare.file_meta.TransferSyntaxUID = syntax
    bare.SOPClassUID, bare.SOPInstanceUID = CTImageStorage, "2.25.1"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "bare.dcm"
        bare.save_as(copy, enforce_file_format=True)
        return sitk.GetArrayFromImage(sitk.ReadImage(copy))
