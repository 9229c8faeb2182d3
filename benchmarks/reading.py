"""Seconds to read a CT series of 51 slices of 512x512 pixels into HU, as one JSON line; 2 s are the figure to reach.

python -m benchmarks.reading            # uncompressed slices made on the spot
python -m benchmarks.reading FOLDER     # a series of your own
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from benchmarks import common
from mskjax.data import read_image


def main() -> None:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else write(Path(made))
        start = time.perf_counter()
        image = read_image(folder)
        first = time.perf_counter() - start
        seconds = common.measure(lambda: read_image(folder), repeats=5)
    common.report("reading", size=image.GetSize(), first_s=round(first, 3), seconds=round(seconds, 3), target_s=2.0)


def write(folder: Path, depth: int = 51, size: int = 512) -> Path:
    """A folder with a series of noise, which no cache and no coder can shorten."""
    rng = np.random.default_rng(0)
    header = pydicom.Dataset()
    header.SOPClassUID, header.Modality, header.SeriesInstanceUID = CTImageStorage, "CT", generate_uid()
    header.Rows = header.Columns = size
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 0
    header.PixelSpacing, header.ImageOrientationPatient = [0.8, 0.8], [1, 0, 0, 0, 1, 0]
    header.RescaleSlope, header.RescaleIntercept = 1, -1024
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for k in range(depth):
        header.SOPInstanceUID = generate_uid()
        header.ImagePositionPatient = [0, 0, 5 * k]
        header.PixelData = rng.integers(0, 2000, (size, size), np.uint16).tobytes()
        header.save_as(folder / f"{k:03d}.dcm", enforce_file_format=True)
    return folder


if __name__ == "__main__":
    main()
