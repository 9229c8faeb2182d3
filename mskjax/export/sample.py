"""What an export is verified on: a drawn slice, and unseen slices of the run's dataset where that is still there."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging
from jaxtyping import Float32, Int16

from mskjax.data import phantom
from mskjax.data.dataset import AIR_HU, Dataset, read_dataset
from mskjax.export.artifact import FINEST_MM

SEED = 20
MOST = 3  # slices of the dataset
PHANTOM = "drawn phantom"


@dataclass(frozen=True)
class Sample:
    """Slices of one size, their spacing and what each is; `drawn` says which show no patient, and may be passed on."""

    image_hu: Int16[np.ndarray, "n h w"]
    spacing_mm: Float32[np.ndarray, "n 2"]
    names: tuple[str, ...]
    drawn: tuple[bool, ...]


def make(shape: tuple[int, int], dataset: Dataset | None, of_phantoms: bool) -> Sample:
    """A drawn slice of `shape` pixels, and up to three slices of a dataset, cut or padded with air to that size.

    These are of its test split, or without one of its validation split. `of_phantoms` says that they are drawn too.
    """
    scan = phantom.slices(1, max(shape), seed=SEED)
    images, spacings, names = [scan.image_hu[0]], [scan.spacing_mm[0]], [PHANTOM]
    for split, image_hu, spacing in [] if dataset is None else _unseen(dataset):
        images.append(image_hu)
        spacings.append(spacing)
        names.append(f"{split} slice of the run's dataset")
    drawn = (True, *(of_phantoms for _ in names[1:]))
    spacing_mm = np.maximum(np.array(spacings, np.float32), FINEST_MM)  # finer than which nothing is measured
    return Sample(np.stack([_centred(image_hu, shape) for image_hu in images]), spacing_mm, tuple(names), drawn)


def _unseen(dataset: Dataset) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """The split, HU and spacing of slices, evenly chosen, of the test split, or else of the validation split."""
    split = next((name for name in ("test", "validation") if len(dataset.rows(name))), "test")
    rows = dataset.rows(split)
    for i in np.unique(np.linspace(0, len(rows) - 1, min(MOST, len(rows))).astype(int)):
        image_hu, _, spacing_mm = dataset.slices.case(int(rows[i]))
        yield split, image_hu, spacing_mm


def dataset_of(provenance: Mapping[str, Any]) -> Dataset | None:
    """The dataset that a run was made from, where it is still as it was and holds HU of slices."""
    origin = provenance.get("dataset") or {}
    if not (Path(origin.get("path") or "") / "slices.npz").is_file():
        return None
    try:
        dataset = read_dataset(origin["path"])
    except (OSError, ValueError) as error:
        logging.warning("the dataset cannot be compared on: %s", error)
        return None
    return dataset if dataset.values == "hu" and dataset.manifest["sha256"] == origin.get("sha256") else None


def _centred(image_hu: Int16[np.ndarray, "h w"], shape: tuple[int, int]) -> Int16[np.ndarray, "_ _"]:
    """The middle of a slice, with air around it where it is smaller."""
    for axis, length in enumerate(shape):
        excess = image_hu.shape[axis] - length
        before, after = max(-excess, 0) // 2, max(-excess, 0) - max(-excess, 0) // 2
        widths = [(before, after) if n == axis else (0, 0) for n in range(2)]
        image_hu = np.pad(image_hu, widths, constant_values=AIR_HU)
        start = max(excess, 0) // 2
        image_hu = image_hu[start : start + length] if axis == 0 else image_hu[:, start : start + length]
    return image_hu
