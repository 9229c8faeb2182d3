"""Prediction of whole scans with a run that has learned volumes, on their own grid.

A scan goes the way of those that were learned from: it is resampled to the run's spacing, cut to the body and turned
to the axes of RAS, seen in windows that overlap, and what is predicted goes the same way back.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Array, Float, Float32, Int16, Integer

from mskjax.data.dataset import AIR_HU
from mskjax.data.ras import ras_to_axial
from mskjax.data.volume_folder import Box, on_grid
from mskjax.data.volume_grid import VolumeGrid, lay, planes, restore
from mskjax.training import sliding_window
from mskjax.training.predict import sees_volumes, trained
from mskjax.types import Variables


@dataclass(frozen=True)
class VolumePredictor:
    """A trained network as a function of volumes; compiled once, for `batch_size` windows of `side` voxels a side.

    `forward` takes the variables and windows of HU [b, i, j, k], and gives the probability of muscle in each voxel.
    `spacing_mm` is that of the voxels along i, j and k, `overlap` the share of its side that a window has in common
    with the next. `progress` goes through a range of windows and may show how far it is.
    """

    forward: Callable[..., jax.Array]
    variables: Variables
    side: int
    spacing_mm: tuple[float, float, float]
    overlap: float = 0.5
    batch_size: int = 1
    progress: Callable[[range], Iterable[int]] = iter

    def __call__(
        self,
        image_hu: Int16[np.ndarray, "d h w"],
        spacing_mm: Float[np.ndarray, "3"],
        chosen: range,
        level: int | None = None,
    ) -> Float32[np.ndarray, "d h w"]:
        """The probability of muscle in each voxel of the slices `chosen` of a scan in the axial view; elsewhere 0.

        One plane of the grid falls on the slice `level`, as it does on an outlined slice in training and evaluation,
        or on slice 0. Whichever slices are chosen, the others of the scan are seen as well, and each slice's values are
        the same. Outside the body's box they are 0. Raises `ValueError` for a scan of one slice, and where there is
        only air.
        """
        depth, rows, columns = image_hu.shape
        if depth < 2:
            raise ValueError(
                "the run has learned volumes and the scan is a single slice; give the whole scan, or a run that has "
                "learned slices"
            )
        grid = lay((depth, rows, columns), spacing_mm, self.spacing_mm[::-1], level)
        volume_hu, box = on_grid(image_hu, grid)
        probability = np.zeros(image_hu.shape, np.float32)
        probability[chosen.start : chosen.stop] = self.of_volume(volume_hu, grid, box, chosen)
        return probability

    def of_volume(
        self, volume_hu: Integer[np.ndarray, "i j k"], grid: VolumeGrid, box: Box, chosen: range
    ) -> Float32[np.ndarray, "n h w"]:
        """The probability of muscle in consecutive slices of a scan of which `volume_hu` is the part `box` on `grid`.

        Grid and box are along the axes of the axial view, the volume along those of RAS (`volume_folder.on_grid`).
        """
        values = np.zeros(grid.new_shape, np.float32)
        needed = needed_planes(grid, box, chosen)
        if needed is not None:
            values[box] = ras_to_axial(self.on_grid(volume_hu, needed))
        return restore(values, grid, chosen)

    def on_grid(
        self, image_hu: Integer[np.ndarray, "i j k"], needed: slice | None = None
    ) -> Float32[np.ndarray, "i j k"]:
        """The probability of muscle in each voxel of a volume of RAS axes that already has the run's spacing.

        With `needed` only on these planes k, where it is what it would be without, and 0 on others.
        """
        return sliding_window.predict(
            self._windows,
            image_hu,
            self.side,
            self.overlap,
            self.batch_size,
            padding=AIR_HU,
            needed=slice(None) if needed is None else needed,
            progress=self.progress,
        )[..., 0]

    def _windows(self, image_hu: Integer[np.ndarray, "b s s s"]) -> Float[Array, "b s s s 1"]:
        return self.forward(self.variables, image_hu)[..., None]


def needed_planes(grid: VolumeGrid, box: Box, chosen: range) -> slice | None:
    """The planes k of a volume cut to `box` from which consecutive slices of the scan are made; None where none is."""
    made_of = planes(grid, chosen)
    first, stop = max(made_of.start, box[0].start), min(made_of.stop, box[0].stop)
    return slice(first - box[0].start, stop - box[0].start) if first < stop else None


def load_volume_run(
    run: str | Path, batch_size: int = 1, progress: Callable[[range], Iterable[int]] = iter
) -> VolumePredictor:
    """The predictor of a run that has learned volumes, with the weights of its lowest validation loss.

    Raises as `mskjax.training.load_run` does, and `ValueError` for a run that has learned slices.
    """
    if not sees_volumes(run):
        raise ValueError(f"{run} is no run that has learned volumes; name one of volume_segmentation")
    config, forward, variables = trained(run)
    i, j, k = map(float, config["spacing_mm"])
    return VolumePredictor(forward, variables, config["image_size"], (i, j, k), config["overlap"], batch_size, progress)
