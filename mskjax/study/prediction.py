"""Masks of slices and of whole scans by a trained run."""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from absl import logging
from jaxtyping import Bool, Float, Int16, Integer
from tqdm import tqdm

from mskjax.data.volume_grid import VolumeGrid
from mskjax.training import origin

Predictor = Callable[[Int16[np.ndarray, "n h w"], Float[np.ndarray, "2"]], Float[np.ndarray, "n h w"]]
THRESHOLD = 0.5  # of the sigmoid's output (study A), or of the softmax's


@runtime_checkable
class VolumePredictor(Protocol):
    """What a run that has learned volumes predicts: `mskjax.training.predict_volumes` tells of both."""

    def __call__(
        self,
        image_hu: Int16[np.ndarray, "d h w"],
        spacing_mm: Float[np.ndarray, "3"],
        chosen: range,
        level: int | None = None,
    ) -> Float[np.ndarray, "d h w"]:
        """The probability of muscle in the slices `chosen` of a whole scan in the axial view, seen through `level`."""
        ...

    def of_volume(
        self, volume_hu: Integer[np.ndarray, "i j k"], grid: VolumeGrid, box: tuple[slice, slice, slice], chosen: range
    ) -> Float[np.ndarray, "n h w"]:
        """The same of a scan that is prepared: `volume_hu` is its part `box` on a grid of `spacing_mm`."""
        ...

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """The spacing along i, j and k that the run has learned with."""
        ...


def load_predictor(run: str | Path, shows_windows: bool = False) -> Predictor | VolumePredictor:
    """The run's best weights as a function from HU slices of one spacing (row, column) to the probability of muscle.

    Of a run that has learned volumes it is a function of whole scans, which `shows_windows` lets say how far it is.
    """
    origin.refuse_pretraining(run, "measure with")
    # Imported here, as both bring JAX along, which measuring a finished mask does without.
    from mskjax.training.predict import load_run, sees_volumes
    from mskjax.training.predict_volumes import load_volume_run

    if not sees_volumes(run):
        return load_run(run)
    return load_volume_run(run, progress=partial(progress, unit="window")) if shows_windows else load_volume_run(run)


def predict_mask(
    predictor: Predictor, image_hu: Int16[np.ndarray, "h w"], spacing_mm: Float[np.ndarray, "2"]
) -> Bool[np.ndarray, "h w"]:
    """The mask of one slice, on its own grid; `ValueError` where the run predicts no numbers.

    Slices go one by one: every batch has the same shape and the network is compiled once.
    """
    return thresholded(predictor(image_hu[None], spacing_mm)[0])


def thresholded(probability: Float[np.ndarray, "*shape"]) -> Bool[np.ndarray, "*shape"]:
    """The mask of a probability; `ValueError` where that is no number."""
    if not np.isfinite(probability).all():
        raise ValueError("the run predicts values that are no numbers; its weights are damaged, so train it again")
    return probability > THRESHOLD


def progress(items: range, unit: str) -> Iterator[int]:
    """The items of a range, with a bar on a terminal and at most ten plain lines elsewhere."""
    if sys.stderr.isatty():
        yield from tqdm(items, desc="predict", unit=unit)
        return
    for done, item in enumerate(items, start=1):
        yield item
        if 10 * done // len(items) > 10 * (done - 1) // len(items):
            logging.info("predicted %d of %d %ss", done, len(items), unit)
