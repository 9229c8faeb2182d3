"""Prediction with a run, on slices of any size and on their own grid."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from jaxtyping import Float, Float32, Int16

from mskjax import convert, tasks
from mskjax.data import batches
from mskjax.files import read_json
from mskjax.training.start import weight_file
from mskjax.types import Variables

VOLUMETRIC = "volume_segmentation"  # the task whose network sees volumes


@dataclass(frozen=True)
class Predictor:
    """A trained network as a function of slices; compiled once for each batch shape, at most `batch_size` slices."""

    forward: Callable[..., jax.Array]
    variables: Variables
    image_size: int
    batch_size: int = 4

    def __call__(
        self, image_hu: Int16[np.ndarray, "n h w"], spacing_mm: Float[np.ndarray, "2"]
    ) -> Float32[np.ndarray, "n h w"]:
        """The probability of muscle in each pixel of slices of one spacing (row, column), on their own grid."""
        squares = np.array([batches.fit_image(image, spacing_mm, self.image_size) for image in image_hu])
        probability = np.empty(image_hu.shape, np.float32)
        size = min(self.batch_size, len(squares))
        for start in range(0, len(squares), max(size, 1)):
            # The last batch starts early enough to be full: its first slices are predicted twice.
            first = min(start, len(squares) - size)
            values = np.asarray(self.forward(self.variables, squares[first : first + size]), np.float32)
            for i, square in enumerate(values, first):
                probability[i] = batches.unfit(square, image_hu.shape[1:], spacing_mm)
        return probability


def load_run(run: str | Path, batch_size: int = 4) -> Predictor:
    """The predictor of a run, with the weights of its lowest validation loss; that of an unfinished one is logged.

    Raises `OSError` where `run` is no run, or has neither ended nor been stopped after a validation, and `ValueError`
    for a run of a task that predicts no masks, or none of slices.
    """
    if sees_volumes(run):
        raise ValueError(f"{run} has learned volumes and predicts whole scans; name a run that has learned slices")
    config, forward, variables = trained(run)
    return Predictor(forward, variables, config["image_size"], batch_size)


def sees_volumes(run: str | Path) -> bool:
    """Whether a run predicts volumes, by `predict_volumes`, and no slices; false where `run` is no run."""
    config = Path(run) / "config.json"
    return config.is_file() and (read_json(config).get("task") or {}).get("name") == VOLUMETRIC


def trained(run: str | Path) -> tuple[dict[str, Any], Callable[..., jax.Array], Variables]:
    """A run's config, what it predicts of (variables, image_hu), compiled, and its weights. Raises as `load_run`."""
    run = Path(run)
    if not (run / "config.json").is_file():
        raise FileNotFoundError(f"{run} is no run (no config.json); make one with launch.train")
    config = read_json(run / "config.json")
    if "task" not in config or not hasattr(tasks.TASKS.get(config["task"]["name"]), "predict"):
        what = f"a run of the task {config['task']['name']}" if "task" in config else "no run"
        raise ValueError(f"{run} is {what}, which predicts no masks; name a run of segmentation, or a cell of a study")
    variables, _ = convert.load_variables(weight_file(run))
    if not (run / "DONE").is_file():
        logging.warning("%s has not finished; these are its best weights so far", run)
    task = tasks.build(config["task"])

    def forward(variables: Variables, image_hu: Any) -> jax.Array:
        model_state = {name: value for name, value in variables.items() if name != "params"}
        return task.predict(variables["params"], model_state, image_hu)

    return config, jax.jit(forward), jax.device_put(variables)
