"""The masks that readers drew, put on the slices of the dataset one after the other, so that few are in memory.

A mask is read on the grid of the case's image, whose slice must still be the dataset's. A file that holds one slice of
a larger image must lie on just the case's slice; a pair of bitmaps, which has no position, is taken to.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from absl import logging
from jaxtyping import Bool, Float64, Int16, UInt8

from mskjax.data.dataset import Dataset
from mskjax.data.masks import read_mask
from mskjax.data.orientation import from_axial, slice_positions_mm, tilt_degrees, to_axial
from mskjax.data.reader_table import Reading
from mskjax.data.reading import read_image
from mskjax.data.volumes import is_volume


def read_masks(
    readings: Sequence[Reading], dataset: Dataset, table: str | Path
) -> Iterator[tuple[Reading, Bool[np.ndarray, "rows columns"]]]:
    """Each reading with its mask at the true size of the dataset's slice, read when it is asked for.

    They come image by image, each of which is read once. A mask that is empty on the case's slice is allowed and
    logged. Raises `OSError` where a file cannot be read or the image is no longer there, and `ValueError` where the
    image is not the dataset's any more or a mask does not lie on its grid; both name the line of `table`.
    """
    row_of = {case_id: i for i, case_id in enumerate(dataset.cases["case_id"])}
    by_image: dict[tuple[Path, str | None], list[Reading]] = defaultdict(list)
    for reading in readings:
        prepared_from = Path(dataset.cases["image"].iloc[row_of[reading.case_id]])
        by_image[reading.image or prepared_from, reading.series].append(reading)
    for (path, series), drawn in by_image.items():
        with _at(table, drawn[0]):
            image = _read_image(path, series, drawn[0].case_id)
        axial = to_axial(image)
        for reading in {reading.case_id: reading for reading in drawn}.values():
            with _at(table, reading):
                _refuse_change(path, *axial, dataset, row_of[reading.case_id])
        slice_of = {r.case_id: int(dataset.cases["slice_index"].iloc[row_of[r.case_id]]) for r in drawn}
        yield from _on_image(image, drawn, slice_of, table)


def _read_image(path: Path, series: str | None, case_id: str) -> sitk.Image:
    if not path.exists():
        raise FileNotFoundError(
            f"{path}, the image of case {case_id}, is not there; put it back, start in the folder that launch.prepare "
            "was started in, or say in a column image where it lies now"
        )
    return read_image(path, series)


def _refuse_change(
    path: Path, image_hu: Int16[np.ndarray, "d h w"], spacing_mm: Float64[np.ndarray, "3"], dataset: Dataset, row: int
) -> None:
    """Raises `ValueError` unless the image still shows, on the case's slice, what the dataset holds."""
    case = dataset.cases.iloc[row]
    expected_hu, _, expected_mm = dataset.slices.case(row)
    k = int(case["slice_index"])
    same = k < len(image_hu) and np.array_equal(image_hu[k], expected_hu)
    if not (same and np.allclose(spacing_mm[1:], expected_mm, rtol=1e-6)):
        raise ValueError(
            f"{path} no longer shows, on slice {k}, what case {case['case_id']} of the dataset was prepared from: HU, "
            "size or pixel spacing differ; name the right image in a column image, or prepare the dataset again"
        )


def _on_image(
    image: sitk.Image, readings: Sequence[Reading], slice_of: dict[str, int], table: str | Path
) -> Iterator[tuple[Reading, Bool[np.ndarray, "rows columns"]]]:
    """The masks on one image; a file in which a reader drew several cases is read once."""
    by_file: dict[tuple[Path, tuple[str, ...] | None], list[Reading]] = defaultdict(list)
    for reading in readings:
        by_file[reading.file, reading.label].append(reading)
    for of_file in by_file.values():
        alone = _holds_one_slice(of_file[0], image)
        volume = None
        for reading in of_file:
            k = slice_of[reading.case_id]
            with _at(table, reading):
                if volume is None or alone:
                    volume = _read_mask(reading, _one_slice(image, k) if alone else image)
            mask = volume[0 if alone else k] > 0
            if not mask.any():
                _warn_of_nothing(reading, k, volume, table)
            yield reading, mask


def _holds_one_slice(reading: Reading, image: sitk.Image) -> bool:
    """Whether a file holds one slice of an image of several, as a bitmap does, and a volume that is one voxel deep."""
    if reading.mask_plain is not None:
        return True
    if not is_volume(reading.file):
        return False
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(reading.file))
    try:
        reader.ReadImageInformation()
    except RuntimeError:  # damaged, which reading it tells in a sentence
        return False
    return 1 in reader.GetSize() and math.prod(reader.GetSize()) < image.GetNumberOfPixels()


def _one_slice(image: sitk.Image, slice_index: int) -> sitk.Image:
    """The axial slice alone, where it lies in space."""
    marked = np.zeros(to_axial(image)[0].shape, np.uint8)
    marked[slice_index] = 1
    found = sitk.LabelShapeStatisticsImageFilter()
    found.Execute(from_axial(marked, image))
    box = found.GetBoundingBox(1)
    alone = sitk.RegionOfInterest(image, box[3:], box[:3])
    if tilt_degrees(image):
        alone.SetOrigin(slice_positions_mm(image)[box[2]].tolist())
    return alone


def _read_mask(reading: Reading, like: sitk.Image) -> UInt8[np.ndarray, "d h w"]:
    path = reading.file if reading.mask_plain is None else [reading.mask_plain, reading.file]
    return to_axial(read_mask(path, like, reading.label))[0]


def _warn_of_nothing(reading: Reading, slice_index: int, volume: np.ndarray, table: str | Path) -> None:
    if elsewhere := np.flatnonzero(volume.any(axis=(1, 2))).tolist():
        logging.warning(
            "%s, line %d: reader %s drew nothing on slice %d, where case %s is, but on slices %s (0-based from the "
            "feet); the case counts as drawn empty",
            *(table, reading.line, reading.reader, slice_index, reading.case_id, ", ".join(map(str, elsewhere[:5]))),
        )


@contextmanager
def _at(table: str | Path, reading: Reading) -> Iterator[None]:
    """Names the line of the table before what is said of its files."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        kind = OSError if isinstance(error, OSError) else ValueError
        raise kind(f"{table}, line {reading.line}: {error}") from error
